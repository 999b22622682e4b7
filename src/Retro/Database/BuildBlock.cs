namespace Retro.Database;

/// <summary>
/// A block of documents that is safely on the disk, as the journal of an unfinished database lists it. Counts are the block's own, ends are those in the files.
/// </summary>
internal sealed record BuildBlock
{
    /// <summary>Documents of the corpus, those without text among them.</summary>
    public required int Read { get; init; }

    public required int Empty { get; init; }

    public required long Chunks { get; init; }

    public required long Tokens { get; init; }

    public required long Bytes { get; init; }

    public required long TokensEnd { get; init; }

    public required long RecordsEnd { get; init; }

    /// <summary>SHA-256 over the documents' hashes.</summary>
    public required string Corpus { get; init; }

    /// <summary>SHA-256 of the block's part of the token file.</summary>
    public required string TokensHash { get; init; }

    /// <summary>SHA-256 of the block's records.</summary>
    public required string RecordsHash { get; init; }
}
