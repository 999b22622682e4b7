using Retro.Database;

namespace Retro.Search;

/// <summary>
/// The candidates of one source in the order of BM25: those that share a query's rarer tokens first. A candidate that shares none comes after all that do; ties
/// keep the first source's order. Scores are those of BM25.
/// </summary>
public sealed class RerankedNeighborSource : INeighborSource
{
    private readonly INeighborSource _candidates;
    private readonly KeywordNeighborSource _judge;
    private readonly RerankedNeighborOptions _options;

    /// <summary>Creates the source.</summary>
    /// <param name="candidates">Finds the candidates, such as a <see cref="DenseNeighborSource"/>; it stays the caller's to dispose.</param>
    /// <param name="judge">Scores them; it stays the caller's to dispose.</param>
    /// <param name="options">How many candidates there are; null for the defaults.</param>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="ArgumentException">The two are over different databases.</exception>
    public RerankedNeighborSource(INeighborSource candidates, KeywordNeighborSource judge, RerankedNeighborOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(candidates);
        ArgumentNullException.ThrowIfNull(judge);
        _options = (options ?? new()).Validate();
        if (candidates.Database?.Manifest.TokensHash != judge.Database.Manifest.TokensHash)
        {
            throw new ArgumentException(
                $"The candidates of {candidates.Name} have to be chunks of the database in {judge.Database.Folder}, whose keyword index scores them.",
                nameof(candidates));
        }

        _candidates = candidates;
        _judge = judge;
        Identity = NeighborQueries.Identity([Name, _options.Depth, candidates.Identity, judge.Identity]);
    }

    /// <inheritdoc/>
    public string Name => "reranked";

    /// <inheritdoc/>
    public ChunkDatabase? Database => _candidates.Database;

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public string? KeyIdentity => _candidates.KeyIdentity;

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        int depth = NeighborQueries.Most(Database, Math.Max(count, _options.Depth));
        long[] found = new long[NeighborQueries.Places(queries.Count, depth)];
        _candidates.AskInto(queries, depth, found, new float[found.Length], cancellationToken);
        chunks.Fill(-1);
        scores.Fill(float.NaN);
        for (int q = 0; q < queries.Count; q++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long[] row = [.. found.AsSpan(q * depth, depth).ToArray().Where(chunk => chunk >= 0)];
            double[] judged = _judge.Scores(queries[q], row);

            // LINQ's sort is stable: among equals the order is that of the candidates.
            int place = q * count;
            foreach (int i in Enumerable.Range(0, row.Length).OrderByDescending(i => judged[i]).Take(count))
            {
                chunks[place] = row[i];
                scores[place++] = (float)judged[i];
            }
        }
    }
}
