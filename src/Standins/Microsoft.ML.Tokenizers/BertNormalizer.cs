using System.Globalization;
using System.Text;
using Retro.Text;

namespace Microsoft.ML.Tokenizers;

/// <summary>BERT's clean-up: control characters go, white space becomes a space, ideographs stand alone, letters are lower-cased.</summary>
internal sealed class BertNormalizer(bool lowerCase, bool separateIdeographs, bool removeNonSpacingMarks) : Normalizer
{
    public override string Normalize(string original) => Normalize(original.AsSpan());

    public override string Normalize(ReadOnlySpan<char> original)
    {
        string? decomposed = removeNonSpacingMarks ? UnicodeForms.ToFormD(WellFormed(original.ToString())) : null;
        ReadOnlySpan<char> text = decomposed ?? original;
        StringBuilder normalized = new(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c is '\0' or '\uFFFD')
            {
                continue;
            }

            int code = c;
            int length = 1;
            if (char.IsHighSurrogate(c) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                code = char.ConvertToUtf32(c, text[i + 1]);
                length = 2;
            }

            UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(code);
            // Tabs and newlines too: the original takes them for control characters.
            if (category == UnicodeCategory.Control)
            {
                continue;
            }

            if (separateIdeographs && IsIdeograph(code))
            {
                normalized.Append(' ').Append(text.Slice(i, length)).Append(' ');
            }
            else if (category == UnicodeCategory.SpaceSeparator)
            {
                normalized.Append(' ');
            }
            else if (!removeNonSpacingMarks || category != UnicodeCategory.NonSpacingMark)
            {
                Append(normalized, text.Slice(i, length), category);
            }

            i += length - 1;
        }

        return UnicodeForms.ToFormC(WellFormed(normalized.ToString()));
    }

    /// <summary>string.Normalize, which the original calls, takes no lone surrogate and no U+FFFE.</summary>
    private static string WellFormed(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            bool pair = char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]);
            if (text[i] == '\uFFFE' || (char.IsSurrogate(text[i]) && !pair))
            {
                throw new ArgumentException($"Invalid Unicode code point found at index {i}.", nameof(text));
            }

            i += pair ? 1 : 0;
        }

        return text;
    }

    private static bool IsIdeograph(int code)
        => code is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2B73F)
            or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B820 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);

    private void Append(StringBuilder normalized, ReadOnlySpan<char> character, UnicodeCategory category)
    {
        if (!lowerCase || category != UnicodeCategory.UppercaseLetter)
        {
            normalized.Append(character);
            return;
        }

        Span<char> lowered = stackalloc char[2];
        normalized.Append(lowered[..character.ToLowerInvariant(lowered)]);
    }
}
