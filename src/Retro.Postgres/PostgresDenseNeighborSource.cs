using System.Globalization;
using System.Text.RegularExpressions;
using Npgsql;
using Pgvector;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Vectors;

namespace Retro.Postgres;

/// <summary>
/// The chunks with the nearest keys, found by pgvector: through its index, or by comparing all keys that may be seen where there is none or the server thinks
/// that quicker. The score is minus the squared distance, or the inner product. What labels hide and excluded documents are conditions of the search itself:
/// an index is looked through until there are enough that meet them, and where it comes short all are compared, so that there never are fewer than may be
/// seen. They are the nearest that the index finds, which are not all of the nearest, and of inverted lists can be the fewer the less may be seen. Chunks
/// without a key are never found, and a query without one finds nothing.
/// </summary>
public sealed partial class PostgresDenseNeighborSource : INeighborSource
{
    private readonly PostgresSearch _search;
    private readonly IChunkKeyer _keyer;
    private readonly VectorMetric _metric;
    private readonly bool _exact;

    internal PostgresDenseNeighborSource(PostgresSearch search, IChunkKeyer keyer, VectorMetric metric, PostgresDenseOptions options, string? index)
    {
        (_search, _keyer, _metric) = (search, keyer, metric);
        _exact = options.Exact || index is null;
        bool graph = index?.Contains("USING hnsw", StringComparison.Ordinal) == true;

        // The limits on how much is scanned are lifted as far as they go: what labels hide may be nearly all.
        Setup = _exact
            ? []
            : graph
            ?
            [
                $"SET LOCAL hnsw.ef_search = {options.Candidates}",
                "SET LOCAL hnsw.iterative_scan = strict_order",
                "SET LOCAL hnsw.max_scan_tuples = 2147483647",
                "SET LOCAL hnsw.scan_mem_multiplier = 1000", // of work_mem: at 1, some 15,000 hidden keys end the scan, with others than the best
            ]
            : [$"SET LOCAL ivfflat.probes = {(options.Probes > 0 ? options.Probes : ProbesOf(index!))}", "SET LOCAL ivfflat.iterative_scan = relaxed_order"];
        Identity = NeighborQueries.Identity(
        [
            Name, Database.Manifest.TokensHash, KeyIdentity, metric,
            .. _exact ? (IReadOnlyList<object?>)["exact"] : [index, .. Setup],
        ]);
    }

    /// <summary>Statements before a search, in its transaction.</summary>
    internal IReadOnlyList<string> Setup { get; }

    /// <inheritdoc/>
    public string Name => "postgres-dense";

    /// <summary>The copy on this machine, whose chunk numbers are found.</summary>
    public ChunkDatabase Database => _search.Copy;

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public string KeyIdentity => _keyer.Identity;

    /// <inheritdoc/>
    /// <exception cref="PostgresDatabaseException">The server does not answer, or refuses.</exception>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        float[] keys = KnownKeys.Of(_keyer, queries, cancellationToken);
        _search.Find(
            queries,
            count,
            chunks,
            scores,
            _exact,
            Setup,
            question => keys.AsMemory(question.Query * _keyer.Dimensions, _keyer.Dimensions) is var key && key.Span.ContainsAnyExcept(0f)
                ? Statement(key, queries[question.Query], question.Limit, question.Exact)
                : null,
            value => _metric == VectorMetric.InnerProduct ? -value : -(value * value),
            cancellationToken);
    }

    /// <summary>The square root of the lists that an index is defined with; pgvector's own number of lists is 100.</summary>
    private static int ProbesOf(string index)
    {
        Match lists = ListCount().Match(index);
        return (int)Math.Ceiling(Math.Sqrt(lists.Success ? int.Parse(lists.Groups[1].Value, CultureInfo.InvariantCulture) : 100));
    }

    // As the server writes it: WITH (lists='1000').
    [GeneratedRegex(@"\blists\s*=\s*'?(\d{1,5})\b")]
    private static partial Regex ListCount();

    /// <summary>The statement that finds the nearest keys.</summary>
    internal NpgsqlBatchCommand Statement(ReadOnlyMemory<float> key, in NeighborQuery query, int limit, bool exact)
    {
        string distance = _metric == VectorMetric.InnerProduct ? "c.key <#> $1" : "c.key <-> $1";
        return _search.Command(
            $"SELECT c.document, c.position, {distance} FROM {_search.Tables.Chunks} c",
            [new Vector(key)],
            "c.key IS NOT NULL",
            exact ? $"({distance}) + 0" : distance, // no index gives a sum, so that all are compared
            query,
            limit);
    }
}
