using Retro.Modeling;

namespace Retro.Checkpoints;

/// <summary>The names that transformers has for one and the same function.</summary>
internal static class ActivationNames
{
    // The forms of GELU by tanh differ in the order of their products alone.
    private static readonly (ActivationKind Kind, string[] Names)[] s_all =
    [
        (ActivationKind.Gelu, ["gelu", "gelu_python"]),
        (ActivationKind.GeluTanh, ["gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python_tanh"]),
        (ActivationKind.Relu, ["relu"]),
        (ActivationKind.Silu, ["silu", "swish"]),
    ];

    /// <summary>The function that a configuration names.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="key">Where it does.</param>
    /// <param name="unsaid">The name where it does not.</param>
    /// <param name="kinds">Those that such a model may have.</param>
    /// <exception cref="CheckpointException">It is none of them.</exception>
    public static ActivationKind Read(StrictJson config, string key, string unsaid, params ActivationKind[] kinds)
    {
        string name = config.Text(key) ?? unsaid;
        (ActivationKind Kind, string[] Names)[] known = [.. s_all.Where(row => kinds.Contains(row.Kind))];
        int found = Array.FindIndex(known, row => row.Names.Contains(name, StringComparer.Ordinal));
        return found >= 0
            ? known[found].Kind
            : throw config.Unsupported(
                key, $"\"{name}\"", "one of " + string.Join(", ", known.SelectMany(row => row.Names).Select(one => $"\"{one}\"")));
    }

    /// <summary>The name that a function without a gate is written by.</summary>
    public static string NameOf(ActivationKind kind) => Array.Find(s_all, row => row.Kind == kind).Names[0];
}
