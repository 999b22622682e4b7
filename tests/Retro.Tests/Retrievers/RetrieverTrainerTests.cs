using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Readers;
using Retro.Vectors;
using TorchSharp;
using static Retro.Tests.Retrievers.RetrieverWorld;
using static TorchSharp.torch;

namespace Retro.Tests.Retrievers;

public class RetrieverTrainerTests(SharedRetrieverWorld shared) : IClassFixture<SharedRetrieverWorld>
{
    private static readonly RetrieverObjective[] s_objectives =
    [
        RetrieverObjective.SequenceMarginal, RetrieverObjective.TokenMarginal, RetrieverObjective.Realm, RetrieverObjective.Emdr2,
        RetrieverObjective.PerplexityDistillation(), RetrieverObjective.LanguageModelSupervision(), RetrieverObjective.LeaveOneOut(),
        RetrieverObjective.Variational(), RetrieverObjective.JointStochastic(),
    ];

    private readonly RetrieverWorld _world = shared.World;

    public static TheoryData<string> Names => [.. s_objectives.Select(objective => objective.Name)];

    /// <summary>What belongs together is in the examples alone, and the reader tells it; the documents' keys stay as they are.</summary>
    [Fact]
    public void It_learns_from_the_reader_what_to_find()
    {
        string before = _world.Embedder.Identity;
        double frozen = NextChunkRecall.Measure(_world.Source, _world.HeldOut, 1, cancellationToken: TestContext.Current.CancellationToken).Value;
        using RetrieverTrainer trainer = _world.Trainer(
            RetrieverObjective.PerplexityDistillation(0.05), Options with { Steps = 60, BatchSize = 16, Neighbors = 8 });

        trainer.Run(cancellationToken: TestContext.Current.CancellationToken);

        using TextEmbedder queries = trainer.QueryEmbedder();
        TowerNeighborSource learned = new(_world.Source, new ChunkKeyer(Tokenizer, queries));
        double after = NextChunkRecall.Measure(learned, _world.HeldOut, 1, cancellationToken: TestContext.Current.CancellationToken).Value;
        TestContext.Current.SendDiagnosticMessage($"Recall of the next chunk's tokens on held-out text: frozen {frozen:F3}, learned {after:F3}.");
        Assert.True(after > frozen + 0.1, $"recall {frozen} before, {after} after");
        Assert.Equal(before, _world.Embedder.Identity);
    }

    /// <summary>Near ones far from the origin, too, whose distance is the small difference of large numbers; and where each row has its own, with the same
    /// gradients.</summary>
    [Theory]
    [InlineData(VectorMetric.SquaredL2)]
    [InlineData(VectorMetric.InnerProduct)]
    public void Scores_are_those_of_the_definition_whichever_are_wanted(VectorMetric metric)
    {
        const int rows = 4, each = 3, dimensions = 24;
        using DisposeScope scope = NewDisposeScope();
        using Generator generator = new(1);
        Tensor near = randn([rows * each, dimensions], ScalarType.Float64, generator: generator).mul(0.01).add(1);
        Tensor vectors = near.to_type(ScalarType.Float32).detach().requires_grad_(), own = arange(rows * each).view(rows, each).flip(1);
        Tensor queries = randn([rows, dimensions], ScalarType.Float64, generator: generator).mul(0.01).add(1).to_type(ScalarType.Float32).detach()
            .requires_grad_();
        double[,] q = Doubles(queries, rows), v = Doubles(vectors, rows * each);
        Tensor all = RetrieverDocuments.Scores(metric, queries, vectors), some = RetrieverDocuments.Scores(metric, queries, vectors, own);
        for (int row = 0; row < rows; row++)
        {
            for (int i = 0; i < rows * each; i++)
            {
                double[] parts = [.. Enumerable.Range(0, dimensions).Select(d => metric == VectorMetric.SquaredL2
                    ? -0.5 * Math.Pow(q[row, d] - v[i, d], 2) : q[row, d] * v[i, d])];
                Assert.Equal(1, all[row, i].item<float>() / parts.Sum(), 1e-5);
            }
        }

        Assert.True(allclose(all.gather(1, own), some, 1e-5, 1e-9));
        Tensor weights = randn([rows, each], generator: generator);
        Tensor[] gathered = Gradients(all.gather(1, own)), direct = Gradients(some);
        Assert.All(gathered.Zip(direct), pair => Assert.True(allclose(pair.First, pair.Second, 1e-4, 1e-7)));

        Tensor[] Gradients(Tensor scores) => [.. autograd.grad([(scores * weights).sum()], [queries, vectors])];

        static double[,] Doubles(Tensor values, int count)
        {
            double[,] numbers = new double[count, dimensions];
            Buffer.BlockCopy(values.detach().to_type(ScalarType.Float64).data<double>().ToArray(), 0, numbers, 0, numbers.Length * sizeof(double));
            return numbers;
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_objective_moves_the_query_tower_and_says_what_it_knows(string name)
    {
        RetrieverObjective objective = s_objectives.Single(one => one.Name == name);
        List<RetrieverTrainingProgress> told = [];
        using RetrieverTrainer trainer = _world.Trainer(objective);

        trainer.Run(new Reports<RetrieverTrainingProgress>(told.Add), TestContext.Current.CancellationToken);

        using TextEmbedder queries = trainer.QueryEmbedder();
        Assert.NotEqual(_world.Embedder.Identity, queries.Identity);
        Assert.Equal([1L, 2, 3, 4], told.Select(step => step.Step));
        Assert.All(told, step =>
        {
            Assert.True(double.IsFinite(step.Loss) && step.GradientNorm > 0 && step.LearningRate > 0);
            Assert.Equal(3e-4 + (1.35e-3 * (1 + Math.Cos(Math.PI * (step.Step - 1) / 4))), step.LearningRate, 1e-12);
            Assert.Equal((6, 0L, 0.0), (step.Examples, step.IndexAge, step.Staleness));
            Assert.Equal(name == "REALM", step.Utility is not null);
            Assert.Equal(name.StartsWith("JSA", StringComparison.Ordinal), step.AcceptanceRate is > 0 and <= 1);
        });
        Assert.Null(trainer.DocumentEmbedder());
    }

    /// <summary>
    /// The posterior has read the target. Asked without the rule it finds the target's own document at once, by its number or as a copy under another id in
    /// another database; with the rule neither tower can.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_posterior_cannot_find_the_targets_own_document_nor_a_copy_of_it(bool copied)
    {
        Document[] texts = [.. Texts("e", 40, new Random(2))];
        using RetrieverWorld world = new(
            _ => copied ? texts.Select(text => text with { Id = "copy of " + text.Id }) : texts, _ => texts);
        using RetrieverTrainer trainer = new(
            world.Embedder, Tokenizer, world.Source, Reader(), RetrieverObjective.Variational(), Options, copied ? world.Examples : null);
        ChunkDatabase examples = copied ? world.Examples : world.Passages;
        long[] asked = [.. Enumerable.Range(0, 30).SelectMany(step => trainer.Draw(step)).Distinct()];

        (long[][] prior, long[][]? posterior) = trainer.Find(asked, TestContext.Current.CancellationToken);

        int cheats = 0;
        using RetrieverTower tower = new(world.Embedder, Tokenizer);
        using DisposeScope scope = NewDisposeScope();
        for (int i = 0; i < asked.Length; i++)
        {
            string own = examples.Documents[examples.DocumentOf(asked[i])].ContentHash;
            bool Own(long chunk) => world.Passages.Documents[world.Passages.DocumentOf(chunk)].ContentHash == own;
            Assert.NotEmpty(posterior![i]);
            Assert.DoesNotContain(prior[i], Own);
            Assert.DoesNotContain(posterior[i], Own);
            float[] key = tower.Vectors([tower.ReadWithTarget(examples, asked[i])]).detach().reshape(-1).data<float>().ToArray();
            long[] found = new long[4];
            world.Source.Find([new NeighborQuery(examples.Tokens(asked[i]).ToArray(), []) { Key = key }], 4, found, new float[4]);
            cheats += found.Any(Own) ? 1 : 0;
        }

        Assert.True(cheats > asked.Length * 0.8, $"Without the rule {cheats} of {asked.Length} find their own document.");
    }

    [Fact]
    public void Held_out_documents_may_be_neither_examples_nor_passages()
    {
        DatabaseException fault = Assert.Throws<DatabaseException>(() => new RetrieverTrainer(
            _world.Embedder, Tokenizer, _world.Source, Reader(), RetrieverObjective.Variational(), Options, _world.HeldOut, _world.HeldOut));
        Assert.Contains("held-out documents", fault.Message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => new RetrieverTrainer(
            _world.Embedder, Tokenizer, _world.Source, Reader(), RetrieverObjective.Variational(), Options, _world.Examples, _world.Passages));
    }

    [Theory]
    [InlineData("LSR, temperature 0.1", null)]
    [InlineData("JSA, 50 steps", null)]
    [InlineData("VRAG, weight 1", 2)]
    [InlineData("EMDR2", null, true)]
    public void Interrupted_and_resumed_it_gives_the_same_bits(string name, int? refresh, bool negatives = false)
    {
        RetrieverObjective objective = s_objectives.Single(one => one.Name == name);
        RetrieverTrainingOptions options = Options with { Steps = 7, RefreshEvery = refresh, InBatchNegatives = negatives };
        List<RetrieverTrainingProgress> whole = [], parts = [];
        string[] Identities(RetrieverTrainer trainer)
        {
            using TextEmbedder queries = trainer.QueryEmbedder();
            using TextEmbedder? documents = trainer.DocumentEmbedder();
            return [queries.Identity, documents?.Identity ?? ""];
        }

        string[] expected, came;
        using (RetrieverTrainer trainer = _world.Trainer(objective, options))
        {
            trainer.Run(new Reports<RetrieverTrainingProgress>(whole.Add), TestContext.Current.CancellationToken);
            expected = Identities(trainer);
        }

        using (RetrieverTrainer trainer = _world.Trainer(objective, options))
        {
            using CancellationTokenSource source = new();
            Assert.Throws<OperationCanceledException>(() => trainer.Run(
                new Reports<RetrieverTrainingProgress>(step =>
                {
                    parts.Add(step);
                    if (step.Step == 5)
                    {
                        source.Cancel();
                    }
                }),
                source.Token));
            trainer.Save(_world["saved"]);
        }

        using (RetrieverTrainer trainer = _world.Trainer(objective, options))
        {
            trainer.Load(_world["saved"]);
            Assert.Equal(5, trainer.StepsDone);
            trainer.Run(new Reports<RetrieverTrainingProgress>(parts.Add), TestContext.Current.CancellationToken);
            came = Identities(trainer);
        }

        Assert.Equal(expected, came);
        Assert.Equal(whole, parts);
    }

    /// <summary>The passages of a source alongside stand beside those that the tower finds; what others found counts with in-batch negatives alone.</summary>
    [Fact]
    public void Passages_from_alongside_are_read_too_and_those_of_others_count_by_option_alone()
    {
        using KeywordNeighborSource words = KeywordNeighborSource.Build(_world.Passages);
        long[]? present = null;
        RetrieverObjective own = new(
            "own",
            batch =>
            {
                present = [.. batch.Present.sum(1).data<long>()];
                return RetrieverObjectives.Emdr2(batch.Likelihoods, batch.Scores, batch.Present);
            });
        double[] losses = [.. new[] { false, true }.Select(negatives =>
        {
            using RetrieverTrainer trainer = new(
                _world.Embedder,
                Tokenizer,
                _world.Source,
                Reader(),
                own,
                Options with { InBatchNegatives = negatives },
                _world.Examples,
                _world.HeldOut,
                words);
            long[] examples = trainer.Draw(0);
            long[][] found = trainer.Find(examples, TestContext.Current.CancellationToken).Prior;
            double loss = trainer.Step(TestContext.Current.CancellationToken).Loss;
            Assert.Equal(examples.Select((example, row) => (long)found[row].Union(Words(example)).Count()), present);
            return loss;
        })];
        Assert.True(losses[1] > losses[0], $"{losses[0]} of a row's own passages, {losses[1]} of all");

        IEnumerable<long> Words(long example)
        {
            long[] chunks = new long[Options.Neighbors];
            int[] text = _world.Examples.Tokens(example)[.._world.Examples.TokenCount(example)].ToArray();
            words.Find([new NeighborQuery(text, [])], chunks.Length, chunks, new float[chunks.Length]);
            return chunks.Where(chunk => chunk >= 0);
        }
    }

    /// <summary>Of signs alone there is no key, and no tower finds them; words do, and chance.</summary>
    [Fact]
    public void Passages_from_alongside_that_have_no_key_are_none()
    {
        using RetrieverWorld world = new(
            random => [.. Texts("p", 3, random), .. Enumerable.Range(0, 3).Select(i => new Document($"signs{i}", "", new string('=', 10 + i), ""))]);
        int all = (int)world.Passages.ChunkCount;
        long keyed = Enumerable.Range(0, all).LongCount(chunk => Tokenizer.Decode(
            world.Passages.Tokens(chunk)[..world.Passages.TokenCount(chunk)].ToArray()).Any(char.IsLetter));
        Assert.InRange(keyed, 1, all - 3);
        long[]? present = null;
        RetrieverObjective own = new("own", batch =>
        {
            present = [.. batch.Present.sum(1).data<long>()];
            return RetrieverObjectives.Emdr2(batch.Likelihoods, batch.Scores, batch.Present);
        });
        RetrieverTrainingOptions options = Options with { Neighbors = all, RefreshEvery = 3 };
        using RetrieverTrainer trainer = new(
            world.Embedder, Tokenizer, world.Source, Reader(all), own, options, world.Examples, world.HeldOut, new RandomNeighborSource(world.Passages));
        RetrieverTrainingProgress step = trainer.Step(TestContext.Current.CancellationToken);
        Assert.All(present!, count => Assert.Equal(keyed, count));
        Assert.InRange(step.Staleness, 0, 1e-5);
    }

    /// <summary>The null document is one of a row's own: the others' passages take less from a row that it has a share of.</summary>
    [Fact]
    public void The_null_document_counts_among_what_others_passages_are_measured_by()
    {
        double[] losses = [.. new[] { RetrieverInputs.None, RetrieverInputs.Null }.Select(inputs =>
        {
            RetrieverObjective nothing = new("nothing", batch => batch.Scores.sum(1) * 0, inputs);
            using RetrieverTrainer trainer = _world.Trainer(nothing, Options with { InBatchNegatives = true });
            return trainer.Step(TestContext.Current.CancellationToken).Loss;
        })];
        Assert.True(losses[1] < losses[0] && losses[1] > 0, $"{losses[0]} without and {losses[1]} with");
    }

    [Fact]
    public void A_reader_that_looks_into_the_examples_documents_by_itself_is_refused()
    {
        ArgumentException fault = Assert.Throws<ArgumentException>(() => Made(_world.Examples).Dispose());
        Assert.Contains("where the example document \"e0\" stands", fault.Message, StringComparison.Ordinal);
        Made(_world.Passages).Dispose();

        RetrieverTrainer Made(ChunkDatabase looked) => new(
            _world.Embedder,
            Tokenizer,
            _world.Source,
            new UnigramReader(Tokenizer.VocabularySize, 4, database: looked),
            RetrieverObjective.Emdr2,
            Options,
            _world.Examples);
    }

    [Fact]
    public void With_both_towers_the_null_document_is_one_of_the_document_tower()
    {
        List<double[]> scores = [];
        RetrieverObjective none = new(
            "null document",
            batch =>
            {
                scores.Add([.. batch.NullScores!.Doubles()]);
                return batch.NullScores!;
            },
            RetrieverInputs.Null);
        foreach (int? refresh in new int?[] { null, 1 })
        {
            using RetrieverTrainer trainer = _world.Trainer(none, Options with { RefreshEvery = refresh, WeightDecay = 0 });
            using TextEmbedder? before = trainer.DocumentEmbedder();
            trainer.Step(TestContext.Current.CancellationToken);
            using TextEmbedder? after = trainer.DocumentEmbedder();
            Assert.Equal(refresh is null, before?.Identity == after?.Identity);
        }

        Assert.All(scores[0].Zip(scores[1]), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
    }

    [Fact]
    public void With_both_towers_the_age_of_the_index_is_told_and_how_far_documents_have_moved_from_it()
    {
        List<RetrieverTrainingProgress> told = [];
        using RetrieverWorld world = new(); // its keys are made anew
        using RetrieverTrainer trainer = world.Trainer(options: Options with { Steps = 8, RefreshEvery = 3 });

        trainer.Run(new Reports<RetrieverTrainingProgress>(told.Add), TestContext.Current.CancellationToken);

        Assert.Equal([0L, 1, 2, 0, 1, 2, 0, 1], told.Select(step => step.IndexAge));
        Assert.All(told, step => Assert.True(
            step.IndexAge == 0 ? Math.Abs(step.Staleness) < 1e-5 : step.Staleness > 1e-5, $"Step {step.Step}: staleness {step.Staleness}."));
        Assert.True(told[2].Staleness > told[1].Staleness);
        Assert.Equal(2, trainer.IndexAge);
        trainer.RefreshIndex(cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(0, trainer.IndexAge);

        // On disk the old keys do not pass for those of the new tower.
        using TextEmbedder documents = trainer.DocumentEmbedder()!;
        ChunkKeyer keyer = new(Tokenizer, documents);
        DatabaseException stale = Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(world.Passages, keyer));
        Assert.Contains("make keys and index again", stale.Message, StringComparison.Ordinal);
        using DenseNeighborSource again = DenseNeighborSource.Build(world.Passages, keyer);
        using TextEmbedder queries = trainer.QueryEmbedder();
        long[] examples = trainer.Draw(0), found = new long[examples.Length * 4];
        new TowerNeighborSource(again, new ChunkKeyer(Tokenizer, queries))
            .Find([.. examples.Select(chunk => new NeighborQuery(world.Examples.Tokens(chunk).ToArray(), []))], 4, found, new float[found.Length]);
        Assert.Equal(found, trainer.Find(examples).Prior.SelectMany(row => row));
    }

    /// <summary>Keys that were divided by their lengths are the embedder's all the same; the towers begin as what made them, and stay such.</summary>
    [Fact]
    public void Over_keys_of_length_1_all_vectors_are()
    {
        using RetrieverWorld world = new(); // its keys are made anew
        using TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny with { Normalize = false }, 3), Tokenizer);
        ChunkKeyer keyer = new(Tokenizer, embedder, normalize: true);
        using DenseNeighborSource source = DenseNeighborSource.Build(world.Passages, keyer);
        Assert.NotEqual(1, Length(new ChunkKeyer(Tokenizer, embedder).KeyOfText("the river")), 1e-2);
        Assert.True(RetrieverDocuments.RequireEmbedder(source, embedder, Tokenizer, null));
        foreach (bool trained in new[] { false, true })
        {
            using RetrieverDocuments documents = RetrieverDocuments.Open(source, embedder, Tokenizer, trained, normalizes: true, default);
            using Tensor vectors = documents.Vectors([0], CPU).Vectors, nothing = documents.NullVector(CPU);
            Assert.Equal([1.0, 1.0], new[] { Length(vectors.Floats()), Length(nothing.Floats()) }.Select(length => Math.Round(length, 4)));
        }

        RetrieverTrainingOptions options = Options with { Steps = 4, RefreshEvery = 3 };
        using RetrieverTrainer trainer = new(
            embedder, Tokenizer, source, Reader(), RetrieverObjective.Realm, options, world.Examples, cancellationToken: TestContext.Current.CancellationToken);
        using (TextEmbedder first = trainer.QueryEmbedder())
        {
            EmbeddingInputs.AssertNear([keyer.KeyOfText("the river")], [new ChunkKeyer(Tokenizer, first).KeyOfText("the river")]);
        }

        trainer.Run(cancellationToken: TestContext.Current.CancellationToken);
        trainer.RefreshIndex(cancellationToken: TestContext.Current.CancellationToken);

        using TextEmbedder documentTower = trainer.DocumentEmbedder()!, queries = trainer.QueryEmbedder();
        ChunkKeyer asking = new(Tokenizer, queries);
        Assert.Equal(1, Length(asking.KeyOfText("the river")), 1e-5);
        using DenseNeighborSource again = DenseNeighborSource.Build(world.Passages, new ChunkKeyer(Tokenizer, documentTower));
        long[] examples = trainer.Draw(0), found = new long[examples.Length * 4];
        new TowerNeighborSource(again, asking)
            .Find([.. examples.Select(chunk => new NeighborQuery(world.Examples.Tokens(chunk).ToArray(), []))], 4, found, new float[found.Length]);
        Assert.Equal(found, trainer.Find(examples).Prior.SelectMany(row => row));

        static double Length(float[] vector) => Math.Sqrt(vector.Sum(value => (double)value * value));
    }

    [Fact]
    public void Examples_without_a_passage_do_not_count_but_for_the_null_document()
    {
        // What is of another document has no key.
        Document[] one = [.. Texts("e", 1, new Random(2))];
        using RetrieverWorld world = new(_ => [new Document("signs", "", new string('=', 10), ""), .. one], _ => one);
        foreach ((RetrieverObjective objective, bool negatives) in
            new[] { RetrieverObjective.SequenceMarginal, RetrieverObjective.Realm }.SelectMany(objective => new[] { (objective, false), (objective, true) }))
        {
            RetrieverTrainingOptions options = Options with { InBatchNegatives = negatives };
            using RetrieverTrainer trainer = new(world.Embedder, Tokenizer, world.Source, Reader(), objective, options, world.Examples);

            RetrieverTrainingProgress step = trainer.Step(TestContext.Current.CancellationToken);

            bool realm = objective == RetrieverObjective.Realm;
            Assert.Equal((realm ? 6 : 0, 1L), (step.Examples, trainer.StepsDone));
            Assert.Equal(realm ? M * Math.Log(Tokenizer.VocabularySize) : double.NaN, step.Loss, 20.0);
            Assert.Equal(realm ? 0 : null, step.Utility);
            Assert.Equal(0, step.GradientNorm);
        }
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        using TextEmbedder other = new(new TextEncoder(EmbeddingInputs.Tiny, 4), Tokenizer);
        RetrieverObjective any = RetrieverObjective.Emdr2;
        Assert.Contains(
            "a query tower starts as a copy",
            Assert.Throws<ArgumentException>(() => new RetrieverTrainer(other, Tokenizer, _world.Source, Reader(), any)).Message,
            StringComparison.Ordinal);
        Assert.Contains("reads no neighbors", Refusal(new UnigramReader(300, 0), any), StringComparison.Ordinal);
        using KeywordNeighborSource elsewhere = KeywordNeighborSource.Build(_world.Examples);
        Assert.Contains(
            "take a source over the same database",
            Assert.Throws<ArgumentException>(
                () => new RetrieverTrainer(_world.Embedder, Tokenizer, _world.Source, Reader(), any, Options, alongside: elsewhere)).Message,
            StringComparison.Ordinal);
        Assert.Contains("no divisor", Refusal(new UnigramReader(300, 4, 5), any), StringComparison.Ordinal);
        Assert.Contains("up to 3 passages together, and unigrams reads 2", Refusal(Reader(2), RetrieverObjective.LeaveOneOut()), StringComparison.Ordinal);
        using RetroModel decoder = new(TinyRetro.Config with { VocabularySize = Tokenizer.VocabularySize, Retrieval = null });
        InContextOptions four = new() { Neighbors = 4, PrefixLength = 40 };
        EnsembleReader weighing = new(decoder, Tokenizer, four, 0.7), equal = new(decoder, Tokenizer, four, double.PositiveInfinity);
        Assert.Contains(
            "leave one out, temperature 0.01 reads passages together, which ensemble, k = 4 + pointer rule, k = 4 weighs by scores",
            Refusal(new PointerReader(weighing, new(4, M, 2 * M, new double[PointerRule.LongestRun])), RetrieverObjective.LeaveOneOut()),
            StringComparison.Ordinal);
        foreach ((IReader reader, RetrieverObjective objective) in new (IReader, RetrieverObjective)[]
            { (equal, RetrieverObjective.LeaveOneOut()), (weighing, any), (Reader(3), RetrieverObjective.LeaveOneOut()) })
        {
            using RetrieverTrainer trainer = new(_world.Embedder, Tokenizer, _world.Source, reader, objective, Options, _world.Examples);
            Assert.True(double.IsFinite(trainer.Step(TestContext.Current.CancellationToken).Loss));
        }

        using ChunkDatabase single = _world.Build("single", [new("s", "", "abcdefghij", ""), new("t", "", "klmnopqrst", "")]);
        Assert.Throws<TrainingException>(() => new RetrieverTrainer(_world.Embedder, Tokenizer, _world.Source, Reader(), any, Options, single));
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() => new RetrieverTrainingOptions
        {
            Steps = 0, BatchSize = 0, Neighbors = 0, WindowLength = 17, Temperature = 0, LearningRate = double.NaN, WeightDecay = -1, RefreshEvery = 0,
        }.Validate(16));
        Assert.Equal(8, fault.Faults.Count);

        string Refusal(IReader reader, RetrieverObjective objective)
            => Assert.Throws<ArgumentException>(
                () => new RetrieverTrainer(_world.Embedder, Tokenizer, _world.Source, reader, objective, Options, _world.Examples)).Message;
    }

    [Fact]
    public void What_another_thread_disposes_while_it_trains_is_freed_when_the_run_has_ended()
    {
        using RetrieverTrainer trainer = _world.Trainer();
        long before = 0, after = 0;
        Assert.Throws<ObjectDisposedException>(() => trainer.Run(new Reports<RetrieverTrainingProgress>(_ =>
        {
            before = LiveTensors.Settled();
            Thread other = new(trainer.Dispose);
            other.Start();
            other.Join();
            after = LiveTensors.Settled();
        })));
        Assert.Equal(1, trainer.StepsDone);
        Assert.Equal(before, after);
        Assert.True(LiveTensors.Settled() < before);
        Assert.Throws<ObjectDisposedException>(() => trainer.QueryEmbedder());
        Assert.Throws<ObjectDisposedException>(() => trainer.Save(_world["disposed"]));
    }

    [Fact]
    public void A_checkpoint_of_other_settings_or_none_is_refused_by_what_differs()
    {
        using RetrieverTrainer trainer = _world.Trainer();
        Assert.Contains("There is no state", Refusal(trainer, "none"), StringComparison.Ordinal);
        trainer.Save(_world["saved"]);
        using RetrieverTrainer others = _world.Trainer(RetrieverObjective.Emdr2);
        Assert.Contains("objective LSR, temperature 0.1 (now: EMDR2)", Refusal(others, "saved"), StringComparison.Ordinal);
        foreach ((RetrieverTrainingOptions options, string name) in new[]
            {
                (Options with { Temperature = 0.1 }, "Temperature = 0.1"), (Options with { BatchSize = 5 }, "BatchSize = 5"),
                (Options with { Seed = 1 }, "Seed = 1"), (Options with { InBatchNegatives = true }, "InBatchNegatives = True"),
            })
        {
            using RetrieverTrainer changed = _world.Trainer(options: options);
            Assert.Contains(name, Refusal(changed, "saved"), StringComparison.Ordinal);
        }

        string path = Path.Combine(_world["saved"], RetrieverTrainer.StateFile);
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^100]);
        Refusal(trainer, "saved");

        string Refusal(RetrieverTrainer to, string folder) => Assert.Throws<CheckpointException>(() => to.Load(_world[folder])).Message;
    }

    /// <summary>A training that has ended is given more, and one whose loss is no longer finite a lower rate.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)] // as an earlier version of this library saved it, with all options
    public void A_training_goes_on_with_more_steps_and_other_rates(bool old)
    {
        using (RetrieverTrainer trainer = _world.Trainer())
        {
            trainer.Run(cancellationToken: TestContext.Current.CancellationToken);
            trainer.Save(_world["ended"]);
        }

        if (old)
        {
            Change(Path.Combine(_world["ended"], RetrieverTrainer.StateFile), state =>
            {
                state["Settings"]!["options"] = InvariantText.Of(Options);
                state.AsObject().Remove("Learns");
            });
        }

        List<RetrieverTrainingProgress> told = [];
        using RetrieverTrainer longer = _world.Trainer(options: Options with { Steps = 9, LearningRate = 1e-3, WeightDecay = 0 });
        longer.Load(_world["ended"]);
        Assert.Equal(4, longer.StepsDone);
        longer.Run(new Reports<RetrieverTrainingProgress>(told.Add), TestContext.Current.CancellationToken);
        Assert.Equal([5L, 6, 7, 8, 9], told.Select(step => step.Step));
        Assert.All(told, step => Assert.True(step.LearningRate <= 1e-3 && step.GradientNorm > 0));
    }

    [Fact]
    public void A_tower_that_was_trained_before_is_trained_on()
    {
        using RetrieverTrainer first = _world.Trainer();
        first.Step(TestContext.Current.CancellationToken);
        using TextEmbedder tower = first.QueryEmbedder();
        using RetrieverTrainer second = From(tower), again = From(tower), fresh = From(null);
        using TextEmbedder begun = second.QueryEmbedder();
        Assert.Equal(tower.Identity, begun.Identity);
        second.Step(TestContext.Current.CancellationToken);
        second.Save(_world["second"]);
        again.Load(_world["second"]);
        Assert.Equal(1, again.StepsDone);
        Assert.Contains("start", Assert.Throws<CheckpointException>(() => fresh.Load(_world["second"])).Message, StringComparison.Ordinal);
        using TextEmbedder narrow = new(new TextEncoder(EmbeddingInputs.Tiny with { Width = 16 }), Tokenizer);
        Assert.Contains(
            "the tower to start from makes 16", Assert.Throws<ArgumentException>(() => From(narrow)).Message, StringComparison.Ordinal);

        RetrieverTrainer From(TextEmbedder? start) => new(
            _world.Embedder, Tokenizer, _world.Source, Reader(), RetrieverObjective.LanguageModelSupervision(), Options, _world.Examples, start: start);
    }

    /// <summary>What a folder means to stand before queries is the tower's, too, and goes with it.</summary>
    [Fact]
    public void A_tower_keeps_the_prompts_of_its_embedder()
    {
        Dictionary<string, string> prompts = new() { ["query"] = "query: ", ["document"] = "passage: " };
        using TextEmbedder passages = new(new TextEncoder(EmbeddingInputs.Tiny, 3), Tokenizer, prompt: "passage: ");
        passages.Save(_world["prompted"]);
        string name = "config_sentence_transformers.json";
        File.WriteAllText(
            Path.Combine(_world["prompted"], name),
            """{"prompts":{"query":"query: ","document":"passage: "},"default_prompt_name":"document"}""");
        using TextEmbedder prompted = TextEmbedder.Load(_world["prompted"]);
        Assert.Equal(prompts, prompted.Prompts);
        using RetrieverTower tower = new(prompted, Tokenizer);
        using TextEmbedder exported = tower.Export();
        Assert.Equal(prompts, exported.Prompts);
        exported.Save(_world["exported"]);
        using TextEmbedder again = TextEmbedder.Load(_world["exported"]);
        Assert.Equal(prompts, again.Prompts);
        Assert.Equal("passage: ", again.Prompt);
    }

    /// <summary>Of one passage there is nothing to prefer.</summary>
    [Fact]
    public void A_training_without_any_gradient_ends_and_says_why()
    {
        RetrieverTrainingOptions one = Options with { Neighbors = 1 };
        using (RetrieverTrainer trainer = _world.Trainer(RetrieverObjective.PerplexityDistillation(), one))
        {
            TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(cancellationToken: TestContext.Current.CancellationToken));
            Assert.Contains("4 steps have taught nothing", fault.Message, StringComparison.Ordinal);
            Assert.Contains("Raise Neighbors (1)", fault.Message, StringComparison.Ordinal);
        }

        using (RetrieverTrainer trainer = _world.Trainer(RetrieverObjective.PerplexityDistillation(), one with { Steps = 300 }),
            resumed = _world.Trainer(RetrieverObjective.PerplexityDistillation(), one))
        {
            Assert.Throws<TrainingException>(() => trainer.Run(cancellationToken: TestContext.Current.CancellationToken));
            Assert.Equal(100, trainer.StepsDone);
            trainer.Save(_world["idle"]);
            resumed.Load(_world["idle"]);
            Assert.Throws<TrainingException>(() => resumed.Step(TestContext.Current.CancellationToken));
        }

        foreach ((RetrieverObjective objective, RetrieverTrainingOptions options) in new[]
            { (RetrieverObjective.Realm, one), (RetrieverObjective.PerplexityDistillation(), one with { InBatchNegatives = true }) })
        {
            using RetrieverTrainer trainer = _world.Trainer(objective, options);
            trainer.Run(cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(4, trainer.StepsDone);
        }
    }

    /// <summary>They have its key, and no tower can score one above the other.</summary>
    [Fact]
    public void A_copy_of_a_passage_is_no_negative_of_its_row()
    {
        using RetrieverWorld world = new(_ => [.. Enumerable.Range(0, 12).Select(i => new Document($"p{i}", "", "klmnopqrst", ""))]);
        RandomNeighborSource chance = new(world.Passages);
        double[] losses = [.. new[] { false, true }.Select(negatives =>
        {
            using RetrieverTrainer trainer = new(
                world.Embedder,
                Tokenizer,
                world.Source,
                Reader(),
                RetrieverObjective.Emdr2,
                Options with { InBatchNegatives = negatives },
                world.Examples,
                alongside: chance);
            return trainer.Step(TestContext.Current.CancellationToken).Loss;
        })];
        Assert.Equal(losses[0], losses[1], 1e-4);
    }

    [Fact]
    public void A_checkpoint_of_another_reader_is_refused_and_one_that_names_none()
    {
        string path = Path.Combine(_world["saved"], RetrieverTrainer.StateFile);
        using RetrieverTrainer trainer = _world.Trainer();
        using RetrieverTrainer other = new(
            _world.Embedder, Tokenizer, _world.Source, new UnigramReader(Tokenizer.VocabularySize, 4, name: "others"), trainer.Objective, Options,
            _world.Examples);
        trainer.Save(_world["saved"]);
        Assert.Contains(
            "reader unigrams (now: others)",
            Assert.Throws<CheckpointException>(() => other.Load(_world["saved"])).Message,
            StringComparison.Ordinal);
        Change(path, state => state["Settings"]!.AsObject().Remove("reader"));
        Assert.Contains(
            "reader none (now: unigrams)", Assert.Throws<CheckpointException>(() => trainer.Load(_world["saved"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_checkpoint_is_gone_on_with_by_a_reader_of_the_same_weights_alone()
    {
        using RetroModel model = Decoder(1), same = Decoder(1), fitted = Decoder(2);
        using RetrieverTrainer trainer = Of(model), again = Of(same), other = Of(fitted);
        trainer.Save(_world["saved"]);
        again.Load(_world["saved"]);
        Assert.Contains(
            "reader's weights", Assert.Throws<CheckpointException>(() => other.Load(_world["saved"])).Message, StringComparison.Ordinal);

        // One that was saved before a reader's identity named the configuration, too.
        Change(
            Path.Combine(_world["saved"], RetrieverTrainer.StateFile),
            state => state["Settings"]!["reader's weights and settings"] = InContext(model).IdentityOf(version: 1));
        again.Load(_world["saved"]);
        Assert.Throws<CheckpointException>(() => other.Load(_world["saved"]));

        // What was trained besides the model counts, too.
        using DecoupledReader own = Fresh(3), alike = Fresh(3), fittedOtherwise = Fresh(4);
        using RetrieverTrainer first = With(own), second = With(alike), third = With(fittedOtherwise);
        first.Save(_world["own"]);
        second.Load(_world["own"]);
        Assert.Contains("reader's weights", Assert.Throws<CheckpointException>(() => third.Load(_world["own"])).Message, StringComparison.Ordinal);

        // So do what is set of a reader, what it is made over, and the database that it looks into.
        InContextOptions options = new() { Neighbors = 4 };
        using ChunkDatabase further = _world.Build("further", RetrieverWorld.Texts("a", 3, new Random(5)));
        TokenIndex passages = TokenIndex.Build(_world.Passages), others = TokenIndex.Build(further);
        (IReader One, IReader Other)[] pairs =
        [
            (Rule(new DecoderReader(model), 0.5), Rule(new DecoderReader(fitted), 0.5)),
            (Rule(new DecoderReader(model), 0.5), Rule(new DecoderReader(model), 0.4)),
            (Rule(Runs(passages, 0.5), 0.5), Rule(Runs(passages, 0.4), 0.5)), (Rule(Runs(passages, 0.5), 0.5), Rule(Runs(others, 0.5), 0.5)),
            (new InContextReader(model, Tokenizer, options), new InContextReader(model, Tokenizer, options with { PrefixLength = 99 })),
            (new EnsembleReader(model, Tokenizer, options, 1), new EnsembleReader(model, Tokenizer, options, 2)),
        ];
        foreach ((IReader one, IReader another) in pairs)
        {
            using RetrieverTrainer saved = With(one), alikeAgain = With(one), otherwise = With(another);
            saved.Save(_world["set"]);
            alikeAgain.Load(_world["set"]);
            Assert.Contains("reader's weights", Assert.Throws<CheckpointException>(() => otherwise.Load(_world["set"])).Message, StringComparison.Ordinal);
        }

        IReader Rule(IReader reader, double precision)
            => new PointerReader(reader, new(4, M, 2 * M, [.. Enumerable.Repeat(precision, PointerRule.LongestRun)]));

        RunReader Runs(TokenIndex index, double precision)
            => new(new DecoderReader(model), index, [.. Enumerable.Repeat(precision, TokenIndex.LongestRun)]);

        DecoupledReader Fresh(long seed) => DecoupledReader.Fresh(model, new() { Neighbors = 4, Seed = seed }, _world.Source.Database.ChunkLength);

        IReader InContext(RetroModel read) => new InContextReader(read, Tokenizer, new() { Neighbors = 4 });

        RetrieverTrainer Of(RetroModel read) => With(InContext(read));

        RetrieverTrainer With(IReader reader) => new(
            _world.Embedder, Tokenizer, _world.Source, reader, RetrieverObjective.Emdr2, Options, _world.Examples);

        static RetroModel Decoder(long seed)
        {
            manual_seed(seed);
            return new(Readers.TinyRetro.Config with { Retrieval = null, VocabularySize = Tokenizer.VocabularySize });
        }
    }

    /// <summary>A checkpoint of before the index was first made anew holds none; what was made since is not its own.</summary>
    [Fact]
    public void A_checkpoint_of_before_the_index_was_made_anew_goes_on_as_in_a_trainer_of_its_own()
    {
        RetrieverTrainingOptions options = Options with { Steps = 5, RefreshEvery = 3 };
        List<RetrieverTrainingProgress> expected = [], came = [];
        using (RetrieverTrainer trainer = _world.Trainer(options: options))
        {
            trainer.Step(TestContext.Current.CancellationToken);
            trainer.Save(_world["early"]);
            trainer.Run(cancellationToken: TestContext.Current.CancellationToken);
            trainer.Load(_world["early"]);
            Assert.Equal((1, 1), (trainer.StepsDone, trainer.IndexAge));
            trainer.Run(new Reports<RetrieverTrainingProgress>(came.Add), TestContext.Current.CancellationToken);
        }

        using (RetrieverTrainer trainer = _world.Trainer(options: options))
        {
            trainer.Load(_world["early"]);
            trainer.Run(new Reports<RetrieverTrainingProgress>(expected.Add), TestContext.Current.CancellationToken);
        }

        Assert.Equal(4, came.Count);
        Assert.Equal(expected, came);
    }

    [Theory]
    [InlineData(0, 1_000_000)]
    [InlineData(0, -1)]
    [InlineData(1_000_000, 0)]
    [InlineData(-1, 0)]
    [InlineData(0, 1)] // of its own document, in which its target stands
    public void A_chain_that_is_where_it_cannot_be_is_refused(long example, long passage)
    {
        Document[] texts = [.. Texts("e", 8, new Random(2))];
        using RetrieverWorld world = new(_ => texts, _ => texts);
        using RetrieverTrainer trainer = new(
            world.Embedder, Tokenizer, world.Source, Reader(), RetrieverObjective.JointStochastic(), Options);
        trainer.Step(TestContext.Current.CancellationToken);
        trainer.Save(world["saved"]);
        trainer.Load(world["saved"]);
        Change(Path.Combine(world["saved"], RetrieverTrainer.StateFile), state => state["Chains"]!.AsObject()[$"{example}"] = passage);
        Assert.Contains(
            $"the chain of example {example} at passage {passage}",
            Assert.Throws<CheckpointException>(() => trainer.Load(world["saved"])).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void An_objective_of_ones_own_is_given_what_it_asks_for()
    {
        int asked = 0;
        RetrieverObjective own = new(
            "own",
            batch =>
            {
                asked++;
                Assert.Equal([6L, batch.Scores.shape[1], M], batch.WithoutLikelihoods!.shape);
                Assert.Equal([6L, M], batch.NullLikelihoods!.shape);
                Assert.Equal([6L], batch.NullScores!.shape);
                Assert.Equal(batch.Scores.shape, batch.PosteriorScores!.shape);
                return batch.Scores.sum(1);
            },
            RetrieverInputs.Null | RetrieverInputs.LeaveOneOut | RetrieverInputs.Posterior);
        using RetrieverTrainer trainer = new(_world.Embedder, Tokenizer, _world.Source, Reader(8), own, Options, _world.Examples),
            wrong = new(_world.Embedder, Tokenizer, _world.Source, Reader(), new("wrong", batch => batch.Scores), Options, _world.Examples);

        trainer.Step(TestContext.Current.CancellationToken);

        Assert.Equal(1, asked);
        Assert.Contains("wrong", Assert.Throws<ShapeException>(() => wrong.Step(TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);
    }

    /// <summary>
    /// Scores are those of the towers' vectors and the passages' keys, over the temperature; likelihoods those with each passage, with the others of its row,
    /// and with none.
    /// </summary>
    [Theory]
    [InlineData(VectorMetric.SquaredL2, false)]
    [InlineData(VectorMetric.InnerProduct, true)]
    public void An_objective_is_given_scores_and_likelihoods_by_their_definition(VectorMetric metric, bool negatives)
    {
        const double temperature = 0.2;
        using RetrieverWorld world = new(); // its index is made anew
        using DenseNeighborSource source = DenseNeighborSource.Build(
            world.Passages, new ChunkKeyer(Tokenizer, world.Embedder), new() { Metric = metric });
        RetrieverExamples? drawn = null;
        double[] scores = [], posterior = [], empty = [], each = [], without = [], none = [], targets = [];
        bool[] present = [];
        RetrieverObjective own = new(
            "own",
            batch =>
            {
                drawn = batch.Examples;
                (scores, posterior, empty) = (batch.Scores.Doubles(), batch.PosteriorScores!.Doubles(), batch.NullScores!.Doubles());
                (each, without, none) = (batch.Likelihoods.Doubles(), batch.WithoutLikelihoods!.Doubles(), batch.NullLikelihoods!.Doubles());
                (targets, present) = (batch.Targets.Doubles(), batch.Present.reshape(-1).data<bool>().ToArray());
                return batch.Scores.sum(1);
            },
            RetrieverInputs.Null | RetrieverInputs.LeaveOneOut | RetrieverInputs.Posterior);
        RetrieverTrainingOptions options = Options with { BatchSize = 16, Temperature = temperature, InBatchNegatives = negatives };
        using RetrieverTrainer trainer = new(world.Embedder, Tokenizer, source, Reader(8), own, options, world.Examples);

        RetrieverTrainingProgress done = trainer.Step(TestContext.Current.CancellationToken);

        Assert.NotNull(drawn);
        int most = drawn.Passages[0].Length, length = (int)targets.Max();
        Assert.True(targets.Distinct().Count() > 1);
        using RetrieverTower tower = new(world.Embedder, Tokenizer);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        float[] nothing = Vector(tower.Read(""));
        double utility = 0;
        for (int row = 0; row < drawn.Chunks.Length; row++)
        {
            long example = drawn.Chunks[row];
            long[] passages = [.. drawn.Passages[row].Where(chunk => chunk >= 0)];
            int[] target = world.Examples.OwnTokens(example + 1).ToArray();
            float[] asked = Vector(tower.Read(world.Examples, example)), known = Vector(tower.ReadWithTarget(world.Examples, example));
            Assert.Equal(target.Length, (int)targets[row]);
            Assert.Equal(Score(asked, nothing), empty[row], 1e-4);
            AssertLikelihoods(target, [], none.AsSpan(row * length, length));
            double worthless = none[(row * length)..((row + 1) * length)].Sum(), worth = Math.Exp(empty[row] + worthless), all = Math.Exp(empty[row]);
            for (int z = 0; z < most; z++)
            {
                int at = (row * most) + z;
                Assert.Equal(z < passages.Length, present[at]);
                if (present[at])
                {
                    float[] key = Vector(tower.Read(world.Passages, passages[z]));
                    Assert.Equal(Score(asked, key), scores[at], 1e-4);
                    Assert.Equal(Score(known, key), posterior[at], 1e-4);
                    AssertLikelihoods(target, [passages[z]], each.AsSpan(at * length, length));
                    AssertLikelihoods(target, [.. passages.Where(chunk => chunk != passages[z])], without.AsSpan(at * length, length));
                    worth += Math.Exp(scores[at] + each[(at * length)..((at + 1) * length)].Sum());
                    all += Math.Exp(scores[at]);
                }
            }

            utility += (Math.Log(worth / all) - worthless) / drawn.Chunks.Length;
        }

        Assert.Equal(utility, done.Utility!.Value, 1e-3);

        float[] Vector(int[] read) => tower.Vectors([read]).Floats();

        double Score(float[] query, float[] key)
            => query.Zip(key).Sum(pair => metric == VectorMetric.SquaredL2
                ? -0.5 * Math.Pow((double)pair.First - pair.Second, 2) : (double)pair.First * pair.Second) / temperature;

        int[] Passage(long chunk) => world.Passages.Continuation(chunk) is >= 0 and var next
            ? [.. world.Passages.OwnTokens(chunk), .. world.Passages.OwnTokens(next)] : world.Passages.OwnTokens(chunk).ToArray();

        void AssertLikelihoods(int[] target, long[] read, ReadOnlySpan<double> came)
        {
            int[] tokens = [.. read.SelectMany(chunk => Passage(chunk))];
            double uniform = 1.0 / Tokenizer.VocabularySize;
            for (int place = 0; place < came.Length; place++)
            {
                double expected = place >= target.Length ? 0
                    : Math.Log(read.Length == 0 ? uniform : (uniform + ((double)tokens.Count(token => token == target[place]) / tokens.Length)) / 2);
                Assert.Equal(expected, came[place], 1e-9);
            }
        }
    }

    /// <summary>By the negatives of the batch the towers would move all the same, and nobody would see that the objective is idle.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_objective_from_which_nothing_can_be_learned_is_refused(bool inBatchNegatives)
    {
        RetrieverTrainingOptions options = Options with { InBatchNegatives = inBatchNegatives };
        RetrieverObjective idle = new("idle", batch => batch.Likelihoods.sum(2).sum(1)), none = new("none", _ => null!);
        using RetrieverTrainer first = new(_world.Embedder, Tokenizer, _world.Source, Reader(), idle, options, _world.Examples),
            second = new(_world.Embedder, Tokenizer, _world.Source, Reader(), none, options, _world.Examples);

        Assert.Contains(
            "idle gives a loss that does not depend on the scores",
            Assert.Throws<TrainingException>(() => first.Step(TestContext.Current.CancellationToken)).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "none gives no loss",
            Assert.Throws<TrainingException>(() => second.Step(TestContext.Current.CancellationToken)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>The reader is asked for the next chunk, after the chunks before it in its document, and has the passages at the last of them.</summary>
    [Fact]
    public void What_the_reader_is_asked_is_what_a_model_says_of_the_same_text()
    {
        RetrievalConfig retrieval = TinyRetro.Config.Retrieval! with { ChunkLength = M, RetrievedLength = 2 * M };
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = Tokenizer.VocabularySize, Retrieval = retrieval });
        PassageReading reading = new(new RetroReader(model, 2), _world.Examples, _world.Passages, 3 * M);
        DocumentEntry document = _world.Examples.Documents.First(entry => entry.ChunkCount >= 4);
        long example = document.FirstChunk + 2;
        long[] passages = [3, 7];

        double[][] came = reading.LogLikelihoods([(example, passages), (document.FirstChunk, []), (example, [7])], TestContext.Current.CancellationToken);

        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        int count = _world.Examples.TokenCount(example + 1);
        Tensor Text(int first, int length) => tensor(
            [
                .. Enumerable.Range(first, 3).SelectMany(i => _world.Examples.Tokens(document.FirstChunk + i).ToArray()).Take(length)
                    .Select(token => (long)token)
            ]).unsqueeze(0);
        Tensor text = Text(1, (2 * M) + count);
        Assert.Equal(Expected(text, passages, count), came[0], (x, y) => Math.Abs(x - y) < 1e-4);
        Assert.Equal(Expected(text, [7, -1], count), came[2], (x, y) => Math.Abs(x - y) < 1e-4);
        Assert.Equal(Expected(Text(0, 2 * M), null, M), came[1], (x, y) => Math.Abs(x - y) < 1e-4);

        double[] Expected(Tensor tokens, long[]? read, int targets)
        {
            int chunks = (int)(tokens.shape[1] / M), last = (int)((tokens.shape[1] - targets) / M) - 1;
            RetrievedTokens retrieved = new(1, chunks, 2, 2 * M);
            retrieved.Take(0, last, _world.Passages, read ?? []);
            (Tensor? neighbors, Tensor? valid) = retrieved.ToTensors();
            Tensor likelihoods = LogLikelihood.Of(model, tokens, neighbors, valid);
            return likelihoods[0].narrow(0, tokens.shape[1] - targets - 1, targets).to_type(ScalarType.Float64).data<double>().ToArray();
        }
    }

    /// <summary>A reader that asks for neighbors anew within a chunk has the passages for all of the target, as one that has them once a chunk.</summary>
    [Fact]
    public void A_reader_with_stretches_reads_the_passages_all_through_the_target()
    {
        (long, long[])[] rows =
        [
            .. Enumerable.Range(0, 60).Where(chunk => _world.Examples.Continuation(chunk) >= 0).Select(chunk => ((long)chunk, new long[] { 3, 8 })),
        ];
        double[][] Read(int? chunkLength) => new PassageReading(
            new UnigramReader(Tokenizer.VocabularySize, 4, chunkLength), _world.Examples, _world.Passages, 3 * M).LogLikelihoods(
                rows, TestContext.Current.CancellationToken);
        HashSet<long> there = [.. new long[] { 3, 4, 8, 9 }.SelectMany(chunk => _world.Passages.Tokens(chunk).ToArray()).Select(token => (long)token)];

        double[][] whole = Read(null), stretches = Read(M / 4);

        Assert.Equal(whole, stretches);
        double uniform = Math.Log(0.5 / Tokenizer.VocabularySize);
        for (int i = 0; i < rows.Length; i++)
        {
            int[] target = _world.Examples.Tokens(rows[i].Item1 + 1)[.._world.Examples.TokenCount(rows[i].Item1 + 1)].ToArray();
            Assert.Equal(target.Length, whole[i].Length);
            Assert.All(target.Zip(whole[i]), pair => Assert.True(there.Contains(pair.First) || Math.Abs(pair.Second - uniform) < 1e-12));
        }

        Assert.Contains(whole, row => row.Any(likelihood => likelihood > uniform + 1));
    }

    [Fact]
    public void A_tower_that_is_still_the_embedder_finds_what_dense_retrieval_finds_under_a_name_of_its_own()
    {
        using TextEmbedder queries = new RetrieverTower(_world.Embedder, Tokenizer).Export();
        TowerNeighborSource tower = new(_world.Source, new ChunkKeyer(Tokenizer, queries));
        NeighborQuery[] asked = [.. Enumerable.Range(0, 9).Select(i => new NeighborQuery(_world.Examples.Tokens(i).ToArray(), [i]))];
        long[] expected = new long[45], came = new long[45];
        float[] scores = new float[45], cameScores = new float[45];
        _world.Source.Find(asked, 5, expected, scores);
        tower.Find(asked, 5, came, cameScores);

        Assert.Equal(expected, came);
        Assert.Equal(scores, cameScores);
        Assert.Same(_world.Passages, tower.Database);
        Assert.NotEqual(_world.Source.Identity, tower.Identity);
        using TextEmbedder small = new(new TextEncoder(EmbeddingInputs.Tiny with { Width = 16 }), Tokenizer);
        Assert.Contains(
            "keys of 32 numbers",
            Assert.Throws<ArgumentException>(() => new TowerNeighborSource(_world.Source, new ChunkKeyer(Tokenizer, small))).Message,
            StringComparison.Ordinal);
    }

    /// <summary>Context and target are both read where both fit; where not, the context loses its front first.</summary>
    [Fact]
    public void A_posterior_reads_the_target_whole_before_the_context()
    {
        using RetrieverTower tower = new(_world.Embedder, Tokenizer);
        long example = Enumerable.Range(0, 99).First(chunk => _world.Examples.Continuation(chunk) >= 0);
        int[] context = tower.Read(_world.Examples, example), target = tower.Read(_world.Examples, example + 1);
        int[] read = tower.ReadWithTarget(_world.Examples, example);

        Assert.True(context.Length + target.Length - 1 <= EmbeddingInputs.Tiny.MaximumLength);
        Assert.Equal([.. context, .. target[1..]], read);
        using TextEmbedder narrow = new(new TextEncoder(EmbeddingInputs.Tiny with { MaximumLength = target.Length + 3 }), Tokenizer);
        using RetrieverTower cut = new(narrow, Tokenizer);
        Assert.Equal([context[0], .. context[^3..], .. target[1..]], cut.ReadWithTarget(_world.Examples, example));
        using TextEmbedder tiny = new(new TextEncoder(EmbeddingInputs.Tiny with { MaximumLength = 5 }), Tokenizer);
        using RetrieverTower least = new(tiny, Tokenizer);
        Assert.Equal([target[0], .. target[1..4], target[^1]], least.ReadWithTarget(_world.Examples, example));
    }

    [Fact]
    public void The_recall_of_the_next_chunk_is_what_counting_gives()
    {
        long[] given = [0, 5];
        GivenNeighborSource source = new(_world.Passages, given);

        NextChunkRecall recall = NextChunkRecall.Measure(source, _world.HeldOut, 2, cancellationToken: TestContext.Current.CancellationToken);

        HashSet<int> there = [];
        foreach (long chunk in given)
        {
            there.UnionWith(Text(_world.Passages, chunk));
            there.UnionWith(_world.Passages.Continuation(chunk) is >= 0 and var next ? Text(_world.Passages, next) : []);
        }

        // That a text ends is nothing to be found.
        int end = RetrieverWorld.Tokenizer.EndOfText, ends = 0;
        long found = 0, wanted = 0, queries = 0;
        for (long chunk = 0; chunk < _world.HeldOut.ChunkCount; chunk++)
        {
            if (_world.HeldOut.Continuation(chunk) >= 0)
            {
                int[] fresh = [.. Text(_world.HeldOut, chunk + 1).Except(Text(_world.HeldOut, chunk)).Where(token => token != end).Distinct()];
                ends += Text(_world.HeldOut, chunk + 1).Contains(end) ? 1 : 0;
                (found, wanted, queries) = (found + fresh.Count(there.Contains), wanted + fresh.Length, queries + 1);
            }
        }

        Assert.True(ends > 0);
        Assert.Equal((double)found / wanted, recall.Value, 1e-12);
        Assert.Equal((queries, found, wanted), (recall.Queries, recall.Documents.Sum(sum => sum.Found), recall.Documents.Sum(sum => sum.Wanted)));
        Assert.Throws<DatabaseException>(() => NextChunkRecall.Measure(source, _world.Passages, 2));

        static int[] Text(ChunkDatabase database, long chunk) => database.Tokens(chunk)[..database.TokenCount(chunk)].ToArray();
    }

    /// <summary>Changes what a checkpoint says besides its tensors.</summary>
    private static void Change(string path, Action<JsonNode> change)
    {
        Dictionary<string, Tensor> tensors;
        JsonNode state;
        using (Safetensors file = Safetensors.Open(path))
        {
            tensors = file.Entries.ToDictionary(entry => entry.Name, entry => file.Read(entry.Name));
            state = JsonNode.Parse(file.Metadata!["retriever"])!;
        }

        change(state);
        Safetensors.Write(path, tensors, new Dictionary<string, string> { ["retriever"] = state.ToJsonString() });
        Array.ForEach([.. tensors.Values], tensor => tensor.Dispose());
    }

    [Fact]
    public void No_tensor_is_left_behind()
    {
        using RetrieverTrainer trainer = _world.Trainer(RetrieverObjective.JointStochastic());
        trainer.Step(TestContext.Current.CancellationToken);
        long before = LiveTensors.Settled();
        trainer.Step(TestContext.Current.CancellationToken);
        trainer.Step(TestContext.Current.CancellationToken);
        Assert.Equal(before, LiveTensors.Settled());
    }
}
