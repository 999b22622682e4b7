using System.Buffers;
using System.Text;
using Retro.Text.SentencePiece;

namespace Microsoft.ML.Tokenizers;

/// <summary>SentencePiece: unigram or BPE pieces of a text whose spaces are characters.</summary>
public class SentencePieceTokenizer : Tokenizer
{
    private readonly SentencePieceModel _model;
    private readonly PieceCutter _cutter;
    private readonly Dictionary<string, int> _vocabulary = new(StringComparer.Ordinal);
    private readonly int[] _bytes = new int[256];

    internal SentencePieceTokenizer(SentencePieceModel model, bool addBeginningOfSentence, bool addEndOfSentence)
    {
        _model = model;
        _cutter = new PieceCutter(model, rightmostFirst: true);
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            _vocabulary[model.Pieces[id].Text] = id;
        }

        for (int value = 0; value < 256; value++)
        {
            _bytes[value] = _vocabulary.GetValueOrDefault($"<0x{value:X2}>", model.UnknownId);
        }

        AddBeginningOfSentence = addBeginningOfSentence;
        AddEndOfSentence = addEndOfSentence;

        // The original's BPE leaves the model's map aside.
        CharacterMap? map = model.ModelType == 1 && model.CharacterMap.Length > 0 ? new CharacterMap(model.CharacterMap) : null;
        Normalizer = new SentencePieceNormalizer(map, model.RemoveExtraSpaces, model.AddDummyPrefix, model.EscapeSpaces, model.SpaceAsSuffix, null);
    }

    public override PreTokenizer? PreTokenizer => null;

    public override Normalizer? Normalizer { get; }

    public IReadOnlyDictionary<string, int>? SpecialTokens => null;

    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    public bool AddBeginningOfSentence { get; }

    public bool AddEndOfSentence { get; }

    public bool AddDummyPrefix => _model.AddDummyPrefix;

    public bool EscapeWhiteSpaces => _model.EscapeSpaces;

    public bool TreatWhitespaceAsSuffix => _model.SpaceAsSuffix;

    public bool ByteFallback => _model.ByteFallback;

    public string BeginningOfSentenceToken => _model.Pieces[_model.BeginId].Text;

    public int BeginningOfSentenceId => _model.BeginId;

    public string EndOfSentenceToken => _model.Pieces[_model.EndId].Text;

    public int EndOfSentenceId => _model.EndId;

    public string UnknownToken => _model.Pieces[_model.UnknownId].Text;

    public int UnknownId => _model.UnknownId;

    public static SentencePieceTokenizer Create(Stream modelStream, bool addBeginningOfSentence = true, bool addEndOfSentence = false, IReadOnlyDictionary<string, int>? specialTokens = null)
    {
        ArgumentNullException.ThrowIfNull(modelStream);
        if (specialTokens is { Count: > 0 })
        {
            throw new NotSupportedException("Special tokens beside those of the model are not supported here.");
        }

        using MemoryStream bytes = new();
        modelStream.CopyTo(bytes);
        return new SentencePieceTokenizer(SentencePieceModel.Parse(bytes.GetBuffer().AsSpan(0, (int)bytes.Length)), addBeginningOfSentence, addEndOfSentence);
    }

    public override string Decode(IEnumerable<int> ids) => Decode(ids, considerSpecialTokens: false);

    public string Decode(IEnumerable<int> ids, bool considerSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(ids);
        StringBuilder text = new();
        List<byte> bytes = [];
        bool first = true;
        foreach (int id in ids)
        {
            if (id < 0 || id >= _model.Pieces.Count)
            {
                Flush();
                continue;
            }

            Piece piece = _model.Pieces[id];
            if (piece.Kind == PieceKind.Byte)
            {
                bytes.Add(Convert.ToByte(piece.Text[3..5], 16));
                continue;
            }

            Flush();
            if (piece.Kind is PieceKind.Control or PieceKind.Unknown)
            {
                text.Append(considerSpecialTokens ? piece.Text : "");
                continue;
            }

            string decoded = EscapeWhiteSpaces ? piece.Text.Replace(SentencePieceModel.Space, ' ') : piece.Text;
            text.Append(first && AddDummyPrefix && !TreatWhitespaceAsSuffix && decoded.StartsWith(' ') ? decoded[1..] : decoded);
            first = false;
        }

        Flush();
        return AddDummyPrefix && TreatWhitespaceAsSuffix && text.Length > 0 && text[^1] == ' ' ? text.ToString(0, text.Length - 1) : text.ToString();

        void Flush()
        {
            text.Append(System.Text.Encoding.UTF8.GetString(bytes.ToArray()));
            bytes.Clear();
        }
    }

    public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
        => Decode(ids, destination, considerSpecialTokens: false, out idsConsumed, out charsWritten);

    public OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, bool considerSpecialTokens, out int idsConsumed, out int charsWritten)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return DecodingSteps.IntoSpan(ids.ToList(), destination, part => Decode(part, considerSpecialTokens), out idsConsumed, out charsWritten);
    }

    protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        if (textSpan.IsEmpty)
        {
            return new EncodeResults<EncodedToken> { Tokens = [], NormalizedText = _model.ModelType == 1 ? "" : null };
        }

        string? normalized = EncodingSteps.Normalized(text, textSpan, Normalizer, settings);
        ReadOnlySpan<char> span = normalized ?? textSpan;
        List<EncodedToken> tokens = [];
        if (span.IsEmpty && _model.ModelType == 2)
        {
            return new EncodeResults<EncodedToken> { Tokens = tokens, NormalizedText = normalized };
        }

        if (AddBeginningOfSentence)
        {
            tokens.Add(new EncodedToken(BeginningOfSentenceId, BeginningOfSentenceToken, 0..0));
        }

        foreach (Cut cut in _cutter.Cut(span))
        {
            Add(span.Slice(cut.Begin, cut.Length), cut, tokens);
        }

        if (AddEndOfSentence)
        {
            tokens.Add(new EncodedToken(EndOfSentenceId, EndOfSentenceToken, span.Length..span.Length));
        }

        return EncodingSteps.Cut(tokens, normalized, settings.MaxTokenCount);
    }

    private void Add(ReadOnlySpan<char> characters, Cut cut, List<EncodedToken> tokens)
    {
        if (cut.Id != _model.UnknownId || !ByteFallback)
        {
            string value = cut.Id != _model.UnknownId || _model.ModelType == 1 ? characters.ToString() : UnknownToken;
            tokens.Add(new EncodedToken(cut.Id, value, cut.Begin..(cut.Begin + cut.Length)));
            return;
        }

        // The bytes of a character the vocabulary lacks: the first stands for it, the others for nothing.
        Span<byte> bytes = stackalloc byte[12];
        int count = System.Text.Encoding.UTF8.GetBytes(characters, bytes);
        for (int i = 0; i < count; i++)
        {
            int id = _bytes[bytes[i]];
            tokens.Add(new EncodedToken(id, _model.Pieces[id].Text, cut.Begin..(i == 0 ? cut.Begin + cut.Length : cut.Begin)));
        }
    }
}
