using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>The rule of AdamW, see <see cref="RetroOptimizer"/>.</summary>
/// <param name="options">Settings.</param>
/// <param name="fused">The operator that moves parameters in float32 all at once; where it is not available, and for other types and layouts, single operators
/// do.</param>
internal sealed class AdamW(RetroOptimizerOptions options, AtenOperator fused)
{
    // One pass over each tensor instead of eight: about half of the time (tests/Retro.Benchmarks/results/operators.md).
    /// <summary>The operator that moves many parameters in float32 at once.</summary>
    public static readonly AtenOperator Fused = new("aten::_fused_adamw_", 0, () =>
        [
            (Tensor[])[One()], (Tensor[])[One()], (Tensor[])[One()], (Tensor[])[One()], (Tensor[])[], (Tensor[])[One()], 1e-3, 0.9, 0.99, 0.1, 1e-8,
            false, false, AtenArgument.Some(One()), AtenArgument.None
        ]);

    private static Tensor One() => ones(1, ScalarType.Float32, CPU);

    /// <summary>Moves parameters that have a gradient.</summary>
    /// <param name="moved">The parameters.</param>
    /// <param name="rate">Learning rate, of which each takes its share.</param>
    /// <param name="clip">What gradients are multiplied by.</param>
    public void Move(IEnumerable<(OptimizerSlot Slot, Tensor Gradient)> moved, double rate, double clip)
    {
        foreach (IGrouping<(bool Decays, bool Fused, double Share), (OptimizerSlot Slot, Tensor Gradient)> group in moved
            .GroupBy(pair => (pair.Slot.Decays, MovesTogether(pair.Slot), pair.Slot.RateShare)))
        {
            double own = rate * group.Key.Share, decay = group.Key.Decays ? options.WeightDecay : 0;
            if (group.Key.Fused)
            {
                MoveTogether([.. group], own, decay, clip);
                continue;
            }

            foreach ((OptimizerSlot slot, Tensor gradient) in group)
            {
                MoveOne(slot, gradient, own, decay, clip);
            }
        }
    }

    private bool MovesTogether(OptimizerSlot slot) => slot.Target.dtype == ScalarType.Float32 && slot.Target.is_contiguous() && fused.IsAvailable;

    private void MoveTogether((OptimizerSlot Slot, Tensor Gradient)[] group, double rate, double decay, double clip)
    {
        foreach ((OptimizerSlot slot, _) in group)
        {
            slot.Steps++;
        }

        // The operator reads all values in the order in which they lie. It divides gradients by their scale, in place; they are not read again.
        Device device = group[0].Gradient.device;
        Dictionary<long, Tensor> steps = group.Select(pair => pair.Slot.Steps)
            .Distinct()
            .ToDictionary(count => count, count => tensor((float)count, device: device));
        fused.Call(
            Array.ConvertAll(group, pair => pair.Slot.Target),
            Array.ConvertAll(group, pair => pair.Gradient.contiguous()),
            Array.ConvertAll(group, pair => pair.Slot.First),
            Array.ConvertAll(group, pair => pair.Slot.Second!),
            (Tensor[])[],
            Array.ConvertAll(group, pair => steps[pair.Slot.Steps]),
            rate,
            options.Beta1,
            options.Beta2,
            decay,
            options.Epsilon,
            false, // amsgrad
            false, // maximize
            clip < 1 ? AtenArgument.Some(tensor((float)(1 / clip), device: device)) : AtenArgument.None,
            AtenArgument.None);
    }

    private void MoveOne(OptimizerSlot slot, Tensor gradient, double rate, double decay, double clip)
    {
        slot.Steps++;
        double firstCorrection = 1 - Math.Pow(options.Beta1, slot.Steps), secondCorrection = 1 - Math.Pow(options.Beta2, slot.Steps);
        using Scalar keepFirst = options.Beta1.ToScalar(), keepSecond = options.Beta2.ToScalar(), kept = (1 - (rate * decay)).ToScalar(),
            // The clipping factor goes into the two averages, which saves a pass over the gradients.
            addFirst = ((1 - options.Beta1) * clip).ToScalar(), addSecond = ((1 - options.Beta2) * clip * clip).ToScalar(),
            root = Math.Sqrt(secondCorrection).ToScalar(), epsilon = options.Epsilon.ToScalar(), move = (-rate / firstCorrection).ToScalar();
        slot.First.mul_(keepFirst).add_(gradient, addFirst);
        slot.Second!.mul_(keepSecond).addcmul_(gradient, gradient, addSecond);
        if (decay != 0)
        {
            slot.Target.mul_(kept);
        }

        Tensor denominator = slot.Second.sqrt().div_(root).add_(epsilon, KeptScalars.One);
        slot.Target.addcdiv_(slot.First, denominator, move);
    }
}
