using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro.Readers;

/// <summary>
/// The file of a <see cref="TokenStore"/> (little-endian), and its memory where there is no file:
/// <code>
/// magic, version int64, rows int64, width int32, bytes of a number int32, window length int32, zeros
/// at 64: SHA-256 of the tokens of the database; of the model
/// at 224: SHA-256 of all the rest of the file
/// at 256: keys, float16 or float32, [rows, width]
/// </code>
/// </summary>
/// <param name="Rows">Keys.</param>
/// <param name="Width">Numbers in a key.</param>
/// <param name="Float16">Whether they take two bytes each.</param>
/// <param name="WindowLength">Most tokens that the model read at once.</param>
/// <param name="TokensHash">The checksum of the database's tokens.</param>
/// <param name="ModelHash">The model's identity.</param>
internal sealed record TokenStoreLayout(long Rows, int Width, bool Float16, int WindowLength, string TokensHash, string ModelHash)
{
    private const int HeaderSize = 256, HashAt = 224, Version = 1;

    private static ReadOnlySpan<byte> Magic => "RETROTS1"u8;

    /// <summary>Bytes of a key.</summary>
    public long RowBytes => Width * (Float16 ? 2L : 4);

    /// <summary>Bytes of the whole.</summary>
    public long Length => Offset(Rows);

    /// <summary>Where a key begins.</summary>
    public long Offset(long row) => HeaderSize + (row * RowBytes);

    /// <summary>The header, with zeros for the checksum.</summary>
    public byte[] Header()
    {
        byte[] header = new byte[HeaderSize];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), Rows);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(24), Width);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(28), Float16 ? 2 : 4);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(32), WindowLength);
        Convert.FromHexString(TokensHash).CopyTo(header, 64);
        Convert.FromHexString(ModelHash).CopyTo(header, 96);
        return header;
    }

    /// <summary>Opens a file of this layout; one that is missing, of another layout or damaged is none.</summary>
    public static MappedFile? TryOpen(string path, TokenStoreLayout layout, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        // Nothing can be mapped of an empty file.
        if (new FileInfo(path) is not { Exists: true, Length: > 0 })
        {
            return null;
        }

        MappedFile memory = MappedFile.Open(path);
        try
        {
            if (memory.Length == layout.Length && memory.Values<byte>(0, HashAt).SequenceEqual(layout.Header().AsSpan(0, HashAt)))
            {
                using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                memory.AppendTo(sha, 0, HashAt);
                const long Block = 1 << 26;
                for (long start = HeaderSize; start < memory.Length; start += Block)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    progress?.Report(new StageProgress("check states", start, memory.Length));
                    memory.AppendTo(sha, start, Math.Min(memory.Length, start + Block));
                }

                if (memory.Values<byte>(HashAt, SHA256.HashSizeInBytes).SequenceEqual(sha.GetHashAndReset()))
                {
                    return memory;
                }
            }
        }
        catch
        {
            memory.Dispose();
            throw;
        }

        memory.Dispose();
        return null; // making it replaces it
    }

    /// <summary>Stores a key.</summary>
    public void Store(ReadOnlySpan<float> key, Span<byte> row)
    {
        if (!Float16)
        {
            key.CopyTo(MemoryMarshal.Cast<byte, float>(row));
            return;
        }

        Span<Half> halves = MemoryMarshal.Cast<byte, Half>(row);
        for (int i = 0; i < key.Length; i++)
        {
            halves[i] = (Half)Math.Clamp(key[i], (float)Half.MinValue, (float)Half.MaxValue);
        }
    }

    /// <summary>Reads a key.</summary>
    public void Read(MappedFile memory, long row, Span<float> key)
    {
        if (!Float16)
        {
            memory.Values<float>(Offset(row), Width).CopyTo(key);
            return;
        }

        ReadOnlySpan<Half> halves = memory.Values<Half>(Offset(row), Width);
        for (int i = 0; i < key.Length; i++)
        {
            key[i] = (float)halves[i];
        }
    }
}
