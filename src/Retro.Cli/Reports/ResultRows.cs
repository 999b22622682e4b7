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

    /// <summary>Prints both tables, each with its own notes below it.</summary>
    /// <param name="notes">What is to be said of the first besides, a line each.</param>
    /// <param name="title">What the second shows.</param>
    /// <param name="leakageNotes">What is to be said of the second besides; empty: nothing.</param>
    public void Print(IEnumerable<string> notes, string title, string leakageNotes)
    {
        Screen.Table("held-out bits per byte (less is better)", Header, Rows, 1);
        Say([table.Notes, .. notes]);
        Screen.Table(title, LeakageHeader, LeakageRows);
        Say([leakageNotes, leakage.Note]);

        static void Say(IEnumerable<string> notes)
        {
            foreach (string note in notes.Where(note => note.Length > 0))
            {
                Screen.Line($"{note}");
            }
        }
    }

    /// <summary>Adds both tables, each with its own notes below it, to a report.</summary>
    /// <param name="report">The report.</param>
    /// <param name="notes">What is to be said of the first besides.</param>
    /// <param name="leakageNotes">What is to be said of the second besides.</param>
    public void AddTo(RunReport report, string notes, string leakageNotes)
    {
        report.Evaluation(Header, Rows, $"{table.Notes} {notes}", table);
        report.Leakage(LeakageHeader, LeakageRows, $"{leakageNotes} {leakage.Note}".TrimEnd(), leakage);
    }

    // That there are too few documents for an interval is said once, below the table.
    private static string Show(PairedDifference? difference)
        => difference is null ? ""
            : difference.Documents >= PairedDifference.LeastDocuments ? difference.ToString()
            : Page.Number(difference.Value, "+0.0 %;-0.0 %;0.0 %");
}
