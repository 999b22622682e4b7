namespace Retro.Modeling;

/// <summary>How attention learns where its queries and keys stand.</summary>
public enum PositionKind
{
    /// <summary>Rotary positions (arXiv 2104.09864), halves rotated: features i and i + size/2 form a pair.</summary>
    Rotary,

    /// <summary>
    /// Relative positions as in Transformer-XL (arXiv 1901.02860): projected sinusoids of the distance, with content and position biases. The paper's choice.
    /// </summary>
    TransformerXl,

    /// <summary>A learned table of absolute positions, added to the embedding.</summary>
    Learned,

    /// <summary>No positions.</summary>
    None,
}
