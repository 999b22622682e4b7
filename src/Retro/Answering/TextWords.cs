using System.Globalization;
using System.Text;
using Retro.Corpora;

namespace Retro.Answering;

/// <summary>
/// Whether and where an answer stands in a text, word for word, as DPR's has_answer takes it (Karpukhin and others, arXiv 2004.04906;
/// https://github.com/facebookresearch/DPR, dpr/data/qa_validation.py and dpr/utils/tokenizers.py): words are runs of letters, digits and marks, and any other
/// sign is one by itself; they are the same in any case and any normal form. Unlike there, so is a character of a script that puts no spaces between words.
/// </summary>
internal static class TextWords
{
    private const int ZeroWidthSpace = 0x200B;

    /// <summary>A text's words, each between two spaces.</summary>
    public static string Of(string text) => Joined(Words(text).Select(word => word.Word));

    /// <summary>Whether an answer stands among words.</summary>
    /// <param name="words">Of <see cref="Of"/>.</param>
    /// <param name="answer">The answer; one without words stands nowhere.</param>
    public static bool Hold(string words, string answer) => Of(answer) is { Length: > 2 } own && words.Contains(own, StringComparison.Ordinal);

    /// <summary>The places in a text at which an answer stands, which may overlap.</summary>
    /// <param name="text">The text.</param>
    /// <param name="answer">The answer; one without words stands nowhere.</param>
    /// <returns>Where each starts and ends.</returns>
    public static IEnumerable<(int Start, int End)> Places(string text, string answer)
    {
        List<(int Start, int End, string Word)> words = Words(text);
        string[] own = [.. Words(answer).Select(word => word.Word)];
        for (int i = 0; own.Length > 0 && i + own.Length <= words.Count; i++)
        {
            if (own.Select((word, k) => words[i + k].Word == word).All(same => same))
            {
                yield return (words[i].Start, words[i + own.Length - 1].End);
            }
        }
    }

    private static string Joined(IEnumerable<string> words) => $" {string.Join(' ', words)} ";

    private static List<(int Start, int End, string Word)> Words(string text)
    {
        List<(int Start, int End, string Word)> words = [];
        StringBuilder word = new();
        int start = 0, end = 0;
        bool takesLetters = false;
        foreach ((int at, Rune rune) in Runes(text))
        {
            UnicodeCategory category = Rune.GetUnicodeCategory(rune);
            if (category == UnicodeCategory.Format && rune.Value != ZeroWidthSpace)
            {
                continue; // a soft hyphen or a joiner is seen by nobody and ends no word (https://unicode.org/reports/tr29/#WB4)
            }

            bool isSpace = category is >= UnicodeCategory.SpaceSeparator and <= UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned;
            bool isMark = category is >= UnicodeCategory.NonSpacingMark and <= UnicodeCategory.EnclosingMark;
            bool isLetter = category is <= UnicodeCategory.OtherLetter or (>= UnicodeCategory.DecimalDigitNumber and <= UnicodeCategory.OtherNumber);
            bool joins = isLetter && (category == UnicodeCategory.DecimalDigitNumber || !WordGrams.WritesWithoutSpaces(rune.Value));

            // A mark belongs to whatever stands before it.
            if (isSpace || !(isMark || (joins && takesLetters)))
            {
                End();
                start = at;
            }

            if (!isSpace)
            {
                (takesLetters, end) = (isMark ? takesLetters : joins, at + rune.Utf16SequenceLength);
                word.Append(text, at, rune.Utf16SequenceLength);
            }
        }

        End();
        return words;

        void End()
        {
            if (word.Length > 0)
            {
                // By way of upper case, as both small sigmas are one letter.
                words.Add((start, end, UnicodeForms.ToFormD(word.ToString().ToUpperInvariant().ToLowerInvariant())));
            }

            word.Clear();
            takesLetters = false;
        }
    }

    private static IEnumerable<(int At, Rune Rune)> Runes(string text)
    {
        int at = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            yield return (at, rune);
            at += rune.Utf16SequenceLength;
        }
    }
}
