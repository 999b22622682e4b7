using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Retro.Database;

/// <summary>
/// A share of a stage's work, for several machines on one storage: the <c>i</c>-th of <c>n</c>, counted from 1 and written "3/8", as a scheduler numbers the
/// jobs of an array or MPI its ranks. The default is the whole, "1/1".
/// </summary>
public readonly record struct WorkShare
{
    // What the default leaves at 0.
    private readonly int _before;
    private readonly int _others;

    /// <summary>Creates a share.</summary>
    /// <param name="index">Which one, from 1 to <paramref name="count"/>.</param>
    /// <param name="count">Of how many.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such share.</exception>
    public WorkShare(int index, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        if (index < 1 || index > count)
        {
            throw new ArgumentOutOfRangeException(nameof(index), index, $"The shares of {count} are numbered 1 to {count}.");
        }

        (_before, _others) = (index - 1, count - 1);
    }

    /// <summary>Which share, from 1.</summary>
    public int Index => _before + 1;

    /// <summary>Of how many.</summary>
    public int Count => _others + 1;

    /// <summary>Reads a share as it is written: "3/8".</summary>
    /// <param name="text">The text.</param>
    /// <param name="share">The share.</param>
    /// <returns>Whether it is one.</returns>
    public static bool TryParse([NotNullWhen(true)] string? text, out WorkShare share)
    {
        share = default;
        if (text?.Split('/') is not [string before, string behind]
            || !int.TryParse(before, NumberStyles.None, CultureInfo.InvariantCulture, out int index)
            || !int.TryParse(behind, NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            || index < 1
            || index > count)
        {
            return false;
        }

        share = new(index, count);
        return true;
    }

    /// <summary>Reads a share as it is written: "3/8".</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="FormatException">It is none.</exception>
    public static WorkShare Parse(string text)
        => TryParse(text, out WorkShare share) ? share : throw new FormatException($"Expected a share as \"3/8\", from 1/n to n/n, got \"{text}\".");

    /// <summary>The share as it is written: "3/8".</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Index}/{Count}");

    /// <summary>The parts that belong to it, of parts that all shares together divide evenly: the first, and the one after the last.</summary>
    internal (long First, long End) Of(long parts) => ((long)((Int128)parts * _before / Count), (long)((Int128)parts * Index / Count));
}
