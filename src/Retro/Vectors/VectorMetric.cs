namespace Retro.Vectors;

/// <summary>How two vectors are compared. The numbers are those of the FAISS C API.</summary>
public enum VectorMetric
{
    /// <summary>Inner product: greater is nearer.</summary>
    InnerProduct = 0,

    /// <summary>Squared Euclidean distance, the one of RETRO (paper section 2.3): smaller is nearer.</summary>
    SquaredL2 = 1,
}
