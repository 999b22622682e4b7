using Retro.Search;
using Retro.Vectors;

namespace Retro.Tests.Vectors;

/// <summary>The exact index in managed code, which serves where FAISS is missing.</summary>
public class ExactIndexTests
{
    public static TheoryData<int, int, int, int, VectorMetric> Sizes()
    {
        TheoryData<int, int, int, int, VectorMetric> sizes = [];
        foreach (VectorMetric metric in Enum.GetValues<VectorMetric>())
        {
            sizes.Add(1, 1, 1, 1, metric);
            sizes.Add(7, 3, 5, 3, metric);
            sizes.Add(5000, 33, 1, 10, metric); // one query: the vectors are shared out
            sizes.Add(3001, 40, 67, 10, metric);
            sizes.Add(2500, 16, 700, 8, metric); // many queries: each block goes over all vectors
            sizes.Add(9000, 384, 130, 10, metric);
            sizes.Add(400, 12, 9, 500, metric); // more wanted than there are
        }

        return sizes;
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void P25_finds_what_FAISS_finds(int count, int dimensions, int queries, int k, VectorMetric metric)
    {
        foreach (bool clustered in new[] { false, true })
        {
            float[] vectors = clustered ? TestVectors.Clustered(count, dimensions, 20, seed: 1) : TestVectors.Random(count, dimensions, seed: 1);
            float[] asked = clustered ? TestVectors.Clustered(queries, dimensions, 20, seed: 2) : TestVectors.Random(queries, dimensions, seed: 2);
            Normalize(vectors, dimensions);
            Normalize(asked, dimensions);
            using VectorIndex exact = VectorIndex.Create(dimensions, "Flat", metric, VectorEngine.Exact);
            using VectorIndex faiss = VectorIndex.Create(dimensions, "Flat", metric, VectorEngine.Faiss);
            exact.Add(vectors);
            faiss.Add(vectors);
            (long[] ids, float[] distances) = Search(exact, asked, k);
            (long[] expectedIds, float[] expected) = Search(faiss, asked, k);

            Assert.Equal((VectorEngine.Exact, VectorEngine.Faiss), (exact.Engine, faiss.Engine));
            for (int i = 0; i < ids.Length; i++)
            {
                Assert.Equal(expectedIds[i] < 0, ids[i] < 0);
                if (ids[i] < 0)
                {
                    Assert.Equal(float.NaN, distances[i]);
                    continue;
                }

                Assert.Equal(expected[i], distances[i], 1e-5);
                Assert.Equal(expected[i], Compare(vectors, ids[i], asked, i / k, dimensions, metric), 1e-5);
            }

            for (int q = 0; q < queries; q++)
            {
                long[] row = ids[(q * k)..(q * k + Math.Min(k, count))];
                Assert.Equal(row.Length, row.Distinct().Count());
            }
        }
    }

    /// <summary>
    /// Ranking by products alone would leave two of seven digits at 30, and none at 10,000, where the squares of lengths are ten million times the distances.
    /// </summary>
    [Theory]
    [InlineData(30, 1, VectorEngine.Exact)]
    [InlineData(100, 0.1f, VectorEngine.Exact)]
    [InlineData(100, 0.1f, VectorEngine.Auto)]
    [InlineData(10_000, 1, VectorEngine.Exact)]
    public void Far_from_the_origin_it_is_still_exact(float mean, float deviation, VectorEngine engine)
    {
        float[] vectors = [.. TestVectors.Random(4000, 16, seed: 3).Select(x => (x * deviation) + mean)];
        float[] queries = [.. TestVectors.Random(13, 16, seed: 4).Select(x => (x * deviation) + mean)];
        foreach (int threads in new[] { 1, 3 })
        {
            using VectorIndex index = VectorIndex.Create(16, "Flat", VectorMetric.SquaredL2, engine, threads: threads);
            index.Add(vectors);
            (long[] ids, float[] distances) = Search(index, queries, 5);
            for (int q = 0; q < 13; q++)
            {
                (long Id, double Distance)[] expected = TestVectors.Nearest(vectors, queries.AsSpan(q * 16, 16), 5);
                Assert.Equal(expected.Select(pair => pair.Id), ids[(q * 5)..((q * 5) + 5)]);
                Assert.All(
                    expected.Zip(distances[(q * 5)..((q * 5) + 5)]),
                    pair => Assert.Equal(pair.First.Distance, pair.Second, 1e-6 * pair.First.Distance));
            }
        }
    }

    /// <summary>More equal vectors than are ranked, and one beside them that is nearer by less than products tell.</summary>
    [Fact]
    public void Among_many_equal_vectors_the_one_that_is_nearer_is_found()
    {
        float[] one = [.. TestVectors.Random(1, 64, seed: 11)], query = [.. one.Select(x => x + 1e-3f)];
        for (int i = 0; i < 16; i++)
        {
            float[] nearer = [.. one];
            nearer[i] += 2e-5f;
            using VectorIndex index = VectorIndex.Create(64, "Flat", VectorMetric.SquaredL2, VectorEngine.Exact);
            index.Add([.. Enumerable.Repeat(one, 1000).SelectMany(x => x), .. nearer, .. Enumerable.Repeat(one, 100).SelectMany(x => x)]);
            Assert.Equal([1000, 0, 1], Search(index, query, 3).Ids);
            Assert.Equal([1000, 0, 1, 1000, 0, 1], Search(index, [.. query, .. query], 3).Ids);
        }
    }

    /// <summary>Squares of a few times the least number that there is: what differences give decides, not what products lose.</summary>
    [Fact]
    public void Numbers_whose_squares_have_few_digits_are_ranked_by_their_differences()
    {
        const int Count = 1000, Size = 8, K = 5;
        float[] vectors = [.. TestVectors.Random(Count, Size, seed: 12).Select(x => x * 6e-23f)];
        float[] queries = [.. TestVectors.Random(16, Size, seed: 13).Select(x => x * 6e-23f)];
        using VectorIndex index = VectorIndex.Create(Size, "Flat", VectorMetric.SquaredL2, VectorEngine.Exact);
        index.Add(vectors);
        (long[] ids, float[] distances) = Search(index, queries, K);
        for (int q = 0; q < 16; q++)
        {
            float[] all = [.. Enumerable.Range(0, Count).Select(id => Distance(vectors.AsSpan(id * Size, Size), queries.AsSpan(q * Size, Size)))];
            int[] expected = [.. Enumerable.Range(0, Count).OrderBy(id => all[id]).Take(K)];
            Assert.Equal(expected.Select(id => (long)id), ids[(q * K)..((q + 1) * K)]);
            Assert.Equal(expected.Select(id => all[id]), distances[(q * K)..((q + 1) * K)]);
        }

        static float Distance(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
        {
            float sum = 0;
            for (int i = 0; i < a.Length; i++)
            {
                sum += (a[i] - b[i]) * (a[i] - b[i]);
            }

            return sum;
        }
    }

    [Theory]
    [InlineData(VectorMetric.SquaredL2)]
    [InlineData(VectorMetric.InnerProduct)]
    public void An_answer_depends_neither_on_the_other_queries_nor_on_the_number_of_threads(VectorMetric metric)
    {
        VectorIndex Index(int threads)
        {
            VectorIndex made = VectorIndex.Create(21, "Flat", metric, VectorEngine.Exact, threads: threads);
            made.Add(TestVectors.Random(6000, 21, seed: 5));
            return made;
        }

        using VectorIndex three = Index(3);
        float[] queries = TestVectors.Random(300, 21, seed: 6);
        (long[] ids, float[] distances) = Search(three, queries, 7);
        foreach (int threads in new[] { 1, 2 })
        {
            using VectorIndex index = Index(threads);
            for (int q = 0; q < 300; q += 37)
            {
                (long[] alone, float[] scores) = Search(index, queries[(q * 21)..(q * 21 + 21)], 7);
                Assert.Equal(ids[(q * 7)..(q * 7 + 7)], alone);
                Assert.Equal(distances[(q * 7)..(q * 7 + 7)], scores);
            }
        }
    }

    [Theory]
    [InlineData(VectorMetric.SquaredL2)]
    [InlineData(VectorMetric.InnerProduct)]
    public void Equal_vectors_come_in_the_order_of_their_numbers(VectorMetric metric)
    {
        float[] one = TestVectors.Random(1, 19, seed: 7);
        using VectorIndex index = VectorIndex.Create(19, "Flat", metric, VectorEngine.Exact);
        index.Add(Enumerable.Repeat(one, 5000).SelectMany(x => x).ToArray());

        Assert.Equal(Enumerable.Range(0, 40).Select(i => (long)i), Search(index, one, 40).Ids);
        Assert.Equal(
            Enumerable.Repeat(Enumerable.Range(0, 9).Select(i => (long)i), 6).SelectMany(x => x),
            Search(index, Enumerable.Repeat(one, 6).SelectMany(x => x).ToArray(), 9).Ids);
    }

    [Fact]
    public void Several_threads_search_at_once()
    {
        using VectorIndex index = Exact(TestVectors.Random(4000, 24, seed: 8), 24);
        float[] queries = TestVectors.Random(50, 24, seed: 9);
        long[] expected = Search(index, queries, 6).Ids;
        long[][] found = new long[8][];
        Thread[] threads = Enumerable.Range(0, 8).Select(i => new Thread(() => found[i] = Search(index, queries, 6).Ids)).ToArray();
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());

        Assert.All(found, ids => Assert.Equal(expected, ids));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_saved_index_answers_as_before_and_takes_more(bool memoryMapped)
    {
        using TemporaryFolder folder = new();
        float[] vectors = TestVectors.Random(900, 10, seed: 10), queries = TestVectors.Random(20, 10, seed: 11);
        using VectorIndex index = VectorIndex.Create(10, "Flat", VectorMetric.InnerProduct, VectorEngine.Exact);
        index.Add(vectors.AsSpan(0, 5000));
        index.Add(vectors.AsSpan(5000));
        index.Save(folder["index"]);
        byte[] file = File.ReadAllBytes(folder["index"]);
        using VectorIndex opened = VectorIndex.Open(folder["index"], memoryMapped);

        Assert.Equal((VectorEngine.Exact, VectorMetric.InnerProduct, 10, 900L), (opened.Engine, opened.Metric, opened.Dimensions, opened.Count));
        Assert.Equal(Search(index, queries, 4).Ids, Search(opened, queries, 4).Ids);

        index.Add(queries);
        opened.Add(queries);
        Assert.Equal(Search(index, queries, 4).Ids, Search(opened, queries, 4).Ids);
        Assert.Equal(file, File.ReadAllBytes(folder["index"]));
        opened.Save(folder["index"]);
        using VectorIndex again = VectorIndex.Open(folder["index"], memoryMapped);
        Assert.Equal(920, again.Count);
        Assert.Equal([folder["index"]], Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void Damaged_and_cut_short_files_are_refused_with_their_name()
    {
        using TemporaryFolder folder = new();
        string path = folder["index"];
        using VectorIndex index = Exact(TestVectors.Random(20, 6, seed: 12), 6);
        index.Save(path);
        byte[] whole = File.ReadAllBytes(path);
        for (int length = 0; length < whole.Length; length += 7)
        {
            Refused(whole[..length]);
        }

        Refused([.. whole, 0]);
        Refused([.. whole, .. new byte[24]]);
        for (int i = 0; i < 64; i++)
        {
            byte[] changed = (byte[])whole.Clone();
            changed[i] ^= 0x82;
            Refused(changed);
        }

        // Sizes whose product overflows to the right number of bytes.
        byte[] huge = (byte[])whole.Clone();
        BitConverter.TryWriteBytes(huge.AsSpan(16), 1 << 30);
        BitConverter.TryWriteBytes(huge.AsSpan(24), 1L << 33);
        Refused(huge[..64]);

        void Refused(byte[] bytes)
        {
            File.WriteAllBytes(path, bytes);
            foreach (bool memoryMapped in new[] { false, true })
            {
                Assert.Contains(path, Assert.Throws<DatabaseException>(() => VectorIndex.Open(path, memoryMapped)).Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void A_full_disk_is_reported_and_the_former_file_stays()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "This system has no /dev/full.");
        using TemporaryFolder folder = new();
        using VectorIndex index = Exact(TestVectors.Random(10, 8, seed: 13), 8);
        index.Save(folder["index"]);
        byte[] former = File.ReadAllBytes(folder["index"]);
        File.CreateSymbolicLink(folder["index.tmp"], "/dev/full");

        Assert.Contains("no space left", Assert.Throws<DatabaseException>(() => index.Save(folder["index"])).Message, StringComparison.Ordinal);
        Assert.Equal(former, File.ReadAllBytes(folder["index"]));
        Assert.Throws<DatabaseException>(() => index.Save(folder["no/such/folder/index"]));
    }

    [Fact]
    public void What_it_cannot_do_it_refuses()
    {
        using VectorIndex index = Exact([1, 2, 3, 4], 2);
        Assert.Contains("holds NaN at place 1", Assert.Throws<ArgumentException>(() => index.Add([1, float.NaN])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Search(index, [float.NegativeInfinity, 1], 1));
        Assert.Throws<ArgumentException>(() => index.Train([]));
        Assert.Throws<InvalidOperationException>(() => index.Search([1, 2], 1, new long[1], new float[1], probedLists: 2));
        Assert.Contains(
            "nprobe=2",
            Assert.Throws<FaissException>(() => VectorIndex.Create(2, engine: VectorEngine.Exact, parameters: "nprobe=2")).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "IVF4,Flat", Assert.Throws<FaissException>(() => VectorIndex.Create(2, "IVF4,Flat", engine: VectorEngine.Exact)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndex.Create(2, engine: (VectorEngine)7));
        index.Train([1, 2]);
        Assert.Equal((2, 0, 0, true), (index.Count, index.ListCount, index.ProbedLists, index.IsTrained));
    }

    [Fact]
    public void A_disposed_index_says_so()
    {
        VectorIndex index = Exact([1, 2], 2);
        index.Dispose();
        index.Dispose();
        Assert.Throws<ObjectDisposedException>(() => index.Add([1, 2]));
        Assert.Throws<ObjectDisposedException>(() => index.Count);
        Assert.Throws<ObjectDisposedException>(() => Search(index, [1, 2], 1));
        Assert.Throws<ObjectDisposedException>(() => index.Save("nowhere"));
    }

    private static VectorIndex Exact(float[] vectors, int dimensions)
    {
        VectorIndex index = VectorIndex.Create(dimensions, engine: VectorEngine.Exact);
        index.Add(vectors);
        return index;
    }

    private static void Normalize(float[] vectors, int dimensions)
    {
        for (int start = 0; start < vectors.Length; start += dimensions)
        {
            Span<float> vector = vectors.AsSpan(start, dimensions);
            double norm = 0;
            foreach (float x in vector)
            {
                norm += (double)x * x;
            }

            for (int i = 0; i < dimensions; i++)
            {
                vector[i] = (float)(vector[i] / Math.Sqrt(norm));
            }
        }
    }

    /// <summary>What each query leaves out is not in its answer, and everything else is as if it were not there, copies of one vector included.</summary>
    [Theory]
    [InlineData(VectorEngine.Exact, VectorMetric.SquaredL2)]
    [InlineData(VectorEngine.Exact, VectorMetric.InnerProduct)]
    [InlineData(VectorEngine.Faiss, VectorMetric.SquaredL2)]
    [InlineData(VectorEngine.Faiss, VectorMetric.InnerProduct)]
    public void Each_query_leaves_out_vectors_of_its_own(VectorEngine engine, VectorMetric metric)
    {
        Assert.SkipWhen(engine == VectorEngine.Faiss && !FaissNative.IsLoaded, "There is no libfaiss_c.");
        const int Count = 900, Size = 8, K = 6, Queries = 150;
        float[] vectors = TestVectors.Random(Count, Size, seed: 31), queries = TestVectors.Random(Queries, Size, seed: 32);
        for (int i = 0; i < Count; i += 3)
        {
            vectors.AsSpan(0, Size).CopyTo(vectors.AsSpan(i * Size));
        }

        for (int q = 0; q < Queries; q += 5)
        {
            vectors.AsSpan(0, Size).CopyTo(queries.AsSpan(q * Size));
        }

        ExcludedChunks[] excluded =
            [.. Enumerable.Range(0, Queries).Select(q => new ExcludedChunks(new ChunkRange(q, 1 + (q % 40)), new ChunkRange(3 * q, q)))];
        using VectorIndex index = VectorIndex.Create(Size, metric: metric, engine: engine);
        using VectorIndex whole = VectorIndex.Create(Size, metric: metric, engine: VectorEngine.Exact);
        index.Add(vectors);
        whole.Add(vectors);
        (long[] all, float[] far) = Search(whole, queries, Count);
        foreach (ChunkSet? among in new[] { null, new ChunkSet(Count, [(0, 700)]), new ChunkSet(Count, [(100, 50), (400, 60)]) })
        {
            (long[] ids, float[] distances) = (new long[Queries * K], new float[Queries * K]);
            index.Search(queries, K, ids, distances, among: among, excluded: excluded);
            for (int q = 0; q < Queries; q++)
            {
                (long Id, float Distance)[] expected =
                    [.. all.Zip(far).Skip(q * Count).Take(Count).Where(one => excluded[q].Admits(one.First, among)).Take(K)];
                Assert.Equal(expected.Select(one => one.Id), ids[(q * K)..((q + 1) * K)]);
                Assert.Equal(expected.Select(one => one.Distance), distances[(q * K)..((q + 1) * K)]);
            }
        }
    }

    private static double Compare(float[] vectors, long id, float[] queries, int query, int dimensions, VectorMetric metric)
    {
        double sum = 0;
        for (int i = 0; i < dimensions; i++)
        {
            double x = vectors[id * dimensions + i], y = queries[query * dimensions + i];
            sum += metric == VectorMetric.InnerProduct ? x * y : (x - y) * (x - y);
        }

        return sum;
    }

    private static (long[] Ids, float[] Distances) Search(VectorIndex index, float[] queries, int k)
    {
        int n = queries.Length / index.Dimensions;
        long[] ids = new long[n * k];
        float[] distances = new float[n * k];
        index.Search(queries, k, ids, distances);
        return (ids, distances);
    }
}
