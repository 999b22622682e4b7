using Retro.Modeling;
using Retro.Readers;
using Retro.Search;

namespace Retro.Tests.Readers;

/// <summary>What <see cref="IReader"/> promises, checked on a reader of any kind: a distribution, and nothing of what is to be predicted in it.</summary>
internal static class ReaderContract
{
    /// <summary>A batch of random tokens, targets and neighbors; some neighbors and some ends of neighbors are missing, all have scores.</summary>
    public static ReadingBatch Batch(int vocabulary, int rows, int length, int chunkLength, int neighbors, int retrievedLength, int seed)
    {
        Random random = new(seed);
        ReadingBatch batch = new(rows, length, chunkLength) { Retrieved = new(rows, length / chunkLength, neighbors, retrievedLength) };
        for (int i = 0; i < batch.Tokens.Length; i++)
        {
            (batch.Tokens[i], batch.Targets[i]) = (random.Next(vocabulary), random.Next(vocabulary));
        }

        RetrievedTokens retrieved = batch.Retrieved;
        for (int neighbor = 0; neighbor < retrieved.Scores.Length; neighbor++)
        {
            int valid = random.Next(6) == 0 ? 0 : random.Next(1, retrievedLength + 1);
            retrieved.Scores[neighbor] = valid == 0 ? float.NaN : random.NextSingle() * 3;
            for (int i = 0; i < retrievedLength; i++)
            {
                int at = (neighbor * retrievedLength) + i;
                (retrieved.Tokens[at], retrieved.Valid[at]) = (random.Next(vocabulary), i < valid);
            }
        }

        return batch;
    }

    /// <summary>Checks the contract.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="batch">From <see cref="Batch"/>.</param>
    /// <param name="vocabulary">V of the reader's distribution.</param>
    /// <param name="tolerance">What a probability may differ by where the work is batched otherwise.</param>
    public static void Check(IReader reader, ReadingBatch batch, int vocabulary, double tolerance = 1e-9)
    {
        double[] likelihoods = reader.LogLikelihoods(batch);
        Assert.All(likelihoods, likelihood => Assert.True(likelihood <= tolerance && double.IsFinite(likelihood)));

        // A distribution.
        double[] sums = new double[batch.Tokens.Length];
        for (int token = 0; token < vocabulary; token++)
        {
            ReadingBatch one = Copy(batch, (at, _) => batch.Tokens[at], _ => token, int.MaxValue);
            double[] found = reader.LogLikelihoods(one);
            sums = [.. sums.Zip(found, (sum, likelihood) => sum + Math.Exp(likelihood))];
        }

        Assert.All(sums, sum => Assert.Equal(1, sum, tolerance));

        // Of what stands behind a place, and of what is retrieved with it, nothing is read; of the targets, no other than the place's own.
        for (int place = 0; place < batch.Length; place++)
        {
            ReadingBatch other = Copy(
                batch,
                (at, within) => within > place ? (batch.Tokens[at] + 1) % vocabulary : batch.Tokens[at],
                at => at % batch.Length == place ? batch.Targets[at] : LogLikelihood.NoTarget,
                ((place + 1) / batch.ChunkLength) - 1);
            double[] found = reader.LogLikelihoods(other);
            for (int row = 0; row < batch.Rows; row++)
            {
                for (int within = 0; within < batch.Length; within++)
                {
                    int at = (row * batch.Length) + within;
                    if (within == place)
                    {
                        Assert.Equal(Math.Exp(likelihoods[at]), Math.Exp(found[at]), tolerance);
                    }
                    else
                    {
                        Assert.Equal(0, found[at]);
                    }
                }
            }
        }

        // No tensor stays.
        long before = LiveTensors.Settled();
        reader.LogLikelihoods(batch);
        Assert.Equal(before, TorchSharp.torch.Tensor.TotalCount);
    }

    /// <summary>The batch with other tokens and targets, and with other neighbors for the chunks after one.</summary>
    private static ReadingBatch Copy(ReadingBatch batch, Func<int, int, long> token, Func<int, long> target, int lastChunk)
    {
        ReadingBatch copy = new(batch.Rows, batch.Length, batch.ChunkLength);
        for (int at = 0; at < batch.Tokens.Length; at++)
        {
            (copy.Tokens[at], copy.Targets[at]) = (token(at, at % batch.Length), target(at));
        }

        RetrievedTokens from = batch.Retrieved!, to = new(from.Rows, from.Chunks, from.Neighbors, from.Length);
        for (int neighbor = 0; neighbor < from.Scores.Length; neighbor++)
        {
            bool later = neighbor / from.Neighbors % from.Chunks > lastChunk;
            to.Scores[neighbor] = later ? 1 : from.Scores[neighbor];
            for (int at = neighbor * from.Length; at < (neighbor + 1) * from.Length; at++)
            {
                (to.Tokens[at], to.Valid[at]) = later ? (0, true) : (from.Tokens[at], from.Valid[at]);
            }
        }

        copy.Retrieved = to;
        return copy;
    }
}
