using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>The simple parts against their formulas.</summary>
public class LayerTests
{
    [Theory]
    [InlineData(NormKind.RmsNorm)]
    [InlineData(NormKind.LayerNorm)]
    public void Normalization_is_its_formula(NormKind kind)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        manual_seed(1);
        using Normalization norm = new(kind, 5, 1e-3, ScalarType.Float64);
        ModelCase.Randomize(norm);
        Tensor x = randn([3, 5], ScalarType.Float64), weight = norm.get_parameter("weight")!;
        Tensor centered = x - x.mean([-1], keepdim: true);
        Tensor expected = kind == NormKind.RmsNorm
            ? x / (x.square().mean([-1], keepdim: true) + 1e-3).sqrt() * weight
            : (centered / (centered.square().mean([-1], keepdim: true) + 1e-3).sqrt() * weight) + norm.get_parameter("bias")!;

        Assert.InRange(ModelCase.Distance(norm.call(x), expected), 0, 1e-12);
        Assert.Throws<ShapeException>(() => norm.call(randn(3, 4)));
    }

    [Theory]
    [InlineData(ActivationKind.Gelu, -0.15426877)]
    [InlineData(ActivationKind.GeluTanh, -0.15428599)]
    [InlineData(ActivationKind.Relu, 0)]
    [InlineData(ActivationKind.Silu, -0.18877033)]
    [InlineData(ActivationKind.SwiGlu, -0.18877033)]
    [InlineData(ActivationKind.GeGlu, -0.15426877)]
    [InlineData(ActivationKind.GeGluTanh, -0.15428599)]
    public void Activations_are_the_named_ones(ActivationKind kind, double atMinusHalf)
    {
        RetroConfig config = new()
        {
            VocabularySize = 2,
            Width = 1,
            Layers = 1,
            Heads = 1,
            HeadSize = 2,
            FeedForwardSize = 1,
            Activation = kind,
            Norm = NormKind.LayerNorm
        };
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using FeedForward layer = new(config, dtype: ScalarType.Float64);

        // LayerNorm of width 1 gives its bias, which is then the input of the activation; a gated branch multiplies it by up.
        layer.get_parameter("norm.bias")!.fill_(-0.5);
        foreach ((string name, TorchSharp.Modules.Parameter parameter) in layer.named_parameters())
        {
            if (!name.StartsWith("norm", StringComparison.Ordinal))
            {
                parameter.fill_(config.IsGated && name == "up.weight" ? -2 : 1);
            }
        }

        Assert.Equal(atMinusHalf, layer.call(zeros([1, 1], ScalarType.Float64)).ToDouble(), 7);
    }

    [Fact]
    public void What_is_made_of_retrieval_alone_refuses_a_configuration_without_it()
    {
        RetroConfig config = SmallModel.Config with { Retrieval = null };
        Action[] parts =
        [
            () => new ChunkedCrossAttention(config).Dispose(),
            () => new RetrievalEncoder(config).Dispose(),
            () => new EncoderLayer(config, 1).Dispose(),
            () => new EncoderCrossAttention(config).Dispose(),
            () => new SelfAttention(config, encoder: true).Dispose(),
            () => new FeedForward(config, encoder: true).Dispose(),
            () => AttentionPlan.Encoder(config, null, ScalarType.Float32, CPU),
            () => AttentionPlan.EncoderCross(config, 2, ScalarType.Float32, CPU),
            () => AttentionPlan.ChunkedCross(config, 8, 1, 2, null, ScalarType.Float32, CPU),
        ];

        Assert.All(parts, part => Assert.Contains("Retrieval is not set", Assert.Throws<RetroOptionsException>(part).Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Llama3_scaling_keeps_high_frequencies_divides_low_ones_and_blends_between()
    {
        RotaryScaling scaling = new() { Kind = RotaryScalingKind.Llama3, Factor = 8, LowFrequencyFactor = 1, HighFrequencyFactor = 4, OriginalLength = 32 };
        double[] plain = RotaryTable.Frequencies(16, 500_000), scaled = RotaryTable.Frequencies(16, 500_000, scaling);

        // Turns within 32 positions: 5.09, 0.99, 0.19, ...: the first is kept, the others divided.
        Assert.Equal(plain[0], scaled[0], 15);
        Assert.Equal(plain[1] / 8, scaled[1], 15);
        Assert.Equal(plain[7] / 8, scaled[7], 15);

        // 2.5 turns are half way between 1 and 4.
        double blended = RotaryTable.Frequencies(2, 10, scaling with { OriginalLength = 1 })[0];
        Assert.Equal(1.0 / 8, blended, 15);
        double half = RotaryTable.Frequencies(2, 10, scaling with { LowFrequencyFactor = 4.0 / (2 * Math.PI), HighFrequencyFactor = 60.0 / (2 * Math.PI) })[0];
        Assert.Equal((0.5 / 8) + 0.5, half, 12);
        Assert.Equal(plain[3] / 8, RotaryTable.Frequencies(16, 500_000, new() { Kind = RotaryScalingKind.Linear, Factor = 8 })[3], 15);
    }

    /// <summary>Numbers of the equations of arXiv 2309.00071, computed in Python.</summary>
    [Fact]
    public void Yarn_scaling_keeps_high_frequencies_divides_low_ones_and_blends_between()
    {
        RotaryScaling scaling = new() { Kind = RotaryScalingKind.Yarn, Factor = 4, HighFrequencyFactor = 32, OriginalLength = 2048 };
        double[] whole = [1, 0.31622776601683794, 0.1, 0.02569350598886808, 0.00625, 0.001383496476323666, 0.00025, 7.905694150420948e-05];
        double[] parts = [1, 0.31622776601683794, 0.1, 0.023870192321736323, 0.005056971521129435, 0.000811290381701431, 0.00025, 7.905694150420948e-05];
        Assert.Equal(whole, RotaryTable.Frequencies(16, 10_000, scaling), (a, b) => Math.Abs(a - b) <= 1e-15);
        Assert.Equal(parts, RotaryTable.Frequencies(16, 10_000, scaling with { WholePairs = false }), (a, b) => Math.Abs(a - b) <= 1e-15);
        double[] qwen = RotaryTable.Frequencies(128, 1e6, scaling with { OriginalLength = 32768 });
        Assert.Equal(
            [1, 0.01333521432163324, 0.001064360981247002, 4.445698525097307e-05, 3.102344401879299e-07],
            [qwen[0], qwen[20], qwen[30], qwen[40], qwen[63]],
            (a, b) => Math.Abs(a - b) <= 1e-15);
    }

    [Fact]
    public void Partial_rotation_leaves_the_other_features_as_they_are()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = randn([2, 1, 3, 8], ScalarType.Float64);
        RotaryTable table = RotaryTable.Create(tensor(new[] { 1.0, 2, 3 }), RotaryTable.Frequencies(4, 10_000), ScalarType.Float64);

        Tensor rotated = table.Rotate(x);

        Assert.True(ModelCase.BitEqual(x.narrow(-1, 4, 4), rotated.narrow(-1, 4, 4)));
        Assert.True(ModelCase.Distance(x.narrow(-1, 0, 4), rotated.narrow(-1, 0, 4)) > 0.1);
        Assert.Equal(x.square().sum().ToDouble(), rotated.square().sum().ToDouble(), 10);
    }

    [Fact]
    public void A_layer_can_be_used_alone()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using DecoderLayer layer = new(config, 2);
        Tensor x = randn(2, 10, config.Width), encoded = randn([2, 2, 3, config.Retrieval!.RetrievedLength, config.Retrieval!.Encoder.Width]);
        AttentionPlan plan = AttentionPlan.Causal(config, 10, ScalarType.Float32, CPU);

        Tensor on = layer.call(
            x, plan, encoded, AttentionPlan.ChunkedCross(config, 10, 2, 3, null, ScalarType.Float32, CPU)), off = layer.call(x, plan, null, null);

        Assert.Equal(x.shape, on.shape);
        Assert.True(ModelCase.BitEqual(on.narrow(1, 0, 3), off.narrow(1, 0, 3)));
        void Refuses(string argument, Action call) => Assert.Equal(argument, Assert.Throws<ShapeException>(call).ParamName);
        Refuses("encoded", () => layer.CrossAttention!.call(x, encoded.narrow(4, 0, 3), plan));
        Refuses("encoded", () => layer.CrossAttention!.call(x.narrow(1, 0, 7), encoded, plan));
        Refuses("x", () => layer.CrossAttention!.call(x.narrow(2, 0, 3), encoded, plan));
        Refuses("x", () => layer.SelfAttention.call(x.narrow(2, 0, 3), plan));
        Refuses("x", () => layer.FeedForward.call(x.narrow(2, 0, 3)));
        using EncoderCrossAttention cross = new(config);
        AttentionPlan toChunk = AttentionPlan.EncoderCross(config, 3, ScalarType.Float32, CPU);
        Refuses("states", () => cross.call(encoded.view(4, 3, config.Retrieval!.RetrievedLength, -1), randn(4, 4, 3), toChunk));
    }

    /// <summary>Its shapes alone may fit, and it would compute something else.</summary>
    [Fact]
    public void A_plan_that_was_made_for_something_else_is_refused()
    {
        RetroConfig config = ModelCase.Config("rotary"), matching = config.With(retrieval => retrieval with { MatchBias = true });
        using DisposeScope scope = NewDisposeScope();
        using ChunkedCrossAttention layer = new(config), matched = new(matching);
        int chunk = config.Retrieval!.ChunkLength, length = config.Retrieval!.RetrievedLength;
        long tokens = (3 * chunk) + 1;
        Tensor x = randn(2, tokens, config.Width), encoded = randn([2, 2, 3, length, config.Retrieval!.Encoder.Width]);
        AttentionPlan Plan(long tokens, long chunks, long neighbors, Tensor? valid = null)
            => AttentionPlan.ChunkedCross(config, tokens, chunks, neighbors, valid, ScalarType.Float32, CPU);
        void Refuses(string expected, ChunkedCrossAttention layer, AttentionPlan plan)
        {
            ArgumentException fault = Assert.Throws<ArgumentException>(() => layer.call(x, encoded, plan));
            Assert.Contains(expected, fault.Message, StringComparison.Ordinal);
            Assert.Equal("plan", fault.ParamName);
        }

        Refuses($"Expected a plan of 2 sequences, {tokens} tokens, 2 chunks, 3 neighbors, type Float32", layer, Plan(tokens - 1, 2, 3));
        Refuses($"one of {tokens - 1} tokens, 2 chunks, 3 neighbors", layer, Plan(tokens - 1, 2, 3));
        Refuses($"one of {tokens} tokens, 1 chunk, 3 neighbors", layer, Plan(tokens, 1, 3));
        Refuses($"one of {tokens} tokens, 2 chunks, 1 neighbor", layer, Plan(tokens, 2, 1));
        Refuses("one of AttentionPlan.Causal", layer, AttentionPlan.Causal(config, tokens, ScalarType.Float32, CPU));
        Refuses("one of another kind", layer, AttentionPlan.EncoderCross(config, 3, ScalarType.Float32, CPU));
        Refuses("one of 1 sequence", layer, Plan(tokens, 2, 3, ones([1, 2, 3, length], ScalarType.Bool)));
        Refuses("type Float64", layer, AttentionPlan.ChunkedCross(config, tokens, 2, 3, null, ScalarType.Float64, CPU));
        Tensor some = ones([2, 2, 3, length], ScalarType.Bool);
        Refuses("type BFloat16", layer, AttentionPlan.ChunkedCross(config, tokens, 2, 3, some, ScalarType.BFloat16, CPU)); // its mask is added to logits
        Refuses("MatchBias", matched, Plan(tokens, 2, 3));
        Tensor text = ModelCase.Tokens(config, 2, tokens), ids = randint(config.VocabularySize, [2, 2, 3, length], ScalarType.Int64);
        Refuses("type BFloat16", matched, AttentionPlan.ChunkedCross(matching, tokens, 2, 3, null, ScalarType.BFloat16, CPU, text, ids));
        Refuses("one of 1 sequence", matched, AttentionPlan.ChunkedCross(
            matching, tokens, 2, 3, null, ScalarType.Float32, CPU, text.narrow(0, 0, 1), ids.narrow(0, 0, 1)));

        // Of a window of inputs and targets each query would be told the token that it is to predict.
        void Misfits(string argument, Tensor? text, Tensor? ids) => Assert.Equal(argument, Assert.ThrowsAny<ArgumentException>(
            () => AttentionPlan.ChunkedCross(matching, tokens, 2, 3, some, ScalarType.Float32, CPU, text, ids)).ParamName);
        Misfits("text", ModelCase.Tokens(config, 2, tokens + 1), ids);
        Misfits("text", ModelCase.Tokens(config, 2, tokens - 1), ids);
        Misfits("text", ModelCase.Tokens(config, 3, tokens), ids);
        Misfits("text", text.to_type(ScalarType.Int32), ids);
        Misfits("text", null, ids);
        Misfits("retrieved", text, ids.narrow(1, 0, 1));
        Misfits("retrieved", text, ids.narrow(0, 0, 1));
        Misfits("retrieved", text, ids.to_type(ScalarType.Int32));
        Misfits("retrieved", text, null);
        Assert.Equal(
            x.shape, matched.call(x, encoded, AttentionPlan.ChunkedCross(matching, tokens, 2, 3, some, ScalarType.Float32, CPU, text, ids)).shape);
        Assert.Equal(x.shape, layer.call(x, encoded, Plan(tokens, 2, 3)).shape);
        Assert.Equal(x.shape, layer.call(x, encoded, Plan(tokens, 2, 3, some)).shape);

        // Of one sequence's tokens as many as a neighbor has: without the mask of what comes before, each would see what it is to predict.
        using SelfAttention causal = new(config), within = new(config, encoder: true);
        Tensor states = randn(2, length, config.Width), retrieved = randn(2, length, config.Retrieval!.Encoder.Width);
        AttentionPlan OfText(ScalarType dtype = ScalarType.Float32) => AttentionPlan.Causal(config, length, dtype, CPU);
        AttentionPlan OfNeighbors(long? count = null)
            => AttentionPlan.Encoder(config, count is { } n ? ones([n, length], ScalarType.Bool) : null, ScalarType.Float32, CPU);
        void Denies(string expected, SelfAttention layer, Tensor x, AttentionPlan plan)
            => Assert.Contains(expected, Assert.Throws<ArgumentException>(() => layer.call(x, plan)).Message, StringComparison.Ordinal);

        Denies("one of AttentionPlan.Encoder", causal, states, OfNeighbors());
        Denies("one of AttentionPlan.Causal", within, retrieved, OfText());
        Denies("one of AttentionPlan.ChunkedCross", causal, x, Plan(tokens, 2, 3));
        Denies($"one of {length} tokens", causal, states.narrow(1, 0, length - 1), OfText());
        Denies("type Float64", causal, states, OfText(ScalarType.Float64));
        Denies("one of 3 sequences", within, retrieved, OfNeighbors(3));
        Assert.Equal(states.shape, causal.call(states, OfText()).shape);
        Assert.Equal(retrieved.shape, within.call(retrieved, OfNeighbors(2)).shape);
        Assert.Equal("valid", Assert.Throws<ShapeException>(
            () => AttentionPlan.Encoder(config, ones([2, length - 1], ScalarType.Bool), ScalarType.Float32, CPU)).ParamName);

        Assert.Equal("chunks", Assert.Throws<ArgumentOutOfRangeException>(() => Plan(tokens, 4, 3)).ParamName);
        Assert.Equal("neighbors", Assert.Throws<ArgumentOutOfRangeException>(() => Plan(tokens, 3, 0)).ParamName);
        Assert.Equal("tokens", Assert.Throws<ArgumentOutOfRangeException>(() => Plan(0, 0, 3)).ParamName);
        Assert.Equal("valid", Assert.Throws<ShapeException>(() => Plan(tokens, 2, 3, ones([2, 2, 3, length - 1], ScalarType.Bool))).ParamName);
        Assert.Equal("valid", Assert.Throws<ArgumentException>(() => Plan(tokens, 2, 3, ones([2, 2, 3, length]))).ParamName);
    }

    /// <summary>By itself it is called by others' code, which nothing has checked before.</summary>
    [Fact]
    public void An_encoder_that_is_used_alone_names_bad_input()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using RetrievalEncoder encoder = new(config);
        int length = config.Retrieval!.RetrievedLength;
        Tensor tokens = zeros([2, 2, 3, length], ScalarType.Int64), valid = ones([2, 2, 3, length], ScalarType.Bool);
        Tensor states = randn(2, 2 * config.Retrieval!.ChunkLength, config.Width);
        void Refuses(string expected, Tensor tokens, Tensor states, Tensor? valid)
            => Assert.Contains(expected, Assert.ThrowsAny<ArgumentException>(() => encoder.call(tokens, states, valid)).Message, StringComparison.Ordinal);

        Refuses($"from {config.VocabularySize} to {config.VocabularySize}", tokens + config.VocabularySize, states, valid);
        Refuses("from -1 to -1", tokens - 1, states, valid);
        Refuses("Expected tokens of type Int64", tokens.to_type(ScalarType.Int32), states, valid);
        Refuses("Expected states of type Float32", tokens, states.to_type(ScalarType.Float64), valid);
        Refuses("Expected valid of type Bool", tokens, states, valid.to_type(ScalarType.Float32));
        Refuses("meta", tokens, states.to(META), valid);
        Refuses("states", tokens, states.narrow(1, 0, 3), valid);
        Refuses("Expected tokens of shape [B, C, K, R]", tokens.view(-1, length), states, valid);
        Refuses("Expected valid of shape [B, C, K, R]", tokens, states, ones([length], ScalarType.Bool));
        Refuses("Expected valid of shape [B, C, K, R]", tokens, states, valid.narrow(1, 0, 1));
        Assert.Equal([2, 2, 3, length, config.Retrieval!.Encoder.Width], encoder.call(tokens, states, valid).shape);
    }

    [Fact]
    public void Normalized_states_are_asked_by_keys_and_by_values()
    {
        RetroConfig plain = ModelCase.Config("rotary"), config = ModelCase.Config("gated, with normalized states");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        manual_seed(4);
        using EncoderCrossAttention normalizing = new(config, ScalarType.Float64), branch = new(plain, ScalarType.Float64);
        ModelCase.Randomize(normalizing);
        foreach ((string name, TorchSharp.Modules.Parameter parameter) in branch.named_parameters())
        {
            parameter.copy_(normalizing.get_parameter(name)!);
        }

        long width = config.Retrieval!.Encoder.Width, length = config.Retrieval!.RetrievedLength;
        Tensor retrieved = randn([2, 3, length, width], ScalarType.Float64);
        Tensor states = randn([2, config.Retrieval!.ChunkLength, config.Width], ScalarType.Float64);
        AttentionPlan plan = AttentionPlan.EncoderCross(config, 3, ScalarType.Float64, CPU);
        Tensor normed = states * (states.square().mean([-1], keepdim: true) + config.NormEpsilon).rsqrt() * normalizing.get_parameter("states_norm.weight")!;

        Assert.InRange(ModelCase.Distance(branch.call(retrieved, normed, plan), normalizing.call(retrieved, states, plan)), 0, 1e-12);
        Assert.True(ModelCase.Distance(branch.call(retrieved, states, plan), normalizing.call(retrieved, states, plan)) > 1e-3);
    }

    /// <summary>
    /// Cross-attention reads the state after self-attention, and feed-forward that after both, or where residuals are parallel what the layer reads.
    /// </summary>
    [Theory]
    [InlineData("rotary")]
    [InlineData("gpt-neox")]
    [InlineData("normalized behind, across heads")]
    public void What_each_branch_reads_and_gives_is_added_up_in_the_order_of_the_definition(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        Assert.Equal(name == "gpt-neox", config.ParallelResidual);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Dictionary<string, (double[] Read, double[] Gave)> seen = [];
        DecoderLayer layer = model.Layers[1];
        layer.register_forward_hook((_, x, _, _, _, y) => Kept("layer", x, y));
        layer.SelfAttention.register_forward_hook((_, x, _, y) => Kept("self-attention", x, y));
        layer.CrossAttention!.register_forward_hook((_, x, _, _, y) => Kept("cross-attention", x, y));
        layer.FeedForward.register_forward_hook((_, x, y) => Kept("feed-forward", x, y));
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, 11, 2);

        model.call(ModelCase.Tokens(config, 2, 11), neighbors, valid);

        double[] input = seen["layer"].Read, attended = Sum(input, seen["self-attention"].Gave), crossed = Sum(attended, seen["cross-attention"].Gave);
        AssertNear(input, seen["self-attention"].Read);
        AssertNear(attended, seen["cross-attention"].Read);
        AssertNear(config.ParallelResidual ? input : crossed, seen["feed-forward"].Read);
        AssertNear(Sum(crossed, seen["feed-forward"].Gave), seen["layer"].Gave);
        Assert.All(seen.Values, one => Assert.Contains(one.Gave, number => Math.Abs(number) > 1e-3));

        Tensor Kept(string branch, Tensor x, Tensor y)
        {
            seen[branch] = (x.Doubles(), y.Doubles());
            return y;
        }

        static double[] Sum(double[] one, double[] other) => [.. one.Zip(other, (x, y) => x + y)];

        static void AssertNear(double[] expected, double[] came) => Assert.Equal(expected, came, (x, y) => Math.Abs(x - y) < 1e-12);
    }

    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_layer_can_be_made_alone_and_gives_the_shape_that_its_documentation_says(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        long b = 2, t = (2 * config.Retrieval!.ChunkLength)
            + 1, c = 2, k = 3, r = config.Retrieval!.RetrievedLength, m = config.Retrieval!.ChunkLength, d = config.Width, e = config.Retrieval!.Encoder.Width;
        Tensor x = randn(b, t, d), encoded = randn([b, c, k, r, e]), retrieved = randn([b * c, k, r, e]), states = randn(b * c, m, d);
        Tensor text = ModelCase.Tokens(config, b, t), ids = randint(config.VocabularySize, [b, c, k, r], ScalarType.Int64);
        AttentionPlan causal = AttentionPlan.Causal(config, t, ScalarType.Float32, CPU);
        AttentionPlan cross = AttentionPlan.ChunkedCross(config, t, c, k, null, ScalarType.Float32, CPU, text, ids);
        AttentionPlan within = AttentionPlan.Encoder(
            config, null, ScalarType.Float32, CPU), toChunk = AttentionPlan.EncoderCross(config, k, ScalarType.Float32, CPU);
        using TorchSharp.Modules.Embedding shared = nn.Embedding(config.VocabularySize, config.Width);
        List<(Type Type, Tensor Came, long[] Shape)> layers = [];
        void Add<T>(T layer, Func<T, Tensor> call, params long[] shape)
            where T : nn.Module
        {
            using (layer)
            {
                layers.Add((typeof(T), call(layer), shape));
            }
        }

        Add(new Normalization(config.Norm, config.Width, config.NormEpsilon), layer => layer.call(x), b, t, d);
        Add(new LinearLayer(config.Width, config.Retrieval!.Encoder.Width), layer => layer.call(x), b, t, e);
        Add(new FeedForward(config), layer => layer.call(x), b, t, d);
        Add(new SelfAttention(config), layer => layer.call(x, causal), b, t, d);
        Add(new ChunkedCrossAttention(config), layer => layer.call(x, encoded, cross), b, t, d);
        Add(new DecoderLayer(config, config.Retrieval!.CrossAttentionLayers[0]), layer => layer.call(x, causal, encoded, cross), b, t, d);
        Add(new SelfAttention(config, encoder: true), layer => layer.call(retrieved.view(-1, r, e), within), b * c * k, r, e);
        Add(new EncoderCrossAttention(config), layer => layer.call(retrieved, states, toChunk), b * c, k, r, e);
        RetroConfig layered = config.With(retrieval => retrieval with { Encoder = retrieval.Encoder with { Layers = Math.Max(1, retrieval.Encoder.Layers) } });
        Add(new EncoderLayer(layered, 1), layer => layer.call(retrieved, states, within, toChunk), b * c, k, r, e);
        Add(
            new RetrievalEncoder(config, shared),
            layer => layer.call(ModelCase.Tokens(config, b * c * k, r).view(b, c, k, r), randn(b, c * m, d), null),
            b,
            c,
            k,
            r,
            e);
        Add(new RetroModel(config), layer => layer.call(ModelCase.Tokens(config, b, t), null, null), b, t, config.VocabularySize);

        Assert.All(layers, layer => Assert.Equal(layer.Shape, layer.Came.shape));
        Assert.All(layers, layer => Assert.True(layer.Came.isfinite().all().ToBoolean(), layer.Type.Name));
        IEnumerable<Type> modules = typeof(RetroModel).Assembly.GetTypes()
            .Where(type => type.Namespace == typeof(RetroModel).Namespace && type.IsSubclassOf(typeof(nn.Module)) && !type.IsNested);
        Assert.Equal(
            modules.Select(type => type.Name).Order(StringComparer.Ordinal), layers.Select(layer => layer.Type.Name).Distinct().Order(StringComparer.Ordinal));
        Assert.All(modules, type => Assert.True(type.GetConstructors().Length == 1, type.Name));

        // The encoder makes its layers itself, and nobody can give it others.
        Assert.Equal(
            [nameof(EncoderCrossAttention), nameof(EncoderLayer)],
            modules.Where(type => !type.IsPublic).Select(type => type.Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_shape_of_every_forwards_result_is_documented()
    {
        System.Xml.Linq.XDocument documentation = System.Xml.Linq.XDocument.Load(Path.ChangeExtension(typeof(RetroModel).Assembly.Location, ".xml"));
        var forwards = documentation.Descendants("member")
            .Where(member =>
                member.Attribute("name")!.Value.StartsWith("M:Retro.Modeling.", StringComparison.Ordinal)
                    && member.Attribute("name")!.Value.Contains(".forward(", StringComparison.Ordinal))
            .ToArray();

        // The dimensions that stand there are those that the layers give, as the test above holds; "..." stands for any.
        Dictionary<string, string> results = forwards.ToDictionary(
            member => member.Attribute("name")!.Value.Split('(')[0].Split('.')[^2], member => Shape(member.Element("returns")!.Value));
        Assert.Equal(
            new SortedDictionary<string, string>
            {
                [nameof(Normalization)] = "..., width", [nameof(LinearLayer)] = "..., output", [nameof(FeedForward)] = "..., width",
                [nameof(SelfAttention)] = "B, T, D", [nameof(ChunkedCrossAttention)] = "B, T, D", [nameof(DecoderLayer)] = "B, T, D",
                [nameof(EncoderCrossAttention)] =
                    "N, K, R, E", [nameof(EncoderLayer)] = "N, K, R, E", [nameof(RetrievalEncoder)] = "B, C, K, R, E", [nameof(RetroModel)] = "B, T, V",
            },
            new SortedDictionary<string, string>(results));
        Assert.All(
            forwards,
            member =>
                Assert.All(
                    member.Elements("param").Where(parameter => parameter.Attribute("name")!.Value is not ("plan" or "crossPlan")),
                    parameter => Assert.NotEmpty(Shape(parameter.Value))));

        static string Shape(string text) => System.Text.RegularExpressions.Regex.Match(text, @"\[([A-Za-z., ·]+)\]").Groups[1].Value;
    }
}
