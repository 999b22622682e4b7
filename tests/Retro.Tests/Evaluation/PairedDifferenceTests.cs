using Retro.Evaluation;

namespace Retro.Tests.Evaluation;

public sealed class PairedDifferenceTests
{
    private static readonly double[] s_bytes = [.. Enumerable.Range(0, 80).Select(i => 100.0 + i * 37 % 400)];

    [Fact]
    public void A_difference_that_every_document_has_is_found_however_hard_documents_are()
    {
        DocumentSums baseline = Sums(1, 3, 0);
        DocumentSums better = baseline with { Bits = [.. baseline.Bits.Select(bits => 0.95 * bits)] };
        PairedDifference difference = PairedDifference.Of([better], [baseline]);
        Assert.Equal(-0.05, difference.Value, 12);
        Assert.Equal((false, false), (difference.HasInterval, difference.IsNone));
        Assert.Equal("-5.0 % (no interval: the same share in every document)", difference.ToString());
        PairedDifference itself = PairedDifference.Of([baseline], [baseline]);
        Assert.Equal((false, true), (itself.HasInterval, itself.IsNone));
        Assert.Equal("none (the same bits)", itself.ToString());
        DocumentSums nearly = better with { Bits = [.. better.Bits.Select((bits, i) => bits * (1 + (0.001 * (i % 3))))] };
        Assert.StartsWith("-4.9 % [-4.9, -4.", PairedDifference.Of([nearly], [baseline]).ToString(), StringComparison.Ordinal);
    }

    /// <summary>An interval that does not hold 0 is not printed as one that ends there.</summary>
    [Theory]
    [InlineData(0.003, 0.0002, 0.007, "+0.30 % [+0.02, +0.70]")]
    [InlineData(-0.003, -0.007, -0.000004, "-0.3000 % [-0.7000, -0.0004]")]
    [InlineData(0.003, -0.0002, 0.007, "none (+0.3 % [0.0, +0.7])")]
    [InlineData(0.003, 0.001, 0.007, "+0.3 % [+0.1, +0.7]")]
    public void The_digits_tell_what_the_verdict_is(double value, double low, double high, string text)
        => Assert.Equal(text, new PairedDifference(value, low, high, 60, 1).ToString());

    [Fact]
    public void The_interval_is_as_wide_as_the_delta_method_says()
    {
        Random random = new(7);
        DocumentSums baseline = Sums(1, 3, 0);
        DocumentSums measured = baseline with { Bits = [.. baseline.Bits.Select(bits => bits * (0.97 + 0.1 * Gaussian(random)))] };
        PairedDifference difference = PairedDifference.Of([measured], [baseline]);

        // Variance of a ratio of sums over independent documents: that of the residuals over the squared sum of the denominator.
        double ratio = measured.Bits.Sum() / baseline.Bits.Sum();
        double deviation = Math.Sqrt(baseline.Bits.Zip(measured.Bits, (x, y) => Math.Pow(y - ratio * x, 2)).Sum()) / baseline.Bits.Sum();
        Assert.Equal(ratio - 1, difference.Value, 12);
        Assert.InRange((difference.High - difference.Low) / (2 * 1.96 * deviation), 0.85, 1.15);
        Assert.InRange(difference.Value, difference.Low, difference.High);
        Assert.Equal(difference, PairedDifference.Of([measured], [baseline]));
        Assert.NotEqual(difference, PairedDifference.Of([measured], [baseline], seed: 1));
    }

    /// <summary>With 2 degrees of freedom Student's t is 4.303, and the standard error of the mean of 0.9, 1.0 and 1.04 is 0.04163.</summary>
    [Fact]
    public void An_interval_of_several_seeds_is_as_wide_as_these_differ()
    {
        DocumentSums baseline = Sums(1, 3, 0);
        DocumentSums[] measured = [.. new[] { 0.9, 1.0, 1.04 }.Select(share => baseline with { Bits = [.. baseline.Bits.Select(bits => share * bits)] })];
        PairedDifference difference = PairedDifference.Of(measured, [baseline, baseline, baseline]);
        Assert.Equal(-0.02, difference.Value, 12);
        Assert.Equal(3, difference.Seeds);
        Assert.Equal(-0.02 - (4.302653 * 0.0416333), difference.Low, 1e-6);
        Assert.Equal(-0.02 + (4.302653 * 0.0416333), difference.High, 1e-6);
        Assert.StartsWith("none (-2.0 %", difference.ToString(), StringComparison.Ordinal);
    }

    /// <summary>
    /// Of trainings that cost 0.9, 2.2 and 2.6 and their baselines 1, 2 and 3, the ratio of the means is 0.95, and the mean of the ratios 0.956. Beside
    /// 0.95, 1.9 and 2.85 the trainings are off by -0.05, 0.3 and -0.25, over the baselines' mean of 2.
    /// </summary>
    [Fact]
    public void Each_training_is_held_against_the_baseline_of_its_own_seed()
    {
        DocumentSums sums = Sums(1, 3, 0);
        DocumentSums[] baseline = [.. new[] { 1.0, 2.0, 3.0 }.Select(share => Times(share, 0))];
        double scatter = 4.302652729749461 * Math.Sqrt(((0.025 * 0.025) + (0.15 * 0.15) + (0.125 * 0.125)) / 2 / 3);
        PairedDifference alike = PairedDifference.Of(Measured(0), baseline);
        Assert.Equal(-0.05, alike.Value, 1e-12);
        Assert.Equal(-0.05 - scatter, alike.Low, 1e-12);
        Assert.Equal(-0.05 + scatter, alike.High, 1e-12);

        // Where documents differ too, what one training of the mean bits has for an interval is the other side of a right angle.
        PairedDifference mean = PairedDifference.Of([Times(1.9, 0.3)], [Times(2, 0)]), both = PairedDifference.Of(Measured(0.3), baseline);
        double harder = Times(1, 0.3).Bits.Sum() / sums.Bits.Sum(), value = (0.95 * harder) - 1, side = scatter * harder;
        Assert.InRange(mean.High - mean.Low, 0.01, scatter);
        Assert.Equal(value, both.Value, 1e-12);
        Assert.Equal(value - Math.Sqrt(Math.Pow(value - mean.Low, 2) + (side * side)), both.Low, 1e-12);
        Assert.Equal(value + Math.Sqrt(Math.Pow(mean.High - value, 2) + (side * side)), both.High, 1e-12);

        DocumentSums[] Measured(double differing) => [.. new[] { 0.9, 2.2, 2.6 }.Select(share => Times(share, differing))];

        DocumentSums Times(double share, double differing)
            => sums with { Bits = [.. sums.Bits.Select((bits, i) => bits * share * (1 + (differing * (i % 3))))] };
    }

    /// <summary>
    /// Tables of which the truth is known, that nothing differs: what is found all the same has to be about one in twenty, however seeds and documents scatter.
    /// </summary>
    [Theory]
    [InlineData(1, 60, 0, 0.03, 0.5)]
    [InlineData(1, 20, 0, 0.03, 1.5)]
    [InlineData(2, 60, 0.005, 0.005, 0.5)]
    [InlineData(3, 60, 0.0025, 0.012, 0.5)]
    [InlineData(3, 60, 0.005, 0.005, 0.5)]
    [InlineData(5, 60, 0.005, 0.005, 0.5)]
    public void Where_nothing_differs_one_in_twenty_intervals_says_that_something_does(
        int seeds, int documents, double seedScatter, double documentScatter, double lengthScatter)
    {
        const int Tables = 300;
        Random random = new(1);
        int found = 0;
        for (int table = 0; table < Tables; table++)
        {
            double[] bytes = [.. Enumerable.Range(0, documents).Select(_ => 1000 * Math.Exp(lengthScatter * Gaussian(random)))];
            DocumentSums baseline = new([.. bytes.Select(of => of * (1 + (2 * random.NextDouble())))], bytes);
            double[] hard = [.. bytes.Select(_ => 1 + (documentScatter * Gaussian(random)))];
            DocumentSums[] measured =
            [
                .. Enumerable.Range(0, seeds).Select(_ => seedScatter * Gaussian(random)).ToArray()
                    .Select(own => baseline with { Bits = [.. baseline.Bits.Zip(hard, (bits, share) => bits * (share + own + (0.002 * Gaussian(random))))] }),
            ];
            found += PairedDifference.Of(measured, [.. Enumerable.Repeat(baseline, seeds)], table).IsNone ? 0 : 1;
        }

        // 5 % of 300 are 15; how many there are by chance has a deviation of 4.
        Assert.InRange(found, 1, 27);
    }

    [Fact]
    public void Too_few_documents_have_no_interval_and_those_without_text_do_not_count()
    {
        DocumentSums baseline = new([.. Enumerable.Repeat(10.0, 21)], [.. Enumerable.Range(0, 21).Select(i => i < 2 ? 0.0 : 5)]);
        DocumentSums better = baseline with { Bits = [.. baseline.Bits.Select(bits => 0.9 * bits)] };
        PairedDifference difference = PairedDifference.Of([better], [baseline]);
        Assert.Equal((19, false, false), (difference.Documents, difference.HasInterval, difference.IsNone));
        Assert.Equal("-10.0 % (no interval: 19 documents)", difference.ToString());
    }

    [Fact]
    public void Infinite_bits_have_no_difference_and_no_interval()
    {
        DocumentSums baseline = Sums(1, 3, 0), endless = baseline with { Bits = [double.PositiveInfinity, .. baseline.Bits.Skip(1)] };
        PairedDifference[] differences =
            [PairedDifference.Of([endless], [baseline]), PairedDifference.Of([baseline], [endless]), PairedDifference.Of([endless], [endless])];
        Assert.All(differences, one => Assert.Equal(("not finite", false, false), ($"{one}", one.HasInterval, one.IsNone)));
        MeanInterval mean = MeanInterval.Of(endless.Bits.Select((bits, i) => ($"{i}", bits)));
        Assert.Equal(("not finite", false), ($"{mean}", mean.HasInterval));
    }

    [Fact]
    public void Other_documents_or_another_number_of_seeds_cannot_be_compared()
    {
        DocumentSums baseline = Sums(1, 3, 0);
        Assert.Throws<ArgumentException>(() => PairedDifference.Of([baseline], []));
        Assert.Throws<ArgumentException>(() => PairedDifference.Of([], []));
        Assert.Throws<ArgumentException>(() => PairedDifference.Of([baseline with { Bytes = [.. baseline.Bytes.Select(bytes => bytes + 1)] }], [baseline]));
    }

    /// <summary>Documents of very different difficulty.</summary>
    internal static DocumentSums Sums(double least, double most, int seed)
    {
        Random random = new(seed);
        return new DocumentSums([.. s_bytes.Select(bytes => bytes * (least + (most - least) * random.NextDouble()))], s_bytes);
    }

    private static double Gaussian(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
