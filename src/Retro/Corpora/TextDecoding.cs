using System.Text;
using System.Text.RegularExpressions;
using System.Text.Unicode;

namespace Retro.Corpora;

/// <summary>From bytes to text: UTF-8, or the encoding that the user or the file names. Nothing that does not fit becomes a sign of replacement.</summary>
internal static partial class TextDecoding
{
    // Where HTML has to say its encoding (https://html.spec.whatwg.org/multipage/semantics.html#charset), and more than XML needs for its first line.
    private const int DeclarationBytes = 1024;

    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>An encoding that refuses what it cannot read; null where none has the name.</summary>
    public static Encoding? Named(string name)
    {
        try
        {
            Encoding encoding = (Encoding)(CodePagesEncodingProvider.Instance.GetEncoding(name) ?? Encoding.GetEncoding(name)).Clone();
            encoding.DecoderFallback = DecoderFallback.ExceptionFallback;
            return encoding;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    /// <summary>The encoding that HTML or XML tells at its head, by a mark of UTF-16 or by name; null where it tells none that is known.</summary>
    public static string? Declared(ReadOnlySpan<byte> bytes)
        => bytes.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]) ? "utf-16"
            : bytes.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]) ? "utf-16BE"
            : Declaration().Match(Encoding.Latin1.GetString(bytes[..Math.Min(bytes.Length, DeclarationBytes)])) is { Success: true } found
                && Named(found.Groups["name"].Value) is not null
            ? found.Groups["name"].Value
            : null;

    /// <summary>
    /// The encoding that is named, where its units have more than a byte (UTF-16, UTF-32) and a file's head is of such: it has a mark of UTF-16, or a byte of
    /// zero, which UTF-8 allows and no text holds. Where UTF-16 is named, a mark says the order of the bytes.
    /// </summary>
    public static Encoding? Wide(ReadOnlySpan<byte> head, string? encoding)
    {
        if (encoding is null || Named(encoding) is not { } named || named.GetByteCount("\n") == 1)
        {
            return null;
        }

        bool marked = head.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]), turned = head.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]);
        return !marked && !turned && !head.Contains((byte)0) ? null
            : turned && named.CodePage == Encoding.Unicode.CodePage ? Named("utf-16BE")
            : named;
    }

    /// <summary>Decodes strictly.</summary>
    /// <param name="bytes">The bytes; a byte order mark is dropped.</param>
    /// <param name="where">Names the file (and line) in the error.</param>
    /// <param name="encoding">The encoding where it is not UTF-8; null for none.</param>
    /// <exception cref="CorpusException">The bytes are neither; the message holds the position of the first that does not fit.</exception>
    public static string Decode(ReadOnlySpan<byte> bytes, string where, string? encoding = null)
    {
        ReadOnlySpan<byte> text = bytes.StartsWith(ByteOrderMark) ? bytes[ByteOrderMark.Length..] : bytes;
        Encoding? wide = Wide(bytes, encoding);
        if (wide is null && Utf8.IsValid(text))
        {
            return Encoding.UTF8.GetString(text);
        }

        if (encoding is not null)
        {
            try
            {
                return (wide ?? Named(encoding)!).GetString(bytes);
            }
            catch (DecoderFallbackException fault)
            {
                throw new CorpusException(
                    $"{where} is neither UTF-8 nor {encoding}, at byte {fault.Index}. Name its encoding, convert it to UTF-8, or skip what is broken "
                        + "(CorpusOptions.Encoding, SkipBroken).",
                    fault);
            }
        }

        string hint = bytes.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]) || bytes.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]) ? " (it looks like UTF-16)" : "";
        int position = bytes.Length - text.Length + FirstInvalid(text);
        throw new CorpusException(
            $"{where} is not UTF-8{hint}: invalid byte 0x{bytes[position]:X2} at byte {position}. Name its encoding (CorpusOptions.Encoding), convert it to "
                + "UTF-8, or skip what is broken (SkipBroken).");
    }

    private static int FirstInvalid(ReadOnlySpan<byte> bytes)
    {
        int at = 0;
        while (at < bytes.Length && Rune.DecodeFromUtf8(bytes[at..], out _, out int length) == System.Buffers.OperationStatus.Done)
        {
            at += length;
        }

        return at;
    }

    [GeneratedRegex("""(?i:encoding|charset)\s*=\s*["']?\s*(?<name>[A-Za-z0-9_:.-]+)""")]
    private static partial Regex Declaration();
}
