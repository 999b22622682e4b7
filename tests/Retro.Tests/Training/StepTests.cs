using Retro.Modeling;
using Retro.Tests.Optimization;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>One step: what it computes, what it moves, and what it leaves behind where it fails.</summary>
public sealed class StepTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Every_target_of_a_step_weighs_the_same_however_they_are_divided_into_batches(int threads)
    {
        // Two targets in one batch, all in another, none in a third.
        using ThreadCount set = new(threads);
        using RetroModel model = Model(Config);
        TokenBatch few = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0);
        TokenBatch many = new CopyingData(Config, 2, 3, seed: 2).Batch(0, 0);
        TokenBatch none = new CopyingData(Config, 2, 3, seed: 3).Batch(0, 0);
        Array.Clear(few.LossMask);
        few.LossMask[5] = few.LossMask[7] = true;
        Array.Clear(none.LossMask);
        using TrainingBatch a = few.ToTensors(), b = many.ToTensors(), c = none.ToTensors();
        double expected = new[] { a, b }.Sum(batch =>
            LogLikelihood.Of(model, batch.Tokens, batch.Neighbors, batch.Valid, batch.LossMask).sum().item<float>());
        int targets = 2 + Enumerable.Range(0, many.LossMask.Length).Count(i => i % many.Length > 0 && many.LossMask[i]);
        using Trainer trainer = new(model, Options);

        TrainingProgress step = trainer.Step([a, b, c]);

        Assert.Equal(-expected / targets, step.Loss, 1e-4);
        Assert.False(step.Skipped);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_step_that_fails_leaves_no_gradient_behind(int threads)
    {
        using ThreadCount set = new(threads);
        using RetroModel model = Model(Config), other = Model(Config);
        using Trainer trainer = new(model, Options), untouched = new(other, Options);
        TokenBatch wrong = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0);
        wrong.Tokens[3] = Config.VocabularySize;
        using TrainingBatch good = new CopyingData(Config, 2, 3, seed: 2).Batch(0, 0).ToTensors(), bad = wrong.ToTensors();

        Assert.ThrowsAny<ArgumentException>(() => trainer.Step([good, bad]));
        TrainingProgress after = trainer.Step([good]), expected = untouched.Step([good]);

        Assert.Equal(expected.GradientNorm, after.GradientNorm);
        AssertSameWeights(other, model);
    }

    /// <summary>Batches behind it have been computed, and wait for their turn to be summed.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_batch_that_fails_while_it_is_computed_ends_the_step_and_leaves_no_gradient_behind(int threads)
    {
        using ThreadCount set = new(threads);
        using RetroModel model = Model(Config), other = Model(Config);
        using Trainer trainer = new(model, Options), untouched = new(other, Options);
        using TrainingBatch good = new CopyingData(Config, 2, 3, seed: 2).Batch(0, 0).ToTensors();
        using TrainingBatch single = new CopyingData(Config, 1, 3, seed: 2).Batch(0, 0).ToTensors();
        nn.Module<Tensor, Tensor> branch = model.Layers[0].FeedForward;
        branch.register_forward_pre_hook((_, x) => x.shape[0] == 1 ? throw new InvalidDataException("one row") : x);
        foreach (int place in new[] { 0, 1, 3, 6 })
        {
            TrainingBatch[] batches = [.. Enumerable.Repeat(good, 7)];
            batches[place] = single;
            Assert.Equal("one row", Assert.Throws<InvalidDataException>(() => trainer.Step(batches)).Message);
        }

        TrainingProgress after = trainer.Step([good]), expected = untouched.Step([good]);

        Assert.Equal(expected.GradientNorm, after.GradientNorm);
        AssertSameWeights(other, model);
    }

    [Fact]
    public void A_step_without_any_target_moves_nothing()
    {
        using RetroModel model = Model(Config);
        TokenBatch none = new CopyingData(Config, 2, 3, seed: 3).Batch(0, 0);
        Array.Clear(none.LossMask);
        Dictionary<string, double[]> before = Weights(model);
        using Trainer trainer = new(model, Options);
        using TrainingBatch batch = none.ToTensors();

        TrainingProgress step = trainer.Step([batch]);

        Assert.Equal(0, step.Loss);
        Assert.False(step.Skipped);
        Assert.Equal(before, Weights(model));
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public void What_the_optimizer_does_not_hold_gets_no_gradient(int batches, bool recompute)
    {
        foreach (string held in new[] { "decoder.1.", "head.weight" })
        {
            using RetroModel model = Model(Config);
            using Trainer trainer = new(
                model,
                Options with { RecomputeActivations = recompute },
                optimizer: all => optim.SGD(all.Where(pair => pair.name.StartsWith(held, StringComparison.Ordinal)).Select(pair => pair.parameter), 0.1));
            using TrainingBatch batch = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();

            Assert.True(trainer.Step([.. Enumerable.Repeat(batch, batches)]).GradientNorm > 0);
            Assert.All(model.parameters(), parameter => Assert.Null(parameter.grad));
            foreach ((_, Parameter parameter) in model.named_parameters().Where(pair => pair.name.StartsWith(held, StringComparison.Ordinal)))
            {
                parameter.requires_grad = false;
            }

            Assert.Throws<TrainingException>(() => trainer.Step([.. Enumerable.Repeat(batch, batches)]));
            Assert.All(model.parameters(), parameter => Assert.Null(parameter.grad));
        }
    }

    [Fact]
    public void Gradients_are_recorded_whatever_the_caller_has_switched_off()
    {
        using RetroModel model = Model(Config), same = Model(Config);
        using Trainer one = new(model, Options), other = new(same, Options);
        one.Run(new CopyingData(Config, 2, 3, seed: 1));
        using (no_grad())
        {
            other.Run(new CopyingData(Config, 2, 3, seed: 1));
        }

        Assert.Equal(Weights(model), Weights(same));
        using RetroModel third = Model(Config);
        using Trainer refused = new(third, Options);
        using (inference_mode())
        {
            Assert.Throws<InvalidOperationException>(() => refused.Run(new CopyingData(Config, 2, 3, seed: 1)));
        }

        Assert.Equal(0, refused.StepsDone);
    }

    [Fact]
    public void A_default_device_of_torchs_changes_nothing_for_a_model_on_the_processor()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Steps = 2, Dtype = ScalarType.BFloat16 });
        CopyingData data = new(Config, 2, 3, seed: 1);
        try
        {
            set_default_device(META);
            trainer.Run(data);
        }
        finally
        {
            set_default_device(CPU);
        }

        Assert.Equal(2, trainer.StepsDone);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.3)]
    public void The_number_of_live_tensors_stays_flat(double retrievalDropout)
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Steps = 40 });
        CopyingData data = new(Config, 2, 3, seed: 1, dropout: retrievalDropout);
        List<long> counts = [];
        using ThreadCount set = new(2);
        _ = LiveTensors.Settled();
        trainer.Run(data, new Reports<TrainingProgress>(_ => counts.Add(Tensor.TotalCount)));

        // TorchSharp counts a tensor for each gradient that autograd finds there is none of, and never takes it off: those of what reads neighbors, for a batch
        // without any.
        long absent = model.named_parameters()
            .Count(pair => pair.name.StartsWith("encoder.", StringComparison.Ordinal) || pair.name.Contains(".cca", StringComparison.Ordinal)), without = 0;
        for (int step = 0; step < counts.Count; step++)
        {
            without += Enumerable.Range(2 * step, 2).Count(batch => data.Batch(batch, 0).Retrieved is null);
            counts[step] -= absent * without;
        }

        Assert.Equal(retrievalDropout > 0, without > 0);
        // The first step with and the first one without neighbors may make tables that stay.
        Assert.Single(counts.Skip(10).Distinct());
    }
}
