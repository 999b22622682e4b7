namespace Retro.Postgres;

/// <summary>How a <see cref="PostgresDenseNeighborSource"/> searches. Checked by <see cref="Validate"/>.</summary>
public sealed record PostgresDenseOptions
{
    /// <summary>Compares with every key that may be seen, whatever index there is; false by default.</summary>
    public bool Exact { get; init; }

    /// <summary>Of a graph: how many candidates a search keeps at least (pgvector's <c>hnsw.ef_search</c>); 100 by default.</summary>
    public int Candidates { get; init; } = 100;

    /// <summary>
    /// Of inverted lists: how many a search looks into at least (<c>ivfflat.probes</c>); 0, the default, takes the square root of how many there are, as
    /// pgvector's documentation advises.
    /// </summary>
    public int Probes { get; init; }

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something is out of range; the exception lists every fault.</exception>
    public PostgresDenseOptions Validate()
    {
        OptionFaults faults = new(nameof(PostgresDenseOptions));
        faults.Between(Candidates, 1, 1000);
        faults.Between(Probes, 0, 32768);
        faults.Throw();
        return this;
    }
}
