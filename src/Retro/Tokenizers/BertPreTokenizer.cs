using System.Globalization;

namespace Retro.Tokenizers;

/// <summary>BERT's split: at white space, and every punctuation character stands alone.</summary>
internal sealed class BertPreTokenizer : SpanPreTokenizer
{
    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
    {
        List<(int Offset, int Length)> pieces = [];
        int begin = 0;
        for (int i = 0, length; i < text.Length; i += length)
        {
            int code = CodePoints.At(text, i, out length);
            bool space = CodePoints.IsSpace(code);
            if (space || IsPunctuation(code))
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
