using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Checks of what comes in at public entries.</summary>
internal static class Guard
{
    /// <summary>Checks rank and sizes; a null size is free.</summary>
    public static void Shape(Tensor tensor, string expected, params ReadOnlySpan<long?> sizes)
        => Shape(tensor, "x", expected, sizes);

    /// <summary>Checks rank and sizes; a null size is free.</summary>
    public static void Shape(Tensor tensor, string name, string expected, ReadOnlySpan<long?> sizes)
    {
        ArgumentNullException.ThrowIfNull(tensor, name);
        long[] shape = tensor.shape;
        bool fits = shape.Length == sizes.Length;
        for (int i = 0; fits && i < sizes.Length; i++)
        {
            fits = sizes[i] is not long size || shape[i] == size;
        }

        if (!fits)
        {
            throw new ShapeException(name, $"{expected} = [{Sizes(sizes)}]", shape);
        }
    }

    private static string Sizes(ReadOnlySpan<long?> sizes)
    {
        string[] texts = new string[sizes.Length];
        for (int i = 0; i < sizes.Length; i++)
        {
            texts[i] = sizes[i]?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "any";
        }

        return string.Join(", ", texts);
    }
}
