using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>What one forward pass of training reads. Disposing it disposes its tensors.</summary>
/// <param name="Tokens">Token ids, int64 [B, T].</param>
/// <param name="Neighbors">Retrieved token ids, int64 [B, C, K, R] with C at most T/M; null: retrieval off.</param>
/// <param name="Valid">Which retrieved tokens exist, bool [B, C, K, R]; null: all.</param>
/// <param name="LossMask">Which tokens count as targets, bool [B, T]; null: all. The first token of a row never is one.</param>
/// <param name="Padding">Which tokens are padding, bool [B, T]: the decoder computes nothing for them, none of its tokens reads them, and none is a target. A
/// chunk with neighbors should hold none, since the encoder reads all of a chunk's states. Null: none.</param>
public sealed record TrainingBatch(
    Tensor Tokens, Tensor? Neighbors = null, Tensor? Valid = null, Tensor? LossMask = null, Tensor? Padding = null) : IDisposable
{
    /// <summary>M: tokens of the chunks that <see cref="Neighbors"/> were retrieved for; see <see cref="TokenBatch.ChunkLength"/>. Null: whoever made the
    /// batch answers for it.</summary>
    public int? ChunkLength { get; init; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Tokens.Dispose();
        Neighbors?.Dispose();
        Valid?.Dispose();
        LossMask?.Dispose();
        Padding?.Dispose();
    }
}
