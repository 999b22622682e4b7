using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

public sealed partial class RetroModel
{
    /// <summary>
    /// The log-likelihood of targets at some places, with the logits of few places at a time, since those of all places can take more memory than everything
    /// else.
    /// </summary>
    /// <param name="tokens">[B, T] of int64.</param>
    /// <param name="places">[N] of int64: places in the B·T tokens, row by row.</param>
    /// <param name="targets">[N] of int64: what follows there.</param>
    /// <param name="neighbors">[B, C, K, R] of int64; null: retrieval off.</param>
    /// <param name="valid">[B, C, K, R] of bool; null: all.</param>
    /// <param name="headBytes">Most bytes of logits at a time, in float32; those of one place are made in any case.</param>
    /// <returns>[N].</returns>
    internal Tensor LogLikelihoodsAt(Tensor tokens, Tensor places, Tensor targets, Tensor? neighbors, Tensor? valid, long headBytes)
    {
        CheckIds(targets, nameof(targets));
        using DisposeScope scope = NewDisposeScope();
        Tensor states = StatesAt(tokens, places, neighbors, valid);
        long count = states.shape[0], slice = HeadSlice(headBytes);
        List<Tensor> likelihoods = [];
        for (long start = 0; start < count; start += slice)
        {
            using DisposeScope inner = NewDisposeScope();
            long size = Math.Min(slice, count - start);
            Tensor logits = Head(states.narrow(0, start, size)).unsqueeze(0); // [1, n, V]
            likelihoods.Add(LogLikelihood.Of(logits, targets.narrow(0, start, size).unsqueeze(0)).squeeze(0).MoveToOuterDisposeScope());
        }

        return cat(likelihoods, 0).MoveToOuterDisposeScope();
    }

    /// <summary>How many places' logits, in float32, take so many bytes; at least one.</summary>
    internal long HeadSlice(long headBytes) => Math.Max(1, headBytes / sizeof(float) / Config.VocabularySize);

    /// <summary>The decoder's last states, normed, at some places.</summary>
    /// <param name="tokens">[B, T] of int64.</param>
    /// <param name="places">[N] of int64: places in the B·T tokens, row by row.</param>
    /// <param name="neighbors">[B, C, K, R] of int64; null: retrieval off.</param>
    /// <param name="valid">[B, C, K, R] of bool; null: all.</param>
    /// <returns>[N, D].</returns>
    internal Tensor StatesAt(Tensor tokens, Tensor places, Tensor? neighbors = null, Tensor? valid = null)
    {
        CheckTokens(tokens);
        CheckNeighbors(tokens, neighbors, valid);
        using DisposeScope scope = NewDisposeScope();
        Tensor states = Decode(tokens, neighbors, valid).States.reshape(-1, Config.Width).index_select(0, places);
        return _norm.call(states).MoveToOuterDisposeScope();
    }
}
