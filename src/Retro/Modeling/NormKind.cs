namespace Retro.Modeling;

/// <summary>The normalization before every branch and at the end.</summary>
public enum NormKind
{
    /// <summary>x / sqrt(mean(x²) + epsilon) · weight (arXiv 1910.07467). The paper's choice.</summary>
    RmsNorm,

    /// <summary>(x − mean) / sqrt(variance + epsilon) · weight + bias (arXiv 1607.06450).</summary>
    LayerNorm,
}
