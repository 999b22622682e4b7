using System.Buffers;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// x Wᵀ + b, as nn.Linear. Few rows, which decoding has, are multiplied on the processor by reading each row of W once, for all of them, and summed in float32:
/// libtorch's own product of so few takes up to three times as long there.
/// </summary>
public sealed class LinearLayer : nn.Module<Tensor, Tensor>
{
    /// <summary>Rows up to which the own product is the faster one: libtorch's of bfloat16 has instructions of its own.</summary>
    private const int MostRows = 8, MostRowsOfBFloat16 = 4;

    /// <summary>Bytes of W that a thread takes at once: in less time another one has not begun.</summary>
    private const int BytesOfPart = 1 << 17;

    private const int PartsOfThread = 4;

    // So few that their weights are still near when the next row reads them.
    private const int OutputsOfBlock = 32;

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
    {
        ScalarType dtype = weight.dtype;
        int most = dtype == ScalarType.Float32 ? MostRows : dtype == ScalarType.BFloat16 ? MostRowsOfBFloat16 : 0;
        return is_grad_enabled() || x.numel() > most * x.size(-1) || !IsPlain(x) || !IsPlain(weight) || (bias is not null && !IsPlain(bias))
            ? nn.functional.linear(x, weight, bias)
            : dtype == ScalarType.Float32 ? OfFewRows<float, Float32Format>(x, weight, bias) : OfFewRows<ushort, BFloat16Format>(x, weight, bias);

        bool IsPlain(Tensor tensor) => tensor.device_type == DeviceType.CPU && tensor.dtype == dtype && tensor.is_contiguous();
    }

    /// <summary>Does nothing: the parts are registered by their names in the constructor, not by the names of fields.</summary>
    protected override void RegisterComponents()
    {
    }

    private static Tensor OfFewRows<T, TFormat>(Tensor x, Tensor weight, Tensor? bias)
        where T : unmanaged
        where TFormat : IRowFormat<T>
    {
        int input = (int)weight.size(1), output = (int)weight.size(0), rows = (int)(x.numel() / input);
        Tensor y = empty([.. x.shape[..^1], output], weight.dtype);
        float[] loaded = ArrayPool<float>.Shared.Rent(rows * input);
        TensorNumbers<T> ofX = new(x), ofWeight = new(weight), ofBias = bias is null ? default : new(bias), ofY = new(y);
        for (int row = 0; row < rows; row++)
        {
            StoredRows<T, TFormat>.Load(ofX.Slice((long)row * input, input), 1, loaded.AsSpan(row * input, input));
        }

        // More parts than threads, so that one that comes late leaves its share to the others.
        int threads = get_num_threads();
        int parts = threads == 1 ? 1 : (int)Math.Clamp((long)output * input * weight.dtype.ElementSize() / BytesOfPart, 1, PartsOfThread * threads);
        WorkerTeam.Shared.Run(parts, threads, Part);

        ArrayPool<float>.Shared.Return(loaded);
        GC.KeepAlive(x);
        GC.KeepAlive(weight);
        GC.KeepAlive(bias);
        return y;

        // Each number is one dot product, so that neither the other rows nor the threads change its bits.
        void Part(int part)
        {
            int start = (int)((long)output * part / parts), end = (int)((long)output * (part + 1) / parts);
            int block = rows == 1 ? Math.Max(1, end - start) : OutputsOfBlock;
            float[] products = ArrayPool<float>.Shared.Rent(block);
            for (int o = start; o < end; o += block)
            {
                Span<float> some = products.AsSpan(0, Math.Min(block, end - o));
                ReadOnlySpan<T> w = ofWeight.Slice((long)o * input, (long)some.Length * input);
                ReadOnlySpan<T> b = bias is null ? [] : ofBias.Slice(o, some.Length);
                for (int row = 0; row < rows; row++)
                {
                    StoredRows<T, TFormat>.Dot(w, input, loaded.AsSpan(row * input, input), some);
                    Span<T> written = ofY.Slice(((long)row * output) + o, some.Length);
                    for (int i = 0; i < written.Length; i++)
                    {
                        written[i] = TFormat.Nearest(some[i] + (b.IsEmpty ? 0 : TFormat.Read(b[i])));
                    }
                }
            }

            ArrayPool<float>.Shared.Return(products);
        }
    }
}
