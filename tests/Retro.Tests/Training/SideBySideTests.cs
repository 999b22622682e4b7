using System.Collections.Concurrent;
using Retro.Modeling;
using Retro.Tests.Optimization;
using Retro.Training;
using TorchSharp;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Batches of a step that are computed side by side.</summary>
public sealed class SideBySideTests
{
    [Theory]
    [InlineData(2, 0, false)]
    [InlineData(5, 0, false)]
    [InlineData(5, 0.2, false)]
    [InlineData(5, 0.2, true)]
    public void Batches_side_by_side_give_the_weights_of_one_after_the_other(int accumulation, double dropout, bool recompute)
    {
        // Batches side by side, and matrices of Muon in two stacks for one, round otherwise. In float64 that is far below what a gradient summed wrongly
        // would change, and below the optimizer's epsilon, which in float32 it need not be.
        List<double[]> ends = [];
        foreach ((int threads, int? sideBySide) in new (int, int?)[] { (1, null), (2, null), (1, null), (2, 1), (3, 2) })
        {
            using ThreadCount set = new(threads);
            using RetroModel model = Model(Config with { Dropout = dropout }, ScalarType.Float64);
            TrainingOptions options = Options with { Steps = 4, Accumulation = accumulation, RecomputeActivations = recompute, SideBySide = sideBySide };
            using Trainer trainer = new(model, options);
            trainer.Run(new CopyingData(Config, 2, 3, seed: 1, dropout: 0.4));
            ends.Add([.. Weights(model).Values.SelectMany(weight => weight)]);
        }

        Assert.Equal(ends[0], ends[2]);
        Assert.All(ends, end => Assert.Equal(ends[0], end, (one, other) => Math.Abs(one - other) < 1e-9));
    }

    [Theory]
    [InlineData(null, 1)]
    [InlineData(2, 2)]
    [InlineData(1, 4)]
    public void No_more_batches_are_computed_side_by_side_than_may_be(int? sideBySide, int threadsEach)
    {
        using ThreadCount set = new(4);
        using RetroModel model = Model(Config);
        ConcurrentBag<int> seen = [];
        model.Layers[0].SelfAttention.register_forward_pre_hook((_, x, plan) =>
        {
            seen.Add(get_num_threads());
            return (x, plan);
        });
        using Trainer trainer = new(model, Options with { Steps = 1, WarmupSteps = 0, Accumulation = 4, SideBySide = sideBySide });
        trainer.Run(new CopyingData(Config, 2, 3, seed: 1));
        Assert.Equal(Enumerable.Repeat(threadsEach, 4), seen);
    }

    /// <summary>What each batch changes depends on which comes first.</summary>
    [Theory]
    [InlineData(null, 4)]
    [InlineData(2, 2)]
    public void Where_a_branch_keeps_buffers_batches_are_computed_one_after_the_other_unless_it_is_said(int? sideBySide, int threadsEach)
    {
        using ThreadCount set = new(4);
        List<float[]> means = [];
        for (int run = 0; run < 2; run++)
        {
            manual_seed(5);
            using RetroModel model = new(Config, layers: new() { FeedForward = (config, dtype, device) => new CountingFeedForward(config, dtype, device) });
            using Trainer trainer = new(model, Options with { Steps = 3, Accumulation = 4, SideBySide = sideBySide });
            trainer.Run(new CopyingData(Config, 2, 3, seed: 1));

            CountingFeedForward[] own = [.. model.Layers.Select(layer => (CountingFeedForward)layer.FeedForward)];
            Assert.All(own, branch => Assert.Equal(Enumerable.Repeat(threadsEach, 12), branch.Threads));
            means.Add([.. own.SelectMany(branch => branch.get_buffer("mean")!.data<float>().ToArray())]);
        }

        Assert.All(means, mean => Assert.NotEqual(0, mean[0]));
        if (sideBySide is null)
        {
            Assert.Equal(means[0], means[1]);
        }
    }

    /// <summary>Keeps a running mean of what it reads.</summary>
    private sealed class CountingFeedForward : FeedForward
    {
        private readonly Tensor _mean;

        public CountingFeedForward(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, encoder: false, dtype, device)
            => register_buffer("mean", _mean = zeros(1, dtype, device));

        /// <summary>Threads of each batch.</summary>
        public ConcurrentBag<int> Threads { get; } = [];

        public override Tensor forward(Tensor x)
        {
            Threads.Add(get_num_threads());
            using (NewDisposeScope())
            using (no_grad())
            {
                _mean.mul_(0.9).add_(x.detach().mean());
            }

            return base.forward(x);
        }
    }
}
