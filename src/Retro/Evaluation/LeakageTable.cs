using System.Globalization;

namespace Retro.Evaluation;

/// <summary>The leakage curves of several readers side by side (<see cref="LeakageCurve"/>).</summary>
/// <param name="Readers">The readers' names; differences are to the first.</param>
/// <param name="Rows">One for each bound.</param>
public sealed record LeakageTable(IReadOnlyList<string> Readers, IReadOnlyList<LeakageRow> Rows)
{
    /// <summary>
    /// What the overlap does not tell, in a sentence: which readers read other text than it is with, and may copy where it is small. Empty: there are none.
    /// </summary>
    public string Note { get; init; } = "";

    /// <summary>Makes the table, at the bounds of <see cref="LeakageCurve.Bounds"/>.</summary>
    /// <param name="curve">The overlap of the held-out chunks.</param>
    /// <param name="entries">What was measured; differences are to the first.</param>
    /// <param name="seed">Decides what the intervals draw. Default 0.</param>
    /// <returns>The table.</returns>
    /// <exception cref="ArgumentException">The entries cannot be compared with each other, or are of other documents than the curve.</exception>
    public static LeakageTable Of(LeakageCurve curve, IReadOnlyList<EvaluationEntry> entries, long seed = 0)
    {
        ArgumentNullException.ThrowIfNull(curve);
        ArgumentNullException.ThrowIfNull(entries);
        EvaluationTable.Check(entries, null);
        string[] others = [.. entries.Where(entry => entry.Results.Any(curve.IsOfOtherText)).Select(entry => entry.Reader)];
        return new LeakageTable([.. entries.Select(entry => entry.Reader)], [.. LeakageCurve.Bounds.Select(bound => Row(curve, entries, bound, seed))])
        {
            Note = others.Length == 0 ? ""
                : $"The overlap is with the neighbors of whole chunks, {curve.Neighbors} by {curve.SourceName}. Other text is read by "
                    + $"{string.Join("; ", others)}: what is gained there where the overlap is small may be copied all the same.",
        };
    }

    /// <summary>The table as Markdown, with the note below it.</summary>
    public string ToMarkdown()
    {
        string table = MarkdownTable.Of(["overlap at most", "share of the tokens", .. Readers], Rows.Select(row => (string[])
        [
            string.Create(CultureInfo.InvariantCulture, $"{row.Bound * 100:0.#} %"),
            string.Create(CultureInfo.InvariantCulture, $"{row.TokenShare * 100:0.0} %"),
            .. row.Values.Select((value, i) => (double.IsNaN(value) ? "-" : value.ToString("0.0000", CultureInfo.InvariantCulture))
                + (row.Differences[i] is { } difference ? $", {difference}" : "")),
        ]));
        return Note.Length > 0 ? table + Environment.NewLine + Note + Environment.NewLine : table;
    }

    private static LeakageRow Row(LeakageCurve curve, IReadOnlyList<EvaluationEntry> entries, double bound, long seed)
    {
        DocumentSums[][] sums = [.. entries.Select(entry => entry.Results.Select(result => curve.At(result, bound)).ToArray())];
        bool any = sums[0][0].Bytes.Any(bytes => bytes > 0);
        return new LeakageRow(
            bound,
            curve.TokenShare(bound),
            [.. sums.Select(one => one.Average(sum => sum.Value))],
            [.. sums.Select((one, i) => i == 0 || !any ? null : PairedDifference.Of(one, sums[0], seed))]);
    }
}

/// <summary>A row of a <see cref="LeakageTable"/>: the chunks whose overlap is at most a bound.</summary>
/// <param name="Bound">The bound, from 0 to 1.</param>
/// <param name="TokenShare">The share of the held-out tokens that stand in such chunks.</param>
/// <param name="Values">Each reader's bits per byte over them, as a mean over the seeds; not a number where there is no such text.</param>
/// <param name="Differences">Each reader's difference to the first; null for the first itself, and where there is no such text.</param>
public sealed record LeakageRow(double Bound, double TokenShare, IReadOnlyList<double> Values, IReadOnlyList<PairedDifference?> Differences);
