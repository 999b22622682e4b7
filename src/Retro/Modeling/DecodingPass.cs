using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>What one call of prefill or step does to a cache.</summary>
/// <param name="lengths">Each row's tokens after the pass.</param>
/// <param name="positions">A step's positions, [B] of int64; null: whole prompts are read.</param>
internal sealed class DecodingPass(long[] lengths, Tensor? positions)
{
    /// <summary>Each row's tokens after the pass.</summary>
    public IReadOnlyList<long> Lengths => lengths;

    /// <summary>Where each row's last token stands, from 0.</summary>
    public IReadOnlyList<long> Places { get; } = [.. lengths.Select(length => length - 1)];

    /// <summary>A step's positions, [B] of int64; null in a prefill.</summary>
    public Tensor? Positions => positions;

    /// <summary>The longest row's tokens after the pass: keys that a step sees.</summary>
    public long KeyCount { get; } = lengths.Max();

    /// <summary>Whether all rows are equally long.</summary>
    public bool Equal { get; } = lengths.All(length => length == lengths[0]);
}
