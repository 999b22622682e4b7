using System.Buffers.Text;
using System.Globalization;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>A SentencePiece model as the original library runs it.</summary>
internal sealed class SentencePiecePipeline : TextPipeline
{
    public const string FileName = "tokenizer.model";

    // The classes of transformers that read such files change what they say: XLM-RoBERTa's shifts ids, ALBERT's lower-cases texts before.
    private static readonly string[] s_otherNames = ["spiece.model", "sentencepiece.bpe.model", "spm.model", "sentencepiece.model", "source.spm"];

    private readonly SentencePieceModel _model;
    private readonly SentencePieceNormalization _normalization;
    private readonly PieceCutter _cutter;
    private readonly AddedTokens _control;
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly int[] _bytes = new int[256];

    private SentencePiecePipeline(SentencePieceModel model)
    {
        if (model.HasDenormalizer)
        {
            throw new FormatException("it has a map for decoding (\"denormalizer_spec\"); supported is a model without");
        }

        _model = model;
        CharacterMap? map = model.CharacterMap.Length > 0 ? new CharacterMap(model.CharacterMap) : null;
        string[] userDefined = model.Pieces.Where(piece => piece.Kind == PieceKind.UserDefined).Select(piece => piece.Text).ToArray();
        _normalization = new SentencePieceNormalization(
            map, model.AddDummyPrefix, model.RemoveExtraSpaces, model.EscapeSpaces, model.SpaceAsSuffix, userDefined);
        _cutter = new PieceCutter(model);
        _control = new AddedTokens(
            [
                .. model.Pieces.Index().Where(piece => piece.Item.Kind == PieceKind.Control).Select(piece => new AddedToken(
                    piece.Index, piece.Item.Text, Special: true, SingleWord: false, StripLeft: false, StripRight: false, Normalized: false)),
            ],
            piece => piece);
        Array.Fill(_bytes, -1);
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            _ids.TryAdd(model.Pieces[id].Text, id);
            if (model.Pieces[id].Kind == PieceKind.Byte)
            {
                _bytes[ByteOf(model.Pieces[id].Text)] = id;
            }
        }

        if (model.ByteFallback && _bytes.Contains(-1))
        {
            throw new FormatException("it falls back to bytes but does not have all 256 of them");
        }

        (AddsSpace, MarksSpaces) = (model.AddDummyPrefix, true);
        LeadingSpaces = model.RemoveExtraSpaces ? int.MaxValue : model.AddDummyPrefix && !model.SpaceAsSuffix ? 1 : 0;
        Before = model.BeginId >= 0 ? [model.BeginId] : [];
        EndId = model.EndId;
        After = EndId >= 0 ? [EndId] : [];
    }

    public override int VocabularySize => _model.Pieces.Count;

    public override string Kind => "SentencePiece";

    public override int IdOf(string token) => _ids.GetValueOrDefault(token, -1);

    public override int Recognized(string token)
        => IdOf(token) is >= 0 and int id && _model.Pieces[id].Kind == PieceKind.UserDefined ? id : -1;

    public override byte[] BytesOf(int id)
        => _model.Pieces[id] switch
        {
            { Kind: PieceKind.Control } => [],
            { Kind: PieceKind.Unknown } => Encoding.UTF8.GetBytes(_model.UnknownSurface),
            { Kind: PieceKind.Byte } piece => [ByteOf(piece.Text)],
            Piece piece => Encoding.UTF8.GetBytes(piece.Text.Replace(SentencePieceModel.Space, ' ')),
        };

    /// <summary>What to say of a folder without a tokenizer that is read, where a model of this kind lies in it under another name; else empty.</summary>
    public static string Instead(string folder)
        => s_otherNames.FirstOrDefault(name => File.Exists(Path.Combine(folder, name))) is not { } name ? ""
            : $" Its {name} is not read by itself: models with such a file shift its ids or change texts before, and it does not say how. Take the "
                + $"tokenizer.json of the same model, or name the file {name} where ids and texts are to be those of the file alone.";

    // What is in no piece is given as bytes, or else as unknown.
    public override bool Gives(int id) => _model.Pieces[id].Kind is PieceKind kind
        && (kind is PieceKind.Normal or PieceKind.UserDefined || kind == (_model.ByteFallback ? PieceKind.Byte : PieceKind.Unknown));

    /// <param name="bytes">The file's content.</param>
    /// <param name="file">Names it in the error.</param>
    /// <param name="special">What other files call special tokens; null: nothing.</param>
    /// <exception cref="CorpusException">It is no such model, or has what is not supported.</exception>
    public static SentencePiecePipeline Parse(byte[] bytes, string file, IReadOnlySet<string>? special = null)
    {
        try
        {
            SentencePieceModel model = SentencePieceModel.Parse(bytes);
            List<string> made = [];
            for (int id = 0; id < model.Pieces.Count; id++)
            {
                // A piece that its user has defined is found in any text.
                if (model.Pieces[id] is { Kind: PieceKind.UserDefined } piece && special?.Contains(piece.Text) == true)
                {
                    model.Pieces[id] = piece with { Kind = PieceKind.Control };
                    made.Add(piece.Text);
                }
            }

            return new SentencePiecePipeline(model) { Altered = made };
        }
        catch (FormatException exception) when (IsRanks(bytes))
        {
            throw new CorpusException(
                $"The file {file} is a vocabulary in the format of tiktoken, which does not say how a text is cut before. Take the tokenizer.json of the same "
                    + "model.",
                exception);
        }
        catch (FormatException exception)
        {
            throw new CorpusException(
                $"The file {file} is no SentencePiece model that can be read: {exception.Message}. Take the file as the model's authors give it.", exception);
        }
    }

    /// <summary>Whether a file's first line is that of a vocabulary of tiktoken: a piece in base64, a space and its rank.</summary>
    private static bool IsRanks(ReadOnlySpan<byte> bytes)
    {
        int end = bytes.IndexOf((byte)'\n');
        ReadOnlySpan<byte> line = end < 0 ? bytes : bytes[..end];
        int space = line.IndexOf((byte)' ');
        return space > 0 && Base64.IsValid(line[..space]) && int.TryParse(line[(space + 1)..].TrimEnd((byte)'\r'), CultureInfo.InvariantCulture, out _);
    }

    public override IEnumerable<string> SpecialTexts => _control.All.Select(piece => piece.Content);

    // The library itself recognizes no control piece: transformers cuts at them, and encodes what stands between as texts of their own.
    protected override void Encode(string text, bool recognizeSpecial, char? mark, TokenOutput output)
    {
        if (mark is not { } none)
        {
            Encode(text, output);
            return;
        }

        foreach ((string part, AddedToken? control) in _control.SplitRaw(text, recognizeSpecial: true))
        {
            if (control is not null)
            {
                output.Tokens.Add(new EncodedToken(control.Id, control.Content, output.Length..(output.Length + part.Length)));
                output.Append(part);
            }
            else
            {
                Encode(part.Replace($"{none}", "", StringComparison.Ordinal), output);
            }
        }
    }

    private void Encode(string text, TokenOutput output)
    {
        string normalized = _normalization.Normalize(text);
        Span<byte> utf8 = stackalloc byte[12];
        List<Cut> cuts = [];
        Cut unknown = default;
        float score = 0;
        for (int begin = 0; begin < normalized.Length;)
        {
            begin = _cutter.Cut(normalized, begin, ref score, cuts);
            foreach (Cut cut in cuts)
            {
                if (cut.Id != _model.UnknownId)
                {
                    AddUnknown();
                    Add(cut.Id, _model.Pieces[cut.Id].Text, cut);
                }
                else if (_model.ByteFallback)
                {
                    foreach (byte value in utf8[..Encoding.UTF8.GetBytes(normalized.AsSpan(cut.Begin, cut.Length), utf8)])
                    {
                        Add(_bytes[value], _model.Pieces[_bytes[value]].Text, cut);
                    }
                }
                else
                {
                    // Unknown characters in a row are one unknown token.
                    unknown = unknown.Length == 0 ? cut : unknown with { Length = unknown.Length + cut.Length };
                }
            }

            output.Settle();
        }

        AddUnknown();
        output.Append(normalized);

        void AddUnknown()
        {
            if (unknown.Length > 0)
            {
                Add(unknown.Id, normalized.Substring(unknown.Begin, unknown.Length), unknown);
                unknown = default;
            }
        }

        void Add(int id, string piece, Cut cut)
            => output.Tokens.Add(new EncodedToken(id, piece, (output.Length + cut.Begin)..(output.Length + cut.Begin + cut.Length)));
    }

    public override string Decode(IEnumerable<int> ids, bool skipSpecial)
    {
        StringBuilder text = new();
        List<byte> bytes = [];
        bool begin = true;
        foreach (int id in ids.Where(id => (uint)id < (uint)_model.Pieces.Count))
        {
            Piece piece = _model.Pieces[id];
            if (piece.Kind == PieceKind.Byte)
            {
                bytes.Add(ByteOf(piece.Text));
                continue;
            }

            Flush();
            begin &= text.Length == 0;
            if (piece.Kind == PieceKind.Control)
            {
                continue;
            }

            string decoded = piece.Kind == PieceKind.Unknown ? _model.UnknownSurface : piece.Text;
            if (begin && piece.Kind != PieceKind.Unknown && (_model.AddDummyPrefix || _model.RemoveExtraSpaces) && decoded.StartsWith(SentencePieceModel.Space))
            {
                decoded = decoded[1..];

                // Where spaces are thinned out every space at the start goes, else only the one that was added.
                begin = _model.RemoveExtraSpaces;
            }

            text.Append(decoded.Replace(SentencePieceModel.Space, ' '));
        }

        Flush();
        return text.ToString();

        void Flush()
        {
            if (bytes.Count > 0)
            {
                text.Append(Utf8OrReplacements(bytes));
                bytes.Clear();
            }
        }
    }

    /// <summary>Bytes as text; where they are no UTF-8, a replacement character for each byte that begins no character.</summary>
    private static string Utf8OrReplacements(List<byte> bytes)
    {
        StringBuilder text = new();
        ReadOnlySpan<byte> rest = bytes.ToArray();
        while (!rest.IsEmpty)
        {
            bool valid = Rune.DecodeFromUtf8(rest, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
            text.Append(valid ? rune.ToString() : "\uFFFD");
            rest = rest[(valid ? length : 1)..];
        }

        return text.ToString();
    }

    private static byte ByteOf(string piece)
        => ByteSymbols.FallbackByte(piece) ?? throw new FormatException($"the byte piece \"{piece}\" is not of the form <0x41>");
}
