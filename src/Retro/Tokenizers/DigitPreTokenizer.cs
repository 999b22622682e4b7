using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>Sets numbers apart from what stands around them: digit by digit, or in runs.</summary>
internal sealed class DigitPreTokenizer(bool individually) : PreTokenizer
{
    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => PreTokenize(text.AsSpan());

    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
    {
        List<(int Offset, int Length)> pieces = [];
        int begin = 0;
        bool number = false;
        for (int i = 0; i < text.Length;)
        {
            bool now = CodePoints.ClassAt(text, i, out int length) == CharacterClass.Number;
            if (i > begin && (now != number || (now && individually)))
            {
                pieces.Add((begin, i - begin));
                begin = i;
            }

            number = now;
            i += length;
        }

        if (begin < text.Length)
        {
            pieces.Add((begin, text.Length - begin));
        }

        return pieces;
    }
}
