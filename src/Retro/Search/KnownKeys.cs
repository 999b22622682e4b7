using Retro.Embedders;

namespace Retro.Search;

/// <summary>Keys of which some are known already.</summary>
internal static class KnownKeys
{
    /// <summary>Copies a key that is known.</summary>
    /// <param name="index">Which.</param>
    /// <param name="key">Room for it.</param>
    /// <returns>Whether it is known.</returns>
    public delegate bool TryRead(int index, Span<float> key);

    /// <summary>Takes the keys that are known, and makes the others in one go.</summary>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="chunks">The tokens of each.</param>
    /// <param name="tryRead">Gives those that are known.</param>
    /// <param name="keys"><c>[n, D]</c>.</param>
    /// <param name="cancellationToken">Stops the making.</param>
    public static void Complete(
        IChunkKeyer keyer, IReadOnlyList<ReadOnlyMemory<int>> chunks, TryRead tryRead, Span<float> keys, CancellationToken cancellationToken)
    {
        int dimensions = keyer.Dimensions;
        List<int> missing = [];
        for (int i = 0; i < chunks.Count; i++)
        {
            if (!tryRead(i, keys.Slice(i * dimensions, dimensions)))
            {
                missing.Add(i);
            }
        }

        if (missing.Count == 0)
        {
            return;
        }

        float[] made = new float[missing.Count * dimensions];
        keyer.Keys([.. missing.Select(i => chunks[i])], made, cancellationToken);
        for (int i = 0; i < missing.Count; i++)
        {
            made.AsSpan(i * dimensions, dimensions).CopyTo(keys.Slice(missing[i] * dimensions, dimensions));
        }
    }

    /// <summary>The keys of queries: those that came along, the others made.</summary>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="queries">The queries.</param>
    /// <param name="cancellationToken">Stops the making.</param>
    /// <returns><c>[n, D]</c>.</returns>
    /// <exception cref="ArgumentException">A key that came along has another number of numbers.</exception>
    public static float[] Of(IChunkKeyer keyer, IReadOnlyList<NeighborQuery> queries, CancellationToken cancellationToken)
    {
        int dimensions = keyer.Dimensions;
        if (queries.Select(query => query.Key.Length).FirstOrDefault(length => length != 0 && length != dimensions) is var other and not 0)
        {
            throw new ArgumentException($"Expected keys of {dimensions} numbers, got one of {other}.", nameof(queries));
        }

        float[] keys = new float[queries.Count * dimensions];
        Complete(
            keyer,
            [.. queries.Select(query => query.Tokens)],
            (i, key) =>
            {
                queries[i].Key.Span.CopyTo(key);
                return !queries[i].Key.IsEmpty;
            },
            keys,
            cancellationToken);
        return keys;
    }
}
