using System.Runtime.InteropServices;
using Retro.Database;

namespace Retro.Search;

/// <summary>Finds the rows of a neighbor table.</summary>
internal sealed class NeighborRows : IDisposable
{
    private readonly ChunkDatabase _queries;
    private readonly INeighborSource _source;
    private readonly int _count;
    private readonly SameDocuments? _same;
    private readonly StoredKeys? _keys;
    private readonly CancellationToken _cancellationToken;

    /// <param name="queries">The database whose chunks get neighbors.</param>
    /// <param name="source">Finds them.</param>
    /// <param name="count">K, neighbors of a row.</param>
    /// <param name="excludeOwnDocument">Whether to leave out a chunk's own document.</param>
    /// <param name="progress">Receives the number of documents compared; null: no reporting.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <exception cref="DatabaseException">The two databases have chunks of different tokenizers.</exception>
    public NeighborRows(
        ChunkDatabase queries,
        INeighborSource source,
        int count,
        bool excludeOwnDocument,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (source.Database is { } retrieval)
        {
            queries.RequireSameTokenizer(retrieval);
        }

        (_queries, _source, _count, _cancellationToken) = (queries, source, count, cancellationToken);
        _same = excludeOwnDocument && source.Database is not null ? new(queries, source.Database, progress, cancellationToken) : null;

        // Stored keys are a saving only: where the source would make the very same ones, and they are there.
        _keys = source.KeyIdentity is { } identity ? StoredKeys.TryOpen(queries, identity) : null;
    }

    /// <summary>Finds rows.</summary>
    /// <param name="first">The number of the first.</param>
    /// <param name="rows"><c>[n, K]</c> int64 to fill.</param>
    public void Find(long first, Span<byte> rows)
    {
        NeighborQuery[] asked = new NeighborQuery[rows.Length / sizeof(long) / _count];
        for (int i = 0; i < asked.Length; i++)
        {
            asked[i] = QueryOf(first + i);
        }

        _source.Ask(asked, _count, _cancellationToken).Chunks.CopyTo(MemoryMarshal.Cast<byte, long>(rows));
    }

    /// <summary>The query of a chunk.</summary>
    public NeighborQuery QueryOf(long chunk)
    {
        float[] key = new float[_keys?.Dimensions ?? 0];
        return new(_queries.OwnTokens(chunk).ToArray(), _same?.Of(_queries.DocumentOf(chunk)) ?? [])
        {
            Key = _keys?.TryRead(chunk, key) == true ? key : default, // one that is damaged is made
        };
    }

    /// <inheritdoc/>
    public void Dispose() => _keys?.Dispose();
}
