namespace Retro.Corpora;

/// <summary>How documents are held out for evaluation.</summary>
public sealed record HeldOutOptions
{
    /// <summary>The share of the documents to hold out; 0.02 by default. Not used where <see cref="Count"/> is set.</summary>
    public double Fraction { get; init; } = 0.02;

    /// <summary>
    /// How many documents to choose; null (the default) for the share of <see cref="Fraction"/>. Of chosen ones that resemble each other one is held out, so
    /// that they may be fewer.
    /// </summary>
    public int? Count { get; init; }

    /// <summary>Chooses among the possible splits; 0 by default.</summary>
    public long Seed { get; init; }

    /// <summary>
    /// The Jaccard similarity from which on a document of the training part is removed for resembling a held-out one; 0.8 by default (the paper's section 2.1).
    /// </summary>
    public double Similarity { get; init; } = 0.8;

    /// <summary>
    /// The share of a held-out document's grams from which on a document of the training part that holds them is removed, however much else it holds, and so
    /// is an excerpt, such a share of whose own grams stands in a held-out one; 0.8 by default. Documents of fewer words than a gram has, held out or not, are
    /// compared as a whole alone, and so are no excerpts: phrases of a few words stand in many texts.
    /// </summary>
    public double Containment { get; init; } = 0.8;

    /// <summary>
    /// Words of a gram that similarity and containment count; 13 by default (the paper's section 2.1). Of scripts that do not part words, each character counts
    /// as one.
    /// </summary>
    public int GramWords { get; init; } = 13;

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public HeldOutOptions Validate()
    {
        OptionFaults faults = new(nameof(HeldOutOptions));
        faults.Require(Count is not null || (Fraction > 0 && Fraction < 1), Fraction, "a number between 0 and 1");
        faults.Require(Count is null or >= 1, Count, "at least 1, or null");
        faults.Require(Similarity > 0 && Similarity <= 1, Similarity, "a number above 0 and not above 1");
        faults.Require(Containment > 0 && Containment <= 1, Containment, "a number above 0 and not above 1");
        faults.Between(GramWords, 1);
        faults.Throw();
        return this;
    }
}
