using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// What was retrieved for a pass, with what the host has to know of it: found before the pass begins, so that an accelerator is not waited for within it.
/// </summary>
/// <param name="Tokens">[B, C, K, R] of int64.</param>
/// <param name="Valid">Which of them hold something, [B, C, K, R] of bool; null: all.</param>
/// <param name="Asking">Places among the B·C chunks of those that have a neighbor, [A] of int64; null: all have one.</param>
internal sealed record PassNeighbors(Tensor Tokens, Tensor? Valid, Tensor? Asking)
{
    /// <summary>Looks at what was retrieved; what is found is the current dispose scope's. An accelerator is waited for.</summary>
    /// <param name="tokens">[B, C, K, R] of int64; null: retrieval is off.</param>
    /// <param name="valid">[B, C, K, R] of bool; null: all.</param>
    public static PassNeighbors? Of(Tensor? tokens, Tensor? valid) => tokens is null ? null : new(tokens, valid, AskingChunks(valid));

    /// <summary>See <see cref="Asking"/>.</summary>
    public static Tensor? AskingChunks(Tensor? valid)
    {
        if (valid is null || valid.numel() == 0)
        {
            return null;
        }

        using DisposeScope scope = NewDisposeScope();
        long chunks = valid.shape[0] * valid.shape[1];
        Tensor asking = valid.reshape(chunks, -1).any(-1).nonzero().view(-1);
        return asking.shape[0] == chunks ? null : asking.MoveToOuterDisposeScope();
    }
}
