namespace Retro.Search;

/// <summary>How the keys of a <see cref="DenseNeighborSource"/> are indexed and searched. Checked by <see cref="Validate"/>.</summary>
public sealed record DenseNeighborOptions
{
    /// <summary>
    /// FAISS, the exact managed index, or, the default, FAISS where it is there. The managed index takes no <see cref="Factory"/> but "Flat" and no
    /// <see cref="Parameters"/>.
    /// </summary>
    public VectorEngine Engine { get; init; } = VectorEngine.Auto;

    /// <summary>FAISS's factory text; null, the default, to choose by size: exact up to 100,000 chunks, inverted lists beyond.</summary>
    public string? Factory { get; init; }

    /// <summary>
    /// Search parameters, such as "nprobe=16"; null, the default, for those that were chosen with the index. They are part of the source's identity: others
    /// find other neighbors.
    /// </summary>
    public string? Parameters { get; init; }

    /// <summary>How keys are compared; squared L2 by default.</summary>
    public VectorMetric Metric { get; init; } = VectorMetric.SquaredL2;

    /// <summary>Keys that a <see cref="Factory"/> which needs training is trained on; never more than there are. 65,536 by default.</summary>
    public int TrainingVectors { get; init; } = 65_536;

    /// <summary>
    /// Leaves inverted lists, or the vectors of an exact managed index, in the file, and compares neither the file's checksum nor those of the stored keys,
    /// which would read the whole of them. False by default.
    /// </summary>
    public bool MemoryMapped { get; init; }

    /// <summary>
    /// Opens an index file of whatever kind. False by default: a file of FAISS's is as code from whoever made it, and one of another kind than are made by size
    /// (exact; inverted lists of plain or 8-bit vectors) is refused, unless <see cref="Factory"/> names it.
    /// </summary>
    public bool TrustIndexFile { get; init; }

    /// <summary>Threads that index and search; every processor by default. The neighbors do not depend on it.</summary>
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something is out of range; the exception lists every fault.</exception>
    public DenseNeighborOptions Validate()
    {
        OptionFaults faults = new(nameof(DenseNeighborOptions));
        faults.Defined(Engine);
        faults.Require(Factory is null || !string.IsNullOrWhiteSpace(Factory), Factory, "a factory text of FAISS's, or null to choose by size");
        faults.Defined(Metric);
        faults.Between(TrainingVectors, 1);
        faults.Between(Threads, 1);
        faults.Throw();
        return this;
    }

    internal VectorIndexPlan Plan(long count, int dimensions)
    {
        VectorIndexPlan plan = Factory is not null ? new(Factory, (int)Math.Min(count, TrainingVectors), "")
            : VectorIndex.Choose(Engine) == VectorEngine.Exact ? new(VectorIndexPlan.Exact, 0, "")
            : VectorIndexPlan.For(count, dimensions);
        return plan with { Parameters = Parameters ?? plan.Parameters };
    }
}
