using Retro.Database;
using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// The pointer rule on top of another reader: at each place the tokens that followed the longest run of last tokens in the neighbors of the chunk before
/// share, by their count, the mass that <see cref="PointerRule"/> gives to a run of that length; the other reader's distribution has the rest. A copier
/// without a trained weight: what a reader that learns to retrieve has to beat.
/// </summary>
public sealed class PointerReader : IReader
{
    private readonly IReader _reader;
    private readonly PointerRule _rule;

    /// <summary>Creates the reader.</summary>
    /// <param name="reader">The reader whose distribution has the rest; it stays the caller's.</param>
    /// <param name="rule">The rule.</param>
    /// <param name="name">The name in reports; null: made of the reader's.</param>
    /// <exception cref="ArgumentException">
    /// The reader reads neighbors of another length, or of chunks of another length, than the rule was counted with.
    /// </exception>
    public PointerReader(IReader reader, PointerRule rule, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(rule);
        if ((reader.RetrievedLength ?? rule.RetrievedLength) != rule.RetrievedLength || (reader.ChunkLength ?? rule.ChunkLength) != rule.ChunkLength)
        {
            throw new ArgumentException(
                $"{reader.Name} reads chunks of {reader.ChunkLength} tokens and neighbors of {reader.RetrievedLength}, " +
                $"and the rule was counted with chunks of {rule.ChunkLength} and neighbors of {rule.RetrievedLength}; count it with the same.",
                nameof(rule));
        }

        (_reader, _rule) = (reader, rule);
        Name = name ?? $"{reader.Name} + pointer rule, k = {rule.Neighbors}";
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors => Math.Max(_reader.Neighbors, _rule.Neighbors);

    /// <inheritdoc/>
    public int? ChunkLength => _rule.ChunkLength;

    /// <inheritdoc/>
    bool IReader.TakesAnyChunks => _reader.TakesAnyChunks;

    /// <inheritdoc/>
    int? IReader.PassageChunkLength => _reader.PassageChunkLength;

    /// <inheritdoc/>
    bool IReader.WeighsByScores => _reader.WeighsByScores;

    /// <inheritdoc/>
    public int? RetrievedLength => _rule.RetrievedLength;

    /// <inheritdoc/>
    public int? QueryLength => _reader.QueryLength;

    /// <inheritdoc/>
    public bool ReadsEarlierNeighbors => _reader.ReadsEarlierNeighbors;

    /// <inheritdoc/>
    public ChunkDatabase? Database => _reader.Database;

    /// <inheritdoc/>
    public Device Device => _reader.Device;

    /// <inheritdoc/>
    string? IReader.IdentityOf(int version)
    {
        string? below = _reader.IdentityOf(version);
        return below is null && version > 1 ? null : IdentityHash.Of(
            IdentityHash.KeyEnd, [below, _rule.Neighbors, _rule.ChunkLength, _rule.RetrievedLength, .. _rule.Precisions.Cast<object>()]);
    }

    /// <inheritdoc/>
    public long RowBytes(int length) => _reader.RowBytes(length);

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch)
    {
        ReaderChecks.Require(this, batch);
        double[] result = [.. ReaderChecks.LogLikelihoods(_reader, batch)]; // the reader may keep what it gave
        if (batch.Retrieved is not { } retrieved)
        {
            return result;
        }

        PointerMatch match = new(_rule.Neighbors, retrieved.Length);
        for (int row = 0; row < batch.Rows; row++)
        {
            foreach (int place in match.Walk(batch, retrieved, row))
            {
                int at = (row * batch.Length) + place;
                if (batch.Targets[at] != LogLikelihood.NoTarget)
                {
                    (int length, double share) = match.Look(batch.Targets[at]);
                    result[at] = Mix(result[at], _rule.Mass(length), share);
                }
            }
        }

        return result;
    }

    /// <inheritdoc/>
    void IReader.RequireTokenizer(string hash) => _reader.RequireTokenizer(hash);

    /// <summary>log((1 − mass)·p + mass·share), of p = exp(<paramref name="likelihood"/>), which may be too small for a double.</summary>
    internal static double Mix(double likelihood, double mass, double share)
    {
        double rest = likelihood + Math.Log(1 - mass), copied = Math.Log(mass * share);
        return copied == double.NegativeInfinity ? rest : Math.Max(rest, copied) + Math.Log(1 + Math.Exp(-Math.Abs(rest - copied)));
    }
}
