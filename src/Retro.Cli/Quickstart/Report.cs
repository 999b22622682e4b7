using System.Globalization;
using Retro.Cli.Reports;
using Retro.Database;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Training;
using Retro.Cli.Workflow;
using Spectre.Console;

namespace Retro.Cli.Quickstart;

/// <summary>What the run ended with: on the console, as one HTML file with its plots inside, and its tables as Markdown.</summary>
/// <param name="options">What the command line said.</param>
/// <param name="corpus">The text.</param>
/// <param name="config">The RETRO.</param>
/// <param name="database">What is retrieved from.</param>
/// <param name="table">Everything that was measured, against the closed book, the pointer rule, and the longest run anywhere in the database.</param>
/// <param name="leakage">The main readers by how much the held-out text has in common with its neighbors.</param>
/// <param name="copying">How the copying reader retrieves and was trained.</param>
/// <param name="steps">The steps of each training, with its name.</param>
/// <param name="continuations">Generated text.</param>
/// <param name="elapsed">Time of the run.</param>
internal sealed class Report(
    QuickstartOptions options,
    SampleCorpus corpus,
    RetroConfig config,
    ChunkDatabase database,
    EvaluationTable table,
    LeakageTable leakage,
    CopyReaderOptions copying,
    IReadOnlyList<(string Name, List<TrainingProgress> Steps)> steps,
    IReadOnlyList<Continuation> continuations,
    TimeSpan elapsed)
{
    private readonly ResultRows _rows = new(table, leakage, ["closed book", "pointer rule, k = 8", "longest run"]);

    /// <summary>What the rows of the table are, and where the documents come from that they were measured on.</summary>
    private string Notes
    {
        get
        {
            string shortened = corpus.Cut > 0 ? $"; {corpus.Cut} of them were cut to their beginning so that measuring ends in time" : "";
            return string.Create(CultureInfo.InvariantCulture, $"""
                The documents are neither in the training set nor in the database{shortened}.
                "Closed book" is the decoder alone, and "pointer rule" the decoder with what followed the longest run of the last tokens in the
                neighbors of the chunk before, without a trained weight; "longest run" is the same anywhere in the database, without neighbors. "Copying
                from anywhere" is the decoder, unchanged, and a reader that was trained for {copying.Steps} steps to copy from such runs, and from
                {copying.Neighbors} neighbors, found anew every {copying.Stride} tokens; its steps and minutes are those of both. "RETRO" is the decoder, unchanged, with chunked cross-attention fitted onto
                its last layer, which reads {config.Retrieval!.Neighbors} neighbors of the chunk before; its steps and minutes are those of both too, and
                off it is the closed book.
                Copying and RETRO were trained with neighbors by {Source}; they are measured with those of other sources too.
                """).ReplaceLineEndings(" ");
        }
    }

    private string Source => table.Rows[^1].Entry.TrainedWith!;

    private string LeakageNotes
        => $"Bits per byte of the chunks of which at most so much stands, as one run of tokens, in one of their neighbors by {Source}, and the " +
            "difference to the closed book on the same chunks.";

    /// <summary>Prints the tables and the continuations.</summary>
    public void Print()
    {
        _rows.Print([Notes], "by overlap with the neighbors", LeakageNotes);
        foreach (Continuation continuation in continuations)
        {
            AnsiConsole.WriteLine();
            AnsiConsole.Write(new Rule("prompt, and what the model went on with") { Justification = Justify.Left });
            AnsiConsole.Write(new Text(Printable.Of(continuation.Prompt), new Style(decoration: Decoration.Dim)));
            AnsiConsole.Write(new Text(Printable.Of(continuation.Text), new Style(decoration: Decoration.Bold)));
            AnsiConsole.WriteLine();
            foreach (RetrievedNeighbors retrieved in continuation.Sources)
            {
                AnsiConsole.Write(new Text($"  after chunk {retrieved.Chunk + 1} it read:\n"));
                foreach (RetrievedNeighbor neighbor in retrieved.Neighbors)
                {
                    string name = Passages.Name(neighbor.Title, neighbor.DocumentId), read = Passages.Shorten(neighbor.Text);
                    AnsiConsole.Write(new Text(Printable.Of($"    {name}, chunk {neighbor.ChunkInDocument + 1}: {read}\n")));
                }
            }
        }
    }

    /// <summary>Writes report.html into a folder, and its tables, with more columns, as report.md.</summary>
    /// <returns>The path of report.html.</returns>
    public string Write(string folder)
    {
        RunReport report = new("Retro quickstart");
        string name = options.Corpus ?? "documentation of the .NET reference packs";
        long parameters = config.CountParameters().Total, decoder = (config with { Retrieval = null }).CountParameters().Total;
        report.Page.Paragraph(string.Create(
            CultureInfo.InvariantCulture,
            $"{name} ({corpus.Kind}); {parameters:#,0} parameters, {decoder:#,0} of them the decoder's. Seed {options.Seed}; "
                + $"{Amount.OfTime(elapsed)} in all."));
        _rows.AddTo(report, Notes, LeakageNotes);
        report.Page.Heading("Text with sources");
        foreach (Continuation continuation in continuations)
        {
            report.Page.Html($"<pre>{Page.Escape(continuation.Prompt)}<mark>{Page.Escape(continuation.Text)}</mark></pre><ul>");
            foreach (RetrievedNeighbors retrieved in continuation.Sources)
            {
                foreach (RetrievedNeighbor neighbor in retrieved.Neighbors)
                {
                    string document = Page.Escape(Passages.Name(neighbor.Title, neighbor.DocumentId)), read = Page.Escape(Passages.Shorten(neighbor.Text));
                    string place = string.Create(CultureInfo.InvariantCulture, $"chunk {neighbor.ChunkInDocument + 1}");
                    report.Page.Html($"<li>after chunk {retrieved.Chunk + 1}: <b>{document}</b>, {place}: <small>{read}</small></li>");
                }
            }

            report.Page.Html("</ul>");
        }

        report.Corpus(database, null);
        foreach ((string training, List<TrainingProgress> done) in steps)
        {
            report.Training(training, done);
        }

        Workspace.WriteText(Path.Combine(folder, "report.md"), $"{table.ToMarkdown()}\n{Notes}\n\n{leakage.ToMarkdown()}\n{LeakageNotes}\n");
        string path = Path.Combine(folder, RunReport.FileName);
        report.Write(path);
        return path;
    }
}
