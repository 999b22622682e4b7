using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// A decoder layer (section 2.4 of the paper): self-attention, chunked cross-attention where the layer has it, feed-forward; each a residual branch.
/// A hook on a layer runs wherever a model computes the layer, in training, evaluation and generation; the first layer that cross-attends has the neighbors
/// encoded, so that its hooks are given none. A hook on an attention branch runs where whole sequences are computed, and not where a cache is read.
/// </summary>
public sealed class DecoderLayer : nn.Module<Tensor, AttentionPlan, Tensor?, AttentionPlan?, Tensor>
{
    private static readonly LayerFactory s_retros = new();

    // What the layer of this thread computes while hooks run around it.
    [ThreadStatic]
    private static (DecoderLayer Layer, Func<Tensor, Tensor> Compute)? s_hooked;

    private readonly bool _parallel;
    private readonly double _dropout;

    /// <summary>Makes a layer with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="number">Its number, from 1.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <param name="layers">Makes custom branches; null: Retro's.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    /// <exception cref="RetroException">A custom branch overrides forward, and not what computes it token by token, or keeps parts where they are not
    /// found, or there is none.</exception>
    public DecoderLayer(RetroConfig config, int number, ScalarType dtype = ScalarType.Float32, Device? device = null, LayerFactory? layers = null)
        : base(TorchLibrary.Require(nameof(DecoderLayer)))
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(number);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(number, config.Layers);
        layers ??= s_retros;
        _parallel = config.ParallelResidual;
        _dropout = config.Dropout;
        register_module("attn", SelfAttention = Make(layers.SelfAttention, s_retros.SelfAttention, nameof(SelfAttention)));
        RequireBoth(SelfAttention.forward, SelfAttention.Attend);
        if (config.CrossAttends(number))
        {
            using IDisposable? drawn = Initialization.Retrieval();
            register_module("cca", CrossAttention = Make(layers.CrossAttention, s_retros.CrossAttention, nameof(CrossAttention)));
            RequireBoth(CrossAttention.forward, CrossAttention.Step);
            RequireBoth(CrossAttention.Step, CrossAttention.forward);
        }

        register_module("ffw", FeedForward = Make(layers.FeedForward, s_retros.FeedForward, nameof(FeedForward)));
        foreach (nn.Module branch in children())
        {
            DerivedParts.RequireAllRegistered(branch);
        }

        // What a custom function makes besides what is registered is in no file.
        T Make<T>(Func<RetroConfig, ScalarType, Device?, T>? make, Func<RetroConfig, ScalarType, Device?, T> retros, string name)
            where T : nn.Module
        {
            using IDisposable? drawn = make == retros ? null : Initialization.Draw();
            return make?.Invoke(config, dtype, device) ?? throw new RetroException(
                $"{nameof(LayerFactory)}.{name} {(make is null ? "is" : "gave")} null for layer {number}; it has to make a {typeof(T).Name}.");
        }
    }

    /// <summary>The self-attention branch.</summary>
    public SelfAttention SelfAttention { get; }

    /// <summary>The chunked cross-attention branch; null where the layer has none.</summary>
    public ChunkedCrossAttention? CrossAttention { get; }

    /// <summary>The feed-forward branch.</summary>
    public FeedForward FeedForward { get; }

    /// <summary>Computes the layer.</summary>
    /// <param name="x">[B, T, D].</param>
    /// <param name="plan">From <see cref="AttentionPlan.Causal"/>.</param>
    /// <param name="encoded">[B, C, K, R, E], the encoded neighbors; null: retrieval off, which leaves the branch out.</param>
    /// <param name="crossPlan">From <see cref="AttentionPlan.ChunkedCross"/>; required with <paramref name="encoded"/> where the layer has
    /// cross-attention.</param>
    /// <returns>[B, T, D].</returns>
    public override Tensor forward(Tensor x, AttentionPlan plan, Tensor? encoded, AttentionPlan? crossPlan)
    {
        ArgumentNullException.ThrowIfNull(x);
        if (s_hooked is { } hooked && hooked.Layer == this)
        {
            s_hooked = null;
            return hooked.Compute(x);
        }

        using DisposeScope scope = NewDisposeScope();
        Tensor h = SelfAttend(x, plan, null);
        if (CrossAttention is not null && encoded is not null)
        {
            ArgumentNullException.ThrowIfNull(crossPlan);
            h = CrossAttend(h, encoded, crossPlan);
        }

        return Finish(x, h).MoveToOuterDisposeScope();
    }

    /// <summary>Whether hooks run around the layer.</summary>
    internal bool IsHooked => pre_hooks.Count + post_hooks.Count + module_pre_hooks.Count + module_post_hooks.Count > 0;

    /// <summary>
    /// Runs the layer's hooks around what a model computes in its place: a model does the branches one by one, to encode neighbors between two.
    /// </summary>
    /// <param name="x">The layer's input; a hook may give another.</param>
    /// <param name="plan">How tokens attend to each other.</param>
    /// <param name="encoded">The neighbors, as far as they are encoded.</param>
    /// <param name="crossPlan">How chunks attend to them.</param>
    /// <param name="compute">From the input to the output.</param>
    /// <returns>The output, or what a hook gives in its place.</returns>
    internal Tensor Hooked(Tensor x, AttentionPlan plan, Tensor? encoded, AttentionPlan? crossPlan, Func<Tensor, Tensor> compute)
    {
        (DecoderLayer, Func<Tensor, Tensor>)? outer = s_hooked; // a hook may run another model
        s_hooked = (this, compute);
        try
        {
            return call(x, plan, encoded, crossPlan);
        }
        finally
        {
            s_hooked = outer;
        }
    }

    /// <summary>Adds self-attention to the state.</summary>
    internal Tensor SelfAttend(Tensor x, AttentionPlan plan, SelfAttentionCache? cache)
        => x.Plus(Drop(cache is null ? SelfAttention.call(x, plan) : SelfAttention.Attend(x, plan, cache)));

    /// <summary>Adds chunked cross-attention to the state after self-attention.</summary>
    internal Tensor CrossAttend(Tensor h, Tensor encoded, AttentionPlan plan, IPlacedRows? rows = null)
        => h.Plus(Drop(rows is null ? CrossAttention!.call(h, encoded, plan) : rows.Pack(CrossAttention!.call(rows.Unpack(h), encoded, plan))));

    /// <summary>Adds feed-forward, which reads the layer's input where residuals are parallel.</summary>
    internal Tensor Finish(Tensor x, Tensor h) => h.Plus(Drop(FeedForward.call(_parallel ? x : h)));

    /// <summary>What the feed-forward branch computes with, normed.</summary>
    internal Tensor FeedForwardInput(Tensor x, Tensor h) => FeedForward.Norm(_parallel ? x : h);

    // A branch that overrides one of what trains it and what generates would do the other by what it derives from: by another layer.
    private static void RequireBoth(Delegate one, Delegate other)
    {
        Type own = one.Method.DeclaringType!;
        if (own.IsSubclassOf(other.Method.DeclaringType!))
        {
            throw new RetroException(
                $"{own.Name} overrides {one.Method.Name} and not {other.Method.Name}: it would generate with another layer than it was trained with; "
                    + "override both.");
        }
    }

    private Tensor Drop(Tensor x) => training ? SeededDropout.Of(x, _dropout) : x;

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }
}
