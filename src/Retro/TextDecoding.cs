using System.Text;
using System.Text.RegularExpressions;
using System.Text.Unicode;

namespace Retro;

/// <summary>
/// From bytes to text: UTF-8, or the encoding that the user or the file names, or a mark at its head. Nothing that does not fit becomes a sign of replacement.
/// </summary>
internal static partial class TextDecoding
{
    // More than XML needs for its first line.
    private const int DeclarationBytes = 1024;

    private const string Remedy = "Name its encoding (CorpusOptions.Encoding), convert it to UTF-8, or skip what is broken (SkipBroken).";

    // Encodings that write letters of other scripts with bytes of ASCII: ISO 2022 (by escape sequences) and HZ (by tildes).
    private const int FirstOfIso2022 = 50220, LastOfIso2022 = 50229, Hz = 52936;

    // Labels of the web that .NET does not know and no rule makes.
    private static readonly Dictionary<string, string> s_webLabels = new(StringComparer.OrdinalIgnoreCase)
    {
        ["866"] = "ibm866", ["csibm866"] = "ibm866", ["csmacintosh"] = "macintosh", ["gb_2312"] = "gbk", ["koi8_r"] = "koi8-r", ["mac"] = "macintosh",
        ["ms932"] = "shift_jis", ["windows-31j"] = "shift_jis", ["windows-949"] = "ks_c_5601-1987", ["x-gbk"] = "gbk", ["x-mac-roman"] = "macintosh",
        ["x-user-defined"] = "windows-1252",
    };

    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>
    /// An encoding that refuses what it cannot read; null where none has the name, or .NET does not read it (UTF-7). GB 2312 and GBK are what has grown of
    /// them, GB 18030.
    /// </summary>
    public static Encoding? Named(string name)
    {
        const int Gb2312 = 20936, Gbk = 936, Gb18030 = 54936;
        try
        {
            Encoding encoding = CodePagesEncodingProvider.Instance.GetEncoding(name) ?? Encoding.GetEncoding(name);
            return encoding.CodePage is Gb2312 or Gbk ? Strict(Gb18030) : Strict(encoding);
        }
        catch (Exception exception) when (exception is ArgumentException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>Whether characters are text, and no half of a surrogate pair is among them, which would be written as a sign of replacement.</summary>
    public static bool IsText(string characters)
        => !characters.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF') || Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(characters)) == characters;

    /// <summary>A code page that refuses what it cannot read.</summary>
    public static Encoding Strict(int page) => Strict(CodePagesEncodingProvider.Instance.GetEncoding(page)!);

    /// <summary>
    /// The name for <see cref="Named"/> of what a label means on the web, where "iso-8859-1" is windows-1252, for instance
    /// (https://encoding.spec.whatwg.org/#names-and-labels); null where it means none, UTF-8, or UTF-16, which a page in it cannot say in ASCII.
    /// </summary>
    public static string? NameOfLabel(string label)
    {
        const int Ascii = 20127, Latin1 = 28591, Latin5 = 28599, EucKr = 51949;
        string name = s_webLabels.GetValueOrDefault(label) ?? Label().Replace(
            label, found => found.Groups["windows"].Success ? $"windows-{found.Groups["windows"].Value}" : $"iso-8859-{found.Groups["iso"].Value}");
        Encoding? encoding = Named(name);
        return encoding?.CodePage switch
        {
            Ascii or Latin1 => "windows-1252",
            Latin5 => "windows-1254",
            EucKr => "ks_c_5601-1987",
            _ => encoding is null || encoding.CodePage == Encoding.UTF8.CodePage || encoding.GetByteCount("\n") > 1 ? null : name,
        };
    }

    /// <summary>The name of the encoding in the declaration that XML begins with; null where there is none.</summary>
    public static string? DeclaredInXml(ReadOnlySpan<byte> bytes)
        => Declaration().Match(Encoding.Latin1.GetString(bytes[..Math.Min(bytes.Length, DeclarationBytes)])) is { Success: true } found
            ? found.Groups["name"].Value
            : null;

    /// <summary>
    /// The encoding of text that is not UTF-8, or could be taken for it: that of a mark of UTF-16 or UTF-32 at its head; or the one that is named, where its
    /// units have more than a byte and the head holds a byte of zero, which UTF-8 allows and no text holds, or where it writes with bytes of ASCII and the head
    /// holds what it marks them with.
    /// </summary>
    public static Encoding? Certain(ReadOnlySpan<byte> head, string? encoding)
        => Marked(head) is { } mark ? Named(mark)
            : encoding is not null && Named(encoding) is { } named && (IsMarked(head, named) || (IsWide(named) && head.Contains((byte)0))) ? named
            : null;

    /// <summary>Decodes a whole file strictly.</summary>
    /// <param name="bytes">The bytes; a byte order mark is dropped.</param>
    /// <param name="where">Names the file in the error.</param>
    /// <param name="encoding">The encoding where it is not UTF-8; null for none.</param>
    /// <exception cref="CorpusException">The bytes are neither; the message holds the position of the first that does not fit.</exception>
    public static string Decode(ReadOnlySpan<byte> bytes, string where, string? encoding = null)
    {
        Encoding? certain = Certain(bytes, encoding);
        if (certain is null)
        {
            RequireText(bytes, where);
        }

        return Strictly(bytes, where, certain, encoding, utf8: true);
    }

    /// <summary>
    /// Decodes a part of a file, such as a line or a field, strictly. What <see cref="Certain"/> and <see cref="RequireText"/> ask of a head is not asked of
    /// it: any bytes may begin a part, and a file in an encoding of more than a byte a character is made UTF-8 before it is cut.
    /// </summary>
    /// <param name="bytes">The bytes; a byte order mark is dropped, which stands where files were put together.</param>
    /// <param name="where">Names the file and the part in the error.</param>
    /// <param name="encoding">The encoding where it is not UTF-8; null for none.</param>
    /// <param name="utf8">Whether it may be UTF-8.</param>
    /// <exception cref="CorpusException">The bytes are neither; the message holds the position of the first that does not fit.</exception>
    public static string DecodePart(ReadOnlySpan<byte> bytes, string where, string? encoding, bool utf8)
    {
        Encoding? named = encoding is null ? null : Named(encoding);
        return named is null || IsWide(named)
            ? Strictly(bytes, where, null, null, utf8: true)
            : Strictly(bytes, where, IsMarked(bytes, named) ? named : null, encoding, utf8);
    }

    /// <summary>Refuses a head, without a mark, of what is no text in an encoding of a byte a character: more than a quarter of its bytes are zero.</summary>
    /// <exception cref="CorpusException">It is no text.</exception>
    public static void RequireText(ReadOnlySpan<byte> head, string where)
    {
        int zeros = head.Count((byte)0);
        if (zeros > head.Length / 4)
        {
            throw CorpusException.Broken(
                $"{where} is no text in UTF-8: {zeros} of its {head.Length} bytes are zero, as in UTF-16 or UTF-32 without a mark.", Remedy);
        }
    }

    private static string Strictly(ReadOnlySpan<byte> bytes, string where, Encoding? certain, string? encoding, bool utf8)
    {
        ReadOnlySpan<byte> text = bytes.StartsWith(ByteOrderMark) ? bytes[ByteOrderMark.Length..] : bytes;
        if (certain is null && utf8 && Utf8.IsValid(text))
        {
            return Encoding.UTF8.GetString(text);
        }

        if (certain is not null || encoding is not null)
        {
            try
            {
                return WithoutMark(CodePageText.Read(bytes, certain ?? Named(encoding!)!));
            }
            catch (DecoderFallbackException fault)
            {
                throw CorpusException.Broken($"{where} is neither UTF-8 nor {certain?.WebName ?? encoding}, at byte {fault.Index}.", Remedy, fault);
            }
        }

        int position = bytes.Length - text.Length + FirstInvalid(text);
        throw CorpusException.Broken($"{where} is not UTF-8: invalid byte 0x{bytes[position]:X2} at byte {position}.", Remedy);
    }

    /// <summary>Decoded text without the byte order mark that it may begin with.</summary>
    public static string WithoutMark(string text) => text.StartsWith('\uFEFF') ? text[1..] : text;

    private static Encoding Strict(Encoding encoding)
    {
        Encoding strict = (Encoding)encoding.Clone();
        strict.DecoderFallback = DecoderFallback.ExceptionFallback;
        return strict;
    }

    // A mark of UTF-32 begins as one of UTF-16.
    private static string? Marked(ReadOnlySpan<byte> head)
        => head.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE, 0, 0]) ? "utf-32"
            : head.StartsWith((ReadOnlySpan<byte>)[0, 0, 0xFE, 0xFF]) ? "utf-32BE"
            : head.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]) ? "utf-16"
            : head.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]) ? "utf-16BE"
            : null;

    // Whether it writes with bytes of ASCII, and the text holds what it marks them with.
    private static bool IsMarked(ReadOnlySpan<byte> text, Encoding encoding) => encoding.CodePage switch
    {
        >= FirstOfIso2022 and <= LastOfIso2022 => text.Contains((byte)0x1B),
        Hz => text.Contains((byte)'~'),
        _ => false,
    };

    private static bool IsWide(Encoding encoding) => encoding.GetByteCount("\n") > 1;

    private static int FirstInvalid(ReadOnlySpan<byte> bytes)
    {
        int at = 0;
        while (at < bytes.Length && Rune.DecodeFromUtf8(bytes[at..], out _, out int length) == System.Buffers.OperationStatus.Done)
        {
            at += length;
        }

        return at;
    }

    [GeneratedRegex("""\A(?:\u00EF\u00BB\u00BF)?<\?xml\s[^>]*?\sencoding\s*=\s*["'](?<name>[A-Za-z0-9_:.-]+)""")]
    private static partial Regex Declaration();

    [GeneratedRegex(@"\A(?:(?:x-)?cp(?<windows>125\d)|iso-?8859-?(?<iso>\d+)(?:-[ei])?)\z", RegexOptions.IgnoreCase)]
    private static partial Regex Label();
}
