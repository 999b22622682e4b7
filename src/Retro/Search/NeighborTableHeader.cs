using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// The 512 bytes that a neighbor table begins with (little-endian): what it was made of.
/// <code>
/// magic, version int64, rows int64, K int64, chunks of the retrieval database int64, own document left out (byte), zeros
/// at 64: SHA-256 of the tokens of the database with the rows; of the retrieval database (zeros for none); of the source's identity
/// at 192: the source's name in UTF-8, 128 bytes
/// at 480: SHA-256 of all the rest of the file
/// </code>
/// </summary>
/// <param name="Rows">How many chunks have a row.</param>
/// <param name="Count">K, neighbors of a row.</param>
/// <param name="RetrievalChunks">Chunks of the database that the neighbors are in; 0 where there is none.</param>
/// <param name="ExcludesOwnDocument">Whether a chunk's own document was left out.</param>
/// <param name="QueryHash">The checksum of the tokens of the database whose chunks have rows.</param>
/// <param name="RetrievalHash">The checksum of the tokens of the database that the neighbors are in; null where the source has no database.</param>
/// <param name="SourceIdentityHash">SHA-256 of the source's identity, and of what else its rows depend on.</param>
/// <param name="SourceName">The source's name.</param>
internal sealed record NeighborTableHeader(
    long Rows, int Count, long RetrievalChunks, bool ExcludesOwnDocument, string QueryHash, string? RetrievalHash, string SourceIdentityHash, string SourceName)
{
    /// <summary>The header's size.</summary>
    public const int Size = 512;

    /// <summary>Where the checksum stands.</summary>
    public const int HashAt = 480;

    private const int Version = 1;
    private const int NameAt = 192;
    private const int NameSize = 128;

    private static ReadOnlySpan<byte> Magic => "RETRONT1"u8;

    /// <summary>What the rows depend on.</summary>
    public string Identity => string.Create(
        CultureInfo.InvariantCulture,
        $"{SourceName} {SourceIdentityHash}, {Count} of {RetrievalHash ?? "no database"} for {QueryHash}{(ExcludesOwnDocument ? ", own document left out" : "")}");

    /// <summary>The header of the table that a source gives for a database.</summary>
    /// <param name="queries">The database whose chunks have rows.</param>
    /// <param name="source">The source.</param>
    /// <param name="identity">Its identity, and what else its rows depend on.</param>
    /// <param name="count">K, neighbors of a row.</param>
    /// <param name="excludeOwnDocument">Whether a chunk's own document is left out.</param>
    /// <exception cref="ArgumentException">The source's name is empty or too long, or cannot stand in a file name.</exception>
    public static NeighborTableHeader Of(ChunkDatabase queries, INeighborSource source, string identity, int count, bool excludeOwnDocument)
        => Encoding.UTF8.GetByteCount(source.Name) is > 0 and <= NameSize && DatabaseManifest.IsPlainName(source.Name)
            ? new(
                queries.ChunkCount,
                count,
                source.Database?.ChunkCount ?? 0,
                excludeOwnDocument,
                queries.Manifest.TokensHash,
                source.Database?.Manifest.TokensHash,
                Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(identity))), source.Name)
            : throw new ArgumentException(
                $"A source's name stands in file names: 1 to {NameSize} bytes without slashes, colons and the ending {AtomicFile.TemporarySuffix}. "
                    + $"\"{source.Name}\" of {Encoding.UTF8.GetByteCount(source.Name)} bytes cannot.",
                nameof(source));

    /// <summary>Reads a header; the file's length has to be the one that it says.</summary>
    /// <exception cref="DatabaseException">It is none, or of another version, or contradicts the file's length.</exception>
    public static NeighborTableHeader Read(ReadOnlySpan<byte> header, long length, string path)
    {
        if (!header.StartsWith(Magic))
        {
            throw new DatabaseException($"The file {path} is no neighbor table: make it again.");
        }

        if (BinaryPrimitives.ReadInt64LittleEndian(header[8..]) is var version and not Version)
        {
            throw new DatabaseException($"The neighbor table {path} has version {version}, and this program reads version {Version}: make it again.");
        }

        long rows = BinaryPrimitives.ReadInt64LittleEndian(header[16..]);
        long count = BinaryPrimitives.ReadInt64LittleEndian(header[24..]);
        long chunks = BinaryPrimitives.ReadInt64LittleEndian(header[32..]);
        if (rows < 0
            || chunks < 0
            || count is < 1 or > int.MaxValue
            || rows > (length - Size) / sizeof(long) / count
            || rows * count * sizeof(long) != length - Size)
        {
            throw NeighborTable.Damaged(path, $"it says that it has {rows} rows of {count} neighbors, and has {length} bytes");
        }

        ReadOnlySpan<byte> name = header.Slice(NameAt, NameSize), retrieval = header.Slice(96, 32);
        return new(
            rows, (int)count, chunks, header[40] != 0,
            Convert.ToHexStringLower(header.Slice(64, 32)),
            retrieval.ContainsAnyExcept((byte)0) ? Convert.ToHexStringLower(retrieval) : null,
            Convert.ToHexStringLower(header.Slice(128, 32)),
            Encoding.UTF8.GetString(name[..(name.IndexOf((byte)0) is var end and >= 0 ? end : NameSize)]));
    }

    /// <summary>The header's bytes, with zeros for the checksum.</summary>
    public byte[] ToBytes()
    {
        byte[] header = new byte[Size];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), Rows);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(24), Count);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(32), RetrievalChunks);
        header[40] = ExcludesOwnDocument ? (byte)1 : (byte)0;
        Convert.FromHexString(QueryHash).CopyTo(header, 64);
        Convert.FromHexString(RetrievalHash ?? "").CopyTo(header, 96);
        Convert.FromHexString(SourceIdentityHash).CopyTo(header, 128);
        Encoding.UTF8.GetBytes(SourceName).CopyTo(header, NameAt);
        return header;
    }
}
