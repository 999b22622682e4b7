using Retro.Corpora;
using Retro.Embedders;
using Retro.Retrievers;
using Retro.Tests.Embedders;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Retrievers;

public class InverseClozeTrainerTests
{
    private const int Topics = 12, Apart = 1000;

    private static readonly InverseClozeOptions s_short = new() { Steps = 2, BatchSize = 4, WindowLength = 16 };

    private static readonly string[] s_alphabets = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"];

    // Every character stands once, so that a token tells its text and its place: place i of text d is d * Apart + i.
    private static readonly Dictionary<int, int> s_places = s_alphabets
        .SelectMany((text, document) => EmbeddingInputs.Tokenizer.Encode(text).Select((token, place) => (token, (document * Apart) + place)))
        .ToDictionary();

    /// <summary>The two halves of a text have no word in common; that they belong together is in the corpus alone.</summary>
    [Fact]
    public void It_learns_what_belongs_together()
    {
        Random random = new(4);
        List<Document> corpus = Enumerable.Range(0, 240)
            .Select(i => TopicText(i % Topics, random))
            .Select((parts, i) => new Document($"{i}", "", parts.First + parts.Second, ""))
            .ToList();
        (string First, string Second)[] heldOut = Enumerable.Range(0, Topics * 4).Select(i => TopicText(i % Topics, random)).ToArray();
        InverseClozeOptions options = new() { Steps = 60, BatchSize = 24, WindowLength = 40, LearningRate = 3e-3, ClozeShare = 0.3 };
        using TextEmbedder untrained = new(new TextEncoder(EmbeddingInputs.Tiny, options.Seed), EmbeddingInputs.Tokenizer);

        using TextEmbedder trained = InverseClozeTrainer.Train(
            corpus, EmbeddingInputs.Tokenizer, EmbeddingInputs.Tiny, options, cancellationToken: TestContext.Current.CancellationToken);

        double before = Recall(untrained, heldOut);
        double after = Recall(trained, heldOut);
        TestContext.Current.SendDiagnosticMessage(
            $"Recall of held-out texts among {Topics} topics: untrained {before:F3}, trained {after:F3}, chance {1.0 / Topics:F3}.");
        Assert.True(after > 0.8, $"recall {after} after training");
        Assert.True(after > before + 0.3, $"recall {before} before, {after} after training");
    }

    [Theory]
    [InlineData(0, 100, 0.2)]
    [InlineData(0.025, 100, 0.5)]
    [InlineData(0.05, 100, 1)]
    [InlineData(0.05, 3, 0.4)] // of the first ten steps
    [InlineData(0.525, 100, 0.5)]
    [InlineData(1, 100, 0)]
    public void The_rate_rises_over_a_twentieth_and_falls_to_nothing_along_a_cosine(double done, long step, double expected)
        => Assert.Equal(expected, InverseClozeTrainer.Rate(done, step), 1e-12);

    [Fact]
    public void Of_a_corpus_that_memory_does_not_hold_documents_are_chosen_at_random()
    {
        string[] texts = [.. Enumerable.Range(0, 400).Select(i => $"{i:d100}")];
        Assert.Equal(texts, Chosen(40_000));
        Assert.Equal(2, Chosen(1).Length);
        string[] some = Chosen(5099);
        Assert.Equal(50, some.Length);
        Assert.Equal(some.Order(StringComparer.Ordinal), some);
        Assert.InRange(some.Count(text => string.CompareOrdinal(text, texts[200]) < 0), 13, 37);
        Assert.Equal(some, Chosen(5099));
        Assert.InRange(some.Intersect(Chosen(5099, seed: 1)).Count(), 0, 20);

        string[] Chosen(long most, long seed = 0) => ChosenOf(texts, most, seed);
    }

    /// <summary>Whichever random number it has: a stretch of it is kept, and nearly all of the others are.</summary>
    [Fact]
    public void A_document_that_is_longer_than_all_that_is_kept_does_not_push_out_the_others()
    {
        string[] texts = [.. Enumerable.Range(0, 400).Select(i => $"{i:d100}")];
        string great = string.Concat(Enumerable.Range(0, 20_000).Select(i => $"{i:d6}"));
        int stretches = 0;
        HashSet<string> beginnings = [];
        for (long seed = 0; seed < 20; seed++)
        {
            string[] chosen = ChosenOf([.. texts[..200], great, .. texts[200..]], 40_000, seed);
            string[] stretch = [.. chosen.Except(texts)];
            stretches += stretch.Length;
            Assert.InRange(chosen.Length - stretch.Length, 375, 400);
            Assert.All(stretch, one => Assert.Equal(2500, one.Length));
            Assert.All(stretch, one => Assert.Contains(one, great, StringComparison.Ordinal));
            beginnings.UnionWith(stretch.Select(one => one[..20]));
        }

        Assert.InRange(stretches, 10, 20);
        Assert.Equal(stretches, beginnings.Count);
    }

    [Fact]
    public void A_text_that_stands_in_several_documents_is_one()
    {
        string[] texts = [.. Enumerable.Range(0, 40).Select(i => $"{i:d100}")];
        Assert.Equal(texts, ChosenOf([.. texts, .. texts, texts[3]], 40_000));
        Assert.Equal(texts, ChosenOf([.. texts.SelectMany(text => new[] { text, text })], 4000));
        InverseClozePairs pairs = new(
            Enumerable.Range(0, 8).Select(i => new Document($"{i}", "", s_alphabets[i % 2], "")),
            EmbeddingInputs.Tokenizer,
            EmbeddingInputs.Tiny.MaximumLength,
            s_short,
            TestContext.Current.CancellationToken);
        for (int draw = 0; draw < 50; draw++)
        {
            InverseClozePairs.Batch batch = pairs.Next();
            int[] drawn = [.. Enumerable.Range(0, s_short.BatchSize).Select(row => Places(batch.Left, row)[0] / Apart)];
            for (int i = 0; i < drawn.Length; i++)
            {
                for (int j = 0; j < drawn.Length; j++)
                {
                    Assert.Equal(i != j && drawn[i] == drawn[j], batch.Barred?[(i * drawn.Length) + j] ?? false);
                }
            }
        }
    }

    /// <summary>On real text: a held-out passage finds the one that stood a few lines further in the same document.</summary>
    [Fact]
    [Trait("Category", "Long")]
    public void On_real_text_it_beats_the_untrained_encoder_and_chance()
    {
        List<Document> all = Corpus.Open(Fixtures.SharedPath("data/powershell-docs")).Documents().Where((_, i) => i % 2 == 0).ToList();
        List<Document> training = all.Where((_, i) => i % 4 != 0).ToList();
        RetroTokenizer tokenizer = EmbeddingInputs.TrainTokenizer(training.Take(20).Select(document => document.Text), 600);
        (string, string)[] heldOut = all.Where((_, i) => i % 4 == 0).Select(document => tokenizer.Encode(document.Text)).Where(tokens => tokens.Length >= 500)
            .Select(tokens => (tokenizer.Decode(tokens.AsSpan(300, 62)), tokenizer.Decode(tokens.AsSpan(400, 62)))).ToArray();
        TextEncoderConfig config = EmbeddingInputs.Tiny with { VocabularySize = tokenizer.VocabularySize, MaximumPositions = 64, MaximumLength = 64 };
        InverseClozeOptions options = new() { Steps = 200, BatchSize = 32, LearningRate = 3e-3 };
        using TextEmbedder untrained = new(new TextEncoder(config, options.Seed), tokenizer);

        using TextEmbedder trained = InverseClozeTrainer.Train(training, tokenizer, config, options, cancellationToken: TestContext.Current.CancellationToken);

        double chance = Enumerable.Range(1, heldOut.Length).Sum(rank => 1.0 / rank) / heldOut.Length;
        double before = ReciprocalRank(untrained, heldOut);
        double after = ReciprocalRank(trained, heldOut);
        TestContext.Current.SendDiagnosticMessage(
            $"Mean reciprocal rank of {heldOut.Length} held-out passages: untrained {before:F3}, trained {after:F3}, chance {chance:F3}.");
        Assert.True(after > before + 0.03 && after > 2 * chance, $"mean reciprocal rank {before} before, {after} after training, {chance} by chance");
    }

    [Fact]
    public void The_same_seed_gives_the_same_embedder_and_another_seed_another()
    {
        string Identity(long seed)
        {
            using TextEmbedder embedder = InverseClozeTrainer.Train(
                Small(),
                EmbeddingInputs.Tokenizer,
                EmbeddingInputs.Tiny,
                s_short with { Seed = seed },
                cancellationToken: TestContext.Current.CancellationToken);
            return embedder.Identity;
        }

        string first = Identity(1);
        torch.manual_seed(77); // nobody else's randomness counts

        Assert.Equal(first, Identity(1));
        Assert.NotEqual(first, Identity(2));
    }

    /// <summary>Else keys of it would rank by lengths, too, of which nothing was learned.</summary>
    [Fact]
    public void What_learns_by_cosines_makes_vectors_of_length_1()
    {
        using TextEmbedder embedder = InverseClozeTrainer.Train(
            Small(),
            EmbeddingInputs.Tokenizer,
            EmbeddingInputs.Tiny with { Normalize = false },
            s_short,
            cancellationToken: TestContext.Current.CancellationToken);
        float[] vector = new float[embedder.Dimensions];
        embedder.Embed(["The lighthouse stands on the cape."], vector, TestContext.Current.CancellationToken);
        Assert.Equal(1, Math.Sqrt(vector.Sum(value => (double)value * value)), 1e-5);
        Assert.True(embedder.Encoder.Config.Normalize);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_span_is_paired_with_the_rest_of_its_window_or_with_all_of_it(double keepSpan)
    {
        InverseClozeOptions options = s_short with { ClozeShare = 1, KeepSpan = keepSpan };
        InverseClozePairs pairs = Alphabets(options);
        HashSet<int> before = [], behind = [];
        for (int draw = 0; draw < 50; draw++)
        {
            InverseClozePairs.Batch batch = pairs.Next();
            for (int row = 0; row < options.BatchSize; row++)
            {
                int[] span = Places(batch.Left, row), right = Places(batch.Right, row);
                int first = Math.Min(span[0], right[0]), last = first + options.WindowLength - 1;
                int[] window = [.. Enumerable.Range(first, options.WindowLength)];
                Assert.InRange(span.Length, 2, 8); // an eighth of the window to a half
                Assert.Equal(Enumerable.Range(span[0], span.Length), span);
                Assert.InRange(span[^1], first, last);
                Assert.Equal(keepSpan == 1 ? window : [.. window.Except(span)], right);
                before.Add(span[0] - first);
                behind.Add(last - span[^1]);
            }
        }

        // A span may begin and end where its window does.
        Assert.Contains(0, before);
        Assert.Contains(0, behind);
    }

    [Fact]
    public void Parts_of_a_window_follow_each_other()
    {
        InverseClozeOptions options = s_short with { ClozeShare = 0, KeepSpan = 1 };
        InverseClozePairs pairs = Alphabets(options);
        for (int draw = 0; draw < 50; draw++)
        {
            InverseClozePairs.Batch batch = pairs.Next();
            for (int row = 0; row < options.BatchSize; row++)
            {
                int[] left = Places(batch.Left, row), right = Places(batch.Right, row);
                Assert.InRange(left.Length, 4, 12); // a quarter of the window to three
                Assert.Equal(Enumerable.Range(left[0], options.WindowLength), left.Concat(right));
            }
        }
    }

    /// <summary>What overlaps, or has less than a window between, is no negative of each other; the rest of the document is.</summary>
    [Fact]
    public void Rows_that_lie_near_each_other_in_one_document_are_marked_for_each_other_and_no_row_for_itself()
    {
        const int rows = 3, window = 8;
        Dictionary<string, int> seen = new() { ["near"] = 0, ["far"] = 0, ["other"] = 0, ["none"] = 0 };
        InverseClozePairs pairs = Alphabets(s_short with { BatchSize = rows, WindowLength = window, ClozeShare = 0 });
        for (int draw = 0; draw < 200; draw++)
        {
            InverseClozePairs.Batch batch = pairs.Next();
            int[] starts = [.. Enumerable.Range(0, rows).Select(row => Places(batch.Left, row)[0])];
            Assert.Equal(starts.Select(start => start / Apart), batch.Documents);
            seen["none"] += batch.Barred is null ? 1 : 0;
            for (int i = 0; i < rows; i++)
            {
                for (int j = 0; j < rows; j++)
                {
                    string kind = Math.Abs(starts[i] - starts[j]) is var apart && apart < 2 * window ? "near" : apart < Apart / 2 ? "far" : "other";
                    seen[kind] += i == j ? 0 : 1;
                    Assert.Equal(i != j && kind == "near", batch.Barred?[(i * rows) + j] ?? false);
                }
            }
        }

        Assert.DoesNotContain(0, seen.Values);
    }

    /// <summary>Where one document is most of the corpus, its windows are negatives of each other, and no step is without any.</summary>
    [Fact]
    public void One_long_document_teaches_something_by_itself()
    {
        string text = string.Join(' ', Enumerable.Range(0, 400));
        Document most = new("long", "", text, ""), rest = new("short", "", "Green tea is brewed below boiling heat.", "");
        foreach (Document[] corpus in new Document[][] { [most], [most, rest] })
        {
            List<double?> losses = [];
            using TextEmbedder embedder = InverseClozeTrainer.Train(
                corpus,
                EmbeddingInputs.Tokenizer,
                EmbeddingInputs.Tiny,
                s_short with { Steps = 6 },
                progress: new Reports<StageProgress>(progress => losses.Add(progress.Loss)),
                cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(6, losses.Count);
            Assert.All(losses, loss => Assert.True(loss > 0, $"loss {loss}"));
        }
    }

    [Fact]
    public void Text_of_which_no_pair_has_a_negative_is_refused()
    {
        string three = string.Concat(Enumerable.Repeat("q", 3 * 16_384));
        Document[] corpus = [new("most", "", three, ""), new("rest", "", "Green tea is brewed below boiling heat.", "")];
        CorpusException nowhere = Assert.Throws<CorpusException>(() => Train(corpus, new() { Steps = 2, BatchSize = 2, WindowLength = 16_384 }));
        Assert.Contains("of 100 batches of 2 pairs", nowhere.Message, StringComparison.Ordinal);
        CorpusException copies = Assert.Throws<CorpusException>(() => Train([corpus[1], corpus[1] with { Id = "copy" }], s_short));
        Assert.Contains("two different texts of 8 tokens, or one of 4 windows (16 tokens each); the corpus holds 1.", copies.Message, StringComparison.Ordinal);

        static void Train(Document[] documents, InverseClozeOptions options) => InverseClozeTrainer.Train(
            documents, EmbeddingInputs.Tokenizer, EmbeddingInputs.Tiny, options, cancellationToken: TestContext.Current.CancellationToken).Dispose();
    }

    [Fact]
    public void The_loss_equals_literal_code_and_ignores_what_is_barred()
    {
        using DisposeScope scope = NewDisposeScope();
        Random random = new(3);
        double[][] left = Enumerable.Range(0, 4).Select(_ => Enumerable.Range(0, 5).Select(_ => random.NextDouble() - 0.5).ToArray()).ToArray();
        double[][] right = Enumerable.Range(0, 4).Select(_ => Enumerable.Range(0, 5).Select(_ => random.NextDouble() - 0.5).ToArray()).ToArray();
        bool[] forbidden = new bool[16];
        forbidden[(0 * 4) + 2] = forbidden[(2 * 4) + 0] = true;
        double Cosine(int i, int j)
            => left[i].Zip(right[j], (x, y) => x * y).Sum() / Math.Sqrt(left[i].Sum(x => x * x) * right[j].Sum(x => x * x)) / 0.1;
        double expected = 0;
        for (int i = 0; i < 4; i++)
        {
            expected += Math.Log(Enumerable.Range(0, 4).Where(j => !forbidden[(i * 4) + j]).Sum(j => Math.Exp(Cosine(i, j)))) - Cosine(i, i);
            expected += Math.Log(Enumerable.Range(0, 4).Where(j => !forbidden[(j * 4) + i]).Sum(j => Math.Exp(Cosine(j, i)))) - Cosine(i, i);
        }

        Tensor loss = InverseClozeTrainer.Loss(
            torch.tensor(left.SelectMany(row => row).ToArray(), [4, 5]),
            torch.tensor(right.SelectMany(row => row).ToArray(), [4, 5]),
            torch.tensor(forbidden, [4, 4]),
            0.1);

        Assert.Equal(expected / 8, loss.item<double>(), 1e-12);
    }

    [Fact]
    public void Hard_negatives_are_what_the_left_side_has_to_tell_from_its_own_too()
    {
        using DisposeScope scope = NewDisposeScope();
        Random random = new(3);
        double[][] Vectors(int count)
            => [.. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, 5).Select(_ => random.NextDouble() - 0.5).ToArray())];
        double[][] left = Vectors(4), right = Vectors(4), hard = Vectors(3);
        bool[] forbidden = new bool[12];
        forbidden[(1 * 3) + 2] = true;
        double Cosine(double[] x, double[] y)
            => Math.Exp(x.Zip(y, (a, b) => a * b).Sum() / Math.Sqrt(x.Sum(a => a * a) * y.Sum(b => b * b)) / 0.1);
        double expected = 0;
        for (int i = 0; i < 4; i++)
        {
            double more = Enumerable.Range(0, 3).Where(j => !forbidden[(i * 3) + j]).Sum(j => Cosine(left[i], hard[j]));
            expected += Math.Log((right.Sum(other => Cosine(left[i], other)) + more) / Cosine(left[i], right[i]));
            expected += Math.Log(left.Sum(other => Cosine(other, right[i])) / Cosine(left[i], right[i]));
        }

        Tensor Matrix(double[][] rows) => torch.tensor(rows.SelectMany(row => row).ToArray(), [rows.Length, 5]);
        Tensor loss = InverseClozeTrainer.Loss(Matrix(left), Matrix(right), null, 0.1, Matrix(hard), torch.tensor(forbidden, [4, 3]));

        Assert.Equal(expected / 8, loss.item<double>(), 1e-12);
    }

    [Fact]
    public void Hard_negatives_are_the_nearest_windows_of_other_documents()
    {
        InverseClozeOptions options = s_short with { HardNegatives = 2, HardNegativePool = 20 };
        InverseClozePairs pairs = new(Small(), EmbeddingInputs.Tokenizer, 40, options, TestContext.Current.CancellationToken);
        using TextEncoder encoder = new(EmbeddingInputs.Tiny, 1);
        HardNegatives pool = HardNegatives.Draw(encoder, pairs, 20);
        using DisposeScope scope = NewDisposeScope();
        Tensor Encode(int window) => InverseClozeTrainer.Encode(encoder, pairs.Batched([pool.Framed(window)]), CPU).detach();

        (int[] chosen, bool[] same) = pool.Choose(Encode(4), [-1], 2);

        // A window's own vector is nearest to itself.
        Assert.Contains(4, chosen);
        Assert.Equal(2, chosen.Length);
        Assert.DoesNotContain(true, same);
        double[] cosines = [.. Enumerable.Range(0, 20).Select(i => nn.functional.cosine_similarity(Encode(4), Encode(i)).item<float>())];
        Assert.True(chosen.Min(i => cosines[i]) >= Enumerable.Range(0, 20).Except(chosen).Max(i => cosines[i]) - 1e-5);
        for (int document = 0; document < 3; document++)
        {
            (int[] others, bool[] own) = pool.Choose(cat([Encode(4), Encode(5)], 0), [document, (document + 1) % 3], 20);
            Assert.Equal(others.Length * 2, own.Length);
            Assert.Equal(20, others.Length);
            Assert.Contains(true, own[..20]);
            Assert.Contains(false, own[..20]);
            Assert.DoesNotContain(true, pool.Choose(Encode(4), [document], 20).SameDocument);
        }
    }

    [Fact]
    public void Training_with_hard_negatives_is_as_repeatable_and_gives_another_embedder()
    {
        string Identity(int hard)
        {
            using TextEmbedder embedder = InverseClozeTrainer.Train(
                Small(),
                EmbeddingInputs.Tokenizer,
                EmbeddingInputs.Tiny,
                s_short with { Steps = 3, HardNegatives = hard, HardNegativePool = 12, HardNegativeSteps = 2 },
                cancellationToken: TestContext.Current.CancellationToken);
            return embedder.Identity;
        }

        Assert.Equal(Identity(2), Identity(2));
        Assert.NotEqual(Identity(0), Identity(2));
    }

    [Fact]
    public void Time_ends_it_and_progress_tells_how_far_it_is()
    {
        SteppingClock time = new(TimeSpan.FromSeconds(3));
        List<StageProgress> told = [];

        using TextEmbedder embedder = InverseClozeTrainer.Train(
            Small(),
            EmbeddingInputs.Tokenizer,
            EmbeddingInputs.Tiny,
            s_short with { TimeBudget = TimeSpan.FromSeconds(20), Time = time },
            progress: new Reports<StageProgress>(told.Add),
            cancellationToken: TestContext.Current.CancellationToken);

        Assert.InRange(told.Count, 2, 6);
        Assert.All(told, progress => Assert.Equal(("train embedder", 20_000L), (progress.Stage, progress.Total)));
        Assert.True(told.Zip(told.Skip(1)).All(pair => pair.First.Done < pair.Second.Done || pair.Second.Done == 20_000));
        Assert.All(told, progress => Assert.InRange(progress.Loss!.Value, 1e-3, 1e3));
        Assert.False(embedder.Encoder.training);
    }

    [Fact]
    public void It_can_be_canceled_and_leaves_no_tensor_behind()
    {
        // What is made once for the process, such as scalars that are kept, is there after a first time.
        Run();
        long first = LiveTensors.Settled();
        for (int i = 0; i < 2; i++)
        {
            new TextEncoder(EmbeddingInputs.Tiny).Dispose();
        }

        // TorchSharp counts a tensor for each parameter of a module and does not take it off where the module is disposed of: those of the two encoders of a
        // run are no tensors that are left.
        long counted = LiveTensors.Settled() - first, before = LiveTensors.Settled();

        Run();

        Assert.Equal(before + counted, LiveTensors.Settled());

        static void Run()
        {
            using CancellationTokenSource source = new();
            Assert.Throws<OperationCanceledException>(() => InverseClozeTrainer.Train(
                Small(), EmbeddingInputs.Tokenizer, EmbeddingInputs.Tiny, s_short with { Steps = 100 }, progress: new Reports<StageProgress>(progress =>
                {
                    Assert.Equal(new StageProgress("train embedder", 1, 100), progress with { Loss = null });
                    source.Cancel();
                }), cancellationToken: source.Token));
            InverseClozeTrainer.Train(
                Small(), EmbeddingInputs.Tokenizer, EmbeddingInputs.Tiny, s_short, cancellationToken: TestContext.Current.CancellationToken).Dispose();
        }
    }

    [Fact]
    public void Too_little_text_is_refused()
    {
        CorpusException none = Assert.Throws<CorpusException>(() => Train([]));
        CorpusException one = Assert.Throws<CorpusException>(() =>
            Train([new Document("1", "", "", ""), new Document("2", "", "Tea", ""), new Document("3", "", "Green tea is brewed below boiling heat.", "")]));

        Assert.Contains("the corpus holds 0", none.Message, StringComparison.Ordinal);
        Assert.Contains("the corpus holds 1", one.Message, StringComparison.Ordinal);
        Assert.Contains("HashingEmbedder", one.Message, StringComparison.Ordinal);

        static TextEmbedder Train(IEnumerable<Document> documents)
            => InverseClozeTrainer.Train(documents, EmbeddingInputs.Tokenizer, EmbeddingInputs.Tiny, s_short);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(100_000)]
    public void Sizes_of_another_vocabulary_are_refused_before_anything_is_trained(int more)
    {
        TextEncoderConfig other = EmbeddingInputs.Tiny with { VocabularySize = EmbeddingInputs.Tokenizer.VocabularySize + more };
        CheckpointException fault = Assert.Throws<CheckpointException>(() => InverseClozeTrainer.Train(
            Unread(), EmbeddingInputs.Tokenizer, other, s_short, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Contains("the embedding of the encoder has", fault.Message, StringComparison.Ordinal);

        static IEnumerable<Document> Unread() => Enumerable.Range(0, 1).Select<int, Document>(_ => throw new InvalidOperationException("The corpus was read."));
    }

    [Fact]
    public void A_loss_that_is_no_number_ends_the_training_and_says_what_to_change()
    {
        TrainingException fault = Assert.Throws<TrainingException>(() => InverseClozeTrainer.Train(
            Small(), EmbeddingInputs.Tokenizer, EmbeddingInputs.Tiny, s_short with { Temperature = double.Epsilon }));
        Assert.Contains("The loss of step 0 is NaN", fault.Message, StringComparison.Ordinal);
        Assert.Contains("Temperature", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_fault_of_the_options_is_named()
    {
        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(() => new InverseClozeOptions
        {
            Steps = 0,
            TimeBudget = TimeSpan.Zero,
            BatchSize = 1,
            WindowLength = 7,
            ClozeShare = 1.1,
            KeepSpan = -1,
            Temperature = 0,
            LearningRate = double.NaN,
            WeightDecay = -1,
            HardNegatives = -1,
            HardNegativePool = 0,
            HardNegativeSteps = 0,
        }.Validate());

        Assert.Equal(12, exception.Faults.Count);
        Assert.Contains("Steps is 0; expected at least 1.", exception.Faults);
        new InverseClozeOptions().Validate();
    }

    private static List<Document> Small()
        => Enumerable.Range(0, 3).Select(i => new Document($"{i}", "", string.Join(' ', Enumerable.Range(i * 100, 30)), "")).ToList();

    private static string[] ChosenOf(string[] texts, long most, long seed = 0) =>
    [
        .. InverseClozePairs.Chosen(
            texts.Select(text => new Document("", "", text, "")), s_short with { MostCharacters = most, Seed = seed }, TestContext.Current.CancellationToken),
    ];

    private static InverseClozePairs Alphabets(InverseClozeOptions options)
        => new(
            s_alphabets.Select((text, i) => new Document($"{i}", "", text, "")),
            EmbeddingInputs.Tokenizer,
            EmbeddingInputs.Tiny.MaximumLength,
            options,
            TestContext.Current.CancellationToken);

    /// <summary>Where the tokens of a row stood, without its frame.</summary>
    private static int[] Places(TextBatch side, int row)
    {
        Assert.Null(side.Mask); // all rows are of one length
        long[] framed = side.Tokens[(row * side.Length)..((row + 1) * side.Length)];
        return [.. framed[1..^1].Select(token => s_places[(int)token])];
    }

    /// <summary>Words of a topic's own: four for the first half, four others for the second.</summary>
    private static (string First, string Second) TopicText(int topic, Random random)
    {
        Random naming = new(1000 + topic);
        string[] words = Enumerable.Range(0, 8).Select(_ => new string(Enumerable.Range(0, 2).Select(_ => (char)('a' + naming.Next(26))).ToArray())).ToArray();
        string Half(int from) => string.Concat(Enumerable.Range(0, 10).Select(_ => words[from + random.Next(4)] + " "));
        return (Half(0), Half(4));
    }

    /// <summary>How often a first part's nearest second part is of its topic.</summary>
    private static double Recall(TextEmbedder embedder, (string First, string Second)[] pairs)
    {
        double[][] scores = Scores(embedder, pairs);
        return Enumerable.Range(0, pairs.Length).Average(i => Enumerable.Range(0, pairs.Length).MaxBy(j => scores[i][j]) % Topics == i % Topics ? 1.0 : 0.0);
    }

    /// <summary>The mean of 1 / rank of a first part's own second part.</summary>
    private static double ReciprocalRank(TextEmbedder embedder, (string First, string Second)[] pairs)
    {
        double[][] scores = Scores(embedder, pairs);
        return Enumerable.Range(0, pairs.Length).Average(i => 1.0 / (1 + scores[i].Count(score => score > scores[i][i])));
    }

    private static double[][] Scores(TextEmbedder embedder, (string First, string Second)[] pairs)
    {
        int size = embedder.Dimensions;
        float[] first = new float[pairs.Length * size];
        float[] second = new float[pairs.Length * size];
        embedder.Embed(pairs.Select(pair => pair.First).ToArray(), first);
        embedder.Embed(pairs.Select(pair => pair.Second).ToArray(), second);
        return Enumerable.Range(0, pairs.Length)
            .Select(i =>
                Enumerable.Range(0, pairs.Length)
                    .Select(j => Enumerable.Range(0, size).Sum(d => (double)first[i * size + d] * second[j * size + d]))
                    .ToArray()).ToArray();
    }
}
