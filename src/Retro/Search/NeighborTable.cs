using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Neighbors found once for every chunk of a database, on disk and memory-mapped: rows <c>[c, 0..K)</c> of int64 chunk numbers, best first, -1 where there is none.
/// The header names what the table was made of, so that it is used with nothing else.
/// </summary>
public sealed unsafe class NeighborTable : IDisposable
{
    private const int Version = 1;
    private const int HeaderSize = 512;
    private const int HashAt = 480;
    private const int NameAt = 192;
    private const int NameSize = 128;
    private const int BlockRows = 1024;

    private readonly MappedFile memory;

    private NeighborTable(MappedFile memory, string path)
    {
        this.memory = memory;
        if (memory.Length < HeaderSize)
        {
            throw Damaged(path, $"it has {memory.Length} bytes and its header alone takes {HeaderSize}");
        }

        ReadOnlySpan<byte> header = new(memory.Pointer, HeaderSize);
        if (!header.StartsWith(Magic))
        {
            throw new DatabaseException($"The file {path} is no neighbor table: make it again.");
        }

        if (BinaryPrimitives.ReadInt64LittleEndian(header[8..]) is var version and not Version)
        {
            throw new DatabaseException($"The neighbor table {path} has version {version}, and this program reads version {Version}: make it again.");
        }

        Rows = BinaryPrimitives.ReadInt64LittleEndian(header[16..]);
        long count = BinaryPrimitives.ReadInt64LittleEndian(header[24..]);
        RetrievalChunks = BinaryPrimitives.ReadInt64LittleEndian(header[32..]);
        if (Rows < 0 || RetrievalChunks < 0 || count is < 1 or > int.MaxValue || Rows > (memory.Length - HeaderSize) / sizeof(long) / count
            || Rows * count * sizeof(long) != memory.Length - HeaderSize)
        {
            throw Damaged(path, $"it says that it has {Rows} rows of {count} neighbors, and has {memory.Length} bytes");
        }

        Count = (int)count;
        ExcludesOwnDocument = header[40] != 0;
        QueryHash = Convert.ToHexStringLower(header.Slice(64, 32));
        RetrievalHash = header.Slice(96, 32).ContainsAnyExcept((byte)0) ? Convert.ToHexStringLower(header.Slice(96, 32)) : null;
        SourceIdentityHash = Convert.ToHexStringLower(header.Slice(128, 32));
        ReadOnlySpan<byte> name = header.Slice(NameAt, NameSize);
        SourceName = Encoding.UTF8.GetString(name[..(name.IndexOf((byte)0) is var end and >= 0 ? end : NameSize)]);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        Hash(hash);
        if (!hash.SequenceEqual(header[HashAt..]))
        {
            throw Damaged(path, "its checksum does not match its content");
        }

        long* numbers = (long*)(memory.Pointer + HeaderSize);
        for (long i = 0; i < Rows * Count; i++)
        {
            if (numbers[i] < -1 || numbers[i] >= RetrievalChunks)
            {
                throw Damaged(path, $"chunk {i / Count} has the neighbor {numbers[i]} in a database of {RetrievalChunks} chunks");
            }
        }
    }

    /// <summary>How many chunks have a row.</summary>
    public long Rows { get; }

    /// <summary>K, neighbors of a row.</summary>
    public int Count { get; }

    /// <summary>The name of the source that found them.</summary>
    public string SourceName { get; }

    /// <summary>Whether a chunk's own document was left out.</summary>
    public bool ExcludesOwnDocument { get; }

    /// <summary>The checksum of the tokens of the database whose chunks have rows.</summary>
    public string QueryHash { get; }

    /// <summary>The checksum of the tokens of the database that the neighbors are in; null where the source has no database.</summary>
    public string? RetrievalHash { get; }

    private static ReadOnlySpan<byte> Magic => "RETRONT1"u8;

    private long RetrievalChunks { get; }

    /// <summary>What the rows depend on: the two databases, the source's identity, how many neighbors there are and whether the chunk's own document was left out.</summary>
    public string Identity => string.Create(
        CultureInfo.InvariantCulture, $"{SourceName} {SourceIdentityHash}, {Count} of {RetrievalHash ?? "no database"} for {QueryHash}{(ExcludesOwnDocument ? ", own document left out" : "")}");

    private string SourceIdentityHash { get; }

    /// <summary>Finds the neighbors of every chunk of a database, in blocks, resumable; the same table is not made twice.</summary>
    /// <param name="path">The table's file.</param>
    /// <param name="queries">The database whose chunks get neighbors.</param>
    /// <param name="source">Finds them, in the same database or another.</param>
    /// <param name="count">Neighbors for each chunk.</param>
    /// <param name="excludeOwnDocument">
    /// Whether to leave out a chunk's own document: that document itself where the neighbors come from the same database, and in any case every document of the same id or the same text.
    /// </param>
    /// <param name="progress">Told the chunks done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <returns>The table; dispose it.</returns>
    /// <exception cref="DatabaseException">The file cannot be written, or the two databases have chunks of different tokenizers.</exception>
    public static NeighborTable Build(string path, ChunkDatabase queries, INeighborSource source, int count, bool excludeOwnDocument, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        byte[] name = Encoding.UTF8.GetBytes(source.Name);
        if (name.Length is 0 or > NameSize)
        {
            throw new ArgumentException($"A source's name takes 1 to {NameSize} bytes, and \"{source.Name}\" takes {name.Length}.", nameof(source));
        }

        if (source.Database is { } retrieval && retrieval.Manifest.TokenizerHash != queries.Manifest.TokenizerHash)
        {
            throw new DatabaseException($"The database in {queries.Folder} was made with the tokenizer {queries.Manifest.TokenizerHash} and the one in {retrieval.Folder} with {retrieval.Manifest.TokenizerHash}: make both with one tokenizer.");
        }

        byte[] header = new byte[HeaderSize];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), queries.ChunkCount);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(24), count);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(32), source.Database?.ChunkCount ?? 0);
        header[40] = excludeOwnDocument ? (byte)1 : (byte)0;
        Convert.FromHexString(queries.Manifest.TokensHash).CopyTo(header, 64);
        Convert.FromHexString(source.Database?.Manifest.TokensHash ?? "").CopyTo(header, 96);
        SHA256.HashData(Encoding.UTF8.GetBytes(source.Identity)).CopyTo(header, 128);
        name.CopyTo(header, NameAt);
        if (TryOpen(path, header) is { } made)
        {
            return made;
        }

        using (ResumableFile file = ResumableFile.Open(path, Convert.ToHexStringLower(header), HeaderSize, (long)count * sizeof(long), BlockRows))
        {
            using KeyFile? keys = KeysFor(queries, source);
            SameDocuments? same = excludeOwnDocument && source.Database is not null ? new(queries, source.Database) : null;
            for (long first = file.Rows; first < queries.ChunkCount; first += BlockRows)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new("find neighbors", first, queries.ChunkCount));
                int rows = (int)Math.Min(BlockRows, queries.ChunkCount - first);
                NeighborQuery[] asked = new NeighborQuery[rows];
                for (int i = 0; i < rows; i++)
                {
                    long chunk = first + i;
                    asked[i] = new(queries.Tokens(chunk)[..queries.TokenCount(chunk)].ToArray(), same is null ? [] : [.. same.Of(queries.DocumentOf(chunk))])
                    {
                        Key = keys is null ? default : keys.Row(chunk).ToArray(),
                    };
                }

                long[] found = new long[rows * count];
                source.Find(asked, count, found, new float[found.Length], cancellationToken);
                file.Append(MemoryMarshal.AsBytes<long>(found), rows);
            }

            file.Complete(stream => Finish(stream, header));
        }

        progress?.Report(new("find neighbors", queries.ChunkCount, queries.ChunkCount));
        return Open(path);
    }

    /// <summary>Opens a table. Its size, its checksum and every number in it are checked.</summary>
    /// <param name="path">The table's file.</param>
    /// <exception cref="DatabaseException">It is missing, cut short or damaged.</exception>
    public static NeighborTable Open(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        MappedFile memory = MappedFile.Open(path);
        try
        {
            return new(memory, path);
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>Opens a table that must belong to two databases.</summary>
    /// <param name="path">The table's file.</param>
    /// <param name="queries">The database whose chunks have rows.</param>
    /// <param name="retrieval">The database that the neighbors are in.</param>
    /// <exception cref="DatabaseException">It is missing, cut short or damaged, or was made for other databases: both checksums are named.</exception>
    public static NeighborTable Open(string path, ChunkDatabase queries, ChunkDatabase retrieval)
    {
        NeighborTable table = Open(path);
        try
        {
            table.RequireMatch(queries, retrieval);
            return table;
        }
        catch
        {
            table.Dispose();
            throw;
        }
    }

    /// <summary>Makes sure that the table belongs to two databases.</summary>
    /// <param name="queries">The database whose chunks have rows.</param>
    /// <param name="retrieval">The database that the neighbors are in.</param>
    /// <exception cref="DatabaseException">It was made for others: both checksums are named.</exception>
    public void RequireMatch(ChunkDatabase queries, ChunkDatabase retrieval)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(retrieval);
        if (QueryHash != queries.Manifest.TokensHash)
        {
            throw new DatabaseException($"The neighbor table was made for the chunks of a database with tokens {QueryHash}, and the one in {queries.Folder} has {queries.Manifest.TokensHash}: make the table again.");
        }

        if (RetrievalHash is not null && RetrievalHash != retrieval.Manifest.TokensHash)
        {
            throw new DatabaseException($"The neighbor table names chunks of a database with tokens {RetrievalHash}, and the one in {retrieval.Folder} has {retrieval.Manifest.TokensHash}: make the table again.");
        }
    }

    /// <summary>The neighbors of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <returns>[K] chunk numbers, best first, -1 where there are no more.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public ReadOnlySpan<long> Row(long chunk)
    {
        if (chunk < 0 || chunk >= Rows)
        {
            throw new ArgumentOutOfRangeException(nameof(chunk), chunk, $"The table has rows for the chunks 0 to {Rows - 1}.");
        }

        return new((long*)(memory.Pointer + HeaderSize) + chunk * Count, Count);
    }

    /// <inheritdoc/>
    public void Dispose() => memory.Dispose();

    private static DatabaseException Damaged(string path, string how) => new($"The neighbor table {path} is damaged: {how}. Make it again.");

    /// <summary>The table at a path if it was made of the same things; a damaged or a different one is made again.</summary>
    private static NeighborTable? TryOpen(string path, ReadOnlySpan<byte> header)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            NeighborTable table = Open(path);
            if (new ReadOnlySpan<byte>(table.memory.Pointer, HashAt).SequenceEqual(header[..HashAt]))
            {
                return table;
            }

            table.Dispose();
        }
        catch (DatabaseException)
        {
            // Building replaces it, which is what the message would ask for.
        }

        return null;
    }

    /// <summary>The stored keys of the query database where the source would make the very same ones.</summary>
    private static KeyFile? KeysFor(ChunkDatabase queries, INeighborSource source)
        => source.KeyIdentity is { } identity && queries.Manifest.Find(SearchStages.KeysFile)?.Details.GetValueOrDefault(KeyFile.KeyerDetail) == identity
            ? KeyFile.Open(queries)
            : null;

    private static void Finish(Stream stream, byte[] header)
    {
        using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        sha.AppendData(header, 0, HashAt);
        byte[] buffer = new byte[1 << 20];
        stream.Position = HeaderSize;
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            sha.AppendData(buffer, 0, read);
        }

        sha.GetHashAndReset(header.AsSpan(HashAt));
        stream.Position = 0;
        stream.Write(header);
    }

    private void Hash(Span<byte> hash)
    {
        using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        memory.AppendTo(sha, 0, HashAt);
        memory.AppendTo(sha, HeaderSize, memory.Length);
        sha.GetHashAndReset(hash);
    }
}
