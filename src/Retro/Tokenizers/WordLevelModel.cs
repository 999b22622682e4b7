using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>Whole words: each piece is a token, or unknown.</summary>
internal sealed class WordLevelModel : IPieceModel
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<string, int> _words;
    private readonly Dictionary<int, string> _texts;

    /// <param name="vocabulary">Words and ids.</param>
    /// <param name="unknown">The word that stands for unknown ones.</param>
    /// <param name="special">Special tokens: text never gives them.</param>
    /// <exception cref="FormatException">The vocabulary lacks the unknown word.</exception>
    public WordLevelModel(Dictionary<string, int> vocabulary, string unknown, IReadOnlySet<string> special)
    {
        _vocabulary = vocabulary;
        _words = vocabulary.Where(pair => !special.Contains(pair.Key)).ToDictionary(StringComparer.Ordinal);
        _texts = vocabulary.ToDictionary(pair => pair.Value, pair => pair.Key);
        Unknown = vocabulary.TryGetValue(unknown, out int id) ? id : throw new FormatException($"its unknown token \"{unknown}\" is not in its vocabulary.");
        Size = vocabulary.Values.Max() + 1;
    }

    public int Size { get; }

    public int Count => _vocabulary.Count;

    public int Unknown { get; }

    public string Kind => "WordLevel";

    public void Encode(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        int id = _words.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(piece, out int known) ? known : Unknown;
        tokens.Add(new EncodedToken(id, _texts[id], position..(position + piece.Length)));
    }

    public string? TextOf(int id) => _texts.GetValueOrDefault(id);

    public int IdOf(string text) => _vocabulary.GetValueOrDefault(text, -1);

    public byte[] BytesOf(int id) => BytesOfAdded(TextOf(id) ?? "");

    public byte[] BytesOfAdded(string content) => Encoding.UTF8.GetBytes(content);

    // Which words come whole out of a text the split decides.
    public bool Gives(int id) => false;
}
