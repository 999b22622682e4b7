using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Gradients by segments, whose activations are kept or computed again: those of the model in one piece.</summary>
public sealed class SegmentedGradientsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void They_are_those_of_the_model_in_one_piece_whatever_is_trained(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        TrainingBatch batch = Batch(config);
        (string, Func<string, bool>)[] kinds =
        [
            ("everything", _ => true),
            ("retrieval alone", parameter => parameter.StartsWith("encoder", StringComparison.Ordinal) || parameter.Contains("cca", StringComparison.Ordinal)),
            ("the last layer", parameter => parameter.StartsWith($"decoder.{config.Layers}", StringComparison.Ordinal)),
            ("the embedding", parameter => parameter.StartsWith("embedding", StringComparison.Ordinal)),
        ];
        foreach ((string kind, Func<string, bool> trained) in kinds)
        {
            foreach ((string parameter, TorchSharp.Modules.Parameter value) in model.named_parameters())
            {
                value.requires_grad_(trained(parameter));
            }

            foreach (bool closedBook in new[] { false, true })
            {
                (string Name, TorchSharp.Modules.Parameter Value)[] parameters = [.. model.named_parameters().Where(pair => pair.parameter.requires_grad)];
                IList<Tensor> values = [.. parameters.Select(pair => (Tensor)pair.Value)];
                Tensor logits = closedBook ? model.call(batch.Tokens, null, null) : model.call(batch.Tokens, batch.Neighbors, batch.Valid);
                Tensor mean = LogLikelihood.MeanLoss(logits, LogLikelihood.Targets(batch.Tokens, batch.LossMask));
                IList<Tensor>? expected = mean.requires_grad ? autograd.grad([mean * 0.25], values, allow_unused: true) : null;
                StepBatch given = StepBatch.Of(model, batch, closedBook);
                List<int> seeds = [];
                foreach (Action<int>? recompute in new Action<int>?[] { null, seeds.Add })
                {
                    (Tensor loss, Tensor?[] came) = new SegmentedGradients(model, values, recompute).Of(given, 0.25);
                    Assert.InRange(Math.Abs(loss.item<double>() - mean.item<double>()), 0, 1e-12);
                    for (int i = 0; i < parameters.Length; i++)
                    {
                        bool has = expected is not null && !expected[i].IsInvalid;
                        Assert.True(
                            has ? came[i] is { } gradient && ModelCase.Distance(expected![i], gradient) <= 1e-11 * (1 + expected[i].abs().max().ToDouble())
                                : came[i] is null || came[i]!.abs().max().ToDouble() == 0,
                            $"{kind}, closed book {closedBook}, recomputed {recompute is not null}: the gradient of {parameters[i].Name} differs.");
                    }
                }

                Assert.Equal(Enumerable.Range(0, config.Layers + 1), seeds.Take(config.Layers + 1));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_gradient_is_complete_after_the_segment_it_is_said_to_be_and_no_sooner(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        TrainingBatch batch = Batch(config);
        string[] names = [.. model.named_parameters().Select(pair => pair.name)];
        IList<Tensor> values = [.. model.parameters().Select(parameter => (Tensor)parameter)];
        (int Segment, bool NeedsNeighbors)[] places = SegmentedGradients.Places(model, values);
        Assert.Equal(
            names.Select(one => one.StartsWith("encoder", StringComparison.Ordinal) || one.Contains(".cca.", StringComparison.Ordinal)),
            places.Select(place => place.NeedsNeighbors));
        foreach (bool closedBook in new[] { false, true })
        {
            List<Tensor?[]> after = [];
            List<int> segments = [];
            SegmentedGradients gradients = new(model, values, null, (segment, some) =>
            {
                segments.Add(segment);
                after.Add([.. some.Select(one => one?.clone().DetachFromDisposeScope())]);
                scope.Attach(after[^1].OfType<Tensor>());
            });
            gradients.Of(StepBatch.Of(model, batch, closedBook), 1);
            Assert.Equal(Enumerable.Range(0, SegmentedGradients.Last(model) + 1), segments);
            for (int i = 0; i < values.Count; i++)
            {
                (int segment, bool needsNeighbors) = places[i];
                Tensor? whole = after[^1][i];
                Assert.Equal(needsNeighbors && closedBook, whole is null);
                Assert.True(whole is null || ModelCase.BitEqual(whole, after[segment][i]!), $"The gradient of {names[i]} is not complete.");

                // The last norm is told of with the rest of what is small.
                bool early = segment > 0 && whole is not null && after[segment - 1][i] is { } before && ModelCase.BitEqual(whole, before);
                Assert.True(!early || names[i].StartsWith("decoder.norm", StringComparison.Ordinal), $"The gradient of {names[i]} was complete before.");
            }
        }
    }

    [Fact]
    public void What_is_dropped_is_the_same_both_times()
    {
        RetroConfig config = ModelCase.Config("rotary") with { Dropout = 0.3 };
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        model.train();
        TrainingBatch batch = Batch(config);
        IList<Tensor> values = [.. model.parameters().Select(parameter => (Tensor)parameter)];
        static void Seed(int layer) => manual_seed(100 + layer);

        // The pass with all its activations, seeded as layer by layer.
        Seed(0);
        Tensor x = model.Embed(batch.Tokens);
        Tensor? encoded = null;
        AttentionPlan plan = AttentionPlan.Causal(config, batch.Tokens.shape[1], ScalarType.Float64, CPU);
        PassNeighbors neighbors = PassNeighbors.Of(batch.Neighbors, batch.Valid)!;
        AttentionPlan cross = model.CrossPlan(batch.Tokens, neighbors);
        for (int i = 0; i < config.Layers; i++)
        {
            Seed(i + 1);
            DecoderLayer layer = model.Layers[i];
            Tensor h = layer.SelfAttend(x, plan, null);
            if (layer.CrossAttention is not null)
            {
                h = layer.CrossAttend(h, encoded ??= model.EncodeNeighbors(h, neighbors), cross);
            }

            x = layer.Finish(x, h);
        }

        Tensor mean = LogLikelihood.MeanLoss(model.Logits(x), LogLikelihood.Targets(batch.Tokens, batch.LossMask));
        IList<Tensor> expected = autograd.grad([mean], values, allow_unused: true);
        (Tensor loss, Tensor?[] came) = new SegmentedGradients(model, values, Seed).Of(StepBatch.Of(model, batch), 1);

        Assert.InRange(Math.Abs(loss.item<double>() - mean.item<double>()), 0, 1e-12);
        for (int i = 0; i < values.Count; i++)
        {
            Assert.InRange(ModelCase.Distance(expected[i], came[i]!), 0, 1e-11);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.1)]
    public void A_training_takes_the_same_course_and_goes_on_with_the_same_bits(double dropout)
    {
        RetroConfig config = SmallModel.Config with { Dropout = dropout };
        TrainingOptions options = TrainingOptions.SmallModel with { Steps = 8, WarmupSteps = 2, Accumulation = 2, RecomputeActivations = true };
        double[] kept = Train(config, options with { RecomputeActivations = false }, null, out _), came = Train(config, options, null, out byte[] whole);
        if (dropout == 0)
        {
            Assert.All(kept.Zip(came), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, 1e-4 * pair.First));
        }

        Train(config, options with { CheckpointFolder = _folder.Path }, 4, out _);
        Train(config, options with { CheckpointFolder = _folder.Path }, null, out byte[] resumed);
        Assert.Equal(whole, resumed);
    }

    [Fact]
    public void Kept_activations_are_given_up_with_their_segment()
    {
        MemoryInUse.Require();
        RetroConfig config = RetroConfig.Mini with { Layers = 12, Retrieval = null };
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = new(config);
        TrainingBatch batch = new(ModelCase.Tokens(config, 1, 1024));
        IList<Tensor> values = [.. model.parameters().Select(parameter => (Tensor)parameter)];
        StepBatch given = StepBatch.Of(model, batch);
        LiveTensors.Settled();
        long before = MemoryInUse.Now();
        List<long> after = [];
        SegmentedGradients gradients = new(model, values, null, (_, some) =>
        {
            for (int i = 0; i < some.Count; i++)
            {
                some[i]?.Dispose();
                some[i] = null;
            }

            after.Add(MemoryInUse.Now() - before);
        });
        gradients.Of(given, 1);
        Assert.True(after[0] > 12L * 1024 * 128 * 4 * 4, "Less memory than the layers' states take: the test measures nothing.");
        for (int i = 1; i < after.Count; i++)
        {
            Assert.True(after[i] < after[0] * (14 - i) / 12, $"{after[i] / 1e6:F1} of {after[0] / 1e6:F1} MB after segment {i}.");
        }
    }

    [Fact]
    public void They_take_the_memory_of_a_layer_and_not_of_all()
    {
        MemoryInUse.Require();
        RetroConfig config = RetroConfig.Mini with { Layers = 12, Retrieval = null };
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = new(config);
        TrainingBatch batch = new(ModelCase.Tokens(config, 1, 1024));
        IList<Tensor> values = [.. model.parameters().Select(parameter => (Tensor)parameter)];
        LiveTensors.Settled();
        long before = MemoryInUse.Now();
        using (DisposeScope kept = NewDisposeScope())
        {
            Tensor logits = model.call(batch.Tokens, null, null);
            long graph = MemoryInUse.Now() - before;
            Assert.True(graph > 12L * 1024 * 128 * 4 * 4, "Less memory than the layers' states take: the test measures nothing.");
            before = graph;
        }

        LiveTensors.Settled();
        long empty = MemoryInUse.Now(), most = 0;
        new SegmentedGradients(model, values, _ => most = Math.Max(most, MemoryInUse.Now() - empty)).Of(
            StepBatch.Of(model, batch), 1);
        Assert.True(most < before / 2, $"{most / 1e6:F1} MB at most, {before / 1e6:F1} MB with the activations kept.");
    }

    private static TrainingBatch Batch(RetroConfig config)
    {
        long length = Math.Max(14, (2 * config.Retrieval!.ChunkLength) + 2);
        Tensor tokens = ModelCase.Tokens(config, 2, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, length, 2);
        return new(tokens, neighbors, valid, rand(2, length).ge(0.3));
    }

    private static double[] Train(RetroConfig config, TrainingOptions options, int? stopAfter, out byte[] weights)
    {
        manual_seed(3);
        using RetroModel model = new(config);
        using Trainer trainer = new(model, options);
        if (options.CheckpointFolder is { } folder && File.Exists(Path.Combine(folder, Trainer.StateFile)))
        {
            trainer.Load(folder);
        }

        using CancellationTokenSource cancel = new();
        List<double> losses = [];
        Exception? ended = Record.Exception(() => trainer.Run(new CopyingData(config, 2, 3, seed: 5), new Reports<TrainingProgress>(done =>
        {
            losses.Add(done.Loss);
            if (done.Step == stopAfter)
            {
                cancel.Cancel();
            }
        }), cancel.Token));
        Assert.Equal(stopAfter is null ? null : typeof(OperationCanceledException), ended?.GetType());

        weights = [.. model.parameters().SelectMany(parameter => parameter.detach().bytes.ToArray())];
        return [.. losses];
    }
}
