using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Retro.Embedders;

namespace Retro.Answering;

/// <summary>
/// Whether an answer is the right one, as SQuAD's evaluation script has it (Rajpurkar and others, arXiv 1606.05250, section 4.1, evaluate-v1.1.py): in lower
/// case, without ASCII punctuation, without the articles a, an and the, and with single spaces; of several right answers the best counts.
/// </summary>
public static partial class AnswerMatch
{
    /// <summary>An answer as it is compared.</summary>
    /// <param name="answer">Any text.</param>
    /// <returns>Its words, with single spaces between them; empty where nothing is left.</returns>
    public static string Normalize(string answer)
    {
        ArgumentNullException.ThrowIfNull(answer);
        string plain = string.Concat(LowerCasing.Of(answer).Where(one => !(char.IsAscii(one) && (char.IsPunctuation(one) || char.IsSymbol(one)))));
        string words = Article().Replace(plain, found => IsWithinWord(plain, found) ? found.Value : " ");
        return string.Join(' ', Space().Split(words).Where(word => word.Length > 0));
    }

    /// <summary>Whether an answer is one of the right ones.</summary>
    /// <param name="answer">The answer.</param>
    /// <param name="right">The right ones.</param>
    /// <returns>1 or 0, of which the mean over questions is the exact match, EM.</returns>
    public static double Exact(string answer, IEnumerable<string> right)
    {
        ArgumentNullException.ThrowIfNull(right);
        string given = Normalize(answer);
        return right.Any(one => Normalize(one) == given) ? 1 : 0;
    }

    /// <summary>
    /// The harmonic mean of the share of the answer's words that stand in a right one, and of the right one's that stand in the answer, each word as often as
    /// it stands in both; the best over the right ones. Where one of two has no words left, 1 if neither has (as in version 2.0 of the script) and else 0.
    /// </summary>
    /// <param name="answer">The answer.</param>
    /// <param name="right">The right ones.</param>
    /// <returns>From 0 to 1.</returns>
    public static double F1(string answer, IEnumerable<string> right)
    {
        ArgumentNullException.ThrowIfNull(right);
        string[] given = Words(answer);
        return right.Select(one => F1(given, Words(one))).DefaultIfEmpty(0).Max();
    }

    private static double F1(string[] given, string[] right)
    {
        if (given.Length == 0 || right.Length == 0)
        {
            return given.Length == right.Length ? 1 : 0;
        }

        Dictionary<string, int> left = right.CountBy(word => word).ToDictionary();
        int common = given.Count(word => left.TryGetValue(word, out int count) && (left[word] = count - 1) >= 0);
        return common == 0 ? 0 : 2.0 * common / (given.Length + right.Length);
    }

    /// <summary>Whether a letter or a number stands beside what was found that takes two units, of which expressions see each by itself.</summary>
    private static bool IsWithinWord(string text, Match found)
    {
        Rune.DecodeLastFromUtf16(text.AsSpan(0, found.Index), out Rune before, out _);
        Rune.DecodeFromUtf16(text.AsSpan(found.Index + found.Length), out Rune after, out _);
        return IsOfWord(before) || IsOfWord(after);

        static bool IsOfWord(Rune rune) => Rune.GetUnicodeCategory(rune)
            is <= UnicodeCategory.OtherLetter or (>= UnicodeCategory.DecimalDigitNumber and <= UnicodeCategory.OtherNumber);
    }

    private static string[] Words(string answer) => Normalize(answer).Split(' ', StringSplitOptions.RemoveEmptyEntries);

    // Python's \b, to which all numbers are of a word, and accents that stand by themselves are not.
    [GeneratedRegex(@"(?<![\p{L}\p{N}_])(a|an|the)(?![\p{L}\p{N}_])", RegexOptions.CultureInvariant)]
    private static partial Regex Article();

    // Python's white space, of which .NET has all but the four separators.
    [GeneratedRegex(@"[\s\x1C-\x1F]+", RegexOptions.CultureInvariant)]
    private static partial Regex Space();
}
