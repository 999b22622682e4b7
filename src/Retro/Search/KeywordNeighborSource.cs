using System.Globalization;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Neighbors by BM25 over token ids. A chunk asks for each of its different tokens once: on two collections of reference pages the two best neighbors then hold
/// as much of the chunk that follows as with every repetition counted, or more (.353 against .344 of its rarer tokens, and .463 against .465). The end-of-text
/// token is no term.
/// </summary>
/// <remarks>
/// It owns the index that <see cref="Build"/> or <see cref="Open"/> opened, which is closed with the database at the latest; the database stays the caller's.
/// </remarks>
public sealed class KeywordNeighborSource : INeighborSource, IDisposable
{
    // One for each segment of the database.
    private readonly Bm25Index[] _indexes;
    private readonly int _threads;
    private readonly bool _ownsIndex;

    /// <summary>Creates the source.</summary>
    /// <param name="database">The database.</param>
    /// <param name="index">The keyword index of its chunks.</param>
    /// <param name="threads">Threads that search at once; 0 for one per processor.</param>
    /// <param name="ownsIndex">Whether the index is disposed with the source.</param>
    /// <exception cref="DatabaseException">The index holds another number of chunks.</exception>
    internal KeywordNeighborSource(ChunkDatabase database, Bm25Index index, int threads = 0, bool ownsIndex = false)
        : this(database, [index], threads, ownsIndex)
    {
    }

    private KeywordNeighborSource(ChunkDatabase database, Bm25Index[] indexes, int threads, bool ownsIndex)
    {
        for (int segment = 0; segment < indexes.Length; segment++)
        {
            if (indexes[segment].Count != database.Segments[segment].ChunkCount)
            {
                throw new DatabaseException(
                    $"The keyword index holds {indexes[segment].Count} chunks and the database in {database.Segments[segment].Folder} has "
                        + $"{database.Segments[segment].ChunkCount}: build the index again.");
            }

            if ((indexes[segment].K1, indexes[segment].B) != (indexes[0].K1, indexes[0].B))
            {
                throw new DatabaseException(string.Create(
                    CultureInfo.InvariantCulture,
                    $"The keyword indexes of the database were built with k1 {indexes[0].K1} and b {indexes[0].B}, and with k1 {indexes[segment].K1} and b {indexes[segment].B}: build them with the same."));
            }
        }

        Database = database;
        _indexes = indexes;
        _threads = threads;
        _ownsIndex = ownsIndex;
        Identity = NeighborQueries.Identity([Name, database.Manifest.TokensHash, indexes[0].K1, indexes[0].B, "distinct"]);
        if (indexes.Length > 1 || database.Removed[0].Length > 0)
        {
            Bm25Index.Join(indexes, [.. database.Segments.Select((segment, i) => database.Removed[i].SelectMany(segment.ChunkNumbersOf))]);
        }
    }

    /// <inheritdoc/>
    public string Name => "bm25";

    /// <inheritdoc/>
    public ChunkDatabase Database { get; }

    /// <inheritdoc/>
    public string Identity { get; }

    /// <summary>
    /// Makes the keyword index of the chunks' tokens (<c>bm25.bin</c> in the database's folder), where it is not there whole and with these constants, and
    /// opens the source. Where shares of it are there (<see cref="BuildShare"/>), it is joined of them. An index beyond
    /// <see cref="KeywordNeighborOptions.Memory"/> is made in blocks, which are such shares too.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="options">The constants of BM25, and how it is searched.</param>
    /// <param name="progress">Receives how much of the work is done.</param>
    /// <param name="cancellationToken">Stops the work; the next run starts over, or goes on with the blocks that are there.</param>
    /// <returns>The source; dispose it, or the database.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">The file cannot be written or read; or a share is missing or damaged: it is named.</exception>
    public static KeywordNeighborSource Build(
        ChunkDatabase database,
        KeywordNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
        => From(database, segment => Bm25Index.Build(segment, options, progress, cancellationToken), options);

    /// <summary>
    /// Indexes a share of the chunks, for several machines or processes at once on one storage: files of its own beside the keyword index
    /// (<c>bm25.3-of-8.bin</c>; several of a greater number where the memory asks for that). When all shares are there, <see cref="Build"/> joins them, and
    /// removes them; the index is that of a build without shares, byte for byte.
    /// </summary>
    /// <param name="database">The database, which may be changed by nobody meanwhile.</param>
    /// <param name="share">The share.</param>
    /// <param name="options">The constants of BM25 that the index will have, and the memory, which is the same for all shares.</param>
    /// <param name="progress">Receives how much of the work is done.</param>
    /// <param name="cancellationToken">Stops the work; the next run goes on with the files that are there.</param>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">Another process makes the same share, or its file cannot be written.</exception>
    public static void BuildShare(
        ChunkDatabase database,
        WorkShare share,
        KeywordNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        foreach (ChunkDatabase segment in database.Segments)
        {
            Bm25Index.BuildShare(segment, share, options, progress, cancellationToken);
        }
    }

    /// <summary>Opens the source from what <see cref="Build"/> made; makes nothing.</summary>
    /// <param name="database">The database.</param>
    /// <param name="options">The constants that the index has to have been made with, and how it is searched; null for whatever constants there are.</param>
    /// <param name="progress">Receives the number of bytes checked.</param>
    /// <param name="cancellationToken">Stops the checking.</param>
    /// <returns>The source; dispose it, or the database.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">There is no index, it is damaged, or it was made with other constants: both are named.</exception>
    public static KeywordNeighborSource Open(
        ChunkDatabase database,
        KeywordNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
        => From(database, segment => Bm25Index.Open(segment, options, progress, cancellationToken), options);

    /// <summary>Closes the index that <see cref="Build"/> or <see cref="Open"/> opened.</summary>
    public void Dispose()
    {
        if (_ownsIndex)
        {
            Database.Closed(this);
            Array.ForEach(_indexes, index => index.Dispose());
        }
    }

    /// <summary>The terms of a chunk: its tokens without the end-of-text tokens before and after the document.</summary>
    /// <param name="database">The database.</param>
    /// <param name="chunk">The chunk's number.</param>
    internal static ReadOnlySpan<int> TermsOf(ChunkDatabase database, long chunk)
    {
        ArgumentNullException.ThrowIfNull(database);
        return TermsOf(database, database.OwnTokens(chunk));
    }

    /// <summary>The same of a chunk's own tokens, in place.</summary>
    internal static ReadOnlySpan<int> TermsOf(ChunkDatabase database, ReadOnlySpan<int> tokens) => tokens.Trim(database.Manifest.Bounds);

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        ExcludedChunks[][] excluded = [.. Enumerable.Range(0, _indexes.Length).Select(segment => NeighborQueries.Excluded(Database, queries, segment))];
        if (queries.Count == 1)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Find(queries, 0, excluded, chunks, scores);
            return;
        }

        // Spans cannot go to other threads; the rows are small beside the work.
        long[] found = new long[chunks.Length];
        float[] values = new float[scores.Length];
        ParallelLoop.For(
            queries.Count,
            q => Find(queries, q, excluded, found.AsSpan(q * count, count), values.AsSpan(q * count, count)),
            _threads,
            cancellationToken);
        found.CopyTo(chunks);
        values.CopyTo(scores);
    }

    /// <summary>The BM25 scores of chunks for a query; 0 for one that shares no token with it.</summary>
    internal double[] Scores(in NeighborQuery query, ReadOnlySpan<long> chunks)
    {
        ReadOnlySpan<int> terms = Terms(query);
        double[] scores = new double[chunks.Length];
        for (int i = 0; i < scores.Length; i++)
        {
            (int segment, long chunk) = Database.SegmentOf(chunks[i]);
            scores[i] = _indexes[segment].Score(terms, chunk);
        }

        return scores;
    }

    /// <summary>What of a chunk is not in the index as it is in the database; null: all is.</summary>
    internal string? FaultOf(long chunk)
    {
        (int segment, long local) = Database.SegmentOf(chunk);
        return _indexes[segment].FaultOf(local, TermsOf(Database, chunk));
    }

    private static KeywordNeighborSource From(ChunkDatabase database, Func<ChunkDatabase, Bm25Index> indexOf, KeywordNeighborOptions? options)
    {
        ArgumentNullException.ThrowIfNull(database);
        List<Bm25Index> indexes = [];
        try
        {
            indexes.AddRange(database.Segments.Select(indexOf));
            return database.Opened(new KeywordNeighborSource(database, [.. indexes], options?.Threads ?? 0, ownsIndex: true));
        }
        catch
        {
            indexes.ForEach(index => index.Dispose());
            throw;
        }
    }

    /// <summary>The different tokens of a query.</summary>
    private ReadOnlySpan<int> Terms(in NeighborQuery query)
    {
        int[] terms = query.Tokens.Span.Trim(Database.Manifest.Bounds).ToArray();
        Array.Sort(terms);
        int different = 0;
        for (int i = 0; i < terms.Length; i++)
        {
            if (i == 0 || terms[i] != terms[i - 1])
            {
                terms[different++] = terms[i];
            }
        }

        return terms.AsSpan(0, different);
    }

    private void Find(IReadOnlyList<NeighborQuery> queries, int q, ExcludedChunks[][] excluded, Span<long> chunks, Span<float> scores)
    {
        NeighborQuery query = queries[q];
        ReadOnlySpan<int> terms = Terms(query);
        long[][] found = new long[_indexes.Length][];
        double[][] exact = new double[_indexes.Length][];
        for (int segment = 0; segment < found.Length; segment++)
        {
            int most = NeighborQueries.Most(Database.Segments[segment], chunks.Length);
            (found[segment], exact[segment]) = (new long[most], new double[most]);
            _indexes[segment].Search(
                terms,
                found[segment],
                exact[segment],
                excluded[segment][q],
                NeighborQueries.Among(Database, segment, query));
        }

        SegmentResults.Merge(Database.Number, found, exact, chunks.Length, chunks, scores);
    }
}
