using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Answering;
using Retro.Cli.Reports;
using Retro.Cli.Workflow;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Training;

namespace Retro.Cli;

/// <summary>A training of train or fit, which leaves the model's checkpoint, its tokenizer and what it took.</summary>
/// <param name="arguments">What was asked for.</param>
/// <param name="made">Keeps what belongs to the model.</param>
/// <param name="parsed">The command line.</param>
/// <param name="workspace">Where the model goes.</param>
/// <param name="sources">The database.</param>
/// <param name="window">Tokens of a window.</param>
/// <param name="cancellationToken">Ends it after a step.</param>
internal sealed class TrainingRun(
    TrainingArguments arguments, MadeModel made, ParseResult parsed, Workspace workspace, Sources sources, int window, CancellationToken cancellationToken)
{
    /// <summary>Trains a model on windows of the database.</summary>
    /// <param name="name">What is shown meanwhile.</param>
    /// <param name="model">The model.</param>
    /// <param name="recipe">Settings of a model that is trained from nothing, or of one that is fitted.</param>
    /// <param name="dropout">Share of the batches without neighbors.</param>
    /// <param name="planting">Planted neighbors; null: none.</param>
    /// <param name="save">Saves what belongs to the model beside its checkpoint; null: nothing does.</param>
    /// <returns>What is worth telling.</returns>
    public JsonObject Train(
        string name, RetroModel model, TrainingOptions recipe, double dropout, PlantingSchedule? planting, Action? save = null)
    {
        RetrievalConfig? retrieval = model.Config.Retrieval;
        using NeighborTable? neighbors = retrieval is null ? null : FindNeighbors(retrieval.Neighbors);
        WindowSampler windows = new(
            sources.Database,
            new WindowSamplerOptions
            {
                WindowLength = window,
                BatchSize = arguments.Together(parsed),
                Neighbors = retrieval?.Neighbors ?? 0,
                RetrievedLength = retrieval?.RetrievedLength ?? 1,
                RetrievalDropout = retrieval is null ? 0 : dropout,
                Planting = retrieval is null ? null : planting,
                Seed = arguments.Seed(parsed),
            },
            neighbors);
        return Train(name, model, windows, recipe, save);
    }

    /// <summary>Trains a model on any data, of which a batch is <see cref="TrainingArguments.Together"/>.</summary>
    /// <param name="name">What is shown meanwhile.</param>
    /// <param name="model">The model.</param>
    /// <param name="data">What it is trained on.</param>
    /// <param name="recipe">Settings of a model that is trained from nothing, or of one that is fitted.</param>
    /// <param name="save">Saves what belongs to the model beside its checkpoint; null: nothing does.</param>
    /// <returns>What is worth telling.</returns>
    public JsonObject Train(string name, RetroModel model, ITrainingData data, TrainingOptions recipe, Action? save = null)
    {
        TrainingOptions settings = arguments.Settings(parsed, recipe, workspace.Model);
        using ChunkDatabase? heldOut = sources.HeldOut();
        HeldOutSample? sample = heldOut is null ? null
            : new(
                heldOut,
                model.Config.HasRetrieval ? new RetroReader(model) : null,
                model.Config.HasRetrieval ? Neighbors() : null,
                window,
                cancellationToken);
        using Trainer trainer = new(model, settings) { Watch = sample is { IsEmpty: false } ? sample.Watch : null };
        if (arguments.GoesOn(parsed))
        {
            Stages.Run("load the checkpoint", progress => trainer.Load(workspace.Model, progress, cancellationToken));
            Screen.Note($"going on after step {trainer.StepsDone:#,0}");
        }

        List<TrainingProgress> steps = Run(name, trainer, data);
        if (!made.IsSaved && model.TokenizerHash is { } hash && sources.Tokenizer.Hashes.Contains(hash))
        {
            Saved(); // whoever made the last step may have been ended before
        }

        made.KeepTyped(); // where there was no step to be made
        save?.Invoke();
        string page = Report(name, model, heldOut);
        JsonObject result = Told(trainer, steps);
        Screen.Note($"Report: {page}");
        Screen.Note($"Next: {Tool.Name} {Next(model, data)}");
        return result;
    }

    private string StepsFile => Path.Combine(workspace.Model, RunReport.StepsFile);

    /// <summary>The steps of a training that begins beside another's model, until its first checkpoint takes that one's place.</summary>
    private string NewStepsFile => StepsFile + ".new";

    private string StateFile => Path.Combine(workspace.Model, Trainer.StateFile);

    /// <summary>Does the steps, and writes each wherever that was asked for.</summary>
    private List<TrainingProgress> Run(string name, Trainer trainer, ITrainingData data)
    {
        bool replaces = !arguments.GoesOn(parsed) && MadeModel.IsThere(workspace);
        if (!replaces)
        {
            FinishSteps();
        }

        JsonLinesObserver lines = new(replaces ? NewStepsFile : StepsFile);
        SavedCheckpoint saved = new(StateFile, () =>
        {
            if (replaces)
            {
                lines.Dispose();
                File.Move(NewStepsFile, StepsFile, overwrite: true);
                lines = new(StepsFile);
            }

            Saved();
        });
        using CsvObserver? table = arguments.Table(parsed);
        using TensorBoardObserver? events = arguments.Events(parsed);
        try
        {
            return Stages.Train(name, arguments.Time(parsed), progress => trainer.Run(data, new SynchronousProgress<TrainingProgress>(step =>
            {
                saved.Look(); // before the line of the step, see below
                progress.Report(step);
                lines.Report(step);
                table?.Report(step);
                events?.Report(step);
            }), cancellationToken));
        }
        finally
        {
            saved.Look();
            lines.Dispose();
        }
    }

    /// <summary>
    /// Gives the steps that a process which was ended has left their name where its checkpoint has come: it is no older than they are. Those of a training
    /// that came to no checkpoint go.
    /// </summary>
    private void FinishSteps()
    {
        if (!File.Exists(NewStepsFile))
        {
            return;
        }

        if (File.GetLastWriteTimeUtc(NewStepsFile) <= File.GetLastWriteTimeUtc(StateFile))
        {
            File.Move(NewStepsFile, StepsFile, overwrite: true);
        }
        else
        {
            File.Delete(NewStepsFile);
        }
    }

    private void Saved() => made.Saved(parsed, workspace, sources, ModelFolder.CopyingFile);

    private string Report(string name, RetroModel model, ChunkDatabase? heldOut)
    {
        string page = Path.Combine(workspace.Folder, RunReport.FileName);
        RunReport report = new($"{Tool.Name}: {name}, {workspace.Model}");
        report.Corpus(sources.Database, heldOut);
        string trained = model.Config.HasRetrieval ? "RETRO" : "decoder";
        report.Training(trained, File.Exists(StepsFile) ? JsonLinesObserver.Read(StepsFile) : []);
        report.Configuration(trained, workspace.Model, model.Config, File.ReadAllText(workspace.SettingsPath));
        report.Write(page);
        return page;
    }

    private JsonObject Told(Trainer trainer, List<TrainingProgress> steps)
    {
        JsonObject result = new()
        {
            ["steps"] = trainer.StepsDone,
            ["minutes"] = trainer.Elapsed.TotalMinutes,
            ["parameters"] = trainer.Model.Config.CountParameters().Total,
        };
        if (steps.Count == 0)
        {
            Screen.Line($"{workspace.Model}: its training was finished before, after {Amount.Of(trainer.StepsDone, "step")}");
            return result;
        }

        // Single steps are noisy.
        int lastSteps = Math.Max(1, steps.Count / 10);
        double rate = steps[^1].TokensPerSecond;
        double? last = MeanLoss(steps.TakeLast(lastSteps).Select(step => step.Loss));
        result["loss"] = last;
        Screen.Line($"{workspace.Model}: {Amount.Of(trainer.StepsDone, "step")} in {Amount.OfTime(trainer.Elapsed)}, {rate:#,0} tokens a second;");
        Screen.Line($"  loss {steps[0].Loss:0.00} at step {steps[0].Step:#,0}, {last ?? double.NaN:0.00} nats a token over the last {lastSteps:#,0}");
        return result;
    }

    /// <summary>The command that goes on with the model.</summary>
    private string Next(RetroModel model, ITrainingData data)
    {
        string named = Shell.Option("--model", workspace.Folder), read = Shell.Option("--database", sources.Workspace.Folder);
        return data is QuestionSampler ? $"eval --task {CommonOptions.Answering} {named}"
            : model.Config.HasRetrieval ? $"eval {named}"
            : $"fit {Shell.Option("--base", workspace.Folder)} --reader copying{(Sources.CanSort(sources.Database) ? " --anywhere" : "")} {read} --out copied";
    }

    /// <summary>The mean over the steps that were not skipped for a loss that is no number; null: there are none.</summary>
    internal static double? MeanLoss(IEnumerable<double> losses) => losses.Where(double.IsFinite).Average(loss => (double?)loss);

    private INeighborSource Neighbors() => sources.Open(parsed.GetValue(arguments.Source)!, arguments.Seed(parsed));

    private NeighborTable FindNeighbors(int read)
    {
        INeighborSource source = Neighbors();
        int kept = Sources.TableNeighbors(read);
        NeighborTable table = Stages.Make(
            "find neighbors",
            progress => NeighborTable.Build(sources.Database, source, kept, progress: progress, cancellationToken: cancellationToken),
            cancellationToken);
        long none = Sources.Count(table).WithNone, chunks = table.Rows;
        if (none < chunks)
        {
            Screen.Note($"neighbors by {source.Name}: {Amount.Of(chunks, "chunk")}, with none {none:#,0}");
            return table;
        }

        table.Dispose();
        throw new RetroException(
            $"No chunk of {sources.Database.Folder} has a neighbor by {source.Name}, of {chunks:#,0}, so that a model would learn to read nothing: neighbors "
                + "come from other documents than the chunk's own. Build a database of more documents (a text file of many is cut by "
                + $"--separator), or train a decoder alone: {Tool.Name} train {arguments.Source.Name} none.");
    }

    /// <summary>Says once when there is a checkpoint that was not there at the beginning.</summary>
    private sealed class SavedCheckpoint(string path, Action isSaved)
    {
        private readonly DateTime _before = File.GetLastWriteTimeUtc(path);
        private bool _isSaid;

        public void Look()
        {
            if (!_isSaid && File.GetLastWriteTimeUtc(path) != _before)
            {
                _isSaid = true;
                isSaved();
            }
        }
    }
}
