using Retro.Checkpoints;
using Retro.Generation;
using Retro.Modeling;
using Retro.Tokenizers;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

public class RetroModelTests
{
    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void Parameters_are_those_that_the_configuration_lists(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using RetroModel model = new(config);

        string[] expected = [.. config.Parameters()
            .Select(parameter => $"{parameter.Name} [{string.Join(", ", parameter.Shape)}]")
            .Order(StringComparer.Ordinal)];

        Assert.Equal(
            expected, model.named_parameters().Select(item => $"{item.name} [{string.Join(", ", item.parameter.shape)}]").Order(StringComparer.Ordinal));
        Assert.Equal(expected.Length, model.state_dict().Count);
        Assert.Equal(config.CountParameters().Total, model.parameters().Sum(parameter => parameter.numel()));
    }

    [Fact]
    public void Hashes_of_a_tokenizer_are_at_least_one_and_stay_as_they_were()
    {
        using RetroModel model = new(SmallModel.Config) { TokenizerHash = "before" };
        List<string> hashes = [];
        Assert.Equal("hashes", Assert.Throws<ArgumentOutOfRangeException>(() => model.RequireTokenizer(hashes)).ParamName);
        hashes.AddRange(["now", "before"]);
        model.RequireTokenizer(hashes);
        hashes.Clear();
        model.RequireTokenizer("now");
    }

    /// <summary>A hook may ask another model, whose layers have hooks, too.</summary>
    [Fact]
    public void A_hook_that_runs_another_model_with_hooks_changes_nothing_of_its_own()
    {
        using RetroModel model = new(SmallModel.Config), asked = new(SmallModel.Config);
        using Tensor tokens = randint(0, 31, [1, 16], ScalarType.Int64), neighbors = randint(0, 31, [1, 4, 1, 8], ScalarType.Int64);
        model.eval();
        using Tensor before = model.forward(tokens, neighbors), without = model.forward(tokens);
        Assert.False(before.equal(without).all().item<bool>());
        asked.Layers[0].register_forward_hook((_, _, _, _, _, output) => output);
        model.Layers[1].register_forward_pre_hook((_, _, _, _, _) =>
        {
            using Tensor logits = asked.forward(tokens);
            return null;
        });
        using Tensor hooked = model.forward(tokens, neighbors);
        Assert.True(before.equal(hooked).all().item<bool>());
    }

    /// <summary>Without a graph no more than a layer's input and output live at once.</summary>
    [Fact]
    public void A_pass_without_gradients_lets_go_of_each_layer_s_input()
    {
        using RetroModel model = new(SmallModel.Config with { Layers = 6, Retrieval = null });
        using Tensor tokens = randint(0, 31, [1, 16], ScalarType.Int64);
        using IDisposable noGradients = no_grad();
        List<Tensor> outputs = [];
        using DisposeScope scope = NewDisposeScope();
        DecoderTap tap = new Kept(outputs);
        (Tensor states, _) = model.Decode(tokens, null, tap: tap);
        Assert.False(states.IsInvalid);
        Assert.Equal(6, outputs.Count);
        Assert.All(outputs[..^1], output => Assert.True(output.IsInvalid));
    }

    /// <summary>Branches are handed what their layer reads.</summary>
    [Fact]
    public void What_a_hook_of_a_branch_takes_out_of_the_scope_stays()
    {
        using RetroModel model = new(SmallModel.Config);
        using Tensor tokens = randint(0, 31, [1, 16], ScalarType.Int64);
        Tensor? kept = null;
        model.Layers[1].SelfAttention.register_forward_pre_hook((_, x, _) =>
        {
            kept = x.DetachFromDisposeScope();
            return null;
        });
        using IDisposable noGradients = no_grad();
        using Tensor logits = model.forward(tokens);
        Assert.False(kept!.IsInvalid);
        Assert.Equal([1, 16, SmallModel.Config.Width], kept.shape);
        kept.Dispose();
    }

    /// <summary>What a model computes differs by where it is used; a hook on a layer is told everywhere, and what it gives counts.</summary>
    [Fact]
    public async Task A_hook_on_a_layer_runs_wherever_the_layer_is_computed()
    {
        RetroConfig config = RetroConfig.Tiny with
        {
            VocabularySize = 300,
            Retrieval = RetroConfig.Tiny.Retrieval! with { ChunkLength = 4, RetrievedLength = 8 },
        };
        using RetroModel model = new(config);
        model.eval();
        using Tensor tokens = randint(0, 300, [1, 16], ScalarType.Int64);
        using Tensor neighbors = randint(0, 300, [1, 4, 2, 8], ScalarType.Int64);
        using Tensor before = model.forward(tokens, neighbors);
        int[] called = new int[config.Layers];
        for (int i = 0; i < called.Length; i++)
        {
            int layer = i;
            model.Layers[i].register_forward_hook((_, _, _, _, _, output) =>
            {
                Interlocked.Increment(ref called[layer]);
                return output;
            });
        }

        using Tensor hooked = model.forward(tokens, neighbors);
        Assert.True(before.equal(hooked).all().item<bool>());
        Told(1);
        using DecodingCache cache = model.NewCache(1);
        using Tensor prefilled = model.Prefill(cache, tokens), token = tensor(new long[] { 5 }), stepped = model.Step(cache, token);
        Told(2);
        using TemporaryFolder folder = new();
        RetroTokenizer tokenizer = BpeTrainer.Train(["The river has stones, and the bridge has steps."], 300, folder["tokenizer"]);
        await foreach (GeneratedPiece piece in new RetroGenerator(model, tokenizer).GenerateAsync("The", new() { MaximumNewTokens = 2 }))
        {
            Assert.Null(piece.Retrieved);
        }

        Assert.All(called, calls => Assert.InRange(calls, 1, int.MaxValue));
        Array.Clear(called);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 1, WarmupSteps = 0, Dtype = ScalarType.Float32 });
        using TrainingBatch batch = new(tokens.alias(), neighbors.alias());
        trainer.Step([batch]);
        Assert.All(called, calls => Assert.InRange(calls, 1, int.MaxValue));

        // So is one on the encoder: without neighbors the cross-attention adds nothing, whichever way the model is computed.
        model.eval();
        int encoded = 0;
        model.Encoder!.register_forward_hook((_, _, _, _, output) =>
        {
            encoded++;
            return output * 0;
        });
        using IDisposable noGradients = no_grad();
        using Tensor unread = model.forward(tokens, neighbors);
        using DecodingCache own = model.NewCache(1);
        using Tensor seven = model.Prefill(own, tokens.narrow(1, 0, 7), neighbors: neighbors.narrow(1, 0, 1));
        using Tensor completing = model.Step(own, tokens.select(1, 7), neighbors.select(1, 1));
        Assert.Equal(3, encoded);
        Assert.InRange((completing - unread.select(1, 7)).abs().max().item<float>(), 0, 1e-4f);

        // What a hook gives takes the place of what the layer gave.
        model.eval();
        model.Layers[^1].register_forward_hook((_, _, _, _, _, output) => output * 0);
        using Tensor changed = model.forward(tokens);
        Assert.Equal(0, changed.abs().max().item<float>());

        void Told(int times)
        {
            Assert.All(called, calls => Assert.Equal(times, calls));
            Array.Clear(called);
        }
    }

    [Fact]
    public async Task A_model_that_was_disposed_says_so_and_is_not_saved_over_a_good_one()
    {
        using TemporaryFolder folder = new();
        RetroConfig config = RetroConfig.Tiny with { VocabularySize = 300 };
        RetroModel model = new(config);
        Checkpoint.Save(folder["model"], model);
        byte[] saved = File.ReadAllBytes(folder["model/model.safetensors"]);
        RetroTokenizer tokenizer = BpeTrainer.Train(["The river has stones, and the bridge has steps."], 300, folder["tokenizer"]);
        RetroGenerator generator = new(model, tokenizer);
        model.Dispose();
        model.Dispose();

        Assert.Throws<ObjectDisposedException>(() => Checkpoint.Save(folder["model"], model));
        Assert.Equal(saved, File.ReadAllBytes(folder["model/model.safetensors"]));
        using Tensor tokens = zeros([1, 8], ScalarType.Int64);
        Assert.Throws<ObjectDisposedException>(() => model.forward(tokens));
        Assert.Throws<ObjectDisposedException>(() => model.Device);
        ObjectDisposedException fault = await Assert.ThrowsAsync<ObjectDisposedException>(async () =>
        {
            await foreach (GeneratedPiece piece in generator.GenerateAsync("The"))
            {
            }
        });
        Assert.Equal(typeof(RetroModel).FullName, fault.ObjectName);
    }

    /// <summary>Before any layer but the first has computed.</summary>
    [Fact]
    public void What_began_before_a_model_was_disposed_ends()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        Tensor tokens = ModelCase.Tokens(config, 1, 8);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 1, 8, 2);
        foreach (bool reads in new[] { true, false })
        {
            RetroModel model = ModelCase.Model(config);
            using DecodingCache cache = model.NewCache(1);
            Tensor Compute() => reads ? model.forward(tokens, neighbors, valid) : model.Prefill(model.NewCache(1), tokens, null, neighbors, valid);
            Tensor expected = Compute();
            model.Layers[0].FeedForward.register_forward_pre_hook((_, x) =>
            {
                model.Dispose();
                return x;
            });
            Assert.InRange(ModelCase.Distance(expected, Compute()), 0, 1e-12);
            Assert.Throws<ObjectDisposedException>(Compute);
        }
    }

    [Fact]
    public void Names_are_the_approved_ones()
    {
        IEnumerable<string> names = new[] { "transformer-xl", "gpt-2", "llama", "shifted keys", "learned in retrieval", "match bias, no encoder layers" }
            .SelectMany(name =>
                ModelCase.Config(name).Parameters().Select(parameter => $"{name}: {parameter.Name} [{string.Join(", ", parameter.Shape)}] {parameter.Kind}"));

        string[] approved = File.ReadAllLines(Path.Combine(Fixtures.Root, "tests", "Retro.Tests", "Modeling", "parameter-names.approved.txt"));

        // Checkpoints of users bear these names: a change here makes them unreadable.
        Assert.Equal(approved, names);
    }

    [Fact]
    public void Fresh_weights_have_the_deviation_that_the_doc_comment_says()
    {
        manual_seed(1);
        using RetroModel model = new(
            RetroConfig.Mini with
            {
                TieEmbeddings = false,
                QueryKeyValueBias = true,
                Retrieval = RetroConfig.Mini.Retrieval! with { Encoder = RetroConfig.Mini.Retrieval!.Encoder with { ShareEmbedding = false } }
            });
        using IDisposable noGrad = no_grad();
        double Deviation(string name) => model.get_parameter(name)!.square().mean().sqrt().ToDouble();

        Assert.Equal(1 / Math.Sqrt(128), Deviation("embedding.weight"), 0.002);
        Assert.Equal(1 / Math.Sqrt(128), Deviation("head.weight"), 0.002);
        Assert.Equal(1 / Math.Sqrt(128), Deviation("decoder.2.cca.k.weight"), 0.002);
        Assert.Equal(0.05 / Math.Sqrt(128), Deviation("decoder.2.cca.o.weight"), 0.0002);
        Assert.Equal(0.05 / Math.Sqrt(512), Deviation("encoder.1.ffw.down.weight"), 0.0002);
        Assert.Equal(0, Deviation("decoder.1.attn.q.bias"));
        Assert.Equal(1, Deviation("decoder.norm.weight"));
    }

    [Fact]
    public void The_same_seed_gives_the_same_model()
    {
        manual_seed(11);
        using RetroModel first = new(RetroConfig.Tiny);
        manual_seed(11);
        using RetroModel second = new(RetroConfig.Tiny);

        Assert.All(first.state_dict(), pair => Assert.True(ModelCase.BitEqual(pair.Value, second.state_dict()[pair.Key]), pair.Key));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_forward_pass_leaves_no_tensor_behind_but_the_logits(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using RetroModel model = ModelCase.Model(config);
        using DisposeScope scope = NewDisposeScope();
        Tensor tokens = ModelCase.Tokens(config, 2, (2 * config.Retrieval!.ChunkLength) + 1);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, (2 * config.Retrieval!.ChunkLength) + 1, 2);
        long before = LiveTensors.Settled();

        Tensor on = model.call(tokens, neighbors, valid);
        Assert.Equal(before + 1, Tensor.TotalCount);
        using (no_grad())
        {
            Tensor off = model.call(tokens, null, null), encoded = model.Encode(tokens, neighbors, valid);
            Assert.Equal(before + 3, Tensor.TotalCount);
            off.Dispose();
            encoded.Dispose();
        }

        on.Dispose();
        Assert.Equal(before, Tensor.TotalCount);
        Assert.False(tokens.IsInvalid || neighbors.IsInvalid || valid.IsInvalid);
    }

    [Theory]
    [InlineData("rotary")]
    [InlineData("transformer-xl")]
    [InlineData("llama")]
    [InlineData("gpt-2")]
    public void Bfloat16_and_float32_give_what_float64_gives_but_for_their_rounding(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel exact = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 2, 13);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, 13, 2);
        Tensor expected = exact.call(tokens, neighbors, valid);

        foreach ((ScalarType dtype, double tolerance) in new[] { (ScalarType.Float32, 1e-5), (ScalarType.BFloat16, 0.05) })
        {
            using RetroModel model = new(config, dtype);
            model.load_state_dict(exact.state_dict().ToDictionary(pair => pair.Key, pair => pair.Value.to_type(dtype)));
            Tensor logits = model.call(tokens, neighbors, valid);
            Assert.Equal(dtype, logits.dtype);
            // The largest of many roundings is chance; the length of all of them together is not.
            double distance = (logits.to_type(ScalarType.Float64) - expected).norm().ToDouble() / expected.norm().ToDouble();
            Assert.True(distance <= tolerance, $"{dtype}: logits are {distance:E2} of their length away.");
        }
    }

    [Theory]
    [MemberData(nameof(ModelCase.Names), MemberType = typeof(ModelCase))]
    public void A_model_that_was_cast_computes_with_its_new_parameters(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using RetroModel expected = ModelCase.Model(config), model = ModelCase.Model(config);
        long length = Math.Max(14, (2 * config.Retrieval!.ChunkLength) + 2);
        Tensor tokens = ModelCase.Tokens(config, 2, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, length, 2);

        model.to(ScalarType.BFloat16).to(ScalarType.Float32);
        using (no_grad())
        {
            foreach ((string parameter, TorchSharp.Modules.Parameter value) in expected.named_parameters())
            {
                model.get_parameter(parameter)!.copy_(value);
            }
        }

        Tensor logits = model.call(tokens, neighbors, valid), wanted = expected.call(tokens, neighbors, valid);
        Assert.Equal(ScalarType.Float32, logits.dtype);
        Assert.InRange(ModelCase.Distance(wanted, logits.to_type(ScalarType.Float64)), 0, 2e-4 * wanted.abs().max().ToDouble());
        logits.sum().backward();
        wanted.sum().backward();
        Assert.All(
            expected.named_parameters(),
            item => Assert.Equal(item.parameter.grad is not null, model.get_parameter(item.name)!.grad is { dtype: ScalarType.Float32 }));
    }

    [Fact]
    public void Dropout_acts_in_training_alone()
    {
        RetroConfig config = ModelCase.Config("rotary")
            .With(retrieval => retrieval with { Encoder = retrieval.Encoder with { Dropout = 0.3 } }) with { Dropout = 0.3 };
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 1, 9), neighbors = ModelCase.Neighbors(config, 1, 9, 2).Neighbors;

        Assert.True(ModelCase.BitEqual(model.call(tokens, neighbors, null), model.call(tokens, neighbors, null)));
        model.train();
        Assert.False(ModelCase.BitEqual(model.call(tokens, neighbors, null), model.call(tokens, neighbors, null)));
        Assert.False(ModelCase.BitEqual(model.Encode(tokens, neighbors), model.Encode(tokens, neighbors)));
        using DecodingCache cache = model.NewCache(1);
        Assert.Contains("eval()", Assert.Throws<InvalidOperationException>(() => model.Prefill(cache, tokens)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tied_embeddings_are_one_parameter_with_both_gradients()
    {
        RetroConfig config = ModelCase.Config("rotary")
            .With(retrieval =>
                retrieval with
                {
                    CrossAttentionLayers = [1, 2],
                    Encoder = retrieval.Encoder with { ShareEmbedding = true, Width = 12 }
                }) with { TieEmbeddings = true };
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = full([1, 9], 3, ScalarType.Int64), neighbors = full([1, 2, 1, 8], 7, ScalarType.Int64);

        model.call(tokens, neighbors, null).square().sum().backward();

        Tensor gradient = model.get_parameter("embedding.weight")!.grad!;
        Assert.True(gradient[11].abs().max().ToDouble() > 0, "the head's part");
        Assert.DoesNotContain(model.named_parameters(), item => item.name is "head.weight" or "encoder.embedding.weight");
    }

    [Fact]
    public void Fewer_chunks_than_complete_leave_later_positions_unread()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 1, 16), neighbors = ModelCase.Neighbors(config, 1, 16, 2).Neighbors;
        Tensor valid = ones(neighbors.shape, ScalarType.Bool);
        valid.narrow(1, 2, 2).fill_(false);

        Assert.InRange(ModelCase.Distance(model.call(tokens, neighbors.narrow(1, 0, 2), null), model.call(tokens, neighbors, valid)), 0, 1e-12);
        Assert.True(ModelCase.BitEqual(model.call(tokens, neighbors.narrow(1, 0, 0), null), model.call(tokens, null, null)));
    }

    [Fact]
    public void Bad_input_is_named()
    {
        RetroConfig config = ModelCase.Config("gpt-2");
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config), plain = new(config with { Retrieval = null });
        Tensor tokens = ModelCase.Tokens(config, 2, 8), neighbors = ModelCase.Neighbors(config, 2, 8, 2).Neighbors, valid = ones(
            neighbors.shape, ScalarType.Bool);
        void Fails<T>(string expected, Tensor tokens, Tensor? neighbors, Tensor? valid, RetroModel? of = null)
            where T : Exception
            => Assert.Contains(expected, Assert.Throws<T>(() => (of ?? model).call(tokens, neighbors, valid)).Message, StringComparison.Ordinal);

        Fails<ShapeException>("[B, T]", tokens.view(-1), null, null);
        Fails<ShapeException>("at least one", zeros([2, 0], ScalarType.Int64), null, null);
        Fails<ShapeException>("at least one", zeros([0, 3], ScalarType.Int64), null, null);
        Fails<ArgumentException>("meta", empty([2, 8], ScalarType.Int64, new Device("meta")), null, null);
        Fails<ArgumentException>("meta", tokens, empty(neighbors.shape, ScalarType.Int64, new Device("meta")), null);
        Fails<ArgumentException>("meta", tokens, neighbors, empty(neighbors.shape, ScalarType.Bool, new Device("meta")));
        Fails<ArgumentException>("Int64", tokens.to_type(ScalarType.Int32), null, null);
        Fails<ArgumentException>("from 0 to 29", tokens.zero_().index_fill_(1, tensor(new long[] { 3 }), 29), null, null);
        tokens.zero_();
        Fails<ArgumentException>("from -1", tokens - 1, null, null);
        Fails<ArgumentException>("41 tokens", zeros([1, 41], ScalarType.Int64), null, null);
        Fails<ShapeException>("[2, any, any, 8]", tokens, neighbors.narrow(0, 0, 1), null);
        Fails<ShapeException>("[2, any, any, 8]", tokens, neighbors.narrow(3, 0, 7), null);
        Fails<ShapeException>("K at least 1", tokens, neighbors.narrow(2, 0, 0), null);
        Fails<ShapeException>("C at most 1", tokens.narrow(1, 0, 7), neighbors, null);
        Fails<ArgumentException>("neighbors", tokens, neighbors + 29, null);
        Fails<ShapeException>("valid", tokens, neighbors, valid.narrow(2, 0, 1));
        Fails<ArgumentException>("Bool", tokens, neighbors, valid.to_type(ScalarType.Int64));
        Fails<ArgumentException>("without neighbors", tokens, null, valid);
        Fails<InvalidOperationException>("does not retrieve", tokens, neighbors, null, plain);
        Assert.Throws<ArgumentException>(() => new RetroModel(config, ScalarType.Float16));
        Assert.Throws<RetroOptionsException>(() => new RetroModel(config with { Width = -1 }));
    }

    private sealed class Kept(List<Tensor> outputs) : DecoderTap
    {
        public override Tensor Finished(int index, Tensor input, Tensor output)
        {
            outputs.Add(output);
            return output;
        }
    }

    /// <summary>Weights that are freed under a pass would be read after that.</summary>
    [Fact]
    public void A_model_that_is_disposed_while_another_thread_computes_ends_what_is_computed_and_then_says_so()
    {
        using DisposeScope scope = NewDisposeScope();
        RetroModel model = new(RetroConfig.Tiny), other = new(RetroConfig.Tiny);
        other.load_state_dict(model.state_dict());
        model.eval();
        other.eval();
        using DecodingCache cache = model.NewCache(1), same = other.NewCache(1);
        Tensor tokens = tensor(new long[] { 1, 2, 3 }, [1, 3]), one = tensor(new long[] { 4 });
        model.Prefill(cache, tokens);
        other.Prefill(same, tokens);
        bool disposed = false;
        model.Layers[0].register_forward_hook((_, _, _, _, _, output) =>
        {
            Thread disposing = new(model.Dispose);
            disposing.Start();
            disposing.Join();
            disposed = true;
            return output;
        });
        Assert.InRange(ModelCase.Distance(other.Step(same, one), model.Step(cache, one)), 0, 1e-4);
        Assert.True(disposed);
        Assert.Contains(nameof(RetroModel), Assert.Throws<ObjectDisposedException>(() => model.Step(cache, one)).Message, StringComparison.Ordinal);
        Assert.Throws<ObjectDisposedException>(() => model.Prefill(cache, tokens));
        Assert.Throws<ObjectDisposedException>(() => model.forward(tokens));
        Assert.Throws<ObjectDisposedException>(() => model.Head(zeros(1, RetroConfig.Tiny.Width)));
        other.Dispose();
    }
}
