using System.Globalization;
using System.Text;
using Retro.Tokenizers;

namespace Retro.Embedders;

/// <summary>
/// Lower case as Python's str.lower() has it, which sentence-transformers calls: Unicode's full mapping, by which a capital sigma at the end of a word becomes
/// another letter than elsewhere (Final_Sigma, the Unicode Standard, section 3.13).
/// </summary>
internal static class LowerCasing
{
    private const char Sigma = '\u03A3', FinalSigma = '\u03C2';

    // Other than letters, marks and signs of their categories: what stands between the letters of a word or a number.
    private const string BetweenLetters = "'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A";

    /// <summary>The text in lower case.</summary>
    public static string Of(string text)
    {
        StringBuilder? changed = null;
        for (int i = text.IndexOf(Sigma); i >= 0; i = text.IndexOf(Sigma, i + 1))
        {
            if (IsCasedAtEnd(text.AsSpan(0, i)) && !IsCasedAtStart(text.AsSpan(i + 1)))
            {
                (changed ??= new(text))[i] = FinalSigma;
            }
        }

        return BertNormalizer.LowerCase(changed?.ToString() ?? text);
    }

    private static bool IsCasedAtEnd(ReadOnlySpan<char> text)
    {
        while (!text.IsEmpty)
        {
            Rune.DecodeLastFromUtf16(text, out Rune last, out int length);
            if (!IsIgnored(last))
            {
                return IsCased(last);
            }

            text = text[..^length];
        }

        return false;
    }

    private static bool IsCasedAtStart(ReadOnlySpan<char> text)
    {
        while (!text.IsEmpty)
        {
            Rune.DecodeFromUtf16(text, out Rune first, out int length);
            if (!IsIgnored(first))
            {
                return IsCased(first);
            }

            text = text[length..];
        }

        return false;
    }

    // Case_Ignorable.
    private static bool IsIgnored(Rune rune)
        => Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format
            or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol || (rune.IsBmp && BetweenLetters.Contains((char)rune.Value));

    /// <summary>Cased, of what is not ignored: letters of a case, and numbers and signs that are made of such.</summary>
    internal static bool IsCased(Rune rune)
        => Rune.GetUnicodeCategory(rune) is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
            || rune.Value is 0xAA or 0xBA or (>= 0x2160 and <= 0x217F) or (>= 0x24B6 and <= 0x24E9)
                or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189);
}
