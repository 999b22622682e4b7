using System.Text.RegularExpressions;

namespace Retro.Corpora;

/// <summary>What a reStructuredText file is called.</summary>
internal static partial class RestructuredText
{
    // A line of marks that is shorter than the title is taken for one from here on, with a warning, as docutils does.
    private const int CertainRule = 4;

    // Longer lines are no titles; markup in them may take a time that grows with the square of their length.
    private const int LongestMarkup = 1 << 12;

    /// <summary>
    /// The first section's title as plain text: a line that is underlined, or over- and underlined, by one mark at least as long, or four
    /// (https://docutils.sourceforge.io/docs/ref/rst/restructuredtext.html#sections); null where there is none.
    /// </summary>
    public static string? TitleOf(string text)
    {
        string before = "", line = "";
        foreach (ReadOnlySpan<char> next in text.AsSpan().EnumerateLines())
        {
            string under = next.TrimEnd().ToString();
            if (line.Trim() is { Length: > 0 } title
                && IsRule(under, Math.Min(line.Length, CertainRule))
                && !IsRule(line, 1)
                && (EndsBlock(before) ? !char.IsWhiteSpace(line[0]) && !IsItem(line) && !Explicit().IsMatch(line) : before == under))
            {
                ILookup<string, string> replacements = Replacements().Matches(title.Contains('|', StringComparison.Ordinal) ? text : "")
                    .ToLookup(one => one.Groups["name"].Value, one => one.Groups["text"].Value.TrimEnd());
                return title.Length > LongestMarkup ? title : Markup().Replace(title, found => Shown(found, replacements));
            }

            (before, line) = (line, under);
        }

        return null;
    }

    /// <summary>The text of inline markup, as docutils shows it and Sphinx does what names an object of a program.</summary>
    private static string Shown(Match found, ILookup<string, string> replacements)
    {
        string text = found.Groups["text"].Value, role = found.Groups["role"].Value;
        return found.Groups["name"] is { Success: true } name ? replacements[name.Value].FirstOrDefault() ?? found.Value
            : found.Groups["target"].Success ? text
            : role.ToUpperInvariant() switch
            {
                "PEP" or "PEP-REFERENCE" => $"PEP {text}",
                "RFC" or "RFC-REFERENCE" => $"RFC {text}",
                _ when !ObjectRole().IsMatch(role) => text,
                _ when found.Groups["last"].Success => text[(text.LastIndexOf('.') + 1)..],
                _ => text.TrimStart('.'), // which say where it is looked for
            };
    }

    // What is indented ends where a line is not, and so does explicit markup.
    private static bool EndsBlock(string line) => line.Length == 0 || char.IsWhiteSpace(line[0]) || Explicit().IsMatch(line);

    private static bool IsItem(string line) => line.Length > 1 && line[0] is '-' or '*' or '+' && char.IsWhiteSpace(line[1]);

    private static bool IsRule(string line, int length)
        => line.Length >= Math.Max(1, length) && char.IsAscii(line[0]) && (char.IsPunctuation(line[0]) || char.IsSymbol(line[0]))
            && !line.AsSpan().ContainsAnyExcept(line[0]);

    /// <summary>The first line of a comment, directive or target, or of a field.</summary>
    [GeneratedRegex(@"\A(?:(?:\.\.|__)(?:\s|\z)|:(?![:\s])(?:[^:\\]|\\.|:(?![\s`]|\z))*(?<!\s):(?:\s|\z))")]
    private static partial Regex Explicit();

    /// <summary>
    /// Inline markup with its text: an escaped character; literal, strong or emphasized text; a target; a reference or role, with a target or without, of
    /// which a "~" asks for the last name alone; a substitution; a reference by name.
    /// </summary>
    [GeneratedRegex(
        """
        \\(?:\s|(?<text>.))
        | (?<![\w\\])
          (?: ``(?<text>\S(?:.*?\S)?)``
            | \*\*(?<text>\S(?:.*?\S)?)\*\*
            | \*(?<text>[^\s*](?:[^*]*?\S)?)\*
            | _`(?<text>[^\s`](?:[^`]*[^`\s])?)`
            | \[(?<text>[#*]?\w*)\]_
            | (?::(?<role>[\w.:+-]+):)?`(?:(?<last>~)|!)?(?<text>[^\s`](?:[^`<]*[^`<\s])?)(?<target>\s*<[^`>]*>)?`_{0,2}
            | \|(?<name>[^\s|](?:[^|]*[^\s|])?)\|_{0,2}
            | (?<text>[A-Za-z0-9](?:[-_.:+]?[A-Za-z0-9])*)__?)
          (?!\w)
        """,
        RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex Markup();

    [GeneratedRegex(@"\A(?:\w+:)*(?:attr|class|const|data|deco|exc|func|meth|mod|obj|type)\z")]
    private static partial Regex ObjectRole();

    [GeneratedRegex(@"^\.\.[ \t]+\|(?<name>[^|\n]+)\|[ \t]+replace::[ \t]*(?<text>\S[^\n]*)", RegexOptions.Multiline)]
    private static partial Regex Replacements();
}
