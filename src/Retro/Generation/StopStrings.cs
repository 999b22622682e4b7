using System.Text;

namespace Retro.Generation;

/// <summary>Finds stop strings in text that comes in pieces, and holds back what may become the beginning of one.</summary>
internal sealed class StopStrings(IReadOnlyList<string> stops)
{
    private readonly StringBuilder _held = new();

    /// <summary>Whether a stop string has come; nothing is let through any more.</summary>
    public bool Found { get; private set; }

    /// <summary>Takes the next piece.</summary>
    /// <returns>The text that is now known to come before any stop string.</returns>
    public string Add(string piece)
    {
        if (Found || stops.Count == 0)
        {
            return Found ? "" : piece;
        }

        string text = _held.Append(piece).ToString();
        _held.Clear();
        int end = stops.Select(stop => text.IndexOf(stop, StringComparison.Ordinal)).Where(index => index >= 0).DefaultIfEmpty(-1).Min();
        if (end >= 0)
        {
            Found = true;
            return text[..end];
        }

        int safe = text.Length - stops.Max(stop => OpenLength(text, stop));
        _held.Append(text, safe, text.Length - safe);
        return text[..safe];
    }

    /// <summary>Ends the text.</summary>
    /// <returns>What was held back and turned out to be no stop string.</returns>
    public string Flush()
    {
        string rest = Found ? "" : _held.ToString();
        _held.Clear();
        return rest;
    }

    /// <summary>Length of the longest end of the text that begins a stop string.</summary>
    private static int OpenLength(string text, string stop)
    {
        int length = Math.Min(text.Length, stop.Length - 1);
        while (length > 0 && string.CompareOrdinal(text, text.Length - length, stop, 0, length) != 0)
        {
            length--;
        }

        return length;
    }
}
