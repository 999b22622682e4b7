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

        UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(At(text, at, out length));
        return category <= UnicodeCategory.OtherLetter ? CharacterClass.Letter
            : category is >= UnicodeCategory.DecimalDigitNumber and <= UnicodeCategory.OtherNumber ? CharacterClass.Number
            : CharacterClass.Other;
    }

    /// <summary>Whether a character is a number (<c>\p{N}</c>).</summary>
    public static bool IsNumber(int code)
        => CharUnicodeInfo.GetUnicodeCategory(code) is >= UnicodeCategory.DecimalDigitNumber and <= UnicodeCategory.OtherNumber;

    /// <summary>Whether a character is white space (<c>\s</c>).</summary>
    public static bool IsSpace(int code) => code <= char.MaxValue && char.IsWhiteSpace((char)code);

    /// <summary>
    /// Whether a character is one of words: Unicode's <c>\w</c> (UTS #18, annex C), alphabetic, marks, decimal digits, connectors and join controls.
    /// </summary>
    public static bool IsOfWord(int code)
        => CharUnicodeInfo.GetUnicodeCategory(code) is <= UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation
            || code is 0x200C or 0x200D // joiners, then letters in circles and squares
            || code is (>= 0x24B6 and <= 0x24E9) or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189);

    /// <summary>The character (code point) at a position, and its length in units; a lone surrogate is itself.</summary>
    public static int At(ReadOnlySpan<char> text, int at, out int length)
    {
        length = LengthAt(text, at);
        return length == 1 ? text[at] : char.ConvertToUtf32(text[at], text[at + 1]);
    }

    /// <summary>How many units the character at a position has: two for a surrogate pair, else one.</summary>
    public static int LengthAt(ReadOnlySpan<char> text, int at) => at + 1 < text.Length && char.IsSurrogatePair(text[at], text[at + 1]) ? 2 : 1;

    /// <summary>Whether a position lies between the two halves of one character.</summary>
    public static bool IsWithinPair(ReadOnlySpan<char> text, int at) => at > 0 && at < text.Length && char.IsSurrogatePair(text[at - 1], text[at]);

    /// <summary>How many characters (code points) a text has.</summary>
    public static int Count(ReadOnlySpan<char> text)
    {
        int count = 0;
        for (int i = 0; i < text.Length; i += LengthAt(text, i))
        {
            count++;
        }

        return count;
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
