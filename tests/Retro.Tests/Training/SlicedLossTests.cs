using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public class SlicedLossTests
{
    private const double Rounding = 1e-11;

    [Theory]
    [InlineData(1)]
    [InlineData(3 * 31 * sizeof(float))]
    [InlineData(1 << 20)]
    public void Loss_and_gradients_are_those_of_all_logits_at_once(long mostBytes)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        using RetroModel model = new(SmallModel.Config, ScalarType.Float64);
        Tensor normed = randn([2, 7, 16], ScalarType.Float64).requires_grad_(true);
        Tensor targets = LogLikelihood.Targets(randint(31, [2, 7], ScalarType.Int64), rand(2, 7).lt(0.7));
        Tensor expected = LogLikelihood.MeanLoss(model.Head(normed), targets);
        IList<Tensor> gradients = autograd.grad([expected.mul(0.3)], [normed, model.HeadWeight]);

        (double loss, Tensor ofStates, Tensor? ofHead) = SlicedLoss.Of(model, normed, targets, 0.3, mostBytes);

        Assert.Equal(expected.item<double>(), loss, Rounding);
        Assert.InRange(ModelCase.Distance(gradients[0], ofStates), 0, Rounding);
        Assert.InRange(ModelCase.Distance(gradients[1], ofHead!), 0, Rounding);
        model.HeadWeight.requires_grad = false;
        Assert.Null(SlicedLoss.Of(model, normed, targets, 0.3, mostBytes).OfHead);
    }

    [Theory]
    [InlineData(false, true)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void A_step_over_a_large_vocabulary_has_the_gradient_of_the_mean_loss(bool recompute, bool tied)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(4);
        RetroConfig config = SmallModel.Config with { VocabularySize = 150_000, Width = 4, TieEmbeddings = tied, Layers = 1, Retrieval = null };
        using RetroModel model = new(config, ScalarType.Float64);
        using RetroOptimizer optimizer = new(model);
        TrainingBatch[] batches = [.. Enumerable.Range(0, 2).Select(_ => new TrainingBatch(randint(config.VocabularySize, [1, 120], ScalarType.Int64)))];
        Assert.All(batches, batch => Assert.True(SlicedLoss.IsNeeded(model, batch.Tokens)));
        Tensor mean = stack(batches.Select(batch => LogLikelihood.MeanLoss(model.call(batch.Tokens, null, null), LogLikelihood.Targets(batch.Tokens)))).mean();
        IList<Tensor> expected = autograd.grad([mean], [.. ((ITrainingOptimizer)optimizer).Parameters]);

        (double loss, _, _) = new StepGradients(model, optimizer, 0, recompute).Add(batches, 0, closedBook: false);

        Assert.Equal(mean.item<double>(), loss, Rounding);
        Assert.All(
            expected.Zip(((ITrainingOptimizer)optimizer).GradientSums),
            pair => Assert.InRange(ModelCase.Distance(pair.First, pair.Second!), 0, Rounding));
        optimizer.ClearGradients();
    }
}
