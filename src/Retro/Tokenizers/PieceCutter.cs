namespace Retro.Tokenizers;

/// <summary>A part of a normalized text and its piece; the unknown id where the vocabulary has none.</summary>
internal readonly record struct Cut(int Id, int Begin, int Length);

/// <summary>Cuts a normalized text into pieces of a SentencePiece vocabulary.</summary>
internal sealed class PieceCutter
{
    private const int Unigram = 1;
    private const int Characters = 4;

    private readonly SentencePieceModel _model;
    private readonly int _section;
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly PieceTrie _sought = new();
    private readonly PieceTrie _userDefined;
    private readonly JoinedCharacters _joined;
    private readonly bool _hasUnused;
    private readonly int _longest;
    private readonly float _lowest = float.MaxValue;

    // C's FLT_MIN, from which the original starts: the smallest normal number above 0, where it would have to be below every score.
    private readonly float _highest = 1.17549435E-38f;

    /// <param name="model">The model.</param>
    /// <param name="section">Characters that a section has at least.</param>
    /// <exception cref="FormatException">The model is of a kind that is not known.</exception>
    public PieceCutter(SentencePieceModel model, int section = 1024)
    {
        if (model.ModelType is not (Unigram or 2 or Characters))
        {
            throw new FormatException($"its model type is {model.ModelType}; known are 1 (unigram), 2 (BPE) and {Characters} (characters)");
        }

        (_model, _section) = (model, section);
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

            if (piece.Kind is PieceKind.Normal or PieceKind.UserDefined && model.ModelType == Unigram)
            {
                _sought.Add(piece.Text, id);
            }

            if (piece.Kind == PieceKind.Normal)
            {
                _lowest = Math.Min(_lowest, piece.Score);
                _highest = Math.Max(_highest, piece.Score);
            }
        }

        _joined = new JoinedCharacters(model.ModelType == Unigram ? [] : _ids.Keys);
        _hasUnused = model.Pieces.Exists(piece => piece.Kind == PieceKind.Unused);
        _userDefined = new PieceTrie(model.Pieces.Where(piece => piece.Kind == PieceKind.UserDefined).Select(piece => piece.Text));
    }

    /// <summary>
    /// The cuts of a text's next section, in order, which are those of the whole text: it ends where every cut of the whole has one. Memory goes with the
    /// section and not with the text.
    /// </summary>
    /// <param name="text">The whole text.</param>
    /// <param name="begin">Where the section begins: 0, then what the call before returned.</param>
    /// <param name="score">Score of the sections before: 0, then as the call before left it.</param>
    /// <param name="cuts">Takes the cuts, in place of what it holds.</param>
    /// <returns>Where the section ends; the text's length at the last.</returns>
    public int Cut(ReadOnlySpan<char> text, int begin, ref float score, List<Cut> cuts)
    {
        cuts.Clear();
        if (_model.ModelType == Unigram)
        {
            return BestPath(text, begin, ref score, cuts);
        }

        // What a piece falls back to that is marked unused may have been found anywhere in the text.
        int end = _hasUnused ? text.Length : begin + Math.Min(text.Length - begin, _section);
        while (end < text.Length && (CodePoints.IsWithinPair(text, end) || _joined.Are(text[end - 1], text[end])))
        {
            end++;
        }

        Merged(text, begin, end, cuts);
        return end;
    }

    /// <summary>
    /// The unigram model's most likely cut (Kudo 2018), found from left to right: an unknown character costs ten more than the
    /// least likely piece. Of equal paths the one found first stays, as in the original.
    /// </summary>
    private int BestPath(ReadOnlySpan<char> text, int start, ref float score, List<Cut> cuts)
    {
        float unknownScore = _lowest - 10;
        int room = (int)Math.Min(text.Length - start, 2L * _section) + 1;
        float[] best = new float[room];
        int[] from = new int[room];
        int[] ids = new int[room];
        Array.Fill(from, -1);
        best[0] = score;
        int end = start;

        // The furthest that a piece reaches is where all paths meet, once what begins before was tried.
        for (int begin = start; begin < text.Length && (begin < end || begin - start < _section);)
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
                double pieceScore = _model.Pieces[id].Kind == PieceKind.UserDefined
                    ? (System.Text.Encoding.UTF8.GetByteCount(text.Slice(begin, length)) * _highest) - 0.1
                    : _model.Pieces[id].Score;
                Offer(begin - start, length, best[begin - start] + pieceScore, id);
                single |= length == character;
            }

            if (!single)
            {
                Offer(begin - start, character, (float)(best[begin - start] + unknownScore), _model.UnknownId);
            }

            begin += character;
        }

        score = best[end - start];
        for (int at = end - start; at > 0; at = from[at])
        {
            cuts.Add(new Cut(ids[at], start + from[at], at - from[at]));
        }

        cuts.Reverse();
        return end;

        // As the original adds and compares in double what it keeps as float: of paths that nearly tie the sums' rounding decides.
        void Offer(int begin, int length, double offered, int id)
        {
            int to = begin + length;
            if (to >= best.Length)
            {
                int before = from.Length;
                Array.Resize(ref best, 2 * to);
                Array.Resize(ref from, 2 * to);
                Array.Resize(ref ids, 2 * to);
                from.AsSpan(before).Fill(-1);
            }

            end = Math.Max(end, start + to);
            if (from[to] < 0 || offered > best[to])
            {
                (best[to], from[to], ids[to]) = ((float)offered, begin, id);
            }
        }
    }

    /// <summary>
    /// BPE: the neighbors whose union has the highest score are joined first, of equal ones the leftmost; a user's symbol is never joined. Where pieces are
    /// characters, nothing is.
    /// </summary>
    private void Merged(ReadOnlySpan<char> text, int start, int end, List<Cut> cuts)
    {
        // Symbols by number; one that was joined to the one before it has no length.
        int count = 0;
        int[] begins = new int[end - start], lengths = new int[begins.Length], next = new int[begins.Length], previous = new int[begins.Length];
        bool[] frozen = new bool[begins.Length];
        for (int begin = start; begin < end; count++)
        {
            int symbol = _userDefined.LongestAt(text, begin);
            frozen[count] = symbol > 0;
            (begins[count], lengths[count]) = (begin, symbol > 0 ? symbol : CodePoints.LengthAt(text, begin));
            (previous[count], next[count]) = (count - 1, count + 1);
            begin += lengths[count];
        }

        PriorityQueue<(int Left, int Right, int Length), (float MinusScore, int Left)> queue = new();
        Dictionary<string, (string Left, string Right)>? halves = _hasUnused ? new(StringComparer.Ordinal) : null;
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

        for (int i = 0; i < count; i = next[i])
        {
            Emit(text.Slice(begins[i], lengths[i]), begins[i], cuts, halves);
        }

        void Offer(ReadOnlySpan<char> all, int left, int right)
        {
            if (frozen[left] || frozen[right])
            {
                return;
            }

            int begin = begins[left];
            ReadOnlySpan<char> union = all.Slice(begin, lengths[left] + lengths[right]);
            if (union.Length > _longest || !_lookup.TryGetValue(union, out int id))
            {
                return;
            }

            queue.Enqueue((left, right, union.Length), (-_model.Pieces[id].Score, left));
            if (_model.Pieces[id].Kind == PieceKind.Unused)
            {
                halves![union.ToString()] = (all.Slice(begin, lengths[left]).ToString(), all.Slice(begins[right], lengths[right]).ToString());
            }
        }
    }

    /// <summary>A piece that is marked unused falls back to the two it was made of.</summary>
    private void Emit(ReadOnlySpan<char> piece, int begin, List<Cut> cuts, Dictionary<string, (string Left, string Right)>? halves)
    {
        if (!_lookup.TryGetValue(piece, out int id))
        {
            cuts.Add(new Cut(_model.UnknownId, begin, piece.Length));
        }
        else if (_model.Pieces[id].Kind == PieceKind.Unused && halves!.TryGetValue(piece.ToString(), out (string Left, string Right) parts))
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
