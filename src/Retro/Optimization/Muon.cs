using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>The orthogonalization behind Muon: the step of a matrix is its averaged gradient with all singular values brought near 1.</summary>
/// <remarks>
/// Source: Keller Jordan, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon). A quintic Newton-Schulz
/// iteration X ← aX + (bA + cA²)X with A = X·Xᵀ maps each singular value s to a·s + b·s³ + c·s⁵, which after five rounds lies between about 0.7 and 1.2.
/// As there, the products are in bfloat16, for which large matrices of a float32 model are rounded where the device multiplies them faster.
/// </remarks>
internal static class Muon
{
    private const int Rounds = 5;

    /// <summary>Decay of the mean gradient.</summary>
    private const double Momentum = 0.95;

    /// <summary>The shorter side from which matrices in float32 are rounded to bfloat16: those below cost little.</summary>
    private const int ShortestRounded = 128;

    private static readonly Scalar s_a = 3.4445.ToScalar();
    private static readonly Scalar s_b = (-4.7750).ToScalar();
    private static readonly Scalar s_c = 2.0315.ToScalar();
    private static readonly Scalar s_epsilon = 1e-7.ToScalar();

    /// <summary>Brings the singular values of a stack of matrices near 1.</summary>
    /// <param name="matrices">Matrices of one shape, [G, rows, columns], floating point.</param>
    /// <param name="products">Type of the products. Bfloat16 is enough, as in the source: what it loses is less than the width of the range in which the
    /// singular values end.</param>
    /// <returns>The orthogonalized matrices, [G, rows, columns]. A matrix of zeros stays zero.</returns>
    /// <exception cref="ShapeException"><paramref name="matrices"/> has not three dimensions.</exception>
    public static Tensor Orthogonalize(Tensor matrices, ScalarType products)
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
        // From this length on the products of the shorter sides alone are fewer: 2·L + 17·S beside 10·L + 5·S, each times S². Bfloat16 is too coarse for them.
        x = products != ScalarType.BFloat16 && 2 * x.shape[2] > 3 * x.shape[1] ? ByShorterSides(x) : ByBothSides(x);
        return (tall ? x.transpose(1, 2) : x).to_type(matrices.dtype).MoveToOuterDisposeScope();
    }

    /// <summary>The type of the products of a stack.</summary>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="shorter">Their shorter side.</param>
    /// <param name="bfloat16IsFaster">Whether the device multiplies bfloat16 faster.</param>
    internal static ScalarType Products(ScalarType dtype, long shorter, bool bfloat16IsFaster)
        => dtype == ScalarType.Float32 && shorter >= ShortestRounded && bfloat16IsFaster ? ScalarType.BFloat16 : dtype;

    private static Tensor ByBothSides(Tensor x)
    {
        for (int round = 0; round < Rounds; round++)
        {
            Tensor a = x.bmm(x.transpose(1, 2));
            // TorchSharp's baddbmm takes its operands in another order than PyTorch's; bmm has no such trap.
            Tensor polynomial = a.bmm(a).mul_(s_c).add_(a, s_b);
            x = polynomial.bmm(x).add_(x, s_a);
        }

        return x;
    }

    /// <summary>The same with P = aI + bA + cA²: X ← P·X makes A ← P·A·P, so that X itself is multiplied once, by the product of all P.</summary>
    private static Tensor ByShorterSides(Tensor x)
    {
        Tensor a = x.bmm(x.transpose(1, 2));
        Tensor? all = null;
        for (int round = 0; round < Rounds; round++)
        {
            Tensor polynomial = a.bmm(a).mul_(s_c).add_(a, s_b);
            polynomial.diagonal(0, 1, 2).add_(s_a, KeptScalars.One);
            all = all is null ? polynomial : polynomial.bmm(all);
            a = round < Rounds - 1 ? polynomial.bmm(a).bmm(polynomial) : a;
        }

        return all!.bmm(x);
    }

    /// <summary>Moves matrices that have a gradient.</summary>
    /// <remarks>
    /// Matrices of one shape, or of its transpose, are orthogonalized together, few large products instead of many small calls; each thread takes a part of
    /// them.
    /// </remarks>
    /// <param name="matrices">The matrices.</param>
    /// <param name="options">Settings.</param>
    /// <param name="rate">Learning rate, of which each takes its share.</param>
    /// <param name="clip">What gradients are multiplied by.</param>
    /// <param name="bfloat16IsFaster">Whether bfloat16 is multiplied faster, wherever these matrices are moved.</param>
    public static void Move(
        IReadOnlyList<(OptimizerSlot Slot, Tensor Gradient)> matrices, RetroOptimizerOptions options, double rate, double clip, bool bfloat16IsFaster)
    {
        if (matrices.Count == 0)
        {
            return;
        }

        Device device = matrices[0].Gradient.device;
        int parts = TorchThreads.Workers(matrices.Count, device);
        (OptimizerSlot Slot, Tensor Gradient)[][] stacks = [.. matrices.GroupBy(pair => (pair.Slot.Shape, pair.Slot.Parameter.dtype, pair.Slot.RateShare))
            .SelectMany(group => group.Chunk((group.Count() + parts - 1) / parts))];
        TorchThreads.Run(stacks.Length, device, i =>
        {
            OptimizerSlot any = stacks[i][0].Slot;
            MoveStack(stacks[i], options, rate * any.RateShare, clip, Products(any.Parameter.dtype, any.Shape.Short, bfloat16IsFaster));
        });
    }

    private static void MoveStack(
        (OptimizerSlot Slot, Tensor Gradient)[] group, RetroOptimizerOptions options, double rate, double clip, ScalarType products)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        using Scalar keep = Momentum.ToScalar(), add = ((1 - Momentum) * clip).ToScalar(), decayed = (1 - (rate * options.MuonWeightDecay)).ToScalar();
        List<Tensor> directions = [];
        foreach ((OptimizerSlot slot, Tensor gradient) in group)
        {
            slot.Steps++;
            slot.First.mul_(keep).add_(gradient, add);
            Tensor direction = slot.First.mul(keep).add_(gradient, add);
            directions.Add(slot.Tall ? direction.transpose(0, 1) : direction);
        }

        // Where a batch is small, these products are most of a step.
        Tensor steps = Orthogonalize(stack(directions), products);
        for (int index = 0; index < group.Length; index++)
        {
            OptimizerSlot slot = group[index].Slot;
            Tensor step = steps.select(0, index);
            if (options.MuonWeightDecay != 0)
            {
                slot.Target.mul_(decayed);
            }

            using Scalar move = (-rate * Math.Sqrt(Math.Max(1, (double)slot.Target.shape[0] / slot.Target.shape[1]))).ToScalar();
            slot.Target.add_(slot.Tall ? step.transpose(0, 1) : step, move);
        }
    }
}
