namespace Retro.Corpora;

/// <summary>What a reStructuredText file is called.</summary>
internal static class RestructuredText
{
    /// <summary>
    /// The first section's title: a line that is underlined, or over- and underlined, by one mark at least as long
    /// (https://docutils.sourceforge.io/docs/ref/rst/restructuredtext.html#sections); null where there is none.
    /// </summary>
    public static string? TitleOf(string text)
    {
        string before = "", line = "";
        foreach (ReadOnlySpan<char> next in text.AsSpan().EnumerateLines())
        {
            string under = next.TrimEnd().ToString();
            if (line.Trim() is { Length: > 0 } title
                && IsRule(under, line.Length)
                && !IsRule(line, 1)
                && (before.Length == 0 ? !char.IsWhiteSpace(line[0]) : before == under))
            {
                return title;
            }

            (before, line) = (line, under);
        }

        return null;
    }

    private static bool IsRule(string line, int length)
        => line.Length >= Math.Max(2, length) && char.IsAscii(line[0]) && (char.IsPunctuation(line[0]) || char.IsSymbol(line[0]))
            && !line.AsSpan().ContainsAnyExcept(line[0]);
}
