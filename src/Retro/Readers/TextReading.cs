using Retro.Database;
using Retro.Search;

namespace Retro.Readers;

/// <summary>
/// A text of its own as a reader reads it, token by token, for whoever looks at single texts: what each of its tokens costs, and what is retrieved for it.
/// </summary>
/// <remarks>
/// Documents of a database are measured by <see cref="Evaluation.BitsPerByte"/>; what a generator gives a text, by its rules of what is passed over, by
/// <see cref="Generation.RetroGenerator"/>.
/// </remarks>
public static class TextReading
{
    /// <summary>What the tokens of a text cost, in bits.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="tokens">The text, [T], from its document's first token on; two tokens at least.</param>
    /// <param name="first">The first token that is predicted, at least 1.</param>
    /// <param name="retrieved">What was retrieved for its complete stretches (<see cref="Retrieve"/>); null: nothing.</param>
    /// <param name="chunkLength">M: tokens of a stretch where the reader takes any.</param>
    /// <returns>[T], in order; not a number before the first that is predicted.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer than two tokens, or the first that is predicted is none of them, or 0.</exception>
    /// <exception cref="ArgumentException">What was retrieved does not fit the reader or the text.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number.</exception>
    public static double[] Bits(IReader reader, IReadOnlyList<int> tokens, int first, RetrievedTokens? retrieved, int chunkLength)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(first, tokens.Count);
        ReadingBatch batch = new(1, tokens.Count - 1, reader.ChunkLength ?? chunkLength) { Retrieved = retrieved };
        for (int i = 0; i < batch.Length; i++)
        {
            batch.Tokens[i] = tokens[i];
        }

        for (int i = first; i < tokens.Count; i++)
        {
            batch.Targets[i - 1] = tokens[i];
        }

        double[] likelihoods = ReaderChecks.LogLikelihoods(reader, batch);
        return [.. Enumerable.Range(0, tokens.Count).Select(i => i < first ? double.NaN : -likelihoods[i - 1] / Math.Log(2))];
    }

    /// <summary>Retrieves for the complete stretches of a text, as generation does.</summary>
    /// <param name="reader">The reader; one that reads neighbors.</param>
    /// <param name="source">Finds neighbors in a database.</param>
    /// <param name="tokens">The text from its document's first token on; its last token is predicted and read by nothing.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>What the reader reads; null: no stretch is complete.</returns>
    /// <exception cref="ArgumentException">The source has no database, or the reader reads no neighbors.</exception>
    /// <exception cref="DatabaseException">The reader reads chunks of one length, and the database's have another.</exception>
    public static RetrievedTokens? Retrieve(IReader reader, INeighborSource source, int[] tokens, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        return StrideRetrieval.Of(tokens, PlanOf(reader, source), source, cancellationToken);
    }

    /// <summary>What is asked with when so many stretches of a text are complete.</summary>
    /// <param name="reader">The reader; one that reads neighbors.</param>
    /// <param name="source">Finds neighbors in a database.</param>
    /// <param name="tokens">The text from its document's first token on.</param>
    /// <param name="stretches">How many of its stretches are complete, at least 1.</param>
    /// <returns>The last tokens of those stretches, as many as the reader asks with.</returns>
    /// <exception cref="ArgumentException">The source has no database, or the reader reads no neighbors.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The text has not as many stretches.</exception>
    /// <exception cref="DatabaseException">The reader reads chunks of one length, and the database's have another.</exception>
    public static int[] Query(IReader reader, INeighborSource source, int[] tokens, int stretches)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ReadingPlan plan = PlanOf(reader, source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(stretches);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(stretches, tokens.Length / plan.Stride);
        return tokens[plan.Query(stretches)];
    }

    private static ReadingPlan PlanOf(IReader reader, INeighborSource source)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(source);
        ChunkDatabase database = source.Database
            ?? throw new ArgumentException($"The source {source.Name} has no database to read from; give one that has.", nameof(source));
        return reader.Neighbors > 0
            ? ReadingPlan.Of(reader, database.ChunkLength, database)
            : throw new ArgumentException($"{reader.Name} reads no neighbors, so that there is nothing to retrieve.", nameof(reader));
    }
}
