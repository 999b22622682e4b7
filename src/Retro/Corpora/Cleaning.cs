using System.Text;
using System.Text.Unicode;

namespace Retro.Corpora;

/// <summary>From the bytes of a file to clean text.</summary>
internal static class Cleaning
{
    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>Decodes UTF-8 strictly.</summary>
    /// <param name="bytes">The bytes; a byte order mark is dropped.</param>
    /// <param name="where">Names the file (and line) in the error.</param>
    /// <exception cref="CorpusException">The bytes are not UTF-8; the message holds the position of the first that is not.</exception>
    public static string DecodeUtf8(ReadOnlySpan<byte> bytes, string where)
    {
        ReadOnlySpan<byte> text = bytes.StartsWith(ByteOrderMark) ? bytes[ByteOrderMark.Length..] : bytes;
        if (Utf8.IsValid(text))
        {
            return Encoding.UTF8.GetString(text);
        }

        string hint = bytes.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]) || bytes.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]) ? " (it looks like UTF-16)" : "";
        int position = bytes.Length - text.Length + FirstInvalid(text);
        throw new CorpusException(
            $"{where} is not UTF-8{hint}: invalid byte 0x{bytes[position]:X2} at byte {position}. Convert it to UTF-8, or skip what is broken "
                + "(CorpusOptions.SkipBroken).");
    }

    /// <summary>Newlines become '\n', a byte order mark goes, and white space at both ends.</summary>
    public static string Clean(string text)
    {
        if (text.Contains('\r', StringComparison.Ordinal))
        {
            text = text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        }

        return text.Trim('\uFEFF').Trim();
    }

    /// <summary>Splits a Markdown file's YAML front matter off.</summary>
    /// <returns>The front matter without its marks ("" where there is none), and the rest.</returns>
    public static (string FrontMatter, string Body) SplitFrontMatter(string text)
    {
        if (!text.StartsWith("---\n", StringComparison.Ordinal))
        {
            return ("", text);
        }

        int end = text.IndexOf("\n---\n", 3, StringComparison.Ordinal);
        if (end >= 0)
        {
            return (text[4..Math.Max(4, end)], text[(end + 5)..].Trim());
        }

        return text.EndsWith("\n---", StringComparison.Ordinal) ? (text[4..Math.Max(4, text.Length - 4)], "") : ("", text);
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
}
