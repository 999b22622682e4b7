using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>
/// One argument of an operator. It holds the managed object, not its handle: a span of arguments lives on the caller's stack
/// for the whole call, so that nothing is collected under the native side's hands.
/// </summary>
internal readonly struct Arg
{
    public readonly object? Object;
    public readonly long Bits;
    public readonly Tag Tag;

    private Arg(Tag tag, object? value, long bits = 0)
    {
        Tag = tag;
        Object = value;
        Bits = bits;
    }

    /// <summary>The default of the operator's schema.</summary>
    public static Arg Default => default;

    public static Arg None => new(Tag.None, null);

    public static Arg MaybeTensors(Tensor?[] tensors) => new(Tag.MaybeTensors, tensors);

    public static implicit operator Arg(Tensor? tensor) => tensor is null ? None : new(Tag.Tensor, tensor);

    public static implicit operator Arg(Tensor[] tensors) => new(Tag.Tensors, tensors);

    public static implicit operator Arg(long value) => new(Tag.Int, null, value);

    public static implicit operator Arg(long? value) => value is long set ? set : None;

    public static implicit operator Arg(double value) => new(Tag.Double, null, BitConverter.DoubleToInt64Bits(value));

    public static implicit operator Arg(double? value) => value is double set ? set : None;

    public static implicit operator Arg(bool value) => new(Tag.Bool, null, value ? 1 : 0);

    public static implicit operator Arg(long[]? values) => values is null ? None : new(Tag.Ints, values);

    public static implicit operator Arg(ReadOnlySpan<long> values) => values.ToArray();

    public static implicit operator Arg(double[]? values) => values is null ? None : new(Tag.Doubles, values);

    public static implicit operator Arg(bool[] values) => new(Tag.Bools, values);

    public static implicit operator Arg(string text) => new(Tag.String, text);

    public static implicit operator Arg(Scalar? value) => value?.ToArg() ?? None;

    public static implicit operator Arg(ScalarType type) => (long)type;

    public static implicit operator Arg(ScalarType? type) => type is ScalarType set ? (long)set : None;

    public static implicit operator Arg(Device? device) => device is null ? None : new(Tag.Device, null, (long)device.type | ((long)device.index << 32));

    public static implicit operator Arg(Generator? generator) => generator is null ? None : new(Tag.Generator, generator);
}
