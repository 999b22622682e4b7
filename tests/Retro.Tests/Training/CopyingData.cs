using Retro.Modeling;
using Retro.Search;
using Retro.Training;

namespace Retro.Tests.Training;

/// <summary>Random tokens that nothing but the neighbors can foretell: the neighbor of a chunk is the chunk and its continuation.</summary>
internal sealed class CopyingData(RetroConfig config, int rows, int chunks, long seed, double dropout = 0, bool shuffled = false) : ITrainingData
{
    public string Identity => $"copying {rows} x {chunks}, seed {seed}, dropout {dropout}, shuffled {shuffled}";

    /// <summary>Throws at this batch; none by default.</summary>
    public long FailAt { get; init; } = -1;

    public TokenBatch Batch(long index, double progress)
    {
        if (index == FailAt)
        {
            throw new InvalidDataException($"Batch {index} cannot be read.");
        }

        Random random = new(HashCode(index));
        int m = config.Retrieval!.ChunkLength;
        TokenBatch batch = new(rows, chunks * m) { ChunkLength = m };
        for (int i = 0; i < batch.Tokens.Length; i++)
        {
            batch.Tokens[i] = random.Next(config.VocabularySize);
        }

        // What the first chunk holds cannot be known from anywhere.
        for (int row = 0; row < rows; row++)
        {
            Array.Clear(batch.LossMask, row * batch.Length, m);
        }

        if (random.NextDouble() >= dropout)
        {
            RetrievedTokens retrieved = new(rows, chunks - 1, 1, config.Retrieval!.RetrievedLength);
            batch.Retrieved = retrieved;
            for (int row = 0; row < rows; row++)
            {
                int from = shuffled ? (row + 1) % rows : row;
                for (int chunk = 0; chunk < chunks - 1; chunk++)
                {
                    int start = retrieved.Offset(row, chunk, 0);
                    Array.Copy(batch.Tokens, from * batch.Length + chunk * m, retrieved.Tokens, start, 2 * m);
                    Array.Fill(retrieved.Valid, true, start, 2 * m);
                }
            }
        }

        return batch;
    }

    private int HashCode(long index) => unchecked((int)((seed * 7919) + index * 104729));
}
