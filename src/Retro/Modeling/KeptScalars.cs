using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Arithmetic with numbers and sums, whose native scalars live until the call is over.</summary>
/// <remarks>
/// TorchSharp hands the address of a <see cref="Scalar"/> to native code without keeping the object alive, and makes one that nobody sees for x + y, x * 0.5
/// and the like (its alpha of 1): a collection that another thread causes during the call frees it under the reader. Here each one is static, or disposed after
/// the call. The forms that are not safe are listed in eng/BannedSymbols.txt; the build refuses them.
/// </remarks>
internal static class KeptScalars
{
    /// <summary>0.</summary>
    public static readonly Scalar Zero = 0.ToScalar();

    /// <summary>1.</summary>
    public static readonly Scalar One = 1.ToScalar();

    /// <summary>true.</summary>
    public static readonly Scalar True = true.ToScalar();

    /// <summary>false.</summary>
    public static readonly Scalar False = false.ToScalar();

    /// <summary><see cref="LogLikelihood.NoTarget"/>.</summary>
    public static readonly Scalar NoTarget = LogLikelihood.NoTarget.ToScalar();

    /// <summary>x + y.</summary>
    public static Tensor Plus(this Tensor x, Tensor y) => x.add(y, One);

    /// <summary>x + value.</summary>
    public static Tensor Plus(this Tensor x, double value)
    {
        using Scalar kept = value.ToScalar();
        return x.add(kept, One);
    }

    /// <summary>x + value; whole numbers stay whole.</summary>
    public static Tensor Plus(this Tensor x, long value)
    {
        using Scalar kept = value.ToScalar();
        return x.add(kept, One);
    }

    /// <summary>x ← x + y.</summary>
    public static Tensor AddInPlace(this Tensor x, Tensor y) => x.add_(y, One);

    /// <summary>x · value.</summary>
    public static Tensor Times(this Tensor x, double value)
    {
        using Scalar kept = value.ToScalar();
        return x.mul(kept);
    }

    /// <summary>x / value.</summary>
    public static Tensor Over(this Tensor x, double value)
    {
        using Scalar kept = value.ToScalar();
        return x.div(kept);
    }

    /// <summary>x modulo value, of whole numbers.</summary>
    public static Tensor Modulo(this Tensor x, long value)
    {
        using Scalar kept = value.ToScalar();
        return x.remainder(kept);
    }

    /// <summary>Where x &lt; value.</summary>
    public static Tensor Below(this Tensor x, long value)
    {
        using Scalar kept = value.ToScalar();
        return x.lt(kept);
    }

    /// <summary>Where x ≥ value.</summary>
    public static Tensor AtLeast(this Tensor x, long value)
    {
        using Scalar kept = value.ToScalar();
        return x.ge(kept);
    }

    /// <summary>x, and the value where the mask is true.</summary>
    public static Tensor FilledWhere(this Tensor x, Tensor mask, double value)
    {
        using Scalar kept = value.ToScalar();
        return x.masked_fill(mask, kept);
    }

    /// <summary>x of whole numbers, and the value where the mask is true.</summary>
    public static Tensor FilledWhere(this Tensor x, Tensor mask, long value)
    {
        using Scalar kept = value.ToScalar();
        return x.masked_fill(mask, kept);
    }

    /// <summary>A tensor that holds one value everywhere.</summary>
    public static Tensor Filled(long[] shape, double value, ScalarType dtype, Device device)
    {
        using Scalar kept = value.ToScalar();
        return full(shape, kept, dtype, device);
    }

    /// <summary>The whole numbers from 0 up to, not including, <paramref name="end"/>.</summary>
    public static Tensor Range(long end, ScalarType dtype, Device device) => Range(0, end, 1, dtype, device);

    /// <summary>The whole numbers from <paramref name="start"/> up or down to, not including, <paramref name="end"/>.</summary>
    public static Tensor Range(long start, long end, long step, ScalarType dtype, Device device)
    {
        using Scalar first = start.ToScalar(), last = end.ToScalar(), distance = step.ToScalar();
        return arange(first, last, distance, dtype, device);
    }

    /// <summary>
    /// A few of the host's numbers on a device. They are handed over as they are, so that nobody waits for what the device has still to compute.
    /// </summary>
    public static Tensor Numbers(double[] values, Device device) => Handed(tensor(values, device: CPU), device);

    /// <summary>The same of whole numbers.</summary>
    public static Tensor Numbers(long[] values, Device device) => Handed(tensor(values, device: CPU), device);

    private static Tensor Handed(Tensor own, Device device)
        => device.type == DeviceType.CPU ? own : own.to(device, disposeAfter: true, non_blocking: true);

    /// <summary>All values that x holds, of whatever type, in single precision. What it makes on the way is left to the caller's scope.</summary>
    public static float[] Floats(this Tensor x)
    {
        float[] values = [];
        x.Floats(ref values);
        return values;
    }

    /// <summary>As <see cref="Floats(Tensor)"/>, in memory that is kept between calls, and made anew where it is too small.</summary>
    public static Memory<float> Floats(this Tensor x, ref float[] room)
    {
        Tensor flat = x.detach().to_type(ScalarType.Float32).cpu().reshape(-1).contiguous();
        ReadOnlySpan<float> read = MemoryMarshal.Cast<byte, float>(flat.bytes);
        room = room.Length < read.Length ? new float[read.Length] : room;
        read.CopyTo(room);
        return room.AsMemory(0, read.Length);
    }

    /// <summary>All values that x holds, of whatever type, in double precision.</summary>
    public static double[] Doubles(this Tensor x) => x.detach().to_type(ScalarType.Float64).cpu().reshape(-1).data<double>().ToArray();

    /// <summary>The one value that x holds, of whatever type.</summary>
    public static double Value(this Tensor x)
    {
        using Scalar kept = x.ToScalar();
        return kept.ToDouble();
    }
}
