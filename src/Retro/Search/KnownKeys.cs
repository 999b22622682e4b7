using Retro.Embedders;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>Keys of which some are known already.</summary>
internal static class KnownKeys
{
    /// <summary>Copies a key that is known.</summary>
    /// <param name="index">Which.</param>
    /// <param name="key">Room for it.</param>
    /// <returns>Whether it is known.</returns>
    public delegate bool TryRead(int index, Span<float> key);

    /// <summary>
    /// Takes the keys that are known, and makes the others in one go. The function may be the caller's own, and what it makes is kept: it is looked at here,
    /// where it can be said of which chunk it is.
    /// </summary>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="chunks">The tokens of each.</param>
    /// <param name="tryRead">Gives those that are known.</param>
    /// <param name="keys"><c>[n, D]</c>.</param>
    /// <param name="nameOf">What each is, for who is told of its fault: "chunk 7".</param>
    /// <param name="cancellationToken">Stops the making.</param>
    /// <exception cref="RetroException">A key that was made is none: with a number that is not finite, or too long to be compared.</exception>
    public static void Complete(
        IChunkKeyer keyer,
        IReadOnlyList<ReadOnlyMemory<int>> chunks,
        TryRead tryRead,
        Span<float> keys,
        Func<int, string> nameOf,
        CancellationToken cancellationToken)
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
            ReadOnlySpan<float> key = made.AsSpan(i * dimensions, dimensions);
            if (VectorIndex.FaultOf(key) is { } fault)
            {
                throw new RetroException(
                    $"The key that was made of {nameOf(missing[i])} {fault}. Nothing of it is kept: mend what makes the keys ({keyer.Identity}) and run again, "
                        + "which goes on with the keys that are there.");
            }

            key.CopyTo(keys.Slice(missing[i] * dimensions, dimensions));
        }
    }

    /// <summary>The keys of queries: those that came along, the others made.</summary>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="queries">The queries.</param>
    /// <param name="cancellationToken">Stops the making.</param>
    /// <returns><c>[n, D]</c>.</returns>
    /// <exception cref="ArgumentException">A key that came along has another number of numbers, or is none.</exception>
    /// <exception cref="RetroException">A key that was made is none.</exception>
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
                return queries[i].Key.IsEmpty ? false
                    : VectorIndex.FaultOf(key) is { } fault ? throw new ArgumentException($"The key of query {i} {fault}.", nameof(queries))
                    : true;
            },
            keys,
            i => $"query {i}",
            cancellationToken);
        return keys;
    }
}
