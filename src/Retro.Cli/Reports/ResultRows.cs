using Retro.Evaluation;

namespace Retro.Cli.Reports;

/// <summary>What was measured, as rows that are printed and stand in reports: every reader, and the main ones by overlap with their neighbors.</summary>
/// <param name="table">Every reader.</param>
/// <param name="leakage">The main ones by overlap.</param>
/// <param name="against">Short names for what is compared with; null: those of the table.</param>
internal sealed class ResultRows(EvaluationTable table, LeakageTable leakage, IReadOnlyList<string>? against = null)
{
    private string[] Header => ["reader", "neighbors", "steps", "minutes", "bits per byte", .. (against ?? table.Against).Select(name => $"against {name}")];

    private IEnumerable<string[]> Rows => table.Rows.Select(row => (string[])
    [
        row.Entry.Reader,
        row.Entry.Results[0] is { Neighbors: > 0 } result ? $"{result.SourceName}, k = {result.Neighbors}" : "",
        row.Entry.Steps > 0 ? Page.Number(row.Entry.Steps.Value, "#,0") : "",
        row.Entry.Time > TimeSpan.Zero ? Page.Number(row.Entry.Time.Value.TotalMinutes, "0.0") : "",
        Page.Number(row.Entry.Value, "0.0000"),
        .. row.Differences.Select(Show),
    ]);

    private string[] LeakageHeader => ["overlap at most", "of the tokens", .. leakage.Readers];

    private IEnumerable<string[]> LeakageRows => leakage.Rows.Select(row => (string[])
    [
        Page.Number(row.Bound, "0.# %"),
        Page.Number(row.TokenShare, "0.0 %"),
        .. row.Values.Select((value, i) => double.IsNaN(value) ? ""
            : $"{Page.Number(value, "0.0000")}{(row.Differences[i] is { } difference ? $", {Show(difference)}" : "")}"),
    ]);

    /// <summary>What can be told of differences between readers.</summary>
    /// <param name="documents">Documents that were measured.</param>
    public static string Intervals(long documents) => documents < PairedDifference.LeastDocuments
        ? $"The documents are too few for an interval, which needs {PairedDifference.LeastDocuments}: no difference here is more than a hint."
        : "In brackets the 95 % interval of a paired bootstrap over documents, \"none\" where it holds 0.";

    /// <summary>Prints both tables.</summary>
    /// <param name="notes">What the rows of the first are, a line each.</param>
    /// <param name="title">What the second shows.</param>
    /// <param name="leakageNotes">What the rows of the second are; empty: nothing is to be said.</param>
    public void Print(IEnumerable<string> notes, string title, string leakageNotes)
    {
        Screen.Table("held-out bits per byte (less is better)", Header, Rows, 1);
        foreach (string note in notes)
        {
            Screen.Line($"{note}");
        }

        Screen.Table(title, LeakageHeader, LeakageRows);
        if (leakageNotes.Length > 0)
        {
            Screen.Line($"{leakageNotes}");
        }
    }

    /// <summary>Adds both tables to a report.</summary>
    /// <param name="report">The report.</param>
    /// <param name="notes">What the rows of the first are.</param>
    /// <param name="leakageNotes">What the rows of the second are.</param>
    public void AddTo(RunReport report, string notes, string leakageNotes)
    {
        report.Evaluation(Header, Rows, notes, table);
        report.Leakage(LeakageHeader, LeakageRows, leakageNotes, leakage);
    }

    // That there are too few documents for an interval is said once, below the table.
    private static string Show(PairedDifference? difference)
        => difference is null ? "" : difference.HasInterval ? difference.ToString() : Page.Number(difference.Value, "+0.0 %;-0.0 %;0.0 %");
}
