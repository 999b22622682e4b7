using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Self-attention, norm included and residual excluded: y = W_O attention(norm(x)). The decoder's sees what came before (section 2.5 of the paper), the
/// encoder's all of one neighbor (section 2.4). A custom branch derives from it and overrides <see cref="Attend"/>; see <see cref="LayerFactory"/>.
/// </summary>
public class SelfAttention : nn.Module<Tensor, AttentionPlan, Tensor>
{
    private readonly AttentionParts? _parts;
    private readonly PlanKind _kind;

    /// <summary>Makes a branch with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="encoder">Whether the branch is the encoder's.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public SelfAttention(RetroConfig config, bool encoder = false, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : this()
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        AttentionShape shape = encoder && config.RequireRetrieval().Encoder is { } sizes
            ? new(
                sizes.Width,
                sizes.Width,
                sizes.Heads,
                sizes.Heads,
                sizes.HeadSize,
                config.EffectiveRetrievalPositions == PositionKind.TransformerXl,
                false,
                config.InitialOutputScale)
            : new(
                config.Width,
                config.Width,
                config.Heads,
                config.SelfAttentionKeyValueHeads,
                config.HeadSize,
                config.Positions == PositionKind.TransformerXl,
                false,
                config.InitialOutputScale,
                OfDecoder: true);
        _kind = encoder ? PlanKind.Encoder : PlanKind.Causal;
        _parts = new(this, config, shape, dtype, device);
    }

    /// <summary>Makes a branch without any of these parameters: one that registers its own and overrides <see cref="Attend"/>.</summary>
    protected SelfAttention()
        : base(TorchLibrary.Require(nameof(SelfAttention)))
    {
    }

    /// <summary>What the branch is made of; null where it is one of the caller's own.</summary>
    internal AttentionParts? Parts => _parts;

    /// <summary>Attends over whole sequences.</summary>
    /// <param name="x">[B, T, D]; in the encoder [N, R, E], N neighbors of any chunks.</param>
    /// <param name="plan">From <see cref="AttentionPlan.Causal"/> or <see cref="AttentionPlan.Encoder"/>.</param>
    /// <returns>[B, T, D], or [N, R, E]; neighbors without any valid token hold finite numbers without meaning.</returns>
    /// <exception cref="ShapeException"><paramref name="x"/> has another shape.</exception>
    /// <exception cref="ArgumentException">The plan is of another kind, or was made for other sizes or another type.</exception>
    public override Tensor forward(Tensor x, AttentionPlan plan) => Attend(x, plan, null);

    /// <summary>
    /// Attends: over whole sequences, or over new tokens whose keys and values go to a cache, which then gives those that they see of the tokens before, too.
    /// The same code does for both where it takes keys, values, mask and rotations as they come.
    /// </summary>
    /// <param name="x">[B, A, D]: whole sequences, or with a cache that holds tokens the new ones.</param>
    /// <param name="plan">Mask and rotations of the pass.</param>
    /// <param name="cache">Remembers keys and values, see <see cref="SelfAttentionCache.Append"/>; null in training and evaluation.</param>
    /// <returns>[B, A, D].</returns>
    /// <exception cref="ShapeException"><paramref name="x"/> has another shape.</exception>
    /// <exception cref="ArgumentException">The plan is of another kind, or was made for other sizes or another type.</exception>
    public virtual Tensor Attend(Tensor x, AttentionPlan plan, SelfAttentionCache? cache)
    {
        ArgumentNullException.ThrowIfNull(plan);
        AttentionParts parts = _parts
            ?? throw new NotSupportedException($"{GetType().Name} has no parameters of {nameof(SelfAttention)}; it has to override {nameof(Attend)}.");
        Guard.Shape(x, "[B, A, D]", [null, null, parts.Width]);
        AttentionPlan.Require(plan, _kind, x);
        using FewRows? few = cache is null || plan.Pass?.Positions is null ? null : parts.Few(x, ofKeys: true);
        if (few is not null)
        {
            return OfFewRows(x, plan, cache!, parts, few);
        }

        using DisposeScope scope = NewDisposeScope();
        Tensor normed = parts.Norm(x);
        Tensor q = parts.SplitQueries(parts.ProjectQueries(normed, plan.Packed));
        Tensor k = parts.SplitKeys(parts.ProjectKeys(normed, plan.Packed)), v = parts.Values(normed, plan.Packed);
        if (plan.QueryRotation is not null)
        {
            q = plan.QueryRotation.Rotate(q);
            k = plan.KeyRotation!.Rotate(k);
        }

        // A step's queries read the cache where it lies, each row what it sees of it, where they can.
        DecodingPass? step = cache is not null && plan.Pass is { Positions: not null } pass && TokenAttention.Takes(q, k, v, null) ? pass : null;
        if (cache is not null)
        {
            (k, v) = step is null ? cache.Append(k, v, plan) : cache.Store(k, v, step);
        }

        Tensor? distances = plan.DistanceRows is null ? null : cache!.Distances(parts, x.dtype, x.device);
        Tensor? positions = parts.PositionTerm(q, plan, distances, q.shape[2], step?.KeyCount ?? k.shape[2]);
        Tensor attended = step is null ? parts.Attend(q, k, v, plan, positions, positions?.shape) : parts.AttendStep(q, k, v, step, positions);
        return parts.Output(attended, plan.Packed).MoveToOuterDisposeScope();
    }

    // A step of decoding: the same, without tensors in between.
    private static Tensor OfFewRows(Tensor x, AttentionPlan plan, SelfAttentionCache cache, AttentionParts parts, FewRows few)
    {
        Memory<float>[] states = parts.States(x, few);
        plan.QueryRotation?.Rotate(few, parts.HeadSize, states[0], states[1]);
        (Tensor keys, Tensor values) = cache.Store(states[1], states[2], parts, plan.Pass!, few);
        Tensor? distances = plan.DistanceRows is null ? null : cache.Distances(parts, x.dtype, x.device);
        ReadOnlyMemory<float> positions = parts.PositionTermOfRows(states[0], plan, distances, few);
        return parts.Output(few.Attend(states[0], keys, values, plan.Pass, new(default, positions, default)), few);
    }

    /// <summary>
    /// Registers the modules, parameters and tensors that derived types keep in fields, by the fields' names. It is called where the branch becomes a part of a
    /// model, and need not be before; Retro's own parts are registered by their names in the constructor.
    /// </summary>
    protected override void RegisterComponents() => DerivedParts.Register(this, typeof(SelfAttention));
}
