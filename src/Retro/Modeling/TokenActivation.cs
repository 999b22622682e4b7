using System.Buffers;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// GELU of as few numbers as a decoded token has, on the processor: libtorch's own wakes all threads for however few, which takes longer than computing them.
/// </summary>
internal static class TokenActivation
{
    private const int Most = 1 << 14;

    /// <summary>Whether it can be computed here.</summary>
    public static bool Takes(Tensor x) => !is_grad_enabled() && x.device_type == DeviceType.CPU && x.numel() is > 0 and <= Most
        && x.dtype is ScalarType.Float32 or ScalarType.BFloat16 && x.is_contiguous();

    /// <summary>x Φ(x), or with tanh in the place of the error function (arXiv 1606.08415), computed in float32.</summary>
    public static Tensor Gelu(Tensor x, bool tanh)
        => x.dtype == ScalarType.Float32 ? Gelu<float, Float32Format>(x, tanh) : Gelu<ushort, BFloat16Format>(x, tanh);

    private static Tensor Gelu<T, TFormat>(Tensor x, bool tanh)
        where T : unmanaged
        where TFormat : IRowFormat<T>
    {
        Tensor y = empty_like(x);
        int count = (int)x.numel(), width = Vector512<float>.Count, whole = (count + width - 1) / width * width;
        float[] buffer = ArrayPool<float>.Shared.Rent(whole);
        Span<float> numbers = buffer.AsSpan(0, whole);
        numbers[count..].Clear();
        StoredRows<T, TFormat>.Load(new TensorNumbers<T>(x).Slice(0, count), 1, numbers[..count]);
        for (int i = 0; i < whole; i += width)
        {
            Span<float> some = numbers.Slice(i, width);
            Vector512<float> of = Vector512.Create<float>(some);
            (tanh ? OfTanh(of) : OfErf(of)).CopyTo(some);
        }

        StoredRows<T, TFormat>.Store(numbers[..count], new TensorNumbers<T>(y).Slice(0, count));
        ArrayPool<float>.Shared.Return(buffer);
        GC.KeepAlive(x);
        return y;
    }

    // (1 + tanh u) / 2 is 1 / (1 + e^(-2u)), u = sqrt(2/π) (x + 0.044715 x³).
    private static Vector512<float> OfTanh(Vector512<float> x)
    {
        Vector512<float> twice = x * Vector512.Create((float)(2 * Math.Sqrt(2 / Math.PI))) * (Vector512<float>.One + (x * x * 0.044715f));
        return x / (Vector512<float>.One + Vector512.Exp(-twice));
    }

    // 1 - Φ(|x|) is half of (a1 t + ... + a5 t⁵) e^(-x²/2), t = 1 / (1 + p |x| / sqrt 2), within 1e-7 (Abramowitz and Stegun, 7.1.26).
    private static Vector512<float> OfErf(Vector512<float> x)
    {
        Vector512<float> t = Vector512<float>.One / (Vector512<float>.One + (Vector512.Abs(x) * (float)(0.3275911 * Math.Sqrt(0.5))));
        Vector512<float> polynomial = Vector512.Create(1.061405429f);
        foreach (float coefficient in (ReadOnlySpan<float>)[-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f])
        {
            polynomial = (polynomial * t) + Vector512.Create(coefficient);
        }

        Vector512<float> beyond = polynomial * t * Vector512.Exp(x * x * -0.5f) * 0.5f;
        return x * Vector512.ConditionalSelect(Vector512.LessThan(x, Vector512<float>.Zero), beyond, Vector512<float>.One - beyond);
    }
}
