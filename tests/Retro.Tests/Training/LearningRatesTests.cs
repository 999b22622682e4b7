using Retro.Modeling;
using Retro.Optimization;
using Retro.Training;
using TorchSharp;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>The learning rates of a step, and what they move.</summary>
public sealed class LearningRatesTests
{
    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(-1)]
    public void A_learning_rate_that_no_step_can_have_is_refused_before_anything_moves(double rate)
    {
        using RetroModel model = Model(Config);
        Dictionary<string, double[]> before = Weights(model);
        using Trainer trainer = new(model, Options, rate: _ => rate);
        TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1)));
        Assert.Contains(FormattableString.Invariant($"The learning rate of step 0, counted from 0, is {rate};"), fault.Message, StringComparison.Ordinal);
        Assert.Equal(0, trainer.StepsDone);
        Assert.Equal(before, Weights(model));

        // A scheduler's as well.
        using Trainer scheduled = new(
            model,
            Options,
            optimizer: parameters => optim.SGD(parameters, 0.1),
            scheduler: optimizer => optim.lr_scheduler.LambdaLR(optimizer, _ => rate));
        Assert.Throws<TrainingException>(() => scheduled.Run(new CopyingData(Config, 2, 3, seed: 1)));
        Assert.Equal(before, Weights(model));
    }

    [Theory]
    [InlineData(OptimizerKind.AdamW)]
    [InlineData(OptimizerKind.Muon)]
    public void The_retrieval_branches_take_their_part_of_the_learning_rate(OptimizerKind kind)
    {
        TrainingOptions options = Options with { WarmupSteps = 0, Optimizer = new() { Kind = kind, WeightDecay = 0 } };
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, double> whole = Moved(options).Moved, part = Moved(options with { RetrievalRate = 0.25 }).Moved;
        Assert.All(whole.Keys, name =>
        {
            bool retrieval = name.Contains(".cca.", StringComparison.Ordinal) || name.StartsWith("encoder.", StringComparison.Ordinal);
            Assert.Equal(retrieval ? 0.25 : 1, part[name] / whole[name], 1e-3);
        });
        Assert.Contains(whole.Keys, name => name.StartsWith("encoder.", StringComparison.Ordinal));
        using RetroModel model = Model(Config);
        Assert.Throws<ArgumentException>(() => new Trainer(
            model, options with { RetrievalRate = 0.25 }, optimizer: parameters => optim.SGD(parameters.Select(pair => pair.parameter), 0.1)));
    }

    /// <summary>Of the first step, which either optimizer moves in proportion to its rate, however large the gradient.</summary>
    [Fact]
    public void Muon_moves_at_a_rate_of_its_own_along_the_same_schedule()
    {
        TrainingOptions options = Options with { WarmupSteps = 0, Optimizer = new() { Kind = OptimizerKind.Muon, WeightDecay = 0 } };
        using DisposeScope scope = NewDisposeScope();
        using RetroModel any = Model(Config);
        using RetroOptimizer optimizer = TrainingOptimizers.Own(any, options);
        HashSet<string> muon = [.. optimizer.MuonNames];
        (double rate, Dictionary<string, double> moved) = Moved(options);
        Assert.Equal(options.LearningRate, rate, 1e-12);
        Assert.InRange(muon.Count, 1, moved.Count - 1);

        AssertMoved(2, 1, options with { MuonLearningRate = 2 * options.MuonLearningRate });
        AssertMoved(1, 2, options with { LearningRate = 2 * options.LearningRate });
        (double first, _) = AssertMoved(0.25, 0.25, options with { WarmupSteps = 4 });
        Assert.Equal(0.25 * rate, first, 1e-12);

        (double Rate, Dictionary<string, double> Moved) AssertMoved(double ofMuon, double ofOthers, TrainingOptions with)
        {
            (double Rate, Dictionary<string, double> Moved) came = Moved(with);
            Assert.All(moved.Keys, name => Assert.Equal(muon.Contains(name) ? ofMuon : ofOthers, came.Moved[name] / moved[name], 1e-3));
            return came;
        }
    }

    /// <summary>The learning rate of a training's first step, and how far it moves each parameter.</summary>
    private static (double Rate, Dictionary<string, double> Moved) Moved(TrainingOptions options)
    {
        using RetroModel model = Model(Config, ScalarType.Float64);
        Dictionary<string, Tensor> before = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter.detach().clone());
        using Trainer trainer = new(model, options);
        using TrainingBatch batch = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        double rate = trainer.Step([batch]).LearningRate;
        return (
            rate, model.named_parameters().ToDictionary(pair => pair.name, pair => (pair.parameter.detach() - before[pair.name]).norm().item<double>()));
    }
}
