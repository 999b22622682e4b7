using System.Runtime.InteropServices;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace Retro.Modeling;

/// <summary>
/// x Wᵀ + b, as nn.Linear. Few rows, which decoding has, are multiplied on the processor by reading each row of W once, for all of them: libtorch's own product
/// of so few takes 1.4 to 5 times as long there.
/// </summary>
public sealed class LinearLayer : nn.Module<Tensor, Tensor>
{
    /// <summary>Rows up to which the own product is the faster one.</summary>
    private const int MostRows = 4;

    /// <summary>Bytes of W from which another thread is worth being woken.</summary>
    private const int BytesOfThread = 1 << 20;

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
        ArgumentNullException.ThrowIfNull(input);
        return input.dim() > 0 && input.size(-1) == _input
            ? Product(input, get_parameter("weight")!, _hasBias ? get_parameter("bias") : null)
            : throw new ShapeException(nameof(input), $"[..., {_input}]", input.shape);
    }

    /// <summary>x Wᵀ + b.</summary>
    /// <param name="x">[..., input].</param>
    /// <param name="weight">W, [output, input].</param>
    /// <param name="bias">b, [output]; null: none.</param>
    /// <returns>[..., output].</returns>
    internal static Tensor Product(Tensor x, Tensor weight, Tensor? bias = null)
        => !is_grad_enabled() && IsPlain(x) && IsPlain(weight) && x.numel() <= MostRows * x.size(-1)
            && (bias is null || IsPlain(bias))
            ? OfFewRows(x, weight, bias)
            : nn.functional.linear(x, weight, bias);

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }

    private static bool IsPlain(Tensor tensor) => tensor.device_type == DeviceType.CPU && tensor.dtype == ScalarType.Float32 && tensor.is_contiguous();

    private static Tensor OfFewRows(Tensor x, Tensor weight, Tensor? bias)
    {
        int input = (int)weight.size(1), output = (int)weight.size(0), rows = (int)(x.numel() / input);
        Tensor y = empty([.. x.shape[..^1], output]);
        int parts = (int)Math.Clamp((long)output * input * sizeof(float) / BytesOfThread, 1, get_num_threads());
        if (parts == 1)
        {
            Part(0);
        }
        else
        {
            ParallelLoop.For(parts, Part, parts);
        }

        return y;

        // Each number is one dot product, so that neither the other rows nor the threads change its bits.
        void Part(int part)
        {
            ReadOnlySpan<float> w = Numbers(weight), read = Numbers(x), b = bias is null ? [] : Numbers(bias);
            Span<float> written = Numbers(y);
            int end = (int)((long)output * (part + 1) / parts);
            for (int o = (int)((long)output * part / parts); o < end; o++)
            {
                ReadOnlySpan<float> of = w.Slice(o * input, input);
                for (int row = 0; row < rows; row++)
                {
                    written[(row * output) + o] = TensorPrimitives.Dot(of, read.Slice(row * input, input)) + (b.IsEmpty ? 0 : b[o]);
                }
            }

            GC.KeepAlive(weight);
            GC.KeepAlive(x);
            GC.KeepAlive(bias);
            GC.KeepAlive(y);
        }
    }

    private static Span<float> Numbers(Tensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.bytes);
}
