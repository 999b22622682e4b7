using System.Text;

namespace Retro;

/// <summary>
/// From bytes of a code page to text as the web reads it (https://encoding.spec.whatwg.org), strictly. To bytes that a code page does not define .NET gives
/// characters for private use, without a fault.
/// </summary>
internal static class CodePageText
{
    private const int Iso7 = 28597, Iso8 = 28598, Iso8Logical = 38598, Gb18030 = 54936, EucJp = 51932, EucJpWithSupplement = 20932, ShiftJis = 932;
    private const int FirstOfMac = 10000, LastOfMac = 10082;
    private const byte Euro = 0x80; // in pages that say GBK
    private const byte Supplement = 0x8F; // JIS X 0212 in two bytes behind it

    // What .NET gives for bytes of ISO 8859-7 and 8859-8 that later editions define.
    private static readonly Dictionary<char, char> s_later = new()
    {
        ['\uF7C2'] = '\u20AC', ['\uF7C3'] = '\u20AF', ['\uF7C4'] = '\u037A', ['\uF7BF'] = '\u200E', ['\uF7C0'] = '\u200F',
    };

    private static readonly Encoding s_supplement = TextDecoding.Strict(EucJpWithSupplement);

    /// <summary>Decodes.</summary>
    /// <param name="bytes">The bytes.</param>
    /// <param name="encoding">An encoding that refuses what it cannot read.</param>
    /// <exception cref="DecoderFallbackException">The bytes are none of its; the first that does not fit is at its index.</exception>
    public static string Read(ReadOnlySpan<byte> bytes, Encoding encoding)
    {
        StringBuilder text = new();
        int page = encoding.CodePage, done = 0;
        byte? apart = page == Gb18030 ? Euro : page == EucJp ? Supplement : null;
        if (apart is { } first && bytes.Contains(first))
        {
            for (int i = 0, length; i < bytes.Length; i += length)
            {
                length = page == Gb18030 ? LengthInGb18030(bytes[i..]) : LengthInEucJp(bytes[i]);
                if (bytes[i] == first && i + length <= bytes.Length)
                {
                    text.Append(Whole(bytes, done, i, encoding)).Append(page == Gb18030 ? "\u20AC" : Supplementary(bytes, i));
                    done = i + length;
                }
            }
        }

        string rest = Whole(bytes, done, bytes.Length, encoding);
        return done == 0 ? rest : text.Append(rest).ToString();
    }

    private static int LengthInGb18030(ReadOnlySpan<byte> bytes)
        => bytes[0] is <= 0x80 or 0xFF || bytes.Length == 1 ? 1 : bytes[1] is >= (byte)'0' and <= (byte)'9' ? 4 : 2;

    private static int LengthInEucJp(byte first) => first < 0x80 ? 1 : first == Supplement ? 3 : 2;

    // .NET has JIS X 0212 in another code page, which tells it by the high bit of the second byte.
    private static string Supplementary(ReadOnlySpan<byte> bytes, int at)
    {
        byte second = bytes[at + 1], third = bytes[at + 2];
        try
        {
            string text = second < 0xA1 || third < 0xA1 ? "" : s_supplement.GetString([second, (byte)(third & 0x7F)]);
            return text.Length == 1 && !IsPrivate(text[0]) ? text : throw Fault(at);
        }
        catch (DecoderFallbackException)
        {
            throw Fault(at);
        }
    }

    private static string Whole(ReadOnlySpan<byte> bytes, int start, int end, Encoding encoding)
    {
        string text;
        try
        {
            text = encoding.GetString(bytes[start..end]);
        }
        catch (DecoderFallbackException fault) when (start > 0)
        {
            throw Fault(start + fault.Index);
        }

        if (!text.AsSpan().ContainsAnyInRange('\uE000', '\uF8FF') || !IsTable(encoding.CodePage))
        {
            return text;
        }

        StringBuilder known = new(text);
        for (int i = 0; i < text.Length; i++)
        {
            if (IsPrivate(text[i]) && !IsOwn(text[i], encoding.CodePage))
            {
                known[i] = encoding.CodePage is Iso7 or Iso8 or Iso8Logical && s_later.TryGetValue(text[i], out char later)
                    ? later
                    : throw Fault(start + encoding.GetByteCount(text.AsSpan(0, i)));
            }
        }

        return known.ToString();
    }

    private static bool IsPrivate(char character) => character is >= '\uE000' and <= '\uF8FF';

    // Unicode has characters for private use, and GB 18030 bytes for all of them.
    private static bool IsTable(int page) => page is not (Gb18030 or 1200 or 1201 or 12000 or 12001 or 65001);

    // The characters of Shift_JIS that users define, and the apple of Macintosh.
    private static bool IsOwn(char character, int page)
        => (page == ShiftJis && character <= '\uE757') || (page is >= FirstOfMac and <= LastOfMac && character == '\uF8FF');

    private static DecoderFallbackException Fault(int index) => new("Bytes that the encoding does not define.", [], index);
}
