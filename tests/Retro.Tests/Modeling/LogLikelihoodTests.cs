using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>The log-likelihood of each token against its definition, and the loss that is its mean.</summary>
public class LogLikelihoodTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Each_target_has_its_log_likelihood_and_the_loss_is_minus_the_mean_of_those_that_count(bool masked)
    {
        using DisposeScope scope = NewDisposeScope();
        Random random = new(2);
        const int rows = 3, length = 5, vocabulary = 7;
        double[] logits = [.. Enumerable.Range(0, rows * length * vocabulary).Select(_ => random.NextDouble() * 4 - 2)];
        long[] tokens = [.. Enumerable.Range(0, rows * length).Select(_ => (long)random.Next(vocabulary))];
        bool[] mask = [.. Enumerable.Range(0, rows * length).Select(_ => !masked || random.Next(2) == 0)];
        double[] expected = new double[rows * length];
        int count = 0;
        for (int row = 0; row < rows; row++)
        {
            for (int place = 1; place < length; place++)
            {
                if (mask[row * length + place])
                {
                    double[] scores = logits[((row * length + place - 1) * vocabulary)..((row * length + place) * vocabulary)];
                    expected[row * length + place - 1] = scores[tokens[row * length + place]] - Math.Log(scores.Sum(Math.Exp));
                    count++;
                }
            }
        }

        Tensor states = tensor(logits, [rows, length, vocabulary]);
        Tensor targets = LogLikelihood.Targets(tensor(tokens, [rows, length]), masked ? tensor(mask, [rows, length]) : null);
        double[] came = [.. LogLikelihood.Of(states, targets).data<double>()];
        Assert.All(expected.Zip(came), pair => Assert.Equal(pair.First, pair.Second, 12));
        Assert.Equal(-expected.Sum() / count, LogLikelihood.MeanLoss(states, targets).item<double>(), 12);
    }

    [Fact]
    public void Of_bfloat16_logits_the_loss_is_taken_in_float32()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        Tensor logits = randn(2, 40, 50).to_type(ScalarType.BFloat16), tokens = randint(50, [2, 40], ScalarType.Int64);

        Tensor targets = LogLikelihood.Targets(tokens);
        Tensor came = LogLikelihood.MeanLoss(logits, targets), exact = LogLikelihood.MeanLoss(logits.to_type(ScalarType.Float64), targets);

        Assert.Equal(ScalarType.Float32, came.dtype);
        Assert.Equal(exact.item<double>(), came.item<float>(), 1e-5);
    }

    [Fact]
    public void A_model_gives_the_log_likelihood_of_a_text_with_what_was_retrieved()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(4);
        RetroConfig config = RetroConfig.Tiny;
        using RetroModel model = new(config, ScalarType.Float64);
        model.eval();
        Tensor tokens = ModelCase.Tokens(config, 2, 3 * config.Retrieval!.ChunkLength);
        Tensor neighbors = randint(config.VocabularySize, [2, 2, 1, config.Retrieval!.RetrievedLength], ScalarType.Int64);
        Tensor came = LogLikelihood.Of(model, tokens, neighbors);
        Tensor expected = model.call(tokens, neighbors, null)
            .log_softmax(-1)
            .narrow(1, 0, tokens.shape[1] - 1)
            .gather(2, tokens.narrow(1, 1, tokens.shape[1] - 1).unsqueeze(-1))
            .squeeze(-1);

        Assert.InRange(ModelCase.Distance(came.narrow(1, 0, expected.shape[1]), expected), 0, 1e-12);
        Assert.Equal(0, came.select(1, tokens.shape[1] - 1).abs().max().item<double>());
    }

    [Fact]
    public void Logits_may_be_a_part_of_others()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor all = randn(2, 6, 7), part = all.narrow(1, 0, 5), targets = randint(7, [2, 5], ScalarType.Int64);
        Assert.True(LogLikelihood.Of(part, targets).equal(LogLikelihood.Of(part.contiguous(), targets)).all().item<bool>());
        Assert.Equal(LogLikelihood.MeanLoss(part.contiguous(), targets).item<float>(), LogLikelihood.MeanLoss(part, targets).item<float>());
    }

    [Fact]
    public void Other_shapes_and_types_are_refused()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor tokens = zeros(2, 5, ScalarType.Int64);

        Assert.Throws<ShapeException>(() => LogLikelihood.Of(zeros(2, 4, 7), tokens));
        Assert.Throws<ShapeException>(() => LogLikelihood.MeanLoss(zeros(2, 5), tokens));
        Assert.Throws<ShapeException>(() => LogLikelihood.Targets(tokens, ones(2, 4, ScalarType.Bool)));
        Refused("targets of type Int64, got Int32", () => LogLikelihood.MeanLoss(zeros(2, 5, 7), tokens.to_type(ScalarType.Int32)));
        Refused("targets of type Int64, got Float32", () => LogLikelihood.Of(zeros(2, 5, 7), tokens.to_type(ScalarType.Float32)));
        Refused("tokens of type Int64, got Int32", () => LogLikelihood.Targets(tokens.to_type(ScalarType.Int32)));
        Refused("mask of type Bool, got Float32", () => LogLikelihood.Targets(tokens, ones(2, 5)));
        Assert.Throws<ShapeException>(() => LogLikelihood.Targets(zeros(2, 0, ScalarType.Int64)));

        // Some take -1 for none, which a GPU would answer with a fault of the device.
        foreach (long other in new[] { -1, -99, 7 })
        {
            Tensor targets = full([5, 2], LogLikelihood.NoTarget, ScalarType.Int64).t();
            Assert.Equal(0, LogLikelihood.Of(zeros(2, 5, 7), targets).abs().max().item<float>());
            targets.select(0, 1).select(0, 3).fill_(other);
            Refused($"[0, 7), the vocabulary, or to be -100 where there is none; one of them is {other}", () => LogLikelihood.Of(zeros(2, 5, 7), targets));
            Refused($"one of them is {other}", () => LogLikelihood.MeanLoss(zeros(2, 5, 7), targets));
        }

        static void Refused(string expected, Func<Tensor> compute)
            => Assert.Contains(expected, Assert.Throws<ArgumentException>(compute).Message, StringComparison.Ordinal);
    }
}
