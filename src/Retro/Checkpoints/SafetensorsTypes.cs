using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>The types of values that both the safetensors format and tensors have.</summary>
internal static class SafetensorsTypes
{
    // In the order in which the original library writes them.
    private static readonly (string Name, ScalarType Type)[] s_types =
    [
        ("I64", ScalarType.Int64), ("F64", ScalarType.Float64), ("F32", ScalarType.Float32), ("I32", ScalarType.Int32), ("BF16", ScalarType.BFloat16),
        ("F16", ScalarType.Float16), ("I16", ScalarType.Int16), ("I8", ScalarType.Int8), ("U8", ScalarType.Byte), ("BOOL", ScalarType.Bool),
    ];

    public static string Readable { get; } = string.Join(", ", s_types.Select(type => type.Name));

    /// <summary>Where tensors of a type stand in a file.</summary>
    public static int Place(string name) => Array.FindIndex(s_types, type => type.Name == name);

    public static ScalarType? ToScalarType(string name) => s_types.Where(type => type.Name == name).Select(type => (ScalarType?)type.Type).FirstOrDefault();

    public static string? ToName(ScalarType dtype) => s_types.Where(type => type.Type == dtype).Select(type => type.Name).FirstOrDefault();
}
