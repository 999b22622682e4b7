using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>The encoder's bidirectional self-attention branch within one neighbor, norm included and residual excluded (section 2.4 of the paper).</summary>
public sealed class EncoderSelfAttention : nn.Module<Tensor, AttentionPlan, Tensor>
{
    private readonly AttentionParts _parts;

    /// <summary>Makes a branch with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public EncoderSelfAttention(RetroConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(TorchLibrary.Require(nameof(EncoderSelfAttention)))
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        bool relative = config.EffectiveRetrievalPositions == PositionKind.TransformerXl;
        _parts = new(
            this,
            config,
            new(config.Retrieval!.Encoder.Width, config.Retrieval!.Encoder.Width, config.Retrieval!.Encoder.Heads, config.Retrieval!.Encoder.Heads, config.Retrieval!.Encoder.HeadSize, relative, false, config.InitialOutputScale),
            dtype,
            device);
    }

    /// <summary>Attends within each neighbor.</summary>
    /// <param name="x">[N, R, E], N neighbors of any chunks.</param>
    /// <param name="plan">From <see cref="AttentionPlan.Encoder"/>.</param>
    /// <returns>[N, R, E]; rows without any valid token hold finite numbers without meaning.</returns>
    /// <exception cref="ShapeException"><paramref name="x"/> has another shape.</exception>
    public override Tensor forward(Tensor x, AttentionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        Guard.Shape(x, "[N, R, E]", null, null, _parts.Width);
        using DisposeScope scope = NewDisposeScope();
        Tensor normed = _parts.Norm(x);
        Tensor q = _parts.Split(_parts.ProjectQueries(normed), _parts.Heads);
        Tensor k = _parts.Keys(normed), v = _parts.Values(normed);
        if (plan.QueryRotation is not null)
        {
            q = plan.QueryRotation.Rotate(q);
            k = plan.KeyRotation!.Rotate(k);
        }

        Tensor? positions = _parts.PositionTerm(q, plan, null, q.shape[2], k.shape[2]);
        return _parts.Output(_parts.Attend(q, k, v, plan, positions, positions?.shape)).MoveToOuterDisposeScope();
    }

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }
}
