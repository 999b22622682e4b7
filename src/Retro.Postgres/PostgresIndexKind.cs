namespace Retro.Postgres;

/// <summary>The kinds of index over the keys that pgvector has.</summary>
public enum PostgresIndexKind
{
    /// <summary>None: every search compares with all keys that may be seen, and is exact.</summary>
    None,

    /// <summary>A graph: quick and near to exact, slower to build and larger than <see cref="IvfFlat"/>.</summary>
    Hnsw,

    /// <summary>Inverted lists, whose centers are those of the keys there when it is built: build it after the documents are in.</summary>
    IvfFlat,
}
