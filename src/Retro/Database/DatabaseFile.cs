namespace Retro.Database;

/// <summary>A file of a database, as its manifest lists it.</summary>
public sealed record DatabaseFile
{
    /// <summary>The file's name, without a path; in <see cref="ChunkDatabase.Files"/> its path from the database's folder.</summary>
    public required string Name { get; init; }

    /// <summary>Its size in bytes.</summary>
    public required long Bytes { get; init; }

    /// <summary>SHA-256 of its content, in lower-case hexadecimal digits.</summary>
    public required string Sha256 { get; init; }

    /// <summary>SHA-256 of the token file this file was made from; null for the token file and the document table themselves.</summary>
    public string? MadeFrom { get; init; }

    /// <summary>What the stage that made it tells of it, such as the embedder's identity or the index factory.</summary>
    public IReadOnlyDictionary<string, string> Details { get; init; } = new SortedDictionary<string, string>(StringComparer.Ordinal);
}
