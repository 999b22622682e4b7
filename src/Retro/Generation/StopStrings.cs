using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>Finds stop strings in text that comes in pieces, and holds back what may become the beginning of one.</summary>
/// <param name="stops">The stop strings.</param>
/// <param name="skipsLeadingSpace">Whether white space in front of the text is left out, and ends nothing.</param>
internal sealed class StopStrings(IReadOnlyList<string> stops, bool skipsLeadingSpace = false)
{
    private readonly string[] _stops = [.. stops.Select(RetroTokenizer.WellFormed)];
    private string _held = "";
    private bool _begun = !skipsLeadingSpace;

    /// <summary>Whether a stop string has come; nothing is let through any more.</summary>
    public bool Found { get; private set; }

    /// <summary>Takes the next piece.</summary>
    /// <param name="piece">The piece.</param>
    /// <param name="ends">Whether a stop string that ends with this piece may end the text yet; if not, it is let through.</param>
    /// <returns>The text that is now known to come before any stop string.</returns>
    public string Add(string piece, bool ends = true)
    {
        if (Found)
        {
            return "";
        }

        int held = _held.Length;
        string text = _held + piece;
        _held = "";

        // A stop string has to end within this piece, since one that ended before it did not count, and behind the white space in front.
        int before = Math.Max(held, _begun ? 0 : text.Length - text.TrimStart().Length);
        int end = !ends ? -1 : _stops.Select(stop => text.IndexOf(stop, Math.Max(0, before + 1 - stop.Length), StringComparison.Ordinal))
            .Where(index => index >= 0).DefaultIfEmpty(-1).Min();
        Found = end >= 0;
        if (!Found)
        {
            end = text.Length - _stops.Select(stop => OpenLength(text, stop)).DefaultIfEmpty(0).Max();
            _held = text[end..];
        }

        return Let(text[..end]);
    }

    /// <summary>Ends the text.</summary>
    /// <returns>What was held back and turned out to be no stop string.</returns>
    public string Flush()
    {
        string rest = Found ? "" : _held;
        _held = "";
        return Let(rest);
    }

    /// <summary>Another of the same strings that goes on from here.</summary>
    public StopStrings Copy() => (StopStrings)MemberwiseClone();

    private string Let(string text)
    {
        text = _begun ? text : text.TrimStart();
        _begun |= text.Length > 0;
        return text;
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
