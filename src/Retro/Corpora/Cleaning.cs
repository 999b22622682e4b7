using System.Text;

namespace Retro.Corpora;

/// <summary>What is done to every text, and to text that was marked up.</summary>
internal static class Cleaning
{
    /// <summary>Stands for a space that is kept until white space has been collapsed; a private use character that no text is expected to hold.</summary>
    public const char KeptSpace = '\uE000';

    /// <summary>Newlines become '\n', a byte order mark goes, and white space at both ends.</summary>
    public static string Clean(string text)
    {
        if (text.Contains('\r', StringComparison.Ordinal))
        {
            text = text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        }

        return text.Trim('\uFEFF').Trim();
    }

    /// <summary>Text of which white space means nothing but where a '\n' parts two lines: runs become one space, empty lines go.</summary>
    public static string Collapse(string text)
    {
        StringBuilder collapsed = new(text.Length);
        foreach (Range range in text.AsSpan().Split('\n'))
        {
            bool begun = false;
            foreach (string word in text[range].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
            {
                collapsed.Append(begun ? " " : collapsed.Length > 0 ? "\n" : "").Append(word.Replace(KeptSpace, ' '));
                begun = true;
            }
        }

        return collapsed.ToString();
    }
}
