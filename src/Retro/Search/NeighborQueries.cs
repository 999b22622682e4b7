using Retro.Database;

namespace Retro.Search;

/// <summary>What every source does with its arguments.</summary>
internal static class NeighborQueries
{
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

    /// <summary>The chunks of the excluded documents, as sorted ranges that do not touch.</summary>
    public static ChunkRange[] Excluded(ChunkDatabase database, in NeighborQuery query)
    {
        IReadOnlyList<int> documents = query.ExcludedDocuments ?? [];
        if (documents.Count == 0)
        {
            return [];
        }

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

            DocumentEntry entry = database.Documents[document];
            ranges[i] = new(entry.FirstChunk, entry.ChunkCount);
        }

        return ranges.AsSpan(0, ChunkRanges.Normalize(ranges)).ToArray();
    }

    /// <summary>The chunks that a query's labels show; null: every one.</summary>
    public static ChunkSet? Visible(ChunkDatabase database, in NeighborQuery query)
        => query.Labels is { } labels && labels.Contains(null!)
            ? throw new ArgumentException("Labels must not hold null; leave them out to see everything.", nameof(query))
            : query.Labels is null ? null : database.Labels.Visible(query.Labels);

    /// <summary>One text for everything that an answer depends on.</summary>
    public static string Identity(params ReadOnlySpan<object?> parts) => IdentityHash.Of(IdentityHash.SourceEnd, parts);
}
