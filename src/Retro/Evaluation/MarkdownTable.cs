using System.Text;
using System.Text.RegularExpressions;

namespace Retro.Evaluation;

/// <summary>Tables in Markdown, as <see cref="EvaluationTable"/> and <see cref="LeakageTable"/> write theirs.</summary>
public static partial class MarkdownTable
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
        => $"| {string.Join(" | ", cells.Select(cell => Sign().Replace(cell.ReplaceLineEndings(" "), @"\$0")))} |";

    // What CommonMark (https://spec.commonmark.org/0.31.2) and tables take for more than text, where it stands so that it can be: what ends a cell or escapes,
    // begins code, emphasis, strikethrough, HTML, an address, a reference or its target, and entities. An interval's bracket and a name's underscore can not.
    [GeneratedRegex(@"[\\|`]|\*(?=\S)|(?<![\p{L}\p{N}])_(?=\S)|~(?=.*~)|<(?=[A-Za-z/!?])|\[(?![0-9+-])|(?<=\])\(|&(?=#?[A-Za-z0-9]+;)")]
    private static partial Regex Sign();
}
