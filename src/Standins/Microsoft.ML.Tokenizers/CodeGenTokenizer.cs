using System.Buffers;
using System.Text.RegularExpressions;
using Retro.Text;

namespace Microsoft.ML.Tokenizers;

/// <summary>GPT-2's byte-level BPE with the added tokens of CodeGen: the end of text, and runs of spaces and of tabs.</summary>
public partial class CodeGenTokenizer : Tokenizer
{
    private const string EndOfText = "<|endoftext|>";
    private static readonly Dictionary<string, int> Added = AddedTokens();

    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<int, string> _texts = [];
    private readonly Dictionary<int, string> _special = Added.ToDictionary(pair => pair.Value, pair => pair.Key);
    private readonly ByteBpe _bytes;

    private CodeGenTokenizer(Stream vocabStream, Stream mergesStream, bool addPrefixSpace, bool addBeginOfSentence, bool addEndOfSentence)
    {
        _vocabulary = BpeRules.ReadVocabulary(vocabStream);
        foreach ((string text, int id) in _vocabulary)
        {
            _texts[id] = text;
        }

        AddPrefixSpace = addPrefixSpace;
        AddBeginningOfSentence = addBeginOfSentence;
        AddEndOfSentence = addEndOfSentence;
        int? id50256 = _vocabulary.TryGetValue(EndOfText, out int endOfText) ? endOfText : null;
        (UnknownTokenId, BeginningOfSentenceId, EndOfSentenceId) = (id50256, id50256, id50256);
        _bytes = new ByteBpe(_vocabulary, BpeRules.Parse(BpeRules.ReadLines(mergesStream)), UnknownTokenId, strict: false);
        PreTokenizer = new RegexPreTokenizer(Splits(), Added);
    }

    public override PreTokenizer? PreTokenizer { get; }

    public override Normalizer? Normalizer => null;

    public IReadOnlyDictionary<string, int>? SpecialTokens => Added;

    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    public bool AddPrefixSpace { get; }

    public bool AddBeginningOfSentence { get; }

    public bool AddEndOfSentence { get; }

    public string? UnknownToken => EndOfText;

    public int? UnknownTokenId { get; }

    public string? BeginningOfSentenceToken => EndOfText;

    public int? BeginningOfSentenceId { get; }

    public string? EndOfSentenceToken => EndOfText;

    public int? EndOfSentenceId { get; }

    public static CodeGenTokenizer Create(Stream vocabStream, Stream mergesStream, bool addPrefixSpace = false, bool addBeginOfSentence = false, bool addEndOfSentence = false)
    {
        ArgumentNullException.ThrowIfNull(vocabStream);
        ArgumentNullException.ThrowIfNull(mergesStream);
        return new CodeGenTokenizer(vocabStream, mergesStream, addPrefixSpace, addBeginOfSentence, addEndOfSentence);
    }

    public IReadOnlyList<int> EncodeToIds(string text, bool addPrefixSpace, bool addBeginningOfSentence, bool addEndOfSentence, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(text.AsSpan(), addPrefixSpace, addBeginningOfSentence, addEndOfSentence, considerPreTokenization, considerNormalization);

    public IReadOnlyList<int> EncodeToIds(ReadOnlySpan<char> text, bool addPrefixSpace, bool addBeginningOfSentence, bool addEndOfSentence, bool considerPreTokenization = true, bool considerNormalization = true)
        => Ids(Encode(text, Settings(considerPreTokenization, considerNormalization), addPrefixSpace, addBeginningOfSentence, addEndOfSentence).Tokens);

    public override string Decode(IEnumerable<int> ids) => Decode(ids, AddPrefixSpace, considerSpecialTokens: false);

    public string Decode(IEnumerable<int> ids, bool hasPrefixSpace, bool considerSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(ids);
        List<byte> bytes = [];
        bool first = true;
        foreach (int id in ids)
        {
            if (id == UnknownTokenId)
            {
                bytes.AddRange(considerSpecialTokens ? System.Text.Encoding.UTF8.GetBytes(EndOfText) : []);
            }
            else if (_special.TryGetValue(id, out string? added))
            {
                bytes.AddRange(System.Text.Encoding.UTF8.GetBytes(first && hasPrefixSpace && added[0] == ' ' ? added[1..] : added));
                first = false;
            }
            else if (_texts.TryGetValue(id, out string? text))
            {
                DecodingSteps.AppendBytes(first && hasPrefixSpace && text[0] == ByteSymbols.ToChar((byte)' ') ? text[1..] : text, bytes);
                first = false;
            }
        }

        return System.Text.Encoding.UTF8.GetString(bytes.ToArray());
    }

    public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
        => Decode(ids, destination, AddPrefixSpace, considerSpecialTokens: false, out idsConsumed, out charsWritten);

    public OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, bool hasPrefixSpace, bool considerSpecialTokens, out int idsConsumed, out int charsWritten)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return DecodingSteps.IntoSpan(ids.ToList(), destination, part => Decode(part, hasPrefixSpace, considerSpecialTokens), out idsConsumed, out charsWritten);
    }

    protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
        => Encode(textSpan, settings, AddPrefixSpace, AddBeginningOfSentence, AddEndOfSentence);

    private static Dictionary<string, int> AddedTokens()
    {
        Dictionary<string, int> added = new(StringComparer.Ordinal) { [EndOfText] = 50256 };
        for (int spaces = 31; spaces >= 2; spaces--)
        {
            added[new string(' ', spaces)] = 50257 + 31 - spaces;
        }

        for (int tabs = 9; tabs >= 2; tabs--)
        {
            added[new string('\t', tabs)] = 50287 + 9 - tabs;
        }

        return added;
    }

    private static EncodeSettings Settings(bool considerPreTokenization, bool considerNormalization)
        => new() { ConsiderPreTokenization = considerPreTokenization, ConsiderNormalization = considerNormalization };

    private static int[] Ids(IReadOnlyList<EncodedToken> tokens) => tokens.Select(token => token.Id).ToArray();

    [GeneratedRegex(@"'(?:[sdmt]|ll|ve|re)| ?(?>\p{L}+)| ?(?>\p{N}+)| ?(?>[^\s\p{L}\p{N}]+)|(?>\s+)$|\s+(?!\S)|\s")]
    private static partial Regex Splits();

    private EncodeResults<EncodedToken> Encode(ReadOnlySpan<char> text, EncodeSettings settings, bool addPrefixSpace, bool addBegin, bool addEnd)
    {
        if (text.IsEmpty)
        {
            return new EncodeResults<EncodedToken> { Tokens = [] };
        }

        // With a space put before the text, positions are still those of the text.
        int shift = addPrefixSpace ? 1 : 0;
        ReadOnlySpan<char> span = addPrefixSpace ? string.Concat(" ", text) : text;
        List<EncodedToken> tokens = [];
        if (addBegin && BeginningOfSentenceId is int begin)
        {
            tokens.Add(new EncodedToken(begin, EndOfText, 0..0));
        }

        foreach ((int offset, int length) in EncodingSteps.Pieces(null, span, PreTokenizer, settings))
        {
            EncodePiece(span.Slice(offset, length), offset - shift, tokens);
        }

        if (addEnd && EndOfSentenceId is int end)
        {
            tokens.Add(new EncodedToken(end, EndOfText, text.Length..text.Length));
        }

        return EncodingSteps.Cut(tokens, null, settings.MaxTokenCount);
    }

    private void EncodePiece(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        string? text = piece[0] is ' ' or '\t' or '<' ? piece.ToString() : null;
        if (text is not null && Added.TryGetValue(text, out int added))
        {
            tokens.Add(new EncodedToken(added, text, Math.Max(0, position)..(position + piece.Length)));
            return;
        }

        int[] encoded = _bytes.Encode(piece);
        int[] characters = new int[(piece.Length * 3) + 1];
        int count = _bytes.Positions(piece, characters);
        characters[count] = piece.Length;
        int at = 0;
        for (int i = 0; i < encoded.Length; i += 2)
        {
            int end = at + encoded[i + 1];
            tokens.Add(new EncodedToken(encoded[i], _texts[encoded[i]], Math.Max(0, position + characters[at])..(position + characters[end])));
            at = end;
        }
    }
}
