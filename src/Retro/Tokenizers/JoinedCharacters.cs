namespace Retro.Tokenizers;

/// <summary>
/// Which two characters (units of UTF-16) stand beside each other in some piece of a vocabulary. Between two that do in none, no piece goes on: what merges
/// make of a text before and behind that place has nothing to do with each other.
/// </summary>
internal sealed class JoinedCharacters
{
    private readonly HashSet<int> _pairs = [];

    /// <param name="pieces">The pieces.</param>
    public JoinedCharacters(IEnumerable<string> pieces)
    {
        foreach (string piece in pieces)
        {
            for (int i = 1; i < piece.Length; i++)
            {
                _pairs.Add(Key(piece[i - 1], piece[i]));
            }
        }
    }

    /// <summary>Whether a piece holds the two, one behind the other.</summary>
    public bool Are(char first, char second) => _pairs.Contains(Key(first, second));

    private static int Key(char first, char second) => (first << 16) | second;
}
