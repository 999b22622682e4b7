using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// What a model remembers of a batch of sequences while it continues them: keys and values of self-attention, the states of each row's unfinished chunk (which
/// the encoder will read when the chunk is complete), each row's last encoded neighbors, and their keys and values per cross-attention layer. Rows may differ
/// in length. Made by <see cref="RetroModel.NewCache"/>; dispose it when the sequences end.
/// </summary>
public sealed class DecodingCache : IDisposable
{
    private readonly CrossAttentionCache?[] _cross;
    private readonly int _firstCrossLayer, _capacity;
    private Tensor? _chunkStates; // [B, M, D]: what the unfinished chunk's tokens left after self-attention of the first cross-attention layer
    private Tensor? _encoded;     // [B, K, R, E]: each row's last neighbors, as a piece of text reads them,
    private Tensor? _valid;       // [B, K·R] of bool: which of their tokens hold something,
    private Tensor? _retrieved;   // [B, K·R] of int64: the tokens, and
    private Tensor? _lastTokens;  // [B, MatchFeatures.Compared] of int64: what a match bias compares; null without
    private DecodingMask? _mask;  // what follows from it; null after a change
    private long[] _rowLengths;
    private CacheLayout? _layout; // of self-attention's keys and values; null before the first pass
    private (ScalarType Dtype, Device Device)? _filledAs; // what the model was when its first pass began; null before
    private bool _disposed;

    internal DecodingCache(RetroModel model, int rows, int capacity)
    {
        Model = model;
        _capacity = capacity;
        _rowLengths = new long[rows];
        Self = [.. model.Layers.Select(_ => new SelfAttentionCache(model.Config))];
        _cross = [.. model.Layers.Select(layer => layer.CrossAttention?.NewCache())];
        Tables = new(model.Config);
        _firstCrossLayer = Array.FindIndex(_cross, cache => cache is not null);
    }

    /// <summary>Rows of the batch.</summary>
    public int Rows => _rowLengths.Length;

    /// <summary>Tokens of each row so far.</summary>
    public IReadOnlyList<long> Lengths => _rowLengths;

    /// <summary>Bytes of the cached tensors.</summary>
    internal long ByteLength
        => Self.Sum(cache => cache.ByteLength) + _cross.Sum(cache => cache?.ByteLength ?? 0) + BytesOf(_chunkStates) + BytesOf(_encoded)
            + BytesOf(_valid) + BytesOf(_retrieved) + BytesOf(_lastTokens) + (_mask?.ByteLength ?? 0) + Tables.ByteLength;

    internal RetroModel Model { get; }

    internal SelfAttentionCache[] Self { get; }

    internal DecodingTables Tables { get; }

    /// <summary>Whether the next token of a row completes a chunk, so that its step wants the chunk's neighbors.</summary>
    /// <param name="row">Row of the batch, from 0.</param>
    public bool CompletesChunk(int row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Rows);
        return Model.Config.HasRetrieval && (_rowLengths[row] + 1) % Model.Config.Retrieval!.ChunkLength == 0;
    }

    /// <summary>The rows of which the next token completes a chunk.</summary>
    internal int[] CompletingRows() => [.. Enumerable.Range(0, Rows).Where(CompletesChunk)];

    /// <summary>
    /// Keeps some rows, in the order given, and forgets the others: sequences that have ended need no more time. A row may be given twice, which copies it.
    /// </summary>
    /// <param name="rows">Row numbers, from 0.</param>
    /// <exception cref="InvalidOperationException">The model was cast or moved after the cache was filled.</exception>
    public void SelectRows(IReadOnlyList<int> rows)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ThrowIfUnusable();
        ArgumentOutOfRangeException.ThrowIfZero(rows.Count, nameof(rows));
        foreach (int row in rows)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(row, nameof(rows));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Rows, nameof(rows));
        }

        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        Tensor index = Index(rows);
        Arrange([.. rows.Select(row => (this, row))]);
        foreach (CrossAttentionCache? cache in _cross)
        {
            cache?.SelectRows(index);
        }

        if (_chunkStates is not null)
        {
            Replace(ref _chunkStates, _chunkStates.index_select(0, index));
        }

        if (_lastTokens is not null)
        {
            Replace(ref _lastTokens, _lastTokens.index_select(0, index));
        }

        if (_valid is not null)
        {
            Replace(ref _valid, _valid.index_select(0, index));
            Replace(ref _encoded, _encoded!.index_select(0, index));
            ForgetMask();
            if (_retrieved is not null)
            {
                Replace(ref _retrieved, _retrieved.index_select(0, index));
            }
        }
    }

    /// <summary>
    /// Takes in the rows of another cache behind its own, whatever their lengths and neighbors: sequences that begin while others go on. The other one stays as
    /// it is. What is computed for a row is, within rounding, what it would be in the other one.
    /// </summary>
    /// <param name="other">A cache of the same model.</param>
    /// <exception cref="ArgumentException">It is of another model, or it is this one.</exception>
    /// <exception cref="InvalidOperationException">The model was cast or moved after one of them was filled.</exception>
    public void AppendRows(DecodingCache other)
    {
        ArgumentNullException.ThrowIfNull(other);
        ThrowIfUnusable();
        if (other == this || other.Model != Model)
        {
            throw new ArgumentException(
                $"Expected another cache, of the same model, got {(other == this ? "this one" : "one of another model")}; make one with the model's NewCache.",
                nameof(other));
        }

        other.ThrowIfUnusable();
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        int rows = Rows;
        _filledAs ??= other._filledAs;
        for (int layer = 0; layer < Self.Length; layer++)
        {
            _cross[layer]?.AppendRows(other._cross[layer]!, rows, other.Rows);
        }

        // Rows that nothing was read of yet have no last tokens, which zeros would be.
        if (_lastTokens is not null || other._lastTokens is not null)
        {
            Replace(ref _lastTokens, cat([LastTokens(), other.LastTokens()], 0));
        }

        AppendRows(ref _chunkStates, _chunkStates, other._chunkStates, 0, rows, other.Rows);
        AppendRows(ref _encoded, _encoded, other._encoded, 0, rows, other.Rows);
        AppendRows(ref _valid, _valid, other._valid, 0, rows, other.Rows);
        AppendRows(ref _retrieved, _retrieved, other._retrieved, 0, rows, other.Rows);
        ForgetMask();
        Arrange([.. Enumerable.Range(0, rows).Select(row => (this, row)), .. Enumerable.Range(0, other.Rows).Select(row => (other, row))]);
    }

    /// <summary>Frees the cached tensors.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        foreach (SelfAttentionCache cache in Self)
        {
            cache.Dispose();
        }

        foreach (CrossAttentionCache? cache in _cross)
        {
            cache?.Dispose();
        }

        Tables.Dispose();
        ForgetMask();
        _chunkStates?.Dispose();
        _encoded?.Dispose();
        _valid?.Dispose();
        _retrieved?.Dispose();
        _lastTokens?.Dispose();
        _chunkStates = _encoded = _valid = _retrieved = _lastTokens = null;
    }

    /// <summary>Refuses a cache that was disposed of, and one of before the model was cast or moved, whose numbers are of the model as it was then.</summary>
    internal void ThrowIfUnusable()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_filledAs is not var (dtype, device))
        {
            return;
        }

        Device now = Model.Device;
        if (dtype != Model.Dtype || device.type != now.type || device.index != now.index)
        {
            throw new InvalidOperationException(
                $"Expected a cache of {Model.Dtype} on {now}, as the model is now, got one of {dtype} on {device}: a cache that was filled before a model was "
                    + $"cast or moved cannot go on with it; make a new one with {nameof(RetroModel.NewCache)}.");
        }
    }

    internal CrossAttentionCache Cross(int layer) => _cross[layer]!;

    internal bool IsFirstCrossLayer(int layer) => layer == _firstCrossLayer;

    /// <summary>Which cached neighbors' tokens hold something; null before any were given.</summary>
    internal DecodingMask? Mask(ScalarType dtype) => _valid is null ? null : _mask ??= DecodingMask.Create(_valid, dtype);

    /// <summary>The neighbors that the rows still read, with their tokens where a match bias compares them and their mask; null: no row ever had any.</summary>
    internal (Tensor Encoded, Tensor? Retrieved, Tensor Valid)? Kept
        => _encoded is null ? null : (_encoded, _retrieved?.view(_encoded.shape[..3]), _valid!.view(_encoded.shape[..3]));

    /// <summary>Bytes of the keys and values of self-attention that the first tokens of a row have.</summary>
    internal long BytesOfRow(long tokens) => Self.Sum(cache => cache.StatesByteLength) / Math.Max(1, _layout?.Places ?? 0) * tokens;

    /// <summary>Whether the keys and values of a row's first tokens are all there.</summary>
    internal bool HasBeginning(int row, long length)
        => _layout is { } layout && layout.First(row) == 0 && CacheLayout.Kept(Model.Config.WidestWindow, length) == length && _rowLengths[row] >= length
            && !Array.Exists(Self, cache => cache.LiesOtherwise(layout));

    /// <summary>A cache of one row's first tokens, with their keys and values of self-attention alone.</summary>
    /// <param name="row">The row.</param>
    /// <param name="length">How many tokens there are keys and values of.</param>
    /// <param name="read">How many count as read.</param>
    /// <param name="capacity">Tokens to reserve memory for.</param>
    /// <returns>Null where some are not there any more.</returns>
    internal DecodingCache? Beginning(int row, long length, long read, int capacity)
    {
        if (!HasBeginning(row, length))
        {
            return null;
        }

        using IDisposable noGrad = no_grad();
        DecodingCache beginning = new(Model, 1, capacity)
        {
            _rowLengths = [read],
            _layout = new(Model.Config, [length], [Math.Max(1, capacity - length)]),
            _filledAs = _filledAs,
        };
        try
        {
            for (int layer = 0; layer < Self.Length; layer++)
            {
                beginning.Self[layer].Arrange(beginning._layout, [(Self[layer], row)]);
            }

            return beginning;
        }
        catch
        {
            beginning.Dispose();
            throw;
        }
    }

    /// <summary>Plans a pass; see <see cref="DecodingPass"/>.</summary>
    /// <param name="lengths">Each row's tokens after it.</param>
    /// <param name="positions">A step's positions, [B] of int64; null: prompts, or pieces of them, are read.</param>
    /// <param name="expected">Each row's tokens after the passes that come next; null: nobody knows.</param>
    internal DecodingPass Begin(IReadOnlyList<long> lengths, Tensor? positions, IReadOnlyList<long>? expected = null)
    {
        RetroConfig config = Model.Config;
        CacheLayout? layout = _layout;
        _filledAs ??= (Model.Dtype, Model.Device);
        if (layout is null || Array.Exists(Self, cache => cache.LiesOtherwise(layout))
            || Enumerable.Range(0, Rows).Any(row => layout.Left(row, lengths[row]) < 0))
        {
            // At first what was asked for; then for each as many more as all keep on average. A pass that fails leaves what the next one sees.
            IReadOnlyList<long> read = positions is null && layout is null ? lengths : _rowLengths;
            long[] kept = [.. read.Select(tokens => CacheLayout.Kept(config.WidestWindow, tokens))];
            long sum = kept.Sum();
            layout = new(
                config,
                read,
                [.. kept.Select(tokens => Math.Max(1, layout is null ? _capacity - tokens : sum / Rows))],
                [.. (config.WidestWindow is null ? expected ?? lengths : lengths).Zip(read, (after, before) => after - before)]);
        }

        return new(_rowLengths, lengths, positions, config.WidestWindow, layout);
    }

    /// <summary>Ends a pass.</summary>
    internal void End(DecodingPass pass)
    {
        (_rowLengths, _layout) = ([.. pass.Lengths], pass.Layout);
        if (pass.TakeChunkStates() is { } states)
        {
            Replace(ref _chunkStates, states);
        }
    }

    /// <summary>
    /// The rows' last tokens with those of a step [B] behind them, [B, <see cref="MatchFeatures.Compared"/>]; null where no match bias reads them.
    /// </summary>
    internal Tensor? LastTokensWith(Tensor tokens)
    {
        if (Model.Config.Retrieval?.MatchBias != true)
        {
            return null;
        }

        Tensor last = LastTokens();
        return cat([last.narrow(1, 1, last.shape[1] - 1), tokens.unsqueeze(-1)], 1);
    }

    /// <summary>Keeps the rows' last tokens, of int64 as <see cref="MatchFeatures.Last"/> gives them.</summary>
    internal void KeepLastTokens(Tensor? tokens)
    {
        if (tokens is not null)
        {
            Replace(ref _lastTokens, tokens);
        }
    }

    /// <summary>
    /// How the rows' last tokens match those before each cached key, [5, B, 1, K·R]; null without a match bias, or before a neighbor was read.
    /// </summary>
    internal Tensor? Matches(Tensor? lastTokens, ScalarType dtype)
    {
        if (lastTokens is null || _retrieved is null)
        {
            return null;
        }

        long length = Model.Config.Retrieval!.RetrievedLength;
        return MatchFeatures.Of(lastTokens, _retrieved.view(Rows, -1, length), _valid!.view(Rows, -1, length), dtype);
    }

    /// <summary>
    /// Keeps the states [B, A, D] of a prompt's tokens, those of each row's then unfinished chunk, as soon as the pass ends, and returns them with those that
    /// were kept before, each row's from the beginning of a chunk on.
    /// </summary>
    internal Tensor KeepStates(Tensor states, DecodingPass pass)
    {
        Tensor kept = ChunkStates(states), all = states, next = zeros_like(kept).DetachFromDisposeScope();
        pass.KeepChunkStates(next);
        long chunk = Model.Config.Retrieval!.ChunkLength, tokens = states.shape[1];
        long[] begun = [.. pass.Before.Select(length => length % chunk)];
        if (begun.Any(count => count > 0))
        {
            all = zeros([Rows, begun.Max() + tokens, states.shape[2]], states.dtype, states.device);
            for (int row = 0; row < Rows; row++)
            {
                Copy(kept, row, 0, all, 0, begun[row]);
                Copy(states, row, 0, all, begun[row], tokens);
            }
        }

        for (int row = 0; row < Rows; row++)
        {
            long length = pass.Lengths[row], start = length / chunk * chunk;
            Copy(all, row, start - (pass.Before[row] - begun[row]), next, 0, length - start);
        }

        return all;

        static void Copy(Tensor from, int row, long start, Tensor to, long place, long count)
        {
            if (count > 0)
            {
                using Tensor target = to.select(0, row), room = target.narrow(0, place, count), source = from.select(0, row);
                using Tensor part = source.narrow(0, start, count);
                room.copy_(part);
            }
        }
    }

    /// <summary>Keeps the states [B, 1, D] of a step's tokens, and returns those of each row's chunk so far, [B, M, D].</summary>
    internal Tensor KeepStates(Tensor states)
    {
        Tensor kept = ChunkStates(states);
        long chunk = Model.Config.Retrieval!.ChunkLength;
        using Tensor places = KeptScalars.Numbers((long[])[.. _rowLengths.Select((length, row) => (row * chunk) + (length % chunk))], kept.device);
        using Tensor all = kept.view(Rows * chunk, -1), own = states.squeeze(1);
        all.index_copy_(0, places, own);
        return kept;
    }

    /// <summary>
    /// Replaces the neighbors of some rows: encoded [n, K, R, E], their tokens and their mask [n, K, R], or nothing for rows whose chunk has none.
    /// </summary>
    internal void SetNeighbors(IReadOnlyList<int> rows, Tensor? encoded, Tensor? retrieved, Tensor? valid, IReadOnlyList<int> without)
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor Keys, Tensor Values)[] made = encoded is null ? [] : KeysAndValues(encoded, valid); // before anything changes, since it may fail
        if (_valid is not null && without.Count > 0)
        {
            _valid.index_fill_(0, Index(without), KeptScalars.False);
            ForgetMask();
        }

        if (encoded is null)
        {
            return;
        }

        long neighbors = encoded.shape[1], width = neighbors * encoded.shape[2];
        Tensor rowIndex = Index(rows);
        for (int layer = 0; layer < _cross.Length; layer++)
        {
            _cross[layer]?.Write(rowIndex, Rows, made[layer].Keys, made[layer].Values);
        }

        long stored = _cross[_firstCrossLayer]!.Keys!.shape[2];
        Grow(ref _encoded, [Rows, stored / encoded.shape[2], .. encoded.shape[2..]], encoded.dtype);
        _encoded!.narrow(1, 0, neighbors).index_copy_(0, rowIndex, encoded);
        Grow(ref _valid, [Rows, stored], ScalarType.Bool);
        if (Model.Config.Retrieval!.MatchBias)
        {
            Grow(ref _retrieved, [Rows, stored], ScalarType.Int64);
            _retrieved!.narrow(1, 0, width).index_copy_(0, rowIndex, retrieved!.reshape(rows.Count, width));
        }

        Tensor mask = zeros([rows.Count, stored], ScalarType.Bool, encoded.device);
        Tensor given = mask.narrow(1, 0, width);
        if (valid is null)
        {
            given.fill_(KeptScalars.True);
        }
        else
        {
            given.copy_(valid.reshape(rows.Count, width));
        }

        _valid!.index_copy_(0, rowIndex, mask);
        ForgetMask();
    }

    internal static long BytesOf(Tensor? tensor) => tensor is null ? 0 : tensor.numel() * tensor.element_size();

    /// <summary>Puts a new tensor, which outlives every scope, into the place of an old one.</summary>
    internal static void Replace(ref Tensor? place, Tensor tensor)
    {
        tensor.DetachFromDisposeScope();
        place?.Dispose();
        place = tensor;
    }

    internal static void SelectRows(ref Tensor? place, Tensor rows)
    {
        if (place is not null)
        {
            Replace(ref place, place.index_select(1, rows));
        }
    }

    /// <summary>
    /// Puts the rows of one tensor behind those of another, each at the beginning of the dimension after the rows', which becomes as long as the longer one's;
    /// zeros stand for what is not there.
    /// </summary>
    internal static void AppendRows(ref Tensor? place, Tensor? own, Tensor? added, int dimension, long rows, long addedRows)
    {
        if ((own ?? added) is not { } like)
        {
            return;
        }

        long[] shape = [.. like.shape];
        shape[dimension] = rows + addedRows;
        shape[dimension + 1] = Math.Max(own?.shape[dimension + 1] ?? 0, added?.shape[dimension + 1] ?? 0);
        Tensor all = zeros(shape, like.dtype, like.device);
        Put(own, 0);
        Put(added, rows);
        Replace(ref place, all);

        void Put(Tensor? some, long first)
        {
            if (some is not null)
            {
                using Tensor ofRows = all.narrow(dimension, first, some.shape[dimension]), target = ofRows.narrow(dimension + 1, 0, some.shape[dimension + 1]);
                target.copy_(some);
            }
        }
    }

    // Makes rows of caches this one's: their lengths, and their keys and values of self-attention, each with what room it has, unless that is more than double.
    private void Arrange(IReadOnlyList<(DecodingCache Cache, int Row)> rows)
    {
        long[] lengths = [.. rows.Select(row => row.Cache._rowLengths[row.Row])];
        if (rows.Any(row => row.Cache._layout is not null))
        {
            CacheLayout layout = new(Model.Config, lengths, [.. rows.Select(row => row.Cache.Left(row.Row))]);
            for (int layer = 0; layer < Self.Length; layer++)
            {
                Self[layer].Arrange(layout, [.. rows.Select(row => (row.Cache.Self[layer], row.Row))]);
            }

            _layout = layout;
        }

        _rowLengths = lengths;
    }

    private long Left(int row)
    {
        long length = _rowLengths[row];
        return _layout is null ? _capacity : Math.Min(_layout.Left(row, length), Math.Max(CacheLayout.Kept(Model.Config.WidestWindow, length), _capacity));
    }

    /// <summary>The rows' last tokens, [B, <see cref="MatchFeatures.Compared"/>], as <see cref="MatchFeatures.Last"/> gives them.</summary>
    internal Tensor LastTokens() => _lastTokens ?? MatchFeatures.Last(zeros([Rows, 1], ScalarType.Int64, Model.Device), new long[Rows]);

    // What each layer makes of encoded neighbors [n, K, R, E]; of one that does not cross-attend, nothing.
    private (Tensor Keys, Tensor Values)[] KeysAndValues(Tensor encoded, Tensor? valid)
    {
        AttentionPlan plan = AttentionPlan.CrossKeys(Model.Config, encoded.shape[1], valid, encoded.dtype, encoded.device);
        return [.. Model.Layers.Select(layer => layer.CrossAttention?.CheckedKeysAndValues(encoded, plan) ?? default)];
    }

    // Makes it as wide as the shape says, what there was before at its beginning.
    private void Grow(ref Tensor? place, long[] shape, ScalarType dtype)
    {
        if (place is not null && place.shape[1] >= shape[1])
        {
            return;
        }

        Tensor grown = zeros(shape, dtype, Model.Device);
        if (place is not null)
        {
            using Tensor kept = grown.narrow(1, 0, place.shape[1]);
            kept.copy_(place);
        }

        Replace(ref place, grown);
    }

    private void ForgetMask()
    {
        _mask?.Dispose();
        _mask = null;
    }

    private Tensor ChunkStates(Tensor like)
    {
        if (_chunkStates is null)
        {
            Replace(ref _chunkStates, zeros([Rows, Model.Config.Retrieval!.ChunkLength, like.shape[2]], like.dtype, like.device));
        }

        return _chunkStates!;
    }

    private Tensor Index(IReadOnlyList<int> rows) => tensor(rows.Select(row => (long)row).ToArray(), device: Model.Device);
}
