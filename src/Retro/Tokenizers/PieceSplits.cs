using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>Splits of a text into pieces: one after another, and by what a pattern matches.</summary>
internal static class PieceSplits
{
    /// <summary>The pieces that splitters leave of a text, each splitting those of the one before it.</summary>
    public static IEnumerable<(int Offset, int Length)> Of(string text, IReadOnlyList<PreTokenizer> splits)
    {
        IEnumerable<(int Offset, int Length)> pieces = text.Length == 0 ? [] : [(0, text.Length)];
        foreach (PreTokenizer split in splits)
        {
            pieces = pieces.SelectMany(piece =>
                split.PreTokenize(text.AsSpan(piece.Offset, piece.Length)).Select(inner => (piece.Offset + inner.Offset, inner.Length)));
        }

        return pieces;
    }

    /// <summary>The pieces of a text whose matches are known.</summary>
    /// <param name="matches">Where they begin and end, from left to right; none is empty.</param>
    /// <param name="length">Length of the text.</param>
    /// <param name="behavior">What becomes of them.</param>
    /// <param name="inverted">Whether it becomes of what they leave, and they stand for that.</param>
    public static List<(int Offset, int Length)> Of(IEnumerable<(int Begin, int End)> matches, int length, SplitBehavior behavior, bool inverted)
    {
        List<(int Begin, int End, bool Match)> parts = [];
        int at = 0;
        foreach ((int begin, int end) in matches)
        {
            if (begin > at)
            {
                parts.Add((at, begin, inverted));
            }

            parts.Add((begin, end, !inverted));
            at = end;
        }

        if (at < length)
        {
            parts.Add((at, length, inverted));
        }

        List<(int Offset, int Length)> pieces = [];
        for (int i = 0; i < parts.Count; i++)
        {
            (int begin, int end, bool match) = parts[i];
            bool joins = i > 0 && behavior switch
            {
                SplitBehavior.MergedWithPrevious => match && !parts[i - 1].Match,
                SplitBehavior.MergedWithNext => !match && parts[i - 1].Match,
                SplitBehavior.Contiguous => match == parts[i - 1].Match,
                _ => false,
            };
            if (joins)
            {
                pieces[^1] = (pieces[^1].Offset, end - pieces[^1].Offset);
            }
            else if (!(match && behavior == SplitBehavior.Removed))
            {
                pieces.Add((begin, end - begin));
            }
        }

        return pieces;
    }
}
