using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using EmbeddingTable = TorchSharp.Modules.Embedding;

namespace Retro.Modeling;

/// <summary>
/// The retrieval encoder (section 2.4 of the paper): a bidirectional transformer over each neighbor's tokens, conditioned on the decoder's states of the chunk
/// it was retrieved for. Neighbors are encoded independently of one another; nothing of one chunk reaches another.
/// </summary>
public sealed class RetrievalEncoder : nn.Module<Tensor, Tensor, Tensor?, Tensor>
{
    private readonly RetroConfig _config;
    private readonly RetrievalConfig _retrieval;
    private readonly EmbeddingTable _embedding;
    private readonly LinearLayer? _projection;
    private readonly EmbeddingTable? _positions;
    private readonly Normalization? _norm;
    private readonly EncoderLayer[] _layers;

    /// <summary>Makes an encoder with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="sharedEmbedding">The decoder's embedding, read but not owned; required where <see cref="EncoderConfig.ShareEmbedding"/> says so, else
    /// ignored.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public RetrievalEncoder(RetroConfig config, EmbeddingTable? sharedEmbedding = null, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(TorchLibrary.Require(nameof(RetrievalEncoder)))
    {
        ArgumentNullException.ThrowIfNull(config);
        _config = config.Validate();
        _retrieval = config.RequireRetrieval();
        EncoderConfig encoder = _retrieval.Encoder;
        if (encoder.ShareEmbedding)
        {
            ArgumentNullException.ThrowIfNull(sharedEmbedding);
            _embedding = sharedEmbedding;
            if (config.ProjectsSharedEmbedding)
            {
                register_module("projection", _projection = new LinearLayer(config.Width, encoder.Width, false, dtype, device));
            }
        }
        else
        {
            register_module("embedding", _embedding = Initialization.Embedding(config.VocabularySize, encoder.Width, dtype, device));
        }

        if (config.EffectiveRetrievalPositions == PositionKind.Learned)
        {
            register_module(
                "positions", _positions = Initialization.Embedding(_retrieval.RetrievedLength, encoder.Width, dtype, device));
        }

        _layers = new EncoderLayer[encoder.Layers];
        for (int i = 0; i < _layers.Length; i++)
        {
            _layers[i] = new EncoderLayer(config, i + 1, dtype, device);
            register_module($"{i + 1}", _layers[i]);
        }

        if (encoder.FinalNorm)
        {
            register_module("norm", _norm = new(config.Norm, encoder.Width, config.NormEpsilon, dtype, device));
        }
    }

    /// <summary>Encodes neighbors.</summary>
    /// <param name="tokens">[B, C, K, R] of int64.</param>
    /// <param name="states">[B, C·M, D], the decoder's states of the chunks that the neighbors were retrieved for.</param>
    /// <param name="valid">Which tokens hold something, [B, C, K, R] of bool; null: all.</param>
    /// <returns>[B, C, K, R, E]. What stands at tokens that are not valid has no meaning; neighbors without any valid token give finite numbers, and chunks
    /// without any are left out of the work and give zeros.</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    /// <exception cref="ArgumentException">An argument has another type or lies on another device, or a token id is not in the vocabulary.</exception>
    public override Tensor forward(Tensor tokens, Tensor states, Tensor? valid = null)
    {
        Guard.Shape(tokens, "[B, C, K, R]", [null, null, null, _retrieval.RetrievedLength]);
        Guard.Shape(states, "[B, C·M, D]", [tokens.shape[0], tokens.shape[1] * _retrieval.ChunkLength, _config.Width]);
        Tensor weight = _embedding.weight!;
        Guard.Type(tokens, nameof(tokens), ScalarType.Int64, weight.device);
        Guard.Ids(tokens, nameof(tokens), _config.VocabularySize);
        Guard.Type(states, nameof(states), weight.dtype, weight.device);
        if (valid is not null)
        {
            Guard.Shape(valid, "[B, C, K, R]", Array.ConvertAll(tokens.shape, size => (long?)size));
            Guard.Type(valid, nameof(valid), ScalarType.Bool, weight.device);
        }

        using DisposeScope scope = NewDisposeScope();
        return Compute(new(tokens, valid, PassNeighbors.AskingChunks(valid)), states).MoveToOuterDisposeScope();
    }

    /// <summary>The same, of what is known already; hooks run around it in either way.</summary>
    internal Tensor Encode(PassNeighbors given, Tensor states)
        => pre_hooks.Count + post_hooks.Count + module_pre_hooks.Count + module_post_hooks.Count > 0
            ? call(given.Tokens, states, given.Valid)
            : Compute(given, states);

    private Tensor Compute(PassNeighbors given, Tensor states)
    {
        (Tensor tokens, Tensor? valid, Tensor? asking) = given;
        long batch = tokens.shape[0], chunks = tokens.shape[1], neighbors = tokens.shape[2], length = tokens.shape[3];
        using DisposeScope scope = NewDisposeScope();
        if (tokens.numel() == 0)
        {
            return zeros([batch, chunks, neighbors, length, _retrieval.Encoder.Width], states.dtype, states.device).MoveToOuterDisposeScope();
        }

        Tensor ids = tokens.reshape(batch * chunks, neighbors, length);
        Tensor perChunk = states.reshape(batch * chunks, _retrieval.ChunkLength, _config.Width);
        Tensor? mask = valid?.reshape(batch * chunks, neighbors, length);
        if (asking is null)
        {
            return Encode(ids, perChunk, mask).view(batch, chunks, neighbors, length, _retrieval.Encoder.Width).MoveToOuterDisposeScope();
        }

        Tensor all = zeros([batch * chunks, neighbors, length, _retrieval.Encoder.Width], states.dtype, states.device);
        if (asking.shape[0] > 0)
        {
            all = all.index_copy(0, asking, Encode(ids.index_select(0, asking), perChunk.index_select(0, asking), mask!.index_select(0, asking)));
        }

        return all.view(batch, chunks, neighbors, length, _retrieval.Encoder.Width).MoveToOuterDisposeScope();
    }

    // [N, K, R], states [N, M, D] and mask [N, K, R] to [N, K, R, E].
    private Tensor Encode(Tensor tokens, Tensor states, Tensor? valid)
    {
        long neighbors = tokens.shape[1], length = tokens.shape[2];
        PackedTokens? packed = valid is null ? null : PackedTokens.Of(valid);
        Tensor x = _embedding.call(packed is null ? tokens : packed.Pick(tokens.reshape(-1)).view(1, 1, -1)); // [N, K, R, E] or [1, 1, V, E]
        x = _projection is null ? x : _projection.call(x);
        if (_positions is not null)
        {
            x = x.Plus(packed is null ? _positions.weight! : packed.OfPlaces(_positions.weight!));
        }

        x = training ? SeededDropout.Of(x, _retrieval.Encoder.Dropout) : x;
        AttentionPlan plan = AttentionPlan.EncoderPass(_config, valid?.reshape(-1, length), packed, x.dtype, x.device);
        AttentionPlan crossPlan = AttentionPlan.EncoderCross(_config, neighbors, x.dtype, x.device, packed);
        foreach (EncoderLayer layer in _layers)
        {
            x = layer.call(x, states, plan, crossPlan);
        }

        x = _norm is null ? x : _norm.call(x);
        return packed is null ? x : packed.Unpack(x).view(-1, neighbors, length, _retrieval.Encoder.Width);
    }

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }
}
