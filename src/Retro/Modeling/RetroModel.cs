using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using EmbeddingTable = TorchSharp.Modules.Embedding;

namespace Retro.Modeling;

/// <summary>
/// RETRO (arXiv 2112.04426): a decoder that reads, through chunked cross-attention, the neighbors that were retrieved for the chunks before. Without neighbors,
/// or without retrieval in its configuration, it is the plain decoder. named_parameters() tells its parameters by their names, which are
/// those of its files; a model on the device meta keeps no memory for them, although each is drawn on the processor first, as on any device.
/// </summary>
public sealed partial class RetroModel : nn.Module<Tensor, Tensor?, Tensor?, Tensor>
{
    private readonly EmbeddingTable _embedding;
    private readonly EmbeddingTable? _positions;
    private readonly DecoderLayer[] _layers;
    private readonly SelfAttentionKind[] _kinds; // those that there are,
    private readonly int[] _kindOfLayer;         // and which of them each layer is of
    private readonly Normalization _norm;
    private readonly LinearLayer? _head;
    private readonly Lock _lock = new();
    private int _users;
    private bool _disposed;

    /// <summary>
    /// Makes a model with fresh weights, drawn from TorchSharp's generator: matrices normal with 1/sqrt(fan-in), output projections of branches at a share of
    /// it, embeddings with 1/sqrt(width).
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <param name="dtype">Type of the parameters, in which the model computes: float32, float64 or bfloat16.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <param name="layers">Makes custom branches; null: Retro's.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    /// <exception cref="RetroException">A custom branch overrides forward, and not what computes it token by token, or keeps parts where they are not
    /// found, or there is none.</exception>
    public RetroModel(RetroConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null, LayerFactory? layers = null)
        : base(TorchLibrary.Require(nameof(RetroModel)))
    {
        ArgumentNullException.ThrowIfNull(config);
        if (dtype is not (ScalarType.Float32 or ScalarType.Float64 or ScalarType.BFloat16))
        {
            throw new ArgumentException($"A model computes in float32, float64 or bfloat16, not in {dtype}.", nameof(dtype));
        }

        Config = config.Validate();
        register_module("embedding", _embedding = Initialization.Embedding(config.VocabularySize, config.Width, dtype, device));
        if (config.Positions == PositionKind.Learned)
        {
            register_module("positions", _positions = Initialization.Embedding(config.MaximumLength!.Value, config.Width, dtype, device));
        }

        _layers = new DecoderLayer[config.Layers];
        for (int i = 0; i < _layers.Length; i++)
        {
            _layers[i] = new DecoderLayer(config, i + 1, dtype, device, layers);
        }

        SelfAttentionKind[] kinds = [.. Enumerable.Range(1, config.Layers).Select(config.KindOf)];
        _kinds = [.. kinds.Distinct()];
        _kindOfLayer = [.. kinds.Select(kind => Array.IndexOf(_kinds, kind))];
        _norm = new(config.Norm, config.Width, config.NormEpsilon, dtype, device);
        register_module("decoder", new Stack("decoder", _layers, _norm));
        if (config.HasRetrieval)
        {
            using IDisposable? drawn = Initialization.Retrieval();
            register_module("encoder", Encoder = new(config, config.Retrieval!.Encoder.ShareEmbedding ? _embedding : null, dtype, device));
        }

        if (!config.TieEmbeddings)
        {
            register_module("head", _head = new LinearLayer(config.Width, config.VocabularySize, false, dtype, device));
        }
    }

    /// <summary>The configuration.</summary>
    public RetroConfig Config { get; }

    /// <summary>
    /// Hash of the tokenizer whose ids the model was trained on, as the manifest of a database names it: another one's ids mean other texts. A training sets
    /// it (<see cref="TieTokenizer"/>), a checkpoint keeps it, and whoever uses the model with a tokenizer or database of another hash is refused. Null: not
    /// known, and not checked.
    /// </summary>
    public string? TokenizerHash { get; internal set; }

    /// <summary>The hashes by which databases and models may know that tokenizer, as far as they are known.</summary>
    internal IReadOnlyList<string> TokenizerHashes { get; set; } = [];

    /// <summary>The decoder's layers; layer number p of the configuration is at p − 1.</summary>
    public IReadOnlyList<DecoderLayer> Layers => _layers;

    /// <summary>The retrieval encoder; null where the configuration has no retrieval.</summary>
    public RetrievalEncoder? Encoder { get; }

    /// <summary>Type of the parameters.</summary>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    public ScalarType Dtype => Weighted._norm.Weight.dtype;

    /// <summary>Device of the parameters.</summary>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    public Device Device => Weighted._norm.Weight.device;

    /// <inheritdoc/>
    protected override nn.Module _to(DeviceType deviceType, int deviceIndex, bool non_blocking)
    {
        // TorchSharp takes a module for one on the processor until it is moved, wherever its parameters were made, and would not move it there.
        base._to(Device.type, Device.index, non_blocking);
        return base._to(deviceType, deviceIndex, non_blocking);
    }

    /// <summary>Predicts the next token at every position.</summary>
    /// <param name="tokens">[B, T] of int64.</param>
    /// <param name="neighbors">Tokens retrieved for the first C chunks, [B, C, K, R] of int64, C at most T/M; positions of later chunks read nothing. Null:
    /// retrieval off, the plain decoder to the bit.</param>
    /// <param name="valid">Which retrieved tokens hold something, [B, C, K, R] of bool; null: all. A chunk without any reads nothing.</param>
    /// <returns>Logits [B, T, V]: row p predicts token p + 1. It depends on tokens up to p, and on the neighbors of chunk u only where (u + 1)·M − 1 ≤
    /// p.</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    /// <exception cref="ArgumentException">An argument has another type or lies on another device, a token id is not in the vocabulary, or the sequence is
    /// longer than the model takes.</exception>
    public override Tensor forward(Tensor tokens, Tensor? neighbors = null, Tensor? valid = null)
    {
        Check(tokens, neighbors, valid);
        using Use use = Hold();
        using DisposeScope scope = NewDisposeScope();
        (Tensor states, _) = Decode(tokens, PassNeighbors.Of(neighbors, valid));
        return Logits(states).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// The decoder's states [B, T, D] before the last norm, and the neighbors as they were encoded on the way; with a cache, what a later step needs goes
    /// there; a tap sees every layer. Of packed rows, padding is left out, and its states are zero. It can be ended between two layers.
    /// </summary>
    internal (Tensor States, Tensor? Encoded) Decode(
        Tensor tokens,
        PassNeighbors? neighbors,
        DecodingCache? cache = null,
        DecodingPass? pass = null,
        DecoderTap? tap = null,
        PackedRows? rows = null,
        CancellationToken cancellationToken = default)
    {
        using Use use = Hold();
        Tensor? encoded = null;
        Tensor x = pass is null ? Embed(rows is null ? tokens : rows.Pack(tokens)) : Embed(tokens, PromptPositions(pass, tokens.shape[1]));
        AttentionPlan[] plans = CausalPlans(x.shape[1], pass);
        AttentionPlan? crossPlan = null;
        PlacedPiece? piece = cache is null ? null : PlacedPiece.Of(cache, pass!, tokens.shape[1]);
        bool reads = neighbors is not null || piece?.ReadsKept == true;

        // What a hook is handed it may keep.
        bool[] hooked = Array.ConvertAll(_layers, layer => layer.modules().Append(layer).Any(FinalizerGate.HasHook));
        for (int i = 0; i < _layers.Length; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int index = i;
            Tensor y = _layers[i].IsHooked ? _layers[i].Hooked(x, plans[i], encoded, crossPlan, input => Layer(index, input)) : Layer(i, x);
            if (!hooked[i] && !(i == 0 ? FinalizerGate.HasHook(_embedding) : hooked[i - 1]))
            {
                x.Dispose(); // no later layer reads it; backward has what it needs of it
            }

            x = y;
        }

        return (rows is null ? x : rows.Unpack(x), encoded);

        Tensor Layer(int i, Tensor x)
        {
            DecoderLayer layer = _layers[i];
            using DisposeScope scope = NewDisposeScope();
            Tensor h = layer.SelfAttend(x, plans[i], cache?.Self[i]);
            Tensor states = cache is not null && cache.IsFirstCrossLayer(i) ? cache.KeepStates(h, pass!) : h; // from the beginning of a chunk on
            if (layer.CrossAttention is not null && reads)
            {
                if (encoded is null)
                {
                    Tensor? given = neighbors is null ? null : EncodeNeighbors(states, neighbors, rows);
                    (encoded, crossPlan) = piece?.Read(tokens, neighbors, given) ?? (given!, CrossPlan(tokens, neighbors!));
                    encoded.MoveToOuterDisposeScope();
                    crossPlan.MoveToOuterDisposeScope();
                }

                h = layer.CrossAttend(h, encoded, crossPlan!, (IPlacedRows?)rows ?? piece);
            }

            tap?.Attended(i, x, h);
            Tensor y = layer.Finish(x, h);
            return (tap?.Finished(i, x, y) ?? y).MoveToOuterDisposeScope();
        }
    }

    /// <summary>How tokens attend to each other in each layer, over whole sequences of T tokens; with a pass, into a cache.</summary>
    internal AttentionPlan[] CausalPlans(long tokens, DecodingPass? pass = null)
        => ForLayers(kind => AttentionPlan.CausalPass(Config, kind, tokens, pass, Dtype, Device));

    // Layers of a kind share what is made for it.
    private AttentionPlan[] ForLayers(Func<SelfAttentionKind, AttentionPlan> make)
    {
        AttentionPlan[] made = Array.ConvertAll(_kinds, kind => make(kind));
        return Array.ConvertAll(_kindOfLayer, kind => made[kind]);
    }

    /// <summary>The tables that <see cref="Embed(Tensor)"/> reads.</summary>
    internal IEnumerable<Parameter> Embeddings => _positions is null ? [_embedding.weight!] : [_embedding.weight!, _positions.weight!];

    /// <summary>Puts the model in evaluation mode, in which it drops nothing, for whoever measures or generates with it.</summary>
    internal void Evaluate()
    {
        // eval() goes through all modules, which takes longer than a token of a small model.
        if (Undisposed.training)
        {
            eval();
        }
    }

    /// <summary>Encodes neighbors, read with the states [B, T, D] of the first layer that cross-attends.</summary>
    internal Tensor EncodeNeighbors(Tensor states, PassNeighbors neighbors, PackedRows? rows = null) => Encoder!.Encode(
        neighbors, (rows is null ? states : rows.Unpack(states)).narrow(1, 0, neighbors.Tokens.shape[1] * Config.Retrieval!.ChunkLength));

    /// <summary>How the tokens' chunks attend to their neighbors.</summary>
    /// <param name="tokens">[B, T] of int64, and what stands before them where they are more than so many.</param>
    /// <param name="neighbors">The neighbors.</param>
    /// <param name="length">T; null: all of them.</param>
    internal AttentionPlan CrossPlan(Tensor tokens, PassNeighbors neighbors, long? length = null) => AttentionPlan.ChunkedCrossPass(
        Config,
        length ?? tokens.shape[1],
        neighbors.Tokens.shape[1],
        neighbors.Tokens.shape[2],
        neighbors.Valid,
        neighbors.Asking,
        Dtype,
        Device,
        tokens,
        neighbors.Tokens);

    /// <summary>What the first layer reads: [B, T, D].</summary>
    internal Tensor Embed(Tensor tokens) => Embed(tokens, _positions?.weight!.narrow(0, 0, tokens.shape[1]));

    // What a table of positions adds to a prompt's tokens; null without one. Padding may lie beyond it.
    private Tensor? PromptPositions(DecodingPass pass, long tokens)
    {
        if (_positions is null)
        {
            return null;
        }

        using Scalar last = (Config.MaximumLength!.Value - 1).ToScalar();
        return _positions.call(pass.PromptPositions(tokens, Device).clamp_max(last));
    }

    /// <summary>Logits [B, T, V] of the last layer's states [B, T, D].</summary>
    internal Tensor Logits(Tensor states) => Head(Normed(states));

    /// <summary>The last layer's states, normed.</summary>
    internal Tensor Normed(Tensor states)
    {
        using Use use = Hold();
        return _norm.call(states);
    }

    /// <summary>What normed states are multiplied by: [V, D].</summary>
    internal Parameter HeadWeight => _head is null ? _embedding.weight! : _head.get_parameter("weight")!;

    private Tensor Embed(Tensor tokens, Tensor? positions)
    {
        Tensor x = _embedding.call(tokens);
        x = Config.EmbeddingScale == 1 ? x : x.Times(Config.EmbeddingScale);
        x = positions is null ? x : x.Plus(positions);
        return training ? SeededDropout.Of(x, Config.Dropout) : x;
    }

    /// <summary>Logits [.., V] of normed states [.., D].</summary>
    internal Tensor Head(Tensor normed)
    {
        using Use use = Hold();
        return _head is null ? LinearLayer.Product(normed, _embedding.weight!) : _head.call(normed);
    }

    /// <summary>Whether hooks run around any of its modules.</summary>
    internal bool IsHooked => modules().Any(FinalizerGate.HasHook);

    /// <summary>Whether hooks run around an output head of its own.</summary>
    internal bool IsHeadHooked => _head is not null && FinalizerGate.HasHook(_head);

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }

    /// <summary>This model, which still has its weights: of one that was disposed, a save would write a checkpoint of none over a good one.</summary>
    internal RetroModel Undisposed
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return this;
        }
    }

    // This model, which still has its weights, as a disposed one has while somebody computes with them.
    private RetroModel Weighted
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed && _users == 0, this);
            return this;
        }
    }

    /// <summary>
    /// Computes with the weights: where another thread disposes of the model meanwhile, they are freed when nobody does any more, and what began before may
    /// end.
    /// </summary>
    /// <returns>To be disposed of when it is done.</returns>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    internal Use Hold()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed && _users == 0, this);
            _users++;
        }

        return new(this);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        lock (_lock)
        {
            _disposed = true;
            if (_users > 0)
            {
                return;
            }
        }

        base.Dispose(disposing);
    }

    private void Release()
    {
        lock (_lock)
        {
            if (--_users > 0 || !_disposed)
            {
                return;
            }
        }

        base.Dispose(true);
    }

    /// <summary>Somebody computes; see <see cref="Hold"/>.</summary>
    internal readonly struct Use(RetroModel model) : IDisposable
    {
        public void Dispose() => model.Release();
    }

    // Numbered layers and the norm after them, so that names are "decoder.1.attn..." and "decoder.norm.weight".
    private sealed class Stack : nn.Module
    {
        public Stack(string name, DecoderLayer[] layers, Normalization norm)
            : base(name)
        {
            for (int i = 0; i < layers.Length; i++)
            {
                register_module($"{i + 1}", layers[i]);
            }

            register_module("norm", norm);
        }
    }
}
