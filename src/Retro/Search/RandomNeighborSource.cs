using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Any chunks of the database, each with the same chance and none twice, all of score 0 and in a drawn order: what retrieval has to beat. The choice depends on
/// the seed and the chunk's own tokens alone, so that it is the same in every order and every batch.
/// </summary>
public sealed class RandomNeighborSource : INeighborSource
{
    private readonly long _seed;

    /// <summary>Creates the source.</summary>
    /// <param name="database">The database to choose from.</param>
    /// <param name="seed">Another seed chooses others.</param>
    public RandomNeighborSource(ChunkDatabase database, long seed = 0)
    {
        ArgumentNullException.ThrowIfNull(database);
        Database = database;
        _seed = seed;
        Identity = NeighborQueries.Identity([Name, database.Manifest.TokensHash, seed]);
    }

    /// <inheritdoc/>
    public string Name => "random";

    /// <inheritdoc/>
    public ChunkDatabase Database { get; }

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        chunks.Fill(-1);
        scores.Fill(float.NaN);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        HashSet<long> taken = [];
        ExcludedChunks[] withheld = NeighborQueries.Excluded(Database, queries);
        for (int q = 0; q < queries.Count; q++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ChunkRange[] excluded = withheld[q].Ranges;
            ChunkSet? visible = NeighborQueries.Visible(Database, queries[q]);
            long allowed = (visible?.Count ?? Database.ChunkCount) - excluded.Sum(range => Visible(range, visible));
            SHA256.HashData(MemoryMarshal.AsBytes(queries[q].Tokens.Span), hash);
            Random random = new(BinaryPrimitives.ReadInt32LittleEndian(hash) ^ (SeededRandom.Fold(_seed) * 0x2545f491));
            taken.Clear();
            int found = 0;

            // Floyd's way to draw distinct numbers below `allowed` (Bentley and Floyd, "A sample of brilliance", 1987), in a drawn order.
            for (long top = Math.Max(0, allowed - count); top < allowed; top++)
            {
                long drawn = random.NextInt64(top + 1);
                drawn = taken.Add(drawn) ? drawn : top;
                taken.Add(drawn);
                chunks[q * count + found] = Skip(excluded, visible, drawn);
                found++;
            }

            random.Shuffle(chunks.Slice(q * count, found));
            scores.Slice(q * count, found).Clear();
        }
    }

    /// <summary>The chunk at a place among those that are visible and not excluded.</summary>
    private static long Skip(ReadOnlySpan<ChunkRange> excluded, ChunkSet? visible, long place)
    {
        foreach (ChunkRange range in excluded)
        {
            if (place < (visible?.Rank(range.First) ?? range.First))
            {
                break;
            }

            place += Visible(range, visible);
        }

        return visible?.Select(place) ?? place;
    }

    private static long Visible(ChunkRange range, ChunkSet? visible) => visible is null ? range.Count : visible.Rank(range.End) - visible.Rank(range.First);
}
