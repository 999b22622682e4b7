using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public class StepDropoutTests
{
    /// <summary>Trainings of several seeds are to tell how much chance decides: none may drop what another does, a step sooner or later.</summary>
    [Fact]
    public void No_step_batch_or_layer_drops_what_another_does_nor_what_one_of_another_seed_does()
    {
        using RetroModel model = new(SmallModel.Config with { Dropout = 0.5 });
        HashSet<string> seen = [];
        int drawn = 0;
        foreach (long seed in new long[] { -1, 0, 1, 2 })
        {
            StepDropout dropout = new(model, seed, new());
            for (int step = 0; step < 8; step++)
            {
                using IDisposable? begun = dropout.BeginStep(hasOwn: false);
                for (int batch = 0; batch < 3; batch++)
                {
                    using IDisposable? numbers = dropout.Begin(step, batch);
                    Draw();
                    for (int layer = 0; layer < 3; layer++)
                    {
                        dropout.Seed(step, batch, layer);
                        Draw();
                    }
                }
            }
        }

        Assert.Equal(4 * 8 * 3 * 4, drawn);
        Assert.Equal(drawn, seen.Count);

        void Draw()
        {
            using DisposeScope scope = NewDisposeScope();
            seen.Add(string.Concat(SeededDropout.Of(ones(96), 0.5).data<float>().ToArray().Select(kept => kept == 0 ? '0' : '1')));
            drawn++;
        }
    }

    [Fact]
    public void What_dropout_draws_leaves_the_generator_as_it_was()
    {
        using RetroModel model = Model(Config with { Dropout = 0.2 });
        using Trainer trainer = new(model, Options);
        using TrainingBatch batch = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        manual_seed(12);
        double[] expected = [.. rand(4, ScalarType.Float64).data<double>()];
        manual_seed(12);

        _ = trainer.Step([batch]);

        Assert.Equal(expected, rand(4, ScalarType.Float64).data<double>().ToArray());
    }

    /// <summary>A branch of one's own drops by the training's seed whatever the configuration says of dropout; computed again, it drops the same.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_a_branch_of_ones_own_drops_follows_from_the_seed(bool recompute)
    {
        LayerFactory layers = new() { FeedForward = (config, dtype, device) => new DroppingFeedForward(config, dtype, device) };
        RetroModel[] trained = [.. new long[] { 1, 2 }.Select(other =>
        {
            manual_seed(5);
            RetroModel model = new(Config, layers: layers);
            using Trainer trainer = new(model, Options with { Steps = 3, RecomputeActivations = recompute });
            manual_seed(other);
            trainer.Run(new CopyingData(Config, 2, 3, seed: 1));
            return model;
        })];

        AssertSameWeights(trained[0], trained[1]);
        Array.ForEach(trained, model => model.Dispose());
    }

    /// <summary>A hook may come between two steps.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_a_hook_drops_that_comes_after_the_trainer_follows_from_the_seed(bool recompute)
    {
        RetroModel[] trained = [.. new long[] { 1, 2 }.Select(other =>
        {
            RetroModel model = Model(Config, seed: 5);
            using Trainer trainer = new(model, Options with { Steps = 3, RecomputeActivations = recompute });
            model.Layers[0].FeedForward.register_forward_hook((_, _, y) => SeededDropout.Of(y, 0.3));
            manual_seed(other);
            trainer.Run(new CopyingData(Config, 2, 3, seed: 1));
            return model;
        })];

        AssertSameWeights(trained[0], trained[1]);
        Array.ForEach(trained, model => model.Dispose());
    }

    private sealed class DroppingFeedForward(RetroConfig config, ScalarType dtype, Device? device) : FeedForward(config, encoder: false, dtype, device)
    {
        public override Tensor forward(Tensor x) => training ? SeededDropout.Of(base.forward(x), 0.3) : base.forward(x);
    }
}
