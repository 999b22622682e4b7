using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>How a <see cref="BpeModel"/> takes what its vocabulary lacks, and what its symbols are.</summary>
internal sealed record BpeSettings
{
    /// <summary>Whether the symbols stand for bytes (<see cref="ByteSymbols"/>) instead of characters.</summary>
    public bool ByteLevel { get; init; }

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

    /// <exception cref="FormatException">Rules or settings name what the vocabulary lacks, or bytes of a text would be lost.</exception>
    public BpeModel(Dictionary<string, int> vocabulary, IReadOnlyList<(string Left, string Right)> rules, BpeSettings settings)
    {
        (_vocabulary, _settings) = (vocabulary, settings);
        _lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        _texts = vocabulary.ToDictionary(pair => pair.Value, pair => pair.Key);
        Size = vocabulary.Values.DefaultIfEmpty(-1).Max() + 1;
        if (settings.Unknown is { } unknown)
        {
            _unknown = vocabulary.TryGetValue(unknown, out int id)
                ? id
                : throw new FormatException($"its unknown token \"{unknown}\" is not in its vocabulary.");
        }

        for (int value = 0; value < 256; value++)
        {
            _symbols[value] = vocabulary.GetValueOrDefault(ByteSymbols.ToChar((byte)value).ToString(), -1);
            _bytes[value] = settings.ByteFallback ? vocabulary.GetValueOrDefault($"<0x{value:X2}>", -1) : -1;
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
            _merges.Add(Id(rules[rank].Left), Id(rules[rank].Right), rank, Id(rules[rank].Left + rules[rank].Right));
        }
    }

    public int Size { get; }

    public string Kind => _settings.ByteLevel ? ByteLevelBpe.KindName : "SentencePiece";

    public void Encode(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        if (_settings.IgnoreMerges && _lookup.TryGetValue(_settings.ByteLevel ? ByteSymbols.Of(piece) : piece, out int whole))
        {
            tokens.Add(new EncodedToken(whole, _texts[whole], position..(position + piece.Length)));
            return;
        }

        List<int> symbols = new(piece.Length);
        List<int> lengths = new(piece.Length);
        Span<byte> utf8 = stackalloc byte[4];
        bool unknownBefore = false;
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
                    AddOrUnknown(_symbols[utf8[k]], k == 0 ? length : 0);
                }
            }
            else if (!_lookup.TryGetValue(character, out int id) && AreKnown(utf8[..count]))
            {
                unknownBefore = false;
                for (int k = 0; k < count; k++)
                {
                    Add(_bytes[utf8[k]], k == 0 ? length : 0);
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
                AddOrUnknown(_lookup.TryGetValue(character, out id) ? id : -1, length);
            }
        }

        Span<int> merged = CollectionsMarshal.AsSpan(symbols);
        Span<int> spans = CollectionsMarshal.AsSpan(lengths);
        int left = _merges.Merge(merged, spans);
        for (int i = 0; i < left; i++)
        {
            tokens.Add(new EncodedToken(merged[i], _texts[merged[i]], position..(position + spans[i])));
            position += spans[i];
        }

        // The first byte of a character stands for its place in the text.
        void Add(int id, int length)
        {
            symbols.Add(id);
            lengths.Add(length);
        }

        void AddOrUnknown(int id, int length)
        {
            if (id < 0 && _settings.FuseUnknown && unknownBefore)
            {
                lengths[^1] += length;
                return;
            }

            Add(id < 0 ? _unknown : id, length);
            unknownBefore = id < 0;
        }
    }

    public string? TextOf(int id) => _texts.GetValueOrDefault(id);

    public int IdOf(string text) => _vocabulary.GetValueOrDefault(text, -1);

    public byte[] BytesOf(int id)
        => TextOf(id) is not { } text ? []
            : _settings.ByteLevel ? ByteSymbols.ToBytes(text) ?? Encoding.UTF8.GetBytes(text)
            : _settings.ByteFallback && text.Length == 6 && text.StartsWith("<0x", StringComparison.Ordinal) && text[5] == '>'
                && byte.TryParse(text.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value) ? [value]
            : Encoding.UTF8.GetBytes(_settings.SpaceMark is { } mark ? text.Replace(mark, " ", StringComparison.Ordinal) : text);

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
        => _vocabulary.TryGetValue(text, out int id) ? id : throw new FormatException($"a merge needs the piece \"{text}\", which the vocabulary lacks");
}
