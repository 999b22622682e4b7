using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>From a piece of text to tokens.</summary>
internal interface IPieceModel
{
    /// <summary>One more than the highest id.</summary>
    int Size { get; }

    /// <summary>Appends the tokens of a piece that begins at a position of the normalized text.</summary>
    void Encode(string piece, int position, List<EncodedToken> tokens);

    /// <summary>The vocabulary's text of an id, null where it has none.</summary>
    string? TextOf(int id);

    /// <summary>The id of a vocabulary entry, -1 where there is none.</summary>
    int IdOf(string text);
}

/// <summary>A tokenizer of the package as a model: it sees pieces that are normalized and split already.</summary>
internal sealed class PackageModel : IPieceModel
{
    private readonly Tokenizer _tokenizer;
    private readonly IReadOnlyDictionary<string, int> _vocabulary;
    private readonly Dictionary<string, int>? _whole;
    private readonly Dictionary<int, string> _texts;

    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="vocabulary">Its vocabulary.</param>
    /// <param name="whole">From a piece as it is written to the id it has as a whole, where such a piece is taken before any merge.</param>
    public PackageModel(Tokenizer tokenizer, IReadOnlyDictionary<string, int> vocabulary, Dictionary<string, int>? whole = null)
    {
        (_tokenizer, _vocabulary, _whole) = (tokenizer, vocabulary, whole);
        _texts = vocabulary.ToDictionary(pair => pair.Value, pair => pair.Key);
        Size = vocabulary.Values.DefaultIfEmpty(-1).Max() + 1;
    }

    public int Size { get; }

    public void Encode(string piece, int position, List<EncodedToken> tokens)
    {
        if (_whole is not null && _whole.TryGetValue(piece, out int id))
        {
            tokens.Add(new EncodedToken(id, _texts[id], position..(position + piece.Length)));
            return;
        }

        foreach (EncodedToken token in _tokenizer.EncodeToTokens(piece, out _, considerPreTokenization: false, considerNormalization: false))
        {
            tokens.Add(new EncodedToken(token.Id, token.Value, (position + token.Offset.Start.Value)..(position + token.Offset.End.Value)));
        }
    }

    public string? TextOf(int id) => _texts.GetValueOrDefault(id);

    public int IdOf(string text) => _vocabulary.GetValueOrDefault(text, -1);

    /// <summary>Whether the vocabulary is one of byte symbols.</summary>
    public bool IsByteLevel => _tokenizer is BpeTokenizer;
}

/// <summary>BPE over characters, which falls back to byte tokens where the vocabulary lacks one, as converted SentencePiece models do.</summary>
internal sealed class ByteFallbackBpe : IPieceModel
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<int, string> _texts;
    private readonly PairMerges _merges = new();
    private readonly int[]? _bytes;
    private readonly int _unknown;
    private readonly bool _fuseUnknown;
    private readonly bool _ignoreMerges;

    public ByteFallbackBpe(Dictionary<string, int> vocabulary, IReadOnlyList<(string Left, string Right)> rules, int unknown, bool fuseUnknown, bool byteFallback, bool ignoreMerges)
    {
        (_vocabulary, _unknown, _fuseUnknown, _ignoreMerges) = (vocabulary, unknown, fuseUnknown, ignoreMerges);
        _texts = vocabulary.ToDictionary(pair => pair.Value, pair => pair.Key);
        Size = vocabulary.Values.DefaultIfEmpty(-1).Max() + 1;
        _bytes = byteFallback ? Enumerable.Range(0, 256).Select(value => vocabulary.GetValueOrDefault($"<0x{value:X2}>", -1)).ToArray() : null;
        for (int rank = 0; rank < rules.Count; rank++)
        {
            _merges.Add(Id(rules[rank].Left), Id(rules[rank].Right), rank, Id(rules[rank].Left + rules[rank].Right));
        }
    }

    public int Size { get; }

    public void Encode(string piece, int position, List<EncodedToken> tokens)
    {
        if (_ignoreMerges && _vocabulary.TryGetValue(piece, out int whole))
        {
            tokens.Add(new EncodedToken(whole, piece, position..(position + piece.Length)));
            return;
        }

        List<int> symbols = new(piece.Length);
        List<int> lengths = new(piece.Length);
        Span<byte> utf8 = stackalloc byte[4];
        bool unknownBefore = false;
        for (int i = 0; i < piece.Length;)
        {
            int length = char.IsHighSurrogate(piece[i]) && i + 1 < piece.Length && char.IsLowSurrogate(piece[i + 1]) ? 2 : 1;
            ReadOnlySpan<char> character = piece.AsSpan(i, length);
            i += length;
            bool unknown = false;
            if (_vocabulary.TryGetValue(character.ToString(), out int id))
            {
                symbols.Add(id);
                lengths.Add(length);
            }
            else if (_bytes is not null && Known(utf8[..System.Text.Encoding.UTF8.GetBytes(character, utf8)]) is { } bytes)
            {
                // The first byte stands for the character's place in the text.
                symbols.AddRange(bytes);
                lengths.AddRange(bytes.Select((_, k) => k == 0 ? length : 0));
            }
            else if (_unknown >= 0)
            {
                unknown = true;
                if (_fuseUnknown && unknownBefore)
                {
                    lengths[^1] += length;
                }
                else
                {
                    symbols.Add(_unknown);
                    lengths.Add(length);
                }
            }

            unknownBefore = unknown;
        }

        int[] merged = symbols.ToArray();
        int[] spans = lengths.ToArray();
        int count = _merges.Merge(merged, spans);
        for (int i = 0; i < count; i++)
        {
            tokens.Add(new EncodedToken(merged[i], _texts[merged[i]], position..(position + spans[i])));
            position += spans[i];
        }
    }

    public string? TextOf(int id) => _texts.GetValueOrDefault(id);

    public int IdOf(string text) => _vocabulary.GetValueOrDefault(text, -1);

    private int[]? Known(ReadOnlySpan<byte> utf8)
    {
        int[] ids = new int[utf8.Length];
        for (int i = 0; i < ids.Length; i++)
        {
            ids[i] = _bytes![utf8[i]];
            if (ids[i] < 0)
            {
                return null;
            }
        }

        return ids;
    }

    private int Id(string text)
        => _vocabulary.TryGetValue(text, out int id) ? id : throw new FormatException($"a merge needs the piece \"{text}\", which the vocabulary lacks");
}
