using System.Globalization;
using System.Text;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Training;
using Samples;
using Spectre.Console;

namespace Quickstart;

/// <summary>What the run ended with: on the console and as one HTML file with its plots inside.</summary>
internal sealed class Report(
    QuickstartOptions options,
    string corpusKind,
    RetroConfig config,
    ChunkDatabase database,
    IReadOnlyList<TrainingProgress> steps,
    IReadOnlyList<BitsPerByteResult> measured,
    IReadOnlyList<Continuation> continuations,
    TimeSpan elapsed)
{
    private BitsPerByteResult Off => measured[0];

    /// <summary>Prints the table and the continuations.</summary>
    public void Print()
    {
        Table table = new() { Title = new TableTitle("held-out bits per byte") };
        table.AddColumns("retrieval", "bits per byte", "against off", "perplexity");
        foreach (BitsPerByteResult result in measured)
        {
            table.AddRow(result.SourceName, Number(result.Value, "0.0000"), Against(result), Number(result.Perplexity, "0.00"));
        }

        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"over {Off.Tokens:#,0} tokens, {Off.Bytes:#,0} bytes, of {Off.Documents:#,0} documents that are neither in the training set nor in the database");
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
                    AnsiConsole.Write(new Text(Printable.Of($"    {Name(neighbor)}, chunk {neighbor.ChunkInDocument + 1}: {Shorten(neighbor.Text)}\n")));
                }
            }
        }
    }

    /// <summary>Writes report.html into a folder.</summary>
    /// <returns>Its path.</returns>
    public string Write(string folder)
    {
        StringBuilder html = new();
        html.AppendLine("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Retro quickstart</title><style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}table{border-collapse:collapse}td,th{padding:.25rem .8rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}pre{white-space:pre-wrap;background:#f6f6f6;padding:.8rem}pre b{background:#e3edff}small{color:#555}</style></head><body>");
        html.AppendLine("<h1>Retro quickstart</h1>");
        html.AppendLine(CultureInfo.InvariantCulture, $"<p>{SvgPlot.Escape(options.Corpus ?? "documentation of the .NET reference packs")} ({SvgPlot.Escape(corpusKind)}): {database.Documents.Count:#,0} documents, {database.ChunkCount:#,0} chunks of {database.ChunkLength} tokens. {config.CountParameters().Total:#,0} parameters, {steps.Count:#,0} steps, {(steps.Count > 0 ? steps[^1].Tokens : 0):#,0} tokens. Seed {options.Seed}; {elapsed.TotalMinutes:0.0} minutes in all.</p>");
        html.AppendLine("<h2>Held-out bits per byte</h2><table><tr><th>retrieval</th><th>bits per byte</th><th>against off</th><th>perplexity</th></tr>");
        foreach (BitsPerByteResult result in measured)
        {
            html.AppendLine(CultureInfo.InvariantCulture, $"<tr><td>{SvgPlot.Escape(result.SourceName)}</td><td>{result.Value:0.0000}</td><td>{Against(result)}</td><td>{result.Perplexity:0.00}</td></tr>");
        }

        html.AppendLine(CultureInfo.InvariantCulture, $"</table><p><small>{Off.Tokens:#,0} tokens, {Off.Bytes:#,0} bytes, {Off.Documents:#,0} documents, neither trained on nor in the database.</small></p>");
        html.AppendLine(SvgPlot.Bars("Held-out bits per byte", "bits per byte", measured.Select(r => (r.SourceName, r.Value)).ToList()));
        if (steps.Any(s => double.IsFinite(s.Loss)))
        {
            html.AppendLine(SvgPlot.Lines("Training loss", "step", "nats per token", new PlotSeries("loss", Smooth(steps))));
        }

        html.AppendLine("<h2>Text with sources</h2>");
        foreach (Continuation continuation in continuations)
        {
            html.AppendLine(CultureInfo.InvariantCulture, $"<pre>{SvgPlot.Escape(continuation.Prompt)}<b>{SvgPlot.Escape(continuation.Text)}</b></pre><ul>");
            foreach (RetrievedNeighbors retrieved in continuation.Sources)
            {
                foreach (RetrievedNeighbor neighbor in retrieved.Neighbors)
                {
                    html.AppendLine(CultureInfo.InvariantCulture, $"<li>after chunk {retrieved.Chunk + 1}: <b>{SvgPlot.Escape(Name(neighbor))}</b>, chunk {neighbor.ChunkInDocument + 1}: <small>{SvgPlot.Escape(Shorten(neighbor.Text))}</small></li>");
                }
            }

            html.AppendLine("</ul>");
        }

        html.AppendLine("</body></html>");
        string path = Path.Combine(folder, "report.html");
        File.WriteAllText(path + ".new", html.ToString());
        File.Move(path + ".new", path, overwrite: true);
        return path;
    }

    /// <summary>Running means, a hundred points at most, so that the trend is visible behind the noise of single steps.</summary>
    private static List<(double X, double Y)> Smooth(IReadOnlyList<TrainingProgress> steps)
    {
        int bucket = Math.Max(1, steps.Count / 100);
        return steps.Where(s => double.IsFinite(s.Loss)).Chunk(bucket).Select(b => (b.Average(s => (double)s.Step), b.Average(s => s.Loss))).ToList();
    }

    private string Against(BitsPerByteResult result)
        => ReferenceEquals(result, Off) ? "" : ((result.Value / Off.Value) - 1).ToString("+0.00 %;-0.00 %", CultureInfo.InvariantCulture);

    private static string Name(RetrievedNeighbor neighbor) => neighbor.Title.Length > 0 ? neighbor.Title : neighbor.DocumentId;

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string Shorten(string text)
    {
        string line = string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return line.Length <= 160 ? line : line[..(char.IsHighSurrogate(line[159]) ? 159 : 160)] + "...";
    }
}
