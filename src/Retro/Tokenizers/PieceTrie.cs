namespace Retro.Tokenizers;

/// <summary>
/// Strings by their beginnings. A walk over a text passes all of them that begin at a place, and ends at the first character with which none goes on: however
/// long the longest is.
/// </summary>
internal sealed class PieceTrie
{
    private readonly Dictionary<(int State, char Next), int> _next = [];
    private readonly List<int> _values = [-1];

    /// <param name="pieces">Strings to begin with, which stand for their numbers.</param>
    public PieceTrie(params IEnumerable<string> pieces)
    {
        foreach ((int number, string piece) in pieces.Index())
        {
            Add(piece, number);
        }
    }

    /// <summary>Adds a string that is not empty; of equal ones the last counts.</summary>
    /// <param name="piece">The string.</param>
    /// <param name="value">What it stands for, 0 or more.</param>
    public void Add(string piece, int value)
    {
        int state = 0;
        foreach (char c in piece)
        {
            if (!_next.TryGetValue((state, c), out int next))
            {
                next = _values.Count;
                _next.Add((state, c), next);
                _values.Add(-1);
            }

            state = next;
        }

        _values[state] = value;
    }

    /// <summary>Goes on by a character from a state, 0 at the beginning; false where no string does.</summary>
    /// <param name="state">The state before and after.</param>
    /// <param name="c">The character.</param>
    /// <param name="value">What the string stands for that is walked through, -1 where none ends there.</param>
    public bool Step(ref int state, char c, out int value)
    {
        bool goesOn = _next.TryGetValue((state, c), out state);
        value = goesOn ? _values[state] : -1;
        return goesOn;
    }

    /// <summary>What a text stands for, -1 where it is none of the strings.</summary>
    public int ValueOf(ReadOnlySpan<char> text)
    {
        int state = 0, value = -1;
        foreach (char c in text)
        {
            if (!Step(ref state, c, out value))
            {
                break;
            }
        }

        return value;
    }

    /// <summary>Length of the longest string that begins at a position, 0 where none does.</summary>
    public int LongestAt(ReadOnlySpan<char> text, int at)
    {
        int longest = 0, state = 0;
        for (int end = at; end < text.Length && Step(ref state, text[end], out int value); end++)
        {
            longest = value >= 0 ? end + 1 - at : longest;
        }

        return longest;
    }
}
