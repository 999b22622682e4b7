using Retro.Database;

namespace Retro.Search;

/// <summary>
/// One source over several databases (shards) on this machine's disks: they are opened as one (<see cref="ChunkDatabase.Open(IReadOnlyList{string}, bool,
/// IProgress{StageProgress}, CancellationToken)"/>), every index is asked, and what they find is merged by score. Scores are those of one database of all the
/// documents: the dense ones are of one function and one metric, and BM25 counts documents and words over all shards.
/// </summary>
/// <remarks>It owns the database and whatever was opened of it.</remarks>
public sealed class ShardedNeighborSource : INeighborSource, IDisposable
{
    private readonly INeighborSource _source;
    private readonly int _all;

    private ShardedNeighborSource(ChunkDatabase database, INeighborSource source, IReadOnlyList<string> leftOut, int all)
        => (Database, _source, LeftOut, _all) = (database, source, leftOut, all);

    /// <summary>The source's name; where shards are left out, with how many of how many were read: "dense-3-of-4".</summary>
    public string Name => LeftOut.Count == 0 ? _source.Name : $"{_source.Name}-{_all - LeftOut.Count}-of-{_all}";

    /// <summary>The shards as one database, in whose numbers chunks are found; closed with the source.</summary>
    public ChunkDatabase Database { get; }

    /// <inheritdoc/>
    public string Identity => LeftOut.Count == 0 ? _source.Identity : NeighborQueries.Identity(_source.Identity, "left out", LeftOut.Count);

    /// <inheritdoc/>
    public string? KeyIdentity => _source.KeyIdentity;

    /// <summary>The shards that could not be read and were left out, a sentence each.</summary>
    public IReadOnlyList<string> LeftOut { get; }

    /// <summary>Opens the shards and the source over them.</summary>
    /// <param name="folders">The databases, of one tokenizer and chunk length; chunks are numbered in this order.</param>
    /// <param name="open">Opens any source over a database, such as <see cref="DenseNeighborSource.Open"/> with a keyer.</param>
    /// <param name="leaveOutUnreadable">
    /// Whether a shard whose database or index cannot be read is left out, which a message of the progress, <see cref="LeftOut"/>, the name and the identity
    /// say; it is an error otherwise.
    /// </param>
    /// <param name="progress">Told which shards are left out.</param>
    /// <param name="cancellationToken">Stops the opening.</param>
    /// <returns>The source; dispose it.</returns>
    /// <exception cref="ArgumentException">There is no folder, one is named twice, or the source is over another database.</exception>
    /// <exception cref="RetroException">A shard cannot be read, or none can; or they do not belong together.</exception>
    public static ShardedNeighborSource Open(
        IReadOnlyList<string> folders,
        Func<ChunkDatabase, INeighborSource> open,
        bool leaveOutUnreadable = false,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(folders);
        ArgumentNullException.ThrowIfNull(open);
        List<string> left = [];
        try
        {
            return Opened(folders);
        }
        catch (RetroException) when (leaveOutUnreadable)
        {
            // One of them, or what they are together; each by itself tells which.
        }

        List<string> readable = [];
        foreach (string folder in folders)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                using ShardedNeighborSource alone = Opened([folder]);
                readable.Add(folder);
            }
            catch (RetroException fault)
            {
                left.Add($"The shard in '{folder}' is left out: {fault.Message}");
                progress?.Report(new("open shards", readable.Count, folders.Count, left[^1]));
            }
        }

        return readable.Count > 0
            ? Opened(readable)
            : throw new DatabaseException($"None of the {folders.Count} shards can be read: {string.Join(' ', left)}");

        ShardedNeighborSource Opened(IReadOnlyList<string> some)
        {
            ChunkDatabase database = ChunkDatabase.Open(some, cancellationToken: cancellationToken);
            try
            {
                INeighborSource source = open(database);
                return ReferenceEquals(source.Database, database)
                    ? new(database, source, left, folders.Count)
                    : throw new ArgumentException($"The source {source.Name} is not over the database that it was to be opened over.", nameof(open));
            }
            catch
            {
                database.Dispose();
                throw;
            }
        }
    }

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        => _source.Find(queries, count, chunks, scores, cancellationToken);

    /// <summary>Closes the database and what was opened of it.</summary>
    public void Dispose()
    {
        (_source as IDisposable)?.Dispose();
        Database.Dispose();
    }
}
