namespace Retro.Tokenizers;

/// <summary>A part of a normalized text and its piece; the unknown id where the vocabulary has none.</summary>
internal readonly record struct Cut(int Id, int Begin, int Length);

/// <summary>Cuts a normalized text into pieces of a SentencePiece vocabulary.</summary>
internal sealed class PieceCutter
{
    private const int Characters = 4;

    private readonly SentencePieceModel _model;
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly PieceTrie _sought = new();
    private readonly PieceTrie _userDefined;
    private readonly int _longest;
    private readonly float _lowest = float.MaxValue;

    // C's FLT_MIN, from which the original starts: the smallest normal number above 0, where it would have to be below every score.
    private readonly float _highest = 1.17549435E-38f;

    /// <param name="model">The model.</param>
    /// <exception cref="FormatException">The model is of a kind that is not known.</exception>
    public PieceCutter(SentencePieceModel model)
    {
        if (model.ModelType is not (1 or 2 or Characters))
        {
            throw new FormatException($"its model type is {model.ModelType}; known are 1 (unigram), 2 (BPE) and {Characters} (characters)");
        }

        _model = model;
        _lookup = _ids.GetAlternateLookup<ReadOnlySpan<char>>();
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            Piece piece = model.Pieces[id];
            if (piece.Kind is PieceKind.Normal or PieceKind.UserDefined or PieceKind.Unused)
            {
                if (!_ids.TryAdd(piece.Text, id))
                {
                    throw new FormatException($"the piece \"{piece.Text}\" is in it twice");
                }

                _longest = Math.Max(_longest, piece.Text.Length);
            }

            if (piece.Kind is PieceKind.Normal or PieceKind.UserDefined && model.ModelType == 1)
            {
                _sought.Add(piece.Text, id);
            }

            if (piece.Kind == PieceKind.Normal)
            {
                _lowest = Math.Min(_lowest, piece.Score);
                _highest = Math.Max(_highest, piece.Score);
            }
        }

        _userDefined = new PieceTrie(model.Pieces.Where(piece => piece.Kind == PieceKind.UserDefined).Select(piece => piece.Text));
    }

    /// <summary>The cuts of a text, in order.</summary>
    public List<Cut> Cut(ReadOnlySpan<char> text) => text.IsEmpty ? [] : _model.ModelType == 1 ? BestPath(text) : Merged(text);

    /// <summary>
    /// The unigram model's most likely cut (Kudo 2018), found from left to right: an unknown character costs ten more than the
    /// least likely piece. Of equal paths the one found first stays, as in the original.
    /// </summary>
    private List<Cut> BestPath(ReadOnlySpan<char> text)
    {
        float unknownScore = _lowest - 10;
        float[] best = new float[text.Length + 1];
        int[] from = new int[text.Length + 1];
        int[] ids = new int[text.Length + 1];
        Array.Fill(from, -1);
        for (int begin = 0; begin < text.Length;)
        {
            int character = CodePoints.LengthAt(text, begin);
            bool single = false;
            int state = 0;
            for (int at = begin; at < text.Length && _sought.Step(ref state, text[at], out int id); at++)
            {
                if (id < 0)
                {
                    continue;
                }

                int length = at + 1 - begin;
                double score = _model.Pieces[id].Kind == PieceKind.UserDefined
                    ? (System.Text.Encoding.UTF8.GetByteCount(text.Slice(begin, length)) * _highest) - 0.1
                    : _model.Pieces[id].Score;
                Offer(begin, length, best[begin] + score, id);
                single |= length == character;
            }

            if (!single)
            {
                Offer(begin, character, (float)(best[begin] + unknownScore), _model.UnknownId);
            }

            begin += character;
        }

        List<Cut> cuts = [];
        for (int end = text.Length; end > 0; end = from[end])
        {
            cuts.Add(new Cut(ids[end], from[end], end - from[end]));
        }

        cuts.Reverse();
        return cuts;

        // As the original adds and compares in double what it keeps as float: of paths that nearly tie the sums' rounding decides.
        void Offer(int begin, int length, double score, int id)
        {
            if (from[begin + length] < 0 || score > best[begin + length])
            {
                (best[begin + length], from[begin + length], ids[begin + length]) = ((float)score, begin, id);
            }
        }
    }

    /// <summary>
    /// BPE: the neighbors whose union has the highest score are joined first, of equal ones the leftmost; a user's symbol is never joined. Where pieces are
    /// characters, nothing is.
    /// </summary>
    private List<Cut> Merged(ReadOnlySpan<char> text)
    {
        List<(int Begin, int Length, bool Frozen)> symbols = [];
        for (int begin = 0; begin < text.Length;)
        {
            int symbol = _userDefined.LongestAt(text, begin);
            bool frozen = symbol > 0;
            int length = frozen ? symbol : CodePoints.LengthAt(text, begin);
            symbols.Add((begin, length, frozen));
            begin += length;
        }

        int count = symbols.Count;
        int[] lengths = symbols.Select(symbol => symbol.Length).ToArray();
        int[] next = Enumerable.Range(1, count).ToArray();
        int[] previous = Enumerable.Range(-1, count).ToArray();
        PriorityQueue<(int Left, int Right, int Length), (float MinusScore, int Left)> queue = new();
        Dictionary<string, (string Left, string Right)> halves = new(StringComparer.Ordinal);
        for (int i = 0; i + 1 < count && _model.ModelType != Characters; i++)
        {
            Offer(text, i, i + 1);
        }

        while (queue.TryDequeue(out (int Left, int Right, int Length) candidate, out _))
        {
            (int left, int right, int length) = candidate;
            if (lengths[left] == 0 || lengths[right] == 0 || lengths[left] + lengths[right] != length)
            {
                continue;
            }

            lengths[left] = length;
            lengths[right] = 0;
            next[left] = next[right];
            if (next[left] < count)
            {
                previous[next[left]] = left;
                Offer(text, left, next[left]);
            }

            if (previous[left] >= 0)
            {
                Offer(text, previous[left], left);
            }
        }

        List<Cut> cuts = [];
        for (int i = 0; i < count; i = next[i])
        {
            Emit(text.Slice(symbols[i].Begin, lengths[i]).ToString(), symbols[i].Begin, cuts, halves);
        }

        return cuts;

        void Offer(ReadOnlySpan<char> all, int left, int right)
        {
            if (symbols[left].Frozen || symbols[right].Frozen)
            {
                return;
            }

            int begin = symbols[left].Begin;
            ReadOnlySpan<char> union = all.Slice(begin, lengths[left] + lengths[right]);
            if (union.Length > _longest || !_lookup.TryGetValue(union, out int id))
            {
                return;
            }

            queue.Enqueue((left, right, union.Length), (-_model.Pieces[id].Score, left));
            if (_model.Pieces[id].Kind == PieceKind.Unused)
            {
                halves[union.ToString()] = (all.Slice(begin, lengths[left]).ToString(), all.Slice(symbols[right].Begin, lengths[right]).ToString());
            }
        }
    }

    /// <summary>A piece that is marked unused falls back to the two it was made of.</summary>
    private void Emit(string piece, int begin, List<Cut> cuts, Dictionary<string, (string Left, string Right)> halves)
    {
        if (!_ids.TryGetValue(piece, out int id))
        {
            cuts.Add(new Cut(_model.UnknownId, begin, piece.Length));
        }
        else if (_model.Pieces[id].Kind == PieceKind.Unused && halves.TryGetValue(piece, out (string Left, string Right) parts))
        {
            Emit(parts.Left, begin, cuts, halves);
            Emit(parts.Right, begin + parts.Left.Length, cuts, halves);
        }
        else
        {
            cuts.Add(new Cut(id, begin, piece.Length));
        }
    }
}
