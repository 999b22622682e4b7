using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

public sealed class NearestNeighborReaderTests : IDisposable
{
    private const int M = 8, D = 8;

    private static readonly RetroConfig s_config = TinyRetro.Config with { Retrieval = null };

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Theory]
    [InlineData(false, NormKind.RmsNorm, false, 512)]
    [InlineData(true, NormKind.RmsNorm, false, 512)]
    [InlineData(false, NormKind.LayerNorm, true, 12)]
    public void The_mixture_is_its_definition(bool float16, NormKind norm, bool parallel, int window)
    {
        const int K = 7;
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(7, seed: 2, maximumLength: 30), M);
        manual_seed(1);
        using RetroModel model = new(s_config with { Norm = norm, ParallelResidual = parallel, Layers = 3 }, ScalarType.Float64);
        using TokenStore store = TokenStore.Build(model, database, options: new() { Float16 = float16, WindowLength = window });
        List<(double[] Key, int Next)> all = [];
        foreach (DocumentEntry document in database.Documents)
        {
            int[] text = TestDatabases.Text(database, document);
            for (int place = 0; place < text.Length - 1; place++)
            {
                // Of a window, which begin every half of one, the places behind the window before.
                int start = place < window ? 0 : ((place - window) / (window / 2) * (window / 2)) + (window / 2);
                double[] key = Key(model, [.. text[start..(place + 1)].Select(token => (long)token)]);
                all.Add(([.. key.Select(number => float16 ? (double)(float)(Half)(float)number : (float)number)], text[place + 1]));
            }
        }

        Assert.Equal((all.Count, D), (store.Count, store.Width));
        NearestNeighborReader reader = new(model, store, 0.3, 0.8, K);
        ReadingBatch batch = ReaderContract.Batch(257, 2, 9, M, 1, M, seed: 3);
        double[] found = reader.LogLikelihoods(batch), alone = new DecoderReader(model).LogLikelihoods(batch);
        int hits = 0;
        for (int at = 0; at < found.Length; at++)
        {
            double[] asked = Key(model, batch.Tokens[(at / 9 * 9)..(at + 1)]);
            (double Distance, int Next)[] nearest = [.. all.Select(one
                => (one.Key.Zip(asked, (a, b) => (a - b) * (a - b)).Sum(), one.Next)).OrderBy(one => one.Item1).Take(K)];
            batch.Targets[at] = at % 2 == 0 ? nearest[at % K].Next : batch.Targets[at];
            double weight = nearest.Sum(one => Math.Exp(-one.Distance / 0.8));
            double p = nearest.Where(one => one.Next == batch.Targets[at]).Sum(one => Math.Exp(-one.Distance / 0.8)) / weight;
            hits += p > 0 ? 1 : 0;
            ReadingBatch single = new(1, (at % 9) + 1, M);
            batch.Tokens.AsSpan(at / 9 * 9, (at % 9) + 1).CopyTo(single.Tokens);
            single.Targets[at % 9] = batch.Targets[at];
            double plain = new DecoderReader(model).LogLikelihoods(single)[at % 9], mixed = reader.LogLikelihoods(single)[at % 9];
            Assert.Equal(Math.Log((0.7 * Math.Exp(plain)) + (0.3 * p)), mixed, 1e-9);
        }

        Assert.True(hits >= found.Length / 2);
        Assert.NotEqual(alone, found);
    }

    /// <summary>Hundreds are asked for at each token of a text.</summary>
    [Fact]
    public void The_token_behind_a_state_is_found_without_a_documents_entry()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(7, seed: 2, maximumLength: 30), M);
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        using TokenStore store = TokenStore.Build(model, database);
        int[] expected = [.. database.Documents.SelectMany(document => database.TokensOf(document)[1..])];
        int[] found = new int[store.Count];
        store.Next(0);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int number = 0; number < found.Length; number++)
        {
            found[number] = store.Next(number);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(expected, found);
        Assert.Equal(
            database.Documents.Select(document => document.TokenCount), Enumerable.Range(0, database.Documents.Count).Select(database.TokenCountOf));
    }

    [Fact]
    public void It_keeps_the_readers_contract_and_with_a_share_of_nothing_it_is_the_decoder()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(7, seed: 2, maximumLength: 30), M);
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        using TokenStore store = TokenStore.Build(model, database);
        ReadingBatch batch = ReaderContract.Batch(257, 2, 9, M, 1, M, seed: 3);
        ReaderContract.Check(new NearestNeighborReader(model, store, 0.4, 1, 5), batch, 257);
        ReaderContract.Check(new NearestNeighborReader(model, store, 0.4, 1, 100_000), batch, 257); // more than there are
        Assert.Equal(
            new DecoderReader(model).LogLikelihoods(batch),
            new NearestNeighborReader(model, store, 0, 1).LogLikelihoods(batch),
            (one, other) => Math.Abs(one - other) < 1e-12);
    }

    [Fact]
    public void Share_and_temperature_are_the_best_of_all()
    {
        NearestNeighborFit fit = new();
        Random random = new(4);
        List<(double LogP, double[] Distances, bool[] Hits)> places = [];
        for (int i = 0; i < 200; i++)
        {
            double[] distances = [.. Enumerable.Range(0, 8).Select(_ => 5 + (10 * random.NextDouble())).Order()];
            places.Add((Math.Log(0.02 + (0.3 * random.NextDouble())), distances, [.. distances.Select(distance => random.NextDouble() < 6 / distance - 0.4)]));
        }

        places.Add((-900, [5, 7], [false, true])); // too unlikely for a double
        places.AddRange(Enumerable.Repeat((-2.0, Array.Empty<double>(), Array.Empty<bool>()), 150)); // nothing was found
        places.ForEach(place => fit.Add(place.LogP, place.Distances, place.Hits));
        (double share, double temperature) = fit.Find();

        double Value(double lambda, double t) => places.Average(place =>
        {
            double all = place.Distances.Sum(distance => Math.Exp((5 - distance) / t));
            double q = all == 0 ? 0 : place.Distances.Zip(place.Hits, (distance, hit) => hit ? Math.Exp((5 - distance) / t) : 0).Sum() / all;
            return place.Distances.Length == 0 ? place.LogP : Math.Log(((1 - lambda) * Math.Exp(place.LogP)) + (lambda * q));
        });
        double best = double.NegativeInfinity;
        for (double lambda = 0.005; lambda < 1; lambda += 0.005)
        {
            for (double t = 0.05; t < 200; t *= 1.1)
            {
                best = Math.Max(best, Value(lambda, t));
            }
        }

        Assert.InRange(share, 0.01, 0.98);
        Assert.InRange(Value(share, temperature), best - 1e-4, double.PositiveInfinity);

        NearestNeighborFit useless = new();
        useless.Add(-1, [1, 2], [false, false]);
        Assert.Equal(0, useless.Find().Share);
        Assert.Equal((0, 1), new NearestNeighborFit().Find());
    }

    /// <summary>A database of millions of documents is fitted on a few of their tokens.</summary>
    [Fact]
    public void Windows_to_fit_on_are_found_as_they_are_read()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(300, seed: 2, maximumLength: 60), M);
        NearestNeighborOptions options = new() { WindowLength = 12 };
        (int Document, int Start, int Tokens)[] all = [.. NearestNeighborReader.Windows(database, options)];
        Assert.Equal(database.Documents.Sum(document => document.TokenCount - 1), all.Sum(window => window.Tokens));
        Assert.All(
            all.GroupBy(window => window.Document),
            one => Assert.Equal(
                Enumerable.Range(0, database.Documents[one.Key].TokenCount - 1),
                one.SelectMany(window => Enumerable.Range(window.Start, window.Tokens)).Order()));

        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(all[0], NearestNeighborReader.Windows(database, options).First());
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4096);
    }

    /// <summary>
    /// Documents of random characters, which nothing but themselves and their copies could predict: were these not left out, all trust would go to what is
    /// found.
    /// </summary>
    [Fact]
    public void A_texts_own_document_and_its_copies_are_left_out_while_fitting()
    {
        Random random = new(8);
        List<Document> documents = [.. Enumerable.Range(0, 12).Select(number => TestDatabases.Document(
            $"d{number}", string.Concat(Enumerable.Range(0, 60).Select(_ => (char)random.Next('!', '~' + 1)))))];
        documents.AddRange(documents[..6].Select(document => document with { Id = $"copy of {document.Id}" }));
        using ChunkDatabase database = _databases.Build(documents, M);
        manual_seed(1);
        using RetroModel model = new(s_config);
        using TokenStore store = TokenStore.Build(model, database);
        NearestNeighborReader reader = NearestNeighborReader.Fit(model, store, database, new() { Neighbors = 16, Tokens = 600 });
        Assert.InRange(reader.Share, 0, 0.5);

        // What it would be: the same documents by other names and with another end, so that they are others.
        using ChunkDatabase altered = _databases.Build(
            documents[..12].Select(document => new Document("x" + document.Id, "", document.Text + "!", "")), M, "altered");
        Assert.InRange(NearestNeighborReader.Fit(model, store, altered, new() { Neighbors = 16, Tokens = 600 }).Share, 0.9, 1);
    }

    [Fact]
    public void What_another_document_holds_is_found_there()
    {
        List<Document> all = CopyReaderTests.Twins(40, 120, seed: 3);
        List<Document> held = [.. all.Where(document => document.Id.StartsWith('a')).Take(10)];
        using ChunkDatabase database = _databases.Build(all.Except(held), 16, "database"), heldOut = _databases.Build(held, 16, "held-out");
        manual_seed(1);
        using RetroModel model = new(s_config);
        using TokenStore store = TokenStore.Build(model, database);
        NearestNeighborReader reader = NearestNeighborReader.Fit(model, store, database, new() { Neighbors = 32 });
        double off = BitsPerByte.Measure(new DecoderReader(model), heldOut).Value, on = BitsPerByte.Measure(reader, heldOut).Value;
        Assert.InRange(on, 0, 0.8 * off);
        Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(reader, database));
    }

    [Fact]
    public void Keys_in_a_file_are_the_same_opened_again_and_made_again_where_they_do_not_fit()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(40, seed: 2, maximumLength: 300), M);
        manual_seed(1);
        using RetroModel model = new(s_config), other = new(s_config);
        string path = Path.Combine(_databases.Folder("states"), "states.bin");
        ReadingBatch batch = ReaderContract.Batch(257, 2, 9, M, 1, M, seed: 3);
        double[] expected;
        using (TokenStore memory = TokenStore.Build(model, database))
        {
            Assert.True(memory.Count > TokenStore.BlockRows, "More than a block.");
            expected = new NearestNeighborReader(model, memory, 0.4, 1, 5).LogLikelihoods(batch);
        }

        // Stopped between two blocks, it goes on there.
        using (CancellationTokenSource stop = new())
        {
            Assert.Throws<OperationCanceledException>(() => TokenStore.Build(
                model, database, path, progress: new Reports<StageProgress>(report => Cancel(report.Done > 0)), cancellationToken: stop.Token));
            void Cancel(bool now)
            {
                if (now)
                {
                    stop.Cancel();
                }
            }
        }

        Assert.False(File.Exists(path));
        using (TokenStore first = TokenStore.Build(model, database, path))
        {
            Assert.Equal(expected, new NearestNeighborReader(model, first, 0.4, 1, 5).LogLikelihoods(batch));
            Assert.Equal(first.ByteLength, new FileInfo(path).Length);
            Assert.Equal(256 + (first.Count * D * 2), first.ByteLength);
        }

        DateTime written = File.GetLastWriteTimeUtc(path);
        using (TokenStore.Build(model, database, path))
        {
            Assert.Equal(written, File.GetLastWriteTimeUtc(path));
        }

        byte[] bytes = File.ReadAllBytes(path), damaged = [.. bytes];
        damaged[^9] ^= 1;
        File.WriteAllBytes(path, damaged);
        using (TokenStore mended = TokenStore.Build(model, database, path))
        {
            Assert.Equal(expected, new NearestNeighborReader(model, mended, 0.4, 1, 5).LogLikelihoods(batch));
            Assert.Contains(
                "make them with this model",
                Assert.Throws<ArgumentException>(() => new NearestNeighborReader(other, mended, 0.4, 1)).Message,
                StringComparison.Ordinal);
        }

        // An empty file, as of whoever asks for a name that is not taken, is none.
        File.WriteAllBytes(path, []);
        using (TokenStore filled = TokenStore.Build(model, database, path))
        {
            Assert.Equal(expected, new NearestNeighborReader(model, filled, 0.4, 1, 5).LogLikelihoods(batch));
        }

        using TokenStore wide = TokenStore.Build(other, database, path, new() { Float16 = false });
        Assert.Equal(256 + (wide.Count * D * 4), wide.ByteLength);
    }

    [Fact]
    public void An_index_that_keeps_less_finds_and_the_keys_measure()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(40, seed: 2, maximumLength: 200), M);
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        if (VectorIndex.Choose(VectorEngine.Auto) != VectorEngine.Faiss)
        {
            Assert.Throws<FaissException>(() => Build("IVF4,SQ8"));
            return;
        }

        string path = Path.Combine(_databases.Folder("states"), "states.bin");
        using TokenStore exact = TokenStore.Build(model, database, options: new() { Float16 = false });
        double[] states = [.. Enumerable.Range(0, 4 * D).Select(i => Math.Sin(i))];
        (long[] keys, double[] distances) = Find(exact);
        for (int round = 0; round < 2; round++)
        {
            using TokenStore coded = Build("IVF4,SQ8", path);
            (long[] found, double[] measured) = Find(coded);
            Assert.InRange(found.Intersect(keys).Count(), keys.Length * 3 / 4, keys.Length);
            Assert.All(Enumerable.Range(0, found.Length), i =>
            {
                int same = Array.IndexOf(keys, found[i], i / 10 * 10, 10);
                Assert.True(same < 0 || measured[i] == distances[same]);
            });

            // One that is cut short is made anew.
            string index = Assert.Single(Directory.GetFiles(Path.GetDirectoryName(path)!, "*.index"));
            File.WriteAllBytes(index, File.ReadAllBytes(index)[..100]);
        }

        TokenStore Build(string factory, string? file = null)
            => TokenStore.Build(model, database, file, new() { Float16 = false, Factory = factory, SearchParameters = "nprobe=4" });
        (long[] Keys, double[] Distances) Find(TokenStore store)
        {
            (long[] found, double[] measured) = (new long[40], new double[40]);
            store.Find(states, 10, found, measured);
            return (found, measured);
        }
    }

    /// <summary>The numbers that the lists hold are whatever stands in the file.</summary>
    [Fact]
    public void An_index_that_names_a_key_that_is_not_there_is_refused()
    {
        Assert.SkipWhen(VectorIndex.Choose(VectorEngine.Auto) != VectorEngine.Faiss, "Lists are FAISS's.");
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(40, seed: 2, maximumLength: 200), M);
        manual_seed(1);
        using RetroModel model = new(s_config);
        string path = Path.Combine(_databases.Folder("states"), "states.bin");
        TokenStoreOptions options = new() { Factory = "IVF2,Flat", SearchParameters = "nprobe=2" };
        TokenStore.Build(model, database, path, options).Dispose();
        string index = Assert.Single(Directory.GetFiles(Path.GetDirectoryName(path)!, "*.index"));
        byte[] changed = File.ReadAllBytes(index);
        BitConverter.GetBytes(1L << 40).CopyTo(changed, changed.Length - sizeof(long)); // the last of the last list
        File.WriteAllBytes(index, changed);
        using TokenStore store = TokenStore.Build(model, database, path, options);
        int count = (int)store.Count;
        DatabaseException fault = Assert.Throws<DatabaseException>(() => store.Find(new double[D], count, new long[count], new double[count]));
        Assert.Contains($"names key {1L << 40} and has {count}", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_index_of_keys_that_are_no_more_is_deleted_and_nothing_else_is()
    {
        Assert.SkipWhen(VectorIndex.Choose(VectorEngine.Auto) != VectorEngine.Faiss, "An index in a file is FAISS's.");
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(40, seed: 2, maximumLength: 200), M);
        string folder = _databases.Folder("states"), path = Path.Combine(folder, "i.bin");
        Directory.CreateDirectory(folder);
        string[] others = ["i.bin.mine.index", "other-i.bin.0123456789ab.index", "i.bin.0123456789ab.index.copy", "i.bin.0123456789abc.index"];
        Array.ForEach(others, name => File.WriteAllBytes(Path.Combine(folder, name), [1]));
        for (int seed = 0; seed < 3; seed++)
        {
            manual_seed(seed);
            using RetroModel model = new(s_config);
            foreach (string factory in new[] { "IVF4,SQ8", "IVF2,SQ8" })
            {
                TokenStore.Build(model, database, path, new() { Factory = factory }).Dispose();
            }

            // One of each, of the keys that there are.
            Assert.Equal(2, Directory.GetFiles(folder, "i.bin.*.index").Length - 2);
            Assert.All(others, name => Assert.True(File.Exists(Path.Combine(folder, name))));
        }
    }

    [Fact]
    public void Few_documents_are_read_window_after_window_until_enough_tokens_are_read_or_all()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(12, seed: 2), M, "database");
        using ChunkDatabase few = _databases.Build([.. CopyReaderTests.Twins(1, 500, seed: 4), TestDatabases.Document("empty", "")], M, "few");
        manual_seed(1);
        using RetroModel model = new(s_config);
        using TokenStore store = TokenStore.Build(model, database);
        long all = few.Documents.Sum(document => document.TokenCount - 1L);
        Assert.Equal(700, Read(700));
        Assert.Equal(all, Read(100_000));

        // Tokens read: all windows are told when they begin, and the end.
        long Read(int tokens)
        {
            List<StageProgress> told = [];
            NearestNeighborReader.Fit(
                model, store, few, new() { Neighbors = 2, Tokens = tokens, WindowLength = 64 }, progress: new Reports<StageProgress>(told.Add));
            return told[^1].Done;
        }
    }

    /// <summary>What a branch of one's own keeps beside its parameters is as much of what a model computes as they are.</summary>
    [Fact]
    public void Keys_of_a_model_whose_buffers_were_others_are_made_anew()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(7, seed: 2, maximumLength: 30), M);
        manual_seed(1);
        List<Tensor> scales = [];
        using RetroModel model = new(s_config, layers: new()
        {
            FeedForward = (config, dtype, device) =>
            {
                Scaled branch = new(config, dtype, device);
                scales.Add(branch.Scale);
                return branch;
            },
        });
        string path = Path.Combine(_databases.Folder("states"), "states.bin"), before = WeightsHash.Rounded(model, 1);
        float[] first = Keys(path);
        Assert.Equal(first, Keys(path));
        using (no_grad())
        {
            scales[0].fill_(30);
        }

        float[] second = Keys(path);
        Assert.Equal(Keys(null), second);
        Assert.NotEqual(first, second);
        Assert.NotEqual(before, WeightsHash.Rounded(model, 1));

        float[] Keys(string? file)
        {
            using TokenStore store = TokenStore.Build(model, database, file);
            float[] keys = new float[store.Count * D];
            for (int i = 0; i < store.Count; i++)
            {
                store.Key(i, keys.AsSpan(i * D, D));
            }

            return keys;
        }
    }

    private sealed class Scaled : FeedForward
    {
        public Scaled(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, false, dtype, device)
            => register_buffer("scale", Scale);

        public Tensor Scale { get; } = ones([]);

        public override Tensor forward(Tensor x) => base.forward(x) * Scale;
    }

    /// <summary>By the index where it can search among some keys; else by asking for more and more, as of a graph.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData("HNSW16,Flat")]
    public void Documents_are_passed_over_wherever_the_keys_are_looked_up(string? factory)
    {
        Assert.SkipWhen(factory is not null && VectorIndex.Choose(VectorEngine.Auto) != VectorEngine.Faiss, "A graph is FAISS's.");
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(12, seed: 2, maximumLength: 60), M);
        manual_seed(1);
        using RetroModel model = new(s_config);
        using TokenStore store = TokenStore.Build(model, database, options: new() { Float16 = false, Factory = factory });
        int count = (int)store.Count;
        double[] states = [.. Enumerable.Range(0, 3 * D).Select(i => Math.Sin(i))];
        long[] all = new long[3 * count];
        store.Find(states, count, all, new double[all.Length]);
        HashSet<int> some = [0, 3, 4, database.Documents.Count - 1], every = [.. Enumerable.Range(0, database.Documents.Count)];
        foreach (HashSet<int> without in new[] { some, every })
        {
            ChunkSet among = store.Without(without)!;
            long[] found = new long[3 * 20];
            double[] distances = new double[found.Length];
            store.Find(states, 20, found, distances, among);

            Assert.Equal(every.Except(without).Sum(store.CountOf), among.Count);
            for (int row = 0; row < 3; row++)
            {
                long[] expected = [.. all[(row * count)..((row + 1) * count)].Where(key => key >= 0 && !without.Contains(store.DocumentOf(key))).Take(20)];
                long[] came = [.. found[(row * 20)..((row + 1) * 20)].Where(key => key >= 0)];
                Assert.Equal(expected.Length, came.Length);
                Assert.InRange(expected.Intersect(came).Count(), factory is null ? expected.Length : expected.Length * 0.8, expected.Length);
                Assert.DoesNotContain(came, key => without.Contains(store.DocumentOf(key)));
            }
        }

        Assert.Null(store.Without(new HashSet<int>()));
    }

    /// <summary>Few keys, and many of which all lie in other lists than the one that is looked into.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(30)]
    public void Whoever_sees_a_part_of_the_keys_gets_as_many_as_are_wanted_out_of_lists(int seen)
    {
        Assert.SkipWhen(VectorIndex.Choose(VectorEngine.Auto) != VectorEngine.Faiss, "Lists are FAISS's.");
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(60, seed: 2, maximumLength: 200), M);
        manual_seed(1);
        using RetroModel model = new(s_config);
        TokenStoreOptions options = new() { Float16 = false, Factory = "IVF64,Flat", SearchParameters = "nprobe=1" };
        using TokenStore store = TokenStore.Build(model, database, options: options);
        using TokenStore exact = TokenStore.Build(model, database, options: new() { Float16 = false });
        ChunkSet among = store.Without(new HashSet<int>(Enumerable.Range(0, database.Documents.Count - seen)))!;
        Assert.Equal(seen > 2, among.Count > 1024);
        double[] states = [.. Enumerable.Range(0, 40 * D).Select(i => Math.Sin(i))];
        int count = (int)Math.Min(100, among.Count);
        (long[] all, long[] found) = (new long[40 * (int)store.Count], new long[40 * count]);
        double[] distances = new double[found.Length];
        exact.Find(states, (int)store.Count, all, new double[all.Length]);
        store.Find(states, count, found, distances, among);
        int right = 0;
        for (int row = 0; row < 40; row++)
        {
            long[] came = found[(row * count)..((row + 1) * count)];
            Assert.All(came, key => Assert.True(key >= 0 && among.Contains(key)));
            Assert.Equal(distances[(row * count)..((row + 1) * count)].Order(), distances[(row * count)..((row + 1) * count)]);
            long[] nearest = [.. all[(row * (int)store.Count)..((row + 1) * (int)store.Count)].Where(among.Contains).Take(count)];
            right += nearest.Intersect(came).Count();
        }

        Assert.InRange(right, found.Length * (seen > 2 ? 0.3 : 0.99), found.Length);
    }

    [Fact]
    public void What_cannot_be_is_refused()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(3, seed: 2), M);
        manual_seed(1);
        using RetroModel model = new(s_config);
        using TokenStore store = TokenStore.Build(model, database);
        Assert.Throws<ArgumentOutOfRangeException>(() => new NearestNeighborReader(model, store, 1, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new NearestNeighborReader(model, store, 0.5, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new NearestNeighborReader(model, store, 0.5, 1, 0));
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() => new NearestNeighborOptions { Neighbors = 0, Tokens = 0 }.Validate());
        Assert.Contains("Neighbors is 0", fault.Message, StringComparison.Ordinal);
        Assert.Contains("Tokens is 0", fault.Message, StringComparison.Ordinal);
        Assert.Contains(
            "WindowLength is 1",
            Assert.Throws<RetroOptionsException>(() => new TokenStoreOptions { WindowLength = 1 }.Validate()).Message,
            StringComparison.Ordinal);
    }

    /// <summary>What the last feed-forward branch reads at the end of a text, after its norm, layer by layer.</summary>
    private static double[] Key(RetroModel model, long[] text)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable none = no_grad();
        RetroConfig config = model.Config;
        Tensor x = model.get_parameter("embedding.weight")!.index_select(0, tensor(text)).unsqueeze(0);
        AttentionPlan plan = AttentionPlan.Causal(config, text.Length, ScalarType.Float64, CPU);
        foreach (DecoderLayer layer in model.Layers.SkipLast(1))
        {
            x = layer.call(x, plan, null, null);
        }

        Tensor state = config.ParallelResidual ? x : x + model.Layers[^1].SelfAttention.call(x, plan);
        double[] last = state.select(1, text.Length - 1).data<double>().ToArray();
        double mean = config.Norm == NormKind.LayerNorm ? last.Average() : 0, square = last.Average(number => (number - mean) * (number - mean));
        double[] gain = model.get_parameter($"decoder.{config.Layers}.ffw.norm.weight")!.data<double>().ToArray();
        return [.. last.Select((number, i) => (number - mean) / Math.Sqrt(square + config.NormEpsilon) * gain[i])];
    }
}
