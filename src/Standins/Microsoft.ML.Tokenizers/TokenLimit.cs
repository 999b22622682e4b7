namespace Microsoft.ML.Tokenizers;

/// <summary>Where a list of tokens is cut, so that no character is cut through: a character may take several byte tokens.</summary>
internal static class TokenLimit
{
    /// <summary>How many of the first <paramref name="limit"/> tokens can be kept.</summary>
    public static int CountFromStart(IReadOnlyList<EncodedToken> tokens, int limit)
    {
        int count = Math.Min(limit, tokens.Count);
        while (count > 0 && count < tokens.Count && tokens[count].Offset.Start.Value < tokens[count - 1].Offset.End.Value)
        {
            count--;
        }

        return count;
    }

    /// <summary>The first of the last <paramref name="limit"/> tokens that can be kept.</summary>
    public static int FirstFromEnd(IReadOnlyList<EncodedToken> tokens, int limit)
    {
        int first = Math.Max(0, tokens.Count - limit);
        while (first > 0 && first < tokens.Count && tokens[first].Offset.Start.Value < tokens[first - 1].Offset.End.Value)
        {
            first++;
        }

        return first;
    }
}
