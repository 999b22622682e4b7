using Retro.Database;
using Retro.Embedders;
using Retro.Search;

namespace Retro.Retrievers;

/// <summary>
/// Dense retrieval with a query side of its own: queries get their keys from a learned tower, and are compared with the keys that the documents have. Database,
/// index and tower stay the caller's.
/// </summary>
public sealed class TowerNeighborSource : INeighborSource
{
    private readonly DenseNeighborSource _documents;
    private readonly IChunkKeyer _queries;

    /// <summary>Creates the source.</summary>
    /// <param name="documents">The source over the documents' keys; its own function for queries is not used.</param>
    /// <param name="queries">The function from a query to its key, such as a <see cref="ChunkKeyer"/> over
    /// <see cref="RetrieverTrainer.QueryEmbedder"/>.</param>
    /// <exception cref="ArgumentException">The two make keys of different lengths.</exception>
    public TowerNeighborSource(DenseNeighborSource documents, IChunkKeyer queries)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentNullException.ThrowIfNull(queries);
        if (documents.Dimensions != queries.Dimensions)
        {
            throw new ArgumentException(
                $"The documents have keys of {documents.Dimensions} numbers, and the tower makes {queries.Dimensions}: take the one that was trained for them.",
                nameof(queries));
        }

        (_documents, _queries) = (documents, queries);
        Identity = NeighborQueries.Identity([Name, documents.Identity, queries.Identity]);
    }

    /// <inheritdoc/>
    public string Name => "tower";

    /// <inheritdoc/>
    public ChunkDatabase Database => _documents.Database;

    /// <inheritdoc/>
    public string KeyIdentity => _queries.Identity;

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        int dimensions = _queries.Dimensions;
        float[] keys = KnownKeys.Of(_queries, queries, cancellationToken);
        NeighborQuery[] keyed = [.. queries.Select((query, i) => query with { Key = keys.AsMemory(i * dimensions, dimensions) })];
        _documents.Find(keyed, count, chunks, scores, cancellationToken);
    }
}
