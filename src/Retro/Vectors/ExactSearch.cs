using System.Numerics;
using System.Runtime.CompilerServices;

namespace Retro.Vectors;

/// <summary>
/// The nearest of many vectors by comparing with all of them: blocks of vectors that fit the cache against blocks of queries, a tile of products at a time held
/// in registers, and the best of each query kept in a heap. Every product is summed in the same order wherever it stands in a tile, so an answer depends
/// neither on the other queries nor on the number of threads; and equal vectors are equally far.
/// </summary>
/// <param name="vectors"><c>[total, dimensions]</c>.</param>
/// <param name="total">How many vectors there are.</param>
/// <param name="dimensions">Numbers in a vector.</param>
/// <param name="metric">How vectors are compared.</param>
/// <param name="threads">Threads that search; 0 for one per processor.</param>
/// <param name="among">The vectors that may come; null: all.</param>
/// <param name="excluded">Of each query, vectors that must not come; null: none.</param>
/// <param name="byDifferences">Whether it is squared distances that are ranked, and by differences alone, which takes several times as long.</param>
/// <remarks>
/// Squared distances are ranked by <c>q·v - |v|²/2</c>, which costs a product, and those of the answer are then taken from the differences, which lose no
/// digits. Each thread ranks some more than are wanted. Where the last of these is so near that rounding in the former may have decided who is in the answer
/// (|v|² is large beside the gaps between distances, or many vectors are equal), that query is answered once more by differences: so the answer is the one that
/// comparing by differences gives.
/// <para>Where less than half of the vectors may come, those are copied together block by block, and the others cost nothing.</para>
/// </remarks>
internal sealed unsafe partial class ExactSearch(
    float* vectors,
    long total,
    int dimensions,
    VectorMetric metric,
    int threads,
    ChunkSet? among,
    ExcludedChunks[]? excluded = null,
    bool byDifferences = false)
{
    private const int QueryTile = 4;
    private const int VectorTile = 3;

    /// <summary>Queries that go over the vectors together: each time the vectors come from memory, they are used for so many.</summary>
    private const int QueryBlock = 128;

    /// <summary>Bytes of the vectors in a block: about a quarter of a second-level cache.</summary>
    private const int BlockBytes = 1 << 18;

    /// <summary>Fewer products of numbers than this, about half a millisecond's, are not worth another thread, which may come later than that.</summary>
    private const long LeastPart = 1 << 24;

    /// <summary>Queries whose products with a vector take as long as reading it from memory.</summary>
    private const int QueriesOfReading = 4;

    /// <summary>Candidates beyond those wanted, for squared distances that are ranked by products.</summary>
    private const int Slack = 16;

    /// <summary>What a product so small that it has no full precision, and the sums it is in, can be off.</summary>
    private const double Underflow = 8 * (double)float.Epsilon;

    private readonly bool _ranksByProducts = metric == VectorMetric.SquaredL2 && !byDifferences;

    /// <summary>
    /// The most that a sum of products of numbers, in the order of <see cref="Product"/>, can be off, as a share of the product of the lengths: a rounding for
    /// each sum on the way (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1), and some for what is done with it.
    /// </summary>
    private readonly double _rounding = ((dimensions / Vector<float>.Count) + (2 * Vector<float>.Count) + 8) * Math.ScaleB(1, -24);

    private readonly int _block = Math.Clamp(BlockBytes / sizeof(float) / dimensions, VectorTile, 256 * VectorTile) / VectorTile * VectorTile;

    private readonly int _threads = ParallelLoop.ThreadsOf(threads);

    // Those that may come, where they are so few that it is worth while to copy them together.
    private readonly ChunkSet? _few = among?.Count < total / 2 ? among : null;

    /// <summary>Finds the nearest of every query.</summary>
    /// <param name="queries"><c>[n, dimensions]</c>.</param>
    /// <param name="n">How many queries.</param>
    /// <param name="wanted">Vectors wanted for each.</param>
    /// <param name="ids"><c>[n, wanted]</c>: numbers, nearest first and ties by number; -1 where there are no more.</param>
    /// <param name="distances"><c>[n, wanted]</c>: squared distances or inner products, NaN beside -1.</param>
    public void Find(float* queries, int n, int wanted, long* ids, float* distances)
    {
        int blocks = (n + QueryBlock - 1) / QueryBlock;
        int size = (n + blocks - 1) / blocks;

        // Few queries leave too few blocks for all threads: then each thread takes a part of the vectors, and the parts are joined.
        long compared = _few?.Count ?? total;
        int parts = blocks >= 4 * _threads ? 1
            : (int)Math.Clamp(compared * dimensions * Math.Max(n, QueriesOfReading) / LeastPart, 1, Math.Clamp(compared, 1, _threads));
        bool[] unsure = new bool[n];
        Part[][] found = new Part[blocks][];
        int[] missing = new int[blocks];
        for (int i = 0; i < blocks; i++)
        {
            found[i] = new Part[parts];
            missing[i] = parts;
        }

        void Work(int item)
        {
            int b = item / parts, p = item % parts, first = b * size, count = Math.Min(size, n - first);
            if (count > 0)
            {
                (long start, long end) = (p * compared / parts, (p + 1) * compared / parts);
                found[b][p] = _few is null
                    ? Scan(queries, first, count, start, end, wanted)
                    : ScanFew(queries, first, count, _few.Members(start, end - start), end - start, wanted);
            }

            // Whoever finishes a block's last part joins them, so that no more is held than is being worked on.
            if (Interlocked.Decrement(ref missing[b]) == 0)
            {
                for (int q = 0; q < count; q++)
                {
                    long row = (long)first + q;
                    unsure[row] = !Join(queries + row * dimensions, found[b], q, new(ids + row * wanted, wanted), new(distances + row * wanted, wanted));
                }

                found[b] = [];
            }
        }

        ParallelLoop.For(blocks * parts, Work, _threads);
        if (Array.IndexOf(unsure, true) >= 0)
        {
            FindByDifferences(queries, [.. Enumerable.Range(0, n).Where(row => unsure[row])], wanted, ids, distances);
        }
    }

    /// <summary>Answers some of the queries once more.</summary>
    private void FindByDifferences(float* queries, int[] rows, int wanted, long* ids, float* distances)
    {
        float[] asked = new float[(long)rows.Length * dimensions], far = new float[(long)rows.Length * wanted];
        long[] nearest = new long[far.Length];
        for (int i = 0; i < rows.Length; i++)
        {
            new ReadOnlySpan<float>(queries + ((long)rows[i] * dimensions), dimensions).CopyTo(asked.AsSpan(i * dimensions));
        }

        fixed (float* x = asked, values = far)
        fixed (long* found = nearest)
        {
            ExcludedChunks[]? without = excluded is null ? null : Array.ConvertAll(rows, row => excluded[row]);
            new ExactSearch(vectors, total, dimensions, metric, threads, among, without, byDifferences: true).Find(x, rows.Length, wanted, found, values);
        }

        for (int i = 0; i < rows.Length; i++)
        {
            nearest.AsSpan(i * wanted, wanted).CopyTo(new(ids + ((long)rows[i] * wanted), wanted));
            far.AsSpan(i * wanted, wanted).CopyTo(new(distances + ((long)rows[i] * wanted), wanted));
        }
    }

    /// <summary>Ranks a range of vectors for a block of queries.</summary>
    private Part Scan(float* queries, int query, int count, long start, long end, int wanted)
    {
        Part part = NewPart(query, count, end - start, wanted);
        queries += (long)query * dimensions;
        for (long first = start; first < end; first += _block)
        {
            Scan(part, queries, count, vectors + (first * dimensions), first, null, (int)Math.Min(_block, end - first));
        }

        return part;
    }

    /// <summary>Ranks some vectors for a block of queries.</summary>
    private Part ScanFew(float* queries, int query, int count, IEnumerable<long> members, long few, int wanted)
    {
        Part part = NewPart(query, count, few, wanted);
        queries += (long)query * dimensions;
        long[] numbers = new long[_block];
        float[] copies = new float[_block * dimensions];
        int length = 0;
        fixed (float* some = copies)
        {
            foreach (long member in members)
            {
                new ReadOnlySpan<float>(vectors + (member * dimensions), dimensions).CopyTo(copies.AsSpan(length * dimensions));
                numbers[length++] = member;
                if (length == _block)
                {
                    Scan(part, queries, count, some, 0, numbers, length);
                    length = 0;
                }
            }

            Scan(part, queries, count, some, 0, numbers, length);
        }

        return part;
    }

    private Part NewPart(int query, int count, long compared, int wanted)
    {
        int room = (int)Math.Min(compared, (long)wanted + (_ranksByProducts ? Slack : 0));
        return new(count, room, _block, _few is null ? among : null, excluded is null ? default : excluded.AsMemory(query)) { HoldsAll = room == compared };
    }

    /// <summary>Ranks a block of vectors for a block of queries.</summary>
    private void Scan(Part part, float* queries, int count, float* some, long first, long[]? numbers, int length)
    {
        float[] half = part.Half;
        fixed (float* product = part.Products)
        {
            if (byDifferences)
            {
                for (int query = 0; query < count; query++)
                {
                    for (int i = 0; i < length; i++)
                    {
                        product[i] = -SquaredDistance(queries + ((long)query * dimensions), some + ((long)i * dimensions));
                    }

                    part.Offer(query, first, numbers, part.Products.AsSpan(0, length));
                }

                return;
            }

            if (_ranksByProducts)
            {
                for (int i = 0; i < length; i++)
                {
                    float* vector = some + (long)i * dimensions;
                    half[i] = Product(vector, vector) / 2;
                }
            }

            int q = 0;
            for (; q + QueryTile <= count; q += QueryTile)
            {
                Products(queries + (long)q * dimensions, some, length, product);
                for (int i = 0; i < QueryTile; i++)
                {
                    part.Offer(q + i, first, numbers, part.Products.AsSpan(i * _block, length));
                }
            }

            for (; q < count; q++)
            {
                ProductsOfOne(queries + (long)q * dimensions, some, length, product);
                part.Offer(q, first, numbers, part.Products.AsSpan(0, length));
            }
        }
    }

    /// <summary>The answer of one query from those of all parts.</summary>
    /// <returns>Whether no vector that a part has dropped can be in it.</returns>
    private bool Join(float* query, Part[] parts, int q, Span<long> ids, Span<float> distances)
    {
        double[] exact = new double[ids.Length];
        Ranking best = new(ids, exact);
        foreach (Part part in parts)
        {
            for (int i = 0; i < part.Counts[q]; i++)
            {
                int at = q * part.Room + i;
                best.Offer(part.Ids[at], metric == VectorMetric.SquaredL2 ? -SquaredDistance(query, vectors + part.Ids[at] * dimensions) : part.Scores[at]);
            }
        }

        bool sure = !_ranksByProducts || IsSure(query, parts, q, -best.Least);
        int count = best.Sort();
        ids[count..].Fill(-1);
        distances[count..].Fill(float.NaN);
        for (int i = 0; i < count; i++)
        {
            distances[i] = (float)(metric == VectorMetric.SquaredL2 ? -exact[i] : exact[i]);
        }

        return sure;
    }

    /// <summary>
    /// Whether what the parts have dropped is farther than an answer's farthest. A vector v as near as that has <c>|v| ≤ |q| + √farthest</c>, and
    /// <c>q·v - |v|²/2 ≥ (|q|² - farthest)/2</c>, or less by the rounding of all that is compared here.
    /// </summary>
    private bool IsSure(float* query, Part[] parts, int q, double farthest)
    {
        double square = 0;
        for (int i = 0; i < dimensions; i++)
        {
            square += (double)query[i] * query[i];
        }

        double length = Math.Sqrt(square), most = length + Math.Sqrt(farthest);
        double off = (_rounding * ((length * most) + (most * most / 2) + farthest)) + (dimensions * Underflow);
        double least = ((square - farthest) / 2) - off;
        return Array.TrueForAll(parts, part => part.HoldsAll || part.Counts[q] < part.Room || part.Scores[q * part.Room] < least);
    }

    /// <summary>The best of some vectors for every query of a block, as heaps, with the room that a block of them takes.</summary>
    private sealed class Part(int queries, int room, int block, ChunkSet? among, ReadOnlyMemory<ExcludedChunks> excluded)
    {
        public int Room { get; } = room;

        /// <summary>Whether there is room for all that are compared, so that none is dropped.</summary>
        public bool HoldsAll { get; init; }

        public int[] Counts { get; } = new int[queries];

        public long[] Ids { get; } = new long[(long)queries * room];

        public double[] Scores { get; } = new double[(long)queries * room];

        /// <summary>Half the squared lengths of the vectors of a block, where products rank squared distances; else zeros.</summary>
        public float[] Half { get; } = new float[block];

        /// <summary>The products of a tile of queries with them, or the squared distances of one, as negative numbers.</summary>
        public float[] Products { get; } = new float[QueryTile * block];

        /// <summary>Offers the vectors of a block: their products, less half their squared lengths.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Offer(int query, long first, long[]? numbers, ReadOnlySpan<float> products)
        {
            Ranking best = new(Ids.AsSpan(query * Room, Room), Scores.AsSpan(query * Room, Room), Counts[query]);
            ReadOnlySpan<float> half = Half;
            int width = Vector<float>.Count, i = 0;
            float least = (float)best.Least;
            for (; i <= products.Length - width; i += width)
            {
                // Nearly all are worse than the worst that is held.
                if (Vector.GreaterThanOrEqualAny(new Vector<float>(products[i..]) - new Vector<float>(half[i..]), new Vector<float>(least)))
                {
                    least = OfferSome(ref best, query, i, i + width, first, numbers, products);
                }
            }

            _ = OfferSome(ref best, query, i, products.Length, first, numbers, products);
            Counts[query] = best.Count;
        }

        private float OfferSome(ref Ranking best, int query, int from, int to, long first, long[]? numbers, ReadOnlySpan<float> products)
        {
            for (int i = from; i < to; i++)
            {
                long number = numbers is null ? first + i : numbers[i];
                if (products[i] - Half[i] is var score && score >= best.Least && (excluded.IsEmpty
                    ? among?.Contains(number) != false
                    : excluded.Span[query].Admits(number, among)))
                {
                    best.Offer(number, score);
                }
            }

            return (float)best.Least;
        }
    }
}
