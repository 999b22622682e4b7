using System.Collections.Concurrent;
using Retro.Database;
using Retro.Search;

namespace Retro.Tests.Search;

/// <summary>A source around another that keeps what it is asked.</summary>
internal sealed class RecordingSource(INeighborSource source) : INeighborSource
{
    public string Name => source.Name;

    public string Identity => source.Identity;

    public ChunkDatabase? Database => source.Database;

    public ConcurrentQueue<NeighborQuery> Queries { get; } = new();

    /// <summary>Neighbors wanted, each time.</summary>
    public ConcurrentQueue<int> Counts { get; } = new();

    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        Counts.Enqueue(count);
        foreach (NeighborQuery query in queries)
        {
            Queries.Enqueue(query);
        }

        source.Find(queries, count, chunks, scores, cancellationToken);
    }
}
