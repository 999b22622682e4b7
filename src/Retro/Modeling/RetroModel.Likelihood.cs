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
        using DisposeScope scope = NewDisposeScope();
        return LogLikelihoodsOf(StatesAt(tokens, places, neighbors, valid), targets, headBytes).MoveToOuterDisposeScope();
    }

    /// <summary>The log-likelihood of targets after some states.</summary>
    /// <param name="states">[N, D], the last ones, normed.</param>
    /// <param name="targets">[N] of int64.</param>
    /// <param name="headBytes">Most bytes of logits at a time, in float32; those of one place are made in any case.</param>
    /// <returns>[N].</returns>
    internal Tensor LogLikelihoodsOf(Tensor states, Tensor targets, long headBytes)
    {
        CheckIds(targets, nameof(targets));
        using DisposeScope scope = NewDisposeScope();
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
    /// <param name="tap">Sees every layer; null: nobody does.</param>
    /// <param name="cancellationToken">Ends it between two layers.</param>
    /// <returns>[N, D].</returns>
    internal Tensor StatesAt(
        Tensor tokens,
        Tensor places,
        Tensor? neighbors = null,
        Tensor? valid = null,
        DecoderTap? tap = null,
        CancellationToken cancellationToken = default)
    {
        Check(tokens, neighbors, valid);
        using DisposeScope scope = NewDisposeScope();
        (Tensor all, _) = Decode(tokens, PassNeighbors.Of(neighbors, valid), tap: tap, cancellationToken: cancellationToken);
        return Normed(all.reshape(-1, Config.Width).index_select(0, places)).MoveToOuterDisposeScope();
    }

    /// <summary>The decoder's last states, normed, at some places, and what its last feed-forward branch reads there. Retrieval is off.</summary>
    /// <param name="tokens">[B, T] of int64.</param>
    /// <param name="places">[N] of int64: places in the B·T tokens, row by row.</param>
    /// <returns>What the branch reads, normed, and the states, each [N, D].</returns>
    internal (Tensor Keys, Tensor States) KeysAndStatesAt(Tensor tokens, Tensor places)
    {
        CheckTokens(tokens);
        using DisposeScope scope = NewDisposeScope();
        using FeedForwardTap tap = new(_layers[^1], _layers.Length - 1);
        Tensor states = Decode(tokens, null, tap: tap).States.reshape(-1, Config.Width).index_select(0, places);
        Tensor keys = tap.Read!.reshape(-1, Config.Width).index_select(0, places);
        return (keys.MoveToOuterDisposeScope(), Normed(states).MoveToOuterDisposeScope());
    }

    /// <summary>As <see cref="PrefillStates"/> of one row without neighbors, with what the last feed-forward branch reads.</summary>
    /// <returns>Each [1, D], after the last token.</returns>
    internal (Tensor Keys, Tensor States) PrefillKeysAndStates(DecodingCache cache, Tensor tokens, CancellationToken cancellationToken)
        => WithKeys(tap => PrefillStates(cache, tokens, tap: tap, cancellationToken: cancellationToken));

    /// <summary>As <see cref="StepStates"/> of one row without neighbors, with what the last feed-forward branch reads.</summary>
    /// <returns>Each [1, D], after the token.</returns>
    internal (Tensor Keys, Tensor States) StepKeysAndStates(DecodingCache cache, Tensor tokens) => WithKeys(tap => StepStates(cache, tokens, tap: tap));

    private (Tensor Keys, Tensor States) WithKeys(Func<DecoderTap, Tensor> states)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        using FeedForwardTap tap = new(_layers[^1], _layers.Length - 1);
        Tensor last = states(tap);
        return (tap.Read!.narrow(1, tap.Read.shape[1] - 1, 1).reshape(1, -1).clone().MoveToOuterDisposeScope(), last.MoveToOuterDisposeScope());
    }

    /// <summary>Keeps what one layer's feed-forward branch reads.</summary>
    private sealed class FeedForwardTap(DecoderLayer layer, int number) : DecoderTap, IDisposable
    {
        /// <summary>[B, T, D]. The pass may have a scope of its own, which it outlives.</summary>
        public Tensor? Read { get; private set; }

        public void Dispose() => Read?.Dispose();

        public override void Attended(int index, Tensor input, Tensor state)
        {
            if (index == number)
            {
                Read = layer.FeedForwardInput(input, state).DetachFromDisposeScope();
            }
        }
    }
}
