namespace Retro.Modeling;

/// <summary>How rotary frequencies are changed so that a model reads further than it was trained.</summary>
public enum RotaryScalingKind
{
    /// <summary>Every frequency divided by the factor.</summary>
    Linear,

    /// <summary>Low frequencies divided by the factor, high ones kept, those between blended, as Llama 3 does it.</summary>
    Llama3,
}

/// <summary>A change of the rotary frequencies of decoder self-attention.</summary>
public sealed record RotaryScaling
{
    /// <summary>Which change.</summary>
    public RotaryScalingKind Kind { get; init; }

    /// <summary>What frequencies are divided by; at least 1. Default 1.</summary>
    public double Factor { get; init; } = 1;

    /// <summary>Llama 3: frequencies with a wavelength above OriginalLength / this are divided. Default 1.</summary>
    public double LowFrequencyFactor { get; init; } = 1;

    /// <summary>Llama 3: frequencies with a wavelength below OriginalLength / this are kept. Default 4.</summary>
    public double HighFrequencyFactor { get; init; } = 4;

    /// <summary>Llama 3: the length in tokens that the model was trained for. Default 8192.</summary>
    public int OriginalLength { get; init; } = 8192;
}
