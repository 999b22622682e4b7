using System.Globalization;

namespace Retro.Evaluation;

/// <summary>
/// By how much bits per byte differ from those of a baseline on the same documents, as a share of the baseline's, with a 95 % interval. Documents are drawn
/// again and again, each with its bits under both, so that what makes a document easy or hard for both cancels: a bootstrap of the means over the seeds,
/// widened for few documents (percentiles; Efron, "Bootstrap methods", 1979, and Hesterberg, 2015). Where trainings of n seeds are given, how their
/// differences scatter is added to it with Student's t of n - 1 degrees, both reaches as sides of a right angle (Zou and Donner, "Construction of confidence
/// limits about effect measures", 2008): two seeds tell little of others, and their interval is wide.
/// </summary>
/// <param name="Value">The difference as a share: -0.05 is 5 % fewer bits; infinite or not a number where bits are infinite.</param>
/// <param name="Low">The interval's lower end; not a number where there is no interval.</param>
/// <param name="High">The interval's upper end; not a number where there is no interval.</param>
/// <param name="Documents">Documents with text.</param>
/// <param name="Seeds">Pairs of trainings.</param>
public sealed record PairedDifference(double Value, double Low, double High, int Documents, int Seeds)
{
    /// <summary>Documents that an interval needs: from fewer, the percentiles of a bootstrap say little.</summary>
    public const int LeastDocuments = 20;

    /// <summary>
    /// Whether there is an interval: there are documents enough, and these do not all differ by the same share, from which nothing can be said of others.
    /// </summary>
    public bool HasInterval => !double.IsNaN(Low);

    /// <summary>Whether no difference was found: the interval holds 0, or every one of documents enough has the same bits.</summary>
    public bool IsNone => HasInterval ? Low <= 0 && High >= 0 : Documents >= LeastDocuments && Math.Abs(Value) <= DocumentBootstrap.Rounding;

    /// <summary>Compares measurements.</summary>
    /// <param name="measured">Bits and bytes by document, one for each seed.</param>
    /// <param name="baseline">The baseline's, on the same documents; one for each of the same seeds.</param>
    /// <param name="seed">Decides what is drawn. Default 0.</param>
    /// <returns>The difference of the means over the seeds.</returns>
    /// <exception cref="ArgumentException">There is nothing to compare, or the measurements are of different documents.</exception>
    public static PairedDifference Of(IReadOnlyList<DocumentSums> measured, IReadOnlyList<DocumentSums> baseline, long seed = 0)
    {
        ArgumentNullException.ThrowIfNull(measured);
        ArgumentNullException.ThrowIfNull(baseline);
        if (measured.Count == 0 || measured.Count != baseline.Count)
        {
            throw new ArgumentException(
                $"Expected as many measurements as there are of the baseline, at least one; got {measured.Count} and {baseline.Count}.", nameof(measured));
        }

        IReadOnlyList<double> bytes = baseline[0].Bytes;
        if (measured.Concat(baseline).Any(sums => sums.Bits.Count != bytes.Count || !sums.Bytes.SequenceEqual(bytes)))
        {
            throw new ArgumentException(
                "The measurements are of different documents, or of different parts of them; measure all on the same.", nameof(measured));
        }

        int[] documents = [.. Enumerable.Range(0, bytes.Count).Where(document => bytes[document] > 0)];
        int seeds = measured.Count;
        (double Ours, double Theirs)[] means =
            [.. documents.Select(document => (measured.Average(sums => sums.Bits[document]), baseline.Average(sums => sums.Bits[document])))];
        double theirs = means.Sum(mean => mean.Theirs), ratio = double.IsFinite(theirs) ? means.Sum(mean => mean.Ours) / theirs : double.NaN, value = ratio - 1;
        if (documents.Length < LeastDocuments || !double.IsFinite(value))
        {
            return new PairedDifference(value, double.NaN, double.NaN, documents.Length, seeds);
        }

        (double below, double above) = DocumentBootstrap.Reach(means, seed, Purpose.DifferenceBootstrap);
        double scatter = 0;
        if (seeds > 1)
        {
            // What each seed's bits are beside what the ratio makes of its baseline's; their mean is 0.
            double squares = measured.Zip(baseline, (one, other) => Math.Pow(documents.Sum(i => one.Bits[i] - (ratio * other.Bits[i])) / theirs, 2)).Sum();
            scatter = StudentT.Bound(seeds - 1) * Math.Sqrt(squares / (seeds - 1) / seeds);
        }

        return below + above + scatter <= DocumentBootstrap.Rounding
            ? new PairedDifference(value, double.NaN, double.NaN, documents.Length, seeds)
            : new PairedDifference(value, value - double.Hypot(below, scatter), value + double.Hypot(above, scatter), documents.Length, seeds);
    }

    /// <summary>
    /// Such as "-4.7 % [-5.3, -4.0]", with as many digits as show that 0 is not in it; "none (-0.2 % [-0.9, +0.5])" where the interval holds 0;
    /// "-4.7 % (no interval: 9 documents)" where there are too few for one, or "(no interval: the same share in every document)", and "none (the same bits)";
    /// "not finite" where a reader takes a token for impossible.
    /// </summary>
    public override string ToString()
        => HasInterval ? (IsNone ? $"none ({Interval()})" : Interval())
            : IsNone ? "none (the same bits)"
            : !double.IsFinite(Value) ? "not finite"
            : Documents >= LeastDocuments ? $"{Percent(Value, 1)} % (no interval: the same share in every document)"
            : $"{Percent(Value, 1)} % (no interval: {Documents} document{(Documents == 1 ? "" : "s")})";

    private string Interval()
    {
        int digits = DocumentBootstrap.Digits(Low * 100, High * 100, 1);
        return $"{Percent(Value, digits)} % [{Percent(Low, digits)}, {Percent(High, digits)}]";
    }

    private static string Percent(double share, int digits)
    {
        string form = $"0.{new string('0', digits)}";
        return (share * 100).ToString($"+{form};-{form};{form}", CultureInfo.InvariantCulture);
    }
}
