using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

public sealed partial class RetroModel
{
    /// <summary>Makes an empty cache for continuing sequences token by token.</summary>
    /// <param name="rows">Sequences of the batch.</param>
    /// <param name="capacity">Tokens of each to reserve memory for; the cache grows beyond it by doubling.</param>
    public DecodingCache NewCache(int rows, int capacity = 64)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        return new(this, rows, capacity);
    }

    /// <summary>Reads prompts into an empty cache. No gradients are recorded.</summary>
    /// <param name="cache">From <see cref="NewCache"/>.</param>
    /// <param name="tokens">[B, T] of int64; rows shorter than T are padded at the end with any id of the vocabulary.</param>
    /// <param name="lengths">Tokens of each row, 1 to T; null: all T.</param>
    /// <param name="neighbors">Tokens retrieved for the first C chunks, [B, C, K, R] of int64, C at most T/M; what stands for chunks that a row does not have
    /// is ignored. Null: none.</param>
    /// <param name="valid">[B, C, K, R] of bool; null: all.</param>
    /// <returns>Logits [B, V] after each row's last token.</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    /// <exception cref="ArgumentException">The cache belongs to another model, or see <see cref="forward"/>.</exception>
    /// <exception cref="InvalidOperationException">The cache is not empty.</exception>
    public Tensor Prefill(DecodingCache cache, Tensor tokens, IReadOnlyList<int>? lengths = null, Tensor? neighbors = null, Tensor? valid = null)
    {
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        return Head(PrefillStates(cache, tokens, lengths, neighbors, valid)).MoveToOuterDisposeScope();
    }

    /// <summary>As <see cref="Prefill"/>, without the head.</summary>
    /// <returns>The last states, normed, [B, D], after each row's last token; <see cref="Head"/> makes the logits of them.</returns>
    internal Tensor PrefillStates(
        DecodingCache cache,
        Tensor tokens,
        IReadOnlyList<int>? lengths = null,
        Tensor? neighbors = null,
        Tensor? valid = null,
        DecoderTap? tap = null)
    {
        CheckCache(cache);
        CheckTokens(tokens);
        CheckNeighbors(tokens, neighbors, valid);
        long batch = tokens.shape[0], width = tokens.shape[1];
        if (batch != cache.Rows)
        {
            throw new ShapeException(nameof(tokens), $"[{cache.Rows}, T], one row for each of the cache", tokens.shape);
        }

        if (cache.Lengths.Any(length => length > 0))
        {
            throw new InvalidOperationException("Prompts can be read into an empty cache alone; make a new one with NewCache, or go on with Step.");
        }

        long[] rows = lengths is null ? [.. Enumerable.Repeat(width, (int)batch)] : [.. lengths.Select(length => (long)length)];
        if (rows.Length != batch || rows.Any(length => length < 1 || length > width))
        {
            throw new ArgumentException($"Expected {batch} lengths from 1 to {width}, got [{string.Join(", ", rows)}].", nameof(lengths));
        }

        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        using DecodingPass pass = cache.Begin(rows, null);
        (Tensor states, Tensor? encoded) = Decode(tokens, PassNeighbors.Of(neighbors, valid), cache, pass, tap);
        if (encoded is not null)
        {
            KeepEncoded(cache, rows, encoded, neighbors!, valid);
        }

        if (Config.Retrieval?.MatchBias == true)
        {
            cache.KeepLastTokens(MatchFeatures.Last(tokens, rows));
        }

        Tensor last = tensor(rows.Select(length => length - 1).ToArray(), device: states.device).view(batch, 1, 1).expand(batch, 1, Config.Width);
        Tensor normed = _norm.call(states.gather(1, last)).view(batch, -1);
        cache.End(pass);
        return normed.MoveToOuterDisposeScope();
    }

    /// <summary>Reads one more token of each row. No gradients are recorded.</summary>
    /// <param name="cache">The rows' cache.</param>
    /// <param name="tokens">[B] of int64.</param>
    /// <param name="neighbors">
    /// Tokens retrieved for the chunks that these tokens complete (see <see cref="DecodingCache.CompletesChunk"/>), [B, K, R] of int64; other rows are ignored.
    /// Null: the completed chunks have no neighbors. They are wanted with this call because the very token that completes a chunk is the first to read its
    /// neighbors.
    /// </param>
    /// <param name="valid">[B, K, R] of bool; null: all.</param>
    /// <returns>Logits [B, V] after the token.</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    /// <exception cref="ArgumentException">The cache belongs to another model, or see <see cref="forward"/>.</exception>
    public Tensor Step(DecodingCache cache, Tensor tokens, Tensor? neighbors = null, Tensor? valid = null)
    {
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        return Head(StepStates(cache, tokens, neighbors, valid)).MoveToOuterDisposeScope();
    }

    /// <summary>As <see cref="Step"/>, without the head.</summary>
    /// <returns>The last states, normed, [B, D], after the token; <see cref="Head"/> makes the logits of them.</returns>
    internal Tensor StepStates(DecodingCache cache, Tensor tokens, Tensor? neighbors = null, Tensor? valid = null, DecoderTap? tap = null)
    {
        CheckCache(cache);
        CheckStep(cache, tokens, neighbors, valid);
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        Tensor positions = tensor((long[])[.. cache.Lengths], device: tokens.device);
        using DecodingPass pass = cache.Begin([.. cache.Lengths.Select(length => length + 1)], positions);
        Tensor x = Embed(tokens.unsqueeze(-1), _positions?.call(positions.unsqueeze(-1)));
        AttentionPlan[] plans = ForLayers(kind => AttentionPlan.CausalStep(Config, kind, pass.Within(kind.Window), cache.Tables, x.dtype));
        AttentionPlan? crossPlan = null;
        Tensor? lastTokens = cache.LastTokensWith(tokens);
        for (int i = 0; i < _layers.Length; i++)
        {
            int index = i;
            x = _layers[i].IsHooked ? _layers[i].Hooked(x, plans[i], null, crossPlan, input => Layer(index, input)) : Layer(i, x);
        }

        Tensor normed = _norm.call(x).view(cache.Rows, -1);
        cache.End(pass);
        cache.KeepLastTokens(lastTokens);
        return normed.MoveToOuterDisposeScope();

        Tensor Layer(int i, Tensor x)
        {
            DecoderLayer layer = _layers[i];
            using DisposeScope layerScope = NewDisposeScope();
            Tensor h = layer.SelfAttend(x, plans[i], cache.Self[i]);
            if (layer.CrossAttention is not null)
            {
                if (cache.IsFirstCrossLayer(i))
                {
                    ReadNeighbors(cache, cache.KeepStates(h), neighbors, valid);
                    if (cache.Mask(x.dtype) is { } mask)
                    {
                        crossPlan = AttentionPlan.ChunkedCrossStep(
                            Config,
                            positions,
                            cache.Cross(i).Keys!.shape[2] / Config.Retrieval!.RetrievedLength,
                            cache.Tables,
                            mask,
                            cache.Matches(lastTokens, x.dtype),
                            x.dtype);
                        crossPlan.MoveToOuterDisposeScope();
                    }
                }

                h = crossPlan is null ? h : h.Plus(layer.CrossAttention.Step(h, cache.Cross(i), crossPlan));
            }

            tap?.Attended(i, x, h);
            Tensor y = layer.Finish(x, h);
            return (tap?.Finished(i, x, y) ?? y).MoveToOuterDisposeScope();
        }
    }

    // Encodes the neighbors of the chunks that this step completes; they take the place of the ones before.
    private void ReadNeighbors(DecodingCache cache, Tensor chunkStates, Tensor? neighbors, Tensor? valid)
    {
        int[] completing = [.. Enumerable.Range(0, cache.Rows).Where(cache.CompletesChunk)];
        if (completing.Length == 0)
        {
            return;
        }

        if (neighbors is null)
        {
            cache.SetNeighbors([], null, null, null, completing);
            return;
        }

        using DisposeScope scope = NewDisposeScope();
        Tensor rows = tensor(completing.Select(row => (long)row).ToArray(), device: neighbors.device);
        Tensor? mask = valid?.index_select(0, rows);
        Tensor retrieved = neighbors.index_select(0, rows);
        Tensor encoded = Encoder!.call(retrieved.unsqueeze(1), chunkStates.index_select(0, rows), mask?.unsqueeze(1)).squeeze(1);
        cache.SetNeighbors(completing, encoded, retrieved, mask, []);
    }

    // After a prefill: each row goes on with the neighbors of its own last complete chunk.
    private void KeepEncoded(DecodingCache cache, long[] lengths, Tensor encoded, Tensor neighbors, Tensor? valid)
    {
        long chunks = encoded.shape[1];
        List<int> rows = [];
        List<Tensor> last = [], retrieved = [], masks = [];
        for (int row = 0; row < lengths.Length; row++)
        {
            long chunk = (lengths[row] / Config.Retrieval!.ChunkLength) - 1;
            if (chunk >= 0 && chunk < chunks)
            {
                rows.Add(row);
                last.Add(encoded.select(0, row).select(0, chunk));
                retrieved.Add(neighbors.select(0, row).select(0, chunk));
                if (valid is not null)
                {
                    masks.Add(valid.select(0, row).select(0, chunk));
                }
            }
        }

        if (rows.Count > 0)
        {
            cache.SetNeighbors(rows, stack(last), stack(retrieved), masks.Count > 0 ? stack(masks) : null, []);
        }
    }

    private void CheckCache(DecodingCache cache)
    {
        ArgumentNullException.ThrowIfNull(cache);
        cache.ThrowIfDisposed();
        _ = Undisposed;
        if (cache.Model != this)
        {
            throw new ArgumentException("The cache was made by another model; make one with this model's NewCache.", nameof(cache));
        }

        if (training && Config.HasDropout)
        {
            throw new InvalidOperationException("The model is in training mode and would drop values; call eval() before decoding.");
        }
    }

    private void CheckStep(DecodingCache cache, Tensor tokens, Tensor? neighbors, Tensor? valid)
    {
        Guard.Shape(tokens, "[B]", [cache.Rows]);
        CheckIds(tokens, nameof(tokens));
        CheckLength(cache.Lengths.Max() + 1, nameof(tokens));
        if (neighbors is null)
        {
            if (valid is not null)
            {
                throw new ArgumentException("A mask of valid neighbors came without neighbors; pass both or neither.", nameof(valid));
            }

            return;
        }

        CheckRetrieves();
        Guard.Shape(neighbors, "[B, K, R]", [cache.Rows, null, Config.Retrieval!.RetrievedLength]);
        if (neighbors.shape[1] == 0)
        {
            throw new ShapeException(nameof(neighbors), "[B, K, R] with K at least 1 (null for none)", neighbors.shape);
        }

        CheckIds(neighbors, nameof(neighbors));
        if (valid is not null)
        {
            CheckValid(valid, neighbors.shape);
        }
    }
}
