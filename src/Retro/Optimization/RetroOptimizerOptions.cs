namespace Retro.Optimization;

/// <summary>Settings of <see cref="RetroOptimizer"/>.</summary>
public sealed record RetroOptimizerOptions
{
    /// <summary>The rule for the matrices of the layers. Default: AdamW, as in the paper.</summary>
    public OptimizerKind Kind { get; init; } = OptimizerKind.AdamW;

    /// <summary>AdamW: decay of the mean gradient. Default 0.9.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>AdamW: decay of the mean squared gradient. Default 0.95.</summary>
    public double Beta2 { get; init; } = 0.95;

    /// <summary>AdamW: added to the root of the mean squared gradient. Default 1e-8.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>
    /// AdamW: decoupled weight decay of tensors of two or more dimensions, biases left out, per unit of learning rate. Default 0.1; others are never decayed.
    /// </summary>
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>Muon: decoupled weight decay per unit of Muon's learning rate. Default 0.</summary>
    public double MuonWeightDecay { get; init; }

    /// <summary>Largest norm of all gradients together; greater ones are scaled down to it. Default 1; infinity switches clipping off.</summary>
    public double ClipNorm { get; init; } = 1;

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public RetroOptimizerOptions Validate()
    {
        OptionFaults faults = new(nameof(RetroOptimizerOptions));
        Check(faults);
        faults.Throw();
        return this;
    }

    internal void Check(OptionFaults faults)
    {
        faults.Defined(Kind);
        faults.ShareBelowOne(Beta1);
        faults.ShareBelowOne(Beta2);
        faults.Positive(Epsilon); // 0/0 of a gradient that was always zero
        faults.NotNegative(WeightDecay);
        faults.NotNegative(MuonWeightDecay);
        faults.Require(ClipNorm > 0, ClipNorm, "more than 0 (infinity: no clipping)");
    }
}
