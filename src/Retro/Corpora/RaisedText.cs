using System.Text;

namespace Retro.Corpora;

/// <summary>
/// What stands above or below the line, in text that has one line: 10² and CO₂, or as TeX writes it, 10^{x} and x_{max}, so that a base and what is beside it
/// do not become one number or word.
/// </summary>
/// <param name="text">What is written to.</param>
internal sealed class RaisedText(StringBuilder text)
{
    // Longer ones are small print.
    private const int Longest = 100;

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

    /// <summary>Marks the end of a text from a place on.</summary>
    public static void Mark(StringBuilder text, int start, bool isAbove)
    {
        int length = text.Length - start;
        if (length is > 0 and <= Longest && text.ToString(start, length) is var words && words.Trim() is { Length: > 0 } trimmed)
        {
            bool isBehind = start > 0 && (char.IsLetterOrDigit(text[start - 1]) || text[start - 1] is ')' or ']' or '}') && !char.IsWhiteSpace(words[0]);
            text.Length = start;
            text.Append(words.Replace(trimmed, Marked(trimmed, isAbove, isBehind), StringComparison.Ordinal));
        }
    }

    /// <summary>Words that stand above or below: numbers with their signs anywhere, others directly behind what they belong to.</summary>
    public static string Marked(string words, bool isAbove, bool isBehind = true)
        => words.All(character => char.IsWhiteSpace(character) || Plain.Contains(character, StringComparison.Ordinal))
            ? string.Concat(words.Select(character => Plain.IndexOf(character, StringComparison.Ordinal) is >= 0 and var place
                ? (isAbove ? Above : Below)[place]
                : character))
            : isBehind && words.Any(char.IsLetterOrDigit) && !words.Contains('\n', StringComparison.Ordinal) && !IsPlain(words)
            ? $"{(isAbove ? '^' : '_')}{{{words}}}"
            : words;

    // Ends of ordinals in English and French, and notes [a].
    private static bool IsPlain(string words) => words is "st" or "nd" or "rd" or "th" or "er" or "re" or ['[', ..];
}
