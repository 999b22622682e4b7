namespace Retro.Postgres;

/// <summary>How the keys are indexed. Checked by <see cref="Validate"/>.</summary>
public sealed record PostgresIndexOptions
{
    /// <summary>The kind; a graph by default.</summary>
    public PostgresIndexKind Kind { get; init; } = PostgresIndexKind.Hnsw;

    /// <summary>Of a graph: connections of each key in a layer (pgvector's <c>m</c>); 16 by default.</summary>
    public int Connections { get; init; } = 16;

    /// <summary>Of a graph: how many candidates are kept while it is built (<c>ef_construction</c>), at least twice the connections; 64 by default.</summary>
    public int Candidates { get; init; } = 64;

    /// <summary>
    /// Of inverted lists: how many; 0, the default, takes as many as pgvector's documentation advises: a thousandth of the keys up to a million of them, the
    /// square root beyond.
    /// </summary>
    public int Lists { get; init; }

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something is out of range; the exception lists every fault.</exception>
    public PostgresIndexOptions Validate()
    {
        OptionFaults faults = new(nameof(PostgresIndexOptions));
        faults.Defined(Kind);
        faults.Between(Connections, 2, 100);
        faults.Between(Candidates, 4, 1000);
        faults.Require(Candidates >= 2 * Connections, Candidates, $"at least twice the {Connections} connections");
        faults.Between(Lists, 0, 32768);
        faults.Throw();
        return this;
    }
}
