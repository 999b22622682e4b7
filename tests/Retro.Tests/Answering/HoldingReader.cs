using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Tests.Answering;

/// <summary>A reader that takes whatever stands in a passage to be ten times as likely as what does not, in no order. No distribution.</summary>
internal sealed class HoldingReader(int neighbors, double held = 0.1, int? retrievedLength = null, Action<int>? told = null) : IReader
{
    public string Name => $"holding, k = {neighbors}";

    public int Neighbors => neighbors;

    public int? ChunkLength => null;

    public int? RetrievedLength => retrievedLength;

    public Device Device => CPU;

    public long RowBytes(int length) => length;

    public double[] LogLikelihoods(ReadingBatch batch)
    {
        told?.Invoke(batch.Rows);
        double[] result = new double[batch.Targets.Length];
        for (int at = 0; at < result.Length; at++)
        {
            int row = at / batch.Length, chunk = (((at % batch.Length) + 1) / batch.ChunkLength) - 1;
            if (batch.Targets[at] != LogLikelihood.NoTarget)
            {
                result[at] = Math.Log(Holds(batch.Retrieved, row, chunk, batch.Targets[at]) ? held : 0.01);
            }
        }

        return result;
    }

    private static bool Holds(RetrievedTokens? retrieved, int row, int chunk, long token)
    {
        if (retrieved is null || chunk < 0 || chunk >= retrieved.Chunks)
        {
            return false;
        }

        int start = retrieved.Offset(row, chunk, 0), size = retrieved.Neighbors * retrieved.Length;
        return Enumerable.Range(start, size).Any(i => retrieved.Valid[i] && retrieved.Tokens[i] == token);
    }
}
