using Retro.Modeling;
using Retro.Search;
using Retro.Training;

namespace Retro.Distributed.Worker;

/// <summary>Random tokens. Every third batch has no neighbors, and targets are many in one batch and few in another.</summary>
internal sealed class WorkerData(RetroConfig config, string name = "random") : ITrainingData
{
    public string Identity => name;

    /// <summary>Called before each batch with its number.</summary>
    public Action<long> Before { get; init; } = _ => { };

    public TokenBatch Batch(long index, double progress)
    {
        Before(index);
        const int Rows = 2, Chunks = 4;
        Random random = new((int)(index * 104729 % 1_000_003));
        int m = config.Retrieval!.ChunkLength;
        TokenBatch batch = new(Rows, Chunks * m);
        for (int i = 0; i < batch.Tokens.Length; i++)
        {
            batch.Tokens[i] = random.Next(config.VocabularySize);
            batch.LossMask[i] = random.Next(4) < index % 5; // none in batch 0, all from batch 4 on
        }

        if (index % 3 != 1)
        {
            RetrievedTokens retrieved = new(Rows, Chunks - 1, 1, config.Retrieval!.RetrievedLength);
            for (int i = 0; i < retrieved.Tokens.Length; i++)
            {
                retrieved.Tokens[i] = random.Next(config.VocabularySize);
                retrieved.Valid[i] = true;
            }

            batch.Retrieved = retrieved;
        }

        return batch;
    }
}
