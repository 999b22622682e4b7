using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using static TorchSharp.torch;

namespace Retro.Tests.Retrievers;

/// <summary>
/// A reader that computes nothing: each target is drawn evenly from the tokens of the passages that its chunk has, or, half the time, from the vocabulary.
/// What a passage is worth to it is plain to see.
/// </summary>
internal sealed class UnigramReader(int vocabulary, int neighbors, int? chunkLength = null, ChunkDatabase? database = null, string name = "unigrams") : IReader
{
    public string Name => name;

    public int Neighbors => neighbors;

    public int? ChunkLength => chunkLength;

    public int? RetrievedLength => null;

    public ChunkDatabase? Database => database;

    public Device Device => CPU;

    public long RowBytes(int length) => length;

    public double[] LogLikelihoods(ReadingBatch batch)
    {
        double[] result = new double[batch.Targets.Length];
        for (int at = 0; at < result.Length; at++)
        {
            if (batch.Targets[at] != LogLikelihood.NoTarget)
            {
                result[at] = Math.Log(Probability(batch, at / batch.Length, at % batch.Length, batch.Targets[at]));
            }
        }

        return result;
    }

    private double Probability(ReadingBatch batch, int row, int place, long target)
    {
        int chunk = ((place + 1) / batch.ChunkLength) - 1; // the last that is complete
        long[] read = batch.Retrieved is { } retrieved && chunk >= 0 && chunk < retrieved.Chunks
            ? [.. Enumerable.Range(0, retrieved.Neighbors * retrieved.Length).Select(i => retrieved.Offset(row, chunk, 0) + i)
                .Where(i => retrieved.Valid[i]).Select(i => retrieved.Tokens[i])]
            : [];
        double uniform = 1.0 / vocabulary;
        return read.Length == 0 ? uniform : (0.5 * uniform) + (0.5 * read.Count(token => token == target) / read.Length);
    }
}
