using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>The types of values that both the safetensors format and tensors have.</summary>
internal static class SafetensorsTypes
{
    private static readonly (string Name, ScalarType Type)[] s_types =
    [
        ("F64", ScalarType.Float64), ("F32", ScalarType.Float32), ("F16", ScalarType.Float16), ("BF16", ScalarType.BFloat16),
        ("I64", ScalarType.Int64), ("I32", ScalarType.Int32), ("I16", ScalarType.Int16), ("I8", ScalarType.Int8), ("U8", ScalarType.Byte),
        ("BOOL", ScalarType.Bool),
    ];

    public static string Readable { get; } = string.Join(", ", s_types.Select(type => type.Name));

    public static ScalarType? ToScalarType(string name) => s_types.Where(type => type.Name == name).Select(type => (ScalarType?)type.Type).FirstOrDefault();

    public static string? ToName(ScalarType dtype) => s_types.Where(type => type.Type == dtype).Select(type => type.Name).FirstOrDefault();
}
