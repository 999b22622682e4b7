using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>What one call of prefill or step does to a cache.</summary>
/// <param name="IsPrefill">Whether whole prompts are read.</param>
/// <param name="KeyCount">Places of self-attention that the pass needs: the longest row's tokens after it.</param>
/// <param name="Equal">Whether all rows are equally long.</param>
/// <param name="Positions">A step's positions, [B] of int64; null in a prefill.</param>
/// <param name="RowLengths">Each row's tokens after the pass.</param>
internal sealed record DecodingPass(bool IsPrefill, long KeyCount, bool Equal, Tensor? Positions, IReadOnlyList<long>? RowLengths);
