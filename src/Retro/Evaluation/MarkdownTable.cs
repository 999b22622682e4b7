using System.Text;

namespace Retro.Evaluation;

/// <summary>Tables in Markdown, as <see cref="EvaluationTable"/> and <see cref="LeakageTable"/> write theirs.</summary>
public static class MarkdownTable
{
    /// <summary>Writes a table, every row a line; what a cell holds is text, whatever characters it has.</summary>
    /// <param name="header">The columns.</param>
    /// <param name="rows">The rows, each of as many cells.</param>
    /// <returns>The lines, the last one's end included.</returns>
    public static string Of(IReadOnlyList<string> header, IEnumerable<IReadOnlyList<string>> rows)
    {
        ArgumentNullException.ThrowIfNull(header);
        ArgumentNullException.ThrowIfNull(rows);
        StringBuilder text = new();
        text.AppendLine(Line(header)).AppendLine($"|{string.Concat(header.Select(_ => "---|"))}");
        foreach (IReadOnlyList<string> row in rows)
        {
            text.AppendLine(Line(row));
        }

        return text.ToString();
    }

    private static string Line(IEnumerable<string> cells)
        => $"| {string.Join(" | ", cells.Select(cell => cell.Replace("|", "\\|", StringComparison.Ordinal).ReplaceLineEndings(" ")))} |";
}
