using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>The decoder's causal self-attention branch, norm included and residual excluded (section 2.5 of the paper): y = W_O attention(norm(x)).</summary>
public sealed class DecoderSelfAttention : nn.Module<Tensor, AttentionPlan, Tensor>
{
    private readonly AttentionParts _parts;

    /// <summary>Makes a branch with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public DecoderSelfAttention(RetroConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(TorchLibrary.Require(nameof(DecoderSelfAttention)))
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        _parts = new(
            this,
            config,
            new(config.Width, config.Width, config.Heads, config.SelfAttentionKeyValueHeads, config.HeadSize, config.Positions == PositionKind.TransformerXl, false, config.InitialOutputScale),
            dtype,
            device);
    }

    /// <summary>Attends over whole sequences.</summary>
    /// <param name="x">[B, T, D].</param>
    /// <param name="plan">From <see cref="AttentionPlan.Causal"/>.</param>
    /// <returns>[B, T, D].</returns>
    /// <exception cref="ShapeException"><paramref name="x"/> has another shape.</exception>
    public override Tensor forward(Tensor x, AttentionPlan plan) => Run(x, plan, null);

    /// <summary>Attends, and writes keys and values to a cache; with a cache that holds tokens, <paramref name="x"/> is [B, 1, D], a new token each.</summary>
    internal Tensor Run(Tensor x, AttentionPlan plan, SelfAttentionCache? cache)
    {
        ArgumentNullException.ThrowIfNull(plan);
        Guard.Shape(x, "[B, T, D]", null, null, _parts.Width);
        using DisposeScope scope = NewDisposeScope();
        Tensor normed = _parts.Norm(x);
        Tensor q = _parts.Split(_parts.ProjectQueries(normed), _parts.Heads);
        Tensor k = _parts.Keys(normed), v = _parts.Values(normed);
        if (plan.QueryRotation is not null)
        {
            q = plan.QueryRotation.Rotate(q);
            k = plan.KeyRotation!.Rotate(k);
        }

        if (cache is not null)
        {
            (k, v) = cache.Append(k, v);
        }

        Tensor? distances = plan.DistanceRows is null ? null : cache!.Distances(x.dtype, x.device);
        Tensor? positions = _parts.PositionTerm(q, plan, distances, q.shape[2], k.shape[2]);
        return _parts.Output(_parts.Attend(q, k, v, plan, positions, positions?.shape)).MoveToOuterDisposeScope();
    }

    internal SelfAttentionCache NewCache(RetroConfig config, DecodingCache owner) => new(config, owner, _parts);

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }
}
