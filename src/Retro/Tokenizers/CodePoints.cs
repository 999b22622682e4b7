using System.Globalization;

namespace Retro.Tokenizers;

/// <summary>What the tokenizers' expressions distinguish.</summary>
internal enum CharacterClass
{
    /// <summary><c>\s</c>.</summary>
    Space,

    /// <summary><c>\p{L}</c>.</summary>
    Letter,

    /// <summary><c>\p{N}</c>.</summary>
    Number,

    /// <summary>Everything else.</summary>
    Other,
}

/// <summary>Unicode's characters in UTF-16 text: .NET's expressions see units, and a letter beyond U+FFFF would be none to them.</summary>
internal static class CodePoints
{
    /// <summary>The class of the character at a position, and its length in units. A lone surrogate is <see cref="CharacterClass.Other"/>.</summary>
    public static CharacterClass ClassAt(ReadOnlySpan<char> text, int at, out int length)
    {
        char c = text[at];
        length = 1;
        if (c < 0x80)
        {
            return char.IsAsciiLetter(c) ? CharacterClass.Letter
                : char.IsAsciiDigit(c) ? CharacterClass.Number
                : char.IsWhiteSpace(c) ? CharacterClass.Space : CharacterClass.Other;
        }

        if (char.IsWhiteSpace(c))
        {
            return CharacterClass.Space;
        }

        int code = c;
        if (char.IsHighSurrogate(c) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]))
        {
            length = 2;
            code = char.ConvertToUtf32(c, text[at + 1]);
        }

        UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(code);
        return category <= UnicodeCategory.OtherLetter ? CharacterClass.Letter
            : category is >= UnicodeCategory.DecimalDigitNumber and <= UnicodeCategory.OtherNumber ? CharacterClass.Number
            : CharacterClass.Other;
    }

    /// <summary>Where a run of one class ends.</summary>
    public static int RunEnd(ReadOnlySpan<char> text, int begin, CharacterClass kind)
    {
        int end = begin;
        while (end < text.Length && ClassAt(text, end, out int length) == kind)
        {
            end += length;
        }

        return end;
    }
}
