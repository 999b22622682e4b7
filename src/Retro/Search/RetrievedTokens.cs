using Retro.Database;
using static TorchSharp.torch;

namespace Retro.Search;

/// <summary>
/// What was retrieved for the chunks of some rows, in plain memory, so that it can be prepared on another thread than the one that computes; all missing at
/// first.
/// </summary>
public sealed class RetrievedTokens
{
    /// <summary>Makes room.</summary>
    /// <param name="rows">B: rows.</param>
    /// <param name="chunks">C: chunks per row.</param>
    /// <param name="neighbors">K: neighbors per chunk.</param>
    /// <param name="length">R: tokens per neighbor.</param>
    /// <exception cref="ArgumentOutOfRangeException">One of them is not positive.</exception>
    public RetrievedTokens(int rows, int chunks, int neighbors, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunks);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(neighbors);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        (Rows, Chunks, Neighbors, Length) = (rows, chunks, neighbors, length);
        Tokens = new long[(long)rows * chunks * neighbors * length];
        Valid = new bool[Tokens.Length];
        Scores = new float[(long)rows * chunks * neighbors];
        Array.Fill(Scores, float.NaN);
    }

    /// <summary>B: rows.</summary>
    public int Rows { get; }

    /// <summary>C: chunks per row.</summary>
    public int Chunks { get; }

    /// <summary>K: neighbors per chunk.</summary>
    public int Neighbors { get; }

    /// <summary>R: tokens per neighbor.</summary>
    public int Length { get; }

    /// <summary>Token ids, [B, C, K, R].</summary>
    public long[] Tokens { get; }

    /// <summary>Which tokens hold something, [B, C, K, R].</summary>
    public bool[] Valid { get; }

    /// <summary>What the source says of each neighbor, greater is better, [B, C, K]; NaN where it is not known or there is no neighbor.</summary>
    public float[] Scores { get; }

    /// <summary>Where one neighbor begins in <see cref="Tokens"/> and <see cref="Valid"/>.</summary>
    /// <param name="row">Row.</param>
    /// <param name="chunk">Chunk of the row.</param>
    /// <param name="neighbor">Neighbor of the chunk.</param>
    /// <returns>Index of its first token.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row, chunk or neighbor.</exception>
    public int Offset(int row, int chunk, int neighbor)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows, nameof(row));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)chunk, (uint)Chunks, nameof(chunk));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)neighbor, (uint)Neighbors, nameof(neighbor));
        return ((((row * Chunks) + chunk) * Neighbors) + neighbor) * Length;
    }

    /// <summary>Takes the neighbors of a chunk: each chunk of the database with what follows it in its document, up to R tokens.</summary>
    /// <param name="row">Row.</param>
    /// <param name="chunk">Chunk of the row.</param>
    /// <param name="database">The database of the neighbors.</param>
    /// <param name="found">At most K chunk numbers, best first; -1 where there is none.</param>
    /// <param name="scores">The source's scores of them, as many; none where they are not known.</param>
    /// <exception cref="ArgumentException">There are more than K, or not as many scores.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row or chunk here, or no such chunk in the database.</exception>
    public void Take(int row, int chunk, ChunkDatabase database, ReadOnlySpan<long> found, ReadOnlySpan<float> scores = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        if (found.Length > Neighbors)
        {
            throw new ArgumentException($"Expected at most {Neighbors} neighbors, got {found.Length}.", nameof(found));
        }

        if (scores.Length > 0 && scores.Length != found.Length)
        {
            throw new ArgumentException($"Expected a score for each of {found.Length} neighbors, or none, got {scores.Length}.", nameof(scores));
        }

        for (int neighbor = 0; neighbor < found.Length; neighbor++)
        {
            int start = Offset(row, chunk, neighbor);
            database.CopyRetrieved(found[neighbor], Tokens.AsSpan(start, Length), Valid.AsSpan(start, Length));
            Scores[start / Length] = scores.Length > 0 ? scores[neighbor] : float.NaN;
        }
    }

    /// <summary>The tokens of a neighbor that hold something; none where there is no neighbor.</summary>
    /// <param name="row">Row.</param>
    /// <param name="chunk">Chunk of the row.</param>
    /// <param name="neighbor">Neighbor of the chunk.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row, chunk or neighbor.</exception>
    public long[] Passage(int row, int chunk, int neighbor)
    {
        int start = Offset(row, chunk, neighbor);
        return [.. Enumerable.Range(start, Length).Where(i => Valid[i]).Select(i => Tokens[i])];
    }

    /// <summary>What the source says of a neighbor, see <see cref="Scores"/>.</summary>
    internal float ScoreOf(int row, int chunk, int neighbor) => Scores[Offset(row, chunk, neighbor) / Length];

    /// <summary>Takes passages of any text as the first neighbors of a chunk, the best first.</summary>
    /// <param name="row">Row.</param>
    /// <param name="chunk">Chunk of the row.</param>
    /// <param name="passages">Their tokens, of which the first R are taken, and scores; those beyond K are left.</param>
    internal void Take(int row, int chunk, IEnumerable<(long[] Tokens, float Score)> passages)
    {
        foreach ((int neighbor, (long[] tokens, float score)) in passages.Take(Neighbors).Index())
        {
            int start = Offset(row, chunk, neighbor), count = Math.Min(tokens.Length, Length);
            tokens.AsSpan(0, count).CopyTo(Tokens.AsSpan(start));
            Valid.AsSpan(start, count).Fill(true);
            Scores[start / Length] = score;
        }
    }

    /// <summary>Takes what another one holds for a chunk.</summary>
    /// <param name="row">Row.</param>
    /// <param name="chunk">Chunk of the row.</param>
    /// <param name="from">The other one, of neighbors of the same length.</param>
    /// <param name="fromRow">Its row.</param>
    /// <param name="fromChunk">The chunk of that row.</param>
    /// <param name="first">The first of its neighbors that is taken; as many follow as both have.</param>
    internal void Take(int row, int chunk, RetrievedTokens from, int fromRow, int fromChunk, int first = 0)
    {
        int neighbors = Math.Min(Neighbors, from.Neighbors - first), count = neighbors * Length;
        int start = from.Offset(fromRow, fromChunk, 0) + (first * Length), to = Offset(row, chunk, 0);
        from.Tokens.AsSpan(start, count).CopyTo(Tokens.AsSpan(to));
        from.Valid.AsSpan(start, count).CopyTo(Valid.AsSpan(to));
        from.Scores.AsSpan(start / Length, neighbors).CopyTo(Scores.AsSpan(to / Length));
    }

    /// <summary>As tensors; nothing at all where no token holds something, which computes the same for less work.</summary>
    /// <param name="device">Where they go; null: the default device.</param>
    /// <returns>int64 and bool [B, C, K, R], or null twice.</returns>
    public (Tensor? Neighbors, Tensor? Valid) ToTensors(Device? device = null)
    {
        if (Array.IndexOf(Valid, true) < 0)
        {
            return default;
        }

        long[] shape = [Rows, Chunks, Neighbors, Length];
        return (tensor(Tokens, shape, device: device), tensor(Valid, shape, device: device));
    }
}
