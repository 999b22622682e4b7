namespace Retro.Embedders;

/// <summary>What becomes of a pooled vector: tanh(W x + b), or W x + b; the module "Dense" of sentence-transformers, as LaBSE has it.</summary>
/// <param name="Width">Width of the vectors that it gives.</param>
/// <param name="HasBias">Whether there is a b.</param>
/// <param name="HasTanh">Whether there is a tanh.</param>
public sealed record TextDense(int Width, bool HasBias = true, bool HasTanh = true);
