using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>A split that takes a text of either kind as characters.</summary>
internal abstract class SpanPreTokenizer : PreTokenizer
{
    /// <inheritdoc/>
    public sealed override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => PreTokenize(text.AsSpan());
}

/// <summary>A split that leaves nothing out: each piece begins where the one before it ends.</summary>
internal abstract class RunPreTokenizer : SpanPreTokenizer
{
    /// <inheritdoc/>
    public sealed override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
    {
        List<(int Offset, int Length)> pieces = new((text.Length / 4) + 1);
        for (int begin = 0; begin < text.Length;)
        {
            int end = EndOf(text, begin);
            pieces.Add((begin, end - begin));
            begin = end;
        }

        return pieces;
    }

    /// <summary>Where the piece that begins at a position ends: beyond it.</summary>
    protected abstract int EndOf(ReadOnlySpan<char> text, int begin);
}
