using System.Text;
using Retro.Search;
using Retro.Vectors;

namespace Retro.Postgres;

/// <summary>How a database in PostgreSQL is made and written. Checked by <see cref="Validate"/>.</summary>
public sealed record PostgresOptions
{
    /// <summary>The schema that holds its tables, "retro" by default: a server may have several such databases, each in a schema of its own.</summary>
    public string Schema { get; init; } = "retro";

    /// <summary>How rows get to the server; by COPY where it is known to take it, by default.</summary>
    public PostgresWriting Writing { get; init; }

    /// <summary>Tokens of a chunk, <c>M</c>; 64 by default. Of a database that is there, it is what it is.</summary>
    public int ChunkLength { get; init; } = 64;

    /// <summary>The name of the cleaning that the documents went through; "none" by default. Of a database that is there, it is what it is.</summary>
    public string Cleaning { get; init; } = "none";

    /// <summary>How keys are compared; squared L2 by default. Of a database that is there, it is what it is.</summary>
    public VectorMetric Metric { get; init; } = VectorMetric.SquaredL2;

    /// <summary>
    /// The text search configuration that makes words of text; "simple" by default: every word, in lower case. One of a language, such as "english", stems
    /// words and leaves out the commonest, which makes large databases quicker to search. Of a database that is there, it is what it is.
    /// </summary>
    public string TextSearch { get; init; } = "simple";

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something is out of range; the exception lists every fault.</exception>
    public PostgresOptions Validate()
    {
        OptionFaults faults = new(nameof(PostgresOptions));
        faults.Require(IsName(Schema), Schema, "a name of 1 to 63 bytes");
        faults.Defined(Writing);
        faults.Between(ChunkLength, 1, 1 << 20);
        faults.Require(IsText(Cleaning), Cleaning, "the name of the cleaning, or \"none\"");
        faults.Defined(Metric);
        faults.Require(IsName(TextSearch), TextSearch, "the name of a text search configuration of the server, such as \"simple\"");
        faults.Throw();
        return this;
    }

    private static bool IsName(string? name) => IsText(name) && Encoding.UTF8.GetByteCount(name!) <= 63;

    private static bool IsText(string? text) => !string.IsNullOrWhiteSpace(text) && PostgresSearch.IsStorable(text);
}
