using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>A split by single characters, such as punctuation or digits.</summary>
/// <param name="isSought">Whether a character (code point) is one of them.</param>
/// <param name="behavior">What becomes of them.</param>
internal sealed class CharacterPreTokenizer(Func<int, bool> isSought, SplitBehavior behavior) : PreTokenizer
{
    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => PreTokenize(text.AsSpan());

    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
    {
        List<(int Begin, int End)> matches = [];
        for (int i = 0, length; i < text.Length; i += length)
        {
            length = CodePoints.LengthAt(text, i);
            if (isSought(length == 1 ? text[i] : char.ConvertToUtf32(text[i], text[i + 1])))
            {
                matches.Add((i, i + length));
            }
        }

        return PieceSplits.Of(matches, text.Length, behavior, inverted: false);
    }
}
