using System.Text.RegularExpressions;

namespace Microsoft.ML.Tokenizers;

/// <summary>Splits a text into the pieces that are encoded one by one.</summary>
public abstract partial class PreTokenizer
{
    protected PreTokenizer()
    {
    }

    public abstract IEnumerable<(int Offset, int Length)> PreTokenize(string text);

    public abstract IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text);

    /// <summary>Words (letters, digits, underscore) and single punctuation characters; everything else falls away.</summary>
    public static PreTokenizer CreateWordOrPunctuation(IReadOnlyDictionary<string, int>? specialTokens = null)
        => new RegexPreTokenizer(WordOrPunctuation(), specialTokens);

    /// <summary>Words (letters, digits, underscore) and runs of what is neither word nor whitespace.</summary>
    public static PreTokenizer CreateWordOrNonWord(IReadOnlyDictionary<string, int>? specialTokens = null)
        => new RegexPreTokenizer(WordOrNonWord(), specialTokens);

    /// <summary>Runs of what is not whitespace.</summary>
    public static PreTokenizer CreateWhiteSpace(IReadOnlyDictionary<string, int>? specialTokens = null)
        => new RegexPreTokenizer(NonWhiteSpace(), specialTokens);

    [GeneratedRegex(@"\w+|[\p{P}]")]
    private static partial Regex WordOrPunctuation();

    [GeneratedRegex(@"\w+|[^\w\s]+")]
    private static partial Regex WordOrNonWord();

    [GeneratedRegex(@"\S+")]
    private static partial Regex NonWhiteSpace();
}
