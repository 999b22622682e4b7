using Retro.Modeling;

namespace Retro.Checkpoints;

/// <summary>The names that transformers has for one and the same function.</summary>
internal static class ActivationNames
{
    /// <summary>GELU with the error function.</summary>
    public static readonly string[] Gelu = ["gelu", "gelu_python"];

    /// <summary>GELU in its tanh approximation: the forms differ in the order of their products alone.</summary>
    public static readonly string[] GeluTanh = ["gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python_tanh"];

    /// <summary>SiLU.</summary>
    public static readonly string[] Silu = ["silu", "swish"];

    /// <summary>ReLU.</summary>
    public static readonly string[] Relu = ["relu"];

    /// <summary>Names as a sentence lists them.</summary>
    public static string List(params IEnumerable<string>[] names) => string.Join(", ", names.SelectMany(group => group).Select(name => $"\"{name}\""));

    /// <summary>The kind of GELU that a name means; null where it means none.</summary>
    public static ActivationKind? GeluOf(string name)
        => Gelu.Contains(name, StringComparer.Ordinal) ? ActivationKind.Gelu : GeluTanh.Contains(name, StringComparer.Ordinal) ? ActivationKind.GeluTanh : null;
}
