using Retro.Database;

namespace Retro.Search;

/// <summary>Documents in the order of the best of their chunks, which are what a source finds.</summary>
internal static class RankedDocuments
{
    /// <summary>Chunks that are asked for at once at most, where a query is not asked alone.</summary>
    private const int Together = 1 << 20;

    /// <summary>
    /// Ranks documents for each of some queries. A document can have any number of chunks, so that more and more are asked for, until they are of documents
    /// enough, or there are no more.
    /// </summary>
    /// <param name="source">The source; it has a database.</param>
    /// <param name="queries">The queries; for one without tokens nothing is found.</param>
    /// <param name="count">Documents at most for each.</param>
    /// <param name="admits">Which documents count; null: all that are found.</param>
    /// <param name="most">Chunks that are asked for at most, for that many documents; null: all there are.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>For each query the documents, best first, each once and with the score of its best chunk.</returns>
    public static (int Document, float Score)[][] Of(
        INeighborSource source,
        IReadOnlyList<NeighborQuery> queries,
        int count,
        Func<int, bool>? admits = null,
        int? most = null,
        CancellationToken cancellationToken = default)
    {
        ChunkDatabase database = source.Database!;
        (int Document, float Score)[][] ranked = [.. queries.Select(_ => Array.Empty<(int, float)>())];
        int last = (int)Math.Min(database.ChunkCount, Math.Min(most ?? int.MaxValue, Array.MaxLength));
        int[] open = last == 0 ? [] : [.. Enumerable.Range(0, queries.Count).Where(query => !queries[query].Tokens.IsEmpty)];
        for (int wide = (int)Math.Min(2L * count, last); open.Length > 0; wide = (int)Math.Min(2L * wide, last))
        {
            List<int> further = [];
            foreach (int[] some in open.Chunk(Math.Max(1, Together / wide)))
            {
                (long[] chunks, float[] scores) = source.Ask([.. some.Select(query => queries[query])], wide, cancellationToken);
                for (int i = 0; i < some.Length; i++)
                {
                    long[] found = chunks[(i * wide)..((i + 1) * wide)];
                    ranked[some[i]] =
                    [
                        .. found.Zip(scores.Skip(i * wide)).Where(one => one.First >= 0)
                            .Select(one => (Document: database.DocumentOf(one.First), Score: one.Second))
                            .DistinctBy(one => one.Document).Where(one => admits?.Invoke(one.Document) ?? true).Take(count),
                    ];
                    if (ranked[some[i]].Length < count && wide < last && found[^1] >= 0)
                    {
                        further.Add(some[i]);
                    }
                }
            }

            open = [.. further];
        }

        return ranked;
    }
}
