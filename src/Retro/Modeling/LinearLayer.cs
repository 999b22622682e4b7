using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// x Wᵀ + b, as nn.Linear. Few rows, which decoding has, are multiplied on the processor by reading each row of W once, for all of them, and summed in
/// float32.
/// </summary>
public sealed class LinearLayer : nn.Module<Tensor, Tensor>
{
    private readonly int _input;
    private readonly bool _hasBias;

    /// <summary>Makes a layer with normal weights of deviation scale/√input, and a bias of zero.</summary>
    /// <param name="input">Width of what it takes.</param>
    /// <param name="output">Width of what it gives.</param>
    /// <param name="bias">Whether it adds a bias.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <param name="scale">Multiplies the deviation; 0 makes the weights zero.</param>
    /// <exception cref="ArgumentOutOfRangeException">A width is not positive.</exception>
    public LinearLayer(int input, int output, bool bias = true, ScalarType dtype = ScalarType.Float32, Device? device = null, double scale = 1)
        : base(TorchLibrary.Require(nameof(LinearLayer)))
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(input);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(output);
        _input = input;
        register_parameter("weight", Initialization.Normal([output, input], scale / Math.Sqrt(input), dtype, device));
        _hasBias = bias;
        if (bias)
        {
            register_parameter("bias", Initialization.Constant(0, [output], dtype, device));
        }
    }

    /// <summary>Computes it.</summary>
    /// <param name="input">[..., input].</param>
    /// <returns>[..., output].</returns>
    /// <exception cref="ShapeException">The last dimension has another size.</exception>
    public override Tensor forward(Tensor input)
    {
        Guard.Width(input, _input);
        return Product(input, Weights.Weight, Weights.Bias);
    }

    /// <summary>W, and b or null.</summary>
    internal (Tensor Weight, Tensor? Bias) Weights => (get_parameter("weight")!, _hasBias ? get_parameter("bias") : null);

    /// <summary>Whether nothing but its weights has to do with what it gives, and those can be read where they lie.</summary>
    internal bool IsPlain(ScalarType dtype) => pre_hooks.Count + post_hooks.Count + module_pre_hooks.Count + module_post_hooks.Count == 0
        && ArePlain(Weights, dtype);

    /// <summary>x Wᵀ + b.</summary>
    /// <param name="x">[..., input].</param>
    /// <param name="weight">W, [output, input].</param>
    /// <param name="bias">b, [output]; null: none.</param>
    /// <returns>[..., output].</returns>
    internal static Tensor Product(Tensor x, Tensor weight, Tensor? bias = null)
    {
        using FewRows? few = FewRows.Of(x, null);
        return few is null || !ArePlain((weight, bias), x.dtype)
            ? nn.functional.linear(x, weight, bias)
            : few.ToTensor(few.Products(few.Read(x), (weight, bias))[0].Span, [.. x.shape[..^1], weight.size(0)]);
    }

    private static bool ArePlain((Tensor Weight, Tensor? Bias) weights, ScalarType dtype)
        => FewRows.IsPlain(weights.Weight, dtype) && (weights.Bias is null || FewRows.IsPlain(weights.Bias, dtype));

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }
}
