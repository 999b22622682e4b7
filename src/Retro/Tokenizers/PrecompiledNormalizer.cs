using System.Globalization;
using System.Text;

namespace Retro.Tokenizers;

/// <summary>
/// SentencePiece's normalization map as Hugging Face's library applies it: not to the longest sequence, but to whole graphemes of fewer than six bytes, and to
/// single characters where a grapheme has no entry.
/// </summary>
internal sealed class PrecompiledNormalizer(CharacterMap map)
{
    private const int LongestGrapheme = 5;

    public string Normalize(string text)
    {
        StringBuilder normalized = new(text.Length);
        Span<byte> utf8 = stackalloc byte[LongestGrapheme];
        for (int i = 0, grapheme; i < text.Length; i += grapheme)
        {
            grapheme = StringInfo.GetNextTextElementLength(text, i);
            if (Transform(text.AsSpan(i, grapheme), utf8, normalized))
            {
                continue;
            }

            for (int at = i, length; at < i + grapheme; at += length)
            {
                length = CodePoints.LengthAt(text, at);
                if (!Transform(text.AsSpan(at, length), utf8, normalized))
                {
                    normalized.Append(text, at, length);
                }
            }
        }

        return normalized.ToString();
    }

    // The entry of the shortest beginning replaces the whole.
    private bool Transform(ReadOnlySpan<char> part, Span<byte> utf8, StringBuilder normalized)
    {
        if (part.Length > utf8.Length || Encoding.UTF8.GetByteCount(part) > utf8.Length)
        {
            return false;
        }

        ReadOnlySpan<byte> bytes = utf8[..Encoding.UTF8.GetBytes(part, utf8)];
        if (map.Shortest(bytes, out ReadOnlySpan<byte> replacement) == 0)
        {
            return false;
        }

        normalized.Append(Encoding.UTF8.GetString(replacement));
        return true;
    }
}
