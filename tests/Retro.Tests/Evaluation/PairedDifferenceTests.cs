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
        Assert.Equal(-0.05, difference.Low, 12);
        Assert.Equal(-0.05, difference.High, 12);
        Assert.False(difference.IsNone);
        Assert.Equal("-5.0 % [-5.0, -5.0]", difference.ToString());
        PairedDifference itself = PairedDifference.Of([baseline], [baseline]);
        Assert.True(itself.IsNone);
        Assert.Equal("none (0.0 % [0.0, 0.0])", itself.ToString());
    }

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

    [Fact]
    public void An_interval_of_several_seeds_is_as_wide_as_these_differ()
    {
        DocumentSums baseline = Sums(1, 3, 0);
        DocumentSums[] measured = [.. new[] { 0.9, 1.0, 1.04 }.Select(share => baseline with { Bits = [.. baseline.Bits.Select(bits => share * bits)] })];
        PairedDifference difference = PairedDifference.Of(measured, [baseline, baseline, baseline]);
        Assert.Equal(-0.02, difference.Value, 12);
        Assert.Equal(3, difference.Seeds);
        Assert.InRange(difference.Low, -0.1, -0.08);
        Assert.InRange(difference.High, 0.02, 0.0401);
        Assert.StartsWith("none (-2.0 %", difference.ToString(), StringComparison.Ordinal);
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
