using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// The encoder's cross-attention branch (section 2.4 of the paper): every retrieved token asks the decoder's states H_u of the chunk that the neighbor was
/// retrieved for. Norm of the asking side included, residual excluded; the states are asked as they are, or normalized where
/// <see cref="EncoderConfig.NormalizeStates"/> says so. Keys and values are made once per chunk, whatever the number of neighbors.
/// </summary>
internal sealed class EncoderCrossAttention : nn.Module<Tensor, Tensor, AttentionPlan, Tensor>
{
    private readonly AttentionParts _parts;
    private readonly Normalization? _statesNorm;
    private readonly int _length;

    /// <summary>Makes a branch with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public EncoderCrossAttention(RetroConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(TorchLibrary.Require(nameof(EncoderCrossAttention)))
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        _length = config.RequireRetrieval().RetrievedLength;
        EncoderConfig encoder = config.RequireRetrieval().Encoder;
        bool relative = config.EffectiveRetrievalPositions == PositionKind.TransformerXl;
        _parts = new(
            this,
            config,
            new(
                encoder.Width,
                config.Width,
                encoder.Heads,
                encoder.Heads,
                encoder.HeadSize,
                relative,
                false,
                config.InitialOutputScale),
            dtype,
            device);
        if (encoder.NormalizeStates)
        {
            register_module("states_norm", _statesNorm = new(config.Norm, config.Width, config.NormEpsilon, dtype, device));
        }
    }

    /// <summary>Attends to the chunk's states.</summary>
    /// <param name="x">[N, K, R, E], K neighbors of each of N chunks.</param>
    /// <param name="states">[N, M, D], the decoder's states of the chunks.</param>
    /// <param name="plan">From <see cref="AttentionPlan.EncoderCross"/>.</param>
    /// <returns>[N, K, R, E].</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    public override Tensor forward(Tensor x, Tensor states, AttentionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        Guard.Shape(x, "[N, K, R, E]", [null, null, null, _parts.Width]);
        Guard.Shape(states, "[N, M, D]", [plan.Packed is null ? x.shape[0] : null, null, _parts.KeyWidth]);
        using DisposeScope scope = NewDisposeScope();
        Tensor asking = _parts.ProjectQueries(_parts.Norm(x), plan.Packed);
        Tensor q = _parts.Split(asking.view(states.shape[0], -1, asking.shape[^1]), _parts.Heads); // [H, N, K·R, S]
        Tensor asked = _statesNorm is null ? states : _statesNorm.call(states);
        Tensor k = _parts.SplitKeys(_parts.ProjectKeys(asked)), v = _parts.Values(asked); // [H, N, M, S]
        if (plan.QueryRotation is not null)
        {
            q = plan.QueryRotation.Rotate(q);
            k = plan.KeyRotation!.Rotate(k);
        }

        Tensor? positions = _parts.PositionTerm(q, plan, null, _length, states.shape[1]); // [H·N·K, R, M]
        return _parts.Output(_parts.Attend(q, k, v, plan, positions, positions?.shape), plan.Packed).view(x.shape).MoveToOuterDisposeScope();
    }

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }
}
