using System.Collections.Immutable;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Training;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>A self-attention of one's own, written with what is public, is trained, saved, loaded and decoded with as Retro's.</summary>
public sealed class OwnSelfAttentionTests : IDisposable
{
    private static readonly RetroConfig s_config = SmallModel.Config;

    private static readonly LayerFactory s_layers = new() { SelfAttention = (config, dtype, device) => new UnitSelfAttention(config, dtype, device) };
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void It_is_trained_saved_loaded_and_what_is_generated_with_the_cache_is_what_the_full_pass_gives()
    {
        manual_seed(3);
        CopyingData data = new(s_config, 4, 4, seed: 1);
        using RetroModel model = new(s_config, layers: s_layers);
        Tensor before = model.get_parameter("decoder.1.attn.q.weight")!.detach().clone();
        List<double> losses = [];
        using (Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 60, WarmupSteps = 5, CheckpointFolder = _folder.Path }))
        {
            trainer.Run(data, new Reports<TrainingProgress>(step => losses.Add(step.Loss)));
        }

        Assert.True(losses.TakeLast(5).Average() < losses.Take(5).Average());
        Assert.True((model.get_parameter("decoder.1.attn.q.weight")!.detach() - before).abs().max().item<float>() > 1e-3);
        string[] own = [.. model.named_parameters()
            .Select(pair => pair.name)
            .Where(name => name.StartsWith("decoder.1.attn.", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)];
        Assert.Equal(
            ["decoder.1.attn.k.weight", "decoder.1.attn.o.weight", "decoder.1.attn.q.weight", "decoder.1.attn.sharpness", "decoder.1.attn.v.weight"], own);

        using RetroModel loaded = Checkpoint.Load(_folder.Path, new() { Layers = s_layers });
        Assert.Contains("decoder.1.attn.sharpness", Assert.Throws<CheckpointException>(() => Checkpoint.Load(_folder.Path)).Message, StringComparison.Ordinal);
        model.eval();
        loaded.eval();
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        using (FinalizerGate.Close())
        {
            Tensor prompt = ModelCase.Tokens(s_config, 2, 9);
            (Tensor neighbors, _) = ModelCase.Neighbors(s_config, 2, 9, 1);
            Assert.True(ModelCase.BitEqual(model.call(prompt, neighbors, null), loaded.call(prompt, neighbors, null)));
            Assert.Equal(GenerateByFullPass(model, prompt, neighbors), GenerateByCache(loaded, prompt, neighbors));
        }
    }

    /// <summary>What a branch keeps beside its parameters is as much of the model as they are.</summary>
    [Fact]
    public void Its_buffers_are_saved_loaded_and_go_on_with_the_training()
    {
        LayerFactory layers = new() { FeedForward = (config, dtype, device) => new Counting(config, dtype, device) };
        CopyingData data = new(s_config, 4, 4, seed: 2);
        TrainingOptions options = TrainingOptions.SmallModel with { Steps = 6, WarmupSteps = 0, CheckpointFolder = _folder.Path, Dtype = ScalarType.Float32 };
        long[] counted;
        using (RetroModel model = new(s_config, layers: layers))
        using (Trainer trainer = new(model, options))
        {
            trainer.Run(data);
            counted = Counts(model);
            Assert.All(counted, count => Assert.InRange(count, 6, long.MaxValue));
        }

        using RetroModel loaded = Checkpoint.Load(_folder.Path, new() { Layers = layers }), resumed = new(s_config, layers: layers);
        Assert.Equal(counted, Counts(loaded));
        using Trainer again = new(resumed, options);
        again.Load(_folder.Path);
        Assert.Equal(counted, Counts(resumed));

        static long[] Counts(RetroModel model) => [.. model.named_buffers().Select(pair => pair.buffer.item<long>())];
    }

    /// <summary>As TorchSharp teaches: parts stand in fields, and RegisterComponents ends the constructor, or is left to whoever takes the branch.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_it_keeps_in_fields_is_trained_cast_saved_and_loaded(bool registers)
    {
        LayerFactory layers = new() { FeedForward = (config, dtype, device) => new Adapter(config, dtype, device, registers) };
        manual_seed(4);
        using RetroModel model = new(s_config, layers: layers);
        string[] names = [.. model.named_parameters().Select(pair => pair.name)];
        string[] own = ["decoder.1.ffw._in.weight", "decoder.1.ffw._out.weight", "decoder.1.ffw._scale"];
        Assert.All(own, name => Assert.Single(names, name));
        Assert.Equal(names.Length, names.Distinct().Count());
        Tensor[] before = [.. own.Select(name => model.get_parameter(name)!.detach().clone())];
        using (Trainer trainer = new(
            model, TrainingOptions.SmallModel with { Steps = 5, WarmupSteps = 0, CheckpointFolder = _folder.Path, Dtype = ScalarType.BFloat16 }))
        {
            trainer.Run(new CopyingData(s_config, 4, 4, seed: 1));
        }

        Assert.All(own.Zip(before), pair =>
        {
            Tensor now = model.get_parameter(pair.First)!;
            Assert.Equal(ScalarType.BFloat16, now.dtype);
            Assert.False(now.detach().to(ScalarType.Float32).Equals(pair.Second), pair.First);
        });
        using RetroModel loaded = Checkpoint.Load(_folder.Path, new() { Layers = layers });
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        Tensor prompt = ModelCase.Tokens(s_config, 2, 9);
        model.eval();
        loaded.eval();
        Assert.True(ModelCase.BitEqual(model.call(prompt, null, null), loaded.call(prompt, null, null)));
    }

    /// <summary>TorchSharp finds modules and parameters in fields alone: elsewhere they would be neither trained nor saved, and nothing would say so.</summary>
    [Theory]
    [InlineData("array")]
    [InlineData("list")]
    [InlineData("dictionary")]
    [InlineData("tuples")]
    [InlineData("parameters")]
    [InlineData("immutable")]
    [InlineData("within")]
    public void Parts_where_nobody_finds_them_are_refused_by_the_fields_name(string kind)
    {
        LayerFactory layers = new() { FeedForward = (config, dtype, device) => new Keeping(config, (_, experts) => Kept(kind, experts)) };
        string message = Assert.Throws<RetroException>(() => new RetroModel(s_config, layers: layers)).Message;
        Assert.Contains(kind == "within" ? "Within keeps modules" : "Keeping keeps modules", message, StringComparison.Ordinal);
        Assert.Contains(kind == "within" ? " _lost, in which" : " _kept, in which", message, StringComparison.Ordinal);
        Assert.Contains("ModuleList", message, StringComparison.Ordinal);

        static object Kept(string kind, Linear[] experts) => kind switch
        {
            "array" => experts,
            "list" => new List<nn.Module>(experts),
            "dictionary" => experts.ToDictionary(expert => expert.GetHashCode()),
            "tuples" => experts.Select(expert => (1, expert)).ToArray(),
            "parameters" => experts.Select(expert => expert.weight!).ToArray(),
            "immutable" => experts.Select(expert => expert.weight!).ToImmutableArray(),
            _ => new Within(experts),
        };
    }

    /// <summary>Such as sizes that are found out when it is first called.</summary>
    [Fact]
    public void It_may_have_collections_that_nothing_was_put_in_yet()
    {
        object[] kept = [default(ImmutableArray<int>), default(ImmutableArray<Linear>), default(ArraySegment<string>)];
        LayerFactory layers = new() { FeedForward = (config, _, _) => new Keeping(config, (_, _) => kept) };
        using RetroModel model = new(s_config, layers: layers), plain = new(s_config);
        Assert.Equal(plain.named_parameters().Select(pair => pair.name), model.named_parameters().Select(pair => pair.name));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Several_parts_are_kept_in_a_list_of_modules_or_registered_one_by_one(bool inList)
    {
        LayerFactory layers = new() { FeedForward = (config, dtype, device) => new Keeping(config, (branch, experts) =>
        {
            if (inList)
            {
                return new ModuleList<Linear>(experts);
            }

            for (int i = 0; i < experts.Length; i++)
            {
                branch.register_module($"expert{i}", experts[i]);
            }

            return new[] { new[] { 0.5 } as object, experts };
        }) };
        using RetroModel model = new(s_config, layers: layers);
        Checkpoint.Save(_folder.Path, model);
        using RetroModel loaded = Checkpoint.Load(_folder.Path, new() { Layers = layers });
        Assert.Equal(model.state_dict().Keys, loaded.state_dict().Keys);
        string[] own = [.. loaded.state_dict().Keys
            .Where(name => name.StartsWith($"decoder.1.ffw.{(inList ? "_kept." : "expert")}", StringComparison.Ordinal))];
        Assert.Equal(4, own.Length); // a weight and a bias each
        Assert.All(own, name => Assert.True(ModelCase.BitEqual(model.state_dict()[name], loaded.state_dict()[name])));
    }

    /// <summary>A load draws nothing that it is about to read; what one's own function makes besides is in no file.</summary>
    [Fact]
    public void What_no_file_holds_is_drawn_in_a_load()
    {
        List<FeedForward> made = [];
        LayerFactory layers = new() { FeedForward = (config, dtype, device) =>
        {
            FeedForward hidden = new(config, false, dtype, device);
            made.Add(hidden);
            return new Hiding(config, hidden.call);
        } };
        using RetroModel model = new(s_config, layers: layers);
        Checkpoint.Save(_folder.Path, model);
        made.Clear();
        using RetroModel loaded = Checkpoint.Load(_folder.Path, new() { Layers = layers });
        Assert.Equal(s_config.Layers, made.Count);
        using DisposeScope scope = NewDisposeScope();
        Assert.All(made, hidden => Assert.InRange(
            hidden.get_parameter("up.weight")!.std().ToDouble() * Math.Sqrt(s_config.Width), 0.8, 1.2));
        made.ForEach(hidden => hidden.Dispose());
    }

    [Fact]
    public void A_factory_that_makes_none_is_named()
    {
        LayerFactory gives = new() { FeedForward = (_, _, _) => null! }, isNull = new() { CrossAttention = null! };
        string gave = Assert.Throws<RetroException>(() => new RetroModel(s_config, layers: gives)).Message;
        Assert.Equal("LayerFactory.FeedForward gave null for layer 1; it has to make a FeedForward.", gave);
        string none = Assert.Throws<RetroException>(() => new RetroModel(s_config, layers: isNull)).Message;
        Assert.Contains("LayerFactory.CrossAttention is null for layer", none, StringComparison.Ordinal);
    }

    private sealed class Keeping : FeedForward
    {
        private readonly object _kept;

        public Keeping(RetroConfig config, Func<Keeping, Linear[], object> keep)
            : base(config)
            => _kept = keep(this, [nn.Linear(config.Width, config.Width), nn.Linear(config.Width, config.Width)]);
    }

    private sealed class Within(Linear[] experts) : nn.Module<Tensor, Tensor>("within")
    {
        private readonly Linear[] _lost = experts;

        public override Tensor forward(Tensor input) => _lost[0].call(input);
    }

    private sealed class Hiding(RetroConfig config, Func<Tensor, Tensor> more) : FeedForward(config)
    {
        public override Tensor forward(Tensor x) => base.forward(x) + more(x);
    }

    private sealed class Adapter : FeedForward
    {
        private readonly Linear _in, _out;
        private readonly Parameter _scale;

        public Adapter(RetroConfig config, ScalarType dtype, Device? device, bool registers)
            : base(config, false, dtype, device)
        {
            _in = nn.Linear(config.Width, 4, hasBias: false, device, dtype);
            _out = nn.Linear(4, config.Width, hasBias: false, device, dtype);
            _scale = new Parameter(ones(config.Width, dtype, device));
            if (registers)
            {
                RegisterComponents();
            }
        }

        public override Tensor forward(Tensor x) => base.forward(x) + (_scale * _out.call(_in.call(x)));
    }

    private sealed class Counting : FeedForward
    {
        private readonly Tensor _calls = zeros([], ScalarType.Int64);

        public Counting(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, false, dtype, device)
            => register_buffer("calls", _calls);

        public override Tensor forward(Tensor x)
        {
            lock (_calls)
            {
                using IDisposable noGradients = no_grad();
                _calls.AddInPlace(ones([], ScalarType.Int64));
            }

            return base.forward(x);
        }
    }

    [Theory]
    [InlineData(null, false)]
    [InlineData(5, false)]
    [InlineData(null, true)]
    [InlineData(5, true)]
    public void Rows_of_unlike_length_are_decoded_as_each_alone(int? window, bool inPieces)
    {
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = new(s_config with { SlidingWindow = window }, ScalarType.Float64, layers: s_layers);
        ModelCase.Randomize(model);
        model.eval();
        using (FinalizerGate.Close())
        {
            int[] lengths = [3, 7];
            Tensor tokens = ModelCase.Tokens(s_config, 2, 12);
            using DecodingCache cache = model.NewCache(2, 4);
            Tensor logits = inPieces ? InPieces() : model.Prefill(cache, tokens.narrow(1, 0, 7), lengths);
            for (int step = 0; step < 5; step++)
            {
                for (int row = 0; row < 2; row++)
                {
                    int length = lengths[row] + step;
                    Tensor alone = model.call(tokens.narrow(0, row, 1).narrow(1, 0, length), null, null)[0, length - 1];
                    Assert.InRange(ModelCase.Distance(logits[row], alone), 0, 1e-12);
                }

                logits = model.Step(cache, stack([tokens[0, lengths[0] + step], tokens[1, lengths[1] + step]]));
            }

            // Of rows that are equally long at first, and then are not.
            Tensor InPieces()
            {
                model.Prefill(cache, tokens.narrow(1, 0, 1));
                model.Prefill(cache, tokens.narrow(1, 1, 2), [1, 2]);
                return model.Prefill(cache, stack([cat([tokens[0].narrow(0, 2, 1), zeros(3, ScalarType.Int64)]), tokens[1].narrow(0, 3, 4)]), [1, 4]);
            }
        }
    }

    [Fact]
    public void One_that_registers_nothing_and_overrides_nothing_says_what_is_missing()
    {
        using RetroModel model = new(s_config, layers: new() { SelfAttention = (_, _, _) => new NoAttention() });
        using Tensor tokens = ModelCase.Tokens(s_config, 1, 4);
        Assert.Contains(nameof(NoAttention), Assert.Throws<NotSupportedException>(() => model.call(tokens, null, null)).Message, StringComparison.Ordinal);
    }

    /// <summary>It would be trained and measured as one layer, and generate as the one that it derives from.</summary>
    [Fact]
    public void A_branch_that_changes_the_whole_pass_or_the_step_alone_is_refused()
    {
        LayerFactory attending = new() { SelfAttention = (config, dtype, device) => new WholeSelfAttention(config, dtype, device) };
        LayerFactory reading = new() { CrossAttention = (config, dtype, device) => new WholeCrossAttention(config, dtype, device) };
        LayerFactory deriving = new() { CrossAttention = (config, dtype, device) => new DerivedCrossAttention(config, dtype, device) };
        Refused(attending, nameof(WholeSelfAttention), nameof(SelfAttention.Attend));
        Refused(reading, nameof(WholeCrossAttention), nameof(ChunkedCrossAttention.Step));
        Refused(deriving, nameof(DerivedCrossAttention), nameof(ChunkedCrossAttention.Step));
        LayerFactory stepping = new() { CrossAttention = (config, dtype, device) => new StepCrossAttention(config, dtype, device) };
        string other = Assert.Throws<RetroException>(() => new RetroModel(s_config, layers: stepping)).Message;
        Assert.StartsWith($"{nameof(StepCrossAttention)} overrides {nameof(ChunkedCrossAttention.Step)} and not forward:", other, StringComparison.Ordinal);
        new RetroModel(s_config, layers: deriving with { CrossAttention = (config, dtype, device) => new BothCrossAttention(config, dtype, device) }).Dispose();

        static void Refused(LayerFactory layers, string name, string missing)
        {
            string message = Assert.Throws<RetroException>(() => new RetroModel(s_config, layers: layers)).Message;
            Assert.StartsWith($"{name} overrides forward and not {missing}:", message, StringComparison.Ordinal);
        }
    }

    private static long[] GenerateByFullPass(RetroModel model, Tensor prompt, Tensor neighbors)
    {
        Tensor tokens = prompt;
        for (int i = 0; i < 6; i++)
        {
            Tensor next = model.call(tokens, neighbors, null).select(1, tokens.shape[1] - 1).argmax(-1);
            tokens = cat([tokens, next.unsqueeze(1)], 1);
        }

        return tokens.data<long>().ToArray();
    }

    private static long[] GenerateByCache(RetroModel model, Tensor prompt, Tensor neighbors)
    {
        using DecodingCache cache = model.NewCache((int)prompt.shape[0]);
        Tensor tokens = prompt, logits = model.Prefill(cache, prompt, null, neighbors);
        for (int i = 0; i < 6; i++)
        {
            Tensor next = logits.argmax(-1);
            tokens = cat([tokens, next.unsqueeze(1)], 1);
            logits = model.Step(cache, next);
        }

        return tokens.data<long>().ToArray();
    }

    private sealed class NoAttention : SelfAttention;

    private sealed class WholeSelfAttention(RetroConfig config, ScalarType dtype, Device? device) : SelfAttention(config, false, dtype, device)
    {
        public override Tensor forward(Tensor x, AttentionPlan plan) => 2 * base.forward(x, plan);
    }

    private sealed class WholeCrossAttention(RetroConfig config, ScalarType dtype, Device? device) : ChunkedCrossAttention(config, dtype, device)
    {
        public override Tensor forward(Tensor x, Tensor encoded, AttentionPlan plan) => 2 * base.forward(x, encoded, plan);
    }

    private sealed class StepCrossAttention(RetroConfig config, ScalarType dtype, Device? device) : ChunkedCrossAttention(config, dtype, device)
    {
        public override Tensor Step(Tensor x, CrossAttentionCache cache, AttentionPlan plan) => 2 * base.Step(x, cache, plan);
    }

    private class BothCrossAttention(RetroConfig config, ScalarType dtype, Device? device) : ChunkedCrossAttention(config, dtype, device)
    {
        public override Tensor forward(Tensor x, Tensor encoded, AttentionPlan plan) => 2 * base.forward(x, encoded, plan);

        public override Tensor Step(Tensor x, CrossAttentionCache cache, AttentionPlan plan) => 2 * base.Step(x, cache, plan);

        // No override, and no second half of one.
        public Tensor Step(Tensor x) => 2 * x;
    }

    private sealed class DerivedCrossAttention(RetroConfig config, ScalarType dtype, Device? device) : BothCrossAttention(config, dtype, device)
    {
        public override Tensor forward(Tensor x, Tensor encoded, AttentionPlan plan) => 2 * base.forward(x, encoded, plan);
    }

    /// <summary>
    /// Attention by directions alone: queries and keys have length 1, times a sharpness that is learned (query-key normalization, arXiv 2010.04245).
    /// </summary>
    private sealed class UnitSelfAttention : SelfAttention
    {
        private readonly Linear _q, _k, _v, _o;
        private readonly Parameter _sharpness;
        private readonly int _heads, _size;

        public UnitSelfAttention(RetroConfig config, ScalarType dtype, Device? device)
        {
            (_heads, _size) = (config.Heads, config.HeadSize);
            register_module("q", _q = nn.Linear(config.Width, _heads * _size, false, device, dtype));
            register_module("k", _k = nn.Linear(config.Width, _heads * _size, false, device, dtype));
            register_module("v", _v = nn.Linear(config.Width, _heads * _size, false, device, dtype));
            register_module("o", _o = nn.Linear(_heads * _size, config.Width, false, device, dtype));
            register_parameter("sharpness", _sharpness = new(full([_heads, 1, 1, 1], 8, dtype, device)));
        }

        public override Tensor Attend(Tensor x, AttentionPlan plan, SelfAttentionCache? cache)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor normed = nn.functional.normalize(x, dim: -1) * Math.Sqrt(x.shape[^1]);
            Tensor q = Heads(_q.call(normed), unit: true) * _sharpness, k = Heads(_k.call(normed), unit: true), v = Heads(_v.call(normed), unit: false);
            if (plan.QueryRotation is not null)
            {
                (q, k) = (plan.QueryRotation.Rotate(q), plan.KeyRotation!.Rotate(k));
            }

            if (cache is not null)
            {
                (k, v) = cache.Append(k, v, plan);
            }

            Tensor attended = nn.functional.scaled_dot_product_attention(q, k, v, plan.Mask!, 0, plan.IsCausal); // [H, B, A, S]
            return _o.call(attended.permute(1, 2, 0, 3).reshape(x.shape[0], x.shape[1], -1)).MoveToOuterDisposeScope();
        }

        private Tensor Heads(Tensor x, bool unit)
        {
            Tensor heads = x.view(x.shape[0], x.shape[1], _heads, _size).permute(2, 0, 1, 3);
            return unit ? nn.functional.normalize(heads, dim: -1) : heads;
        }
    }
}
