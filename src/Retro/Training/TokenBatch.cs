using Retro.Search;
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
        Padding = new bool[Tokens.Length];
    }

    /// <summary>B: rows.</summary>
    public int Rows { get; }

    /// <summary>T: tokens of a row.</summary>
    public int Length { get; }

    /// <summary>Token ids, [B, T].</summary>
    public long[] Tokens { get; }

    /// <summary>Which tokens count as targets, [B, T].</summary>
    public bool[] LossMask { get; }

    /// <summary>Which tokens are padding, [B, T]: the decoder computes nothing for them and none of its
    /// tokens reads them. A chunk with neighbors should hold none, since the encoder reads all of a chunk's states. None at first.</summary>
    public bool[] Padding { get; }

    /// <summary>What was retrieved for the first C chunks of each row; null: retrieval off.</summary>
    public RetrievedTokens? Retrieved { get; set; }

    /// <summary>M: tokens of the chunks that <see cref="Retrieved"/> was retrieved for. A training of a model with others refuses the batch, since what was
    /// retrieved for a longer chunk would be read before its end. Null: whoever made the batch answers for it.</summary>
    public int? ChunkLength { get; init; }

    /// <summary>The batch as tensors. Neighbors of which no token is valid are left out altogether, which gives the same loss for less work.</summary>
    /// <param name="device">Where the tensors go; null: the default device.</param>
    /// <returns>The tensors.</returns>
    public TrainingBatch ToTensors(Device? device = null) => ToTensors(device, read: true);

    /// <summary>The batch as tensors, without what was retrieved where that is not read.</summary>
    internal TrainingBatch ToTensors(Device? device, bool read)
    {
        TorchLibrary.Require();
        (Tensor? neighbors, Tensor? valid) = read && Retrieved is not null ? Retrieved.ToTensors(device) : default;
        return new TrainingBatch(
            tensor(Tokens, [Rows, Length], device: device),
            neighbors,
            valid,
            tensor(LossMask, [Rows, Length], device: device),
            Padding.Contains(true) ? tensor(Padding, [Rows, Length], device: device) : null)
        {
            ChunkLength = ChunkLength,
        };
    }
}
