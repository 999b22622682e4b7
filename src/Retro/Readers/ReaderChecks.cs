namespace Retro.Readers;

/// <summary>Whether a batch is what a reader reads, and what it gives are numbers.</summary>
internal static class ReaderChecks
{
    /// <summary>A reader's log-likelihoods of a batch, for whoever measures or fits by them.</summary>
    /// <exception cref="RetroException">
    /// One of them is not a number: what is measured by it would be none, or, where numbers are compared, a wrong one.
    /// </exception>
    public static double[] LogLikelihoods(IReader reader, ReadingBatch batch)
    {
        double[] likelihoods = reader.LogLikelihoods(batch);
        RequireNumbers(reader.Name, likelihoods);
        return likelihoods;
    }

    /// <summary>Refuses log-likelihoods that are not numbers.</summary>
    /// <exception cref="RetroException">One is none.</exception>
    public static void RequireNumbers(string name, double[] likelihoods)
    {
        if (Array.Exists(likelihoods, double.IsNaN))
        {
            throw new RetroException(
                $"{name} gives a token a log-likelihood that is not a number: the weights of its model are damaged, or training diverged; take other weights.");
        }
    }

    /// <summary>Refuses a batch with chunks or neighbors of other lengths, or with fewer neighbors.</summary>
    /// <exception cref="ArgumentException">It has.</exception>
    public static void Require(IReader reader, ReadingBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (reader.ChunkLength is { } chunkLength && batch.ChunkLength != chunkLength)
        {
            throw new ArgumentException($"{reader.Name} reads chunks of {chunkLength} tokens, and the batch has chunks of {batch.ChunkLength}.", nameof(batch));
        }

        if (batch.Retrieved is not { } retrieved)
        {
            return;
        }

        if (retrieved.Neighbors < reader.Neighbors || (reader.RetrievedLength is { } length && retrieved.Length != length))
        {
            throw new ArgumentException(
                $"{reader.Name} reads {reader.Neighbors} neighbors of {reader.RetrievedLength?.ToString() ?? "any number of"} tokens, " +
                $"and the batch has {retrieved.Neighbors} of {retrieved.Length}.",
                nameof(batch));
        }
    }
}
