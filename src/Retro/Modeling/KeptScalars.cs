using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Arithmetic with numbers and sums, whose native scalars live until the call is over.</summary>
/// <remarks>
/// TorchSharp hands the address of a <see cref="Scalar"/> to native code without keeping the object alive, and makes one that nobody sees for x + y, x * 0.5 and the like (its alpha of 1):
/// a collection that another thread causes during the call frees it under the reader. Here each one is static, or disposed after the call.
/// </remarks>
internal static class KeptScalars
{
    /// <summary>1.</summary>
    public static readonly Scalar One = 1.ToScalar();

    /// <summary>x + y.</summary>
    public static Tensor Plus(this Tensor x, Tensor y) => x.add(y, One);

    /// <summary>x + value.</summary>
    public static Tensor Plus(this Tensor x, double value)
    {
        using Scalar kept = value.ToScalar();
        return x.add(kept, One);
    }

    /// <summary>x · value.</summary>
    public static Tensor Times(this Tensor x, double value)
    {
        using Scalar kept = value.ToScalar();
        return x.mul(kept);
    }
}
