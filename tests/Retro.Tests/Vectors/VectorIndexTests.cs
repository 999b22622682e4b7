using Retro.Search;
using Retro.Tests.Search;
using Retro.Vectors;

namespace Retro.Tests.Vectors;

public class VectorIndexTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(1, 1, 1, 1)]
    [InlineData(7, 3, 5, 3)]
    [InlineData(500, 16, 19, 10)] // fewer than 20 queries: by this library's own search
    [InlineData(3000, 33, 64, 8)] // more: by FAISS
    public void P25_an_exact_index_finds_what_comparing_with_everything_finds(int count, int dimensions, int queries, int k)
    {
        float[] vectors = TestVectors.Random(count, dimensions, seed: 1);
        float[] asked = TestVectors.Random(queries, dimensions, seed: 2);
        using VectorIndex index = VectorIndex.Create(dimensions);
        index.Add(vectors);

        (long Id, double Distance)[] expected = [.. Enumerable.Range(0, queries)
            .SelectMany(q => TestVectors.Nearest(vectors, asked.AsSpan(q * dimensions, dimensions), k))];
        NeighborResults.AssertSame(([.. expected.Select(pair => pair.Id)], [.. expected.Select(pair => (float)pair.Distance)]), Search(index, asked, k), k);
    }

    [Fact]
    public void Inner_product_finds_the_greatest_products()
    {
        float[] vectors = TestVectors.Random(200, 8, seed: 3);
        float[] query = TestVectors.Random(1, 8, seed: 4);
        using VectorIndex index = VectorIndex.Create(8, "Flat", VectorMetric.InnerProduct);
        index.Add(vectors);

        (long Id, double Product)[] expected =
        [
            .. Enumerable.Range(0, 200)
                .Select(i => ((long)i, Product: Enumerable.Range(0, 8).Sum(j => (double)vectors[i * 8 + j] * query[j])))
                .OrderByDescending(pair => pair.Product)
                .Take(5),
        ];

        Assert.Equal(VectorMetric.InnerProduct, index.Metric);
        NeighborResults.AssertSame(([.. expected.Select(pair => pair.Id)], [.. expected.Select(pair => (float)pair.Product)]), Search(index, query, 5), 5);
    }

    [Fact]
    public void Permuting_the_vectors_permutes_the_answers_and_shifting_everything_leaves_them()
    {
        float[] vectors = TestVectors.Random(400, 12, seed: 5);
        float[] queries = TestVectors.Random(30, 12, seed: 6);
        int[] order = Enumerable.Range(0, 400).ToArray();
        new Random(7).Shuffle(order);
        float[] permuted = order.SelectMany(i => vectors[(i * 12)..(i * 12 + 12)]).ToArray();

        using VectorIndex plain = VectorIndex.Create(12);
        plain.Add(vectors);
        using VectorIndex other = VectorIndex.Create(12);
        other.Add(permuted);
        using VectorIndex shifted = VectorIndex.Create(12);
        shifted.Add(vectors.Select(x => x + 0.5f).ToArray());

        (long[], float[]) expected = Search(plain, queries, 6);
        (long[] ids, float[] distances) = Search(other, queries, 6);
        NeighborResults.AssertSame(expected, ([.. ids.Select(id => (long)order[id])], distances), 6);
        // FAISS takes squared distances as differences of squared lengths and products: the farther from the origin, the more of the last bits is lost.
        NeighborResults.AssertSame(expected, Search(shifted, queries.Select(x => x + 0.5f).ToArray(), 6), 6, tolerance: 5e-5);
    }

    [Fact]
    public void One_thread_and_two_find_the_same()
    {
        using VectorIndex one = VectorIndex.Create(16, threads: 1);
        using VectorIndex two = VectorIndex.Create(16, threads: 2);
        one.Add(TestVectors.Random(2000, 16, seed: 8));
        two.Add(TestVectors.Random(2000, 16, seed: 8));
        float[] queries = TestVectors.Random(100, 16, seed: 9);

        using VectorIndex all = VectorIndex.Create(16, threads: 0);
        Assert.Equal((1, 2, Environment.ProcessorCount), (one.Threads, two.Threads, all.Threads));
        NeighborResults.AssertSame(Search(one, queries, 7), Search(two, queries, 7), 7);
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndex.Create(16, threads: -1));
    }

    [Theory]
    [InlineData(VectorMetric.SquaredL2)]
    [InlineData(VectorMetric.InnerProduct)]
    public void A_few_queries_of_FAISSs_exact_index_have_the_bits_of_the_managed_one(VectorMetric metric)
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        float[] vectors = TestVectors.Random(3000, 33, seed: 10), queries = TestVectors.Random(20, 33, seed: 11);
        using VectorIndex faiss = VectorIndex.Create(33, metric: metric, engine: VectorEngine.Faiss);
        using VectorIndex managed = VectorIndex.Create(33, metric: metric, engine: VectorEngine.Exact);
        faiss.Add(vectors);
        managed.Add(vectors);
        (long[] Ids, float[] Distances) few = Search(faiss, queries[..(19 * 33)], 8), expected = Search(managed, queries[..(19 * 33)], 8);
        (long[] ids, float[] distances) = Search(faiss, queries, 8);

        Assert.Equal(expected.Ids, few.Ids);
        Assert.Equal(expected.Distances, few.Distances);
        NeighborResults.AssertSame((ids[..(19 * 8)], distances[..(19 * 8)]), few, 8);
        Assert.NotEqual(distances[..(19 * 8)], few.Distances); // FAISS sums in another order: the few were not its own
    }

    [Theory]
    [InlineData(VectorMetric.SquaredL2, 3)]
    [InlineData(VectorMetric.SquaredL2, 40)]
    [InlineData(VectorMetric.InnerProduct, 40)]
    public void Among_some_vectors_FAISSs_exact_index_has_the_bits_of_the_managed_one(VectorMetric metric, int queries)
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        float[] vectors = TestVectors.Random(3000, 33, seed: 10), asked = TestVectors.Random(queries, 33, seed: 11);
        ChunkSet among = new(3000, [(5, 900), (1200, 1)]);
        (long[] Ids, float[] Distances)[] found =
        [
            .. new[] { VectorEngine.Faiss, VectorEngine.Exact }.Select(engine =>
            {
                using VectorIndex index = VectorIndex.Create(33, metric: metric, engine: engine);
                index.Add(vectors);
                (long[] ids, float[] distances) = (new long[queries * 8], new float[queries * 8]);
                index.Search(asked, 8, ids, distances, among: among);
                return (ids, distances);
            }),
        ];
        Assert.Equal(found[1].Ids, found[0].Ids);
        Assert.Equal(found[1].Distances, found[0].Distances);
        Assert.All(found[0].Ids, id => Assert.True(among.Contains(id)));
    }

    /// <summary>
    /// Far from the origin FAISS chooses other lists by products of matrices, as it does for many queries at once, than for each query by itself.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Inverted_lists_answer_many_queries_at_once_as_each_by_itself(int threads)
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        float[] vectors = [.. TestVectors.Random(2000, 16, seed: 30).Select(x => x + 3000)];
        float[] queries = [.. TestVectors.Random(100, 16, seed: 31).Select(x => x + 3000)];
        using VectorIndex index = VectorIndex.Create(16, "IVF32,Flat", parameters: "nprobe=2", threads: threads);
        index.Train(vectors);
        index.Add(vectors);
        Assert.True(index.AnswersEachByItself);
        (long[] ids, float[] distances) = Search(index, queries, 5);
        (long[] Ids, float[] Distances)[] alone = [.. queries.Chunk(16).Select(query => Search(index, query, 5))];
        Assert.Equal(alone.SelectMany(one => one.Ids), ids);
        Assert.Equal(alone.SelectMany(one => one.Distances), distances);
    }

    /// <summary>What this library's own search says of the centroids, and FAISS's own where that has no say, as it is for some kinds of index.</summary>
    [Theory]
    [InlineData("IVF32,Flat", VectorMetric.SquaredL2)]
    [InlineData("IVF32,Flat", VectorMetric.InnerProduct)]
    [InlineData("IVF32,SQ8", VectorMetric.InnerProduct)]
    [InlineData("IVF32,PQ4x4np", VectorMetric.SquaredL2)]
    [InlineData("IVF32,PQ4x4fs", VectorMetric.SquaredL2)]
    [InlineData("IVF32_HNSW4,Flat", VectorMetric.SquaredL2)]
    [InlineData("OPQ4,IVF32,PQ4x4np", VectorMetric.SquaredL2)]
    public unsafe void The_lists_that_are_looked_into_are_those_that_FAISS_would_look_into(string factory, VectorMetric metric)
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        using TemporaryFolder folder = new();
        float[] vectors = TestVectors.Random(2000, 16, seed: 32), queries = TestVectors.Random(10, 16, seed: 33);
        using VectorIndex index = VectorIndex.Create(16, factory, metric, parameters: "nprobe=3");
        index.Train(vectors);
        index.Add(vectors);
        index.Save(folder["index"]);
        (long[] ids, float[] distances) = Search(index, queries, 5);

        FaissNative.Check(FaissNative.Read(folder["index"], 0, out FaissIndexHandle own), "read");
        long[] expected = new long[ids.Length];
        float[] expectedDistances = new float[ids.Length];
        using (own)
        fixed (float* x = queries, found = expectedDistances)
        fixed (long* labels = expected)
        {
            FaissNative.Check(FaissNative.Search(own, 10, x, 5, found, labels), "search");
        }

        Assert.Equal(expected, ids);
        Assert.Equal(expectedDistances, distances, (a, b) => Math.Abs(a - b) < 1e-5);
    }

    [Fact]
    public void Fewer_vectors_than_asked_for_leave_minus_one_and_no_score()
    {
        using VectorIndex index = VectorIndex.Create(4);
        float[] query = [1, 0, 0, 0];
        Assert.Equal([-1, -1], Search(index, query, 2).Ids);

        index.Add([0, 1, 0, 0, 1, 0, 0, 0]);
        (long[] ids, float[] distances) = Search(index, query, 4);

        Assert.Equal([1, 0, -1, -1], ids);
        Assert.Equal([0, 2, float.NaN, float.NaN], distances);
    }

    [Theory]
    [InlineData("IVF16,Flat", false)]
    [InlineData("IVF16,Flat", true)]
    [InlineData("HNSW16", false)]
    [InlineData("PCA8,IVF16,SQ8", true)]
    public void A_saved_index_answers_as_before(string factory, bool memoryMapped)
    {
        using TemporaryFolder folder = new();
        float[] vectors = TestVectors.Clustered(1500, 16, clusters: 20, seed: 10);
        float[] queries = TestVectors.Clustered(25, 16, clusters: 20, seed: 11);
        using VectorIndex index = VectorIndex.Create(16, factory);
        index.Train(vectors);
        index.Add(vectors);
        index.Save(folder["index.faiss"]);
        using VectorIndex opened = VectorIndex.Open(folder["index.faiss"], memoryMapped, trusted: true);
        (long[] ids, float[] distances) = Search(index, queries, 5);
        (long[] ids2, float[] distances2) = Search(opened, queries, 5);

        Assert.Equal(ids, ids2);
        Assert.Equal(distances, distances2);
        Assert.Equal([folder["index.faiss"]], Directory.GetFiles(folder.Path));
    }

    /// <summary>FAISS believes its files.</summary>
    [Fact]
    public void A_file_that_nobody_vouches_for_is_looked_at_before_faiss_reads_it()
    {
        using TemporaryFolder folder = new();
        foreach ((string factory, string behind) in new[] { ("IVF2,Flat", ""), ("IVF2,Flat", "more"), ("HNSW8", "") })
        {
            using VectorIndex index = VectorIndex.Create(8, factory, engine: VectorEngine.Faiss);
            index.Train(TestVectors.Random(200, 8, seed: 1));
            index.Add(TestVectors.Random(200, 8, seed: 1));
            index.Save(folder["index"]);
            File.AppendAllText(folder["index"], behind);
            VectorIndex.Open(folder["index"], trusted: true).Dispose();
            if (factory == "IVF2,Flat" && behind.Length == 0)
            {
                VectorIndex.Open(folder["index"]).Dispose();
                continue;
            }

            string message = Assert.Throws<DatabaseException>(() => VectorIndex.Open(folder["index"])).Message;
            Assert.Contains("none of those that are made by size", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void P25_inverted_lists_answer_better_the_more_of_them_are_looked_into_and_exactly_with_all()
    {
        // Queries from around the same centers, and none that the index holds.
        float[] all = TestVectors.Clustered(4100, 24, clusters: 50, seed: 12);
        float[] vectors = all[..(4000 * 24)], queries = all[(4000 * 24)..];
        using VectorIndex exact = VectorIndex.Create(24);
        exact.Add(vectors);
        using VectorIndex index = VectorIndex.Create(24, "IVF64,Flat", parameters: "nprobe=2");
        index.Train(vectors);
        index.Add(vectors);
        (long[] Ids, float[] Distances) expected = Search(exact, queries, 10);

        double few = Recall(1), some = Recall(8);
        output.WriteLine($"recall@10 with 1 and 8 of 64 lists: {few:F3}, {some:F3}");

        Assert.Equal(64, index.ListCount);
        Assert.Equal(2, index.ProbedLists);
        Assert.Equal(0, exact.ListCount);
        Assert.InRange(few, 0.3, 0.99);
        Assert.InRange(some, Math.Max(few, 0.97), 1);
        NeighborResults.AssertSame(expected, Search(index, queries, 10, 64), 10);

        double Recall(int lists)
        {
            long[] found = Search(index, queries, 10, lists).Ids;
            return Enumerable.Range(0, 100).Sum(q => expected.Ids[(q * 10)..(q * 10 + 10)].Intersect(found[(q * 10)..(q * 10 + 10)]).Count()) / 1000.0;
        }
    }

    [Fact]
    [Trait("Category", "Long")]
    public void P25_a_large_index_as_its_size_asks_for_finds_nine_of_ten()
    {
        const int Count = 400_000, Dimensions = 32, Queries = 200;
        float[] all = TestVectors.Clustered(Count + Queries, Dimensions, clusters: 2000, seed: 13);
        float[] vectors = all[..(Count * Dimensions)], queries = all[(Count * Dimensions)..];
        using VectorIndex exact = VectorIndex.Create(Dimensions);
        exact.Add(vectors);
        VectorIndexPlan plan = VectorIndexPlan.For(Count, Dimensions);
        Assert.StartsWith("IVF", plan.Factory, StringComparison.Ordinal);
        using VectorIndex index = VectorIndex.Create(Dimensions, plan.Factory, parameters: plan.Parameters);
        index.Train(vectors[..(int)(plan.TrainingVectors * Dimensions)]);
        index.Add(vectors);

        long[] expected = Search(exact, queries, 10).Ids, found = Search(index, queries, 10).Ids;
        double recall = Enumerable.Range(0, Queries)
            .Sum(q => expected[(q * 10)..(q * 10 + 10)].Intersect(found[(q * 10)..(q * 10 + 10)]).Count()) / (10.0 * Queries);
        output.WriteLine($"{plan.Factory}, {plan.Parameters}: recall@10 {recall:F3}");
        Assert.InRange(recall, 0.9, 1);
        Assert.True(index.ProbedLists < index.ListCount);
    }

    [Fact]
    public void The_lists_inside_of_transforms_and_id_maps_are_found()
    {
        using VectorIndex index = VectorIndex.Create(16, "IDMap,OPQ4_8,IVF8,PQ4np", parameters: "nprobe=3");

        Assert.Equal(8, index.ListCount);
        Assert.Equal(3, index.ProbedLists);
        using VectorIndex flat = VectorIndex.Create(16);
        Assert.Throws<InvalidOperationException>(() => Search(flat, new float[16], 1, probedLists: 2));
    }

    /// <summary>A query that is compared with the vectors of the first list and has enough then is one that looks into one list.</summary>
    [Fact]
    public void As_many_vectors_of_the_lists_are_compared_as_the_parameters_say()
    {
        float[] vectors = TestVectors.Random(2000, 16, seed: 31), queries = TestVectors.Random(20, 16, seed: 32);
        using VectorIndex index = VectorIndex.Create(16, "IVF16,Flat", parameters: "nprobe=16,max_codes=1");
        index.Train(vectors);
        index.Add(vectors);
        long[] few = Search(index, queries, 5).Ids;
        Assert.Equal(Search(index, queries, 5, probedLists: 1).Ids, few);
        index.Use("max_codes=0");
        Assert.NotEqual(few, Search(index, queries, 5).Ids);
    }

    [Fact]
    public void Bad_vectors_are_refused_with_their_place()
    {
        using VectorIndex index = VectorIndex.Create(3);
        Assert.Contains(
            "Vector 1 holds NaN at place 2", Assert.Throws<ArgumentException>(() => index.Add([1, 2, 3, 4, 5, float.NaN])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Search(index, [1, 2, float.PositiveInfinity], 1));
        Assert.Throws<ArgumentException>(() => index.Add([1, 2]));
        Assert.Throws<ArgumentException>(() => index.Train([]));
        Assert.Throws<ArgumentException>(() => index.Search([1, 2, 3], 2, new long[1], new float[2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => index.Search([1, 2, 3], 0, [], []));
        Assert.Equal(0, index.Count);
    }

    /// <summary>Reported at https://github.com/pgvector/pgvector/issues/1027: squares of finite numbers overflow, and the order is lost.</summary>
    [Theory]
    [InlineData(VectorEngine.Exact, VectorMetric.SquaredL2)]
    [InlineData(VectorEngine.Exact, VectorMetric.InnerProduct)]
    [InlineData(VectorEngine.Auto, VectorMetric.SquaredL2)]
    [InlineData(VectorEngine.Auto, VectorMetric.InnerProduct)]
    public void Vectors_whose_distances_overflow_are_refused_and_shorter_ones_keep_their_order(VectorEngine engine, VectorMetric metric)
    {
        using VectorIndex index = VectorIndex.Create(2, metric: metric, engine: engine);
        Assert.Contains("Vector 1 is too long", Assert.Throws<ArgumentException>(() => index.Add([1, 2, 1e20f, 1e19f])).Message, StringComparison.Ordinal);
        index.Add([-9e18f, 0, 9e18f, 1e18f, 9e18f, 0]);
        Assert.Contains("Vector 0 is too long", Assert.Throws<ArgumentException>(() => Search(index, [1e30f, 0], 1)).Message, StringComparison.Ordinal);

        (long[] ids, float[] distances) = Search(index, [9e18f, -1e17f], 3);
        Assert.Equal([2, 1, 0], ids);
        Assert.All(distances, distance => Assert.True(float.IsFinite(distance)));
    }

    [Fact]
    public void What_FAISS_refuses_comes_as_an_exception_with_its_text()
    {
        Assert.Contains("Nonsense", Assert.Throws<FaissException>(() => VectorIndex.Create(8, "Nonsense")).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndex.Create(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndex.Create(8, "Flat", (VectorMetric)9));

        using VectorIndex index = VectorIndex.Create(8, "IVF32,Flat");
        Assert.False(index.IsTrained);
        Assert.Throws<FaissException>(() => index.Add(new float[8]));
        Assert.Contains("31", Assert.Throws<FaissException>(() => index.Train(TestVectors.Random(31, 8, seed: 13))).Message, StringComparison.Ordinal);
        Assert.Contains(
            "nosuch", Assert.Throws<FaissException>(() => VectorIndex.Create(8, "IVF32,Flat", parameters: "nosuch=1")).Message, StringComparison.Ordinal);
        Assert.Throws<FaissException>(() => VectorIndex.Create(8, "IVF32,Flat", parameters: "nprobe"));
        foreach (string none in new[] { "nprobe=0", "nprobe=-1" })
        {
            Assert.Contains(
                "looks into 1 of the inverted lists at least",
                Assert.Throws<FaissException>(() => VectorIndex.Create(8, "IVF32,Flat", parameters: none)).Message,
                StringComparison.Ordinal);
        }

        // Such indexes would end the process where vectors are added.
        string[] deadly =
        [
            "HNSW0", "HNSW1,Flat", "IVF32_HNSW0,Flat", "IVF32_HNSW1,Flat", "IVF0,Flat", "PQ8x0", "IVF4,PQ4x4fs_0", "OPQ4_0,PQ4", "IVF4,PQ4+0", "PQ4x64",
            "RQ2x0",
        ];
        foreach (string few in deadly)
        {
            Assert.Contains("FAISS makes nothing", Assert.Throws<FaissException>(() => VectorIndex.Create(8, few)).Message, StringComparison.Ordinal);
        }

        string[] graphsOfFewLists = ["IVF4_NSG8,Flat", "IVF100_NSG8,Flat", "PCA4,IVF511_NSG8,SQ8", "IVF16(NSG8),Flat", "IVF1024(IVF4_NSG8,Flat),Flat"];
        foreach (string few in graphsOfFewLists)
        {
            Assert.Contains("take one of HNSW", Assert.Throws<FaissException>(() => VectorIndex.Create(8, few)).Message, StringComparison.Ordinal);
        }

        VectorIndex.Create(8, "IVF512_NSG8,Flat").Dispose();
        VectorIndex.Create(8, "HNSW10,Flat").Dispose();
        Assert.Throws<ArgumentOutOfRangeException>(() => Search(index, new float[8], 1, probedLists: 0));
    }

    /// <summary>FAISS would end the process.</summary>
    [Theory]
    [InlineData("NSG8")]
    [InlineData("NSG8,Flat")]
    [InlineData("PCA4,NSG8")]
    public void A_graph_of_NSG_is_not_built_of_few_vectors(string factory)
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        float[] vectors = TestVectors.Random(512, 8, seed: 16);
        using VectorIndex index = VectorIndex.Create(8, factory);
        index.Train(vectors);
        foreach (int few in new[] { 1, 30, 100, 511 })
        {
            Assert.Contains(
                "take one of HNSW", Assert.Throws<FaissException>(() => index.Add(vectors.AsSpan(0, few * 8))).Message, StringComparison.Ordinal);
        }

        index.Add(vectors);
        Assert.InRange(Search(index, vectors[..8], 1).Ids[0], 0, 511);
    }

    /// <summary>Their refusal of a selection comes from inside a parallel region, so that asking them would end the process.</summary>
    [Theory]
    [InlineData("IVF4,RQ2x4")]
    [InlineData("IVF4,LSQ2x4")]
    [InlineData("IVF4,PRQ2x2x4")]
    [InlineData("PCA4,IVF4,RQ2x4")]
    [InlineData("IVF4,ITQ8,SH1.2")]
    public void Codes_that_cannot_be_searched_among_some_are_not_asked_to(string factory)
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        float[] vectors = TestVectors.Random(400, 8, seed: 17);
        using VectorIndex index = VectorIndex.Create(8, factory, parameters: "nprobe=4");
        index.Train(vectors);
        index.Add(vectors);
        Assert.False(index.SearchesAmong);
        Assert.DoesNotContain(-1, Search(index, vectors[..(40 * 8)], 3).Ids);
    }

    [Fact]
    public void Missing_foreign_and_cut_short_files_are_refused_with_their_name()
    {
        using TemporaryFolder folder = new();
        string path = folder["index.faiss"];
        Assert.Contains(path, Assert.Throws<DatabaseException>(() => VectorIndex.Open(path)).Message, StringComparison.Ordinal);

        using VectorIndex index = VectorIndex.Create(8);
        index.Add(TestVectors.Random(100, 8, seed: 14));
        index.Save(path);
        byte[] whole = File.ReadAllBytes(path);
        for (int length = 0; length < whole.Length; length += length < 64 ? 1 : 97)
        {
            File.WriteAllBytes(path, whole[..length]);
            Assert.Contains(path, Assert.Throws<DatabaseException>(() => VectorIndex.Open(path)).Message, StringComparison.Ordinal);
        }

        File.WriteAllText(path, "{ \"this\": \"is no index\" }");
        Assert.Throws<DatabaseException>(() => VectorIndex.Open(path));
    }

    /// <summary>FAISS would take the memory of what it reads beside that of the index.</summary>
    [Theory]
    [InlineData("Flat")]
    [InlineData("IVF4,Flat")]
    public void What_was_saved_is_not_read_again(string factory)
    {
        const string Counts = "/proc/thread-self/io";
        Assert.SkipUnless(File.Exists(Counts), "This system does not count what a thread reads.");
        using TemporaryFolder folder = new();
        using VectorIndex index = VectorIndex.Create(64, factory, engine: VectorEngine.Faiss);
        float[] vectors = TestVectors.Random(4000, 64, seed: 3);
        index.Train(vectors);
        index.Add(vectors);
        long before = Read();
        index.Save(folder["index.faiss"]);
        Assert.InRange(Read() - before, 0, vectors.Length); // of vectors of four bytes each

        static long Read() => long.Parse(File.ReadLines(Counts).First()["rchar: ".Length..], System.Globalization.CultureInfo.InvariantCulture);
    }

    [Fact]
    public void A_full_disk_is_reported_and_the_former_file_stays()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "This system has no /dev/full.");
        using TemporaryFolder folder = new();
        using VectorIndex index = VectorIndex.Create(8);
        index.Add(TestVectors.Random(10, 8, seed: 15));
        index.Save(folder["index.faiss"]);
        byte[] former = File.ReadAllBytes(folder["index.faiss"]);
        File.CreateSymbolicLink(folder["index.faiss.tmp"], "/dev/full");

        Assert.Contains("room", Assert.Throws<DatabaseException>(() => index.Save(folder["index.faiss"])).Message, StringComparison.Ordinal);
        Assert.Equal(former, File.ReadAllBytes(folder["index.faiss"]));
        Assert.Throws<DatabaseException>(() => index.Save(folder["no/such/folder/index.faiss"]));
    }

    [Fact]
    public void A_disposed_index_says_so()
    {
        VectorIndex index = VectorIndex.Create(2);
        index.Dispose();
        index.Dispose();
        Assert.Throws<ObjectDisposedException>(() => index.Add([1, 2]));
        Assert.Throws<ObjectDisposedException>(() => index.Count);
        Assert.Throws<ObjectDisposedException>(() => Search(index, [1, 2], 1));
    }

    private static (long[] Ids, float[] Distances) Search(VectorIndex index, float[] queries, int k, long? probedLists = null)
    {
        int n = queries.Length / index.Dimensions;
        long[] ids = new long[n * k];
        float[] distances = new float[n * k];
        index.Search(queries, k, ids, distances, probedLists);
        return (ids, distances);
    }
}
