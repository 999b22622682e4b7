using Retro.Database;
using Retro.Search;

namespace Retro.Readers;

/// <summary>
/// Retrieval anew every few tokens rather than once a chunk: for the stretch of text that ends at a place, the neighbors of the last tokens before that place.
/// What is found is fresher the shorter the stretches are; chunks of the database stay as they are.
/// </summary>
internal static class StrideRetrieval
{
    /// <summary>Retrieves for the complete stretches of some windows of documents whose next tokens are predicted.</summary>
    /// <param name="database">The database of the text.</param>
    /// <param name="windows">
    /// First chunk, number of tokens and place of the first token that is predicted, or that what is predicted depends on, of each window, which lies in one
    /// document; B of them.
    /// </param>
    /// <param name="plan">What is asked for, and when; the last tokens that are asked with may stand before the window.</param>
    /// <param name="source">Finds the neighbors of all stretches, in a database.</param>
    /// <param name="excluded">Documents of the source's database that must not come for a document of the text.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>[B, T/s, K, R], T being the longest window; null where no window has a complete stretch.</returns>
    public static RetrievedTokens? Of(
        ChunkDatabase database,
        IReadOnlyList<(long FirstChunk, int Tokens, int FirstTarget)> windows,
        ReadingPlan plan,
        INeighborSource source,
        Func<int, IReadOnlyList<int>>? excluded = null,
        CancellationToken cancellationToken = default)
    {
        int stride = plan.Stride;
        int stretches = windows.Max(window => window.Tokens) / stride;
        if (stretches == 0)
        {
            return null;
        }

        List<NeighborQuery> queries = [];
        List<(int Row, int Stretch, int Query)> places = [];
        Dictionary<long, int> asked = []; // where windows overlap they ask the same, after a token of the database
        for (int row = 0; row < windows.Count; row++)
        {
            (long firstChunk, int tokens, int firstTarget) = windows[row];
            int document = database.DocumentOf(firstChunk);
            IReadOnlyList<int> without = excluded?.Invoke(document) ?? [];
            long documentStart = database.ChunksOf(document).First * database.ChunkLength, start = firstChunk * database.ChunkLength;
            // What is found for a stretch serves to read the next one: nothing is asked for what is read in vain.
            for (int stretch = Math.Max(0, (firstTarget / stride) - 1); stretch < tokens / stride; stretch++)
            {
                long end = start + ((stretch + 1) * (long)stride);
                if (asked.TryAdd(end, queries.Count))
                {
                    int[] query = new int[Math.Min(plan.QueryLength, end - documentStart)];
                    for (int i = 0; i < query.Length; i++)
                    {
                        query[i] = database.TokenAt(end - query.Length + i);
                    }

                    queries.Add(new NeighborQuery(query, without));
                }

                places.Add((row, stretch, asked[end]));
            }
        }

        RetrievedTokens retrieved = new(windows.Count, stretches, plan.Neighbors, plan.RetrievedLength);
        Take(retrieved, source, queries, places, cancellationToken);
        return retrieved;
    }

    /// <summary>Retrieves for all complete stretches of a text of its own.</summary>
    /// <param name="tokens">The text from its document's first token on; its last token is predicted and read by nothing.</param>
    /// <param name="plan">What is asked for, and when.</param>
    /// <param name="source">Finds the neighbors, in a database.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>[1, T/s, K, R], of T tokens that are read; null where no stretch is complete.</returns>
    public static RetrievedTokens? Of(int[] tokens, ReadingPlan plan, INeighborSource source, CancellationToken cancellationToken)
    {
        int stretches = (tokens.Length - 1) / plan.Stride;
        if (stretches <= 0)
        {
            return null;
        }

        RetrievedTokens retrieved = new(1, stretches, plan.Neighbors, plan.RetrievedLength);
        NeighborQuery[] queries = [.. Enumerable.Range(1, stretches).Select(complete => new NeighborQuery(tokens[plan.Query(complete)], []))];
        Take(retrieved, source, queries, Enumerable.Range(0, stretches).Select(stretch => (0, stretch, stretch)), cancellationToken);
        return retrieved;
    }

    /// <summary>Asks all queries at once, and takes what is found of each where it is read.</summary>
    private static void Take(
        RetrievedTokens retrieved,
        INeighborSource source,
        IReadOnlyList<NeighborQuery> queries,
        IEnumerable<(int Row, int Stretch, int Query)> places,
        CancellationToken cancellationToken)
    {
        int neighbors = retrieved.Neighbors;
        (long[] found, float[] scores) = source.Ask(queries, neighbors, cancellationToken);
        foreach ((int row, int stretch, int query) in places)
        {
            int first = query * neighbors;
            retrieved.Take(row, stretch, source.Database!, found.AsSpan(first, neighbors), scores.AsSpan(first, neighbors));
        }
    }
}
