using System.Globalization;

namespace Retro.Evaluation;

/// <summary>
/// A mean over questions, or whatever else is measured one by one, with the 95 % interval of a bootstrap over documents, widened for few of them as a
/// <see cref="PairedDifference"/>'s is: what stands in one document is not independent. Of values between two bounds it is no narrower than a share's.
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
    /// Takes a mean. Where it is known between what values others can lie, the interval is at least that of a share (Clopper and Pearson, 1934): a bootstrap
    /// of a few successes, or of a few failures, is too narrow, and of none it tells nothing. Of 27 documents that all have 0 of 1, the upper end is 0.13.
    /// </summary>
    /// <param name="values">What was measured, each with the document it is of.</param>
    /// <param name="seed">Decides what is drawn. Default 0.</param>
    /// <param name="least">The least that a value can be: 0 of a share, below 0 of a difference. Not given: there is none.</param>
    /// <param name="most">The most that a value can be: 1 of a share. Not given: there is none.</param>
    public static MeanInterval Of(
        IEnumerable<(string Document, double Value)> values,
        long seed = 0,
        double least = double.NegativeInfinity,
        double most = double.PositiveInfinity)
    {
        ArgumentNullException.ThrowIfNull(values);
        double[][] groups = [.. values.GroupBy(one => one.Document, one => one.Value).Select(group => group.ToArray())];
        (double Sum, double Count)[] documents = [.. groups.Select(group => (group.Sum(), (double)group.Length))];
        double value = documents.Sum(document => document.Sum) / documents.Sum(document => document.Count);
        if (documents.Length < PairedDifference.LeastDocuments || !double.IsFinite(value))
        {
            return new(value, double.NaN, double.NaN, documents.Length);
        }

        (double below, double above) = DocumentBootstrap.Reach(documents, seed, Purpose.MeanBootstrap);
        if (double.IsFinite(most - least))
        {
            (double under, double over) = ShareInterval.Reach(groups, least, most);
            (below, above) = (Math.Max(below, under), Math.Max(above, over));
        }
        else if (below + above == 0)
        {
            (below, above) = (double.NaN, double.NaN);
        }

        return new(value, Math.Max(least, value - below), Math.Min(most, value + above), documents.Length);
    }

    /// <summary>
    /// Such as "0.41 [0.35, 0.48]", with as many digits as show that 0 is not in it; "0.41" where there is no interval, "not finite", and "-" where nothing was
    /// measured.
    /// </summary>
    public override string ToString()
    {
        if (double.IsNaN(Value))
        {
            return "-";
        }

        if (!double.IsFinite(Value))
        {
            return "not finite";
        }

        string digits = new('0', DocumentBootstrap.Digits(Low, High, 2)), form = $"0.{digits};-0.{digits};0.{digits}";
        return HasInterval ? $"{Show(Value)} [{Show(Low)}, {Show(High)}]" : Show(Value);

        string Show(double value) => value.ToString(form, CultureInfo.InvariantCulture);
    }
}
