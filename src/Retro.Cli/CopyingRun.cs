using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Cli.Reports;
using Retro.Cli.Workflow;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Training;

namespace Retro.Cli;

/// <summary>A training of fit for a reader that copies on top of a decoder, which leaves both.</summary>
/// <param name="arguments">What was asked for.</param>
/// <param name="made">Keeps what belongs to the model.</param>
/// <param name="parsed">The command line.</param>
/// <param name="workspace">Where they go.</param>
/// <param name="sources">The database.</param>
/// <param name="window">Tokens of a window.</param>
/// <param name="cancellationToken">Ends it after a step; nothing is left then.</param>
internal sealed class CopyingRun(
    TrainingArguments arguments, MadeModel made, ParseResult parsed, Workspace workspace, Sources sources, int window, CancellationToken cancellationToken)
{
    /// <summary>Trains it.</summary>
    /// <param name="decoder">The decoder, which stays as it is.</param>
    /// <param name="fromAnywhere">Whether it copies from anywhere in the database, besides.</param>
    /// <returns>What is worth telling.</returns>
    public JsonObject Fit(RetroModel decoder, bool fromAnywhere)
    {
        INeighborSource source = sources.Open(parsed.GetValue(arguments.Source)!, arguments.Seed(parsed));
        CopyReaderOptions copying = arguments.Copying(parsed, sources.Database.ChunkLength, window);
        List<StageProgress> steps = [];
        Stopwatch clock = Stopwatch.StartNew();
        string name = ModelFolder.NameOfCopying(fromAnywhere);
        TokenIndex? runs = fromAnywhere ? sources.Runs() : null;
        using CopyReader reader = Stages.Run($"train {name}", progress =>
        {
            SynchronousProgress<StageProgress> told = new(step =>
            {
                if (step.Loss is not null)
                {
                    steps.Add(step);
                }

                progress.Report(step);
            });
            return CopyReader.Fit(decoder, sources.Database, source, copying, runs, progress: told, cancellationToken: cancellationToken);
        });
        TimeSpan took = clock.Elapsed;
        Stages.Run("save", progress => Checkpoint.Save(workspace.Model, decoder, progress: progress, cancellationToken: cancellationToken));
        reader.Save(Path.Combine(workspace.Model, ModelFolder.CopyingFile));
        made.Saved(parsed, workspace, sources, Trainer.StateFile, Trainer.DescriptionFile, RunReport.StepsFile);
        using ChunkDatabase? heldOut = sources.HeldOut();
        RunReport report = new($"{Tool.Name}: train {name}, {workspace.Model}");
        report.Corpus(sources.Database, heldOut);
        report.Losses(name, steps, took);
        if (heldOut is not null && new HeldOutSample(heldOut, reader, source, window, cancellationToken) is { IsEmpty: false } sample)
        {
            report.Sample(Stages.Run("look at held-out text", _ => sample.Watch(new DecoderReader(decoder), reader)));
        }

        report.Configuration("decoder", workspace.Model, decoder.Config, File.ReadAllText(workspace.SettingsPath));
        string page = Path.Combine(workspace.Folder, RunReport.FileName);
        report.Write(page);
        int lastSteps = Math.Max(1, steps.Count / 10);
        double? last = TrainingRun.MeanLoss(steps.TakeLast(lastSteps).Select(step => step.Loss!.Value));
        Screen.Line($"{workspace.Model}: the decoder, and {ModelFolder.ReadByCopying(copying, fromAnywhere)};");
        Screen.Line($"  {Amount.Of(steps.Count, "step")} in {Amount.OfTime(took)};");
        Screen.Line($"  loss {steps[0].Loss:0.00} at step 1, {last ?? double.NaN:0.00} nats a token over the last {lastSteps:#,0}");
        Screen.Note($"Report: {page}");
        Screen.Note($"Next: {Tool.Name} eval {Shell.Option("--model", workspace.Folder)}");
        return new() { ["steps"] = copying.Steps, ["neighbors"] = copying.Neighbors, ["stride"] = copying.Stride, ["loss"] = last };
    }
}
