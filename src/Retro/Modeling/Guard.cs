using System.Runtime.CompilerServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Checks of what comes in at public entries.</summary>
internal static class Guard
{
    /// <summary>Checks rank and sizes; a null size is free.</summary>
    public static void Shape(
        Tensor tensor, string expected, ReadOnlySpan<long?> sizes, [CallerArgumentExpression(nameof(tensor))] string name = "")
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

    /// <summary>Checks the size of the last dimension.</summary>
    public static void Width(Tensor tensor, long width, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        ArgumentNullException.ThrowIfNull(tensor, name);
        if (tensor.dim() == 0 || tensor.size(-1) != width)
        {
            throw new ShapeException(name, $"[..., {width}]", tensor.shape);
        }
    }

    /// <summary>Checks the type.</summary>
    public static void Type(Tensor tensor, string name, ScalarType expected)
    {
        if (tensor.dtype != expected)
        {
            throw new ArgumentException($"Expected {name} of type {expected}, got {tensor.dtype}.", name);
        }
    }

    /// <summary>Checks the type, and that the tensor lies where the model does.</summary>
    public static void Type(Tensor tensor, string name, ScalarType expected, Device device)
    {
        Type(tensor, name, expected);
        if (tensor.device.type != device.type || tensor.device.index != device.index)
        {
            throw new ArgumentException($"The model is on {device}, but {name} is on {tensor.device}; move one to the other with to().", name);
        }
    }

    /// <summary>Checks that token ids lie in the vocabulary.</summary>
    public static void Ids(Tensor ids, string name, int vocabularySize)
    {
        if (ids.numel() == 0)
        {
            return;
        }

        using DisposeScope scope = NewDisposeScope();
        if (ids.Below(0).logical_or(ids.AtLeast(vocabularySize)).any().item<bool>())
        {
            long smallest = ids.min().item<long>(), largest = ids.max().item<long>();
            throw new ArgumentException(
                $"Token ids of {name} have to lie in [0, {vocabularySize}), the vocabulary; they reach from {smallest} to {largest}. Check that "
                    + "text was encoded with the model's tokenizer, and that padding is an id of the vocabulary.",
                name);
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
