using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>
/// WordPiece as BERT has it: of a word's rest always the longest piece that the vocabulary holds; a word with a rest that begins with none, or one of too many
/// characters, is unknown as a whole.
/// </summary>
internal sealed class WordPieceModel : IPieceModel
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<string, int> _words = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _continuations = new(StringComparer.Ordinal);
    private readonly Dictionary<int, string> _texts;
    private readonly IReadOnlySet<string> _special;
    private readonly string _prefix;
    private readonly string _unknown;
    private readonly int _unknownId;
    private readonly int _mostCharacters;
    private readonly int _longest;

    /// <param name="vocabulary">Pieces and ids.</param>
    /// <param name="unknown">The piece that stands for unknown words.</param>
    /// <param name="prefix">What pieces begin with that go on within a word.</param>
    /// <param name="mostCharacters">Words of more characters (code points) are unknown.</param>
    /// <param name="special">Special tokens: text never gives them.</param>
    /// <exception cref="FormatException">The vocabulary lacks the unknown piece.</exception>
    public WordPieceModel(Dictionary<string, int> vocabulary, string unknown, string prefix, int mostCharacters, IReadOnlySet<string> special)
    {
        (_vocabulary, _unknown, _prefix, _mostCharacters, _special) = (vocabulary, unknown, prefix, mostCharacters, special);
        _unknownId = vocabulary.TryGetValue(unknown, out int id) ? id : throw new FormatException($"its unknown token \"{unknown}\" is not in its vocabulary.");
        _texts = vocabulary.ToDictionary(pair => pair.Value, pair => pair.Key);
        Size = vocabulary.Values.DefaultIfEmpty(-1).Max() + 1;
        foreach ((string piece, int own) in vocabulary.Where(pair => !special.Contains(pair.Key)))
        {
            _longest = Math.Max(_longest, piece.Length);
            _words[piece] = own;
            if (piece.StartsWith(prefix, StringComparison.Ordinal))
            {
                _continuations[piece[prefix.Length..]] = own;
            }
        }
    }

    public int Size { get; }

    public int Count => _vocabulary.Count;

    public int Unknown => _unknownId;

    public string Kind => WordPiece.KindName;

    public void Encode(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        int before = tokens.Count;
        if (CodePoints.Count(piece) <= _mostCharacters)
        {
            Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = _words.GetAlternateLookup<ReadOnlySpan<char>>();
            int begin = 0;
            while (begin < piece.Length)
            {
                int id = -1;
                int end = Math.Min(piece.Length, begin + _longest);
                while (end > begin && (CodePoints.IsWithinPair(piece, end) || !lookup.TryGetValue(piece[begin..end], out id)))
                {
                    end--;
                }

                if (end == begin)
                {
                    break;
                }

                tokens.Add(new EncodedToken(id, _texts[id], (position + begin)..(position + end)));
                begin = end;
                lookup = _continuations.GetAlternateLookup<ReadOnlySpan<char>>();
            }

            if (begin == piece.Length)
            {
                return;
            }
        }

        tokens.RemoveRange(before, tokens.Count - before);
        tokens.Add(new EncodedToken(_unknownId, _unknown, position..(position + piece.Length)));
    }

    public string? TextOf(int id) => _texts.GetValueOrDefault(id);

    public int IdOf(string text) => _vocabulary.GetValueOrDefault(text, -1);

    /// <summary>A word comes with the space before it; special tokens and the unknown one are none.</summary>
    public byte[] BytesOf(int id)
        => TextOf(id) is not { Length: > 0 } text || id == _unknownId || _special.Contains(text) ? [] : BytesOfAdded(text);

    public byte[] BytesOfAdded(string content)
        => Encoding.UTF8.GetBytes(_prefix.Length > 0 && content.StartsWith(_prefix, StringComparison.Ordinal) && content.Length > _prefix.Length
            ? content[_prefix.Length..]
            : " " + content);

    // What goes on within a word; of whole words the split decides.
    public bool Gives(int id)
        => TextOf(id) is { } text && text.Length > _prefix.Length && text.StartsWith(_prefix, StringComparison.Ordinal) && _words.ContainsKey(text);
}
