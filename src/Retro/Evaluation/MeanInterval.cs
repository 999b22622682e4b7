using System.Globalization;

namespace Retro.Evaluation;

/// <summary>
/// A mean over questions, or whatever else is measured one by one, with the 95 % interval of a bootstrap over documents, widened for few of them as a
/// <see cref="PairedDifference"/>'s is: what stands in one document is not independent.
/// </summary>
/// <param name="Value">The mean; not a number where nothing was measured.</param>
/// <param name="Low">The interval's lower end; not a number where there is no interval.</param>
/// <param name="High">The interval's upper end; not a number where there is no interval.</param>
/// <param name="Documents">Documents that something was measured of.</param>
public sealed record MeanInterval(double Value, double Low, double High, int Documents)
{
    /// <summary>
    /// Whether there is an interval: there are documents enough, <see cref="PairedDifference.LeastDocuments"/>, and these differ, or it is known between what
    /// values others can lie.
    /// </summary>
    public bool HasInterval => !double.IsNaN(Low);

    /// <summary>
    /// Takes a mean. Where all documents have the same, drawing them tells nothing: the interval then reaches as far as if the greatest share of documents
    /// that n may well miss had the least or the most there can be, 1 - 0.025^(1/n) (Clopper and Pearson, 1934), so that of 27 documents that all have
    /// 0 of 1, the upper end is 0.13.
    /// </summary>
    /// <param name="values">What was measured, each with the document it is of.</param>
    /// <param name="seed">Decides what is drawn. Default 0.</param>
    /// <param name="least">The least that a value can be: 0 of a share. Not given: there is none.</param>
    /// <param name="most">The most that a value can be: 1 of a share. Not given: there is none.</param>
    public static MeanInterval Of(
        IEnumerable<(string Document, double Value)> values,
        long seed = 0,
        double least = double.NegativeInfinity,
        double most = double.PositiveInfinity)
    {
        ArgumentNullException.ThrowIfNull(values);
        (double Sum, double Count)[] documents =
            [.. values.GroupBy(one => one.Document).Select(group => (group.Sum(one => one.Value), (double)group.Count()))];
        double value = documents.Sum(document => document.Sum) / documents.Sum(document => document.Count);
        if (documents.Length < PairedDifference.LeastDocuments)
        {
            return new(value, double.NaN, double.NaN, documents.Length);
        }

        (double below, double above) = DocumentBootstrap.Reach(documents, seed, Purpose.MeanBootstrap);
        if (below + above == 0)
        {
            double missed = 1 - Math.Pow(0.025, 1 / DocumentBootstrap.Effective(documents));
            (below, above) = double.IsFinite(most - least) ? (missed * (value - least), missed * (most - value)) : (double.NaN, double.NaN);
        }

        return new(value, Math.Max(least, value - below), Math.Min(most, value + above), documents.Length);
    }

    /// <summary>
    /// Such as "0.41 [0.35, 0.48]", with as many digits as show that 0 is not in it; "0.41" where there is no interval, and "-" where nothing was measured.
    /// </summary>
    public override string ToString()
    {
        if (double.IsNaN(Value))
        {
            return "-";
        }

        string digits = new('0', DocumentBootstrap.Digits(Low, High, 2)), form = $"0.{digits};-0.{digits};0.{digits}";
        return HasInterval ? $"{Show(Value)} [{Show(Low)}, {Show(High)}]" : Show(Value);

        string Show(double value) => value.ToString(form, CultureInfo.InvariantCulture);
    }
}
