using MathNet.Numerics.Distributions;

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
        return (some <= 0 ? 0 : Beta.InvCDF(some, others + 1, Tail), others <= 0 ? 1 : Beta.InvCDF(some + 1, others, 1 - Tail));
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
