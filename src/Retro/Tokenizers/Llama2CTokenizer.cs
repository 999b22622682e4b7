using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Google.Protobuf;

namespace Retro.Tokenizers;

/// <summary>
/// Reads the tokenizer files of llama2.c (https://github.com/karpathy/llama2.c): a SentencePiece BPE vocabulary with byte fallback, as the longest piece's
/// length (int32) and, for each piece, its score (float32), length (int32) and UTF-8. Pieces 0, 1 and 2 are the unknown, the begin and the end, 3 to 258 the
/// bytes.
/// </summary>
internal static class Llama2CTokenizer
{
    private const int Begin = 1;
    private const int End = 2;
    private const int FirstByte = 3;
    private const int FirstPiece = FirstByte + 256;

    // As SentencePiece's files number it.
    private const int BpeModel = 2;

    /// <summary>
    /// Loads a tokenizer. Texts begin after the begin piece (1) in llama2.c, which ends a document too; <see cref="RetroTokenizer.Save"/> writes it as the
    /// SentencePiece model that it was exported from.
    /// </summary>
    /// <param name="path">The file, such as tok512.bin.</param>
    /// <exception cref="CorpusException">The file cannot be read or is none of llama2.c.</exception>
    public static RetroTokenizer Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        List<(string Text, float Score)> pieces = Parse(TokenizerFiles.Read(path), path);
        byte[] model = Model(pieces);
        return new RetroTokenizer(new PretrainedTokenizer(SentencePiecePipeline.Parse(model, path)), Begin, [(SentencePiecePipeline.FileName, model)], Begin);
    }

    private static List<(string Text, float Score)> Parse(byte[] content, string path)
    {
        UTF8Encoding strict = new(false, throwOnInvalidBytes: true);
        List<(string Text, float Score)> pieces = [];
        int place = sizeof(int);
        int longest = content.Length >= place ? BinaryPrimitives.ReadInt32LittleEndian(content) : -1;
        while (place < content.Length && longest > 0)
        {
            if (content.Length - place < 8)
            {
                throw Fault($"it ends within piece {pieces.Count}");
            }

            float score = BinaryPrimitives.ReadSingleLittleEndian(content.AsSpan(place));
            int length = BinaryPrimitives.ReadInt32LittleEndian(content.AsSpan(place + 4));
            place += 8;
            if (length < 1 || length > content.Length - place || !float.IsFinite(score))
            {
                throw Fault(
                    $"piece {pieces.Count} has the length {length} and the score {score.ToString(CultureInfo.InvariantCulture)}, with "
                        + $"{content.Length - place} bytes left");
            }

            try
            {
                pieces.Add((strict.GetString(content, place, length), score));
            }
            catch (DecoderFallbackException)
            {
                throw Fault($"piece {pieces.Count} is no UTF-8");
            }

            place += length;
        }

        if (pieces.Count < FirstPiece)
        {
            throw Fault($"it holds {pieces.Count} pieces, fewer than the {FirstPiece} that every one has");
        }

        for (int value = 0; value < 256; value++)
        {
            if (pieces[FirstByte + value].Text != ByteName(value))
            {
                throw Fault($"piece {FirstByte + value} is \"{pieces[FirstByte + value].Text}\", expected {ByteName(value)}");
            }
        }

        return pieces;

        CorpusException Fault(string fault) => new($"{path} is no tokenizer of llama2.c: {fault}. Name the .bin that came with the model.");
    }

    /// <summary>The vocabulary as a SentencePiece model file, the protocol buffer message ModelProto (https://github.com/google/sentencepiece).</summary>
    private static byte[] Model(List<(string Text, float Score)> pieces)
        => Message(model =>
        {
            for (int id = 0; id < pieces.Count; id++)
            {
                (string text, float score) = pieces[id];
                text = id switch { 0 => "<unk>", Begin => "<s>", End => "</s>", < FirstPiece => text, _ => text.Replace(' ', SentencePieceModel.Space) };
                PieceKind kind = id switch
                {
                    0 => PieceKind.Unknown,
                    Begin or End => PieceKind.Control,
                    < FirstPiece => PieceKind.Byte,
                    _ => PieceKind.Normal,
                };
                Add(model, 1, piece =>
                {
                    Add(piece, 1, text);
                    piece.WriteTag(2, WireFormat.WireType.Fixed32);
                    piece.WriteFloat(score);
                    Add(piece, 3, (int)kind);
                });
            }

            Add(model, 2, trainer =>
            {
                Add(trainer, 3, BpeModel);
                Add(trainer, 4, pieces.Count);
                Add(trainer, 35, 1);
                Add(trainer, 40, 0);
                Add(trainer, 41, Begin);
                // Beginning and end are one piece here: llama2.c begins and ends a text with it.
                Add(trainer, 42, Begin);
                Add(trainer, 46, "<s>");
                Add(trainer, 47, "<s>");
            });

            // A space before the text, no other change: as llama2.c encodes.
            Add(model, 3, normalizer =>
            {
                Add(normalizer, 1, "identity");
                Add(normalizer, 3, 1);
                Add(normalizer, 4, 0);
                Add(normalizer, 5, 1);
            });
        });

    private static string ByteName(int value) => string.Create(CultureInfo.InvariantCulture, $"<0x{value:X2}>");

    private static byte[] Message(Action<CodedOutputStream> write)
    {
        using MemoryStream bytes = new();
        using (CodedOutputStream message = new(bytes, bufferSize: 64, leaveOpen: true))
        {
            write(message);
        }

        return bytes.ToArray();
    }

    private static void Add(CodedOutputStream message, int field, Action<CodedOutputStream> write)
    {
        message.WriteTag(field, WireFormat.WireType.LengthDelimited);
        message.WriteBytes(ByteString.CopyFrom(Message(write)));
    }

    private static void Add(CodedOutputStream message, int field, string value)
    {
        message.WriteTag(field, WireFormat.WireType.LengthDelimited);
        message.WriteString(value);
    }

    private static void Add(CodedOutputStream message, int field, int value)
    {
        message.WriteTag(field, WireFormat.WireType.Varint);
        message.WriteInt32(value);
    }
}
