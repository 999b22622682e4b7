using System.Diagnostics;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Another source, watched: what it is asked, how long it takes, how well its best neighbors fit, and when it finds none (<see cref="RetroTelemetry"/>). It has
/// the other's name and identity, so that neighbor tables are shared.
/// </summary>
/// <param name="source">The source, which stays the caller's.</param>
public sealed class MeteredNeighborSource(INeighborSource source) : INeighborSource
{
    private readonly INeighborSource _source = source ?? throw new ArgumentNullException(nameof(source));

    /// <inheritdoc/>
    public string Name => _source.Name;

    /// <inheritdoc/>
    public ChunkDatabase? Database => _source.Database;

    /// <inheritdoc/>
    public string Identity => _source.Identity;

    /// <inheritdoc/>
    public string? KeyIdentity => _source.KeyIdentity;

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        long started = Stopwatch.GetTimestamp();
        _source.Find(queries, count, chunks, scores, cancellationToken);
        TimeSpan elapsed = Stopwatch.GetElapsedTime(started);
        KeyValuePair<string, object?> tag = new("retro.source", Name);
        RetroTelemetry.RetrievalDuration.Record(elapsed.TotalSeconds, tag);
        RetroTelemetry.Queries.Add(queries.Count, tag);
        for (int q = 0; q < queries.Count; q++)
        {
            int found = count - chunks.Slice(q * count, count).Count(-1);
            if (found == 0)
            {
                RetroTelemetry.Empty.Add(1, tag);
                continue;
            }

            if (float.IsFinite(scores[q * count]))
            {
                RetroTelemetry.BestScore.Record(scores[q * count], tag);
            }

            if (found < count)
            {
                RetroTelemetry.Short.Add(count - found, tag);
            }
        }
    }
}
