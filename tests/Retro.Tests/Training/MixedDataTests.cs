using Retro.Training;

namespace Retro.Tests.Training;

/// <summary>Batches of several data in proportion to weights.</summary>
public sealed class MixedDataTests
{
    [Fact]
    public void Each_gives_its_batches_in_their_order_and_as_often_as_its_weight_says()
    {
        Numbered[] parts = [new("a"), new("b"), new("c")];
        MixedData mixed = new([(parts[0], 1), (parts[1], 2), (parts[2], 5)], seed: 3);
        int[] given = new int[3];
        List<long> first = [];
        for (long index = 0; index < 4000; index++)
        {
            first.Add(Drawn(mixed.Batch(index, 0.25)));
            int part = (int)(first[^1] / 10_000);
            Assert.Equal(given[part]++, first[^1] % 10_000);
            Assert.Equal(0.25, parts[part].Progress);
        }

        // Within four standard deviations of a binomial distribution.
        foreach ((double share, int count) in new[] { 1 / 8.0, 2 / 8.0, 5 / 8.0 }.Zip(given))
        {
            Assert.InRange(count, (4000 * share) - (4 * Math.Sqrt(4000 * share * (1 - share))), (4000 * share) + (4 * Math.Sqrt(4000 * share * (1 - share))));
        }

        // A batch is a function of its number: whoever goes on, or back, gets the same.
        MixedData again = new([(parts[0], 2), (parts[1], 4), (parts[2], 10)], seed: 3);
        Assert.Equal(first[1234], Drawn(again.Batch(1234, 0)));
        Assert.Equal(first[7], Drawn(again.Batch(7, 0)));
        Assert.Equal(mixed.Identity, again.Identity);
        Assert.NotEqual(mixed.Identity, new MixedData([(parts[0], 1), (parts[1], 2), (parts[2], 5)], seed: 4).Identity);
        Assert.NotEqual(mixed.Identity, new MixedData([(parts[0], 1), (parts[1], 2), (parts[2], 4)], seed: 3).Identity);
        Assert.All(parts, part => Assert.Contains(part.Identity, mixed.Identity, StringComparison.Ordinal));
    }

    /// <summary>As while a training prepares a batch and somebody looks at another, or where two trainings have one mix.</summary>
    [Fact]
    public void Several_threads_are_given_the_batches_of_one()
    {
        (ITrainingData, double)[] parts = [(new Numbered("a"), 1), (new Numbered("b"), 3)];
        MixedData ordered = new(parts), shared = new(parts);
        long[] expected = [.. Enumerable.Range(0, 1000).Select(index => Drawn(ordered.Batch(index, 0)))];
        Parallel.For(0, 4, thread =>
        {
            for (int asked = 0; asked < expected.Length; asked++)
            {
                int index = ((asked * 7) + (thread * 250)) % expected.Length;
                Assert.Equal(expected[index], Drawn(shared.Batch(index, 0)));
            }
        });
    }

    [Theory]
    [InlineData]
    [InlineData(0.0)]
    [InlineData(1.0, -1.0)]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(1e308, 1e308)]
    public void Weights_that_say_nothing_are_refused(params double[] weights)
    {
        (ITrainingData, double)[] parts = [.. weights.Select(weight => (new Numbered("a"), weight))];
        ArgumentException fault = Assert.Throws<ArgumentException>(() => new MixedData(parts));
        Assert.Contains("each with a weight above 0 and all with a finite sum", fault.Message, StringComparison.Ordinal);
    }

    private static long Drawn(TokenBatch batch) => batch.Tokens[0];

    private sealed class Numbered(string name) : ITrainingData
    {
        public string Identity => $"numbers of {name}";

        public double Progress { get; private set; }

        public TokenBatch Batch(long index, double progress)
        {
            Progress = progress;
            TokenBatch batch = new(1, 2);
            batch.Tokens[0] = ((name[0] - 'a') * 10_000) + index;
            return batch;
        }
    }
}
