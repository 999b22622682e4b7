using System.Globalization;
using System.Text.Json;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Training;

namespace Retro.Cli.Reports;

/// <summary>What a run did, in one page: its text, its configuration, how the training went, what was measured, and what was read.</summary>
/// <param name="title">What the run was.</param>
internal sealed class RunReport(string title)
{
    /// <summary>The report of the run that made what a folder holds.</summary>
    public const string FileName = "report.html";

    /// <summary>That of the last evaluation, beside it: of how what copies was trained, the other one alone tells.</summary>
    public const string EvaluationFile = "evaluation.html";

    /// <summary>The steps of a model's training, beside it.</summary>
    public const string StepsFile = "steps.jsonl";

    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true };

    /// <summary>The page.</summary>
    public Page Page { get; } = new(title);

    /// <summary>Numbers of the text that is trained on and read from, and of what is held out.</summary>
    public void Corpus(ChunkDatabase database, ChunkDatabase? heldOut)
    {
        Page.Heading("Text");
        Page.Table(
            "the databases",
            ["", "documents", "bytes of text", "chunks", "tokens", "bytes a token"],
            new[] { ("trained on and read from", (ChunkDatabase?)database), ("held out", heldOut) }
                .Where(one => one.Item2 is not null)
                .Select(one => Row(one.Item1, one.Item2!.Manifest)));
        DatabaseManifest manifest = database.Manifest;
        Page.Paragraph(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{database.Folder}: chunks of {manifest.ChunkLength} tokens; tokenizer {manifest.TokenizerKind} of {manifest.VocabularySize:#,0} tokens; "
                    + $"cleaning: {manifest.Cleaning}."),
            soft: true);
        IEnumerable<(string Name, string Value)> files =
            manifest.Files.SelectMany(file => file.Details.Select(detail => ($"{file.Name}, {detail.Key}", detail.Value)));
        Page.Details("Its files", string.Join('\n', files.Select(one => $"{one.Name}: {one.Value}")));

        static string[] Row(string name, DatabaseManifest of) =>
        [
            name,
            Page.Number(of.DocumentCount, "#,0"),
            Page.Number(of.ByteCount, "#,0"),
            Page.Number(of.ChunkCount, "#,0"),
            Page.Number(of.TokenCount, "#,0"),
            Page.Number((double)of.ByteCount / Math.Max(1, of.TokenCount), "0.00"),
        ];
    }

    /// <summary>A model's shape, and what was typed.</summary>
    /// <param name="name">The model.</param>
    /// <param name="folder">The model's folder.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="typed">The folder's retro.json; null: there is none.</param>
    public void Configuration(string name, string folder, RetroConfig config, string? typed)
    {
        ParameterCounts counts = config.CountParameters();
        Page.Heading($"Configuration: {name}");
        Page.Paragraph(string.Create(CultureInfo.InvariantCulture, $"{folder}: {counts.Total:#,0} parameters."), soft: true);
        string path = Path.Combine(folder, Checkpoint.ConfigName);
        Page.Details(Checkpoint.ConfigName, File.Exists(path) ? File.ReadAllText(path) : JsonSerializer.Serialize(config, s_json));
        if (typed is not null)
        {
            Page.Details(Workspace.SettingsFile, typed);
        }
    }

    /// <summary>How a training went.</summary>
    /// <param name="name">The model.</param>
    /// <param name="steps">Its steps; nothing is added where there are none.</param>
    public void Training(string name, IReadOnlyList<TrainingProgress> steps)
    {
        if (steps.Count == 0)
        {
            return;
        }

        TrainingProgress last = steps[^1];
        Page.Heading($"Training: {name}");
        Page.Paragraph(string.Create(
            CultureInfo.InvariantCulture,
            $"{Amount.Of(last.Step, "step")} over {last.Tokens:#,0} tokens in {Amount.OfTime(last.Elapsed)}; left out because the gradient was not finite: "
                + $"{Amount.Of(steps.Count(step => step.Skipped), "step")}."));
        TrainingProgress[] watched = [.. steps.Where(step => step.Watched is not null)];
        Page.Plots(
        [
            Plot.Lines("Training loss", "step", "nats per token", Series("loss", step => step.Loss)),
            Plot.Lines(
                "Loss on a sample of held-out text",
                "step",
                "nats per token",
                new PlotSeries("retrieval off", [.. watched.Select(step => ((double)step.Step, step.Watched!.Value.Off))]),
                new PlotSeries("retrieval on", [.. watched.Select(step => ((double)step.Step, step.Watched!.Value.On ?? double.NaN))])),
            Plot.Lines("Learning rate", "step", "AdamW's rate", Series("rate", step => step.LearningRate)),
            Plot.Lines("Norm of the gradient before clipping", "step", "norm", Series("norm", step => step.GradientNorm)),
            Plot.Lines("Speed", "step", "tokens a second", Series("speed", step => step.TokensPerSecond)),
        ]);
        if (watched.Length > 0)
        {
            Sample(watched[^1].Watched!.Value);
        }

        PlotSeries Series(string of, Func<TrainingProgress, double> value) => new(of, [.. steps.Select(step => ((double)step.Step, value(step)))]);
    }

    /// <summary>How a training went of which only the losses are known.</summary>
    /// <param name="name">What was trained.</param>
    /// <param name="steps">Its steps, each with its loss.</param>
    /// <param name="took">How long it took.</param>
    public void Losses(string name, IReadOnlyList<StageProgress> steps, TimeSpan took)
    {
        Page.Heading($"Training: {name}");
        Page.Paragraph($"{Amount.Of(steps.Count, "step")} in {Amount.OfTime(took)}.");
        PlotSeries losses = new("loss", [.. steps.Select(step => ((double)step.Done, step.Loss ?? double.NaN))]);
        Page.Plots([Plot.Lines("Training loss", "step", "nats per token", losses)]);
    }

    /// <summary>What a sample of held-out text cost at the end.</summary>
    public void Sample(TrainingWatch at)
    {
        string on = at.On is { } with ? $", {Page.Number(with, "0.000")} with retrieval on" : "";
        Page.Paragraph(
            $"At the end a sample of held-out text costs {Page.Number(at.Off, "0.000")} nats per token with retrieval off{on}. It is small, and decided "
                + "nothing.",
            soft: true);
    }

    /// <summary>What was measured on held-out documents.</summary>
    /// <param name="header">The table's columns.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="notes">What they are of.</param>
    /// <param name="table">The table.</param>
    public void Evaluation(IEnumerable<string> header, IEnumerable<IEnumerable<string>> rows, string notes, EvaluationTable table)
    {
        Page.Heading("Held-out bits per byte");
        Page.Table("held-out bits per byte", header, rows);
        Page.Paragraph(notes, soft: true);
        Page.Plots(table.Against.Select((name, i) => Plot.Intervals($"Against {name}", "difference in bits per byte, %", [.. table.Rows
            .Where(row => row.Differences[i] is not null)
            .Select(row => (row.Entry.Reader, Difference: row.Differences[i]!))
            .Select(row => new PlotInterval(
                row.Reader,
                100 * row.Difference.Value,
                100 * (row.Difference.HasInterval ? row.Difference.Low : row.Difference.Value),
                100 * (row.Difference.HasInterval ? row.Difference.High : row.Difference.Value)))])));
    }

    /// <summary>How much of a gain is copying.</summary>
    /// <param name="header">The table's columns.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="notes">What they are of.</param>
    /// <param name="leakage">The table.</param>
    public void Leakage(IEnumerable<string> header, IEnumerable<IEnumerable<string>> rows, string notes, LeakageTable leakage)
    {
        Page.Heading("By overlap with the neighbors");
        Page.Table("bits per byte by overlap with the neighbors", header, rows);
        Page.Paragraph(notes, soft: true);
        Page.Plots([Plot.Lines(
            "Bits per byte by overlap",
            "overlap at most, %",
            "bits per byte",
            [.. leakage.Readers.Select((reader, i) => new PlotSeries(reader, [.. leakage.Rows.Select(row => (100 * row.Bound, row.Values[i]))]))])]);
    }

    /// <summary>Writes the page.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="RetroException">It cannot be written.</exception>
    public void Write(string path) => Workspace.WriteText(path, Page.ToString());
}
