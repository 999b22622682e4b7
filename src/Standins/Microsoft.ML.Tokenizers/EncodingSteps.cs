namespace Microsoft.ML.Tokenizers;

/// <summary>What the tokenizers share: normalize, split, encode each piece, and cut to a limit.</summary>
internal static class EncodingSteps
{
    /// <summary>Encodes one piece that begins at a position of the normalized text.</summary>
    public delegate void PieceEncoder(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens);

    public static string? Normalized(string? text, ReadOnlySpan<char> span, Normalizer? normalizer, EncodeSettings settings)
        => normalizer is null || !settings.ConsiderNormalization ? null : text is null ? normalizer.Normalize(span) : normalizer.Normalize(text);

    /// <summary>The pieces of a text; the whole text where nothing splits it.</summary>
    public static IEnumerable<(int Offset, int Length)> Pieces(string? text, ReadOnlySpan<char> span, PreTokenizer? preTokenizer, EncodeSettings settings)
        => preTokenizer is null || !settings.ConsiderPreTokenization ? [(0, span.Length)] : text is null ? preTokenizer.PreTokenize(span) : preTokenizer.PreTokenize(text);

    /// <summary>The tokens that a limit leaves, and how far into the text they reach.</summary>
    public static EncodeResults<EncodedToken> Cut(List<EncodedToken> tokens, string? normalized, int maxTokenCount)
    {
        int count = TokenLimit.CountFromStart(tokens, maxTokenCount);
        if (count < tokens.Count)
        {
            tokens.RemoveRange(count, tokens.Count - count);
        }

        return new EncodeResults<EncodedToken> { Tokens = tokens, NormalizedText = normalized, CharsConsumed = count == 0 ? 0 : tokens[count - 1].Offset.End.Value };
    }
}
