using System.Text;
using System.Text.RegularExpressions;

namespace Retro.Corpora;

/// <summary>
/// What stands above or below the line, in text that has one line: 10² and CO₂, or as TeX writes it, 10^{x} and x_{max}, so that a base and what is beside it
/// do not become one number or word.
/// </summary>
/// <param name="text">What is written to.</param>
internal sealed partial class RaisedText(StringBuilder text)
{
    // Longer ones are small print, and so are longer numbers that stand by themselves; those of ¹⁴C and of notes do so, too.
    private const int Longest = 100;
    private const int LongestNumberAlone = 3;

    // The longest Roman numeral has 15 letters.
    private const int LongestBefore = 16;

    // Unicode has more of them, but of letters only some: x with "max" below it would look other than with "min".
    private const string Plain = "0123456789+-\u2212\u2013=()";
    private const string Above = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾";
    private const string Below = "₀₁₂₃₄₅₆₇₈₉₊₋₋₋₌₍₎";

    private readonly Stack<(bool IsAbove, int Start)> _open = [];

    /// <summary>What is written from here on, or was since then, stands above or below; an end of what is not open last is passed over.</summary>
    public void Tag(bool isAbove, bool begins)
    {
        if (begins)
        {
            _open.Push((isAbove, text.Length));
        }
        else if (_open.TryPeek(out (bool IsAbove, int Start) open) && open.IsAbove == isAbove)
        {
            Mark(text, _open.Pop().Start, isAbove);
        }
    }

    /// <summary>What has begun and not ended stays as it is.</summary>
    public void Clear() => _open.Clear();

    /// <summary>Marks the end of a text of prose from a place on: numbers, and what else stands directly behind what it belongs to.</summary>
    public static void Mark(StringBuilder text, int start, bool isAbove)
    {
        int length = text.Length - start, earlier = Math.Max(0, start - LongestBefore);
        string words = length is > 0 and <= Longest ? text.ToString(start, length) : "", trimmed = words.Trim();
        if (trimmed.Length == 0)
        {
            return;
        }

        string before = text.ToString(earlier, start - earlier);
        char last = before.Length > 0 && !char.IsWhiteSpace(words[0]) ? before[^1] : ' ';
        if (trimmed.All(IsPlain)
            ? trimmed.Length <= LongestNumberAlone || !char.IsWhiteSpace(last)
            : (char.IsLetterOrDigit(last) || last is ')' or ']' or '}') && !(isAbove && Ending().IsMatch($"{before}\n{trimmed}")))
        {
            text.Length = start;
            text.Append(words.Replace(trimmed, Marked(trimmed, isAbove), StringComparison.Ordinal));
        }
    }

    /// <summary>What stands above or below in a formula; signs other than those of numbers, such as accents, stay as they are.</summary>
    public static string Marked(string words, bool isAbove)
        => words.All(IsPlain)
            ? string.Concat(words.Select(character => Plain.IndexOf(character, StringComparison.Ordinal) is >= 0 and var place
                ? (isAbove ? Above : Below)[place]
                : character))
            : words.Any(char.IsLetterOrDigit) && !words.Contains('\n', StringComparison.Ordinal)
            ? $"{(isAbove ? '^' : '_')}{{{words}}}"
            : words;

    private static bool IsPlain(char character) => char.IsWhiteSpace(character) || Plain.Contains(character, StringComparison.Ordinal);

    /// <summary>
    /// Behind what stands before and an end of line: a note [a], or how ordinals and abbreviations end in English, French and Dutch. An e or o is such an end
    /// behind a number alone (XIXe, but x^{e}), or in no (numéro); a d is more often an exponent (2^{d}).
    /// </summary>
    [GeneratedRegex(
        """
        \n (?: \[.* | (?i: st|nds?|rd|th | ers?|es|res?|ères?|i?[eè]mes?|nde|de|ste | mes?|lles?|le|gr|ie|os | tm|sm ) ) \z
        | (?: \d | \b[IVXLCDM]+ ) \n[eo]\z
        | \b[nN]\no\z
        """,
        RegexOptions.IgnorePatternWhitespace | RegexOptions.CultureInvariant)]
    private static partial Regex Ending();
}
