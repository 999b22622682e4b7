using Retro.Modeling;
using Retro.Readers;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

/// <summary>A reader whose distribution is some function of the last three tokens of the context, and of nothing else.</summary>
internal sealed class ToyReader(int vocabulary) : IReader
{
    public string Name => "toy";

    public int Neighbors => 0;

    public int? ChunkLength => null;

    public int? RetrievedLength => null;

    public Device Device => CPU;

    /// <summary>What it gave last.</summary>
    public double[] Given { get; private set; } = [];

    public long RowBytes(int length) => length;

    public double[] LogLikelihoods(ReadingBatch batch)
    {
        double[] result = new double[batch.Targets.Length];
        for (int row = 0; row < batch.Rows; row++)
        {
            for (int place = 0; place < batch.Length; place++)
            {
                int at = row * batch.Length + place;
                if (batch.Targets[at] != LogLikelihood.NoTarget)
                {
                    result[at] = Math.Log(Probability(batch.Tokens.AsSpan(row * batch.Length, place + 1), batch.Targets[at]));
                }
            }
        }

        return Given = result;
    }

    public double Probability(ReadOnlySpan<long> context, long target)
    {
        long seed = context[^1] + (context.Length > 1 ? 7 * context[^2] : 0) + (context.Length > 2 ? 49 * context[^3] : 0);
        double[] weights = [.. Enumerable.Range(0, vocabulary).Select(token => 1 + ((seed + 1) * (token + 3) * 7919 % 23))];
        return weights[target] / weights.Sum();
    }
}
