using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public class LanguageModelLossTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_loss_is_the_mean_over_the_targets_that_count(bool masked)
    {
        using DisposeScope scope = NewDisposeScope();
        Random random = new(2);
        const int rows = 3, length = 5, vocabulary = 7;
        double[] logits = [.. Enumerable.Range(0, rows * length * vocabulary).Select(_ => random.NextDouble() * 4 - 2)];
        long[] tokens = [.. Enumerable.Range(0, rows * length).Select(_ => (long)random.Next(vocabulary))];
        bool[] mask = [.. Enumerable.Range(0, rows * length).Select(_ => !masked || random.Next(2) == 0)];
        double sum = 0;
        int count = 0;
        for (int row = 0; row < rows; row++)
        {
            for (int place = 1; place < length; place++)
            {
                if (mask[row * length + place])
                {
                    double[] scores = logits[((row * length + place - 1) * vocabulary)..((row * length + place) * vocabulary)];
                    sum += Math.Log(scores.Sum(Math.Exp)) - scores[tokens[row * length + place]];
                    count++;
                }
            }
        }

        Tensor came = LanguageModelLoss.Mean(
            tensor(logits, [rows, length, vocabulary]), tensor(tokens, [rows, length]), masked ? tensor(mask, [rows, length]) : null);
        Assert.Equal(sum / count, came.item<double>(), 12);
    }

    [Fact]
    public void Of_bfloat16_logits_the_loss_is_taken_in_float32()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        Tensor logits = randn(2, 40, 50).to_type(ScalarType.BFloat16), tokens = randint(50, [2, 40], ScalarType.Int64);

        Tensor came = LanguageModelLoss.Mean(logits, tokens), exact = LanguageModelLoss.Mean(logits.to_type(ScalarType.Float64), tokens);

        Assert.Equal(ScalarType.Float32, came.dtype);
        Assert.Equal(exact.item<double>(), came.item<float>(), 1e-5);
    }
}
