using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Vectors;
using Retro.Vectors;

namespace Retro.Tests.Search;

public class DenseNeighborSourceTests
{
    [Theory]
    [InlineData(VectorMetric.SquaredL2)]
    [InlineData(VectorMetric.InnerProduct)]
    public void Finds_the_nearest_keys_outside_of_the_excluded_documents(VectorMetric metric)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(40, seed: 1));
        using VectorIndex index = data.Index("Flat", metric);
        NeighborQuery[] queries = data.OwnQueries();
        (long[] chunks, float[] scores) = data.Dense(index).Ask(queries, 5);

        for (int q = 0; q < queries.Length; q++)
        {
            float[] key = SearchDatabase.KeyOf(data.Chunks[q]);
            double Score(long chunk) => Enumerable.Range(0, SearchDatabase.Dimensions).Sum(j =>
            {
                double other = data.AllKeys[chunk * SearchDatabase.Dimensions + j];
                return metric == VectorMetric.InnerProduct ? key[j] * other : -(key[j] - other) * (key[j] - other);
            });
            double[] expected = Enumerable.Range(0, data.Chunks.Count)
                .Where(chunk => data.Database.DocumentOf(chunk) != data.Database.DocumentOf(q))
                .Select(chunk => Score(chunk)).OrderDescending().Take(5).ToArray();
            for (int i = 0; i < 5; i++)
            {
                long found = chunks[q * 5 + i];
                Assert.NotEqual(data.Database.DocumentOf(q), data.Database.DocumentOf(found));
                Assert.Equal(expected[i], Score(found), 1e-5);
                Assert.Equal(expected[i], scores[q * 5 + i], 1e-5);
            }
        }
    }

    /// <summary>As of who asks for more and more until enough are found.</summary>
    [Theory]
    [InlineData(1, 8, 8L, 16L)]
    [InlineData(32, 1 << 26, 8L, 1L << 32)]
    [InlineData(32, int.MaxValue, (long)int.MaxValue, 1L << 37)]
    public void As_many_candidates_as_there_may_be_are_counted(int candidates, int count, long more, long expected)
        => Assert.Equal(expected, DenseIndex.WidthOf(candidates, count, more));

    [Fact]
    public void Widens_until_there_are_enough_although_whole_long_documents_are_excluded()
    {
        // One document fills nearly the whole database, and all its chunks are nearer to its own chunks than anything else.
        List<Retro.Corpora.Document> documents = [TestDatabases.Document("long", string.Concat(Enumerable.Repeat("abcdefg ", 600)))];
        documents.AddRange(SearchDatabase.Documents(6, seed: 2));
        using SearchDatabase data = new(documents);
        using VectorIndex index = data.Index();

        (long[] chunks, _) = data.Dense(index).Ask([new(data.Chunks[17], [0])], 9);

        data.AssertNearest(data.Chunks[17], chunks, 0);
    }

    [Fact]
    public void Looks_into_more_lists_until_there_are_enough_and_leaves_the_index_as_it_was()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 3));
        using VectorIndex index = data.Index("IVF16,Flat", parameters: "nprobe=1");
        NeighborQuery[] queries = data.OwnQueries();
        int all = data.Chunks.Count;

        (long[] chunks, _) = data.Dense(index).Ask(queries[..12], all);

        for (int q = 0; q < 12; q++)
        {
            // Everything outside of the own document comes, and nothing else.
            int own = data.Database.Documents[data.Database.DocumentOf(q)].ChunkCount;
            Assert.Equal(all - own, chunks.Skip(q * all).Take(all).Count(chunk => chunk >= 0));
            Assert.DoesNotContain(chunks.Skip(q * all).Take(all - own), chunk => data.Database.DocumentOf(chunk) == data.Database.DocumentOf(q));
        }

        Assert.Equal(1, index.ProbedLists);
    }

    [Fact]
    public void Where_a_graph_does_not_lead_to_enough_of_what_may_come_the_rest_is_compared_by_its_keys()
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");

        // Texts that come often are far from the others and near to each other: few edges lead out.
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 3)
            .Select((document, i) => document with
            {
                Text = i % 3 == 0 ? "the same text that comes often" : document.Text,
                Labels = i % 20 == 1 ? [] : ["a"],
            }));
        using DenseNeighborSource graph = DenseNeighborSource.Build(data.Database, data.Keyer(), new() { Factory = "HNSW8" });
        using VectorIndex index = data.Index();
        int all = data.Chunks.Count;
        NeighborQuery[] queries = [.. data.OwnQueries().Select((query, i) => query with { Labels = i % 2 == 0 ? [] : null })];
        foreach (int count in new[] { 12, all })
        {
            (long[] expected, _) = data.Dense(index).Ask(queries, count);
            (long[] came, _) = graph.Ask(queries, count);
            for (int q = 0; q < queries.Length; q++)
            {
                Assert.Equal(expected.Skip(q * count).Take(count).Count(chunk => chunk >= 0), came.Skip(q * count).Take(count).Count(chunk => chunk >= 0));
            }
        }
    }

    [Fact]
    public void Where_everything_is_excluded_or_nothing_more_is_there_neighbors_are_missing()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(3, seed: 4));
        using VectorIndex index = data.Index();
        int documents = data.Database.Documents.Count;
        (long[] chunks, _) = data.Dense(index).Ask([new(data.Chunks[0], [.. Enumerable.Range(0, documents)]), new(data.Chunks[0], [])], 200);

        Assert.All(chunks[..200], chunk => Assert.Equal(-1, chunk));
        Assert.Equal(data.Chunks.Count, chunks[200..].Count(chunk => chunk >= 0));
    }

    [Fact]
    public void Equal_chunks_come_in_the_order_of_their_numbers()
    {
        using SearchDatabase data = new(Enumerable.Range(0, 30).Select(i => TestDatabases.Document($"copy {i}", "the same")));
        using VectorIndex index = data.Index();
        (long[] chunks, float[] scores) = data.Dense(index).Ask([new(data.Chunks[0], [0])], 8);

        Assert.Equal(8, chunks.Length);
        Assert.Equal(chunks.Order(), chunks);
        Assert.All(scores, score => Assert.Equal(0, score, 1e-5));
        Assert.DoesNotContain(0L, chunks);
    }

    /// <summary>
    /// Documents that begin alike are as many neighbors of each other, as near as any can be: an index that compares with everything needs no second look for
    /// them, and both give the same answer.
    /// </summary>
    [Fact]
    public void Among_many_copies_of_a_chunk_an_exact_index_looks_no_further_and_gives_the_first()
    {
        Random random = new(9);
        using SearchDatabase data = new(Enumerable.Range(0, 1200).Select(i => TestDatabases.Document(
            $"d{i}", (i < 600 ? "licence" : "") + string.Concat(Enumerable.Range(0, 7).Select(_ => (char)random.Next('a', 'z' + 1))))));
        int other = data.Database.DocumentOf(data.Chunks.Count - 1);
        long[] copies = [.. Enumerable.Range(0, 600).Select(document => data.Database.Documents[document].FirstChunk)];
        VectorEngine[] engines = FaissNative.IsLoaded ? [VectorEngine.Exact, VectorEngine.Faiss] : [VectorEngine.Exact];
        List<float[]> scores = [];
        foreach (VectorEngine engine in engines)
        {
            using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, data.Keyer(), new() { Engine = engine });
            NeighborQuery copy = new(data.Chunks[(int)copies[1]], [1]), unlike = new(data.Chunks[^1], [other]);
            (long[] chunks, float[] found) = source.Ask([copy], 4);
            Assert.Equal([copies[0], copies[2], copies[3], copies[4]], chunks);
            Assert.All(found, score => Assert.Equal(0, score));
            scores.Add(source.Ask([unlike], 4).Scores);
            Assert.InRange(Allocated(copy), 0, 4 * Allocated(unlike));

            long Allocated(NeighborQuery query)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                source.Ask([query], 4);
                return GC.GetAllocatedBytesForCurrentThread() - before;
            }
        }

        Assert.All(scores, found => Assert.Equal(scores[0], found));
    }

    [Fact]
    public void The_order_of_queries_and_keys_that_came_along_change_nothing()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 5));
        using VectorIndex index = data.Index();
        DenseNeighborSource source = data.Dense(index);
        NeighborQuery[] queries = data.OwnQueries();
        (long[] Chunks, float[] Scores) plain = source.Ask(queries, 4);

        (long[] chunks, float[] scores) = source.Ask(queries.Reverse().ToArray(), 4);
        NeighborResults.AssertSame(plain, ([.. chunks.Chunk(4).Reverse().SelectMany(row => row)], [.. scores.Chunk(4).Reverse().SelectMany(row => row)]), 4);

        int made = data.KeysMade;
        NeighborResults.AssertSame(
            plain, source.Ask(queries.Select((query, i) => i % 2 == 0 ? query : query with { Key = SearchDatabase.KeyOf(data.Chunks[i]) }).ToArray(), 4), 4);
        Assert.Equal(made + (queries.Length + 1) / 2, data.KeysMade);
        Assert.Throws<ArgumentException>(() => source.Ask([queries[0] with { Key = new float[3] }], 4));
    }

    [Fact]
    public void Its_identity_names_the_engine_and_the_search_parameters()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 7));
        using VectorIndex flat = data.Index();
        using VectorIndex exact = VectorIndex.Create(SearchDatabase.Dimensions, engine: VectorEngine.Exact);
        exact.Add(data.AllKeys);
        string Of(string factory, string parameters)
        {
            using VectorIndex index = data.Index(factory, parameters: parameters);
            return data.Dense(index).Identity;
        }

        Assert.Equal(3, new[] { Of("HNSW8", ""), Of("HNSW8", "efSearch=20"), Of("HNSW8", "efSearch=40") }.Distinct().Count());
        Assert.Equal(Of("HNSW8", "efSearch=20"), Of("HNSW8", "efSearch=20"));
        Assert.NotEqual(Of("IVF2,Flat", "nprobe=1"), Of("IVF2,Flat", "nprobe=2"));
        Assert.Throws<FaissException>(() => Of("HNSW8", "nosuch=1"));
        Assert.NotEqual(data.Dense(flat).Identity, data.Dense(exact).Identity);
    }

    [Fact]
    public void Alone_in_a_batch_and_beside_other_searches_of_one_index_a_chunk_gets_the_same_neighbors()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 8));
        using VectorIndex index = data.Index("IVF16,Flat", parameters: "nprobe=1");
        DenseNeighborSource[] sources = [data.Dense(index), data.Dense(index)];
        NeighborQuery[] queries = data.OwnQueries();
        const int K = 40; // more than one list holds, so that searches look into more, each into another number of them

        (long[] Chunks, float[] Scores)[] alone = [.. queries.Select(query => sources[0].Ask([query], K))];
        (long[] Chunks, float[] Scores) expected = ([.. alone.SelectMany(one => one.Chunks)], [.. alone.SelectMany(one => one.Scores)]);
        (long[], float[])[] together = new (long[], float[])[8];
        Parallel.For(0, together.Length, new() { MaxDegreeOfParallelism = together.Length }, i => together[i] = sources[i % 2].Ask(queries, K));

        Assert.All(together, one => NeighborResults.AssertSame(expected, one, K));
        Assert.Equal(1, index.ProbedLists);
    }

    /// <summary>A key of 128 numbers with its id has 520 bytes, and one of a byte a number 136.</summary>
    [Theory]
    [InlineData(520_000_000, "IVF2048,Flat")]
    [InlineData(519_999_999, "IVF2048,SQ8")]
    [InlineData(136_000_000, "IVF2048,SQ8")]
    [InlineData(135_999_999, "IVF2048,PQ64np")]
    [InlineData(1, "IVF2048,PQ8np")]
    public void An_index_chosen_by_size_keeps_to_the_memory_that_is_said(long memory, string factory)
        => Assert.Equal(factory, new DenseNeighborOptions { Engine = VectorEngine.Faiss, IndexMemory = memory }.Plan(1_000_000, 128).Factory);

    /// <summary>An index is chosen, and trained, by the keys that it holds, which may be few among many chunks.</summary>
    [Theory]
    [InlineData(VectorIndexPlan.ExactLimit + 500, null, "Flat")]
    [InlineData(5000, "IVF32,Flat", "IVF32,Flat")]
    public void An_index_is_made_of_the_few_chunks_that_have_a_key(int chunks, string? factory, string made)
    {
        // A token a chunk; those that have a key stand together.
        const int Keyed = 300;
        string words = string.Concat(Enumerable.Range(0, Keyed).Select(i => (char)('a' + (i % 26))));
        using SearchDatabase data = new([TestDatabases.Document("d", new string('.', chunks - Keyed) + words)], chunkLength: 1);
        TestKeyer keyer = new(
            (asked, keys, _) =>
            {
                keys.Clear();
                for (int i = 0; i < asked.Count; i++)
                {
                    if (asked[i].Span[0] is >= 'a' and <= 'z')
                    {
                        SearchDatabase.KeyOf(asked[i].ToArray()).CopyTo(keys[(i * SearchDatabase.Dimensions)..]);
                    }
                }
            },
            SearchDatabase.Dimensions,
            "letters");
        DenseNeighborOptions options = new() { Engine = VectorEngine.Faiss, Factory = factory, TrainingVectors = 200 };
        using (DenseNeighborSource built = DenseNeighborSource.Build(data.Database, keyer, options))
        {
            (long[] found, _) = built.Ask([new(new int[] { 'c' }, [])], 11);
            Assert.Equal(Enumerable.Range(0, 11).Select(i => (long)(1 + chunks - Keyed + 2 + (i * 26))), found);
        }

        DatabaseFile index = data.Database.Manifest.Find(StageNames.Index)!;
        Assert.Equal(made, index.Details["factory"]);
        Assert.Equal(factory is null ? null : "200", index.Details.GetValueOrDefault("trainingVectors"));
        DateTime written = File.GetLastWriteTimeUtc(data[StageNames.Index]);
        DenseNeighborSource.Build(data.Database, keyer, options).Dispose();
        Assert.Equal(written, File.GetLastWriteTimeUtc(data[StageNames.Index]));
    }

    [Theory]
    [InlineData(VectorEngine.Faiss, null)]
    [InlineData(VectorEngine.Faiss, "IVF2,Flat")]
    [InlineData(VectorEngine.Exact, null)]
    public void Chunks_without_a_key_are_never_found_and_a_query_without_one_finds_nothing(VectorEngine engine, string? factory)
    {
        // A zero key is at distance 1 of every text, and two texts that share nothing at 2.
        string[] texts = ["--------", "apple pie", "........!", "zebra fox", "((()))))", "quartz jig", "apple tart", "=+=+=+=+"];
        using SearchDatabase data = new(texts.Select((text, i) => TestDatabases.Document($"d{i}", text)), chunkLength: 16);
        TestKeyer keyer = WordsOf(64);
        DenseNeighborOptions options = new() { Engine = engine, Factory = factory };
        NeighborQuery[] queries = data.OwnQueries();
        long[] words = [.. Enumerable.Range(0, queries.Length).Where(chunk => texts[data.Database.DocumentOf(chunk)].Any(char.IsLetter)).Select(c => (long)c)];
        Assert.Equal(4, words.Length);

        using (DenseNeighborSource built = DenseNeighborSource.Build(data.Database, keyer, options))
        {
            Check(built);
        }

        Assert.Equal((queries.Length - 4) * sizeof(long), new FileInfo(data[StageNames.Unkeyed]).Length);
        using (DenseNeighborSource opened = DenseNeighborSource.Open(data.Database, keyer, options))
        {
            Check(opened);
        }

        // A list that is gone costs the index alone, which is made again.
        File.Delete(data[StageNames.Unkeyed]);
        Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(data.Database, keyer, options));
        using DenseNeighborSource again = DenseNeighborSource.Build(data.Database, keyer, options);
        Check(again);

        void Check(DenseNeighborSource source)
        {
            (long[] chunks, _) = source.Ask(queries, 8);
            for (int q = 0; q < queries.Length; q++)
            {
                long[] expected = words.Contains(q) ? [.. words.Where(word => word != q)] : [];
                Assert.Equal(expected, chunks[(q * 8)..((q + 1) * 8)].Where(chunk => chunk >= 0).Order());
            }
        }
    }

    /// <summary>But for what the last call made, which a kill could have left half on the disk; in the middle of a block, and of a share's.</summary>
    [Theory]
    [InlineData(10, false)]
    [InlineData(24, false)]
    [InlineData(24, true)]
    public void What_a_service_had_embedded_before_it_failed_is_not_embedded_again(int calls, bool share)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(500, seed: 61), chunkLength: 4);
        Assert.True(data.Chunks.Count > 2500);
        DenseNeighborSource.Build(data.Database, data.Keyer()).Dispose();
        byte[] whole = File.ReadAllBytes(data[StageNames.Keys]);
        File.Delete(data[StageNames.Keys]);
        List<int> made = [];
        bool fails = true;
        TestKeyer keyer = new(
            (chunks, keys, cancellationToken) =>
            {
                if (fails && made.Count == calls)
                {
                    throw new RetroException("The service is gone.");
                }

                made.Add(chunks.Count);
                data.Keys(chunks, keys, cancellationToken);
            },
            SearchDatabase.Dimensions,
            SearchDatabase.KeyIdentity,
            batchSize: 100);

        Assert.Throws<RetroException>(Make);
        Assert.Equal(calls, made.Count);
        int last = made[^1];
        fails = false;
        Make();
        Assert.Equal(data.Chunks.Count + last, made.Sum());
        Assert.Equal(100, made.Max());
        DenseNeighborSource.Build(data.Database, keyer).Dispose();
        Assert.Equal(data.Chunks.Count + last, made.Sum());
        Assert.Equal(whole, File.ReadAllBytes(data[StageNames.Keys]));

        void Make()
        {
            if (share)
            {
                DenseNeighborSource.BuildShare(data.Database, keyer, new(1, 1));
            }
            else
            {
                DenseNeighborSource.Build(data.Database, keyer).Dispose();
            }
        }
    }

    /// <summary>Keys of a chunk's words, where it has any.</summary>
    private static TestKeyer WordsOf(int dimensions)
    {
        HashingEmbedder embedder = new(dimensions);
        return new(
            (chunks, keys, cancellationToken) => embedder.Embed(
                [.. chunks.Select(chunk => string.Concat(chunk.ToArray().Where(token => token < 128).Select(token => (char)token)))], keys, cancellationToken),
            dimensions,
            "words");
    }

    [Fact]
    public void Where_no_chunk_has_a_key_nothing_is_found_and_nothing_can_be_trained()
    {
        using SearchDatabase data = new(Enumerable.Range(0, 4).Select(i => TestDatabases.Document($"d{i}", new string('-', 9 + i))));
        TestKeyer keyer = WordsOf(8);
        using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, keyer);
        Assert.All(source.Ask(data.OwnQueries(), 2).Chunks, chunk => Assert.Equal(-1, chunk));
        Assert.Contains(
            "No chunk has a key",
            Assert.Throws<DatabaseException>(() => DenseNeighborSource.Build(data.Database, keyer, new() { Factory = "IVF2,Flat" })).Message,
            StringComparison.Ordinal);
    }

    /// <summary>Of lists that were trained on one key alone, the one that a query is nearest to need not be the one that the keys were put into.</summary>
    [Theory]
    [InlineData("IVF4,Flat")]
    [InlineData("IVF8,Flat")]
    [InlineData("IVF8,SQ8")]
    public void A_key_that_all_chunks_have_is_found_however_few_lists_are_looked_into(string factory)
    {
        float[] one = TestVectors.Random(1, SearchDatabase.Dimensions, seed: 5);
        using SearchDatabase data = new(Enumerable.Range(0, 100).Select(i => TestDatabases.Document($"d{i}", $"text{i:000}")), chunkLength: 16);
        TestKeyer keyer = new(
            (chunks, keys, _) =>
            {
                for (int i = 0; i < chunks.Count; i++)
                {
                    one.CopyTo(keys[(i * SearchDatabase.Dimensions)..]);
                }
            },
            SearchDatabase.Dimensions,
            "one");
        using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, keyer, new() { Factory = factory, Parameters = "nprobe=1" });
        Assert.DoesNotContain(-1, source.Ask([new(data.Chunks[3], [3])], 4).Chunks);
    }

    /// <summary>
    /// Of keys that are copies of one another but for the last bits, FAISS tells in one order when 20 or more are asked at once, by a product of matrices, and
    /// in another when few are.
    /// </summary>
    [Theory]
    [InlineData(null)]
    [InlineData("IVF8,Flat")]
    [InlineData("IVF8,SQ8")]
    [InlineData("HNSW8")]
    public void How_many_are_asked_at_once_changes_no_answer(string? factory)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(120, seed: 15));
        Random random = new(3);
        float[][] kinds = [.. Enumerable.Range(0, 12).Select(i => TestVectors.Random(1, SearchDatabase.Dimensions, seed: 200 + i))];
        Dictionary<string, float[]> made = [];
        TestKeyer keyer = new(
            (chunks, keys, _) =>
            {
                for (int i = 0; i < chunks.Count; i++)
                {
                    string chunk = string.Join(',', chunks[i].ToArray());
                    if (!made.TryGetValue(chunk, out float[]? key))
                    {
                        key = made[chunk] = [.. kinds[random.Next(kinds.Length)].Select(x => x * (1 + (random.Next(5) - 2) * 1.2e-7f))];
                    }

                    key.CopyTo(keys[(i * SearchDatabase.Dimensions)..]);
                }
            },
            SearchDatabase.Dimensions,
            "nearly equal");
        using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, keyer, new() { Factory = factory });
        NeighborQuery[] queries = [.. data.OwnQueries().Select((query, i) => i % 3 == 0 ? query : query with { ExcludedDocuments = [] })];

        (long[] Chunks, float[] Scores) together = source.Ask(queries, 6);
        foreach (int size in new[] { 1, 7, 19, 33 })
        {
            (long[] Chunks, float[] Scores)[] parts = [.. queries.Chunk(size).Select(part => source.Ask(part, 6))];
            Assert.Equal(together.Chunks, parts.SelectMany(part => part.Chunks));
            Assert.Equal(together.Scores, parts.SelectMany(part => part.Scores));
        }
    }

    [Fact]
    public void A_query_s_own_key_that_cannot_be_compared_is_refused_with_its_place()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 15));
        using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, data.Keyer());
        float[] key = SearchDatabase.KeyOf(data.Chunks[0]);
        key[1] = float.NegativeInfinity;
        NeighborQuery[] queries = [new(data.Chunks[0], []), new(data.Chunks[0], []) { Key = key }];
        Assert.Contains(
            "The key of query 1 holds -Infinity at place 1",
            Assert.Throws<ArgumentException>(() => source.Ask(queries, 2)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Built_it_owns_its_index_and_opened_it_takes_search_parameters_and_refuses_another_index()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 9));
        NeighborQuery[] queries = data.OwnQueries()[..4];
        long[] chunks;
        using (DenseNeighborSource built = DenseNeighborSource.Build(
            data.Database, data.Keyer(), new() { Factory = "IVF4,Flat", Parameters = "nprobe=4", Threads = 1 }))
        {
            chunks = built.Ask(queries, 3).Chunks;
            built.Dispose();
            Assert.Throws<ObjectDisposedException>(() => built.Ask(queries, 3));
        }

        using DenseNeighborSource opened = DenseNeighborSource.Open(data.Database, data.Keyer());
        using DenseNeighborSource narrow = DenseNeighborSource.Open(data.Database, data.Keyer(), new() { Parameters = "nprobe=1", MemoryMapped = true });
        Assert.Equal(chunks, opened.Ask(queries, 3).Chunks);
        Assert.NotEqual(opened.Identity, narrow.Identity);
        Assert.Contains(
            "IVF4,Flat",
            Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(data.Database, data.Keyer(), new() { Factory = "Flat" })).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "InnerProduct",
            Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(data.Database, data.Keyer(), new() { Metric = VectorMetric.InnerProduct })).Message,
            StringComparison.Ordinal);
        Assert.Equal(0, new DenseNeighborOptions().Validate().Threads); // one per processor, whatever the machine
        Assert.Equal(
            4,
            Assert.Throws<RetroOptionsException>(() =>
                new DenseNeighborOptions { Engine = (VectorEngine)7, Factory = " ", TrainingVectors = 0, Threads = -1 }.Validate()).Faults.Count);
        using CancellationTokenSource stopped = new();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => DenseNeighborSource.Open(data.Database, data.Keyer(), cancellationToken: stopped.Token));
    }

    /// <summary>An index that holds the keys whole tells the same neighbors without them, up to ties; others have tables of their own then.</summary>
    [Theory]
    [InlineData(null, false)]
    [InlineData("IVF2,Flat", false)]
    [InlineData("IVF2,SQ8", true)]
    [InlineData("HNSW8", true)]
    public void Without_its_keys_an_index_that_does_not_hold_them_whole_is_another_source(string? factory, bool isOther)
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        using SearchDatabase data = new(SearchDatabase.Documents(30, seed: 9));
        DenseNeighborOptions options = new() { Factory = factory };
        string identity;
        using (DenseNeighborSource built = DenseNeighborSource.Build(data.Database, data.Keyer(), options))
        {
            NeighborTable.Build(data.Database, built, 2).Dispose();
            identity = built.Identity;
        }

        using (DenseNeighborSource opened = DenseNeighborSource.Open(data.Database, data.Keyer(), options))
        {
            Assert.Equal(identity, opened.Identity);
        }

        File.Delete(data["keys.bin"]);
        using ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder);
        using DenseNeighborSource alone = DenseNeighborSource.Open(database, data.Keyer(), options);
        Assert.Equal(isOther, identity != alone.Identity);
        if (isOther)
        {
            string message = Assert.Throws<DatabaseException>(() => NeighborTable.Open(database, alone, 2)).Message;
            Assert.Matches(@"build it first, or bring back what the source of a table may have had: .*keys\.bin' is missing", message);
        }
        else
        {
            NeighborTable.Open(database, alone, 2).Dispose();
        }
    }

    [Fact]
    public void A_damaged_index_is_refused_on_opening_and_built_again()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 10));
        DenseNeighborSource.Build(data.Database, data.Keyer()).Dispose();
        byte[] whole = File.ReadAllBytes(data["index.faiss"]);
        byte[] changed = [.. whole];
        changed[^1] ^= 1;
        File.WriteAllBytes(data["index.faiss"], changed);

        Assert.Contains(
            "checksum", Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(data.Database, data.Keyer())).Message, StringComparison.Ordinal);
        DenseNeighborSource.Build(data.Database, data.Keyer()).Dispose();
        Assert.Equal(whole, File.ReadAllBytes(data["index.faiss"]));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_changed_list_of_chunks_without_a_key_is_refused_and_made_again(bool mapped)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 10));
        TestKeyer keyer = new(
            (chunks, keys, cancellationToken) =>
            {
                data.Keys(chunks, keys, cancellationToken);
                for (int i = 0; i < chunks.Count; i++)
                {
                    if (chunks[i].Span.SequenceEqual(data.Chunks[3]))
                    {
                        keys.Slice(i * SearchDatabase.Dimensions, SearchDatabase.Dimensions).Clear();
                    }
                }
            },
            SearchDatabase.Dimensions,
            "all but one");
        DenseNeighborOptions options = new() { MemoryMapped = mapped };
        DenseNeighborSource.Build(data.Database, keyer, options).Dispose();
        byte[] whole = File.ReadAllBytes(data["unkeyed.bin"]);
        Assert.Equal(BitConverter.GetBytes(3L), whole);

        // As good a list as the one before, and every chunk between would stand for its neighbor.
        File.WriteAllBytes(data["unkeyed.bin"], BitConverter.GetBytes(1L));
        Assert.Contains(
            "checksum", Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(data.Database, keyer, options)).Message, StringComparison.Ordinal);
        DenseNeighborSource.Build(data.Database, keyer, options).Dispose();
        Assert.Equal(whole, File.ReadAllBytes(data["unkeyed.bin"]));
    }

    /// <summary>FAISS keeps the number of each vector in its list, and gives what stands there; a mapped file's checksum is not taken.</summary>
    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(1 << 20)]
    public void An_index_that_names_a_key_that_is_not_there_is_refused_where_it_is_searched(long number)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(40, seed: 10));
        DenseNeighborOptions options = new() { Factory = "IVF2,Flat", Parameters = "nprobe=2", MemoryMapped = true };
        DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
        byte[] changed = File.ReadAllBytes(data["index.faiss"]);
        BitConverter.GetBytes(number).CopyTo(changed, changed.Length - sizeof(long)); // the last of the last list
        File.WriteAllBytes(data["index.faiss"], changed);

        using DenseNeighborSource source = DenseNeighborSource.Open(data.Database, data.Keyer(), new() { MemoryMapped = true });
        Assert.Contains(
            $"names key {number} and has {data.Chunks.Count}",
            Assert.Throws<DatabaseException>(() => source.Ask([new(data.Chunks[0], [])], data.Chunks.Count)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Damaged_keys_are_made_again_and_where_they_are_not_looked_at_the_fault_says_how()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 12));
        DenseNeighborOptions? options = FaissNative.IsLoaded ? new() { Factory = "HNSW8" } : null; // an exact index needs no keys
        using (DenseNeighborSource source = DenseNeighborSource.Build(data.Database, data.Keyer(), options))
        {
            byte[] whole = File.ReadAllBytes(data["keys.bin"]);
            foreach (int at in new[] { 0, 100, whole.Length / 2, whole.Length - 1 })
            {
                byte[] changed = [.. whole];
                changed[at] ^= 4;
                File.WriteAllBytes(data["keys.bin"], changed);
                Assert.Contains(
                    "DenseNeighborSource.Build without MemoryMapped makes it again",
                    Assert.Throws<DatabaseException>(() =>
                    {
                        using KeyFile keys = KeyFile.Open(data.Database);
                        _ = keys.Row(0).Length;
                    }).Message,
                    StringComparison.Ordinal);
                if (at != whole.Length / 2)
                {
                    // One whose own scores are rougher is not searched alone without a word.
                    Assert.Equal(
                        VectorIndex.Choose(VectorEngine.Auto) == VectorEngine.Faiss,
                        Record.Exception(() => DenseNeighborSource.Open(data.Database, data.Keyer(), options).Dispose()) is DatabaseException);
                    Assert.Throws<DatabaseException>(() => DatabaseVerification.Recompute(data.Database, [source]));
                }
                else
                {
                    DenseNeighborSource.Build(data.Database, data.Keyer(), (options ?? new()) with { MemoryMapped = true }).Dispose();
                    Assert.Equal(changed, File.ReadAllBytes(data["keys.bin"]));
                }

                int made = data.KeysMade;
                DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
                Assert.Equal(made + data.Chunks.Count, data.KeysMade);
                Assert.Equal(whole, File.ReadAllBytes(data["keys.bin"]));
            }

            NeighborTable.Build(data.Database, source, 2).Dispose();
        }
    }

    [Fact]
    public void What_is_opened_of_a_database_is_closed_with_it()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 11));
        ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder);
        DenseNeighborSource dense = DenseNeighborSource.Build(database, data.Keyer());
        KeywordNeighborSource keyword = KeywordNeighborSource.Build(database);
        NeighborTable table = NeighborTable.Build(database, keyword);
        KeywordNeighborSource.Open(database).Dispose(); // of which the database then knows no more
        database.Dispose();

        Assert.Contains(
            "such as a database or an index, was disposed",
            Assert.Throws<ObjectDisposedException>(() => table.Row(0).Length).Message,
            StringComparison.Ordinal);
        Assert.Throws<ObjectDisposedException>(() => keyword.Ask([new(data.Chunks[0], [])], 1));
        Assert.Throws<ObjectDisposedException>(() => dense.Ask([new(data.Chunks[0], [])], 1));
        table.Dispose();
        keyword.Dispose();
        dense.Dispose();
    }

    [Fact]
    public void What_does_not_belong_together_is_refused()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 6));
        using VectorIndex index = data.Index();
        DenseNeighborSource source = data.Dense(index);

        Assert.Throws<ArgumentException>(() => source.Ask([new(data.Chunks[0], [data.Database.Documents.Count])], 2));
        Assert.Throws<ArgumentException>(() => source.Ask([new(data.Chunks[0], [-1])], 2));
        Assert.Throws<ArgumentException>(() => source.Find([new(data.Chunks[0], [])], 2, new long[1], new float[2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => source.Find([], 0, [], []));
        source.Find([], 3, [], []);
        Assert.Contains(
            "keys of 24",
            Assert.Throws<DatabaseException>(() => new DenseNeighborSource(data.Database, index, new TestKeyer(data.Keys, 7, "seven"))).Message,
            StringComparison.Ordinal);
        index.Add(new float[SearchDatabase.Dimensions]);
        Assert.Contains("build the index again", Assert.Throws<DatabaseException>(() => data.Dense(index)).Message, StringComparison.Ordinal);
    }
}
