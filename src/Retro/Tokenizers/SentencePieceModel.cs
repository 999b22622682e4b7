using System.Text;
using Google.Protobuf;

namespace Retro.Tokenizers;

/// <summary>What a piece of a SentencePiece vocabulary is; the numbers are those of the file.</summary>
internal enum PieceKind
{
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// <summary>A piece of a SentencePiece vocabulary.</summary>
internal readonly record struct Piece(string Text, float Score, PieceKind Kind);

/// <summary>A SentencePiece model file: the protocol buffer message <c>ModelProto</c>.</summary>
internal sealed class SentencePieceModel
{
    /// <summary>U+2581, which stands for a space in pieces.</summary>
    public const char Space = '\u2581';

    private string _begin = "<s>";
    private string _end = "</s>";

    public List<Piece> Pieces { get; } = [];

    /// <summary>1 unigram, 2 BPE, 3 words, 4 characters.</summary>
    public int ModelType { get; private set; } = 1;

    public bool ByteFallback { get; private set; }

    public bool SpaceAsSuffix { get; private set; }

    public int UnknownId { get; private set; }

    /// <summary>Id of the piece before a text; -1 where the vocabulary has none.</summary>
    public int BeginId { get; private set; }

    /// <summary>Id of the piece after a text; -1 where the vocabulary has none.</summary>
    public int EndId { get; private set; }

    public string UnknownSurface { get; private set; } = " \u2047 ";

    public byte[] CharacterMap { get; private set; } = [];

    public bool AddDummyPrefix { get; private set; } = true;

    public bool RemoveExtraSpaces { get; private set; } = true;

    public bool EscapeSpaces { get; private set; } = true;

    /// <summary>Whether decoding would need a map of its own, which no common model has.</summary>
    public bool HasDenormalizer { get; private set; }

    /// <summary>Reads a file's bytes.</summary>
    /// <exception cref="FormatException">They are no SentencePiece model.</exception>
    public static SentencePieceModel Parse(byte[] bytes)
    {
        SentencePieceModel model = new();
        try
        {
            using CodedInputStream file = new(bytes);
            model.Read(new Reader(file, bytes.Length));
        }
        catch (InvalidProtocolBufferException fault)
        {
            throw new FormatException($"it is no protocol buffer message ({fault.Message.TrimEnd('.')})", fault);
        }
        catch (DecoderFallbackException fault)
        {
            throw new FormatException("a piece is not UTF-8", fault);
        }

        model.UnknownId = model.Pieces.FindIndex(piece => piece.Kind == PieceKind.Unknown);
        model.BeginId = model.Pieces.FindIndex(piece => piece.Kind == PieceKind.Control && piece.Text == model._begin);
        model.EndId = model.Pieces.FindIndex(piece => piece.Kind == PieceKind.Control && piece.Text == model._end);
        return model.Pieces.Count == 0 ? throw new FormatException("it holds no pieces")
            : model.UnknownId < 0 ? throw new FormatException("it has no unknown piece")
            : model;
    }

    private static Piece ParsePiece(Reader reader)
    {
        (string text, float score, int kind) = ("", 0, 1);
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 1:
                    text = reader.String();
                    break;
                case 2:
                    score = reader.Float();
                    break;
                case 3:
                    kind = reader.Integer();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        return text.Length == 0 ? throw new FormatException("a piece is empty")
            : kind is < 1 or > 6 ? throw new FormatException($"the piece \"{text}\" is of the unknown kind {kind}")
            : new Piece(text, score, (PieceKind)kind);
    }

    private static bool HasMap(Reader reader)
    {
        bool has = false;
        while (reader.Next(out int field))
        {
            if (field == 2)
            {
                has |= reader.Bytes().Length > 0;
            }
            else
            {
                reader.Skip();
            }
        }

        return has;
    }

    private void Read(Reader reader)
    {
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 1:
                    Pieces.Add(ParsePiece(reader.Message()));
                    break;
                case 2:
                    ReadTrainer(reader.Message());
                    break;
                case 3:
                    ReadNormalizer(reader.Message());
                    break;
                case 5:
                    HasDenormalizer |= HasMap(reader.Message());
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }
    }

    private void ReadTrainer(Reader reader)
    {
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 3:
                    ModelType = reader.Integer();
                    break;
                case 24:
                    SpaceAsSuffix = reader.Integer() != 0;
                    break;
                case 35:
                    ByteFallback = reader.Integer() != 0;
                    break;
                case 44:
                    UnknownSurface = reader.String();
                    break;
                case 46:
                    _begin = reader.String();
                    break;
                case 47:
                    _end = reader.String();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }
    }

    private void ReadNormalizer(Reader reader)
    {
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 2:
                    CharacterMap = reader.Bytes();
                    break;
                case 3:
                    AddDummyPrefix = reader.Integer() != 0;
                    break;
                case 4:
                    RemoveExtraSpaces = reader.Integer() != 0;
                    break;
                case 5:
                    EscapeSpaces = reader.Integer() != 0;
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }
    }

    /// <summary>Reads the fields of a message of a file, which lies between where the file is read and an end.</summary>
    private ref struct Reader(CodedInputStream file, long end)
    {
        private uint _tag;

        public bool Next(out int field)
        {
            RequireWithin(file.Position);
            _tag = file.Position < end ? file.ReadTag() : 0;
            field = WireFormat.GetTagFieldNumber(_tag);
            return field > 0;
        }

        public int Integer() => Expect(WireFormat.WireType.Varint).ReadInt32();

        public float Float() => Expect(WireFormat.WireType.Fixed32).ReadFloat();

        public string String() => Expect(WireFormat.WireType.LengthDelimited).ReadString();

        public byte[] Bytes() => Expect(WireFormat.WireType.LengthDelimited).ReadBytes().ToByteArray();

        // Read in place, where CodedInputStream has its messages in generated classes alone, or each in a copy.
        public Reader Message()
        {
            uint length = (uint)Expect(WireFormat.WireType.LengthDelimited).ReadLength();
            RequireWithin(file.Position + length);
            return new Reader(file, file.Position + length);
        }

        public void Skip()
        {
            if (WireFormat.GetTagWireType(_tag) > WireFormat.WireType.Fixed32)
            {
                throw new FormatException($"it has a field of wire type {_tag & 7}");
            }

            file.SkipLastField();
        }

        private CodedInputStream Expect(WireFormat.WireType type)
            => WireFormat.GetTagWireType(_tag) == type ? file
                : throw new FormatException("a field is of another type than SentencePiece writes");

        private void RequireWithin(long position)
        {
            if (position > end)
            {
                throw new FormatException("it ends in the middle of a field");
            }
        }
    }
}
