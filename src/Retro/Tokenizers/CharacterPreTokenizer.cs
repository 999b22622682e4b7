namespace Retro.Tokenizers;

/// <summary>A split by single characters, such as punctuation or digits.</summary>
/// <param name="isSought">Whether a character (code point) is one of them.</param>
/// <param name="behavior">What becomes of them.</param>
internal sealed class CharacterPreTokenizer(Func<int, bool> isSought, SplitBehavior behavior) : SpanPreTokenizer
{
    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
    {
        List<(int Begin, int End)> matches = [];
        for (int i = 0, length; i < text.Length; i += length)
        {
            if (isSought(CodePoints.At(text, i, out length)))
            {
                matches.Add((i, i + length));
            }
        }

        return PieceSplits.Of(matches, text.Length, behavior, inverted: false);
    }
}
