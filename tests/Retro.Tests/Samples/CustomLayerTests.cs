using CustomLayer;
using Retro.Modeling;
using Retro.Tests.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Samples;

/// <summary>How a layer of one's own is tested: shapes, what it does when fresh, its gradients, and that it learns beside Retro's.</summary>
public class CustomLayerTests
{
    private static readonly RetroConfig s_config = RetroConfig.Tiny with { VocabularySize = 32, Width = 16, HeadSize = 8, Retrieval = RetroConfig.Tiny.Retrieval! with { ChunkLength = 4, RetrievedLength = 8, Encoder = RetroConfig.Tiny.Retrieval!.Encoder with { Width = 16, HeadSize = 8 } } };

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
    public void Its_parameters_and_those_of_the_layer_inside_are_found_by_name()
    {
        using GatedRetro model = new(s_config);

        string[] names = [.. model.named_parameters().Select(item => item.name)];

        Assert.Contains("cross.slope", names);
        Assert.Contains("cross.offset", names);
        Assert.Contains("cross.attention.q.weight", names);
        Assert.Contains("encoder.1.cross.k.weight", names);
        Assert.Equal(names.Length, names.Distinct().Count());
    }

    [Theory]
    [InlineData("slope")]
    [InlineData("offset")]
    [InlineData("attention.o.weight")]
    public void Gradients_are_those_of_finite_differences(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        using GatedCrossAttention layer = new(s_config);
        ModelCase.Randomize(layer);
        layer.to(ScalarType.Float64);
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
    public void A_few_steps_of_training_open_the_gate_and_lower_the_loss()
    {
        manual_seed(5);
        using GatedRetro model = new(s_config);
        using optim.Optimizer optimizer = optim.AdamW(model.parameters(), 1e-2);
        List<double> losses = [];
        for (int step = 0; step < 60; step++)
        {
            using DisposeScope scope = NewDisposeScope();
            (Tensor tokens, Tensor neighbors, Tensor valid) = CopyTask.Draw(s_config, 8, 4);
            optimizer.zero_grad();
            Tensor loss = CopyTask.Loss(s_config, model.call(tokens, neighbors, valid), tokens);
            loss.backward();
            optimizer.step();
            losses.Add(loss.ToDouble());
        }

        // Tokens are random, so that nothing but the neighbors can bring the loss below the logarithm of the vocabulary.
        Assert.InRange(losses.TakeLast(5).Average(), 0, Math.Log(s_config.VocabularySize) - 0.1);
        Assert.True(model.Cross.get_parameter("offset")!.abs().max().ToDouble() > 0);
    }
}
