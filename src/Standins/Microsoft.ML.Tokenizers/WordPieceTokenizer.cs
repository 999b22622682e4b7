using System.Buffers;
using System.Text;

namespace Microsoft.ML.Tokenizers;

/// <summary>Each word is cut into the longest pieces of the vocabulary from its start; a word that cannot be is the unknown token.</summary>
public class WordPieceTokenizer : Tokenizer
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly Dictionary<int, string> _texts = [];
    private readonly HashSet<int> _special;
    private readonly PieceCache _cache = new();

    internal WordPieceTokenizer(Dictionary<string, int> vocabulary, WordPieceOptions options, PreTokenizer? preTokenizer, Normalizer? normalizer, IReadOnlyDictionary<string, int>? specialTokens)
    {
        _vocabulary = vocabulary;
        _lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach ((string text, int number) in vocabulary)
        {
            _texts.TryAdd(number, text);
        }

        UnknownToken = options.UnknownToken;
        UnknownTokenId = vocabulary.TryGetValue(UnknownToken, out int id)
            ? id
            : throw new ArgumentException($"The unknown token '{UnknownToken}' is not in the vocabulary.");
        ContinuingSubwordPrefix = options.ContinuingSubwordPrefix;
        MaxInputCharsPerWord = options.MaxInputCharsPerWord;
        SpecialTokens = specialTokens;
        _special = specialTokens is null ? [] : [.. specialTokens.Values];
        PreTokenizer = preTokenizer ?? PreTokenizer.CreateWhiteSpace(specialTokens);
        Normalizer = normalizer;
    }

    public override PreTokenizer? PreTokenizer { get; }

    public override Normalizer? Normalizer { get; }

    public IReadOnlyDictionary<string, int>? SpecialTokens { get; }

    public string UnknownToken { get; }

    public int UnknownTokenId { get; }

    public string ContinuingSubwordPrefix { get; }

    public int MaxInputCharsPerWord { get; }

    public static WordPieceTokenizer Create(string vocabFilePath, WordPieceOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(vocabFilePath);
        using FileStream stream = File.OpenRead(vocabFilePath);
        return Create(stream, options);
    }

    public static WordPieceTokenizer Create(Stream vocabStream, WordPieceOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(vocabStream);
        options ??= new WordPieceOptions();
        return new WordPieceTokenizer(ReadVocabulary(vocabStream), options, options.PreTokenizer, options.Normalizer, options.SpecialTokens);
    }

    public override string Decode(IEnumerable<int> ids) => Decode(ids, skipSpecialTokens: false);

    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(ids);
        StringBuilder text = new();
        bool first = true;
        foreach (int id in ids)
        {
            if (skipSpecialTokens && _special.Contains(id))
            {
                continue;
            }

            bool begins = first;
            first = false;
            if (!_texts.TryGetValue(id, out string? piece))
            {
                continue;
            }

            if (piece.StartsWith(ContinuingSubwordPrefix, StringComparison.Ordinal))
            {
                text.Append(piece.AsSpan(ContinuingSubwordPrefix.Length));
            }
            else
            {
                text.Append(!begins && !(piece.Length == 1 && piece[0] is '.' or ',' or '!' or '?' or '\'') ? " " : "").Append(piece);
            }
        }

        return text.ToString();
    }

    public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
        => Decode(ids, destination, skipSpecialTokens: false, out idsConsumed, out charsWritten);

    public OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, bool skipSpecialTokens, out int idsConsumed, out int charsWritten)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return DecodingSteps.IntoSpan(ids.ToList(), destination, part => Decode(part, skipSpecialTokens), out idsConsumed, out charsWritten);
    }

    protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        if (textSpan.IsEmpty)
        {
            return new EncodeResults<EncodedToken> { Tokens = [] };
        }

        string? normalized = EncodingSteps.Normalized(text, textSpan, Normalizer, settings);
        ReadOnlySpan<char> span = normalized ?? textSpan;
        List<EncodedToken> tokens = [];
        foreach ((int offset, int length) in EncodingSteps.Pieces(normalized ?? text, span, PreTokenizer, settings))
        {
            int[] encoded = EncodeWord(span.Slice(offset, length));
            int position = offset;
            for (int i = 0; i < encoded.Length; i += 2)
            {
                int end = position + encoded[i + 1];
                tokens.Add(new EncodedToken(encoded[i], _texts[encoded[i]], position..end));
                position = end;
            }
        }

        return EncodingSteps.Cut(tokens, normalized, settings.MaxTokenCount);
    }

    internal static Dictionary<string, int> ReadVocabulary(Stream stream)
    {
        using StreamReader reader = new(stream, leaveOpen: true);
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        while (reader.ReadLine() is { } line)
        {
            vocabulary.Add(line, vocabulary.Count);
        }

        return vocabulary;
    }

    /// <summary>The pieces of a word as (id, number of characters) pairs, flattened.</summary>
    private int[] EncodeWord(ReadOnlySpan<char> word)
    {
        if (word.Length > MaxInputCharsPerWord)
        {
            return [UnknownTokenId, word.Length];
        }

        if (_cache.TryGet(word, out int[] known))
        {
            return known;
        }

        if (SpecialTokens is not null && SpecialTokens.TryGetValue(word.ToString(), out int special))
        {
            return [special, word.Length];
        }

        List<int> pieces = [];
        int prefixLength = ContinuingSubwordPrefix.Length;
        Span<char> candidate = new char[prefixLength + word.Length];
        ContinuingSubwordPrefix.CopyTo(candidate);
        word.CopyTo(candidate[prefixLength..]);
        for (int begin = 0; begin < word.Length;)
        {
            // The prefix is written over the characters before the piece, so that each candidate is one span.
            int from = begin == 0 ? prefixLength : begin;
            if (begin > 0)
            {
                ContinuingSubwordPrefix.CopyTo(candidate[begin..]);
            }

            int end = word.Length;
            int id = -1;
            while (end > begin && !_lookup.TryGetValue(candidate[from..(prefixLength + end)], out id))
            {
                end--;
            }

            if (end == begin)
            {
                pieces = [UnknownTokenId, word.Length];
                break;
            }

            pieces.Add(id);
            pieces.Add(end - begin);
            begin = end;
        }

        int[] result = pieces.ToArray();
        _cache.Add(word, result);
        return result;
    }
}
