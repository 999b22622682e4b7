namespace Retro.Search;

/// <summary>The constants of a <see cref="KeywordNeighborSource"/>'s BM25, and how it is opened and searched. Checked by <see cref="Validate"/>.</summary>
public sealed record KeywordNeighborOptions
{
    internal const long DefaultMemory = 1L << 30;

    /// <summary>How fast more occurrences of a token stop adding to the score; 1.2 by default, not negative.</summary>
    public double K1 { get; init; } = 1.2;

    /// <summary>How far long chunks are held back: 0 not at all, 1 in proportion; 0.75 by default.</summary>
    public double B { get; init; } = 0.75;

    /// <summary>
    /// Whether opening compares the file's checksum, which reads the whole of it; true by default. Sizes and tables of contents are checked in any case.
    /// </summary>
    public bool Verify { get; init; } = true;

    /// <summary>
    /// Bytes of memory that making the index may take: a larger one is made in blocks of so many, which are files beside it until they are joined. The index
    /// is the same. 1 GiB by default.
    /// </summary>
    public long Memory { get; init; } = DefaultMemory;

    /// <summary>Threads that index and search at once; 0 (the default) for one per processor. Neither the index nor the neighbors depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something is out of range; the exception lists every fault.</exception>
    public KeywordNeighborOptions Validate()
    {
        OptionFaults faults = new(nameof(KeywordNeighborOptions));
        faults.NotNegative(K1);
        faults.Share(B);
        faults.Between(Memory, 1);
        faults.Require(Threads >= 0, Threads, "at least 0; 0 stands for one per processor");
        faults.Throw();
        return this;
    }
}
