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
    /// <summary>Whether there are documents enough for an interval, <see cref="PairedDifference.LeastDocuments"/>.</summary>
    public bool HasInterval => Documents >= PairedDifference.LeastDocuments;

    /// <summary>Takes a mean.</summary>
    /// <param name="values">What was measured, each with the document it is of.</param>
    /// <param name="seed">Decides what is drawn. Default 0.</param>
    public static MeanInterval Of(IEnumerable<(string Document, double Value)> values, long seed = 0)
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
        return new(value, value - below, value + above, documents.Length);
    }

    /// <summary>Such as "0.41 [0.35, 0.48]"; "0.41" where there are too few documents for an interval, and "-" where nothing was measured.</summary>
    public override string ToString()
        => double.IsNaN(Value) ? "-"
            : HasInterval ? string.Create(CultureInfo.InvariantCulture, $"{Value:0.00} [{Low:0.00}, {High:0.00}]")
            : string.Create(CultureInfo.InvariantCulture, $"{Value:0.00}");
}
