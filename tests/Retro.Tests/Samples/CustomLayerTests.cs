using CustomLayer;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Build;
using Retro.Tests.Modeling;
using Retro.Tests.Training;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Samples;

/// <summary>
/// How a layer of one's own is tested: shapes, what it does when fresh, its gradients, its caches, and that a model with it is trained, saved, loaded and
/// resumed.
/// </summary>
public sealed class CustomLayerTests : IDisposable
{
    private static readonly RetroConfig s_config = RetroConfig.Tiny with
    {
        VocabularySize = 32, Width = 16, HeadSize = 8,
        Retrieval = RetroConfig.Tiny.Retrieval! with
        {
            Neighbors = 1,
            ChunkLength = 4,
            RetrievedLength = 8,
            Encoder = RetroConfig.Tiny.Retrieval!.Encoder with { Width = 16, HeadSize = 8 }
        },
    };

    private static readonly LayerFactory s_layers = new() { CrossAttention = (config, dtype, device) => new GatedCrossAttention(config, dtype, device) };
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_fresh_gate_is_closed_and_changes_nothing()
    {
        using DisposeScope scope = NewDisposeScope();
        using GatedCrossAttention layer = new(s_config);
        Tensor x = randn(2, 9, 16);

        Tensor output = layer.call(x, randn([2, 2, 3, 8, 16]), AttentionPlan.ChunkedCross(s_config, 9, 2, 3, null, ScalarType.Float32, CPU));

        Assert.Equal(x.shape, output.shape);
        Assert.Equal(0, output.abs().max().ToDouble());
    }

    [Fact]
    public void Its_parameters_stand_beside_those_of_the_layer_that_it_derives_from()
    {
        using RetroModel model = new(s_config, layers: s_layers), plain = new(s_config);

        string[] names = [.. model.named_parameters().Select(item => item.name)];

        Assert.Equal(
            ["decoder.2.cca.gate", "decoder.3.cca.gate"], names.Except(plain.named_parameters().Select(item => item.name)).Order(StringComparer.Ordinal));
        Assert.Equal(names.Length, names.Distinct().Count());
    }

    [Theory]
    [InlineData("gate")]
    [InlineData("o.weight")]
    public void Gradients_are_those_of_finite_differences(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        using GatedCrossAttention layer = new(s_config, ScalarType.Float64);
        ModelCase.Randomize(layer);
        Tensor x = randn([1, 9, 16], ScalarType.Float64), encoded = randn([1, 2, 2, 8, 16], ScalarType.Float64);
        AttentionPlan plan = AttentionPlan.ChunkedCross(s_config, 9, 2, 2, null, ScalarType.Float64, CPU);
        Parameter parameter = layer.named_parameters().Single(item => item.name == name).parameter;
        layer.call(x, encoded, plan).square().sum().backward();

        using IDisposable noGrad = no_grad();
        double Moved(double by)
        {
            Tensor first = parameter.view(-1).narrow(0, 1, 1);
            first.add_(by);
            double value = layer.call(x, encoded, plan).square().sum().ToDouble();
            first.add_(-by);
            return value;
        }

        double expected = (Moved(1e-5) - Moved(-1e-5)) / 2e-5;
        Assert.NotEqual(0, expected, 6);
        Assert.InRange(parameter.grad!.view(-1)[1].ToDouble() / expected, 1 - 1e-5, 1 + 1e-5);
    }

    [Fact]
    public void Decoding_with_caches_equals_the_full_pass()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = new(s_config, ScalarType.Float64, layers: s_layers);
        ModelCase.Randomize(model);
        model.eval();
        const int Length = 14;
        Tensor tokens = ModelCase.Tokens(s_config, 1, Length), neighbors = randint(s_config.VocabularySize, [1, 3, 1, 8], ScalarType.Int64);
        Tensor full = model.call(tokens, neighbors, null);
        using DecodingCache cache = model.NewCache(1, Length);
        for (int t = 0; t < Length; t++)
        {
            bool completes = (t + 1) % 4 == 0;
            Tensor logits = t == 0
                ? model.Prefill(cache, tokens.narrow(1, 0, 1))
                : model.Step(cache, tokens.select(1, t), completes ? neighbors.select(1, ((t + 1) / 4) - 1) : null);
            Assert.InRange(ModelCase.Distance(logits, full.select(1, t)), 0, 1e-12);
        }
    }

    /// <summary>A step is given keys and values alone: what changes the neighbors does so where these are made, for the whole pass and for the cache.</summary>
    [Theory]
    [InlineData(false, PositionKind.Rotary)]
    [InlineData(true, PositionKind.Rotary)]
    [InlineData(true, PositionKind.TransformerXl)]
    public void What_a_layer_makes_of_the_neighbors_is_read_in_steps_as_in_the_full_pass(bool shiftedKeys, PositionKind positions)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        RetroConfig config = s_config with { Positions = positions, Retrieval = s_config.Retrieval! with { ShiftedKeys = shiftedKeys } };
        using RetroModel model = new(
            config, ScalarType.Float64, layers: new() { CrossAttention = (config, dtype, device) => new AdaptedNeighbors(config, dtype, device) });
        ModelCase.Randomize(model);
        model.eval();
        const int Length = 14;
        Tensor tokens = ModelCase.Tokens(config, 1, Length), neighbors = randint(config.VocabularySize, [1, 3, 2, 8], ScalarType.Int64);
        Tensor valid = arange(8).less(tensor(new long[] { 8, 5, 3, 8, 0, 0 }).view(1, 3, 2, 1));
        Tensor full = model.call(tokens, neighbors, valid);
        for (int prompt = 1; prompt < Length; prompt += 6)
        {
            using DecodingCache cache = model.NewCache(1, Length);
            int chunks = prompt / 4;
            Tensor logits = model.Prefill(
                cache, tokens.narrow(1, 0, prompt), null, chunks == 0 ? null : neighbors.narrow(1, 0, chunks), chunks == 0 ? null : valid.narrow(1, 0, chunks));
            for (int t = prompt; t < Length; t++)
            {
                Assert.InRange(ModelCase.Distance(logits, full.select(1, t - 1)), 0, 1e-12);
                logits = (t + 1) % 4 == 0
                    ? model.Step(cache, tokens.select(1, t), neighbors.select(1, t / 4), valid.select(1, t / 4))
                    : model.Step(cache, tokens.select(1, t));
            }
        }

        foreach (DecoderLayer layer in model.Layers)
        {
            layer.CrossAttention?.get_parameter("_up.weight")!.zero_();
        }

        Assert.InRange(ModelCase.Distance(model.call(tokens, neighbors, valid), full), 1e-3, double.MaxValue);
    }

    [Fact]
    public void Keys_of_another_shape_are_refused_where_they_are_made()
    {
        using DisposeScope scope = NewDisposeScope();
        using ChunkedCrossAttention layer = new FewerKeys(s_config);
        AttentionPlan plan = AttentionPlan.ChunkedCross(s_config, 9, 2, 3, null, ScalarType.Float32, CPU);
        ShapeException fault = Assert.Throws<ShapeException>(() => layer.call(randn(2, 9, 16), randn([2, 2, 3, 8, 16]), plan));
        Assert.Contains("[H, N, K·R, S] = [2, 4, 24, 8]", fault.Message, StringComparison.Ordinal);
    }

    // What LoRA adds (arXiv 2106.09685), on the neighbors.
    private sealed class AdaptedNeighbors : ChunkedCrossAttention
    {
        private readonly Linear _down, _up;

        public AdaptedNeighbors(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, dtype, device)
        {
            int width = config.Retrieval!.Encoder.Width;
            _down = nn.Linear(width, 4, hasBias: false, device, dtype);
            _up = nn.Linear(4, width, hasBias: false, device, dtype);
            RegisterComponents();
        }

        public override (Tensor Keys, Tensor Values) KeysAndValues(Tensor encoded, AttentionPlan plan)
            => base.KeysAndValues(encoded + _up.call(_down.call(encoded)), plan);
    }

    private sealed class FewerKeys(RetroConfig config) : ChunkedCrossAttention(config)
    {
        public override (Tensor Keys, Tensor Values) KeysAndValues(Tensor encoded, AttentionPlan plan)
        {
            (Tensor keys, Tensor values) = base.KeysAndValues(encoded, plan);
            return (keys.narrow(2, 1, keys.shape[2] - 1), values);
        }
    }

    [Fact]
    public void A_model_with_it_is_trained_saved_loaded_and_resumed_and_says_so_where_the_layer_is_not_given()
    {
        manual_seed(5);
        CopyingData data = new(s_config, 4, 4, seed: 1);
        TrainingOptions options = TrainingOptions.SmallModel with { Steps = 200, WarmupSteps = 5, CheckpointFolder = _folder.Path };
        using RetroModel model = new(s_config, layers: s_layers);
        List<double> losses = [];
        using (Trainer trainer = new(model, options))
        {
            trainer.Run(data, new Reports<TrainingProgress>(step => losses.Add(step.Loss)));
        }

        // Tokens are random, so that nothing but the neighbors can bring the loss below the logarithm of the vocabulary.
        Assert.InRange(losses.TakeLast(5).Average(), 0, Math.Log(s_config.VocabularySize) - 0.1);
        using RetroModel loaded = Checkpoint.Load(_folder.Path, new() { Layers = s_layers });
        Assert.Equal(
            model.state_dict().Select(pair => (pair.Key, Convert.ToHexString(pair.Value.bytes))),
            loaded.state_dict().Select(pair => (pair.Key, Convert.ToHexString(pair.Value.bytes))));
        Assert.Contains("extra: decoder.2.cca.gate", Assert.Throws<CheckpointException>(() => Checkpoint.Load(_folder.Path)).Message, StringComparison.Ordinal);
        using Trainer resumed = new(loaded, options with { Steps = 201 });
        resumed.Load(_folder.Path);
        resumed.Run(data);
        Assert.Equal(201, resumed.StepsDone);
    }

    [Fact]
    public void A_model_with_it_is_trained_in_another_type()
    {
        using RetroModel model = new(s_config, layers: s_layers);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 2, WarmupSteps = 0, Dtype = ScalarType.BFloat16 });
        trainer.Run(new CopyingData(s_config, 4, 4, seed: 1));
        Assert.Equal(ScalarType.BFloat16, model.Layers[1].CrossAttention!.get_parameter("gate")!.dtype);
        Assert.Equal(2, trainer.StepsDone);
    }

    [Fact]
    public void The_sample_has_less_than_60_lines()
        => Assert.InRange(Directory.GetFiles(Path.Combine(Fixtures.Root, "samples", "CustomLayer"), "*.cs").Sum(file => File.ReadAllLines(file).Length), 1, 59);

    [Fact]
    public void The_sample_trains_saves_measures_and_generates_with_sources()
    {
        string[] places = ["Ardnamur", "Bell", "Corran", "Duncans", "Eilean", "Fidra", "Girdle", "Hoy"];
        for (int i = 0; i < 32; i++)
        {
            string place = places[i % places.Length];
            _folder.File(
                $"docs/{i}.txt",
                string.Concat(Enumerable.Repeat(
                    $"The lighthouse at {place} was built in {1800 + i} and stands on the northern cape. Its lamp is seen from {10 + i} miles. ", 8)));
        }

        string program = Fixtures.Sample("CustomLayer");
        (int exitCode, string output) = Tool.Run("dotnet", _folder.Path, program, Path.Combine(_folder.Path, "docs"));

        Assert.True(exitCode == 0, output);
        Assert.Matches(@"bits per byte: \d\.\d{3} off, \d\.\d{3} on", output);
        Assert.Matches(@"\[\d+\]", output);
        Assert.True(File.Exists(Path.Combine(_folder.Path, "custom-layer", "model", "model.safetensors")));
        (exitCode, output) = Tool.Run("dotnet", _folder.Path, program, Path.Combine(_folder.Path, "nowhere"));
        Assert.Equal(1, exitCode);
        Assert.DoesNotContain("   at ", output, StringComparison.Ordinal);
    }
}
