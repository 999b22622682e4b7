using TorchSharp.Interop;
using static TorchSharp.torch;

namespace TorchSharp;

/// <summary>A number with its type, as operators take them.</summary>
public sealed class Scalar : IDisposable
{
    private readonly double real;
    private readonly long whole;

    private Scalar(ScalarType type, double real, long whole)
    {
        Type = type;
        this.real = real;
        this.whole = whole;
    }

    public ScalarType Type { get; }

    internal double Real => IsWhole ? whole : real;

    internal long Whole => IsWhole ? whole : (long)real;

    private bool IsWhole => Type is ScalarType.Byte or ScalarType.Int8 or ScalarType.Int16 or ScalarType.Int32 or ScalarType.Int64 or ScalarType.Bool;

    public static implicit operator Scalar(byte value) => new(ScalarType.Byte, 0, value);

    public static implicit operator Scalar(sbyte value) => new(ScalarType.Int8, 0, value);

    public static implicit operator Scalar(short value) => new(ScalarType.Int16, 0, value);

    public static implicit operator Scalar(int value) => new(ScalarType.Int32, 0, value);

    public static implicit operator Scalar(long value) => new(ScalarType.Int64, 0, value);

    public static implicit operator Scalar(Half value) => new(ScalarType.Float16, (double)value, 0);

    public static implicit operator Scalar(float value) => new(ScalarType.Float32, value, 0);

    public static implicit operator Scalar(double value) => new(ScalarType.Float64, value, 0);

    public static implicit operator Scalar(bool value) => new(ScalarType.Bool, 0, value ? 1 : 0);

    // The value lives here; the original's lives in libtorch.
    public void Dispose()
    {
    }

    internal static Scalar BFloat16(float value) => new(ScalarType.BFloat16, (float)value, 0);

    // The casts keep whole numbers whole: without one the two branches would meet as doubles.
    internal Arg ToArg() => Type == ScalarType.Bool ? whole != 0 : IsWhole ? (Arg)whole : (Arg)real;
}
