using System.Runtime.Intrinsics;

namespace Retro.Modeling;

/// <summary>The non-linearity of as few numbers as a decoded token has: libtorch's wakes all threads for however few.</summary>
internal static class TokenActivation
{
    /// <summary>Puts activation(x) into the place of x: of gated kinds, what the gate's branch goes through.</summary>
    public static void Apply(ActivationKind kind, Span<float> numbers)
    {
        int width = Vector512<float>.Count, whole = numbers.Length / width * width;
        for (int i = 0; i < whole; i += width)
        {
            Span<float> some = numbers.Slice(i, width);
            Of(kind, Vector512.Create<float>(some)).CopyTo(some);
        }

        if (whole < numbers.Length)
        {
            Span<float> last = stackalloc float[width];
            numbers[whole..].CopyTo(last);
            Of(kind, Vector512.Create<float>(last)).CopyTo(last);
            last[..(numbers.Length - whole)].CopyTo(numbers[whole..]);
        }
    }

    // x Φ(x), or with tanh in the place of the error function (arXiv 1606.08415), or max(x, 0), or x / (1 + e^(-x)).
    private static Vector512<float> Of(ActivationKind kind, Vector512<float> x) => kind switch
    {
        ActivationKind.GeluTanh or ActivationKind.GeGluTanh => OfTanh(x),
        ActivationKind.Relu => Vector512.Max(x, Vector512<float>.Zero),
        ActivationKind.Silu or ActivationKind.SwiGlu => x / (Vector512<float>.One + Vector512.Exp(-x)),
        _ => OfErf(x),
    };

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
