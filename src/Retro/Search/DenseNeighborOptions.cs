using Retro.Vectors;

namespace Retro.Search;

/// <summary>How the keys of a <see cref="DenseNeighborSource"/> are indexed and searched. Checked by <see cref="Validate"/>.</summary>
public sealed record DenseNeighborOptions
{
    /// <summary>
    /// FAISS, the exact managed index, or, the default, FAISS where it is there. The managed index takes no <see cref="Factory"/> but "Flat" and no
    /// <see cref="Parameters"/>.
    /// </summary>
    public VectorEngine Engine { get; init; } = VectorEngine.Auto;

    /// <summary>
    /// FAISS's factory text; null, the default, to choose by size: exact up to 100,000 chunks, beyond that inverted lists of vectors as whole as
    /// <see cref="IndexMemory"/> allows. Write product codes with "np", as in "IVF4096,PQ64np": without it FAISS takes seconds longer for each of their bytes
    /// to make them polysemous, which nothing here makes use of.
    /// </summary>
    public string? Factory { get; init; }

    /// <summary>
    /// Search parameters, such as "nprobe=16"; null, the default, for those that <see cref="Recall"/> was reached with when the index was made. They are part
    /// of the source's identity: others find other neighbors. Others are set, and measured, on the index that is there where they name all that is set in it
    /// and nothing of how it is made ("efConstruction=80"); else the index is made anew.
    /// </summary>
    public string? Parameters { get; init; }

    /// <summary>
    /// Share of the true 8 nearest neighbors that an index with inverted lists, or a graph, has to find, measured when it is made on 256 chunks of the
    /// database (fewer where comparing them with all would take long), each without its own document, as neighbor tables are made: as many lists are looked
    /// into as that takes. Where codes or the links of a graph lose more than that leaves, they are as many as find 99 % of what is found at most, and a
    /// message of the progress says so. What was reached and how fast stands in the manifest. Another recall is measured on the index that is there. An index
    /// whose recall was measured with the own documents stays as it is, and looks less far than one that is made now: name another recall, or make the index
    /// anew. 0.95 by default.
    /// </summary>
    public double Recall { get; init; } = 0.95;

    /// <summary>
    /// Bytes that an index chosen by size should not take more than: its vectors are kept whole, by a byte a number, or by product codes, whichever is the
    /// first to fit. What such an index finds is compared anew by the stored keys, where they are there. 4 GiB by default.
    /// </summary>
    public long IndexMemory { get; init; } = VectorIndexPlan.DefaultMemory;

    /// <summary>How keys are compared; squared L2 by default.</summary>
    public VectorMetric Metric { get; init; } = VectorMetric.SquaredL2;

    /// <summary>
    /// Keys that a <see cref="Factory"/> which needs training is trained on; never more than there are. An index that was trained on another number, be it one
    /// that was chosen by size, is made anew. 65,536 by default.
    /// </summary>
    public int TrainingVectors { get; init; } = 65_536;

    /// <summary>
    /// Leaves inverted lists, or the vectors of an exact managed index, in the file, and compares neither the file's checksum nor those of the stored keys,
    /// which would read the whole of them. False by default.
    /// </summary>
    public bool MemoryMapped { get; init; }

    /// <summary>
    /// Opens an index file of whatever kind. False by default: a file of FAISS's is as code from whoever made it, and one of another kind than are made by size
    /// (exact; inverted lists of plain or 8-bit vectors or product codes) is refused, unless <see cref="Factory"/> names it.
    /// </summary>
    public bool TrustIndexFile { get; init; }

    /// <summary>
    /// Threads that index and search; 0 (the default) for one per processor. The neighbors do not depend on it, up to ties within rounding, but for those of a
    /// graph (HNSW), which several threads link in whatever order they come.
    /// </summary>
    public int Threads { get; init; }

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
        faults.Require(Recall is > 0 and <= 1, Recall, "more than 0 and at most 1");
        faults.Between(IndexMemory, 1);
        faults.Require(Threads >= 0, Threads, "at least 0; 0 stands for one per processor");
        faults.Throw();
        return this;
    }

    internal VectorIndexPlan Plan(long count, int dimensions)
    {
        VectorIndexPlan plan = Factory is not null ? new(Factory, (int)Math.Min(count, TrainingVectors), "")
            : VectorIndex.Choose(Engine) == VectorEngine.Exact ? new(VectorIndexPlan.Exact, 0, "")
            : VectorIndexPlan.For(count, dimensions, IndexMemory);
        return plan with { Parameters = Parameters ?? plan.Parameters };
    }
}
