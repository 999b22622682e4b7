namespace Retro.Tokenizers;

/// <summary>
/// Finds many strings in one walk over a text: of all that occur the leftmost, and of those that begin there the longest (Aho and Corasick 1975, with the
/// failure links cut where they would lead past a match).
/// </summary>
internal sealed class TokenAutomaton
{
    private const int Dead = -1;
    private readonly Dictionary<(int State, char Next), int> _next = [];
    private readonly List<int> _fail = [0];
    private readonly List<int> _match = [-1];
    private readonly string[] _patterns;
    private long _steps;

    /// <param name="patterns">What is sought; none is empty. Of equal ones the first counts.</param>
    public TokenAutomaton(IReadOnlyList<string> patterns)
    {
        _patterns = [.. patterns];
        List<(int State, char Next, int Parent)> breadthFirst = [];
        List<int> depths = [0];
        for (int id = 0; id < _patterns.Length; id++)
        {
            int state = 0;
            foreach (char c in _patterns[id])
            {
                if (!_next.TryGetValue((state, c), out int next))
                {
                    next = _fail.Count;
                    _next.Add((state, c), next);
                    _fail.Add(0);
                    _match.Add(-1);
                    depths.Add(depths[state] + 1);
                    breadthFirst.Add((next, c, state));
                }

                state = next;
            }

            if (_match[state] < 0)
            {
                _match[state] = id;
            }
        }

        foreach ((int state, char c, int parent) in breadthFirst.OrderBy(entry => depths[entry.State]))
        {
            // After a match only what makes it longer counts: nothing that begins later.
            bool own = _match[state] >= 0;
            _fail[state] = own ? Dead : parent == 0 ? 0 : Step(_fail[parent], c, ref _steps);
            if (!own && _fail[state] > 0)
            {
                _match[state] = _match[_fail[state]];
            }
        }
    }

    /// <summary>States that texts have gone through so far, which is what the time goes with.</summary>
    public long Steps => Interlocked.Read(ref _steps);

    /// <summary>The first match from a position on.</summary>
    /// <returns>The pattern's number and where it begins; (-1, -1) where there is none.</returns>
    public (int Pattern, int Begin) Find(ReadOnlySpan<char> text, int from)
    {
        (int pattern, int end) = (-1, -1);
        int state = 0;
        long steps = 0;
        for (int i = from; i < text.Length; i++)
        {
            state = Step(state, text[i], ref steps);
            if (state == Dead)
            {
                break;
            }

            if (_match[state] >= 0)
            {
                (pattern, end) = (_match[state], i + 1);
            }
        }

        Interlocked.Add(ref _steps, steps);
        return pattern < 0 ? (-1, -1) : (pattern, end - _patterns[pattern].Length);
    }

    private int Step(int state, char c, ref long steps)
    {
        while (state != Dead)
        {
            steps++;
            if (_next.TryGetValue((state, c), out int next))
            {
                return next;
            }

            if (state == 0)
            {
                return 0;
            }

            state = _fail[state];
        }

        return Dead;
    }
}
