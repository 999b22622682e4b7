using Retro.Database;

namespace Retro.Search;

/// <summary>Documents in the order of the best of their chunks, which are what a source finds.</summary>
internal static class RankedDocuments
{
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
            foreach ((int query, (long[] found, float[] scores)) in open.Zip(source.AskEach(open.Select(one => queries[one]), wide, cancellationToken)))
            {
                ranked[query] =
                [
                    .. found.Zip(scores).Where(one => one.First >= 0)
                        .Select(one => (Document: database.DocumentOf(one.First), Score: one.Second))
                        .DistinctBy(one => one.Document).Where(one => admits?.Invoke(one.Document) ?? true).Take(count),
                ];
                if (ranked[query].Length < count && wide < last && found[^1] >= 0)
                {
                    further.Add(query);
                }
            }

            open = [.. further];
        }

        return ranked;
    }
}
