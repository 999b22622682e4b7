using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro.Database;

/// <summary>
/// Which documents of each segment were removed: removed-n.bin of change n, with 8 bytes "RETRORMV", int32 version, int32 segments, then for each segment int32
/// how many and their int32 numbers, ascending; all little-endian.
/// </summary>
internal static class RemovedDocuments
{
    private const int Version = 1;

    public static ReadOnlySpan<byte> Magic => "RETRORMV"u8;

    /// <summary>Writes them, beside and renamed.</summary>
    public static DatabaseFile Write(string folder, int change, IReadOnlyList<int[]> removed)
    {
        using MemoryStream stream = new();
        stream.Write(Magic);
        Number(Version);
        Number(removed.Count);
        foreach (int[] documents in removed)
        {
            Number(documents.Length);
            stream.Write(MemoryMarshal.AsBytes<int>(documents));
        }

        byte[] content = stream.ToArray();
        string name = DatabaseManifest.RemovedFileOf(change);
        DatabaseFolder.RequireFree(folder, name);
        AtomicFile.Write(Path.Combine(folder, name), file => file.Write(content), DatabaseException.Of);
        return new DatabaseFile { Name = name, Bytes = content.Length, Sha256 = Convert.ToHexStringLower(SHA256.HashData(content)) };

        void Number(int value)
        {
            Span<byte> four = stackalloc byte[sizeof(int)];
            BinaryPrimitives.WriteInt32LittleEndian(four, value);
            stream.Write(four);
        }
    }

    /// <summary>Reads them; the whole content is checked.</summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="file">What the manifest says of it; null: nothing was removed.</param>
    /// <param name="segments">The segments.</param>
    /// <exception cref="DatabaseException">It is missing, changed, or does not fit the segments.</exception>
    public static int[][] Read(string folder, DatabaseFile? file, IReadOnlyList<ChunkDatabase> segments)
    {
        if (file is null)
        {
            return [.. segments.Select(_ => Array.Empty<int>())];
        }

        string path = Path.Combine(folder, file.Name);
        using MappedFile mapped = MappedFile.Open(path);
        if (mapped.Length > int.MaxValue)
        {
            throw Unfit();
        }

        if (Convert.ToHexStringLower(mapped.Sha256((0, mapped.Length))) is var found && found != file.Sha256)
        {
            throw new DatabaseException($"'{path}' has checksum {found}, but the manifest says {file.Sha256}: it was changed; build the database again.");
        }

        ReadOnlySpan<byte> left = mapped.Values<byte>(0, (int)mapped.Length);
        if (!left.StartsWith(Magic) || Take(ref left, Magic.Length).IsEmpty || Number(ref left) != Version || Number(ref left) != segments.Count)
        {
            throw Unfit();
        }

        int[][] removed = new int[segments.Count][];
        for (int segment = 0; segment < removed.Length; segment++)
        {
            int count = Number(ref left);
            removed[segment] = count >= 0 && count <= left.Length / sizeof(int)
                ? MemoryMarshal.Cast<byte, int>(Take(ref left, count * sizeof(int))).ToArray()
                : throw Unfit();
            for (int i = 0; i < count; i++)
            {
                if (removed[segment][i] < (i == 0 ? 0 : removed[segment][i - 1] + 1) || removed[segment][i] >= segments[segment].Documents.Count)
                {
                    throw Unfit();
                }
            }
        }

        return left.IsEmpty ? removed : throw Unfit();

        DatabaseException Unfit() => new($"'{path}' does not fit the database's {segments.Count} segments: it is damaged; build the database again.");

        int Number(ref ReadOnlySpan<byte> bytes) => bytes.Length < sizeof(int) ? -1 : BinaryPrimitives.ReadInt32LittleEndian(Take(ref bytes, sizeof(int)));

        static ReadOnlySpan<byte> Take(ref ReadOnlySpan<byte> bytes, int count)
        {
            ReadOnlySpan<byte> taken = bytes[..count];
            bytes = bytes[count..];
            return taken;
        }
    }
}
