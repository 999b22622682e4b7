using System.Text;

namespace Retro.Cli.Reports;

/// <summary>Tables in Markdown.</summary>
internal static class MarkdownTable
{
    /// <summary>A table; what a cell holds is text, whatever characters it has.</summary>
    /// <param name="header">The columns.</param>
    /// <param name="rows">The rows, of as many cells.</param>
    public static string Of(IReadOnlyList<string> header, IEnumerable<IReadOnlyList<string>> rows)
    {
        StringBuilder text = new();
        text.AppendLine(Line(header)).AppendLine($"|{string.Concat(header.Select(_ => "---|"))}");
        foreach (IReadOnlyList<string> row in rows)
        {
            text.AppendLine(Line(row));
        }

        return text.ToString();
    }

    private static string Line(IEnumerable<string> cells)
        => $"| {string.Join(" | ", cells.Select(cell => cell.Replace("|", "\\|", StringComparison.Ordinal)))} |";
}
