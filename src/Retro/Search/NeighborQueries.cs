using Retro.Database;

namespace Retro.Search;

/// <summary>What every source does with its arguments.</summary>
internal static class NeighborQueries
{
    /// <summary>Places that are asked for at once at most, where a query is not asked alone.</summary>
    private const int Together = 1 << 20;

    public static void Check(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        long expected = (long)queries.Count * count;
        if (chunks.Length != expected || scores.Length != expected)
        {
            throw new ArgumentException(
                $"Expected room for {queries.Count} rows of {count} chunks and scores, got {chunks.Length} and {scores.Length}.", nameof(chunks));
        }
    }

    /// <summary>K, or the chunks of the database where these are fewer: nothing finds more than there is, and room for it would be taken in vain.</summary>
    public static int Most(ChunkDatabase? database, int count) => (int)Math.Min(count, database?.ChunkCount ?? count);

    /// <summary>n·K, the places for K neighbors of each of n queries.</summary>
    /// <exception cref="ArgumentException">They are more than an array has.</exception>
    public static int Places(int queries, int count)
        => (long)queries * count is var places && places <= Array.MaxLength
            ? (int)places
            : throw new ArgumentException(
                $"{queries} queries for {count} neighbors each need {places} places, and an array has at most {Array.MaxLength}: ask fewer at once, or for "
                    + "fewer.",
                nameof(count));

    /// <summary>
    /// Asks a source, records it where somebody listens (<see cref="RetroTelemetry"/>), and refuses an answer that it must not give: the source may be the
    /// caller's own, and others' documents depend on it.
    /// </summary>
    /// <param name="source">The source.</param>
    /// <param name="queries">n queries.</param>
    /// <param name="count">K, neighbors wanted for each.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns><c>[n, K]</c> chunk numbers and scores, as <see cref="INeighborSource.Find"/> gives them.</returns>
    /// <exception cref="ArgumentException">n·K places are more than an array has.</exception>
    /// <exception cref="DatabaseException">What the source finds is not in its database, or in a document that the query excludes or does not show; or it comes
    /// twice, or without a score.</exception>
    public static (long[] Chunks, float[] Scores) Ask(
        this INeighborSource source, IReadOnlyList<NeighborQuery> queries, int count, CancellationToken cancellationToken)
    {
        long[] chunks = new long[Places(queries.Count, count)];
        float[] scores = new float[chunks.Length];
        RetroTelemetry.Timed(RetroTelemetry.RetrievalDuration, "retro.source", source.Name, () =>
        {
            source.FindInto(queries, count, chunks, scores, cancellationToken);
            return chunks;
        });
        RetroTelemetry.Found(source.Name, queries.Count, count, chunks, scores);
        Require(source, queries, count, chunks, scores);
        return (chunks, scores);
    }

    /// <summary>Asks a source as <see cref="Ask"/> does, any number of queries: as many at once as their answers have room for.</summary>
    /// <returns>For each query its K chunk numbers and scores.</returns>
    public static IEnumerable<(long[] Chunks, float[] Scores)> AskEach(
        this INeighborSource source, IEnumerable<NeighborQuery> queries, int count, CancellationToken cancellationToken)
    {
        foreach (NeighborQuery[] some in queries.Chunk(Math.Max(1, Together / count)))
        {
            (long[] chunks, float[] scores) = source.Ask(some, count, cancellationToken);
            for (int row = 0; row < chunks.Length; row += count)
            {
                yield return (chunks[row..(row + count)], scores[row..(row + count)]);
            }
        }
    }

    /// <summary>
    /// Asks a source for another that is made of it, and refuses what <see cref="Ask"/> does: a chunk that came twice would count twice, and a fault would be
    /// told of the one that was asked first.
    /// </summary>
    /// <exception cref="DatabaseException">It finds what it must not.</exception>
    public static void AskInto(
        this INeighborSource source,
        IReadOnlyList<NeighborQuery> queries,
        int count,
        Span<long> chunks,
        Span<float> scores,
        CancellationToken cancellationToken)
    {
        source.FindInto(queries, count, chunks, scores, cancellationToken);
        Require(source, queries, count, chunks, scores);
    }

    /// <summary>Asks a source; a place that it leaves as it came, as one of the caller's own may, holds nothing, and not chunk 0.</summary>
    private static void FindInto(
        this INeighborSource source,
        IReadOnlyList<NeighborQuery> queries,
        int count,
        Span<long> chunks,
        Span<float> scores,
        CancellationToken cancellationToken)
    {
        chunks.Fill(-1);
        scores.Fill(float.NaN);
        source.Find(queries, count, chunks, scores, cancellationToken);
    }

    /// <summary>The chunks that a query's labels show; null: every one.</summary>
    public static ChunkSet? Visible(ChunkDatabase database, in NeighborQuery query)
        => LabelsOf(query) is { } labels ? database.Labels.Visible(labels) : null;

    /// <summary>The chunks of a segment of the database that were not removed and that a query's labels show, numbered as there; null: every one.</summary>
    public static ChunkSet? Among(ChunkDatabase database, int segment, in NeighborQuery query) => database.Among(segment, LabelsOf(query));

    /// <summary>The labels that a query may see; null: all of them.</summary>
    public static IReadOnlyList<string>? LabelsOf(in NeighborQuery query)
        => query.Labels?.Contains(null!) == true
            ? throw new ArgumentException("Labels must not hold null; leave them out to see everything.", nameof(query))
            : query.Labels;

    /// <summary>One text for everything that an answer depends on.</summary>
    public static string Identity(params ReadOnlySpan<object?> parts) => IdentityHash.Of(IdentityHash.SourceEnd, parts);

    /// <summary>
    /// The chunks that each of some queries excludes. They are made once of a list that several queries have: where many documents have one text, each of their
    /// chunks excludes all of them.
    /// </summary>
    public static ExcludedChunks[] Excluded(ChunkDatabase database, IReadOnlyList<NeighborQuery> queries, int? segment = null)
    {
        Dictionary<IReadOnlyList<int>, ExcludedChunks> made = [];
        ExcludedChunks[] excluded = new ExcludedChunks[queries.Count];
        for (int i = 0; i < excluded.Length; i++)
        {
            NeighborQuery query = queries[i];
            if (query.ExcludedDocuments is { Count: > 0 } documents && !made.TryGetValue(documents, out excluded[i]))
            {
                made.Add(documents, excluded[i] = Excluded(database, query, segment));
            }
        }

        return excluded;
    }

    /// <summary>The chunks of the excluded documents; where a segment of the database is named, those in it, numbered as there.</summary>
    public static ExcludedChunks Excluded(ChunkDatabase database, in NeighborQuery query, int? segment = null)
    {
        IReadOnlyList<int> documents = query.ExcludedDocuments ?? [];
        ChunkRange[] ranges = new ChunkRange[documents.Count];
        for (int i = 0; i < ranges.Length; i++)
        {
            int document = documents[i];
            if (document < 0 || document >= database.Documents.Count)
            {
                throw new ArgumentException(
                    $"The documents of the database are numbered 0 to {database.Documents.Count - 1}, and document {document} is to be excluded.",
                    nameof(query));
            }

            (int of, int local) = segment is null ? (-1, document) : database.SegmentOf(document);
            (long first, long count) = segment is null ? database.ChunksOf(document) : of == segment ? database.Segments[of].ChunksOf(local) : (0, 0);
            ranges[i] = new(first, count);
        }

        return new(ranges);
    }

    /// <exception cref="DatabaseException">It finds what is not in its database, or what a query does not admit; or twice, or without a score.</exception>
    private static void Require(
        INeighborSource source, IReadOnlyList<NeighborQuery> queries, int count, ReadOnlySpan<long> chunks, ReadOnlySpan<float> scores)
    {
        if (source.Database is not { } database)
        {
            if (chunks.IndexOfAnyExcept(-1) is var at and >= 0)
            {
                throw new DatabaseException(
                    $"The source {source.Name} finds chunks (the first is {chunks[at]}) and names no database that they are in: give its "
                        + $"{nameof(INeighborSource)}.{nameof(INeighborSource.Database)}.");
            }

            return;
        }

        ExcludedChunks[] excluded = Excluded(database, queries);
        long[] sorted = new long[count];
        for (int q = 0; q < queries.Count; q++)
        {
            ChunkSet? visible = Visible(database, queries[q]);
            ReadOnlySpan<long> row = chunks.Slice(q * count, count);
            for (int i = 0; i < count; i++)
            {
                long chunk = row[i];
                if (chunk < -1 || chunk >= database.ChunkCount)
                {
                    throw new DatabaseException(
                        $"The source {source.Name} finds chunk {chunk}, and its database in {database.Folder} has the chunks 0 to "
                            + $"{database.ChunkCount - 1}: fix the source.");
                }

                if (chunk >= 0 && !excluded[q].Admits(chunk, visible))
                {
                    throw new DatabaseException(
                        $"The source {source.Name} finds chunk {chunk}, of the document {database.Documents[database.DocumentOf(chunk)].Id}, which the query "
                            + $"excludes or its labels do not show: fix the source ({nameof(NeighborQuery)}.{nameof(NeighborQuery.Admits)} tells what may "
                            + "come).");
                }

                if (chunk >= 0 && float.IsNaN(scores[(q * count) + i]))
                {
                    throw new DatabaseException($"The source {source.Name} finds chunk {chunk} and gives it no score but NaN: fix the source.");
                }
            }

            row.CopyTo(sorted);
            Array.Sort(sorted);
            for (int i = 1; i < count; i++)
            {
                if (sorted[i] >= 0 && sorted[i] == sorted[i - 1])
                {
                    throw new DatabaseException($"The source {source.Name} finds chunk {sorted[i]} twice for one query: fix the source.");
                }
            }
        }
    }
}
