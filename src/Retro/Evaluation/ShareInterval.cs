namespace Retro.Evaluation;

/// <summary>
/// The 95 % interval of a mean of values that lie between a least and a most: that of a share (Clopper and Pearson, "The use of confidence or fiducial limits",
/// 1934) of as many values as would scatter as these do, of which those in one document are not independent (Korn and Graubard, "Confidence intervals for
/// proportions with small expected number of positive counts estimated from survey data", 1998). For values of 0 and 1, one in each document, it is Clopper's
/// and Pearson's own, which holds the true share at least 95 times of 100.
/// </summary>
internal static class ShareInterval
{
    private const double Tail = 0.025;

    /// <summary>More values than these leave nothing for an interval to show.</summary>
    private const double MostValues = 1e6;

    /// <summary>
    /// How far below and above the mean it ends. A difference, whose least is below 0, is the share by which values rise less the share by which they fall,
    /// both reaches being sides of a right angle (Zou and Donner, "Construction of confidence limits about effect measures", 2008).
    /// </summary>
    /// <param name="documents">The values of each document.</param>
    /// <param name="least">The least that a value can be.</param>
    /// <param name="most">The most that a value can be, greater.</param>
    public static (double Below, double Above) Reach(double[][] documents, double least, double most)
    {
        if (least >= 0 || most <= 0)
        {
            Part all = new(documents, value => (value - least) / (most - least));
            (double low, double high) = Bounds(all.Share, all.Values ?? all.Documents);

            // As far from either bound as if every document had it: one success must not tell more than none.
            (_, double reached) = Bounds(0, all.Documents);
            return ((most - least) * (all.Share - Math.Min(low, 1 - reached)), (most - least) * (Math.Max(high, reached) - all.Share));
        }

        // Of what no value does, it is unknown how documents differ in it: as in the other, and in neither, as if each were of one kind.
        Part rise = new(documents, value => Math.Max(value, 0) / most), fall = new(documents, value => Math.Max(-value, 0) / -least);
        (double riseLow, double riseHigh) = Bounds(rise.Share, rise.Values ?? fall.Values ?? rise.Documents);
        (double fallLow, double fallHigh) = Bounds(fall.Share, fall.Values ?? rise.Values ?? fall.Documents);
        return (
            double.Hypot(most * (rise.Share - riseLow), -least * (fallHigh - fall.Share)),
            double.Hypot(most * (riseHigh - rise.Share), -least * (fall.Share - fallLow)));
    }

    /// <summary>The ends of Clopper's and Pearson's interval, of which those that count the values need not be whole.</summary>
    internal static (double Low, double High) Bounds(double share, double values)
    {
        double some = share * values, others = values - some;
        return (some <= 0 ? 0 : Quantile(some, others + 1, Tail), others <= 0 ? 1 : Quantile(some + 1, others, 1 - Tail));
    }

    private static double Quantile(double a, double b, double share)
    {
        double low = 0, high = 1;
        for (int i = 0; i < 60; i++)
        {
            double middle = (low + high) / 2;
            (low, high) = Beta(middle, a, b) < share ? (middle, high) : (low, middle);
        }

        return (low + high) / 2;
    }

    /// <summary>
    /// The regularized incomplete beta function, by its continued fraction (NIST Digital Library of Mathematical Functions, 8.17.22, https://dlmf.nist.gov)
    /// where that is quick and else from the other side, evaluated after Lentz (1976).
    /// </summary>
    private static double Beta(double x, double a, double b)
    {
        if (x <= 0 || x >= 1)
        {
            return x <= 0 ? 0 : 1;
        }

        if (x > (a + 1) / (a + b + 2))
        {
            return 1 - Beta(1 - x, b, a);
        }

        const double tiny = 1e-300;
        double c = 1, d = 1 / Math.Max(1 - ((a + b) * x / (a + 1)), tiny), fraction = d;
        for (int m = 1; m < 100_000; m++)
        {
            double factor = Step(m * (b - m) * x / ((a + (2 * m) - 1) * (a + (2 * m))));
            factor *= Step(-(a + m) * (a + b + m) * x / ((a + (2 * m)) * (a + (2 * m) + 1)));
            fraction *= factor;
            if (Math.Abs(factor - 1) < 1e-15)
            {
                break;
            }
        }

        return Math.Exp(LogGamma(a + b) - LogGamma(a) - LogGamma(b) + (a * Math.Log(x)) + (b * Math.Log(1 - x))) * fraction / a;

        double Step(double term)
        {
            d = 1 + (term * d);
            d = 1 / (Math.Abs(d) < tiny ? tiny : d);
            c = 1 + (term / c);
            c = Math.Abs(c) < tiny ? tiny : c;
            return c * d;
        }
    }

    /// <summary>By Stirling's series (NIST Digital Library of Mathematical Functions, 5.11.1), where it is good to the last digits.</summary>
    private static double LogGamma(double x)
    {
        double below = 0;
        for (; x < 15; x++)
        {
            below += Math.Log(x);
        }

        double inverse = 1 / (x * x);
        double series = (1.0 / 12) - (inverse * ((1.0 / 360) - (inverse * ((1.0 / 1260) - (inverse * ((1.0 / 1680) - (inverse / 1188)))))));
        return ((x - 0.5) * Math.Log(x)) - x + (0.5 * Math.Log(2 * Math.PI)) + (series / x) - below;
    }

    /// <summary>What is counted of the values, from 0 to 1 each.</summary>
    private sealed class Part
    {
        public Part(double[][] documents, Func<double, double> take)
        {
            (double Part, double Whole)[] sums = [.. documents.Select(document => (document.Sum(take), (double)document.Length))];
            double count = sums.Sum(document => document.Whole), mean = sums.Sum(document => document.Part) / count;
            double variance = sums.Sum(document => Math.Pow(document.Part - (mean * document.Whole), 2)) / (count * count);
            Share = Math.Clamp(mean, 0, 1);
            Documents = DocumentBootstrap.Effective(sums);
            if (variance > DocumentBootstrap.Rounding * DocumentBootstrap.Rounding && Share is > 0 and < 1)
            {
                // That documents are fewer than values makes their scatter less certain.
                double fewer = StudentT.Bound((int)count - 1) / StudentT.Bound((int)Documents - 1);
                Values = Math.Min(MostValues, Share * (1 - Share) / variance * fewer * fewer);
            }
        }

        /// <summary>Their mean.</summary>
        public double Share { get; }

        /// <summary>As many documents of one size as say what these say.</summary>
        public double Documents { get; }

        /// <summary>As many values of 0 and 1 as scatter as their mean does over documents; null where all documents have the same.</summary>
        public double? Values { get; }
    }
}
