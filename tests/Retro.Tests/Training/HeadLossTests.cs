using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public class HeadLossTests
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
        TrainingBatch batch = new(randint(31, [2, 7], ScalarType.Int64), LossMask: rand(2, 7).lt(0.7));
        Tensor expected = LogLikelihood.MeanLoss(model.Head(normed), LogLikelihood.Targets(batch.Tokens, batch.LossMask));
        IList<Tensor> gradients = autograd.grad([expected.mul(0.3)], [normed, model.HeadWeight]);
        BatchTargets targets = BatchTargets.Of(batch);

        (Tensor loss, (Tensor Output, Tensor Gradient)[] outputs) = HeadLoss.Of(model, normed, targets, 0.3, mostBytes);

        Assert.InRange(targets.Count, 1, 11);
        Assert.Equal(expected.item<double>(), loss.item<double>(), Rounding);
        Assert.Same(normed, outputs[0].Output);
        Assert.InRange(ModelCase.Distance(gradients[0], outputs[0].Gradient), 0, Rounding);
        Assert.InRange(ModelCase.Distance(gradients[1], outputs[1].Gradient), 0, Rounding);
        model.HeadWeight.requires_grad = false;
        Assert.Single(HeadLoss.Of(model, normed, targets, 0.3, mostBytes).Outputs);
    }

    /// <summary>A cap on the logits, such as Gemma's, has a derivative of its own.</summary>
    [Fact]
    public void A_hook_on_the_head_counts_in_the_gradient_as_in_the_loss()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        using RetroModel model = new(SmallModel.Config, ScalarType.Float64);
        nn.Module<Tensor, Tensor> head = (nn.Module<Tensor, Tensor>)model.named_modules().Single(module => module.name == "head").module;
        head.register_forward_hook((_, _, logits) => (logits * 3).tanh() / 2);
        Tensor normed = randn([2, 7, 16], ScalarType.Float64).requires_grad_(true);
        TrainingBatch batch = new(randint(31, [2, 7], ScalarType.Int64), LossMask: rand(2, 7).lt(0.7));
        Tensor plain = LinearLayer.Product(normed, model.HeadWeight), capped = (plain * 3).tanh() / 2;
        Tensor expected = LogLikelihood.MeanLoss(capped, LogLikelihood.Targets(batch.Tokens, batch.LossMask));
        IList<Tensor> gradients = autograd.grad([expected.mul(0.3)], [normed, model.HeadWeight]);

        (Tensor loss, (Tensor Output, Tensor Gradient)[] outputs) = HeadLoss.Of(model, normed, BatchTargets.Of(batch), 0.3);
        IList<Tensor> given = autograd.grad(
            [.. outputs.Select(one => one.Output)], [normed, model.HeadWeight], grad_outputs: [.. outputs.Select(one => one.Gradient)]);

        Assert.Equal(expected.item<double>(), loss.item<double>(), Rounding);
        Assert.InRange(ModelCase.Distance(gradients[0], given[0]), 0, Rounding);
        Assert.InRange(ModelCase.Distance(gradients[1], given[1]), 0, Rounding);
    }

    [Theory]
    [InlineData(ScalarType.Float32, 1)]
    [InlineData(ScalarType.Float32, 31)]
    [InlineData(ScalarType.Float32, 64)]
    [InlineData(ScalarType.Float32, 5003)]
    [InlineData(ScalarType.BFloat16, 1)]
    [InlineData(ScalarType.BFloat16, 31)]
    [InlineData(ScalarType.BFloat16, 64)]
    [InlineData(ScalarType.BFloat16, 5003)]
    public void The_gradient_in_the_logits_place_is_that_of_the_operators(ScalarType type, int vocabulary)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(6);
        Tensor logits = randn([90, vocabulary]).mul(8).to_type(type), targets = randint(vocabulary, [90], ScalarType.Int64);
        (Tensor expectedLoss, Tensor expected) = SoftmaxGradient.ByOperators(logits.to_type(ScalarType.Float64), targets, 0.25);

        (Tensor loss, Tensor gradient) = SoftmaxGradient.Of(logits, targets, 0.25);

        Assert.Same(logits, gradient);
        Assert.Equal(expectedLoss.item<double>(), loss.item<double>(), 1e-3);
        // A bfloat16 is within a 256th of what it stands for.
        Tensor error = (gradient.to_type(ScalarType.Float64) - expected).abs() - expected.abs() * (type == ScalarType.BFloat16 ? 1 / 255.0 : 1e-5);
        Assert.InRange(error.max().item<double>(), double.NegativeInfinity, 1e-7);
    }

    [Theory]
    [InlineData(ScalarType.Float32, float.NaN)]
    [InlineData(ScalarType.Float32, float.PositiveInfinity)]
    [InlineData(ScalarType.BFloat16, float.NaN)]
    [InlineData(ScalarType.BFloat16, float.PositiveInfinity)]
    public void A_logit_that_is_no_number_is_seen_in_loss_and_gradient(ScalarType type, float broken)
    {
        using DisposeScope scope = NewDisposeScope();
        foreach (int place in new[] { 3, 40, 69 }) // in the first half of a block, in the second, and beyond
        {
            Tensor logits = zeros([2, 70], type);
            logits[1, place] = tensor(broken);

            (Tensor loss, Tensor gradient) = SoftmaxGradient.Of(logits, zeros([2], ScalarType.Int64), 1);

            Assert.False(double.IsFinite(loss.item<double>()));
            Assert.True(gradient[0].isfinite().all().item<bool>());
            Assert.False(gradient[1].isfinite().all().item<bool>());
        }
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
        Tensor mean = stack(batches.Select(batch => LogLikelihood.MeanLoss(model.call(batch.Tokens, null, null), LogLikelihood.Targets(batch.Tokens)))).mean();
        IList<Tensor> expected = autograd.grad([mean], [.. ((ITrainingOptimizer)optimizer).Parameters]);

        (Tensor loss, _, _) = new StepGradients(model, optimizer, new(), 0, recompute).Add(
            [.. batches.Select(batch => StepBatch.Of(model, batch))], 0, FinalizerGate.IsNeededFor(model));

        Assert.Equal(mean.item<double>(), loss.item<double>(), Rounding);
        Assert.All(
            expected.Zip(((ITrainingOptimizer)optimizer).GradientSums),
            pair => Assert.InRange(ModelCase.Distance(pair.First, pair.Second!), 0, Rounding));
        optimizer.ClearGradients();
    }

    /// <summary>Autograd gives the two parameters of a + b one tensor for their gradients; what one is given must not go to the other as well.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Parameters_whose_gradient_is_one_tensor_get_it_once_for_each_batch(bool recompute)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(5);
        LayerFactory layers = new() { FeedForward = (config, dtype, device) => new Shifted(config, dtype, device) };
        using RetroModel model = new(SmallModel.Config with { Retrieval = null }, ScalarType.Float64, layers: layers);
        using RetroOptimizer optimizer = new(model);
        TrainingBatch[] batches = [.. Enumerable.Range(0, 3).Select(_ => new TrainingBatch(randint(31, [1, 20], ScalarType.Int64)))];
        Tensor mean = stack(batches.Select(batch => LogLikelihood.MeanLoss(model.call(batch.Tokens, null, null), LogLikelihood.Targets(batch.Tokens)))).mean();
        IList<Tensor> expected = autograd.grad([mean], [.. ((ITrainingOptimizer)optimizer).Parameters]);

        _ = new StepGradients(model, optimizer, new(), 0, recompute).Add(
            [.. batches.Select(batch => StepBatch.Of(model, batch))], 0, FinalizerGate.IsNeededFor(model));

        Assert.All(
            expected.Zip(((ITrainingOptimizer)optimizer).GradientSums),
            pair => Assert.InRange(ModelCase.Distance(pair.First, pair.Second!), 0, Rounding));
        optimizer.ClearGradients();
    }

    /// <summary>A branch that adds the sum of two parameters.</summary>
    private sealed class Shifted : FeedForward
    {
        private readonly Parameter _a, _b;

        public Shifted(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, false, dtype, device)
        {
            register_parameter("a", _a = new Parameter(zeros(config.Width, dtype, device)));
            register_parameter("b", _b = new Parameter(zeros(config.Width, dtype, device)));
        }

        public override Tensor forward(Tensor x)
        {
            using DisposeScope scope = NewDisposeScope();
            return base.forward(x).Plus(_a.Plus(_b)).MoveToOuterDisposeScope();
        }
    }
}
