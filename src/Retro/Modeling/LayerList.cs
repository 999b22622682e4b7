using System.Collections;
using System.Runtime.CompilerServices;

namespace Retro.Modeling;

/// <summary>
/// An immutable list of layer numbers, counted from 1 as in the paper; equal when it holds the same numbers in the same order. Written as <c>[6, 9, 12]</c>.
/// </summary>
[CollectionBuilder(typeof(LayerList), nameof(Create))]
public sealed class LayerList : IReadOnlyList<int>, IEquatable<LayerList>
{
    private readonly int[] _layers;

    private LayerList(int[] layers) => _layers = layers;

    /// <summary>The list without layers.</summary>
    public static LayerList Empty { get; } = new([]);

    /// <summary>How many layers the list holds.</summary>
    public int Count => _layers.Length;

    /// <summary>The layer number at a place in the list.</summary>
    /// <param name="index">Place in the list, from 0.</param>
    public int this[int index] => _layers[index];

    /// <summary>Makes a list of a copy of the numbers.</summary>
    /// <param name="layers">Layer numbers, from 1.</param>
    public static LayerList Create(ReadOnlySpan<int> layers) => new(layers.ToArray());

    /// <summary>
    /// The layers <paramref name="first"/>, <paramref name="first"/> + <paramref name="step"/>, ... up to <paramref name="last"/>; the paper's "every third
    /// from 6" is <c>Every(6, 3, layers)</c>.
    /// </summary>
    /// <param name="first">First layer, from 1.</param>
    /// <param name="step">Distance of two layers, at least 1.</param>
    /// <param name="last">No layer after this one.</param>
    public static LayerList Every(int first, int step, int last)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(first);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(step);
        List<int> layers = [];
        for (int layer = first; layer <= last; layer += step)
        {
            layers.Add(layer);
        }

        return new([.. layers]);
    }

    /// <summary>Makes a list of a copy of the numbers.</summary>
    /// <param name="layers">Layer numbers, from 1.</param>
    public static implicit operator LayerList(int[] layers)
    {
        ArgumentNullException.ThrowIfNull(layers);
        return new((int[])layers.Clone());
    }

    /// <summary>Whether a layer is in the list.</summary>
    /// <param name="layer">Layer number, from 1.</param>
    public bool Contains(int layer) => Array.IndexOf(_layers, layer) >= 0;

    /// <inheritdoc/>
    public bool Equals(LayerList? other) => other is not null && _layers.AsSpan().SequenceEqual(other._layers);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as LayerList);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        HashCode hash = default;
        foreach (int layer in _layers)
        {
            hash.Add(layer);
        }

        return hash.ToHashCode();
    }

    /// <inheritdoc/>
    public override string ToString() => $"[{string.Join(", ", _layers)}]";

    /// <inheritdoc/>
    public IEnumerator<int> GetEnumerator() => ((IEnumerable<int>)_layers).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
