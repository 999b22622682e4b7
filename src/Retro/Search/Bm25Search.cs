using Retro.Database;

namespace Retro.Search;

/// <summary>One thread's buffers for searching a <see cref="Bm25Image"/> with the statistics of the collection that it is of, or a part of.</summary>
internal sealed class Bm25Search(Bm25Image image, Bm25Statistics statistics)
{
    private readonly float[] _bounds = new float[image.Documents];
    private readonly double[] _weights = new double[image.Terms];
    private int[] _seen = new int[Math.Min(image.Documents, 1024)];
    private int _seenCount;
    private int[] _sorted = [];
    private (int Rank, float Most, int Length)[] _lists = [];
    private ChunkRange[] _excluded = [];
    private int _excludedCount;
    private ChunkSet? _among;

    public double Score(ReadOnlySpan<int> query, int document)
    {
        int count = Weigh(query, out _);
        double score = Exact(document);
        Clear(count);
        return score;
    }

    public int Find(ReadOnlySpan<int> query, Span<long> documents, Span<double> scores, ReadOnlySpan<ChunkRange> without, ChunkSet? among)
    {
        _among = among;
        Exclude(without);
        int count = Weigh(query, out float rest);
        int found = count == 0 || documents.Length == 0 ? 0 : Best(count, rest, documents, scores);
        Clear(count);
        documents[found..].Fill(-1);
        scores[found..].Fill(double.NaN);
        return found;
    }

    /// <summary>Looks up the query's terms and sorts them by the most that each can add to a score; gives their number and the sum.</summary>
    private int Weigh(ReadOnlySpan<int> query, out float sum)
    {
        if (_sorted.Length < query.Length)
        {
            _sorted = new int[query.Length];
            _lists = new (int, float, int)[query.Length];
        }

        Span<int> terms = _sorted.AsSpan(0, query.Length);
        query.CopyTo(terms);
        terms.Sort();
        int count = 0;
        sum = 0;
        for (int i = 0, end; i < terms.Length; i = end)
        {
            for (end = i + 1; end < terms.Length && terms[end] == terms[i]; end++)
            {
            }

            if (image.Rank(terms[i]) is var rank and >= 0)
            {
                _weights[rank] = (end - i) * statistics.InverseDocumentFrequency(rank);
                float most = (float)(_weights[rank] * image.PeakOf(rank) / 255) * statistics.Slack;
                _lists[count++] = (rank, most, image.DocumentFrequency(rank));
                sum += most;
            }
        }

        // The rank decides between equals, so that the work does not depend on the order of the query.
        _lists.AsSpan(0, count).Sort(static (a, b) => a.Most != b.Most ? b.Most.CompareTo(a.Most) : a.Rank.CompareTo(b.Rank));
        return count;
    }

    private void Clear(int count)
    {
        for (int i = 0; i < count; i++)
        {
            _weights[_lists[i].Rank] = 0;
        }

        for (int i = 0; i < _seenCount; i++)
        {
            _bounds[_seen[i]] = 0;
        }

        _seenCount = 0;
    }

    private int Best(int count, float rest, Span<long> documents, Span<double> scores)
    {
        // Bounds are added up in single precision; a little more than its rounding error is given to each of them.
        float margin = 1 + 1e-5f + count * 5e-7f;
        float[] remaining = new float[count + 1];
        for (int i = count - 1; i >= 0; i--)
        {
            remaining[i] = remaining[i + 1] + _lists[i].Most;
        }

        Ranking best = new(documents, scores);
        int length = (int)Math.Ceiling(image.MeanLength);
        double least = 0;
        for (int i = 0; i < count; i++)
        {
            // Once what all further lists can add is less than the worst of the best, no document outside of those seen can enter.
            if (_seenCount >= documents.Length && _lists[i].Length >= _seenCount / 2)
            {
                least = Math.Max(least, Sample(documents, scores));
                if (remaining[i] * margin < least)
                {
                    // Scoring a document from its own terms costs about as much as adding one posting for each of them.
                    long candidates = 0;
                    for (int j = 0; j < _seenCount; j++)
                    {
                        candidates += (_bounds[_seen[j]] + remaining[i]) * margin >= least ? 1 : 0;
                    }

                    if (candidates * length <= _lists[i].Length)
                    {
                        return Finish(remaining[i], margin, least, ref best);
                    }

                    Raise(_lists[i].Rank);
                    continue;
                }
            }

            Add(_lists[i].Rank);
        }

        return Finish(0, margin, least, ref best);
    }

    /// <summary>The exact scores of the documents of the greatest bounds: the worst of them is what a document has to reach.</summary>
    private double Sample(Span<long> documents, Span<double> scores)
    {
        Ranking byBound = new(documents, scores);
        for (int i = 0; i < _seenCount; i++)
        {
            if (_bounds[_seen[i]] > byBound.Least && !IsExcluded(_seen[i]))
            {
                byBound.Offer(_seen[i], _bounds[_seen[i]]);
            }
        }

        if (byBound.Count < documents.Length)
        {
            return 0;
        }

        double least = double.PositiveInfinity;
        foreach (long document in documents)
        {
            least = Math.Min(least, Exact((int)document));
        }

        return least;
    }

    private int Finish(float rest, float margin, double least, ref Ranking best)
    {
        best.Clear();
        for (int i = 0; i < _seenCount; i++)
        {
            int document = _seen[i];
            if ((_bounds[document] + rest) * margin >= Math.Max(least, best.Least) && !IsExcluded(document))
            {
                best.Offer(document, Exact(document));
            }
        }

        return best.Sort();
    }

    /// <summary>Adds a term's impacts to the bounds of all documents that hold it.</summary>
    private void Add(int rank)
    {
        ReadOnlySpan<int> postings = image.PostingsOf(rank);
        ReadOnlySpan<byte> impacts = image.ImpactsOf(rank)[..postings.Length];
        if (_seen.Length < _seenCount + postings.Length)
        {
            Array.Resize(ref _seen, (int)Math.Min(image.Documents, 2L * (_seenCount + postings.Length)));
        }

        float weight = (float)(_weights[rank] / 255) * statistics.Slack;
        for (int i = 0; i < postings.Length; i++)
        {
            ref float bound = ref _bounds[postings[i]];
            if (bound == 0)
            {
                _seen[_seenCount++] = postings[i];
            }

            bound += weight * impacts[i];
        }
    }

    /// <summary>Adds a term's impacts to the bounds of the documents seen already.</summary>
    private void Raise(int rank)
    {
        ReadOnlySpan<int> postings = image.PostingsOf(rank);
        ReadOnlySpan<byte> impacts = image.ImpactsOf(rank)[..postings.Length];
        float weight = (float)(_weights[rank] / 255) * statistics.Slack;
        for (int i = 0; i < postings.Length; i++)
        {
            ref float bound = ref _bounds[postings[i]];
            bound += bound == 0 ? 0 : weight * impacts[i];
        }
    }

    /// <summary>The score of a document from its own terms, in their order.</summary>
    private double Exact(int document)
    {
        ReadOnlySpan<int> tokens = image.TokensOf(document);
        double norm = statistics.Norm(tokens.Length);
        double score = 0;
        for (int i = 0, end; i < tokens.Length; i = end)
        {
            int rank = tokens[i];
            for (end = i + 1; end < tokens.Length && tokens[end] == rank; end++)
            {
            }

            if (_weights[rank] is var weight and > 0)
            {
                double occurrences = end - i;
                score += weight * (occurrences / (occurrences + norm));
            }
        }

        return score;
    }

    private void Exclude(ReadOnlySpan<ChunkRange> ranges)
    {
        if (_excluded.Length < ranges.Length)
        {
            _excluded = new ChunkRange[ranges.Length];
        }

        ranges.CopyTo(_excluded);
        _excludedCount = ChunkRanges.Normalize(_excluded.AsSpan(0, ranges.Length));
    }

    private bool IsExcluded(int document)
        => _among?.Contains(document) == false || ChunkRanges.Contains(_excluded.AsSpan(0, _excludedCount), document);
}
