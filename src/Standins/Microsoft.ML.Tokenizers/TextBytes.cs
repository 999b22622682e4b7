namespace Microsoft.ML.Tokenizers;

/// <summary>Text as UTF-8, with the character that each byte belongs to.</summary>
internal static class TextBytes
{
    /// <summary>
    /// The UTF-8 bytes of a text, and for each the index of the character it belongs to. A lone surrogate is written as the three bytes
    /// its code would have: the original does so.
    /// </summary>
    public static int Encode(ReadOnlySpan<char> text, Span<byte> bytes, Span<int> characters)
    {
        int count = 0;
        for (int i = 0; i < text.Length; i++)
        {
            int at = i;
            int code = text[i];
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                code = char.ConvertToUtf32(text[i], text[++i]);
            }

            int length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
            int lead = length switch { 1 => 0, 2 => 0xC0, 3 => 0xE0, _ => 0xF0 };
            for (int k = 0; k < length; k++)
            {
                int shift = 6 * (length - 1 - k);
                bytes[count] = k == 0 ? (byte)(lead | (code >> shift)) : (byte)(0x80 | ((code >> shift) & 0x3F));
                characters[count++] = at;
            }
        }

        return count;
    }
}
