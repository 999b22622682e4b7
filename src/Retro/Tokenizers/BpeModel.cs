using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>How a <see cref="BpeModel"/> takes what its vocabulary lacks, and what its symbols are.</summary>
internal sealed record BpeSettings
{
    /// <summary>Whether the symbols stand for bytes (<see cref="ByteSymbols"/>) instead of characters.</summary>
    public bool ByteLevel { get; init; }

    /// <summary>How the symbols of a piece are split further, where they stand for bytes.</summary>
    public IReadOnlyList<PreTokenizer> SymbolSplits { get; init; } = [];

    /// <summary>
    /// Whether characters that the vocabulary lacks become its pieces <c>&lt;0x00&gt;</c> to <c>&lt;0xFF&gt;</c>, as in converted SentencePiece models.
    /// </summary>
    public bool ByteFallback { get; init; }

    /// <summary>The token for what is in no other way in the vocabulary; null where there is none.</summary>
    public string? Unknown { get; init; }

    /// <summary>Whether unknown symbols in a row are one token.</summary>
    public bool FuseUnknown { get; init; }

    /// <summary>Whether a piece that is in the vocabulary as a whole is taken before any merge.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Special tokens: text never gives them, but for those of one character or byte, of which texts have to be made.</summary>
    public IReadOnlySet<string> Special { get; init; } = new HashSet<string>();

    /// <summary>What stands for a space in pieces of characters; null where a space is a space.</summary>
    public string? SpaceMark { get; init; }
}

/// <summary>Byte pair encoding over bytes or characters.</summary>
internal sealed class BpeModel : IPieceModel
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly Dictionary<int, string> _texts;
    private readonly PairMerges _merges = new();
    private readonly int[] _bytes = new int[256];
    private readonly int[] _symbols = new int[256];
    private readonly BpeSettings _settings;
    private readonly int _unknown = -1;

    // Whether text gives an id: as a symbol, by a merge, or as a whole.
    private readonly bool[] _given;
    private readonly KeptPieces _kept;
    private JoinedCharacters? _joined;

    /// <exception cref="FormatException">Rules or settings name what the vocabulary lacks, or bytes of a text would be lost.</exception>
    public BpeModel(Dictionary<string, int> vocabulary, IReadOnlyList<(string Left, string Right)> rules, BpeSettings settings)
    {
        (_vocabulary, _settings) = (vocabulary, settings);
        _lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        _texts = vocabulary.ToDictionary(pair => pair.Value, pair => pair.Key);
        _kept = new KeptPieces(id => _texts[id], EncodeAnew);
        Size = vocabulary.Values.DefaultIfEmpty(-1).Max() + 1;
        _given = new bool[Size];
        for (int value = 0; value < 256; value++)
        {
            _symbols[value] = vocabulary.GetValueOrDefault(ByteSymbols.ToChar((byte)value).ToString(), -1);
            _bytes[value] = settings.ByteFallback ? vocabulary.GetValueOrDefault($"<0x{value:X2}>", -1) : -1;
        }

        if (settings.Unknown is { Length: > 0 } unknown && !vocabulary.TryGetValue(unknown, out _unknown))
        {
            // With all bytes nothing is unknown.
            _unknown = !(settings.ByteLevel ? _symbols : _bytes).Contains(-1)
                ? -1
                : throw new FormatException($"its unknown token \"{unknown}\" is not in its vocabulary.");
        }

        if (settings.ByteLevel && _unknown < 0 && _symbols.Contains(-1))
        {
            char first = ByteSymbols.ToChar((byte)Array.IndexOf(_symbols, -1));
            throw new FormatException(
                $"its vocabulary lacks {_symbols.Count(id => id < 0)} of the 256 bytes (the first is \"{first}\") and has no unknown token, so some text "
                    + "would be lost.");
        }

        for (int rank = 0; rank < rules.Count; rank++)
        {
            string text = rules[rank].Left + rules[rank].Right;
            int left = Id(rules[rank].Left), right = Id(rules[rank].Right), merged = Id(text);
            if (!settings.Special.Contains(text))
            {
                _merges.Add(left, right, rank, merged);
                _given[merged] = true;
            }
        }

        foreach ((string text, int id) in vocabulary)
        {
            _given[id] |= (text.Length > 0 && CodePoints.LengthAt(text, 0) == text.Length) || (settings.IgnoreMerges && !settings.Special.Contains(text));
        }
    }

    public int Size { get; }

    public int Count => _vocabulary.Count;

    public int Unknown => (_settings.ByteLevel ? _symbols : _bytes).Contains(-1) ? _unknown : -1;

    public string Kind => _settings.ByteLevel ? ByteLevelBpe.KindName : "SentencePiece";

    public void Encode(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens) => _kept.Encode(piece, position, tokens);

    public int NextCut(ReadOnlySpan<char> piece, int from)
    {
        JoinedCharacters joined = LazyInitializer.EnsureInitialized(ref _joined, () => new JoinedCharacters(_vocabulary.Keys));
        int end = _settings.SymbolSplits.Count > 0 ? piece.Length : from;
        while (end < piece.Length && !IsCut(piece[end - 1], piece[end]))
        {
            end++;
        }

        return end;

        // Unknown symbols are joined, too, where the settings say so.
        bool IsCut(char before, char behind)
            => _settings.ByteLevel ? before < 0x80 && behind < 0x80 && IsApart(ByteSymbols.ToChar((byte)before), ByteSymbols.ToChar((byte)behind))
                : !char.IsSurrogate(before) && !char.IsSurrogate(behind) && IsApart(before, behind);

        bool IsApart(char before, char behind) => !joined.Are(before, behind) && _lookup.ContainsKey([before]) && _lookup.ContainsKey([behind]);
    }

    private void EncodeAnew(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        if (_settings.SymbolSplits.Count > 0)
        {
            EncodeSplit(piece, position, tokens);
            return;
        }

        if (_settings.IgnoreMerges && IsWhole(_settings.ByteLevel ? ByteSymbols.Of(piece) : piece, out int whole))
        {
            tokens.Add(new EncodedToken(whole, _texts[whole], position..(position + piece.Length)));
            return;
        }

        Run run = new(this, piece.Length);
        Span<byte> utf8 = stackalloc byte[4];
        for (int i = 0; i < piece.Length;)
        {
            int length = CodePoints.LengthAt(piece, i);
            ReadOnlySpan<char> character = piece.Slice(i, length);
            i += length;
            int count = character[0] < 0x80 ? 1 : Encoding.UTF8.GetBytes(character, utf8);
            if (count == 1)
            {
                utf8[0] = (byte)character[0];
            }

            if (_settings.ByteLevel)
            {
                for (int k = 0; k < count; k++)
                {
                    run.AddOrUnknown(_symbols[utf8[k]], k == 0 ? length : 0);
                }
            }
            else if (!_lookup.TryGetValue(character, out int id) && AreKnown(utf8[..count]))
            {
                for (int k = 0; k < count; k++)
                {
                    run.Add(_bytes[utf8[k]], k == 0 ? length : 0);
                }
            }
            else if (!_lookup.ContainsKey(character) && _unknown < 0)
            {
                throw new CorpusException(
                    $"The tokenizer's vocabulary has no piece for \"{character}\" and no unknown token, so the text would lose it. Take a tokenizer that "
                        + "knows the text's characters.");
            }
            else
            {
                run.AddOrUnknown(_lookup.TryGetValue(character, out id) ? id : -1, length);
            }
        }

        run.Merge(position, tokens);
    }

    /// <summary>Encodes a piece whose symbols are split once more, each part by itself. A split may fall between the bytes of one character.</summary>
    private void EncodeSplit(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        string symbols = ByteSymbols.Of(piece);
        int[] lengths = new int[symbols.Length];
        for (int i = 0, first = 0; i < piece.Length;)
        {
            int length = CodePoints.LengthAt(piece, i);
            lengths[first] = length;
            first += Encoding.UTF8.GetByteCount(piece.Slice(i, length));
            i += length;
        }

        int at = 0;
        foreach ((int offset, int count) in PieceSplits.Of(symbols, _settings.SymbolSplits))
        {
            position += TensorPrimitives.Sum<int>(lengths.AsSpan(at, offset - at));
            at = offset + count;
            Run run = new(this, count);
            if (_settings.IgnoreMerges && IsWhole(symbols.AsSpan(offset, count), out int whole))
            {
                run.Add(whole, TensorPrimitives.Sum<int>(lengths.AsSpan(offset, count)));
            }
            else
            {
                for (int k = offset; k < at; k++)
                {
                    run.AddOrUnknown(_symbols[ByteSymbols.ToByte(symbols[k])], lengths[k]);
                }
            }

            position = run.Merge(position, tokens);
        }
    }

    public string? TextOf(int id) => _texts.GetValueOrDefault(id);

    public int IdOf(string text) => _vocabulary.GetValueOrDefault(text, -1);

    public byte[] BytesOf(int id)
        => TextOf(id) is not { } text ? []
            : _settings.ByteLevel ? ByteSymbols.ToBytes(text) ?? Encoding.UTF8.GetBytes(text)
            : _settings.ByteFallback && ByteSymbols.FallbackByte(text) is { } value ? [value]
            : BytesOfAdded(text);

    public byte[] BytesOfAdded(string content)
        => Encoding.UTF8.GetBytes(_settings is { ByteLevel: false, SpaceMark: { } mark } ? content.Replace(mark, " ", StringComparison.Ordinal) : content);

    public bool Gives(int id) => (uint)id < (uint)Size && (_given[id] || _bytes.Contains(id));

    private bool IsWhole(ReadOnlySpan<char> piece, out int id) => _lookup.TryGetValue(piece, out id) && _given[id];

    private bool AreKnown(ReadOnlySpan<byte> utf8)
    {
        foreach (byte value in utf8)
        {
            if (_bytes[value] < 0)
            {
                return false;
            }
        }

        return true;
    }

    private int Id(string text)
        => _vocabulary.TryGetValue(text, out int id) ? id : throw new FormatException($"a merge needs the piece \"{text}\", which the vocabulary lacks.");

    /// <summary>The symbols of a piece, each with its length in the text; the first byte of a character stands for its place.</summary>
    private sealed class Run(BpeModel model, int capacity)
    {
        private readonly List<int> _symbols = new(capacity);
        private readonly List<int> _lengths = new(capacity);
        private bool _unknownBefore;

        public void Add(int id, int length)
        {
            _symbols.Add(id);
            _lengths.Add(length);
            _unknownBefore = false;
        }

        public void AddOrUnknown(int id, int length)
        {
            if (id >= 0)
            {
                Add(id, length);
            }
            else if (model._settings.FuseUnknown && _unknownBefore)
            {
                _lengths[^1] += length;
            }
            else
            {
                Add(model._unknown, length);
                _unknownBefore = true;
            }
        }

        /// <summary>Merges them and appends the tokens.</summary>
        /// <returns>The position behind them.</returns>
        public int Merge(int position, List<EncodedToken> tokens)
        {
            Span<int> merged = CollectionsMarshal.AsSpan(_symbols);
            Span<int> lengths = CollectionsMarshal.AsSpan(_lengths);
            int left = model._merges.Merge(merged, lengths);
            for (int i = 0; i < left; i++)
            {
                tokens.Add(new EncodedToken(merged[i], model._texts[merged[i]], position..(position + lengths[i])));
                position += lengths[i];
            }

            return position;
        }
    }
}
