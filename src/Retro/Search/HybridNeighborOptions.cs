namespace Retro.Search;

/// <summary>How a <see cref="HybridNeighborSource"/> joins the ranks of its sources. Checked by <see cref="Validate"/>.</summary>
public sealed record HybridNeighborOptions
{
    /// <summary>k0, added to every rank; 60 by default, as in the paper. The greater it is, the less the first ranks stand out.</summary>
    public double RankOffset { get; init; } = 60;

    /// <summary>How many neighbors each source is asked for at least; 32 by default. Never fewer than are wanted in the end.</summary>
    public int Depth { get; init; } = 32;

    /// <summary>
    /// How much each source counts, in their order: its share of a chunk's score is multiplied by it. Empty, the default: all alike.
    /// </summary>
    public IReadOnlyList<double> Weights { get; init; } = [];

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something is out of range; the exception lists every fault.</exception>
    public HybridNeighborOptions Validate()
    {
        OptionFaults faults = new(nameof(HybridNeighborOptions));
        faults.Positive(RankOffset);
        faults.Between(Depth, 1);
        faults.Require(
            Weights is not null && Weights.All(weight => weight > 0 && double.IsFinite(weight)),
            Weights is null ? null : string.Join(", ", Weights),
            "finite numbers above 0, or none",
            nameof(Weights));
        faults.Throw();
        return this;
    }
}
