using System.Numerics;
using System.Runtime.InteropServices;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>One thread's buffers for searching a <see cref="Bm25Image"/> with the statistics of the collection that it is of, or a part of.</summary>
/// <remarks>
/// Documents are taken a range at a time. The query's terms, those that can add most first, add whole numbers of at least their impact to bounds that fit the
/// processor's cache, until scoring the documents whose bound still reaches the worst of the best takes less time than the terms that are left. This is
/// MaxScore (Turtle and Flood, "Query evaluation: strategies and optimizations", 1995) by ranges. Scores are always computed from a document's own terms.
/// </remarks>
internal sealed class Bm25Search(Bm25Image image, Bm25Statistics statistics)
{
    /// <summary>Documents of a range: their bounds fit the first or the second of a processor's caches.</summary>
    private const int Range = 1 << 15;

    /// <summary>A query of more different terms is compared with every document: their parts of a bound would be too small for whole numbers.</summary>
    private const int MostTerms = 1 << 13;

    // What things cost, in times of adding a posting. A column is added up many documents at once.
    private const double CostOfColumn = 0.08, CostOfCounting = 0.03, CostOfScoredToken = 2;

    private readonly ushort[] _bounds = new ushort[Math.Min(image.Documents, Range)];
    private readonly double[] _weights = new double[image.Terms];
    private int[] _sorted = [];
    private Term[] _terms = [];
    private int _count;
    private double _scale;
    private ExcludedChunks _excluded;
    private ChunkSet? _among;

    public double Score(ReadOnlySpan<int> query, int document)
    {
        Weigh(query);
        double score = Exact(document);
        Clear();
        return score;
    }

    public int Find(ReadOnlySpan<int> query, Span<long> documents, Span<double> scores, ExcludedChunks excluded, ChunkSet? among)
    {
        (_excluded, _among) = (excluded, among);
        Weigh(query);
        Ranking best = new(documents, scores);
        if (_count > 0 && documents.Length > 0)
        {
            Plan();
            if (_count > MostTerms || among?.Count * CostOfScoredToken * image.MeanLength <= _terms[0].Work * image.Documents)
            {
                ScoreAll(ref best);
            }
            else
            {
                SearchRanges(documents.Length, ref best);
            }
        }

        Clear();
        int found = best.Sort();
        documents[found..].Fill(-1);
        scores[found..].Fill(double.NaN);
        return found;
    }

    /// <summary>Offers all documents that can be seen: they are so few, or the terms so many, that bounds save nothing.</summary>
    private void ScoreAll(ref Ranking best)
    {
        foreach (long document in _among?.Members() ?? Enumerable.Range(0, image.Documents).Select(document => (long)document))
        {
            if (_excluded.Admits(document, visible: null) && Exact((int)document) is var score and > 0)
            {
                best.Offer(document, score);
            }
        }
    }

    private void SearchRanges(int wanted, ref Ranking best)
    {
        long[] first = new long[wanted];
        double[] bounds = new double[wanted];
        for (long start = 0; start < image.Documents; start += Range) // the last addition may go beyond an int
        {
            int some = (int)Math.Min(Range, image.Documents - start);
            Search((int)start, _bounds.AsSpan(0, some), wanted, first, bounds, ref best);
        }
    }

    /// <summary>Looks up the query's terms and sorts them by the most that each can add to a score.</summary>
    private void Weigh(ReadOnlySpan<int> query)
    {
        if (_sorted.Length < query.Length)
        {
            _sorted = new int[query.Length];
            _terms = new Term[query.Length];
        }

        Span<int> sorted = _sorted.AsSpan(0, query.Length);
        query.CopyTo(sorted);
        sorted.Sort();
        _count = 0;
        for (int i = 0, end; i < sorted.Length; i = end)
        {
            for (end = i + 1; end < sorted.Length && sorted[end] == sorted[i]; end++)
            {
            }

            if (image.Rank(sorted[i]) is var rank and >= 0)
            {
                _weights[rank] = (end - i) * statistics.InverseDocumentFrequency(rank);
                _terms[_count++] = new() { Rank = rank, Most = _weights[rank] * image.PeakOf(rank) / 255 * statistics.Slack };
            }
        }

        // The rank decides between equals, so that the work does not depend on the order of the query.
        _terms.AsSpan(0, _count).Sort(static (a, b) => a.Most != b.Most ? b.Most.CompareTo(a.Most) : a.Rank.CompareTo(b.Rank));
    }

    private void Clear()
    {
        for (int i = 0; i < _count; i++)
        {
            _weights[_terms[i].Rank] = 0;
        }
    }

    /// <summary>
    /// Chooses the units of bounds: a 256th of a term's factor times the impact, rounded down, and 1, is more than what the term adds to the score, and the sum
    /// of all terms is no more than a bound can hold.
    /// </summary>
    private void Plan()
    {
        Span<Term> terms = _terms.AsSpan(0, _count);
        double sum = 0, greatest = 0;
        foreach (ref Term term in terms)
        {
            sum += term.Most;
            greatest = Math.Max(greatest, UnitOf(term));
        }

        // The sum itself is rounded, too, so a little is left.
        _scale = Math.Min(65_500.0 - 2.0 * _count, 65_000.0 / 256 * sum / greatest) / sum;
        uint rest = 0;
        double work = 0;
        for (int i = _count - 1; i >= 0; i--)
        {
            ref Term term = ref terms[i];
            term.Factor = (uint)Math.Ceiling(UnitOf(term) * 256 * _scale);
            term.Next = 0;
            rest += (image.PeakOf(term.Rank) * term.Factor >> 8) + 1;
            work += image.HasColumn(term.Rank) ? CostOfColumn : (double)image.DocumentFrequency(term.Rank) / image.Documents;
            (term.Rest, term.Work) = (rest, work);
        }

        double UnitOf(in Term term) => _weights[term.Rank] / 255 * statistics.Slack;
    }

    /// <summary>Offers the documents of a range that can be among the best.</summary>
    private void Search(int start, Span<ushort> bounds, int wanted, Span<long> first, Span<double> firstBounds, ref Ranking best)
    {
        bounds.Clear();
        double costOfScore = CostOfScoredToken * image.MeanLength;
        uint least = best.Count == wanted ? Units(best.Least) : 0, rest = 0;
        for (int i = 0; i < _count; i++)
        {
            ref Term term = ref _terms[i];

            // Once the terms that are left add up to less than the worst of the best, a document without any of the others cannot enter.
            if (term.Rest < least && term.Work > 2 * CostOfCounting)
            {
                int candidates = CountAtLeast(bounds, (ushort)Math.Min(least - term.Rest, ushort.MaxValue));
                if (candidates * costOfScore <= term.Work * bounds.Length)
                {
                    rest = term.Rest;
                    break;
                }
            }

            if (image.HasColumn(term.Rank))
            {
                AddColumn(image.ColumnOf(term.Rank).Slice(start, bounds.Length), term.Factor, bounds);
            }
            else
            {
                AddPostings(ref term, start, bounds);
            }
        }

        if (best.Count < wanted)
        {
            // Those of the greatest bounds first: their scores say which others are worth computing.
            Ranking byBound = new(first, firstBounds);
            for (int i = 0; i < bounds.Length; i++)
            {
                if (bounds[i] > 0 && (byBound.Count < wanted || bounds[i] > byBound.Least) && _excluded.Admits(start + i, _among))
                {
                    byBound.Offer(start + i, bounds[i]);
                }
            }

            foreach (long document in first[..byBound.Count])
            {
                best.Offer(document, Exact((int)document));
                bounds[(int)document - start] = 0;
            }

            if (byBound.Count < wanted)
            {
                return;
            }

            least = Units(best.Least);
        }

        Offer(start, bounds, least, rest, ref best);
    }

    /// <summary>Scores the documents whose bound, and the most that unread terms add to it, reaches the worst of the best.</summary>
    private void Offer(int start, Span<ushort> bounds, uint least, uint rest, ref Ranking best)
    {
        int width = Vector<ushort>.Count;
        for (int at = 0; at < bounds.Length; at += width)
        {
            Span<ushort> some = bounds.Slice(at, Math.Min(width, bounds.Length - at));
            uint needed = least > rest ? least - rest : 1;
            if (needed > ushort.MaxValue)
            {
                return;
            }

            if (some.Length == width && !Vector.GreaterThanOrEqualAny(new Vector<ushort>(some), new Vector<ushort>((ushort)needed)))
            {
                continue;
            }

            for (int i = 0; i < some.Length; i++)
            {
                if (some[i] >= needed && start + at + i is var document && _excluded.Admits(document, _among))
                {
                    best.Offer(document, Exact(document));
                    least = Units(best.Least);
                }
            }
        }
    }

    /// <summary>A score in the units of bounds, with a little less for the rounding of both.</summary>
    private uint Units(double score) => (uint)(score * _scale * (1 - 1e-6));

    private static int CountAtLeast(ReadOnlySpan<ushort> bounds, ushort least)
    {
        ReadOnlySpan<Vector<ushort>> vectors = MemoryMarshal.Cast<ushort, Vector<ushort>>(bounds);
        Vector<ushort> wanted = new(least), counts = default;
        foreach (Vector<ushort> vector in vectors)
        {
            counts -= Vector.GreaterThanOrEqual(vector, wanted); // all ones, which is minus one
        }

        int count = Vector.Sum(counts);
        foreach (ushort bound in bounds[(vectors.Length * Vector<ushort>.Count)..])
        {
            count += bound >= least ? 1 : 0;
        }

        return count;
    }

    /// <summary>Adds a term's impacts to the bounds of a range, from its postings.</summary>
    private void AddPostings(ref Term term, int start, Span<ushort> bounds)
    {
        ReadOnlySpan<int> documents = image.PostingsOf(term.Rank);
        ReadOnlySpan<byte> impacts = image.ImpactsOf(term.Rank)[..documents.Length];
        int at = term.Next;
        if (at < documents.Length && documents[at] < start)
        {
            at = Seek(documents, at, start); // ranges before did without it
        }

        uint factor = term.Factor;
        for (; at < documents.Length; at++)
        {
            int place = documents[at] - start;
            if ((uint)place >= (uint)bounds.Length)
            {
                break;
            }

            bounds[place] += (ushort)((impacts[at] * factor >> 8) + 1);
        }

        term.Next = at;
    }

    /// <summary>The first posting at a document or after it, looked for in steps that double.</summary>
    private static int Seek(ReadOnlySpan<int> documents, int at, int document)
    {
        int step = 64;
        while (at + step < documents.Length && documents[at + step] < document)
        {
            at += step;
            step = Math.Min(2 * step, 1 << 24);
        }

        int place = documents[at..Math.Min(documents.Length, at + step + 1)].BinarySearch(document);
        return at + (place < 0 ? ~place : place);
    }

    /// <summary>Adds a frequent term's impacts to the bounds of a range.</summary>
    private static void AddColumn(ReadOnlySpan<byte> impacts, uint factor, Span<ushort> bounds)
    {
        // impact · factor >> 8 in 16 bits: the factor's high byte times the impact, and the high byte of what its low byte gives.
        Vector<ushort> high = new((ushort)(factor >> 8)), low = new((ushort)(factor & 0xff));
        ReadOnlySpan<Vector<byte>> bytes = MemoryMarshal.Cast<byte, Vector<byte>>(impacts);
        Span<Vector<ushort>> sums = MemoryMarshal.Cast<ushort, Vector<ushort>>(bounds)[..(2 * bytes.Length)];
        for (int i = 0; i < bytes.Length; i++)
        {
            Vector.Widen(bytes[i], out Vector<ushort> lower, out Vector<ushort> upper);
            sums[2 * i] += Part(lower);
            sums[2 * i + 1] += Part(upper);
        }

        for (int i = bytes.Length * Vector<byte>.Count; i < impacts.Length; i++)
        {
            bounds[i] += (ushort)(impacts[i] == 0 ? 0 : (impacts[i] * factor >> 8) + 1);
        }

        Vector<ushort> Part(Vector<ushort> impact) => impact * high + (impact * low >>> 8) + Vector.Min(impact, Vector<ushort>.One);
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
            if ((uint)rank >= (uint)_weights.Length)
            {
                throw image.NamesWhatIsNotThere();
            }

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

    /// <summary>A different term of the query.</summary>
    private record struct Term
    {
        /// <summary>Its rank in the image.</summary>
        public int Rank;

        /// <summary>What it adds to a score at most.</summary>
        public double Most;

        /// <summary>By what its impacts are multiplied, in 256ths of a bound's unit.</summary>
        public uint Factor;

        /// <summary>What it and the terms behind it add to a bound at most.</summary>
        public uint Rest;

        /// <summary>What it and the terms behind it cost for a document.</summary>
        public double Work;

        /// <summary>Its first posting that is not read.</summary>
        public int Next;
    }
}
