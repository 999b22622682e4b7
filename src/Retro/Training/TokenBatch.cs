using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>A batch in plain memory, so that it can be prepared on another thread than the one that computes.</summary>
public sealed class TokenBatch
{
    /// <summary>Creates an empty batch without neighbors; every token counts as a target.</summary>
    /// <param name="rows">B: rows.</param>
    /// <param name="length">T: tokens of a row.</param>
    public TokenBatch(int rows, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        Rows = rows;
        Length = length;
        Tokens = new long[(long)rows * length];
        LossMask = new bool[Tokens.Length];
        Array.Fill(LossMask, true);
    }

    /// <summary>B: rows.</summary>
    public int Rows { get; }

    /// <summary>T: tokens of a row.</summary>
    public int Length { get; }

    /// <summary>Token ids, [B, T].</summary>
    public long[] Tokens { get; }

    /// <summary>Which tokens count as targets, [B, T].</summary>
    public bool[] LossMask { get; }

    /// <summary>C: chunks per row that have room for neighbors.</summary>
    public int Chunks { get; private set; }

    /// <summary>K: neighbors per chunk.</summary>
    public int NeighborsPerChunk { get; private set; }

    /// <summary>R: tokens per neighbor.</summary>
    public int RetrievedLength { get; private set; }

    /// <summary>Retrieved token ids, [B, C, K, R]; null: retrieval off.</summary>
    public long[]? Neighbors { get; private set; }

    /// <summary>Which retrieved tokens exist, [B, C, K, R]; null: retrieval off.</summary>
    public bool[]? Valid { get; private set; }

    /// <summary>Makes room for neighbors, all missing at first.</summary>
    /// <param name="chunks">C: chunks per row.</param>
    /// <param name="neighborsPerChunk">K: neighbors per chunk.</param>
    /// <param name="retrievedLength">R: tokens per neighbor.</param>
    public void AddNeighbors(int chunks, int neighborsPerChunk, int retrievedLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunks);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(neighborsPerChunk);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(retrievedLength);
        (Chunks, NeighborsPerChunk, RetrievedLength) = (chunks, neighborsPerChunk, retrievedLength);
        Neighbors = new long[(long)Rows * chunks * neighborsPerChunk * retrievedLength];
        Valid = new bool[Neighbors.Length];
    }

    /// <summary>Where one neighbor lies in <see cref="Neighbors"/> and <see cref="Valid"/>.</summary>
    /// <param name="row">Row of the batch.</param>
    /// <param name="chunk">Chunk of the row.</param>
    /// <param name="neighbor">Neighbor of the chunk.</param>
    /// <returns>Index of its first token.</returns>
    public int NeighborOffset(int row, int chunk, int neighbor) => ((row * Chunks + chunk) * NeighborsPerChunk + neighbor) * RetrievedLength;

    /// <summary>The batch as tensors. Neighbors of which no token is valid are left out altogether, which gives the same loss for less work.</summary>
    /// <param name="device">Where the tensors go; null: the default device.</param>
    /// <returns>The tensors.</returns>
    public TrainingBatch ToTensors(Device? device = null)
    {
        TorchLibrary.Require();
        bool read = Valid is not null && Array.IndexOf(Valid, true) >= 0;
        long[] shape = [Rows, Chunks, NeighborsPerChunk, RetrievedLength];
        return new TrainingBatch(
            tensor(Tokens, [Rows, Length], device: device),
            read ? tensor(Neighbors!, shape, device: device) : null,
            read ? tensor(Valid!, shape, device: device) : null,
            tensor(LossMask, [Rows, Length], device: device));
    }
}
