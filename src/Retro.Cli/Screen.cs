using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Corpora;
using Retro.Cli.Workflow;
using Spectre.Console;

namespace Retro.Cli;

/// <summary>What the tool prints: results on the standard output, as tables and lines; no colors, bars or wrapping where that is no terminal.</summary>
internal static class Screen
{
    /// <summary>The width of a number before an item.</summary>
    private const int NumberWidth = 9;

    private static readonly HashSet<string> s_warned = [];

    /// <summary>Prepares the console for a verb.</summary>
    /// <param name="verb">The verb.</param>
    /// <param name="parsed">Its command line.</param>
    public static void Prepare(Verb verb, ParseResult parsed)
    {
        s_warned.Clear();
        Terminal.Prepare();
        Stages.Prepare(parsed.GetValue(verb.Quiet));
    }

    /// <summary>Prints a line beside the results, which --quiet leaves out.</summary>
    public static void Note(FormattableString text)
    {
        if (!Stages.Quiet)
        {
            Line(text);
        }
    }

    /// <summary>Prints a line of the results; what it holds is printed as text and nothing else.</summary>
    public static void Line(FormattableString text) => Text(text.ToString(CultureInfo.InvariantCulture) + "\n");

    /// <summary>Says on the error output, once, what whoever uses the results has to know; --quiet leaves it in.</summary>
    public static void Warn(string sentence)
    {
        if (s_warned.Add(sentence))
        {
            Console.Error.WriteLine(Printable.Of(sentence));
        }
    }

    /// <summary>Prints an item of a list beside the results, which --quiet leaves out; in a terminal its text stays beside its number.</summary>
    /// <param name="number">What stands before it.</param>
    /// <param name="text">Its text.</param>
    public static void Item(FormattableString number, FormattableString text)
    {
        if (Stages.Quiet || Console.IsOutputRedirected)
        {
            Note($"  {number.ToString(CultureInfo.InvariantCulture)}  {text.ToString(CultureInfo.InvariantCulture)}");
            return;
        }

        Grid grid = new();
        grid.AddColumn(new GridColumn { NoWrap = true, Alignment = Justify.Right, Width = NumberWidth, Padding = new Padding(0, 0, 2, 0) });
        grid.AddColumn(new GridColumn { Padding = new Padding(0, 0, 0, 0) });
        grid.AddRow(new Text(number.ToString(CultureInfo.InvariantCulture)), new Text(Printable.Of(text.ToString(CultureInfo.InvariantCulture))));
        AnsiConsole.Write(grid);
    }

    /// <summary>Prints text as it is, with a picture for each control character.</summary>
    public static void Text(string text)
    {
        // Where lines are for programs, they are not wrapped.
        if (Console.IsOutputRedirected)
        {
            Console.Out.Write(Printable.Of(text));
            return;
        }

        AnsiConsole.Write(new Text(Printable.Of(text)));
    }

    /// <summary>Prints a part of a text while that is written.</summary>
    /// <param name="text">The part.</param>
    /// <param name="results">The file that the results go into besides; null: none.</param>
    /// <exception cref="UnreadException">Nobody reads it any more, and the results go nowhere else.</exception>
    public static async Task ShowAsync(string text, string? results)
    {
        await Console.Out.WriteAsync(Printable.Of(text)).ConfigureAwait(false);
        if (PipedOutput.IsOutputUnread && (results is null || Workspace.IsOutput(results)))
        {
            throw new UnreadException();
        }
    }

    /// <summary>Prints a table.</summary>
    /// <param name="title">What it shows; null: no title.</param>
    /// <param name="header">Its columns; the first is aligned to the left, the others to the right where they hold numbers.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="left">Columns that are aligned to the left.</param>
    public static void Table(string? title, string[] header, IEnumerable<string[]> rows, params int[] left)
    {
        Table table = new() { Border = TableBorder.Rounded };
        if (title is not null)
        {
            table.Title = new TableTitle(Markup.Escape(title));
        }

        for (int i = 0; i < header.Length; i++)
        {
            TableColumn column = new(Markup.Escape(header[i]));
            table.AddColumn(i == 0 || left.Contains(i) ? column.LeftAligned() : column.RightAligned());
        }

        foreach (string[] row in rows)
        {
            table.AddRow(Array.ConvertAll(row, cell => Markup.Escape(Printable.Of(cell))));
        }

        AnsiConsole.Write(table);
    }

    /// <summary>Says what a cleaning took out and changed.</summary>
    public static void Report(CorpusCleaning cleaning)
    {
        foreach (CleaningStepReport step in cleaning.Report?.Steps.Where(step => step.Removed + step.Changed > 0) ?? [])
        {
            Line($"{step.Name}: {Amount.Of(step.Removed, "document")} taken out, {step.Changed:#,0} changed, such as {step.Examples[0]}");
        }
    }

    /// <summary>Notes which patterns match no file of any of some corpora; that is no fault of one that leaves out files which may come.</summary>
    public static void ReportUnmatched(params Corpus[] corpora)
    {
        string[] unmatched = [.. corpora[0].Unmatched.Where(pattern => corpora.All(corpus => corpus.Unmatched.Contains(pattern)))];
        if (unmatched.Length > 0)
        {
            Note($"left out by pattern: no file that was looked at matches {string.Join(" or ", unmatched.Select(pattern => $"\"{pattern}\""))}");
        }
    }

    /// <summary>Says what of some corpora could not be read: how much, and of the first what and why.</summary>
    /// <returns>The first, for programs.</returns>
    public static JsonArray ReportSkipped(params Corpus[] corpora)
    {
        string[] first = [.. corpora.SelectMany(corpus => corpus.SkippedExamples).Take(CleaningStepReport.MostExamples)];
        if (first.Length > 0)
        {
            long skipped = corpora.Sum(corpus => (long)corpus.Skipped + corpus.UnlistedFolders);
            Line($"unreadable, and left out: {skipped:#,0} (files, folders, lines or types){(skipped > first.Length ? ", the first of them" : "")}");
            foreach (string one in first)
            {
                Line($"  {one}");
            }
        }

        return new([.. first.Select(one => JsonValue.Create(one))]);
    }

    /// <summary>What a cleaning took out and changed, for programs.</summary>
    public static JsonArray Json(CorpusCleaning cleaning) => new([.. (cleaning.Report?.Steps ?? []).Select(step => new JsonObject
    {
        ["step"] = step.Name,
        ["removed"] = step.Removed,
        ["changed"] = step.Changed,
        ["examples"] = new JsonArray([.. step.Examples.Select(example => JsonValue.Create(example))]),
    })]);
}
