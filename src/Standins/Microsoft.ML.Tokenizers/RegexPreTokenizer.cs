using System.Text.RegularExpressions;

namespace Microsoft.ML.Tokenizers;

/// <summary>The matches of a regular expression are the pieces; special tokens are cut out first and are pieces of their own.</summary>
public sealed class RegexPreTokenizer : PreTokenizer
{
    private readonly Regex _regex;
    private readonly Regex? _special;

    public RegexPreTokenizer(Regex regex, IReadOnlyDictionary<string, int>? specialTokens)
    {
        ArgumentNullException.ThrowIfNull(regex);
        _regex = regex;
        if (specialTokens is { Count: > 0 })
        {
            _special = new Regex(string.Join('|', specialTokens.Keys.Select(Regex.Escape)), RegexOptions.Compiled);
        }
    }

    public override IEnumerable<(int Offset, int Length)> PreTokenize(string text)
        => string.IsNullOrEmpty(text) ? [] : Split(text);

    public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
        => text.IsEmpty ? [] : Split(text.ToString());

    private IEnumerable<(int Offset, int Length)> Split(string text)
    {
        if (_special is null)
        {
            return Matches(text, 0, text.Length);
        }

        List<(int Offset, int Length)> pieces = [];
        int begin = 0;
        foreach (ValueMatch special in _special.EnumerateMatches(text))
        {
            pieces.AddRange(Matches(text, begin, special.Index));
            pieces.Add((special.Index, special.Length));
            begin = special.Index + special.Length;
        }

        pieces.AddRange(Matches(text, begin, text.Length));
        return pieces;
    }

    /// <summary>The part between two special tokens is matched by itself, so that anchors and look-ahead end where it ends.</summary>
    private List<(int Offset, int Length)> Matches(string text, int begin, int end)
    {
        List<(int Offset, int Length)> pieces = [];
        foreach (ValueMatch match in _regex.EnumerateMatches(text.AsSpan(begin, end - begin)))
        {
            pieces.Add((begin + match.Index, match.Length));
        }

        return pieces;
    }
}
