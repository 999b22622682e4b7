using System.Globalization;
using Retro.Modeling;

namespace Retro.Readers;

/// <summary>Whether a batch is what a reader reads, and what it gives are numbers.</summary>
internal static class ReaderChecks
{
    // What rounding can add to a probability of 1, of the coarsest type that a model computes in.
    private const double Rounding = 1e-2;

    /// <summary>
    /// A reader's log-likelihoods of a batch, for whoever measures, fits or goes on by them: any reader, also one that is not Retro's own. Recorded where
    /// somebody listens (<see cref="RetroTelemetry"/>).
    /// </summary>
    /// <exception cref="RetroException">
    /// There are more or fewer than places in the batch, or one of them is not a number or is above 0: what is measured by it would be none, or, where numbers
    /// are compared, a wrong one.
    /// </exception>
    public static double[] LogLikelihoods(IReader reader, ReadingBatch batch)
    {
        double[] likelihoods = RetroTelemetry.Timed(
            RetroTelemetry.ReaderDuration, "retro.reader", reader.Name, () => reader.LogLikelihoods(batch));
        if (RetroTelemetry.ReaderTokens.Enabled)
        {
            RetroTelemetry.ReaderTokens.Add(
                batch.Targets.LongCount(target => target != LogLikelihood.NoTarget), new KeyValuePair<string, object?>("retro.reader", reader.Name));
        }

        if (likelihoods?.Length != batch.Targets.Length)
        {
            throw new RetroException(
                $"{reader.Name} gives {likelihoods?.Length.ToString(CultureInfo.InvariantCulture) ?? "null in place of"} log-likelihoods for a batch of "
                    + $"{batch.Rows} texts of {batch.Length} tokens, which has {batch.Targets.Length} places; a reader gives one for each, 0 where there is no "
                    + "target.");
        }

        RequireNumbers(reader.Name, likelihoods);
        return Array.FindIndex(likelihoods, likelihood => likelihood > Rounding) is >= 0 and int place
            ? throw new RetroException(string.Create(
                CultureInfo.InvariantCulture,
                $"{reader.Name} gives a token a log-likelihood of {likelihoods[place]}, and the logarithm of a probability is at most 0; a reader gives "
                    + $"logarithms of probabilities, not logits, densities or losses."))
            : likelihoods;
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
        if (!reader.TakesAnyChunks && reader.ChunkLength is { } chunkLength && batch.ChunkLength != chunkLength)
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
