using System.Security.Cryptography;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Neighbors found once for every chunk of a database, on disk and memory-mapped: rows <c>[c, 0..K)</c> of int64 chunk numbers, best first, -1 where there is
/// none. The header names what the table was made of, so that it is used with nothing else.
/// </summary>
/// <remarks>
/// Reading from several threads at once is safe, and disposing beside it. A table in a database's folder is closed with that database at the latest. What
/// reads its neighbors reads them in <see cref="Retrieval"/>, which stays the caller's and has to stay open as long.
/// </remarks>
public sealed unsafe partial class NeighborTable : IDisposable
{
    /// <summary>
    /// Neighbors of a chunk that are kept where nothing is said, 16: twice as many as a small model reads, so that enough remain where the filter of windows
    /// drops some.
    /// </summary>
    public const int UsualCount = 16;

    private readonly MappedFile _memory;
    private readonly NeighborTableHeader _header;
    private ChunkDatabase? _closedWith;

    private NeighborTable(MappedFile memory, string path, ChunkDatabase retrieval, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        _memory = memory;
        if (memory.Length < NeighborTableHeader.Size)
        {
            throw Damaged(path, $"it has {memory.Length} bytes and its header alone takes {NeighborTableHeader.Size}");
        }

        _header = NeighborTableHeader.Read(new(memory.Pointer, NeighborTableHeader.Size), memory.Length, path);
        Check(path, progress, cancellationToken);
        Retrieval = retrieval;
        if (RetrievalHash is not null && (RetrievalHash != retrieval.Manifest.TokensHash || _header.RetrievalChunks != retrieval.ChunkCount))
        {
            throw new DatabaseException(
                $"The neighbor table {path} names chunks of a database of {_header.RetrievalChunks} with tokens {RetrievalHash}, and the one in "
                    + $"{retrieval.Folder} has {retrieval.ChunkCount} with {retrieval.Manifest.TokensHash}: make the table again.");
        }
    }

    /// <summary>The database that the neighbors are in, the source's; where the source has none, that of the chunks with rows.</summary>
    public ChunkDatabase Retrieval { get; }

    /// <summary>How many chunks have a row.</summary>
    public long Rows => _header.Rows;

    /// <summary>K, neighbors of a row.</summary>
    public int Count => _header.Count;

    /// <summary>The name of the source that found them.</summary>
    public string SourceName => _header.SourceName;

    /// <summary>Whether a chunk's own document was left out.</summary>
    public bool ExcludesOwnDocument => _header.ExcludesOwnDocument;

    /// <summary>
    /// What the rows depend on: the two databases, the source's identity, how many neighbors there are and whether the chunk's own document was left out.
    /// </summary>
    public string Identity => _header.Identity;

    /// <summary>The checksum of the tokens of the database whose chunks have rows.</summary>
    internal string QueryHash => _header.QueryHash;

    /// <summary>The checksum of the tokens of the database that the neighbors are in; null where the source has no database.</summary>
    internal string? RetrievalHash => _header.RetrievalHash;

    /// <summary>Opens a table that a source has given for a database's chunks; makes nothing.</summary>
    /// <param name="queries">The database whose chunks have neighbors.</param>
    /// <param name="source">The source that found them.</param>
    /// <param name="count">Neighbors of each chunk.</param>
    /// <param name="excludeOwnDocument">Whether a chunk's own document was left out.</param>
    /// <param name="progress">Receives the number of bytes checked.</param>
    /// <param name="cancellationToken">Stops the checking.</param>
    /// <returns>The table; dispose it, or the database of the queries.</returns>
    /// <exception cref="DatabaseException">There is none of this source with these settings, or it is damaged.</exception>
    public static NeighborTable Open(
        ChunkDatabase queries,
        INeighborSource source,
        int count = UsualCount,
        bool excludeOwnDocument = true,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        string file = FileName(queries, source, count, excludeOwnDocument);
        if (!StageFile.IsMade(queries, file, Details(source, count, excludeOwnDocument)))
        {
            // A source that misses a file, such as keys, may be another than the one that a table was made by.
            string[] faults = [.. (source.Database ?? queries).Faults];
            throw new DatabaseException(
                $"The database in {queries.Folder} has no table of {count} neighbors by {source.Name} with its present settings ({file}): build it first"
                    + (faults.Length == 0 ? "." : $", or bring back what the source of a table may have had: {string.Join(" ", faults)}"));
        }

        NeighborTable table = Open(queries.PathOf(file), source.Database ?? queries, progress, cancellationToken);
        try
        {
            table.RequireMatch(queries);
            return table.ClosedWith(queries);
        }
        catch
        {
            table.Dispose();
            throw;
        }
    }

    /// <summary>Opens a table. Its size, its checksum and every number in it are checked.</summary>
    /// <param name="path">The table's file.</param>
    /// <param name="retrieval">The database that the neighbors are in.</param>
    /// <param name="progress">Receives the number of bytes checked.</param>
    /// <param name="cancellationToken">Stops the checking.</param>
    /// <returns>The table; dispose it.</returns>
    /// <exception cref="DatabaseException">It is missing, cut short or damaged, or of another database.</exception>
    internal static NeighborTable Open(
        string path, ChunkDatabase retrieval, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        MappedFile memory = MappedFile.Open(path);
        try
        {
            return new(memory, path, retrieval, progress, cancellationToken);
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>The neighbors of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <returns>[K] chunk numbers, best first, -1 where there are no more; a copy, which stays when the table is disposed.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    /// <exception cref="ObjectDisposedException">The table was disposed.</exception>
    public ReadOnlySpan<long> Row(long chunk)
    {
        if (chunk < 0 || chunk >= Rows)
        {
            throw new ArgumentOutOfRangeException(nameof(chunk), chunk, $"The table has rows for the chunks 0 to {Rows - 1}.");
        }

        using SharedHandle.Held held = _memory.Hold();
        return new ReadOnlySpan<long>((long*)(held.Address + NeighborTableHeader.Size) + (chunk * Count), Count).ToArray();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _closedWith?.Closed(this);
        _memory.Dispose();
    }

    /// <summary>Makes sure that the table belongs to a database.</summary>
    /// <param name="queries">The database whose chunks have rows.</param>
    /// <exception cref="DatabaseException">It was made for another: both checksums are named.</exception>
    internal void RequireMatch(ChunkDatabase queries)
    {
        if (QueryHash != queries.Manifest.TokensHash || Rows != queries.ChunkCount)
        {
            throw new DatabaseException(
                $"The neighbor table was made for the {Rows} chunks of a database with tokens {QueryHash}, and the one in {queries.Folder} has "
                    + $"{queries.ChunkCount} with {queries.Manifest.TokensHash}: make the table again.");
        }
    }

    /// <summary>Makes sure that as many neighbors are there as are to be read.</summary>
    /// <param name="read">K, neighbors of a chunk that are read.</param>
    /// <param name="reader">Who reads them; null: whoever asks.</param>
    /// <exception cref="ArgumentException">The table holds fewer.</exception>
    internal void RequireCount(int read, string? reader = null)
    {
        if (read > Count)
        {
            throw new ArgumentException(
                $"{read} neighbors per chunk are to be read{(reader is null ? "" : $" by {reader}")}, and the table holds {Count}; make a table of as many, or "
                    + "read fewer.");
        }
    }

    internal static DatabaseException Damaged(string path, string how) => new($"The neighbor table {path} is damaged: {how}. Make it again.");

    private NeighborTable ClosedWith(ChunkDatabase queries)
    {
        _closedWith = queries;
        return queries.Opened(this);
    }

    /// <summary>Checks every number and the checksum, in one pass over the file.</summary>
    private void Check(string path, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        const long Block = 1 << 21; // numbers
        using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        _memory.AppendTo(sha, 0, NeighborTableHeader.HashAt);
        long* numbers = (long*)(_memory.Pointer + NeighborTableHeader.Size);
        for (long first = 0, total = Rows * Count; first < total; first += Block)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new("check neighbors", first / Count, Rows));
            long end = Math.Min(total, first + Block);
            _memory.AppendTo(sha, NeighborTableHeader.Size + first * sizeof(long), NeighborTableHeader.Size + end * sizeof(long));
            for (long i = first; i < end; i++)
            {
                if (numbers[i] < -1 || numbers[i] >= _header.RetrievalChunks)
                {
                    throw Damaged(path, $"chunk {i / Count} has the neighbor {numbers[i]} in a database of {_header.RetrievalChunks} chunks");
                }
            }
        }

        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        sha.GetHashAndReset(hash);
        if (!hash.SequenceEqual(new ReadOnlySpan<byte>(_memory.Pointer + NeighborTableHeader.HashAt, hash.Length)))
        {
            throw Damaged(path, "its checksum does not match its content");
        }
    }
}
