using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>The orthogonalization behind Muon: the step of a matrix is its averaged gradient with all singular values brought near 1.</summary>
/// <remarks>
/// Source: Keller Jordan, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon). A quintic Newton-Schulz
/// iteration X ← aX + (bA + cA²)X with A = X·Xᵀ maps each singular value s to a·s + b·s³ + c·s⁵, which after five rounds lies between about 0.7 and 1.2.
/// </remarks>
internal static class Muon
{
    private const int Rounds = 5;
    private static readonly Scalar s_a = 3.4445.ToScalar();
    private static readonly Scalar s_b = (-4.7750).ToScalar();
    private static readonly Scalar s_c = 2.0315.ToScalar();
    private static readonly Scalar s_epsilon = 1e-7.ToScalar();

    /// <summary>Brings the singular values of a stack of matrices near 1.</summary>
    /// <param name="matrices">Matrices of one shape, [G, rows, columns], floating point.</param>
    /// <returns>The orthogonalized matrices, [G, rows, columns]. A matrix of zeros stays zero.</returns>
    /// <exception cref="ShapeException"><paramref name="matrices"/> has not three dimensions.</exception>
    public static Tensor Orthogonalize(Tensor matrices)
    {
        ArgumentNullException.ThrowIfNull(matrices);
        return Orthogonalize(matrices, matrices.dtype);
    }

    /// <summary>The same with products in another type. Bfloat16 is enough, as in the source: what it loses is less than the width of the range in which the singular values end.</summary>
    internal static Tensor Orthogonalize(Tensor matrices, ScalarType products)
    {
        if (matrices.dim() != 3)
        {
            throw new ShapeException(nameof(matrices), "[G, rows, columns]", matrices.shape);
        }

        using DisposeScope scope = NewDisposeScope();
        // The product X·Xᵀ is over the shorter side.
        bool tall = matrices.shape[1] > matrices.shape[2];
        Tensor x = tall ? matrices.transpose(1, 2) : matrices;
        Tensor norm = x.mul(x).sum(new long[] { 1, 2 }, keepdim: true).sqrt_().add_(s_epsilon, KeptScalars.One);
        x = x.div(norm).to_type(products);
        for (int round = 0; round < Rounds; round++)
        {
            Tensor a = x.bmm(x.transpose(1, 2));
            // TorchSharp's baddbmm takes its operands in another order than PyTorch's; bmm has no such trap.
            Tensor polynomial = a.bmm(a).mul_(s_c).add_(a, s_b);
            x = polynomial.bmm(x).add_(x, s_a);
        }

        return (tall ? x.transpose(1, 2) : x).to_type(matrices.dtype).MoveToOuterDisposeScope();
    }

    /// <summary>Whether a parameter is a matrix that Muon moves: a weight of two dimensions that is neither an embedding nor the head.</summary>
    /// <param name="name">Name in the state dictionary.</param>
    /// <param name="parameter">The parameter.</param>
    /// <returns>Whether Muon moves it.</returns>
    public static bool Applies(string name, Tensor parameter)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(parameter);
        // The rows of an embedding and of the head are looked up one by one: they are lists of vectors, no maps. So are position biases.
        string[] parts = name.Split('.');
        return parameter.dim() == 2 && parts[^1] == "weight" && !parts.Any(part => part is "head" or "positions" || part.Contains("embedding", StringComparison.Ordinal));
    }
}
