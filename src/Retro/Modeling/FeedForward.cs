using TorchSharp;
using TorchSharp.Modules;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// The feed-forward branch, norms included and residual excluded: down(activation(up(norm(x)))), or down(activation(gate) · up) where gated.
/// </summary>
public class FeedForward : nn.Module<Tensor, Tensor>
{
    private readonly Normalization? _norm, _outputNorm;
    private readonly LinearLayer? _gate;
    private readonly LinearLayer _up;
    private readonly LinearLayer _down;
    private readonly ActivationKind _activation;
    private readonly int _width;

    /// <summary>Makes a branch with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="encoder">Whether the branch is the encoder's.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public FeedForward(RetroConfig config, bool encoder = false, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(TorchLibrary.Require(nameof(FeedForward)))
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        _activation = config.Activation;
        (_width, int inner) = encoder && config.RequireRetrieval().Encoder is { } sizes
            ? (sizes.Width, sizes.FeedForwardSize)
            : (config.Width, config.FeedForwardSize);
        if (encoder || config.NormsBefore)
        {
            register_module("norm", _norm = new(config.Norm, _width, config.NormEpsilon, dtype, device));
        }

        if (config.IsGated)
        {
            register_module("gate", _gate = new LinearLayer(_width, inner, config.FeedForwardBias, dtype, device));
        }

        register_module("up", _up = new LinearLayer(_width, inner, config.FeedForwardBias, dtype, device));
        register_module("down", _down = new LinearLayer(inner, _width, config.FeedForwardBias, dtype, device, config.InitialOutputScale));
        if (!encoder && config.NormsAfter)
        {
            register_module("output_norm", _outputNorm = new(config.Norm, _width, config.NormEpsilon, dtype, device));
        }
    }

    /// <summary>Computes the branch.</summary>
    /// <param name="x">[..., width].</param>
    /// <returns>[..., width].</returns>
    /// <exception cref="ShapeException">The last dimension has another size.</exception>
    public override Tensor forward(Tensor x)
    {
        Guard.Width(x, _width);
        using FewRows? few = _outputNorm?.IsPlain(x.dtype, _width) == false ? null : FewRows.Of(x, _norm, _gate, _up, _down);
        if (few is not null)
        {
            return OfFewRows(x, few);
        }

        using DisposeScope scope = NewDisposeScope();
        Tensor normed = Norm(x);
        Tensor inner = Activate(_activation, (_gate ?? _up).call(normed));
        Tensor output = _down.call(_gate is null ? inner : inner * _up.call(normed));
        return (_outputNorm?.call(output) ?? output).MoveToOuterDisposeScope();
    }

    /// <summary>Normalizes what the branch reads, where it is; in either case a tensor of its own.</summary>
    internal Tensor Norm(Tensor x) => _norm?.call(x) ?? x.alias();

    private Tensor OfFewRows(Tensor x, FewRows few)
    {
        Memory<float> normed = few.Normalized(x, _norm), inner;
        if (_gate is null)
        {
            inner = few.Product(normed, _up);
            TokenActivation.Apply(_activation, inner.Span);
        }
        else
        {
            Memory<float>[] products = few.Products(normed, _gate.Weights, _up.Weights);
            inner = products[0];
            TokenActivation.Apply(_activation, inner.Span);
            TensorPrimitives.Multiply(inner.Span, products[1].Span, inner.Span);
        }

        Memory<float> output = few.Product(inner, _down);
        few.Normalize(output, _outputNorm);
        return few.ToTensor(output.Span, x.shape);
    }

    /// <summary>activation(x): of gated kinds, what the gate's branch goes through.</summary>
    internal static Tensor Activate(ActivationKind kind, Tensor x) => kind switch
    {
        ActivationKind.GeluTanh or ActivationKind.GeGluTanh => nn.functional.gelu(x, GELU.Approximate.tanh, false),
        ActivationKind.Relu => nn.functional.relu(x),
        ActivationKind.Silu or ActivationKind.SwiGlu => nn.functional.silu(x),
        _ => nn.functional.gelu(x),
    };

    /// <summary>
    /// Registers the modules, parameters and tensors that derived types keep in fields, by the fields' names. It is called where the branch becomes a part of a
    /// model, and need not be before; Retro's own parts are registered by their names in the constructor.
    /// </summary>
    protected override void RegisterComponents() => DerivedParts.Register(this, typeof(FeedForward));
}
