using System.Text;

namespace Retro.Corpora;

/// <summary>What is done to every text, and to text that was marked up.</summary>
internal static class Cleaning
{
    // Stand for white space that is kept while other is collapsed: characters that Unicode keeps for such uses and no text holds (23.7, "Noncharacters").
    private const char KeptSpace = '\uFDD0', KeptTab = '\uFDD1', KeptLine = '\uFDD2';

    /// <summary>Newlines become '\n', and a byte order mark goes.</summary>
    public static string Lines(string text) => text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n').Trim('\uFEFF');

    /// <summary>Newlines become '\n', a byte order mark goes, and white space at both ends.</summary>
    public static string Clean(string text) => Lines(text).Trim();

    /// <summary>A title in one line: runs of white space and control characters become one space, and go at both ends; null where nothing is left.</summary>
    public static string? Title(string? title)
    {
        string plain = string.Create(title?.Length ?? 0, title, (line, from) =>
        {
            for (int i = 0; i < line.Length; i++)
            {
                line[i] = char.IsControl(from![i]) || from[i] is KeptSpace or KeptTab or KeptLine ? ' ' : from[i];
            }
        });
        return string.Join(' ', plain.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)) is { Length: > 0 } words ? words : null;
    }

    /// <summary>The title of a document, in one line, or what it is called otherwise.</summary>
    public static string Title(string? title, string otherwise) => Title(title) ?? Title(otherwise) ?? otherwise;

    /// <summary>Text of which <see cref="Collapse"/> keeps spaces, tabs and lines as they are, but for what is empty at its ends.</summary>
    public static string Keep(string text)
        => text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', KeptLine).Replace('\n', KeptLine)
            .Replace(' ', KeptSpace).Replace('\u00A0', KeptSpace).Replace('\t', KeptTab);

    /// <summary>Text of which white space means nothing but where a '\n' parts two lines: runs become one space, empty lines go.</summary>
    public static string Collapse(string text)
    {
        StringBuilder collapsed = new(text.Length);
        foreach (Range range in text.AsSpan().Split('\n'))
        {
            if (Kept(string.Join(' ', text[range].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))) is { Length: > 0 } line)
            {
                collapsed.Append(collapsed.Length > 0 ? "\n" : "").Append(line);
            }
        }

        return collapsed.ToString();
    }

    private static string Kept(string line)
    {
        ReadOnlySpan<char> kept = [KeptSpace, KeptTab, KeptLine];
        int first = line.AsSpan().IndexOfAnyExcept(kept);
        if (first < 0 || !line.AsSpan().ContainsAny(kept))
        {
            return first < 0 ? "" : line;
        }

        int begin = line.AsSpan(0, first).LastIndexOf(KeptLine) + 1;
        return line[begin..].TrimEnd(KeptSpace, KeptTab, KeptLine).Replace(KeptSpace, ' ').Replace(KeptTab, '\t').Replace(KeptLine, '\n');
    }
}
