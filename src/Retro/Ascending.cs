using System.Numerics;

namespace Retro;

/// <summary>Searches among values that ascend.</summary>
internal static class Ascending
{
    /// <summary>The place of the last value that is at most another; -1 where all are greater.</summary>
    /// <param name="values">The values; some may be equal.</param>
    /// <param name="value">The other.</param>
    public static int LastAtMost<T>(ReadOnlySpan<T> values, T value)
        where T : IComparisonOperators<T, T, bool>
    {
        int low = 0, high = values.Length;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            (low, high) = values[middle] <= value ? (middle + 1, high) : (low, middle);
        }

        return low - 1;
    }
}
