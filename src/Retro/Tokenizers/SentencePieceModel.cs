using System.Buffers.Binary;
using System.Text;

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
    public static SentencePieceModel Parse(ReadOnlySpan<byte> bytes)
    {
        SentencePieceModel model = new();
        Reader reader = new(bytes);
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 1:
                    model.Pieces.Add(ParsePiece(reader.Message()));
                    break;
                case 2:
                    model.ReadTrainer(reader.Message());
                    break;
                case 3:
                    model.ReadNormalizer(reader.Message());
                    break;
                case 5:
                    model.HasDenormalizer |= HasMap(reader.Message());
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        model.UnknownId = model.Pieces.FindIndex(piece => piece.Kind == PieceKind.Unknown);
        model.BeginId = model.Pieces.FindIndex(piece => piece.Kind == PieceKind.Control && piece.Text == model._begin);
        model.EndId = model.Pieces.FindIndex(piece => piece.Kind == PieceKind.Control && piece.Text == model._end);
        return model.Pieces.Count == 0 ? throw new FormatException("it holds no pieces")
            : model.UnknownId < 0 ? throw new FormatException("it has no unknown piece")
            : model;
    }

    private static Piece ParsePiece(ReadOnlySpan<byte> message)
    {
        Reader reader = new(message);
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

    private static bool HasMap(ReadOnlySpan<byte> message)
    {
        Reader reader = new(message);
        bool has = false;
        while (reader.Next(out int field))
        {
            if (field == 2)
            {
                has |= !reader.Message().IsEmpty;
            }
            else
            {
                reader.Skip();
            }
        }

        return has;
    }

    private void ReadTrainer(ReadOnlySpan<byte> message)
    {
        Reader reader = new(message);
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

    private void ReadNormalizer(ReadOnlySpan<byte> message)
    {
        Reader reader = new(message);
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 2:
                    CharacterMap = reader.Message().ToArray();
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

    /// <summary>Reads the fields of a protocol buffer message.</summary>
    private ref struct Reader(ReadOnlySpan<byte> message)
    {
        private static readonly UTF8Encoding s_strict = new(false, throwOnInvalidBytes: true);
        private ReadOnlySpan<byte> _rest = message;
        private int _wire;

        public bool Next(out int field)
        {
            field = 0;
            if (_rest.IsEmpty)
            {
                return false;
            }

            ulong tag = Varint();
            _wire = (int)(tag & 7);
            field = (int)Math.Min(tag >> 3, int.MaxValue);
            return field > 0 ? true : throw new FormatException("it is no protocol buffer message");
        }

        public int Integer()
        {
            Expect(0);
            return (int)Varint();
        }

        public float Float()
        {
            Expect(5);
            return BinaryPrimitives.ReadSingleLittleEndian(Take(4));
        }

        public ReadOnlySpan<byte> Message()
        {
            Expect(2);
            ulong length = Varint();
            return Take(length);
        }

        public string String()
        {
            try
            {
                return s_strict.GetString(Message());
            }
            catch (DecoderFallbackException)
            {
                throw new FormatException("a piece is not UTF-8");
            }
        }

        public void Skip()
        {
            switch (_wire)
            {
                case 0:
                    Varint();
                    break;
                case 1:
                    Take(8);
                    break;
                case 2:
                    Message();
                    break;
                case 5:
                    Take(4);
                    break;
                default:
                    throw new FormatException($"it has a field of wire type {_wire}");
            }
        }

        private void Expect(int wire)
        {
            if (_wire != wire)
            {
                throw new FormatException("a field is of another type than SentencePiece writes");
            }
        }

        private ReadOnlySpan<byte> Take(ulong count)
        {
            if (count > (ulong)_rest.Length)
            {
                throw new FormatException("it ends in the middle of a field");
            }

            ReadOnlySpan<byte> taken = _rest[..(int)count];
            _rest = _rest[(int)count..];
            return taken;
        }

        private ulong Varint()
        {
            ulong value = 0;
            for (int i = 0; i < 10; i++)
            {
                byte next = Take(1)[0];
                value |= (ulong)(next & 0x7F) << (7 * i);
                if (next < 0x80)
                {
                    return value;
                }
            }

            throw new FormatException("a number in it has no end");
        }
    }
}
