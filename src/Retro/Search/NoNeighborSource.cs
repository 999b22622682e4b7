namespace Retro.Search;

/// <summary>Finds nothing: every neighbor is missing, as at the start of a text or with an empty database.</summary>
public sealed class NoNeighborSource : INeighborSource
{
    /// <inheritdoc/>
    public string Name => "none";

    /// <inheritdoc/>
    public string Identity => Name;

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        chunks.Fill(-1);
        scores.Fill(float.NaN);
    }
}
