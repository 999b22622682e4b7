using TorchSharp;
using TorchSharp.Modules;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>RMSNorm (arXiv 1910.07467) or LayerNorm (arXiv 1607.06450) over the last dimension. In bfloat16 and float16 the mean is taken in float32.</summary>
public sealed class Normalization : nn.Module<Tensor, Tensor>
{
    private readonly NormKind _kind;
    private readonly int _width;
    private readonly double _epsilon;

    /// <summary>Makes a normalization with weight one and, for LayerNorm, bias zero.</summary>
    /// <param name="kind">Which.</param>
    /// <param name="width">Size of the last dimension.</param>
    /// <param name="epsilon">What is added below the root.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    public Normalization(NormKind kind, int width, double epsilon, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(TorchLibrary.Require(nameof(Normalization)))
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        _kind = kind;
        _width = width;
        _epsilon = epsilon;
        register_parameter("weight", Initialization.Constant(1, [width], dtype, device));
        if (kind == NormKind.LayerNorm)
        {
            register_parameter("bias", Initialization.Constant(0, [width], dtype, device));
        }
    }

    /// <summary>Size of the last dimension.</summary>
    internal int Width => _width;

    // TorchSharp makes a new tensor at every look at an embedding's weight, but not at a registered parameter.
    internal Parameter Weight => get_parameter("weight")!;

    internal Parameter? Bias => _kind == NormKind.LayerNorm ? get_parameter("bias") : null;

    /// <summary>Normalizes.</summary>
    /// <param name="input">[..., width].</param>
    /// <returns>[..., width].</returns>
    /// <exception cref="ShapeException">The last dimension has another size.</exception>
    public override Tensor forward(Tensor input)
    {
        Guard.Width(input, _width);
        using FewRows? few = FewRows.Of(input, this);
        if (few is not null)
        {
            return few.ToTensor(few.Normalized(input, this).Span, input.shape);
        }

        using DisposeScope scope = NewDisposeScope();
        if (_kind == NormKind.LayerNorm)
        {
            return nn.functional.layer_norm(input, [_width], Weight, Bias, _epsilon).MoveToOuterDisposeScope();
        }

        // libtorch's own RMS norm is made of the same operators on the processor, and no faster there (tests/Retro.Benchmarks/results/operators.md).
        Tensor x = Precision.AtLeastFloat32(input);
        Tensor normed = x * (x * x).mean([-1], keepdim: true).Plus(_epsilon).rsqrt();
        return ((ReferenceEquals(x, input) ? normed : normed.to_type(input.dtype)) * Weight).MoveToOuterDisposeScope();
    }

    /// <summary>Whether nothing but its weights has to do with what it gives, and those can be read where they lie.</summary>
    internal bool IsPlain(ScalarType dtype, long width) => width == _width
        && pre_hooks.Count + post_hooks.Count + module_pre_hooks.Count + module_post_hooks.Count == 0
        && FewRows.IsPlain(Weight, dtype) && (Bias is null || FewRows.IsPlain(Bias, dtype));

    /// <summary>Normalizes numbers in their place.</summary>
    internal void Apply(Span<float> row, ReadOnlySpan<float> weight, ReadOnlySpan<float> bias)
    {
        if (_kind == NormKind.LayerNorm)
        {
            TensorPrimitives.Subtract(row, TensorPrimitives.Sum<float>(row) / row.Length, row);
        }

        TensorPrimitives.Multiply(row, 1 / MathF.Sqrt((TensorPrimitives.SumOfSquares<float>(row) / row.Length) + (float)_epsilon), row);
        TensorPrimitives.Multiply(row, weight, row);
        if (_kind == NormKind.LayerNorm)
        {
            TensorPrimitives.Add(row, bias, row);
        }
    }

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }
}
