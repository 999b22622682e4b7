using System.Globalization;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>
/// The unigram model of a <c>tokenizer.json</c>: of all ways to cut a piece the most likely (Kudo 2018), as Hugging Face's library finds it. Unlike
/// SentencePiece's own (<see cref="PieceCutter"/>) it adds in double, and unknown characters in a row are one token.
/// </summary>
internal sealed class UnigramModel : IPieceModel
{
    // What an unknown character costs beyond the least likely piece.
    private const double UnknownPenalty = 10;

    private readonly IReadOnlyList<(string Text, double Score)> _pieces;
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly PieceTrie _sought = new();
    private readonly int[] _bytes = new int[256];
    private readonly int _unknown;
    private readonly bool _byteFallback;
    private readonly string? _spaceMark;
    private readonly double _unknownScore;
    private readonly KeptPieces _kept;

    /// <param name="pieces">Pieces and the logarithms of their probabilities, by id.</param>
    /// <param name="unknown">The id for what is in no piece; null where there is none.</param>
    /// <param name="byteFallback">Whether what the vocabulary lacks becomes its pieces <c>&lt;0x00&gt;</c> to <c>&lt;0xFF&gt;</c>.</param>
    /// <param name="spaceMark">What stands for a space in pieces; null where a space is a space.</param>
    /// <param name="special">Special tokens: text never gives them.</param>
    /// <exception cref="FormatException">The unknown id is outside the vocabulary, or a score is no number.</exception>
    public UnigramModel(
        IReadOnlyList<(string Text, double Score)> pieces, int? unknown, bool byteFallback, string? spaceMark, IReadOnlySet<string> special)
    {
        (_pieces, _unknown, _byteFallback, _spaceMark) = (pieces, unknown ?? -1, byteFallback, spaceMark);
        _kept = new KeptPieces(id => _pieces[id].Text, EncodeAnew);
        if (pieces.Count == 0 || (unknown is { } id && (uint)id >= (uint)pieces.Count))
        {
            throw new FormatException(
                $"its Unigram model has {pieces.Count} pieces and the unknown id {unknown?.ToString(CultureInfo.InvariantCulture) ?? "null"}.");
        }

        for (int i = 0; i < pieces.Count; i++)
        {
            // Of a piece that comes twice the last counts, as in the original.
            _ids[pieces[i].Text] = i;
            if (pieces[i].Text.Length > 0 && !special.Contains(pieces[i].Text))
            {
                _sought.Add(pieces[i].Text, i);
            }
        }

        _unknownScore = pieces.Min(piece => piece.Score) - UnknownPenalty;
        for (int value = 0; value < 256; value++)
        {
            _bytes[value] = byteFallback ? _ids.GetValueOrDefault($"<0x{value:X2}>", -1) : -1;
        }
    }

    public int Size => _pieces.Count;

    public int Count => _pieces.Count;

    public int Unknown => _bytes.Contains(-1) ? _unknown : -1;

    public string Kind => "SentencePiece";

    public void Encode(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens) => _kept.Encode(piece, position, tokens);

    private void EncodeAnew(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        double[] best = new double[piece.Length + 1];
        int[] from = new int[piece.Length + 1];
        int[] ids = new int[piece.Length + 1];
        Array.Fill(from, -1);
        for (int begin = 0, character; begin < piece.Length; begin += character)
        {
            character = CodePoints.LengthAt(piece, begin);
            bool single = false;
            int state = 0;
            for (int at = begin; at < piece.Length && _sought.Step(ref state, piece[at], out int id); at++)
            {
                if (id >= 0)
                {
                    int length = at + 1 - begin;
                    Offer(begin, length, best[begin] + _pieces[id].Score, id);
                    single |= length == character;
                }
            }

            if (!single)
            {
                Offer(begin, character, best[begin] + _unknownScore, _unknown);
            }
        }

        List<(int Id, int Begin, int End)> cuts = [];
        for (int end = piece.Length; end > 0; end = from[end])
        {
            bool fuses = cuts.Count > 0 && ids[end] == _unknown && cuts[^1].Id == _unknown;
            cuts.Add((ids[end], from[end], fuses ? cuts[^1].End : end));
            if (fuses)
            {
                cuts.RemoveAt(cuts.Count - 2);
            }
        }

        for (int i = cuts.Count - 1; i >= 0; i--)
        {
            Add(piece[cuts[i].Begin..cuts[i].End], cuts[i].Id, (position + cuts[i].Begin)..(position + cuts[i].End), tokens);
        }

        void Offer(int begin, int length, double score, int id)
        {
            if (from[begin + length] < 0 || score > best[begin + length])
            {
                (best[begin + length], from[begin + length], ids[begin + length]) = (score, begin, id);
            }
        }
    }

    public string? TextOf(int id) => (uint)id < (uint)_pieces.Count ? _pieces[id].Text : null;

    public int IdOf(string text) => _ids.GetValueOrDefault(text, -1);

    public byte[] BytesOf(int id)
        => TextOf(id) is not { } text ? []
            : _byteFallback && ByteSymbols.FallbackByte(text) is { } value ? [value]
            : BytesOfAdded(text);

    public byte[] BytesOfAdded(string content)
        => Encoding.UTF8.GetBytes(_spaceMark is { } mark ? content.Replace(mark, " ", StringComparison.Ordinal) : content);

    public bool Gives(int id) => (TextOf(id) is { } text && _sought.ValueOf(text) == id) || (id >= 0 && _bytes.Contains(id));

    private void Add(ReadOnlySpan<char> text, int id, Range place, List<EncodedToken> tokens)
    {
        if (id != _unknown || (id = _sought.ValueOf(text)) >= 0)
        {
            tokens.Add(new EncodedToken(id, _pieces[id].Text, place));
            return;
        }

        byte[] utf8 = new byte[Encoding.UTF8.GetByteCount(text)];
        Encoding.UTF8.GetBytes(text, utf8);
        if (Array.TrueForAll(utf8, value => _bytes[value] >= 0))
        {
            tokens.AddRange(utf8.Select(value => new EncodedToken(_bytes[value], _pieces[_bytes[value]].Text, place)));
            return;
        }

        if (_unknown < 0)
        {
            throw new CorpusException(
                $"The tokenizer's vocabulary has no piece for \"{text}\" and no unknown token, so the text would lose it. Take a tokenizer that knows the "
                    + "text's characters.");
        }

        tokens.Add(new EncodedToken(_unknown, _pieces[_unknown].Text, place));
    }
}
