namespace Retro.Readers;

/// <summary>How a <see cref="NearestNeighborReader"/> is fitted.</summary>
public sealed record NearestNeighborOptions
{
    /// <summary>K: states that are looked up for every token. Default 256.</summary>
    public int Neighbors { get; init; } = 256;

    /// <summary>Tokens of the given documents that share and temperature are fitted on; all where there are fewer. Default 2,048.</summary>
    public int Tokens { get; init; } = 2048;

    /// <summary>T: most tokens of a document that are read at once. Default 512.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public NearestNeighborOptions Validate()
    {
        OptionFaults faults = new(nameof(NearestNeighborOptions));
        faults.Between(Neighbors, 1, 1 << 16);
        faults.Between(Tokens, 1);
        faults.Between(WindowLength, 2);
        faults.Throw();
        return this;
    }
}
