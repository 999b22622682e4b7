using System.Globalization;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>BERT's split: at white space, and every punctuation character stands alone.</summary>
internal sealed class BertPreTokenizer : PreTokenizer
{
    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => PreTokenize(text.AsSpan());

    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
    {
        List<(int Offset, int Length)> pieces = [];
        int begin = 0;
        for (int i = 0; i < text.Length;)
        {
            bool pair = char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]);
            int length = pair ? 2 : 1;
            bool space = !pair && char.IsWhiteSpace(text[i]);
            if (space || IsPunctuation(pair ? char.ConvertToUtf32(text[i], text[i + 1]) : text[i]))
            {
                if (i > begin)
                {
                    pieces.Add((begin, i - begin));
                }

                if (!space)
                {
                    pieces.Add((i, length));
                }

                begin = i + length;
            }

            i += length;
        }

        if (text.Length > begin)
        {
            pieces.Add((begin, text.Length - begin));
        }

        return pieces;
    }

    /// <summary>BERT's punctuation: Unicode's, and every ASCII sign.</summary>
    internal static bool IsPunctuation(int code)
        => code < 0x80 ? code is (>= '!' and <= '/') or (>= ':' and <= '@') or (>= '[' and <= '`') or (>= '{' and <= '~')
            : CharUnicodeInfo.GetUnicodeCategory(code) is >= UnicodeCategory.ConnectorPunctuation and <= UnicodeCategory.OtherPunctuation;
}
