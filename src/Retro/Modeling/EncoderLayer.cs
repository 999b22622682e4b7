using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// A layer of the retrieval encoder (section 2.4 of the paper): self-attention within a neighbor, cross-attention to the query chunk where the layer has it,
/// feed-forward; each a residual branch.
/// </summary>
internal sealed class EncoderLayer : nn.Module<Tensor, Tensor, AttentionPlan, AttentionPlan, Tensor>
{
    private readonly double _dropout;

    /// <summary>Makes a layer with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="number">Its number, from 1.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public EncoderLayer(RetroConfig config, int number, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(TorchLibrary.Require(nameof(EncoderLayer)))
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        EncoderConfig encoder = config.RequireRetrieval().Encoder;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(number);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(number, encoder.Layers);
        _dropout = encoder.Dropout;
        register_module("attn", SelfAttention = new(config, encoder: true, dtype, device));
        if (encoder.CrossAttentionLayers.Contains(number))
        {
            register_module("cross", CrossAttention = new(config, dtype, device));
        }

        register_module("ffw", FeedForward = new(config, encoder: true, dtype, device));
    }

    /// <summary>The self-attention branch.</summary>
    public SelfAttention SelfAttention { get; }

    /// <summary>The cross-attention branch; null where the layer has none.</summary>
    public EncoderCrossAttention? CrossAttention { get; }

    /// <summary>The feed-forward branch.</summary>
    public FeedForward FeedForward { get; }

    /// <summary>Computes the layer.</summary>
    /// <param name="x">[N, K, R, E].</param>
    /// <param name="states">[N, M, D], the decoder's states of the query chunks.</param>
    /// <param name="plan">From <see cref="AttentionPlan.Encoder"/>, for N·K sequences.</param>
    /// <param name="crossPlan">From <see cref="AttentionPlan.EncoderCross"/>.</param>
    /// <returns>[N, K, R, E].</returns>
    public override Tensor forward(Tensor x, Tensor states, AttentionPlan plan, AttentionPlan crossPlan)
    {
        ArgumentNullException.ThrowIfNull(x);
        using DisposeScope scope = NewDisposeScope();
        long[] shape = x.shape;
        Tensor h = x.Plus(Drop(SelfAttention.call(x.reshape(shape[0] * shape[1], shape[2], shape[3]), plan)).view(shape));
        if (CrossAttention is not null)
        {
            h = h.Plus(Drop(CrossAttention.call(h, states, crossPlan)));
        }

        return h.Plus(Drop(FeedForward.call(h))).MoveToOuterDisposeScope();
    }

    private Tensor Drop(Tensor x) => training ? SeededDropout.Of(x, _dropout) : x;

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }
}
