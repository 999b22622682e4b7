using System.Buffers;
using System.Text;

namespace Microsoft.ML.Tokenizers;

/// <summary>Byte pair encoding over the bytes of a text (GPT-2's way) or over its characters.</summary>
public sealed class BpeTokenizer : Tokenizer
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<int, string> _texts = [];
    private readonly Dictionary<int, string> _special = [];
    private readonly int? _unknownId;
    private readonly int? _beginId;
    private readonly int? _endId;
    private readonly ByteBpe? _bytes;
    private readonly CharacterBpe? _characters;

    private BpeTokenizer(BpeOptions options)
    {
        _vocabulary = new Dictionary<string, int>(options.Vocabulary, StringComparer.Ordinal);
        foreach ((string text, int id) in _vocabulary)
        {
            _texts[id] = text;
        }

        UnknownToken = options.UnknownToken;
        if (UnknownToken is not null)
        {
            _unknownId = _vocabulary.TryGetValue(UnknownToken, out int id)
                ? id
                : throw new InvalidOperationException($"Unknown Token '{UnknownToken}' was not present in 'Vocabulary'.");
        }

        SpecialTokens = options.SpecialTokens;
        foreach ((string text, int id) in SpecialTokens ?? new Dictionary<string, int>())
        {
            _special[id] = text;
        }

        BeginningOfSentenceToken = options.BeginningOfSentenceToken;
        EndOfSentenceToken = options.EndOfSentenceToken;
        _beginId = IdOf(BeginningOfSentenceToken);
        _endId = IdOf(EndOfSentenceToken);
        PreTokenizer = options.PreTokenizer ?? PreTokenizer.CreateWordOrNonWord();
        Normalizer = options.Normalizer;
        FuseUnknownTokens = options.FuseUnknownTokens;
        ContinuingSubwordPrefix = options.ContinuingSubwordPrefix;
        EndOfWordSuffix = options.EndOfWordSuffix;
        ByteLevel = options.ByteLevel;

        List<(string Left, string Right)> rules = BpeRules.Parse(options.Merges ?? []).ToList();
        if (ByteLevel)
        {
            _bytes = new ByteBpe(_vocabulary, rules, _unknownId, strict: true);
        }
        else
        {
            _characters = new CharacterBpe(_vocabulary, rules, _unknownId, FuseUnknownTokens, ContinuingSubwordPrefix, EndOfWordSuffix);
        }
    }

    public override PreTokenizer? PreTokenizer { get; }

    public override Normalizer? Normalizer { get; }

    public IReadOnlyDictionary<string, int>? SpecialTokens { get; }

    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    public bool ByteLevel { get; }

    public bool FuseUnknownTokens { get; }

    public string? BeginningOfSentenceToken { get; }

    public string? ContinuingSubwordPrefix { get; }

    internal string? EndOfSentenceToken { get; }

    public string? EndOfWordSuffix { get; }

    public string? UnknownToken { get; }

    public static BpeTokenizer Create(BpeOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return new BpeTokenizer(options);
    }

    public static BpeTokenizer Create(string vocabFile, string? mergesFile)
        => Create(vocabFile, mergesFile, preTokenizer: null);

    public static BpeTokenizer Create(
        string vocabFile,
        string? mergesFile,
        PreTokenizer? preTokenizer = null,
        Normalizer? normalizer = null,
        IReadOnlyDictionary<string, int>? specialTokens = null,
        string? unknownToken = null,
        string? continuingSubwordPrefix = null,
        string? endOfWordSuffix = null,
        bool fuseUnknownTokens = false)
        => Create(Filled(new BpeOptions(vocabFile, mergesFile), preTokenizer, normalizer, specialTokens, unknownToken, continuingSubwordPrefix, endOfWordSuffix, fuseUnknownTokens));

    public static BpeTokenizer Create(Stream vocabStream, Stream? mergesStream)
        => Create(vocabStream, mergesStream, preTokenizer: null);

    public static BpeTokenizer Create(
        Stream vocabStream,
        Stream? mergesStream,
        PreTokenizer? preTokenizer = null,
        Normalizer? normalizer = null,
        IReadOnlyDictionary<string, int>? specialTokens = null,
        string? unknownToken = null,
        string? continuingSubwordPrefix = null,
        string? endOfWordSuffix = null,
        bool fuseUnknownTokens = false)
    {
        ArgumentNullException.ThrowIfNull(vocabStream);
        BpeOptions options = new(BpeRules.ReadVocabulary(vocabStream)) { Merges = mergesStream is null ? null : BpeRules.ReadLines(mergesStream) };
        return Create(Filled(options, preTokenizer, normalizer, specialTokens, unknownToken, continuingSubwordPrefix, endOfWordSuffix, fuseUnknownTokens));
    }

    public override string Decode(IEnumerable<int> ids) => Decode(ids, considerSpecialTokens: true);

    public string Decode(IEnumerable<int> ids, bool considerSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(ids);
        IEnumerable<int> kept = considerSpecialTokens ? ids : ids.Where(id => id != _unknownId && id != _beginId && id != _endId && !_special.ContainsKey(id));
        return ByteLevel ? DecodeBytes(kept) : DecodeCharacters(kept);
    }

    public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
        => Decode(ids, destination, considerSpecialTokens: true, out idsConsumed, out charsWritten);

    public OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, bool considerSpecialTokens, out int idsConsumed, out int charsWritten)
    {
        ArgumentNullException.ThrowIfNull(ids);
        List<int> list = ids.ToList();
        return DecodingSteps.IntoSpan(list, destination, part => Decode(part, considerSpecialTokens), out idsConsumed, out charsWritten);
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
        if (_beginId is int begin)
        {
            tokens.Add(new EncodedToken(begin, BeginningOfSentenceToken!, 0..0));
        }

        int reached = 0;
        foreach ((int offset, int length) in EncodingSteps.Pieces(normalized ?? text, span, PreTokenizer, settings))
        {
            EncodePiece(span.Slice(offset, length), offset, tokens);
            reached = offset + length;
        }

        if (_endId is int end)
        {
            tokens.Add(new EncodedToken(end, EndOfSentenceToken!, reached..reached));
        }

        return EncodingSteps.Cut(tokens, normalized, settings.MaxTokenCount);
    }

    protected override EncodeResults<int> EncodeToIds(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        // Ids alone need no positions: this is the way that large corpora take.
        if (_bytes is null || settings.MaxTokenCount != int.MaxValue || textSpan.IsEmpty)
        {
            return base.EncodeToIds(text, textSpan, settings);
        }

        string? normalized = EncodingSteps.Normalized(text, textSpan, Normalizer, settings);
        ReadOnlySpan<char> span = normalized ?? textSpan;
        List<int> ids = new(span.Length / 3);
        if (_beginId is int begin)
        {
            ids.Add(begin);
        }

        int reached = 0;
        foreach ((int offset, int length) in EncodingSteps.Pieces(normalized ?? text, span, PreTokenizer, settings))
        {
            reached = offset + length;
            ReadOnlySpan<char> piece = span.Slice(offset, length);
            if (SpecialId(piece) is int special)
            {
                ids.Add(special);
                continue;
            }

            int[] tokens = _bytes.Encode(piece);
            for (int i = 0; i < tokens.Length; i += 2)
            {
                ids.Add(tokens[i]);
            }
        }

        if (_endId is int end)
        {
            ids.Add(end);
        }

        return new EncodeResults<int> { Tokens = ids, NormalizedText = normalized, CharsConsumed = reached };
    }

    private static BpeOptions Filled(
        BpeOptions options,
        PreTokenizer? preTokenizer,
        Normalizer? normalizer,
        IReadOnlyDictionary<string, int>? specialTokens,
        string? unknownToken,
        string? continuingSubwordPrefix,
        string? endOfWordSuffix,
        bool fuseUnknownTokens)
    {
        options.PreTokenizer = preTokenizer;
        options.Normalizer = normalizer;
        options.SpecialTokens = specialTokens;
        options.UnknownToken = unknownToken;
        options.ContinuingSubwordPrefix = continuingSubwordPrefix;
        options.EndOfWordSuffix = endOfWordSuffix;
        options.FuseUnknownTokens = fuseUnknownTokens;
        return options;
    }

    private int? IdOf(string? token)
        => token is null ? null : _vocabulary.TryGetValue(token, out int id) || (SpecialTokens?.TryGetValue(token, out id) ?? false) ? id : null;

    private int? SpecialId(ReadOnlySpan<char> piece)
        => _special.Count > 0 && SpecialTokens!.TryGetValue(piece.ToString(), out int id) ? id : null;

    private void EncodePiece(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        if (SpecialId(piece) is int special)
        {
            tokens.Add(new EncodedToken(special, piece.ToString(), position..(position + piece.Length)));
            return;
        }

        if (_characters is not null)
        {
            _characters.Encode(piece, position, id => _texts[id], tokens);
            return;
        }

        int[] encoded = _bytes!.Encode(piece);
        int[] characters = new int[piece.Length * 3];
        int kept = _bytes.Positions(piece, characters);
        int at = 0;
        for (int i = 0; i < encoded.Length; i += 2)
        {
            int last = at + encoded[i + 1] - 1;
            tokens.Add(new EncodedToken(encoded[i], _texts[encoded[i]], (position + characters[at])..(position + characters[last] + 1)));
            at = last + 1;
        }
    }

    private string DecodeBytes(IEnumerable<int> ids)
    {
        List<byte> bytes = [];
        foreach (int id in ids)
        {
            if (_special.TryGetValue(id, out string? special))
            {
                bytes.AddRange(System.Text.Encoding.UTF8.GetBytes(special));
            }
            else if (_texts.TryGetValue(id, out string? text))
            {
                DecodingSteps.AppendBytes(text, bytes);
            }
        }

        return System.Text.Encoding.UTF8.GetString(bytes.ToArray());
    }

    private string DecodeCharacters(IEnumerable<int> ids)
    {
        StringBuilder text = new();
        bool endedWord = false;
        foreach (int id in ids)
        {
            if (!_special.TryGetValue(id, out string? piece) && !_texts.TryGetValue(id, out piece))
            {
                continue;
            }

            if (endedWord)
            {
                text.Append(' ');
            }

            endedWord = EndOfWordSuffix is { Length: > 0 } suffix && piece.EndsWith(suffix, StringComparison.Ordinal);
            text.Append(endedWord ? piece[..^EndOfWordSuffix!.Length] : piece);
        }

        return text.ToString();
    }
}
