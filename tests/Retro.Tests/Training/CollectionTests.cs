using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Tests.Optimization;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>
/// Trainings come through, and to the same bits, while another thread collects all the time; a few seconds of it always, and long ones by tests/long.sh.
/// </summary>
public class CollectionTests
{
    private static readonly RetroConfig s_config = SmallModel.Config;

    [Fact]
    public void A_collection_on_another_thread_changes_no_bit_of_a_training() => AssertSameBits(collect => Train(60, hooked: false, collect));

    [Fact]
    public void Nor_of_one_with_a_hook_of_plain_operators() => AssertSameBits(collect => Train(30, hooked: true, collect));

    [Fact]
    public void Nor_of_a_loop_of_ones_own_with_layers_of_plain_operators() => AssertSameBits(collect => TrainPlain(50, collect));

    [Fact]
    [Trait("Category", "Long")]
    public void A_collection_on_another_thread_changes_no_bit_of_a_long_training() => AssertSameBits(collect => Train(3000, hooked: false, collect));

    [Fact]
    [Trait("Category", "Long")]
    public void Nor_of_a_long_one_with_a_hook_of_plain_operators() => AssertSameBits(collect => Train(1000, hooked: true, collect));

    [Fact]
    [Trait("Category", "Long")]
    public void Nor_of_a_long_loop_of_ones_own_with_layers_of_plain_operators() => AssertSameBits(collect => TrainPlain(1000, collect));

    private static void AssertSameBits(Func<bool, double[]> train)
    {
        using ThreadCount set = new(2);
        double[] expected = train(false);
        Assert.All(expected, weight => Assert.True(double.IsFinite(weight)));
        Assert.Equal(expected, train(true));
    }

    /// <summary>Two workers, a batch each.</summary>
    private static double[] Train(int steps, bool hooked, bool collect)
    {
        manual_seed(4);
        using RetroModel model = new(s_config);
        if (hooked)
        {
            model.Layers[0].FeedForward.register_forward_hook((_, x, y) => (y * 1.5) + x + 1e-6);
        }

        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = steps, WarmupSteps = 10, Accumulation = 2 });
        using Collector? collector = collect ? new() : null;
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1));
        return Weights(model);
    }

    /// <summary>TorchSharp's own optimizer too makes its numbers for one call each.</summary>
    private static double[] TrainPlain(int steps, bool collect)
    {
        manual_seed(4);
        using PlainModel model = new();
        using optim.Optimizer optimizer = optim.AdamW(model.parameters(), 1e-3);
        using Collector? collector = collect ? new() : null;
        for (int step = 0; step < steps; step++)
        {
            using FinalizerGate.Hold gate = FinalizerGate.Close();
            using DisposeScope scope = NewDisposeScope();
            Tensor x = randn(16, 8);
            optimizer.zero_grad();
            (model.call(x) - x).square().mean().backward();
            optimizer.step();
        }

        return Weights(model);
    }

    private static double[] Weights(nn.Module model)
    {
        using DisposeScope scope = NewDisposeScope();
        return cat([.. model.parameters().Select(parameter => parameter.detach().view(-1))]).to_type(ScalarType.Float64).data<double>().ToArray();
    }

    /// <summary>Layers as users write them.</summary>
    private sealed class PlainModel : nn.Module<Tensor, Tensor>
    {
        private readonly Linear _first = nn.Linear(8, 8);
        private readonly Linear _second = nn.Linear(8, 8);

        public PlainModel()
            : base(nameof(PlainModel)) => RegisterComponents();

        public override Tensor forward(Tensor x)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor h = x + (_first.call(x) * 1.5);
            h += _second.call(h.tanh() + 1e-6) / 2;
            return h.MoveToOuterDisposeScope();
        }
    }
}
