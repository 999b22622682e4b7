namespace Microsoft.ML.Tokenizers;

/// <summary>
/// GPT-2's printable stand-ins for bytes: the printable characters of Latin-1 stand for themselves, the other 68 bytes for the
/// characters from U+0100 on, in order.
/// </summary>
internal static class ByteSymbols
{
    private static readonly char[] CharOfByte = new char[256];
    private static readonly short[] ByteOfChar = new short[0x144];

    static ByteSymbols()
    {
        Array.Fill(ByteOfChar, (short)-1);
        int next = 0x100;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            CharOfByte[value] = printable ? (char)value : (char)next++;
            ByteOfChar[CharOfByte[value]] = (short)value;
        }
    }

    public static char ToChar(byte value) => CharOfByte[value];

    /// <summary>The byte a character stands for, -1 where it stands for none.</summary>
    public static int ToByte(char symbol) => symbol < ByteOfChar.Length ? ByteOfChar[symbol] : -1;

    /// <summary>
    /// The UTF-8 bytes of a text, and for each the index of the character it belongs to. A lone surrogate is written as the three bytes
    /// its code would have: the original does so, and the text survives as far as that goes.
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
            for (int k = 0; k < length; k++)
            {
                int shift = 6 * (length - 1 - k);
                int lead = length switch { 1 => 0, 2 => 0xC0, 3 => 0xE0, _ => 0xF0 };
                bytes[count] = k == 0 ? (byte)(lead | (code >> shift)) : (byte)(0x80 | ((code >> shift) & 0x3F));
                characters[count++] = at;
            }
        }

        return count;
    }
}
