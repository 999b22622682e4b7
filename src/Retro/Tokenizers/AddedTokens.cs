namespace Retro.Tokenizers;

/// <summary>A token that is recognized in text before anything else.</summary>
internal sealed record AddedToken(int Id, string Content, bool Special, bool SingleWord, bool StripLeft, bool StripRight, bool Normalized);

/// <summary>Finds added tokens in a text: at each place the longest, from left to right.</summary>
internal sealed class AddedTokens
{
    private readonly Finder _raw;
    private readonly Finder _normalized;
    private readonly Finder _marked;

    public AddedTokens(IReadOnlyList<AddedToken> tokens, Func<string, string> normalize)
    {
        All = tokens;

        // As in the originals: of a token that is listed twice the last record counts; of several that read alike once they are normalized the first, and
        // special ones stand before others.
        AddedToken[] sought = [.. tokens.GroupBy(token => token.Content, StringComparer.Ordinal).Select(group => group.Last())
            .OrderByDescending(token => token.Special)];
        _raw = new Finder(sought.Where(token => !token.Normalized).Select(token => (token, token.Content)));
        _marked = new Finder(sought.Where(token => !token.Normalized || token.Special).Select(token => (token, token.Content)));
        _normalized = new Finder(sought.Where(token => token.Normalized).Select(token => (token, normalize(token.Content))));
    }

    public IReadOnlyList<AddedToken> All { get; }

    /// <summary>Splits a text as it is written.</summary>
    public List<(string Text, AddedToken? Token)> SplitRaw(string text, bool recognizeSpecial) => _raw.Split(text, recognizeSpecial);

    /// <summary>Splits a text as it is written, at every special token in it.</summary>
    public List<(string Text, AddedToken? Token)> SplitMarked(string text) => _marked.Split(text, recognizeSpecial: true);

    /// <summary>Splits a normalized text.</summary>
    public List<(string Text, AddedToken? Token)> SplitNormalized(string text, bool recognizeSpecial) => _normalized.Split(text, recognizeSpecial);

    /// <summary>What is sought, and the automaton that finds it.</summary>
    private sealed class Finder
    {
        private readonly AddedToken[] _tokens;
        private readonly string[] _contents;
        private readonly TokenAutomaton _automaton;

        public Finder(IEnumerable<(AddedToken Token, string Content)> sought)
        {
            (AddedToken Token, string Content)[] all = [.. sought.Where(entry => entry.Content.Length > 0)];
            _tokens = Array.ConvertAll(all, entry => entry.Token);
            _contents = Array.ConvertAll(all, entry => entry.Content);
            _automaton = new TokenAutomaton(_contents);
        }

        public List<(string Text, AddedToken? Token)> Split(string text, bool recognizeSpecial)
        {
            List<(string Text, AddedToken? Token)> parts = [];
            int begin = 0;
            for (int i = 0; _contents.Length > 0 && i < text.Length;)
            {
                (int pattern, int from) = _automaton.Find(text, i);
                if (pattern < 0)
                {
                    break;
                }

                // What is found and does not count hides what overlaps it, as in the original.
                AddedToken found = _tokens[pattern];
                int to = from + _contents[pattern].Length;
                i = to;
                if ((found.Special && !recognizeSpecial) || (found.SingleWord && (IsWordBefore(text, from) || IsWordAt(text, to))))
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

                // Of white space that a token before has taken, one that takes what is left of it finds nothing more.
                from = found.StripLeft ? Math.Max(from, begin) : from;
                if (from >= to)
                {
                    continue;
                }

                if (from > begin)
                {
                    parts.Add((text[begin..from], null));
                }

                parts.Add((text[from..to], found));

                // The original seeks on behind the match, also within white space that was taken with it.
                begin = to;
            }

            if (begin < text.Length)
            {
                parts.Add((text[begin..], null));
            }

            return parts;
        }
    }

    private static bool IsWordBefore(string text, int at)
        => at > 0 && CodePoints.IsOfWord(
            at > 1 && char.IsSurrogatePair(text[at - 2], text[at - 1]) ? char.ConvertToUtf32(text[at - 2], text[at - 1]) : text[at - 1]);

    private static bool IsWordAt(string text, int at)
        => at < text.Length && CodePoints.IsOfWord(
            at + 1 < text.Length && char.IsSurrogatePair(text[at], text[at + 1]) ? char.ConvertToUtf32(text[at], text[at + 1]) : text[at]);
}
