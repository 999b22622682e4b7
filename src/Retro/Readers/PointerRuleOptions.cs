namespace Retro.Readers;

/// <summary>How the precision of a <see cref="PointerRule"/> is counted.</summary>
public sealed record PointerRuleOptions
{
    /// <summary>K: neighbors per chunk. Default 2.</summary>
    public int Neighbors { get; init; } = 2;

    /// <summary>R: tokens per neighbor; null: twice the chunk length. Default null.</summary>
    public int? RetrievedLength { get; init; }

    /// <summary>Chunks that are counted, drawn at random; all where there are fewer. Default 1,500.</summary>
    public int Chunks { get; init; } = 1500;

    /// <summary>Draws the chunks. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public PointerRuleOptions Validate()
    {
        OptionFaults faults = new(nameof(PointerRuleOptions));
        faults.Between(Neighbors, 1);
        faults.Require(RetrievedLength is null or > 1, RetrievedLength, "at least 2, of which the second is copied");
        faults.Between(Chunks, 1);
        faults.Throw();
        return this;
    }
}
