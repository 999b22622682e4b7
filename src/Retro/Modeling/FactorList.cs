using System.Collections;
using System.Globalization;
using System.Runtime.CompilerServices;

namespace Retro.Modeling;

/// <summary>An immutable list of numbers; equal when it holds the same ones in the same order. Written as <c>[1, 1.25, 2]</c>.</summary>
[CollectionBuilder(typeof(FactorList), nameof(Create))]
public sealed class FactorList : IReadOnlyList<double>, IEquatable<FactorList>
{
    private readonly double[] _factors;

    private FactorList(double[] factors) => _factors = factors;

    /// <summary>The list without numbers.</summary>
    public static FactorList Empty { get; } = new([]);

    /// <summary>How many numbers the list holds.</summary>
    public int Count => _factors.Length;

    /// <summary>The number at a place in the list.</summary>
    /// <param name="index">Place in the list, from 0.</param>
    public double this[int index] => _factors[index];

    /// <summary>Makes a list of a copy of the numbers.</summary>
    /// <param name="factors">The numbers.</param>
    public static FactorList Create(ReadOnlySpan<double> factors) => new(factors.ToArray());

    /// <inheritdoc/>
    public bool Equals(FactorList? other) => other is not null && _factors.AsSpan().SequenceEqual(other._factors);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as FactorList);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        HashCode hash = default;
        foreach (double factor in _factors)
        {
            hash.Add(factor);
        }

        return hash.ToHashCode();
    }

    /// <inheritdoc/>
    public override string ToString() => $"[{string.Join(", ", _factors.Select(factor => factor.ToString(CultureInfo.InvariantCulture)))}]";

    /// <inheritdoc/>
    public IEnumerator<double> GetEnumerator() => ((IEnumerable<double>)_factors).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
