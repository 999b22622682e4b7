using Retro.Modeling;
using Retro.Optimization;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Properties 7 to 10: where retrieval changes nothing.</summary>
public class IdentityTests
{
    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void P07_positions_before_the_first_chunks_last_are_those_of_retrieval_off(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 2, 3 * config.Retrieval!.ChunkLength);
        Tensor neighbors = ModelCase.Neighbors(config, 2, 3 * config.Retrieval!.ChunkLength, 2).Neighbors;

        Tensor on = model.call(tokens, neighbors, null), off = model.call(tokens, null, null);

        Assert.True(ModelCase.BitEqual(on.narrow(1, 0, config.Retrieval!.ChunkLength - 1), off.narrow(1, 0, config.Retrieval!.ChunkLength - 1)));
        Assert.False(ModelCase.BitEqual(on.select(1, config.Retrieval!.ChunkLength - 1), off.select(1, config.Retrieval!.ChunkLength - 1)));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P08_retrieval_off_is_the_decoder_without_cross_attention_to_the_bit(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        using RetroModel plain = new(config with { Retrieval = null }, ScalarType.Float64);
        Dictionary<string, Tensor> weights = model.state_dict();
        foreach ((string key, Tensor parameter) in plain.state_dict())
        {
            parameter.copy_(weights[key]);
        }

        Tensor tokens = ModelCase.Tokens(config, 2, (2 * config.Retrieval!.ChunkLength) + 1);

        Assert.True(ModelCase.BitEqual(model.call(tokens, null, null), plain.call(tokens, null, null)));
        Assert.DoesNotContain(
            plain.state_dict().Keys, key => key.Contains("cca", StringComparison.Ordinal) || key.StartsWith("encoder", StringComparison.Ordinal));
    }

    [Fact]
    public void A_fresh_gate_leaves_the_decoder_as_it_is_to_the_bit_and_learns_to_open()
    {
        RetroConfig config = ModelCase.Config("gated, with normalized states");
        using DisposeScope scope = NewDisposeScope();
        manual_seed(5);
        using RetroModel model = new(config, ScalarType.Float64);
        Tensor tokens = ModelCase.Tokens(config, 2, 3 * config.Retrieval!.ChunkLength);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, 3 * config.Retrieval!.ChunkLength, 2);
        Tensor on = model.call(tokens, neighbors, valid);
        Assert.True(ModelCase.BitEqual(on, model.call(tokens, null, null)));

        on.square().sum().backward();
        string[] gates = [.. model.named_parameters().Select(pair => pair.name).Where(name => name.EndsWith(".gate", StringComparison.Ordinal))];
        Assert.Equal(["decoder.2.cca.gate", "decoder.3.cca.gate"], gates);
        Assert.All(gates, name => Assert.NotEqual(0, model.get_parameter(name)!.grad!.item<double>()));
        Assert.Equal(0, model.get_parameter("decoder.2.cca.o.weight")!.grad!.abs().max().item<double>());

        using (no_grad())
        {
            model.get_parameter("decoder.3.cca.gate")!.fill_(0.5);
        }

        Assert.False(ModelCase.BitEqual(model.call(tokens, neighbors, valid), model.call(tokens, null, null)));
        Assert.Contains(
            "ZeroOutput is True",
            Assert.Throws<RetroOptionsException>(() => config.With(retrieval => retrieval with { ZeroOutput = true }).Validate()).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "InitialOutputScale is 0; expected more than 0 with Retrieval.Gate",
            Assert.Throws<RetroOptionsException>(() => (config with { InitialOutputScale = 0 }).Validate()).Message,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("rotary")]
    [InlineData("transformer-xl")]
    [InlineData("gpt-2")]
    [InlineData("gpt-neox")]
    public void P09_zero_output_projections_leave_the_base_as_it_is_and_training_the_rest_keeps_it_frozen(string name)
    {
        RetroConfig config = ModelCase.Config(name)
            .With(retrieval => retrieval with { ZeroOutput = true, Encoder = retrieval.Encoder with { ShareEmbedding = false } });
        using DisposeScope scope = NewDisposeScope();
        manual_seed(5);
        using RetroModel model = new(config, ScalarType.Float64);
        Tensor tokens = ModelCase.Tokens(config, 2, 3 * config.Retrieval!.ChunkLength);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, 3 * config.Retrieval!.ChunkLength, 2);
        Tensor off, on;
        using (no_grad())
        {
            off = model.call(tokens, null, null);
            on = model.call(tokens, neighbors, valid);
        }

        Assert.True(ModelCase.BitEqual(on, off));

        Dictionary<string, Tensor> start = [];
        foreach ((string key, Parameter parameter) in model.named_parameters())
        {
            parameter.requires_grad_(key.Contains("cca", StringComparison.Ordinal) || key.StartsWith("encoder", StringComparison.Ordinal));
            start[key] = parameter.detach().clone();
        }

        // The trainer is given the whole model: its weight decay would move what is frozen if it held it.
        TrainingOptions options = TrainingOptions.SmallModel with
        {
            Steps = 4,
            WarmupSteps = 1,
            LearningRate = 0.01,
            FinalLearningRate = 0.01,
            Optimizer = new() { Kind = OptimizerKind.AdamW, WeightDecay = 0.1 }
        };
        using (Trainer trainer = new(model, options))
        {
            for (int step = 0; step < 4; step++)
            {
                using TrainingBatch batch = new(tokens.alias(), neighbors.alias(), valid.alias());
                trainer.Step([batch]);
            }
        }

        model.eval();
        using IDisposable noGrad = no_grad();
        foreach ((string key, Parameter parameter) in model.named_parameters())
        {
            Assert.Equal(parameter.requires_grad, !ModelCase.BitEqual(start[key], parameter));
        }

        Assert.True(ModelCase.BitEqual(model.call(tokens, null, null), off));
        Assert.False(ModelCase.BitEqual(model.call(tokens, neighbors, valid), off));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P10_a_chunk_whose_neighbors_are_all_masked_changes_nothing_forward_or_backward(string name)
    {
        RetroConfig config = ModelCase.Config(name).With(retrieval => retrieval with { CrossAttentionLayers = [3] });
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        long chunk = config.Retrieval!.ChunkLength, length = 4 * chunk;
        Tensor tokens = ModelCase.Tokens(config, 2, length);
        Tensor neighbors = ModelCase.Neighbors(config, 2, length, 2).Neighbors;
        Tensor valid = ones(neighbors.shape, ScalarType.Bool);
        valid.select(0, 0).select(0, 1).fill_(false);
        Tensor off = model.call(tokens, null, null).detach();

        Tensor on = model.call(tokens, neighbors, valid);
        on.square().sum().backward();

        long first = (2 * chunk) - 1;
        Assert.True(ModelCase.BitEqual(on.select(0, 0).narrow(0, first, chunk), off.select(0, 0).narrow(0, first, chunk)));
        Assert.False(ModelCase.BitEqual(on.select(0, 1).narrow(0, first, chunk), off.select(0, 1).narrow(0, first, chunk)));
        Assert.True(on.isfinite().all().ToBoolean());
        Assert.All(model.named_parameters(), item => Assert.True(item.parameter.grad!.isfinite().all().ToBoolean(), item.name));

        Tensor nothing = model.call(tokens, neighbors, zeros(neighbors.shape, ScalarType.Bool));
        Assert.True(ModelCase.BitEqual(nothing, off));
        model.zero_grad();
        nothing.square().sum().backward();
        Assert.All(model.named_parameters(), item => Assert.True(item.parameter.grad is null || item.parameter.grad.isfinite().all().ToBoolean(), item.name));
        Parameter[] values = [.. model.named_parameters()
            .Where(item => item.name.StartsWith("decoder.3.cca.v.", StringComparison.Ordinal))
            .Select(item => item.parameter)];
        Assert.NotEmpty(values);
        Assert.All(values, value => Assert.Equal(0, value.grad!.abs().max().ToDouble()));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P10_the_encoder_does_no_work_for_a_chunk_without_neighbors(string name)
    {
        RetroConfig config = ModelCase.Config(name).With(retrieval => retrieval with { Encoder = retrieval.Encoder with { ShareEmbedding = false } });
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(
            config,
            2,
            3 * config.Retrieval!.ChunkLength), neighbors = randint(config.VocabularySize - 1, [2, 3, 2, config.Retrieval!.RetrievedLength], ScalarType.Int64);
        Tensor valid = ones(neighbors.shape, ScalarType.Bool);
        Tensor before = model.Encode(tokens, neighbors, valid);

        // What is encoded at all becomes no number: this token's embedding is none.
        model.get_parameter("encoder.embedding.weight")!.select(0, config.VocabularySize - 1).fill_(double.NaN);
        valid.select(0, 1).select(0, 2).fill_(false);
        neighbors.select(0, 1).select(0, 2).fill_(config.VocabularySize - 1);
        Tensor after = model.Encode(tokens, neighbors, valid);

        Assert.Equal(0, after[1, 2].abs().max().ToDouble());
        Assert.InRange(ModelCase.Distance(before[0], after[0]), 0, 1e-12);
        Assert.InRange(ModelCase.Distance(before[1].narrow(0, 0, 2), after[1].narrow(0, 0, 2)), 0, 1e-12);
        valid.select(0, 1).select(0, 2).fill_(true);
        Assert.True(model.Encode(tokens, neighbors, valid)[1, 2].isnan().any().ToBoolean());
        Assert.Equal(0, model.Encode(tokens, neighbors, zeros(neighbors.shape, ScalarType.Bool)).abs().max().ToDouble());
    }
}
