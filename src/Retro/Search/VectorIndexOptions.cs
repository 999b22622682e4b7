namespace Retro.Search;

/// <summary>How the vector index of a database is made.</summary>
public sealed record VectorIndexOptions
{
    /// <summary>FAISS, the exact managed index, or, the default, FAISS where it is there. The managed index takes no <see cref="Factory"/> but "Flat" and no <see cref="Parameters"/>.</summary>
    public VectorEngine Engine { get; init; } = VectorEngine.Auto;

    /// <summary>FAISS's factory text; null, the default, to choose by size (<see cref="VectorIndexPlan.For"/>).</summary>
    public string? Factory { get; init; }

    /// <summary>Search parameters that go with <see cref="Factory"/>, such as "nprobe=16"; none by default.</summary>
    public string Parameters { get; init; } = "";

    /// <summary>How keys are compared; squared L2 by default.</summary>
    public VectorMetric Metric { get; init; } = VectorMetric.SquaredL2;

    /// <summary>Keys that a <see cref="Factory"/> which needs training is trained on; never more than there are. 65,536 by default.</summary>
    public int TrainingVectors { get; init; } = 65_536;

    internal VectorIndexPlan Plan(long count, int dimensions)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(TrainingVectors);
        ArgumentNullException.ThrowIfNull(Parameters);
        if (Factory is null && VectorIndex.Choose(Engine) == VectorEngine.Exact)
        {
            return new(VectorIndexPlan.Exact, 0, Parameters);
        }

        return Factory is null ? VectorIndexPlan.For(count, dimensions) : new(Factory, (int)Math.Min(count, TrainingVectors), Parameters);
    }
}
