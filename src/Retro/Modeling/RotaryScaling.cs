namespace Retro.Modeling;

/// <summary>How rotary frequencies are changed so that a model reads further than it was trained.</summary>
public enum RotaryScalingKind
{
    /// <summary>Every frequency divided by the factor.</summary>
    Linear,

    /// <summary>Low frequencies divided by the factor, high ones kept, those between blended, as Llama 3 does it.</summary>
    Llama3,

    /// <summary>
    /// YaRN (arXiv 2309.00071): low frequencies divided by the factor, high ones kept, those between blended along the features, and
    /// <see cref="RotaryScaling.AttentionFactor"/>.
    /// </summary>
    Yarn,

    /// <summary>
    /// LongRoPE (arXiv 2402.13753): each pair's frequency divided by a number of its own, <see cref="RotaryScaling.PairFactors"/>, and
    /// <see cref="RotaryScaling.AttentionFactor"/>. A model has other numbers for long texts: see <see cref="RetroConfig.MaximumLength"/>.
    /// </summary>
    LongRope,
}

/// <summary>A change of the rotary frequencies of decoder self-attention.</summary>
public sealed record RotaryScaling
{
    /// <summary>Which change.</summary>
    public RotaryScalingKind Kind { get; init; }

    /// <summary>What frequencies are divided by; at least 1. Default 1.</summary>
    public double Factor { get; init; } = 1;

    /// <summary>Llama 3 and YaRN: frequencies with a wavelength above OriginalLength / this are divided. Default 1.</summary>
    public double LowFrequencyFactor { get; init; } = 1;

    /// <summary>Llama 3 and YaRN: frequencies with a wavelength below OriginalLength / this are kept. Default 4; the paper of YaRN has 32.</summary>
    public double HighFrequencyFactor { get; init; } = 4;

    /// <summary>Llama 3 and YaRN: the length in tokens that the model was trained for. Default 8192.</summary>
    public int OriginalLength { get; init; } = 8192;

    /// <summary>YaRN: whether the blend begins and ends at whole pairs of features. Default true.</summary>
    public bool WholePairs { get; init; } = true;

    /// <summary>LongRoPE: what the frequency of each pair of rotated features is divided by; of other kinds none. Default none.</summary>
    public FactorList PairFactors { get; init; } = FactorList.Empty;

    /// <summary>What rotated queries and keys are multiplied by, each of them. Default 1; the paper of YaRN has 0.1 ln <see cref="Factor"/> + 1.</summary>
    public double AttentionFactor { get; init; } = 1;
}
