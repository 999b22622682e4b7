namespace Retro.Database;

/// <summary>How a database is built.</summary>
public sealed record ChunkDatabaseOptions
{
    /// <summary>Tokens of a chunk, <c>M</c>; 64 by default, as in the paper (section 2.2).</summary>
    public int ChunkLength { get; init; } = 64;

    /// <summary>
    /// What is done where the folder holds a database, or an unfinished one, of other settings or another corpus: false (the
    /// default) refuses and names both values; true replaces it: the new database is written beside it, which takes as much room again, and takes its place
    /// when it is whole. Until then, and whatever happens before, the old one stays and can be read. What did not change is taken over: the tokens of equal
    /// texts where the tokenizer is the same, and what later stages made where tokens, ids and texts are (keys of equal texts alone can be held,
    /// <see cref="Search.EarlierKeys"/>). An unfinished database that does not match is discarded, and any by a change of the one that is there
    /// (<see cref="ChunkDatabaseUpdate"/>).
    /// </summary>
    public bool StartOver { get; init; }

    /// <summary>The name of the cleaning the documents went through before they came here, kept in the manifest; "none" by default.</summary>
    public string Cleaning { get; init; } = "none";

    /// <summary>Threads that encode text; 0 (the default) for one per processor. It does not change the result.</summary>
    public int Threads { get; init; }

    /// <summary>Characters of text after which a block is written and can be resumed from. It does not change the result.</summary>
    internal int BlockCharacters { get; init; } = 4_000_000;

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public ChunkDatabaseOptions Validate()
    {
        OptionFaults faults = new(nameof(ChunkDatabaseOptions));
        faults.Between(ChunkLength, 1, 1 << 20);
        faults.Between(BlockCharacters, 1);
        faults.Require(Threads >= 0, Threads, "at least 0; 0 stands for one per processor");
        faults.Require(!string.IsNullOrWhiteSpace(Cleaning), Cleaning, "the name of the cleaning, or \"none\"");
        faults.Throw();
        return this;
    }
}
