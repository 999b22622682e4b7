namespace Retro.Optimization;

/// <summary>Which rule moves the matrices inside the layers; everything else is always moved by AdamW.</summary>
public enum OptimizerKind
{
    /// <summary>AdamW for every parameter.</summary>
    AdamW,

    /// <summary>Muon for the matrices of the layers, AdamW for embeddings, head, norms and biases.</summary>
    Muon,
}
