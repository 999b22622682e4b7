using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

public sealed partial class RetroModel
{
    /// <summary>Tokens of all rows that are read in one pass, at most, where chunks are no longer.</summary>
    internal const long PieceTokens = 2048;

    /// <summary>Makes an empty cache for continuing sequences token by token.</summary>
    /// <param name="rows">Sequences of the batch.</param>
    /// <param name="capacity">Tokens of each to reserve memory for; the cache grows beyond it by doubling.</param>
    public DecodingCache NewCache(int rows, int capacity = 64)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        return new(this, rows, capacity);
    }

    /// <summary>
    /// Reads prompts into a cache: behind what it holds, so that a text may come in pieces of any length. Whatever the pieces, the numbers are those of one
    /// call, within rounding. No gradients are recorded.
    /// </summary>
    /// <remarks>
    /// More than 2,048 tokens are read in pieces, so that memory is bounded by a piece and what the cache keeps; layers, and hooks on them, see the pieces.
    /// Where one fails, those before it are read: <see cref="DecodingCache.Lengths"/> tell how far.
    /// </remarks>
    /// <param name="cache">From <see cref="NewCache"/>.</param>
    /// <param name="tokens">[B, T] of int64; rows shorter than T are padded at the end with any id of the vocabulary.</param>
    /// <param name="lengths">Tokens of each row, 1 to T; null: all T.</param>
    /// <param name="neighbors">
    /// Tokens retrieved for the chunks that these tokens complete, [B, C, K, R] of int64: for each row those of its first C, the one that the cache holds a
    /// beginning of among them; C at most as many as the row that completes the most. What stands for chunks that a row does not have is ignored. Null, and
    /// beyond C: the completed chunks have no neighbors.
    /// </param>
    /// <param name="valid">[B, C, K, R] of bool; null: all.</param>
    /// <param name="cancellationToken">Ends the reading between two pieces; those before it are read.</param>
    /// <returns>Logits [B, V] after each row's last token.</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    /// <exception cref="ArgumentException">
    /// The cache belongs to another model, a row gets longer than the model takes, or see <see cref="forward"/>.
    /// </exception>
    /// <exception cref="InvalidOperationException">The model has dropout and is in training mode, or was cast or moved after the cache was filled.</exception>
    public Tensor Prefill(
        DecodingCache cache,
        Tensor tokens,
        IReadOnlyList<int>? lengths = null,
        Tensor? neighbors = null,
        Tensor? valid = null,
        CancellationToken cancellationToken = default)
    {
        using Use use = Hold();
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        return Head(PrefillStates(cache, tokens, lengths, neighbors, valid, null, cancellationToken)).MoveToOuterDisposeScope();
    }

    /// <summary>As <see cref="Prefill"/>, without the head.</summary>
    /// <returns>The last states, normed, [B, D], after each row's last token; <see cref="Head"/> makes the logits of them.</returns>
    internal Tensor PrefillStates(
        DecodingCache cache,
        Tensor tokens,
        IReadOnlyList<int>? lengths = null,
        Tensor? neighbors = null,
        Tensor? valid = null,
        DecoderTap? tap = null,
        CancellationToken cancellationToken = default)
    {
        CheckCache(cache);
        using Use use = Hold();
        CheckTokens(tokens);
        long batch = tokens.shape[0], width = tokens.shape[1], chunk = Config.Retrieval?.ChunkLength ?? 1;
        if (batch != cache.Rows)
        {
            throw new ShapeException(nameof(tokens), $"[{cache.Rows}, T], one row for each of the cache", tokens.shape);
        }

        long[] rows = lengths is null ? [.. Enumerable.Repeat(width, (int)batch)] : [.. lengths.Select(length => (long)length)];
        if (rows.Length != batch || rows.Any(length => length < 1 || length > width))
        {
            throw new ArgumentException($"Expected {batch} lengths from 1 to {width}, got [{string.Join(", ", rows)}].", nameof(lengths));
        }

        long[] after = [.. rows.Zip(cache.Lengths, (own, before) => own + before)];
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        (neighbors, valid) = OfCompleted(tokens, neighbors, valid, [.. after.Zip(cache.Lengths, (all, before) => (all / chunk) - (before / chunk))]);
        CheckLength(after.Max(), nameof(tokens));
        long chunks = tap is not null ? long.MaxValue / chunk : Math.Max(1, PieceTokens / (batch * chunk)), most = Math.Min(width, chunks * chunk);
        // Of whole chunks, so that each row completes as many in each.
        Tensor? last = null;
        for (long start = 0; start < rows.Max(); start += most)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope pieceScope = NewDisposeScope();
            long count = Math.Min(most, width - start), first = start / chunk;
            long[] read = [.. rows.Select(length => Math.Clamp(length - start, 0, count))];
            long given = Math.Min(chunks, (neighbors?.shape[1] ?? 0) - first);
            Tensor states = ReadPiece(
                cache,
                tokens.narrow(1, start, count),
                read,
                after,
                given > 0 ? neighbors!.narrow(1, first, given) : null,
                given > 0 ? valid?.narrow(1, first, given) : null,
                tap,
                tap is null ? default : cancellationToken); // what a tap sees is one piece, which ends between two layers
            if (last is not null && read.Contains(0))
            {
                using Tensor reads = tensor((bool[])[.. read.Select(own => own > 0)], [batch, 1], device: states.device);
                states = states.where(reads, last);
            }

            last?.Dispose();
            last = states.MoveToOuterDisposeScope();
        }

        return last!.MoveToOuterDisposeScope();
    }

    // Of a row of which nothing is read, what is given has no meaning.
    private Tensor ReadPiece(
        DecodingCache cache,
        Tensor tokens,
        long[] read,
        long[] expected,
        Tensor? neighbors,
        Tensor? valid,
        DecoderTap? tap,
        CancellationToken cancellationToken)
    {
        using DisposeScope scope = NewDisposeScope();
        long batch = tokens.shape[0];
        using DecodingPass pass = cache.Begin([.. read.Zip(cache.Lengths, (own, before) => own + before)], null, expected);
        (Tensor states, Tensor? encoded) = Decode(tokens, PassNeighbors.Of(neighbors, valid), cache, pass, tap, cancellationToken: cancellationToken);
        Tensor? lastTokens = Config.Retrieval?.MatchBias == true
            ? MatchFeatures.Last(cat([cache.LastTokens(), tokens], 1), [.. read.Select(own => own + MatchFeatures.Compared)]) : null;
        Tensor last = tensor(read.Select(own => Math.Max(0, own - 1)).ToArray(), device: states.device).view(batch, 1, 1).expand(batch, 1, Config.Width);
        Tensor normed = _norm.call(states.gather(1, last)).view(batch, -1);

        // Behind all that may fail: what stays of a pass that failed, the next one would read too early.
        if (Config.HasRetrieval)
        {
            KeepEncoded(cache, pass, encoded, neighbors, valid);
        }

        cache.KeepLastTokens(lastTokens);
        cache.End(pass);
        return normed.MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Makes a cache of the beginning of a text from one that has read further: what it lacks besides keys and values is computed anew, by the layers up to the
    /// first that cross-attends, of the tokens from the last complete chunk on.
    /// </summary>
    /// <param name="cache">A cache of this model.</param>
    /// <param name="row">The text's row.</param>
    /// <param name="tokens">[1, n] of int64: the beginning.</param>
    /// <param name="neighbors">What was retrieved for its last complete chunk, [1, 1, K, R] of int64; null: nothing.</param>
    /// <param name="valid">[1, 1, K, R] of bool; null: all.</param>
    /// <param name="capacity">Tokens to reserve memory for.</param>
    /// <returns>A cache of one row; null where a sliding window has dropped what it needs, or hooks run, whose doing is not known.</returns>
    internal DecodingCache? Beginning(DecodingCache cache, int row, Tensor tokens, Tensor? neighbors, Tensor? valid, int capacity)
    {
        CheckCache(cache);
        using Use use = Hold();
        long length = tokens.shape[1], chunk = Config.Retrieval?.ChunkLength ?? 1, start = Math.Max(0, ((length / chunk) - 1) * chunk);
        if (IsHooked || cache.Beginning(row, length, Config.HasRetrieval ? start : length, capacity) is not { } beginning)
        {
            return null;
        }

        if (!Config.HasRetrieval)
        {
            return beginning;
        }

        try
        {
            Reread(beginning, tokens, start, neighbors, valid);
            return beginning;
        }
        catch
        {
            beginning.Dispose();
            throw;
        }
    }

    // Reads the tokens from a chunk's beginning on by the layers up to the first that cross-attends; the neighbors are this chunk's.
    private void Reread(DecodingCache cache, Tensor tokens, long start, Tensor? neighbors, Tensor? valid)
    {
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        long length = tokens.shape[1], count = length - start;
        using DecodingPass pass = cache.Begin([length], null);
        Tensor x = Embed(tokens.narrow(1, start, count), PromptPositions(pass, count));
        AttentionPlan[] plans = CausalPlans(count, pass);
        int layer = 0;
        for (; !cache.IsFirstCrossLayer(layer); layer++)
        {
            x = _layers[layer].Finish(x, _layers[layer].SelfAttend(x, plans[layer], cache.Self[layer]));
        }

        Tensor states = cache.KeepStates(_layers[layer].SelfAttend(x, plans[layer], cache.Self[layer]), pass);
        if (neighbors is not null)
        {
            Tensor encoded = EncodeNeighbors(states, PassNeighbors.Of(neighbors, valid)!);
            cache.SetNeighbors([0], encoded.squeeze(1), neighbors.squeeze(1), valid?.squeeze(1), []);
        }

        cache.KeepLastTokens(Config.Retrieval!.MatchBias ? MatchFeatures.Last(tokens, [length]) : null);
        cache.End(pass);
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
    /// <exception cref="InvalidOperationException">The model has dropout and is in training mode, or was cast or moved after the cache was filled.</exception>
    public Tensor Step(DecodingCache cache, Tensor tokens, Tensor? neighbors = null, Tensor? valid = null)
    {
        using Use use = Hold();
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        return Head(StepStates(cache, tokens, neighbors, valid)).MoveToOuterDisposeScope();
    }

    /// <summary>As <see cref="Step"/>, without the head.</summary>
    /// <returns>The last states, normed, [B, D], after the token; <see cref="Head"/> makes the logits of them.</returns>
    internal Tensor StepStates(DecodingCache cache, Tensor tokens, Tensor? neighbors = null, Tensor? valid = null, DecoderTap? tap = null)
    {
        CheckCache(cache);
        using Use use = Hold();
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
        int[] completing = cache.CompletingRows();
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

    // After a prefill: each row that completed a chunk goes on with the neighbors of its own last complete one. Of what was encoded, the last are given.
    private void KeepEncoded(DecodingCache cache, DecodingPass pass, Tensor? encoded, Tensor? neighbors, Tensor? valid)
    {
        long length = Config.Retrieval!.ChunkLength, chunks = neighbors?.shape[1] ?? 0, before = (encoded?.shape[1] ?? 0) - chunks;
        List<int> rows = [], without = [];
        List<Tensor> last = [], retrieved = [], masks = [];
        for (int row = 0; row < pass.Lengths.Count; row++)
        {
            long chunk = (pass.Lengths[row] / length) - (pass.Before[row] / length) - 1;
            if (chunk >= chunks)
            {
                without.Add(row);
            }
            else if (chunk >= 0)
            {
                rows.Add(row);
                last.Add(encoded!.select(0, row).select(0, before + chunk).narrow(0, 0, neighbors!.shape[2]));
                retrieved.Add(neighbors.select(0, row).select(0, chunk));
                if (valid is not null)
                {
                    masks.Add(valid.select(0, row).select(0, chunk));
                }
            }
        }

        if (rows.Count > 0)
        {
            cache.SetNeighbors(rows, stack(last), stack(retrieved), masks.Count > 0 ? stack(masks) : null, without);
        }
        else
        {
            cache.SetNeighbors([], null, null, null, without);
        }
    }

    private void CheckCache(DecodingCache cache)
    {
        ArgumentNullException.ThrowIfNull(cache);
        _ = Weighted;
        if (cache.Model != this)
        {
            throw new ArgumentException("The cache was made by another model; make one with this model's NewCache.", nameof(cache));
        }

        cache.ThrowIfUnusable();
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

        int[] completing = cache.CompletingRows();
        using DisposeScope scope = NewDisposeScope();
        CheckIds(
            completing.Length == cache.Rows ? neighbors
                : neighbors.index_select(0, tensor((long[])[.. completing.Select(row => (long)row)], device: neighbors.device)),
            nameof(neighbors));
        if (valid is not null)
        {
            CheckValid(valid, neighbors.shape);
        }
    }
}
