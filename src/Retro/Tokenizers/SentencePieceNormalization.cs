using System.Text;

namespace Retro.Tokenizers;

/// <summary>What SentencePiece does to a text before it is cut: the model's map, spaces made visible and thinned out.</summary>
internal sealed class SentencePieceNormalization(
    CharacterMap? map, bool addDummyPrefix, bool removeExtraSpaces, bool escapeSpaces, bool spaceAsSuffix, IReadOnlyList<string> userDefined)
{
    // Over the bytes, each as a character.
    private readonly PieceTrie _userDefined = new(userDefined.Select(piece => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(piece))));

    public string Normalize(ReadOnlySpan<char> text)
    {
        byte[] utf8 = new byte[Encoding.UTF8.GetByteCount(text)];
        Encoding.UTF8.GetBytes(text, utf8);
        string characters = userDefined.Count > 0 ? Encoding.Latin1.GetString(utf8) : "";
        ReadOnlySpan<byte> rest = utf8;
        if (removeExtraSpaces)
        {
            while (!rest.IsEmpty && Prefix(rest, characters, out int length).SequenceEqual(" "u8))
            {
                rest = rest[length..];
            }
        }

        if (rest.IsEmpty)
        {
            return "";
        }

        ReadOnlySpan<byte> space = escapeSpaces ? "\u2581"u8 : " "u8;
        using MemoryStream normalized = new(utf8.Length + 16);
        if (addDummyPrefix && !spaceAsSuffix)
        {
            normalized.Write(space);
        }

        bool afterSpace = removeExtraSpaces;
        while (!rest.IsEmpty)
        {
            ReadOnlySpan<byte> piece = Prefix(rest, characters, out int length);
            rest = rest[length..];
            while (afterSpace && !piece.IsEmpty && piece[0] == ' ')
            {
                piece = piece[1..];
            }

            if (piece.IsEmpty)
            {
                continue;
            }

            afterSpace = removeExtraSpaces && piece[^1] == ' ';
            foreach (byte value in piece)
            {
                if (value == ' ')
                {
                    normalized.Write(space);
                }
                else
                {
                    normalized.WriteByte(value);
                }
            }
        }

        int end = (int)normalized.Length;
        ReadOnlySpan<byte> written = normalized.GetBuffer().AsSpan(0, end);
        while (removeExtraSpaces && written[..end].EndsWith(space))
        {
            end -= space.Length;
        }

        string result = Encoding.UTF8.GetString(written[..end]);
        return addDummyPrefix && spaceAsSuffix ? result + (escapeSpaces ? SentencePieceModel.Space : ' ') : result;
    }

    /// <summary>What the beginning of a text becomes, and how much of it that is.</summary>
    private ReadOnlySpan<byte> Prefix(ReadOnlySpan<byte> text, string characters, out int length)
    {
        length = characters.Length == 0 ? 0 : _userDefined.LongestAt(characters, characters.Length - text.Length);
        if (length > 0)
        {
            return text[..length];
        }

        if (map is not null && map.Longest(text, out ReadOnlySpan<byte> replacement) is > 0 and int known)
        {
            length = known;
            return replacement;
        }

        Rune.DecodeFromUtf8(text, out _, out length);
        return text[..length];
    }
}
