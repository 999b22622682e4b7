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

    /// <summary>AdamW: decoupled weight decay of tensors of two or more dimensions, biases left out, per unit of learning rate. Default 0.1; others are never decayed.</summary>
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>Muon: decay of the mean gradient. Default 0.95.</summary>
    public double MuonMomentum { get; init; } = 0.95;

    /// <summary>Muon: decoupled weight decay per unit of Muon's learning rate. Default 0.</summary>
    public double MuonWeightDecay { get; init; }

    /// <summary>Largest norm of all gradients together; greater ones are scaled down to it. Default 1; infinity switches clipping off.</summary>
    public double ClipNorm { get; init; } = 1;

    internal IEnumerable<string> Faults()
    {
        if (!Enum.IsDefined(Kind))
        {
            yield return $"{nameof(Kind)} is {Kind}; expected AdamW or Muon.";
        }

        foreach ((string name, double value) in new[] { (nameof(Beta1), Beta1), (nameof(Beta2), Beta2), (nameof(MuonMomentum), MuonMomentum) })
        {
            if (!(value >= 0 && value < 1))
            {
                yield return $"{name} is {value}; expected at least 0 and less than 1.";
            }
        }

        foreach ((string name, double value) in new[] { (nameof(Epsilon), Epsilon), (nameof(WeightDecay), WeightDecay), (nameof(MuonWeightDecay), MuonWeightDecay) })
        {
            if (!(value >= 0) || !double.IsFinite(value))
            {
                yield return $"{name} is {value}; expected a number of at least 0.";
            }
        }

        if (!(ClipNorm > 0))
        {
            yield return $"{nameof(ClipNorm)} is {ClipNorm}; expected more than 0 (infinity: no clipping).";
        }
    }
}
