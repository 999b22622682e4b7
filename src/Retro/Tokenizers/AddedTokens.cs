using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>A token that is recognized in text before anything else.</summary>
internal sealed record AddedToken(int Id, string Content, bool Special, bool SingleWord, bool StripLeft, bool StripRight, bool Normalized);

/// <summary>Finds added tokens in a text: at each place the longest, from left to right.</summary>
internal sealed class AddedTokens
{
    private readonly AddedToken[] _raw;
    private readonly (AddedToken Token, string Content)[] _normalized;

    public AddedTokens(IReadOnlyList<AddedToken> tokens, Func<string, string> normalize)
    {
        All = tokens;
        _raw = tokens.Where(token => !token.Normalized && token.Content.Length > 0).OrderByDescending(token => token.Content.Length).ToArray();
        _normalized = tokens.Where(token => token.Normalized).Select(token => (token, Content: normalize(token.Content)))
            .Where(entry => entry.Content.Length > 0).OrderByDescending(entry => entry.Content.Length).ToArray();
    }

    public IReadOnlyList<AddedToken> All { get; }

    /// <summary>Splits a text as it is written.</summary>
    public List<(string Text, AddedToken? Token)> SplitRaw(string text, bool recognizeSpecial)
        => Split(text, _raw.Where(token => recognizeSpecial || !token.Special).Select(token => (token, token.Content)).ToArray());

    /// <summary>Splits a normalized text.</summary>
    public List<(string Text, AddedToken? Token)> SplitNormalized(string text, bool recognizeSpecial)
        => Split(text, recognizeSpecial ? _normalized : _normalized.Where(entry => !entry.Token.Special).ToArray());

    private static List<(string Text, AddedToken? Token)> Split(string text, (AddedToken Token, string Content)[] tokens)
    {
        List<(string Text, AddedToken? Token)> parts = [];
        int begin = 0;
        HashSet<char> firsts = [.. tokens.Select(entry => entry.Content[0])];
        for (int i = 0; i < text.Length;)
        {
            AddedToken? found = null;
            int length = 0;
            if (firsts.Contains(text[i]))
            {
                // Only the longest counts, even where it then is no word by itself.
                (AddedToken Token, string Content) longest = tokens.FirstOrDefault(entry => string.CompareOrdinal(text, i, entry.Content, 0, entry.Content.Length) == 0);
                if (longest.Token is not null)
                {
                    (found, length) = (longest.Token, longest.Content.Length);
                }
            }

            if (found is null)
            {
                i++;
                continue;
            }

            int from = i;
            int to = i + length;
            i = to;
            if (found.SingleWord && ((from > 0 && IsWord(text[from - 1])) || (to < text.Length && IsWord(text[to]))))
            {
                continue;
            }

            while (found.StripLeft && from > begin && char.IsWhiteSpace(text[from - 1]))
            {
                from--;
            }

            while (found.StripRight && to < text.Length && char.IsWhiteSpace(text[to]))
            {
                to++;
            }

            if (from > begin)
            {
                parts.Add((text[begin..from], null));
            }

            parts.Add((text[from..to], found));
            begin = i = to;
        }

        if (begin < text.Length)
        {
            parts.Add((text[begin..], null));
        }

        return parts;
    }

    private static bool IsWord(char c) => char.IsLetterOrDigit(c) || c == '_';
}
