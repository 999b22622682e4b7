using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.optim;

namespace Retro.Tests.Training;

/// <summary>Optimizers and schedules of TorchSharp, and of one's own, in the trainer.</summary>
public sealed class OwnOptimizerTests : IDisposable
{
    private const double Peak = 0.02;

    private static readonly RetroConfig s_config = SmallModel.Config;

    private static readonly TrainingOptions s_options = new() { Steps = 8, WarmupSteps = 2, LearningRate = Peak };

    private static readonly TrainingOptions s_steady = s_options with
    {
        WarmupSteps = 0,
        FinalLearningRate = Peak,
        Optimizer = new() { ClipNorm = double.PositiveInfinity }
    };

    private static readonly Dictionary<string, Func<IReadOnlyList<(string name, Parameter parameter)>, Optimizer>> s_optimizers = new()
    {
        ["SGD"] = parameters => SGD(parameters, Peak, momentum: 0.9),
        ["Adam"] = parameters => Adam(parameters, Peak, amsgrad: true),
        ["NAdam"] = parameters => NAdam(parameters, Peak),
        ["RMSProp"] = parameters => RMSProp(parameters, Peak, momentum: 0.5, centered: true),
    };

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("SGD")]
    [InlineData("Adam")]
    public void A_training_with_an_optimizer_of_TorchSharp_is_what_a_loop_of_ones_own_gives(string name)
    {
        CopyingData data = new(s_config, rows: 2, chunks: 3, seed: 1);
        using RetroModel trained = Model();
        using Trainer trainer = new(trained, s_steady, optimizer: s_optimizers[name]);
        trainer.Run(data);

        using RetroModel looped = Model();
        looped.train();
        using Optimizer optimizer = s_optimizers[name]([.. looped.named_parameters()]);
        for (int step = 0; step < s_steady.Steps; step++)
        {
            using DisposeScope scope = NewDisposeScope();
            TrainingBatch batch = data.Batch(step, 0).ToTensors();
            optimizer.zero_grad();
            LogLikelihood.MeanLoss(looped.call(batch.Tokens, batch.Neighbors, batch.Valid), LogLikelihood.Targets(batch.Tokens, batch.LossMask)).backward();
            using (FinalizerGate.Close())
            {
                optimizer.step();
            }
        }

        using RetroModel untouched = Model();
        Assert.True(Distance(trained, looped) < 1e-5, $"{Distance(trained, looped)}");
        Assert.True(Distance(trained, untouched) > 0.01);
    }

    [Theory]
    [InlineData("SGD", false)]
    [InlineData("Adam", true)]
    [InlineData("NAdam", false)]
    [InlineData("RMSProp", true)]
    public void Interrupted_and_resumed_it_ends_with_the_same_bits(string name, bool scheduled)
    {
        CopyingData data = new(s_config, 2, 3, seed: 2, dropout: 0.3);
        Func<Optimizer, lr_scheduler.LRScheduler>? scheduler = scheduled ? optimizer => lr_scheduler.StepLR(optimizer, 2, 0.5) : null;
        using RetroModel whole = Model();
        using (Trainer trainer = new(whole, s_options, optimizer: s_optimizers[name], scheduler: scheduler))
        {
            trainer.Run(data);
        }

        string folder = Path.Combine(_folder.Path, "checkpoint");
        using (RetroModel first = Model())
        using (Trainer begun = new(first, s_options with { CheckpointFolder = folder }, optimizer: s_optimizers[name], scheduler: scheduler))
        {
            using CancellationTokenSource cancel = new();
            Assert.Throws<OperationCanceledException>(() => begun.Run(data, new Reports<TrainingProgress>(done =>
            {
                if (done.Step == 3)
                {
                    cancel.Cancel();
                }
            }), cancel.Token));
        }

        using RetroModel second = Model(seed: 77);
        using Trainer resumed = new(second, s_options, optimizer: s_optimizers[name], scheduler: scheduler);
        using (DisposeScope scope = NewDisposeScope())
        {
            resumed.Load(folder);
        }

        resumed.Run(data);
        Assert.Equal(8, resumed.StepsDone);
        Assert.Equal(0, Distance(whole, second));
    }

    /// <summary>What its first step makes is not in a checkpoint of before, and goes when that is loaded.</summary>
    [Fact]
    public void The_same_trainer_goes_back_to_before_its_first_step()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        string folder = Path.Combine(_folder.Path, "beginning");
        using RetroModel whole = Model(), model = Model();
        using (Trainer trainer = new(whole, s_options, optimizer: s_optimizers["SGD"]))
        {
            trainer.Run(data);
        }

        using Trainer back = new(model, s_options, optimizer: s_optimizers["SGD"]);
        back.Save(folder);
        using (TrainingBatch batch = data.Batch(0, 0).ToTensors())
        {
            back.Step([batch]);
        }

        back.Load(folder);
        back.Run(data);
        Assert.Equal(8, back.StepsDone);
        Assert.Equal(0, Distance(whole, model));
    }

    /// <summary>Its steps are counted within it, and change what cannot be undone, such as momentum.</summary>
    [Fact]
    public void A_scheduler_that_is_beyond_a_checkpoint_is_not_taken_for_one_that_stands_at_its_step()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        string folder = Path.Combine(_folder.Path, "checkpoint");
        using RetroModel model = Model(), other = Model();
        using Trainer trainer = Make(model), again = Make(other);
        Step(trainer);
        trainer.Save(folder);
        double second = Step(trainer);
        Assert.Contains("new trainer", Assert.Throws<InvalidOperationException>(() => trainer.Load(folder)).Message, StringComparison.Ordinal);
        Assert.Equal((2, Peak / 4), (trainer.StepsDone, Step(trainer)));
        again.Load(folder);
        Assert.Equal((second, Peak / 2), (Step(again), second));

        static Trainer Make(RetroModel of) => new(
            of, s_options, optimizer: parameters => SGD(parameters, Peak), scheduler: optimizer => lr_scheduler.StepLR(optimizer, 1, 0.5));

        double Step(Trainer of)
        {
            using TrainingBatch batch = data.Batch(of.StepsDone, 0).ToTensors();
            return of.Step([batch]).LearningRate;
        }
    }

    /// <summary>Weights of one step and the count of another are no state to go on from; the checkpoint is.</summary>
    [Fact]
    public void A_checkpoint_that_was_taken_over_by_half_is_neither_trained_on_nor_saved()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        string folder = Path.Combine(_folder.Path, "checkpoint"), after = Path.Combine(_folder.Path, "after");
        using RetroModel model = Model(), other = Model(seed: 77);
        using (Trainer begun = new(model, s_options, optimizer: s_optimizers["SGD"]))
        {
            for (int step = 0; step < 3; step++)
            {
                using TrainingBatch batch = data.Batch(step, 0).ToTensors();
                begun.Step([batch]);
            }

            begun.Save(folder);
        }

        List<int> asked = [];
        using Trainer resumed = new(
            other, s_options, optimizer: s_optimizers["SGD"], scheduler: optimizer => lr_scheduler.LambdaLR(optimizer, Factor));
        Assert.Throws<InvalidDataException>(() => resumed.Load(folder));
        foreach (Action act in new Action[] { () => resumed.Save(after), () => resumed.Run(data) })
        {
            Assert.Contains("between two steps", Assert.Throws<InvalidOperationException>(act).Message, StringComparison.Ordinal);
        }

        Assert.False(Directory.Exists(after));
        resumed.Load(folder);
        Assert.Equal([0, 1, 2, 3], asked);
        Assert.Equal(0, Distance(model, other));
        resumed.Save(after);
        Assert.Equal(3, Trainer.Stored(after).Steps);

        double Factor(int epoch)
        {
            asked.Add(epoch);
            return epoch == 2 ? throw new InvalidDataException("No rate is known there.") : 1;
        }
    }

    [Fact]
    public void What_cannot_be_stored_or_is_of_another_optimizer_is_refused_by_name_and_not_begun_anew()
    {
        CopyingData data = new(s_config, 2, 3, seed: 3);
        string folder = Path.Combine(_folder.Path, "plain");
        using RetroModel model = Model();
        using (Trainer trainer = new(model, s_options with { CheckpointFolder = folder }, optimizer: parameters => new PlainDescent(parameters, Peak)))
        {
            trainer.Run(data);
        }

        using RetroModel untouched = Model(), other = Model();
        Assert.True(Distance(model, untouched) > 1e-3);
        using (Trainer again = new(other, s_options, optimizer: parameters => new PlainDescent(parameters, Peak)))
        {
            Assert.Contains(nameof(PlainDescent), Assert.Throws<CheckpointException>(() => again.Load(folder)).Message, StringComparison.Ordinal);
        }

        using (Trainer retro = new(other, s_options))
        {
            string message = Assert.Throws<CheckpointException>(() => retro.Load(folder)).Message;
            Assert.Contains(nameof(PlainDescent), message, StringComparison.Ordinal);
            Assert.Contains(nameof(RetroOptimizer), message, StringComparison.Ordinal);
        }

        // The same kind with another memory: Adam with and without the largest squares.
        string adam = Path.Combine(_folder.Path, "adam");
        using (Trainer begun = new(other, s_options, optimizer: parameters => Adam(parameters, Peak)))
        {
            begun.Save(adam);
        }

        using Trainer largest = new(other, s_options, optimizer: s_optimizers["Adam"]);
        Assert.Contains("max_exp_avg_sq", Assert.Throws<CheckpointException>(() => largest.Load(adam)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Its_rates_follow_the_options_a_function_or_a_scheduler()
    {
        CopyingData data = new(s_config, 2, 3, seed: 4);
        List<Optimizer> made = [];
        Optimizer Make(IReadOnlyList<(string name, Parameter parameter)> parameters)
        {
            made.Add(SGD(parameters, 3 * Peak));
            return made[^1];
        }

        LearningRateSchedule schedule = s_options.Schedule();
        Assert.Equal(
            Enumerable.Range(0, 8).Select(step => (schedule.Rate(step), 3 * schedule.Rate(step))), Rates(new(Model(), s_options, optimizer: Make)), Close);
        Assert.Equal(
            Enumerable.Range(0, 8).Select(step => (Peak / (step + 1), 3 * Peak / (step + 1))),
            Rates(new(Model(), s_options, optimizer: Make, rate: step => Peak / (step + 1))),
            Close);
        Assert.Equal(
            Enumerable.Range(0, 8).Select(step => (3 * Peak * Math.Pow(0.5, step / 3), 3 * Peak * Math.Pow(0.5, (step + 1) / 3))),
            Rates(new(Model(), s_options, optimizer: Make, scheduler: optimizer => lr_scheduler.StepLR(optimizer, 3, 0.5))),
            Close);

        // Retro's own optimizer takes a function too.
        List<double> rates = [];
        using RetroModel model = Model();
        using Trainer own = new(model, s_options, rate: step => Peak / (step + 1));
        own.Run(data, new Reports<TrainingProgress>(done => rates.Add(done.LearningRate)));
        Assert.Equal(Enumerable.Range(0, 8).Select(step => Peak / (step + 1)), rates);

        // What is reported of a step, and what the optimizer has after it.
        List<(double, double)> Rates(Trainer trainer)
        {
            List<(double, double)> came = [];
            using (trainer.Model)
            using (trainer)
            {
                trainer.Run(data, new Reports<TrainingProgress>(done => came.Add((done.LearningRate, made[^1].ParamGroups.Single().LearningRate))));
            }

            return came;
        }

        static bool Close((double, double) x, (double, double) y) => Math.Abs(x.Item1 - y.Item1) < 1e-12 && Math.Abs(x.Item2 - y.Item2) < 1e-12;
    }

    [Fact]
    public void Gradients_are_clipped_and_steps_that_are_no_number_are_skipped()
    {
        using RetroModel model = Model();
        Dictionary<string, Tensor> before = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter.detach().clone());
        TrainingOptions options = s_steady with { Optimizer = new() { ClipNorm = 1e-3 } };
        using Trainer trainer = new(model, options, optimizer: parameters => SGD(parameters, Peak));
        using TrainingBatch batch = new CopyingData(s_config, 2, 3, seed: 5).Batch(0, 0).ToTensors();
        double norm = trainer.Step([batch]).GradientNorm;
        double moved = Math.Sqrt(model.named_parameters().Sum(pair => Math.Pow((pair.parameter.detach() - before[pair.name]).norm().item<float>(), 2)));
        Assert.True(norm > 0.1);
        Assert.Equal(Peak * 1e-3, moved, Peak * 1e-5);

        using (no_grad())
        {
            model.get_parameter("decoder.norm.weight")!.fill_(double.PositiveInfinity);
        }

        Tensor kept = model.get_parameter("embedding.weight")!.detach().clone();
        Assert.False(double.IsFinite(trainer.Step([batch]).GradientNorm));
        Assert.True(Modeling.ModelCase.BitEqual(kept, model.get_parameter("embedding.weight")!.detach()));
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        using RetroModel model = Model();
        Assert.Throws<ArgumentException>(() => new Trainer(model, s_options, scheduler: optimizer => lr_scheduler.StepLR(optimizer, 1)));
        Assert.Throws<ArgumentException>(() =>
            new Trainer(model, s_options, optimizer: s_optimizers["SGD"], scheduler: optimizer => lr_scheduler.StepLR(optimizer, 1), rate: _ => 1));
        Assert.Contains(
            "ReduceLROnPlateau",
            Assert.Throws<ArgumentException>(() =>
                new Trainer(model, s_options, optimizer: s_optimizers["SGD"], scheduler: optimizer => lr_scheduler.ReduceLROnPlateau(optimizer))).Message,
            StringComparison.Ordinal);
        using Parameter foreign = new(zeros(2));
        Assert.Throws<ArgumentException>(() => new Trainer(model, s_options, optimizer: _ => SGD([foreign], Peak)));
    }

    private static RetroModel Model(long seed = 4)
    {
        manual_seed(seed);
        return new RetroModel(s_config);
    }

    /// <summary>The largest difference of two models' weights.</summary>
    private static double Distance(RetroModel one, RetroModel other)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        return one.parameters().Zip(other.parameters()).Max(pair => (pair.First - pair.Second).abs().max().item<float>());
    }

    /// <summary>Plain gradient descent that shares nothing with TorchSharp's optimizers but the base.</summary>
    private sealed class PlainDescent(IReadOnlyList<(string name, Parameter parameter)> trained, double rate) : Optimizer(IntPtr.Zero)
    {
        public override IEnumerable<ILearningRateController> ParamGroups => [];

        public override Tensor step(Func<Tensor>? closure = null)
        {
            using IDisposable noGradients = no_grad();
            foreach ((_, Parameter parameter) in trained)
            {
                if (parameter.grad is { } gradient)
                {
                    parameter.sub_(gradient * rate);
                }
            }

            return null!;
        }
    }
}
