using Retro.Database;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>
/// Several sources in one by reciprocal rank fusion: a chunk's score is the sum over the sources of w / (k0 + its rank there), ranks from 1 (Cormack, Clarke
/// and Büttcher, SIGIR 2009, who take k0 = 60, and every weight w as 1). Scores of different kinds are never compared, only ranks. Ties go by chunk number.
/// </summary>
public sealed class HybridNeighborSource : INeighborSource
{
    private readonly INeighborSource[] _sources;
    private readonly HybridNeighborOptions _options;
    private readonly double[] _weights;

    /// <summary>Creates the source with the paper's constant.</summary>
    /// <param name="sources">At least one, all over the same database; they stay the caller's to dispose.</param>
    /// <exception cref="ArgumentException">There is none, or they are over different databases.</exception>
    public HybridNeighborSource(params INeighborSource[] sources)
        : this(new HybridNeighborOptions(), sources)
    {
    }

    /// <summary>Creates the source.</summary>
    /// <param name="options">How the ranks are joined.</param>
    /// <param name="sources">At least one, all over the same database; they stay the caller's to dispose.</param>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="ArgumentException">There is none, they are over different databases, or there is another number of weights than of them.</exception>
    public HybridNeighborSource(HybridNeighborOptions options, params INeighborSource[] sources)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options.Validate();
        ArgumentNullException.ThrowIfNull(sources);
        if (sources.Length == 0 || Array.Exists(sources, source => source is null))
        {
            throw new ArgumentException("A hybrid needs at least one source, and none of them null.", nameof(sources));
        }

        if (options.Weights.Count > 0 && options.Weights.Count != sources.Length)
        {
            throw new ArgumentException($"A hybrid of {sources.Length} sources needs as many weights, and {options.Weights.Count} are given.", nameof(sources));
        }

        string[] hashes = sources.Where(source => source.Database is not null).Select(source => source.Database!.Manifest.TokensHash).Distinct().ToArray();
        if (hashes.Length > 1)
        {
            throw new ArgumentException(
                $"The sources of a hybrid have to be over one database, and these are over {hashes.Length} different ones.", nameof(sources));
        }

        string?[] keys = sources.Select(source => source.KeyIdentity).Where(identity => identity is not null).Distinct().ToArray();
        KeyIdentity = keys.Length == 1 ? keys[0] : null;
        Database = Array.Find(sources, source => source.Database is not null)?.Database;
        _sources = [.. sources];
        _weights = options.Weights.Count > 0 ? [.. options.Weights] : [.. sources.Select(_ => 1.0)];

        // Weights that all are one change nothing, and so not the identity either.
        object?[] weights = Array.TrueForAll(_weights, weight => weight == 1) ? [] : ["weights", .. _weights];
        Identity = NeighborQueries.Identity([Name, options.RankOffset, options.Depth, .. sources.Select(source => source.Identity), .. weights]);
    }

    /// <inheritdoc/>
    public string Name => "hybrid";

    /// <inheritdoc/>
    public ChunkDatabase? Database { get; }

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public string? KeyIdentity { get; }

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);

        // Where the sources' keys come from different functions, a key that came along belongs to none of them for certain.
        if (KeyIdentity is null && queries.Any(query => !query.Key.IsEmpty))
        {
            queries = [.. queries.Select(query => query with { Key = default })];
        }

        int deep = NeighborQueries.Most(Database, Math.Max(count, _options.Depth));
        long[][] found = new long[_sources.Length][];
        float[] ignored = new float[NeighborQueries.Places(queries.Count, deep)];
        for (int s = 0; s < _sources.Length; s++)
        {
            found[s] = new long[ignored.Length];
            _sources[s].AskInto(queries, deep, found[s], ignored, cancellationToken);
        }

        Dictionary<long, double> sums = [];
        double[] exact = new double[count];
        for (int q = 0; q < queries.Count; q++)
        {
            sums.Clear();
            for (int s = 0; s < found.Length; s++)
            {
                long[] rows = found[s];
                for (int rank = 1; rank <= deep; rank++)
                {
                    if (rows[q * deep + rank - 1] is var chunk and >= 0)
                    {
                        sums[chunk] = sums.GetValueOrDefault(chunk) + _weights[s] / (_options.RankOffset + rank);
                    }
                }
            }

            Span<long> row = chunks.Slice(q * count, count);
            Ranking best = new(row, exact);
            foreach ((long chunk, double sum) in sums)
            {
                best.Offer(chunk, sum);
            }

            best.Finish(scores.Slice(q * count, count));
        }
    }
}
