namespace Retro.Evaluation;

/// <summary>
/// Finds the longest run of tokens that a text has in common with others, in time linear in their lengths: a suffix automaton of the text (Blumer et al., "The
/// smallest automaton recognizing the subwords of a text", 1985), through which the others are led.
/// </summary>
internal sealed class CommonRun
{
    private readonly List<State> _states = [];
    private readonly Dictionary<(int State, long Token), int> _next = [];
    private readonly List<(long Token, int Following)> _tokens = [];
    private int _last;

    /// <summary>Takes a text.</summary>
    /// <param name="text">Its tokens.</param>
    public void Begin(ReadOnlySpan<int> text)
    {
        _states.Clear();
        _next.Clear();
        _tokens.Clear();
        _states.Add(new State(0, -1, -1));
        _last = 0;
        foreach (int token in text)
        {
            Append(token);
        }
    }

    /// <summary>The longest run that the text has in common with another.</summary>
    /// <param name="tokens">The other's tokens.</param>
    /// <param name="valid">Which hold something; no run crosses one that does not.</param>
    /// <returns>Its length.</returns>
    public int Longest(ReadOnlySpan<long> tokens, ReadOnlySpan<bool> valid)
    {
        int longest = 0, state = 0, length = 0;
        for (int i = 0; i < tokens.Length; i++)
        {
            if (!valid[i])
            {
                (state, length) = (0, 0);
                continue;
            }

            int following;
            while (!_next.TryGetValue((state, tokens[i]), out following) && state != 0)
            {
                state = _states[state].Link;
                length = _states[state].Length;
            }

            // Not found at the root either: following is 0, the root.
            (state, length) = following == 0 ? (0, 0) : (following, length + 1);
            longest = Math.Max(longest, length);
        }

        return longest;
    }

    private void Append(int token)
    {
        int added = Add(_states[_last].Length + 1, -1), state = _last;
        for (; state != -1 && _next.TryAdd((state, token), added); state = _states[state].Link)
        {
            Remember(state, token);
        }

        int link = 0;
        if (state != -1)
        {
            int following = _next[(state, token)];
            link = _states[state].Length + 1 == _states[following].Length ? following : Split(state, token, following);
        }

        _states[added] = _states[added] with { Link = link };
        _last = added;
    }

    /// <summary>Gives the shorter of the runs that end in a state a state of their own.</summary>
    private int Split(int state, int token, int following)
    {
        int copy = Add(_states[state].Length + 1, _states[following].Link);
        for (int edge = _states[following].Edges; edge != -1; edge = _tokens[edge].Following)
        {
            _next[(copy, _tokens[edge].Token)] = _next[(following, _tokens[edge].Token)];
            Remember(copy, _tokens[edge].Token);
        }

        for (; state != -1 && _next.TryGetValue((state, token), out int there) && there == following; state = _states[state].Link)
        {
            _next[(state, token)] = copy;
        }

        _states[following] = _states[following] with { Link = copy };
        return copy;
    }

    private int Add(int length, int link)
    {
        _states.Add(new State(length, link, -1));
        return _states.Count - 1;
    }

    // The tokens that a state goes on with, in a list of their own, since a dictionary by pairs cannot tell.
    private void Remember(int state, long token)
    {
        _tokens.Add((token, _states[state].Edges));
        _states[state] = _states[state] with { Edges = _tokens.Count - 1 };
    }

    /// <param name="Length">Of the longest run that ends here.</param>
    /// <param name="Link">The state of the longest of its ends that ends elsewhere too.</param>
    /// <param name="Edges">The last of the tokens that it goes on with; -1: none.</param>
    private readonly record struct State(int Length, int Link, int Edges);
}
