namespace Retro.Readers;

/// <summary>How a <see cref="TokenStore"/> is made.</summary>
public sealed record TokenStoreOptions
{
    /// <summary>T: most tokens that the model reads at once; windows of longer documents overlap by half. Default 512.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>Whether a number of a key takes two bytes instead of four. Default true.</summary>
    public bool Float16 { get; init; } = true;

    /// <summary>
    /// FAISS's factory text of the index, such as "IVF4096,PQ64np"; it decides which keys are found, and the distances are those of the keys themselves. Null:
    /// exact up to 100,000 tokens, inverted lists beyond. A file of a named one is read as it is, and FAISS trusts what its files say. Default null.
    /// </summary>
    public string? Factory { get; init; }

    /// <summary>Search parameters of the factory's index, such as "nprobe=32"; empty for its own. Default empty.</summary>
    public string SearchParameters { get; init; } = "";

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public TokenStoreOptions Validate()
    {
        OptionFaults faults = new(nameof(TokenStoreOptions));
        faults.Between(WindowLength, 2);
        faults.Require(Factory is null || !string.IsNullOrWhiteSpace(Factory), "empty", "a factory text, or null", nameof(Factory));
        faults.Require(SearchParameters is not null, "null", "search parameters, which may be empty", nameof(SearchParameters));
        faults.Throw();
        return this;
    }
}
