using Retro.Readers;
using Retro.Search;

namespace Retro.Cli;

/// <summary>A text as readers read it: what each of its tokens costs.</summary>
internal static class TextReading
{
    /// <summary>Bits of the tokens of a text.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="tokens">The text from its document's first token on; two tokens at least.</param>
    /// <param name="first">The first token that is predicted, at least 1.</param>
    /// <param name="retrieved">What was retrieved for its complete stretches; null: nothing.</param>
    /// <param name="chunkLength">Tokens of a stretch, where the reader takes any.</param>
    /// <returns>As many as tokens, in order; not a number before the first that is predicted.</returns>
    public static double[] Bits(IReader reader, IReadOnlyList<int> tokens, int first, RetrievedTokens? retrieved, int chunkLength)
    {
        ReadingBatch batch = new(1, tokens.Count - 1, reader.ChunkLength ?? chunkLength);
        for (int i = 0; i < tokens.Count - 1; i++)
        {
            batch.Tokens[i] = tokens[i];
        }

        for (int i = first; i < tokens.Count; i++)
        {
            batch.Targets[i - 1] = tokens[i];
        }

        batch.Retrieved = retrieved;
        double[] likelihoods = reader.LogLikelihoods(batch);
        return [.. Enumerable.Range(0, tokens.Count).Select(i => i < first ? double.NaN : -likelihoods[i - 1] / Math.Log(2))];
    }

    /// <summary>Retrieves for the complete stretches of a text, as generation does.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="source">Finds neighbors in a database.</param>
    /// <param name="tokens">The text; its last token is predicted and read by nothing.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>What the reader reads; null: no stretch is complete.</returns>
    public static RetrievedTokens? Retrieve(IReader reader, INeighborSource source, int[] tokens, CancellationToken cancellationToken)
    {
        int chunk = source.Database!.ChunkLength, stride = reader.ChunkLength ?? chunk, stretches = (tokens.Length - 1) / stride, k = reader.Neighbors;
        if (stretches == 0)
        {
            return null;
        }

        RetrievedTokens retrieved = new(1, stretches, k, source.Database.RetrievedLength(reader.RetrievedLength));
        NeighborQuery[] queries = [.. Enumerable.Range(1, stretches).Select(end => new NeighborQuery(Query(reader, source, tokens, end), []))];
        long[] found = new long[stretches * k];
        float[] scores = new float[found.Length];
        source.Find(queries, k, found, scores, cancellationToken);
        for (int i = 0; i < stretches; i++)
        {
            retrieved.Take(0, i, source.Database, found.AsSpan(i * k, k), scores.AsSpan(i * k, k));
        }

        return retrieved;
    }

    /// <summary>What is asked with when so many stretches are complete.</summary>
    public static int[] Query(IReader reader, INeighborSource source, int[] tokens, int stretches)
    {
        int chunk = source.Database!.ChunkLength, end = stretches * (reader.ChunkLength ?? chunk);
        return tokens[Math.Max(0, end - (reader.QueryLength ?? chunk))..end];
    }
}
