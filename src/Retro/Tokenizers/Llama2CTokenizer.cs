using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Retro.Tokenizers;

/// <summary>
/// Reads the tokenizer files of llama2.c (https://github.com/karpathy/llama2.c): a SentencePiece BPE vocabulary with byte fallback, as the longest piece's
/// length (int32) and, for each piece, its score (float32), length (int32) and UTF-8. Pieces 0, 1 and 2 are the unknown, the begin and the end, 3 to 258 the
/// bytes.
/// </summary>
public static class Llama2CTokenizer
{
    private const int Begin = 1;
    private const int End = 2;
    private const int FirstByte = 3;
    private const int FirstPiece = FirstByte + 256;

    // Kinds of pieces and of models, as SentencePiece's files number them.
    private const int NormalPiece = 1;
    private const int UnknownPiece = 2;
    private const int ControlPiece = 3;
    private const int BytePiece = 6;
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
    {
        List<byte> model = [];
        for (int id = 0; id < pieces.Count; id++)
        {
            List<byte> piece = [];
            AddBytes(
                piece,
                1,
                Encoding.UTF8.GetBytes(
                    id switch { 0 => "<unk>", Begin => "<s>", End => "</s>", < FirstPiece => pieces[id].Text, _ => pieces[id].Text.Replace(' ', '\u2581') }));
            byte[] score = new byte[sizeof(float)];
            BinaryPrimitives.WriteSingleLittleEndian(score, pieces[id].Score);
            piece.Add((2 << 3) | 5);
            piece.AddRange(score);
            AddNumber(piece, 3, id switch { 0 => UnknownPiece, Begin or End => ControlPiece, < FirstPiece => BytePiece, _ => NormalPiece });
            AddBytes(model, 1, [.. piece]);
        }

        List<byte> trainer = [];
        AddNumber(trainer, 3, BpeModel);
        AddNumber(trainer, 4, pieces.Count);
        AddNumber(trainer, 35, 1);
        AddNumber(trainer, 40, 0);
        AddNumber(trainer, 41, Begin);
        // Beginning and end are one piece here: llama2.c begins and ends a text with it.
        AddNumber(trainer, 42, Begin);
        AddBytes(trainer, 46, "<s>"u8.ToArray());
        AddBytes(trainer, 47, "<s>"u8.ToArray());
        AddBytes(model, 2, [.. trainer]);

        // A space before the text, no other change: as llama2.c encodes.
        List<byte> normalizer = [];
        AddBytes(normalizer, 1, "identity"u8.ToArray());
        AddNumber(normalizer, 3, 1);
        AddNumber(normalizer, 4, 0);
        AddNumber(normalizer, 5, 1);
        AddBytes(model, 3, [.. normalizer]);
        return [.. model];
    }

    private static string ByteName(int value) => string.Create(CultureInfo.InvariantCulture, $"<0x{value:X2}>");

    private static void AddBytes(List<byte> message, int field, byte[] value)
    {
        AddVarint(message, (field << 3) | 2);
        AddVarint(message, value.Length);
        message.AddRange(value);
    }

    private static void AddNumber(List<byte> message, int field, int value)
    {
        AddVarint(message, field << 3);
        AddVarint(message, value);
    }

    private static void AddVarint(List<byte> message, int value)
    {
        for (uint left = (uint)value; ; left >>= 7)
        {
            if (left < 0x80)
            {
                message.Add((byte)left);
                return;
            }

            message.Add((byte)(left | 0x80));
        }
    }
}
