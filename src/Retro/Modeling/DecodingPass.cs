using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>What one call of prefill or step does to a cache.</summary>
/// <param name="lengths">Each row's tokens after the pass.</param>
/// <param name="positions">A step's positions, [B] of int64; null: whole prompts are read.</param>
/// <param name="window">Keys that a query sees at most, its own included; null: all before it.</param>
internal sealed class DecodingPass(long[] lengths, Tensor? positions, int? window)
{
    /// <summary>Each row's tokens after the pass.</summary>
    public IReadOnlyList<long> Lengths => lengths;

    /// <summary>Where each row's last token stands, from 0.</summary>
    public IReadOnlyList<long> Places { get; } = [.. lengths.Select(length => length - 1)];

    /// <summary>A step's positions, [B] of int64; null in a prefill.</summary>
    public Tensor? Positions => positions;

    /// <summary>The first position that a query of this step, or of the one after a prefill, sees in any row.</summary>
    public long FirstKey { get; } = Math.Max(0, lengths.Min() + (positions is null ? 1 : 0) - (window ?? long.MaxValue));

    /// <summary>The longest row's tokens after the pass: behind the last position that a query sees.</summary>
    public long EndOfKeys { get; } = lengths.Max();

    /// <summary>Keys that a step computes with, from <see cref="FirstKey"/>.</summary>
    public long KeyCount => EndOfKeys - FirstKey;

    /// <summary>Whether all rows are equally long.</summary>
    public bool Equal { get; } = lengths.All(length => length == lengths[0]);
}
