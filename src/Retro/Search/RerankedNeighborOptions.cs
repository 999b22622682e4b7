namespace Retro.Search;

/// <summary>How a <see cref="RerankedNeighborSource"/> chooses its candidates. Checked by <see cref="Validate"/>.</summary>
public sealed record RerankedNeighborOptions
{
    /// <summary>How many candidates the first source is asked for at least; 64 by default. Never fewer than are wanted in the end.</summary>
    public int Depth { get; init; } = 64;

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something is out of range; the exception lists every fault.</exception>
    public RerankedNeighborOptions Validate()
    {
        OptionFaults faults = new(nameof(RerankedNeighborOptions));
        faults.Between(Depth, 1);
        faults.Throw();
        return this;
    }
}
