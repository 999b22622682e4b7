using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

public sealed class CopyReaderTests : IDisposable
{
    private const int V = 5, S = 4, K = 3, R = 12;

    private static readonly RetroConfig s_config = new()
    {
        VocabularySize = TestDatabases.Bytes.VocabularySize, Width = 16, Layers = 2, Heads = 2, HeadSize = 8, FeedForwardSize = 32,
    };

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void The_mixture_is_its_definition_in_float64_and_sums_to_one()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        using CopyMixture mixture = new(width: 3, neighbors: K, seed: 1);
        using (no_grad())
        {
            // Nothing at its initial value, so that every term counts.
            foreach (TorchSharp.Modules.Parameter parameter in mixture.parameters())
            {
                parameter.add_(randn_like(parameter) * 0.3);
            }
        }

        Random random = new(2);
        for (int round = 0; round < 20; round++)
        {
            ReadingBatch batch = Batch(random, round);
            long[] places = [.. Enumerable.Range(0, batch.Tokens.Length).Select(place => (long)place)];
            CopyCandidates candidates = CopyCandidates.Find(batch, K, places);
            Tensor logits = randn(places.Length, V), states = randn(places.Length, 3);
            double[] whole = mixture.LogDistribution(logits, states, candidates, 0).LogP.to(ScalarType.Float64).data<double>().ToArray();
            double[,] weights = Table(logits), h = Table(states);
            double[][] targets = [.. Enumerable.Range(0, V).Select(target
                => mixture.LogLikelihoods(logits, states, candidates, 0, full(places.Length, (long)target, ScalarType.Int64))
                    .to(ScalarType.Float64)
                    .data<double>()
                    .ToArray())];
            for (int place = 0; place < places.Length; place++)
            {
                double[] expected = Definition(
                    mixture, batch, place, [.. Enumerable.Range(0, V).Select(v => weights[place, v])], [.. Enumerable.Range(0, 3).Select(d => h[place, d])]);
                Assert.Equal(1, Enumerable.Range(0, V).Sum(target => Math.Exp(whole[(place * V) + target])), 1e-5);
                for (int target = 0; target < V; target++)
                {
                    Assert.Equal(expected[target], Math.Exp(whole[(place * V) + target]), 2e-5);
                    Assert.Equal(whole[(place * V) + target], targets[target][place], 1e-4);
                }
            }
        }
    }

    /// <summary>
    /// The gradient is the derivative of the definition along any direction. What is learned of the scores goes through shares and their sum, and not through
    /// the features: there, these count for nothing.
    /// </summary>
    [Theory]
    [InlineData(true, "threshold state features features_state features_bias correction")]
    [InlineData(false, "run plausibility equal rank threshold state")]
    public void Its_gradient_is_the_derivative_of_the_definition(bool corrects, string names)
    {
        const double step = 1e-3;
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        using CopyMixture mixture = new(width: 3, neighbors: K, seed: 1);
        using (no_grad())
        {
            foreach (TorchSharp.Modules.Parameter parameter in mixture.parameters())
            {
                parameter.add_(randn_like(parameter) * 0.3);
            }

            if (!corrects)
            {
                mixture.get_parameter("correction")!.zero_();
            }
        }

        ReadingBatch batch = Batch(new Random(2), 6);
        long[] places = [.. Enumerable.Range(0, batch.Tokens.Length).Select(place => (long)place)];
        CopyCandidates candidates = CopyCandidates.Find(batch, K, places);
        Tensor logits = randn(places.Length, V), states = randn(places.Length, 3), targets = randint(V, [places.Length], ScalarType.Int64);
        double[,] weights = Table(logits), h = Table(states);
        long[] wanted = targets.data<long>().ToArray();
        mixture.LogLikelihoods(logits, states, candidates, 0, targets).sum().backward();
        using IDisposable noGradients = no_grad();
        foreach (string name in names.Split(' '))
        {
            Tensor parameter = mixture.get_parameter(name)!, start = parameter.clone(), direction = randn_like(start);
            double expected = (Moved(step) - Moved(-step)) / (2 * step);
            Assert.Equal(expected, (parameter.grad! * direction).sum().to(ScalarType.Float64).item<double>(), 1e-2 * (1 + Math.Abs(expected)));

            double Moved(double by)
            {
                parameter.add_(direction * by);
                double sum = Enumerable.Range(0, places.Length).Sum(place => Math.Log(Definition(
                    mixture,
                    batch,
                    place,
                    [.. Enumerable.Range(0, V).Select(v => weights[place, v])],
                    [.. Enumerable.Range(0, 3).Select(d => h[place, d])])[wanted[place]]));
                parameter.copy_(start);
                return sum;
            }
        }
    }

    /// <summary>However few of a step's targets are computed at a time, as of a large vocabulary; with nothing to copy it is the model's own loss.</summary>
    [Fact]
    public void The_loss_of_a_step_is_the_mean_over_all_its_targets()
    {
        const int vocabulary = 400_000; // logits of 20 places at a time
        using ChunkDatabase database = _databases.Build(Twins(30, 40, seed: 1), S, "database");
        GivenNeighborSource nothing = new(database, _ => []);
        manual_seed(1);
        using RetroModel model = new(s_config with
        {
            VocabularySize = vocabulary, Width = 8, Layers = 1, Heads = 1, FeedForwardSize = 16, TieEmbeddings = true,
        });
        CopyReaderOptions options = new() { Neighbors = 1, Stride = S, QueryLength = S, Steps = 1, WindowLength = 7 * S, BatchSize = 3, RandomShare = 0 };
        List<StageProgress> told = [];
        CopyReader.Fit(model, database, nothing, options, progress: new Reports<StageProgress>(told.Add)).Dispose();

        ReadingWindows windows = new(database, nothing, new SameDocuments(database, database))
        {
            WindowLength = options.WindowLength, BatchSize = options.BatchSize, Plan = new ReadingPlan(1, 2 * S, S, S), RandomShare = 0, Seed = options.Seed,
        };
        ReadingBatch batch = windows.Batch(0, TestContext.Current.CancellationToken).Batch;
        int targets = batch.Targets.Count(target => target != LogLikelihood.NoTarget);
        Assert.True(targets > 3 * (ModelReading.HeadBytes / sizeof(float) / vocabulary));
        double expected = -new DecoderReader(model).LogLikelihoods(batch).Sum() / targets;
        Assert.Equal(expected, Assert.Single(told).Loss!.Value, 1e-4 * expected);
    }

    [Fact]
    public void Without_neighbors_it_is_the_model_and_the_model_stays_as_it_is()
    {
        using ChunkDatabase database = _databases.Build(Twins(30, 40, seed: 1), S, "database");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        manual_seed(1);
        using RetroModel model = new(s_config);
        byte[][] before = [.. model.parameters().Select(parameter => parameter.bytes.ToArray())];
        using CopyReader reader = CopyReader.Fit(model, database, source, new() { Neighbors = 2, Stride = 2, Steps = 2, WindowLength = 20 });
        Assert.Equal(before, model.parameters().Select(parameter => parameter.bytes.ToArray()));
        Assert.All(model.parameters(), parameter => Assert.True(parameter.grad is null));

        using ChunkDatabase heldOut = _databases.Build(
            Twins(5, 40, seed: 9).Where(document => document.Id.StartsWith('a')).Select(document => document with { Id = $"new {document.Id}" }),
            S,
            "held-out");
        double off = BitsPerByte.Measure(new DecoderReader(model), heldOut).Value;
        Assert.Equal(off, BitsPerByte.Measure(reader, heldOut, new GivenNeighborSource(database, _ => [])).Value, 1e-6 * off);
        Assert.NotEqual(off, BitsPerByte.Measure(reader, heldOut, source).Value, 1e-6 * off);
        Assert.Same(reader, reader.FromNeighborsAlone);
    }

    /// <summary>
    /// Neighbors of tokens that the texts do not have, so that nothing can be copied: what is left is the RETRO over the neighbors that were found where its
    /// chunks end.
    /// </summary>
    [Theory]
    [InlineData(1, 2)]
    [InlineData(3, 2)]
    [InlineData(2, 4)]
    public void The_model_below_reads_the_best_neighbors_of_its_chunks(int crossAttended, int stride)
    {
        const int M = 4;
        using ChunkDatabase database = _databases.Build(Twins(30, 40, seed: 1), M, "database");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        using RetroModel model = Retrieving(M);
        CopyReaderOptions options = new() { Neighbors = K, Stride = stride, Steps = 2, WindowLength = 20, CrossAttended = crossAttended };
        using CopyReader reader = CopyReader.Fit(model, database, source, options);
        Random random = new(7);
        ReadingBatch batch = Batch(random, 6, stride, length: 2 * M);
        Assert.NotEqual(0, batch.Length % M); // the last chunk is not complete
        for (int i = 0; i < batch.Retrieved!.Tokens.Length; i++)
        {
            batch.Retrieved.Tokens[i] = V + random.Next(50);
        }

        int chunks = batch.Length / M;
        ReadingBatch own = new(batch.Rows, batch.Length, M) { Retrieved = new RetrievedTokens(batch.Rows, chunks, crossAttended, 2 * M) };
        batch.Tokens.CopyTo(own.Tokens, 0);
        batch.Targets.CopyTo(own.Targets, 0);
        for (int row = 0; row < batch.Rows; row++)
        {
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                for (int neighbor = 0; neighbor < crossAttended; neighbor++)
                {
                    int from = batch.Retrieved.Offset(row, (((chunk + 1) * M) / stride) - 1, neighbor), to = own.Retrieved.Offset(row, chunk, neighbor);
                    Array.Copy(batch.Retrieved.Tokens, from, own.Retrieved.Tokens, to, 2 * M);
                    Array.Copy(batch.Retrieved.Valid, from, own.Retrieved.Valid, to, 2 * M);
                }
            }
        }

        double[] expected = new RetroReader(model, crossAttended).LogLikelihoods(own), came = reader.LogLikelihoods(batch);
        Assert.All(expected.Zip(came), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
        Assert.Contains(new DecoderReader(model).LogLikelihoods(own).Zip(came), pair => Math.Abs(pair.First - pair.Second) > 1e-3);

        string path = Path.Combine(_folder.Path, "cross.safetensors");
        reader.Save(path);
        using CopyReader loaded = CopyReader.Load(path, model);
        Assert.Equal(crossAttended, loaded.Options.CrossAttended);
        Assert.Equal(came, loaded.LogLikelihoods(batch));
        using RetroModel alone = new(s_config);
        Assert.Contains(
            "0 for a model that does not retrieve",
            Assert.Throws<CheckpointException>(() => CopyReader.Load(path, alone)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Cross_attention_that_the_model_does_not_have_is_refused()
    {
        using ChunkDatabase database = _databases.Build(Twins(3, 40, seed: 1), S, "database");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        using RetroModel alone = new(s_config), other = Retrieving(6);
        CopyReaderOptions options = new() { Neighbors = 2, Stride = 4, WindowLength = 20, CrossAttended = 2 };
        Assert.Contains(
            "CrossAttended is 3; expected 0 to 2, as many as there are neighbors",
            Assert.Throws<RetroOptionsException>(() => CopyReader.Fit(alone, database, source, options with { CrossAttended = 3 })).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "CrossAttended is 2; expected 0 for a model that does not retrieve",
            Assert.Throws<RetroOptionsException>(() => CopyReader.Fit(alone, database, source, options)).Message,
            StringComparison.Ordinal);
        string fault = Assert.Throws<RetroOptionsException>(() => CopyReader.Fit(other, database, source, options)).Message;
        Assert.Contains("Stride is 4; expected a divisor of the model's chunks, 6", fault, StringComparison.Ordinal);
        Assert.Contains("RetrievedLength is 8; expected 12, as the model reads", fault, StringComparison.Ordinal);
    }

    /// <summary>A task that retrieval alone solves: every document is random, and another one holds it shifted by some tokens.</summary>
    [Fact]
    public void What_only_the_neighbors_hold_is_read_from_them()
    {
        const int M = 16;
        List<Document> all = Twins(160, 120, seed: 3);
        List<Document> held = [.. all.Where(document => document.Id.StartsWith('a')).Take(40)];
        using ChunkDatabase database = _databases.Build(all.Except(held), M, "database");
        using ChunkDatabase heldOut = _databases.Build(held, M, "held-out");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        manual_seed(1);
        using RetroModel model = new(s_config);
        using CopyReader reader = CopyReader.Fit(
            model, database, source, new() { Neighbors = 4, Stride = 8, QueryLength = 16, Steps = 60, WindowLength = 112, Seed = 1 });

        BitsPerByteOptions options = new() { WindowLength = 112, KeepTokens = true };
        double off = AfterFirst(BitsPerByte.Measure(new DecoderReader(model), heldOut, options: options));
        double on = AfterFirst(BitsPerByte.Measure(
            reader, heldOut, source, options)), random = AfterFirst(BitsPerByte.Measure(reader, heldOut, new RandomNeighborSource(database, 1), options));

        Assert.InRange(off, Math.Log('~' - '!' + 1), double.PositiveInfinity);
        Assert.InRange(on, 0, 0.05);
        Assert.InRange(random, 0.98 * off, 1.05 * off);

        // Mean nats of the tokens that a neighbor can hold: neither at the beginning, which the other document may lack, nor at the end.
        double AfterFirst(BitsPerByteResult result)
        {
            List<double> nats = [];
            foreach (DocumentEntry document in heldOut.Documents)
            {
                for (int place = 3 * M; place < document.TokenCount - 2 * M; place++)
                {
                    nats.Add(result.TokenBits![(int)(document.FirstChunk * M) + place] * Math.Log(2));
                }
            }

            return nats.Average();
        }
    }

    [Fact]
    public void Saved_and_loaded_it_reads_the_same_and_another_models_is_refused()
    {
        using ChunkDatabase database = _databases.Build(Twins(30, 40, seed: 1), S, "database");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        manual_seed(1);
        using RetroModel model = new(s_config), other = new(s_config with { Width = 8, Heads = 1 });
        CopyReaderOptions options = new() { Neighbors = 2, Stride = 2, Steps = 5, WindowLength = 20 };
        using CopyReader reader = CopyReader.Fit(model, database, source, options);
        string path = Path.Combine(_folder.Path, "copy.safetensors");
        reader.Save(path);
        using CopyReader loaded = CopyReader.Load(path, model);

        Assert.Equal((2, 2, 2 * S, reader.Name), (loaded.Neighbors, loaded.ChunkLength, loaded.RetrievedLength, loaded.Name));
        ReadingBatch batch = Batch(new Random(4), 1, stride: 2, length: 2 * S);
        Array.Copy(batch.Tokens, 1, batch.Targets, 0, batch.Tokens.Length - 1);
        Assert.Equal(reader.LogLikelihoods(batch), loaded.LogLikelihoods(batch));
        Assert.Contains("width 16", Assert.Throws<CheckpointException>(() => CopyReader.Load(path, other)).Message, StringComparison.Ordinal);
        Checkpoint.Save(_folder.Path, model);

        // The same model in another type is the same; one with other weights is not, nor is any the one of a file that does not say.
        using (RetroModel rounded = Checkpoint.Load(_folder.Path, new CheckpointLoadOptions { Dtype = ScalarType.BFloat16 }))
        {
            CopyReader.Load(path, rounded).Dispose();
        }

        using RetroModel trained = new(s_config);
        Assert.Contains(
            "was trained for a model whose configuration and weights have the hash",
            Assert.Throws<CheckpointException>(() => CopyReader.Load(path, trained)).Message,
            StringComparison.Ordinal);
        string old = Path.Combine(_folder.Path, "old.safetensors");
        using (Safetensors file = Safetensors.Open(path))
        {
            Safetensors.Write(
                old,
                file.Entries.Select(entry => KeyValuePair.Create(entry.Name, file.Read(entry.Name))),
                file.Metadata!.Where(pair => pair.Key != "model").ToDictionary());
        }

        Assert.Contains("the hash none", Assert.Throws<CheckpointException>(() => CopyReader.Load(old, model)).Message, StringComparison.Ordinal);

        // Older files say the width of their keys of content: 0 is as now, and others are refused.
        CopyReader.Load(Older("0"), model).Dispose();
        string keyed = Older("64");
        foreach (Action load in new Action[] { () => CopyReader.Load(keyed, model), () => CopyReader.Verify(keyed, model), () => CopyReader.Describe(keyed) })
        {
            Assert.Contains(
                "has a content_width of 64, and keys of content are no longer read; train it again",
                Assert.Throws<CheckpointException>(load).Message,
                StringComparison.Ordinal);
        }

        Assert.Contains(
            "no copy reader",
            Assert.Throws<CheckpointException>(() => CopyReader.Load(Path.Combine(_folder.Path, "model.safetensors"), model)).Message,
            StringComparison.Ordinal);

        string Older(string contentWidth)
        {
            using Safetensors file = Safetensors.Open(path);
            Dictionary<string, string> settings = file.Metadata!.ToDictionary();
            settings.Add("content_width", contentWidth);
            string older = Path.Combine(_folder.Path, $"content-{contentWidth}.safetensors");
            Safetensors.Write(older, file.Entries.Select(entry => KeyValuePair.Create(entry.Name, file.Read(entry.Name))), settings);
            return older;
        }
    }

    [Fact]
    public void Anywhere_in_the_database_is_looked_into_too_but_for_the_texts_own_document()
    {
        const int M = 16;
        List<Document> all = Twins(60, 120, seed: 5);
        List<Document> held = [.. all.Where(document => document.Id.StartsWith('a')).Take(20)];
        using ChunkDatabase database = _databases.Build(all.Except(held), M, "database");
        using ChunkDatabase heldOut = _databases.Build(held, M, "held-out");
        TokenIndex index = TokenIndex.Build(database);
        manual_seed(1);
        using RetroModel model = new(s_config);
        CopyReaderOptions options = new() { Neighbors = 1, Stride = 8, QueryLength = 16, Steps = 60, WindowLength = 112, Seed = 1 };

        // Neighbors that never fit: what is read comes from the index.
        RandomNeighborSource random = new(database, 1);
        using CopyReader reader = CopyReader.Fit(model, database, random, options, index);
        double off = BitsPerByte.Measure(new DecoderReader(model), heldOut).Value, on = BitsPerByte.Measure(reader, heldOut, random).Value;
        Assert.InRange(on, 0, 0.6 * off);
        GivenNeighborSource none = new(database, _ => []);
        Assert.InRange(BitsPerByte.Measure(reader, heldOut, none).Value, 0, 0.6 * off);
        Assert.Equal(off, BitsPerByte.Measure(reader.FromNeighborsAlone, heldOut, none).Value, 1e-6 * off);

        // Half of the database's documents have no twin there: had they been found in themselves, the reader would trust what it finds far more, and pay for it
        // here.
        using ChunkDatabase others = _databases.Build(Twins(10, 120, seed: 6).Select(document => document with { Id = $"new {document.Id}" }), M, "others");
        double strange = BitsPerByte.Measure(new DecoderReader(model), others).Value;
        Assert.InRange(BitsPerByte.Measure(reader, others, random).Value, 0, 1.1 * strange);

        string path = Path.Combine(_folder.Path, "anywhere.safetensors");
        reader.Save(path);
        Assert.Contains("give the index", Assert.Throws<CheckpointException>(() => CopyReader.Load(path, model)).Message, StringComparison.Ordinal);
        (CopyReaderOptions told, bool fromAnywhere) = CopyReader.Describe(path);
        Assert.Equal((1, 8, 16, true), (told.Neighbors, told.Stride, told.QueryLength, fromAnywhere));
        CopyReader.Verify(path, model);
        using (RetroModel other = new(s_config))
        {
            string said = Assert.Throws<CheckpointException>(() => CopyReader.Verify(path, other)).Message;
            Assert.Contains("load it with the model", said, StringComparison.Ordinal);
        }

        using CopyReader loaded = CopyReader.Load(path, model, index);
        Assert.Equal(on, BitsPerByte.Measure(loaded, heldOut, random).Value);
    }

    /// <summary>Training leaves out the text's own document, where the longest run of all is; what else there is has to be as much as in evaluation.</summary>
    [Fact]
    public void As_much_is_read_of_the_longest_run_in_training_as_in_evaluation()
    {
        const string Phrase = "abcdefghij";
        string own = $"0123456789{Phrase}!";
        List<Document> others = [.. Enumerable.Range(0, 100).Select(i => TestDatabases.Document($"d{i}", $"{(char)('A' + (i % 26))}{Phrase}?"))];
        using ChunkDatabase with = _databases.Build([TestDatabases.Document("own", own), .. others], S, "with");
        using ChunkDatabase without = _databases.Build(others, S, "without");
        long[] text = [.. own[..^1].Select(one => (long)one)];
        List<CopyCandidates.Candidate> training = [], evaluation = [];
        CopyCandidates.AddFrom(TokenIndex.Build(with), text, new HashSet<int> { 0 }, 0, training);
        CopyCandidates.AddFrom(TokenIndex.Build(without), text, null, 0, evaluation);
        Assert.Equal(64, evaluation.Count(candidate => candidate.Run == Phrase.Length));
        Assert.InRange(training.Count(candidate => candidate.Run == Phrase.Length), 63, 64); // one of the places may be the text's own
    }

    /// <summary>What stands in the document before, in the order of the database, is no context of a candidate.</summary>
    [Fact]
    public void Equal_tokens_are_counted_within_a_candidates_document()
    {
        using ChunkDatabase database = _databases.Build([TestDatabases.Document("a", "xyzw"), TestDatabases.Document("b", "pq")], S, "database");
        long[] text = ['y', 'z', 'w', TestDatabases.EndOfText, 1, 2, 'p']; // from the fourth last on as before b, if there were no end between
        List<CopyCandidates.Candidate> found = [];
        CopyCandidates.AddFrom(TokenIndex.Build(database), text, null, 0, found);
        CopyCandidates.Candidate one = Assert.Single(found);
        Assert.Equal(('q', 1, 1), ((char)one.Token, one.Run, one.Equal));
    }

    [Fact]
    public void It_keeps_the_readers_contract()
    {
        using ChunkDatabase database = _databases.Build(Twins(30, 40, seed: 1), S, "database");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        manual_seed(1);
        using RetroModel model = new(s_config);
        using CopyReader reader = CopyReader.Fit(model, database, source, new() { Neighbors = 2, Stride = 2, Steps = 5, WindowLength = 20 });
        ReadingBatch batch = ReaderContract.Batch(model.Config.VocabularySize, 2, (2 * S) + 1, 2, 2, 2 * S, seed: 5);
        ReaderContract.Check(reader, batch, model.Config.VocabularySize, 1e-5);
    }

    [Fact]
    public void The_same_seed_trains_the_same_reader_and_leaves_the_generator_alone()
    {
        using ChunkDatabase database = _databases.Build(Twins(30, 40, seed: 1), S, "database");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        manual_seed(1);
        using RetroModel model = new(s_config);
        CopyReaderOptions options = new() { Neighbors = 2, Stride = 2, Steps = 5, WindowLength = 20 };
        manual_seed(5);
        using Tensor expected = rand(3);
        manual_seed(5);
        using CopyReader first = CopyReader.Fit(
            model,
            database,
            source,
            options), second = CopyReader.Fit(model, database, source, options), third = CopyReader.Fit(model, database, source, options with { Seed = 2 });
        using Tensor came = rand(3);
        Assert.Equal(expected.data<float>().ToArray(), came.data<float>().ToArray());
        ReadingBatch batch = Batch(new Random(4), 1, stride: 2, length: 2 * S);
        Array.Copy(batch.Tokens, 1, batch.Targets, 0, batch.Tokens.Length - 1);
        Assert.Equal(first.LogLikelihoods(batch), second.LogLikelihoods(batch));
        Assert.NotEqual(first.LogLikelihoods(batch), third.LogLikelihoods(batch));
    }

    [Fact]
    public void Settings_that_cannot_be_are_refused_with_every_fault()
    {
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() =>
            new CopyReaderOptions { Neighbors = 0, Stride = 5, RetrievedLength = 1, Steps = 0, RandomShare = 2 }.Validate(16));
        Assert.All(
            ["Neighbors is 0", "Stride is 5; expected a divisor of the chunk length, 16", "RetrievedLength is 1", "Steps is 0", "RandomShare is 2"],
            part => Assert.Contains(part, fault.Message, StringComparison.Ordinal));
        Assert.Contains( // which has nothing to copy either
            "RetrievedLength is 1; expected at least 2",
            Assert.Throws<RetroOptionsException>(() => new PointerRuleOptions { RetrievedLength = 1 }.Validate()).Message,
            StringComparison.Ordinal);
        using ChunkDatabase database = _databases.Build(Twins(3, 40, seed: 1), S, "database");
        manual_seed(1);
        using RetroModel model = new(s_config);
        Assert.Throws<ArgumentException>(() => CopyReader.Fit(model, database, new NoNeighborSource(), new() { Stride = 2, WindowLength = 20 }));
    }

    private static RetroModel Retrieving(int chunkLength)
    {
        RetrievalConfig paper = RetrievalConfig.For(s_config);
        manual_seed(3);
        RetroModel model = new(s_config with
        {
            InitialOutputScale = 1,
            Retrieval = paper with { ChunkLength = chunkLength, RetrievedLength = 2 * chunkLength, CrossAttentionLayers = [1, 2], ZeroOutput = false },
        });
        model.eval();
        return model;
    }

    /// <summary>Pairs of documents of random characters, a and b, one of which begins a few later.</summary>
    internal static List<Document> Twins(int pairs, int length, int seed)
    {
        Random random = new(seed);
        List<Document> documents = [];
        for (int pair = 0; pair < pairs; pair++)
        {
            string text = string.Concat(Enumerable.Range(0, length + 20).Select(_ => (char)random.Next('!', '~' + 1)));
            documents.Add(TestDatabases.Document($"a{seed}-{pair}", text[..length]));
            documents.Add(TestDatabases.Document($"b{seed}-{pair}", text[random.Next(1, 20)..]));
        }

        return documents;
    }

    private static ReadingBatch Batch(Random random, int round, int stride = S, int length = R)
    {
        int text = (2 * stride) + (round % 7);
        ReadingBatch batch = new(2, text, stride) { Retrieved = new RetrievedTokens(2, text / stride, K, length) };
        for (int i = 0; i < batch.Tokens.Length; i++)
        {
            batch.Tokens[i] = random.Next(V);
            batch.Targets[i] = 0;
        }

        for (int i = 0; i < batch.Retrieved.Tokens.Length; i++)
        {
            batch.Retrieved.Tokens[i] = random.Next(V);
            batch.Retrieved.Valid[i] = i % length < length - (round % 3);
        }

        return batch;
    }

    private static double[,] Table(Tensor tensor)
    {
        double[,] table = new double[tensor.shape[0], tensor.shape[1]];
        double[] values = tensor.to(ScalarType.Float64).data<double>().ToArray();
        Buffer.BlockCopy(values, 0, table, 0, values.Length * sizeof(double));
        return table;
    }

    /// <summary>The mixture's distribution at a place, written out from its definition.</summary>
    private static double[] Definition(CopyMixture mixture, ReadingBatch batch, int place, double[] logits, double[] h)
    {
        Dictionary<string, double[]> w = mixture.named_parameters()
            .ToDictionary(pair => pair.name, pair => pair.parameter.detach().to(ScalarType.Float64).contiguous().data<double>().ToArray());
        double normalizer = Math.Log(logits.Sum(Math.Exp));
        double[] logP = [.. logits.Select(logit => logit - normalizer)], p = [.. logP.Select(Math.Exp)];
        int row = place / batch.Length, at = place % batch.Length, stretch = ((at + 1) / batch.ChunkLength) - 1;
        if (stretch < 0 || stretch >= batch.Retrieved!.Chunks)
        {
            return p;
        }

        List<(long Token, int M, int F, int Rank)> candidates = [];
        for (int k = 0; k < K; k++)
        {
            int offset = batch.Retrieved.Offset(row, stretch, k);
            long?[] passage = [.. Enumerable.Range(0, batch.Retrieved.Length)
                .Select(i => batch.Retrieved.Valid[offset + i] ? batch.Retrieved.Tokens[offset + i] : (long?)null)];
            for (int j = 1; j < passage.Length; j++)
            {
                int Match(int back) => at - back >= 0 && j - 1 - back >= 0 && passage[j - 1 - back] == batch.Tokens[(row * batch.Length) + at - back] ? 1 : 0;
                int m = Enumerable.Range(0, 12).TakeWhile(back => Match(back) == 1).Count();
                if (m > 0 && passage[j] is { } token)
                {
                    candidates.Add((token, m, Enumerable.Range(0, 16).Sum(Match), k));
                }
            }
        }

        if (candidates.Count == 0)
        {
            return p;
        }

        double[] scores = [
            .. candidates.Select(c => w["run"][c.M] + (w["plausibility"][c.M] * logP[c.Token]) + w["equal"][c.F] + w["rank"][c.Rank])
        ];
        double all = Math.Log(scores.Sum(Math.Exp));
        double[] shares = [.. scores.Select(score => Math.Exp(score - all))];
        int longest = candidates.Max(c => c.M), best = Array.IndexOf(scores, scores.Max());
        (long bestToken, int bestRun, int bestEqual, _) = candidates[best];
        double share = candidates.Zip(shares).Where(pair => pair.First.Token == bestToken).Sum(pair => pair.Second);
        List<double> features = [
            .. Enumerable.Range(0, 13).Select(i => i == bestRun ? 1.0 : 0), .. Enumerable.Range(0, 13).Select(i => i == longest ? 1.0 : 0)
        ];
        features.AddRange(
        [
            (bestEqual / 8.0) - 1, (2 * share) - 1, Math.Log(share + 1e-4) / 3, (logP[bestToken] / 4) + 1, (2 * p[bestToken]) - 1,
            Math.Log(1 + candidates.Count(c => c.M == longest)) / 3,
            (4 * candidates.Zip(shares).Sum(pair => pair.Second * p[pair.First.Token])) - 1, (2 * shares.Sum(s => s * s)) - 1, Math.Clamp(all, -20, 40) / 5,
            (-Enumerable.Range(0, V).Sum(v => p[v] * logP[v]) / 3) - 1, (2 * p.Max()) - 1, Array.IndexOf(p, p.Max()) == bestToken ? 1 : 0,
            Math.Log(1 + candidates.Where(c => c.Token == bestToken).Sum(c => c.M)) / 3,
        ]);
        double z = all - w["threshold"][longest] - h.Zip(w["state"]).Sum(pair => pair.First * pair.Second);
        int hidden = w["correction"].Length;
        for (int unit = 0; unit < hidden; unit++)
        {
            double x = w["features_bias"][unit]
                + features.Select((value, i) => value * w["features"][(i * hidden) + unit]).Sum()
                + h.Select((value, i) => value * w["features_state"][(i * hidden) + unit]).Sum();
            z += w["correction"][unit] * 0.5 * x * (1 + Erf(x / Math.Sqrt(2)));
        }

        double gate = 1 / (1 + Math.Exp(-z));
        return [.. Enumerable.Range(0, V)
            .Select(v => ((1 - gate) * p[v]) + (gate * candidates.Zip(shares).Where(pair => pair.First.Token == v).Sum(pair => pair.Second)))];
    }

    /// <summary>The error function by its series, which is exact to rounding for the small numbers here.</summary>
    private static double Erf(double x)
    {
        double term = x, sum = x;
        for (int n = 1; n < 200; n++)
        {
            term *= -x * x / n;
            sum += term / ((2 * n) + 1);
        }

        return 2 / Math.Sqrt(Math.PI) * sum;
    }
}
