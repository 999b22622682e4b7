using System.Globalization;

namespace Retro.Tokenizers;

/// <summary>
/// GPT-2's printable characters for bytes in vocabulary files: the printable characters of Latin-1 are themselves, the other
/// 68 bytes for the characters from U+0100 on, in order.
/// </summary>
internal static class ByteSymbols
{
    private static readonly char[] s_charOfByte = new char[256];
    private static readonly short[] s_byteOfChar = new short[0x144];

    static ByteSymbols()
    {
        Array.Fill(s_byteOfChar, (short)-1);
        int next = 0x100;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            s_charOfByte[value] = printable ? (char)value : (char)next++;
            s_byteOfChar[s_charOfByte[value]] = (short)value;
        }
    }

    /// <summary>The bytes in GPT-2's order: the printable ones first.</summary>
    public static IEnumerable<byte> GptOrder
        => Enumerable.Range(0, 256).OrderBy(value => s_charOfByte[value]).Select(value => (byte)value);

    /// <summary>The character that stands for a byte.</summary>
    public static char ToChar(byte value) => s_charOfByte[value];

    /// <summary>The symbols of a text's UTF-8.</summary>
    public static string Of(ReadOnlySpan<char> text)
    {
        byte[] bytes = new byte[System.Text.Encoding.UTF8.GetByteCount(text)];
        System.Text.Encoding.UTF8.GetBytes(text, bytes);
        return string.Concat(bytes.Select(ToChar));
    }

    /// <summary>The bytes that a text of symbols stands for; null where it holds another character.</summary>
    public static byte[]? ToBytes(string symbols)
    {
        byte[] bytes = new byte[symbols.Length];
        for (int i = 0; i < symbols.Length; i++)
        {
            short value = symbols[i] < s_byteOfChar.Length ? s_byteOfChar[symbols[i]] : (short)-1;
            if (value < 0)
            {
                return null;
            }

            bytes[i] = (byte)value;
        }

        return bytes;
    }

    /// <summary>The byte of a piece such as <c>&lt;0x0A&gt;</c>; null where it is another.</summary>
    public static byte? FallbackByte(string piece)
        => piece.Length == 6 && piece.StartsWith("<0x", StringComparison.Ordinal) && piece[5] == '>'
            && byte.TryParse(piece.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value) ? value : null;

    /// <summary>The byte that a character stands for, -1 where it stands for none.</summary>
    public static int ToByte(char symbol) => symbol < s_byteOfChar.Length ? s_byteOfChar[symbol] : -1;
}
