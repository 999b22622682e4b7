using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Retro.Answering;
using Retro.Checkpoints;
using Retro.Cli.Reports;
using Retro.Database;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Cli;

/// <summary>What train and fit have in common: options, windows, checkpoints, and going on.</summary>
internal sealed class TrainingRun
{
    /// <summary>Below so many parameters, the recipe that lets a small model learn within minutes.</summary>
    private const long SmallModel = 50_000_000;

    /// <summary>How many times as fast as a large decoder that is trained, too, what is added to it moves.</summary>
    public const int AdditionsRate = 80;

    /// <summary>How often a training is looked at on held-out text.</summary>
    private const int Looks = 20;

    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly Option<int?> _k;
    private readonly Option<int> _steps;
    private readonly Option<double?> _minutes = CommonOptions.NumberOrNone("--minutes", "Train for so long instead of by steps.", 0.01, 1e6);
    private readonly Option<int> _window = CommonOptions.Window();
    private readonly Option<int> _batch = CommonOptions.Whole("--batch", "Windows of a step.", 2, 1, 4096);
    private readonly Option<double?> _rate;
    private readonly Option<double?> _muonRate;
    private readonly Option<int> _every = CommonOptions.Whole(
        "--checkpoint-every", "Steps between two checkpoints, beside those of --checkpoint-minutes; 0: none by steps.", 0, 0, int.MaxValue);

    private readonly Option<double> _checkpointMinutes = CommonOptions.Number(
        "--checkpoint-minutes",
        "Minutes between two checkpoints, which are all that --resume has after a crash; 0: only at the end, and when stopped. Copying has none: it begins again.",
        10,
        0,
        1e6);

    private readonly PathOption _csv = new("--csv", "FILE")
    {
        Description = "Write each step into this file too, as comma-separated values.",
        IsWritten = true,
    };

    private readonly PathOption _tensorBoard = new("--tensorboard", "FOLDER")
    {
        Description = "Write each step into an event file in this folder too, which TensorBoard draws.",
        IsWritten = true,
    };

    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<int> _threads = CommonOptions.Threads();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<string?> _dtype;
    private readonly Option<bool> _resume = CommonOptions.Resume();
    private readonly Option<bool> _startOver = CommonOptions.StartOver("model");

    private Action? _keep;
    private bool _isSaved;
    private Func<TrainedDocuments, TrainedDocuments> _withBelow = own => own;

    /// <summary>Creates the options.</summary>
    /// <param name="k">Neighbors read where nothing is said, for the help.</param>
    /// <param name="steps">Steps where nothing is said beside the usual ones, for the help; empty: none.</param>
    /// <param name="rate">The learning rate where nothing is said, for the help.</param>
    /// <param name="muon">When Muon moves the matrices, for the help.</param>
    /// <param name="dtype">The type.</param>
    public TrainingRun(string k, string steps, string rate, string muon, Option<string?> dtype)
    {
        _k = CommonOptions.WholeOrNone("--k", $"Neighbors that the model reads for each chunk. Default: {k}.", 1, 64);
        _steps = CommonOptions.Whole("--steps", $"Steps of the training.{steps}", 1000, 1, int.MaxValue);
        _rate = CommonOptions.NumberOrNone("--rate", $"Learning rate of AdamW. Default: {rate}.", 1e-9, 10);
        _muonRate = CommonOptions.NumberOrNone("--muon-rate", $"Learning rate of Muon, which moves the matrices {muon}. Default: 0.02.", 1e-9, 10);
        _dtype = dtype;
    }

    /// <summary>The database.</summary>
    public PathOption Database { get; } = CommonOptions.Database(required: true);

    /// <summary>The folder that is written into.</summary>
    public PathOption Out { get; } = CommonOptions.Out("Folder for the model. It may be the database's: each has a folder of its own in it.");

    /// <summary>What makes keys.</summary>
    public PathOption Embedder { get; } = CommonOptions.Embedder();

    /// <summary>Where neighbors come from.</summary>
    public Option<string> Source { get; init; } = CommonOptions.Source("bm25");

    /// <summary>The tokenizer that is kept with the model, which says what ends its texts; null: the database's.</summary>
    public RetroTokenizer? Tokenizer { private get; set; }

    /// <summary>All options, in the order of the help.</summary>
    public Option[] Options =>
    [
        Database, Out, _tokenizer, Source, _k, Embedder, _steps, _minutes, _window, _batch, _rate, _muonRate, _every, _checkpointMinutes, _csv, _tensorBoard,
        _seed, _threads, _device, _dtype, _resume, _startOver,
    ];

    /// <summary>Options that say what to do this time alone.</summary>
    public Option[] NotKept => [_resume, _startOver];

    /// <summary>How long it is trained.</summary>
    public Option[] Length => [_steps, _minutes];

    /// <summary>What a training that goes on cannot be given otherwise.</summary>
    public Option[] Lasting => [Database, Source, _k, Embedder, _window, _seed];

    /// <summary>What copying, which is trained in one go, cannot be asked for, with why.</summary>
    public IEnumerable<(Option Option, string Why)> NotOfCopying => new Option[] { _resume, _minutes, _every, _checkpointMinutes, _csv, _tensorBoard }
        .Select(option => (option, $"copying is trained by {_steps.Name}, in one go, and its steps stand in the report alone"))
        .Append((_muonRate, "copying is moved by AdamW alone"));

    /// <summary>What does nothing beside the source, with why.</summary>
    /// <param name="said">What an option is given.</param>
    public IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said) => said(Source) is var source && source == "none"
        ? new Option[] { _k, Embedder }.Select(option => (option, "a decoder alone reads nothing"))
        : Sources.NeedsKeys(source) ? [] : [(Embedder, Sources.NoKeys)];

    /// <summary>The files that are written meanwhile.</summary>
    /// <exception cref="RetroException">A file stands where a folder is to be.</exception>
    public IEnumerable<(string Name, string? File)> Written(ParseResult parsed) => parsed.GetValue(_tensorBoard) is { } folder && File.Exists(folder)
        ? throw new RetroException($"{_tensorBoard.Name} {folder}: name a folder; it is made where it is missing.")
        : [(_csv.Name, parsed.GetValue(_csv))];

    /// <summary>Whether a model is so small that it takes the recipe with which such models learn within minutes.</summary>
    public static bool IsSmall(RetroConfig config) => config.CountParameters().Total < SmallModel;

    /// <summary>
    /// What fits retrieval onto a decoder: the recipe of small models, by which what is added learns to read. It would undo what a larger decoder has learned,
    /// which therefore moves at an <see cref="AdditionsRate"/>th of it, AdamW's part at the paper's 0.0002.
    /// </summary>
    /// <param name="decoder">The decoder.</param>
    /// <param name="unfreeze">What of the decoder is trained, too.</param>
    public static TrainingOptions FittingRecipe(RetroConfig decoder, RetrofitUnfreeze unfreeze)
    {
        TrainingOptions small = TrainingOptions.SmallModel;
        return unfreeze == RetrofitUnfreeze.Nothing || IsSmall(decoder)
            ? small
            : small with
            {
                LearningRate = small.LearningRate / AdditionsRate,
                MuonLearningRate = small.MuonLearningRate / AdditionsRate,
                RetrievalRate = AdditionsRate,
            };
    }

    /// <summary>Checks that the folder is free, or holds the run that is to go on.</summary>
    /// <exception cref="RetroException">It is neither.</exception>
    public Workspace Prepare(ParseResult parsed)
    {
        Workspace workspace = new(parsed.GetValue(Out)!);
        bool resume = parsed.GetValue(_resume);
        if (resume && !File.Exists(Path.Combine(workspace.Model, Trainer.StateFile)))
        {
            throw new RetroException(
                $"--resume: {workspace.Model} holds no training that could go on ({Trainer.StateFile}); leave out --resume to begin one.");
        }

        _ = Together(parsed);
        RequireFree(parsed, workspace);
        return workspace;
    }

    private void RequireFree(ParseResult parsed, Workspace workspace)
    {
        if (!parsed.GetValue(_resume) && IsThere(workspace) && !parsed.GetValue(_startOver))
        {
            throw new RetroException($"{workspace.Model} holds a model already; go on with it (--resume), replace it (--start-over), or name another folder.");
        }
    }

    // What is left of a model may be the state of its training alone, from which it goes on.
    private static bool IsThere(Workspace workspace)
        => new[] { Checkpoint.ConfigName, Trainer.StateFile }.Any(name => File.Exists(Path.Combine(workspace.Model, name)));

    /// <summary>
    /// Takes the right to write into the folder, and has what was typed kept: at once, or where the folder holds a model that is replaced or goes on, with its
    /// first checkpoint from now on, since until then it may be refused.
    /// </summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">The folder.</param>
    /// <param name="keep">Keeps it.</param>
    /// <returns>The right; dispose it when the model is written.</returns>
    /// <exception cref="RetroException">Another command is writing there, or has left a model since.</exception>
    public WriterLock Keep(ParseResult parsed, Workspace workspace, Action keep)
    {
        WriterLock writing = workspace.Take("train a model");
        try
        {
            RequireFree(parsed, workspace);
            Keep(workspace, keep);
            return writing;
        }
        catch
        {
            writing.Dispose();
            throw;
        }
    }

    private void Keep(Workspace workspace, Action keep)
    {
        if (!IsThere(workspace))
        {
            keep();
        }
        else
        {
            _keep = keep;
        }
    }

    /// <summary>Says what the model was trained on before: with the decoder that it is fitted onto.</summary>
    /// <param name="below">The documents; null: it is not known.</param>
    public void GoesOnFrom(TrainedDocuments? below) => _withBelow = own => own.And(below);

    /// <summary>What to do after the training was stopped.</summary>
    public string HowToGoOn(ParseResult parsed, string verb)
    {
        Workspace workspace = new(parsed.GetValue(Out)!);
        return !_isSaved && !GoesOn(parsed) ? "No step was saved, and what the folder held is as it was; the same command begins again."
            : File.Exists(Path.Combine(workspace.Model, Trainer.StateFile))
            ? $"The checkpoint is in {workspace.Model}; go on with: {Tool.Name} {verb} {Shell.Option(Out.Name, workspace.Folder)} --resume"
            : $"What was trained is in {workspace.Model}.";
    }

    /// <summary>Opens the database.</summary>
    /// <exception cref="RetroException">It cannot be opened, or has another tokenizer than the training that is to go on.</exception>
    public Sources Open(ParseResult parsed, CancellationToken cancellationToken)
    {
        Sources sources = new(
            parsed.GetValue(Database)!, parsed.GetValue(_tokenizer), parsed.GetValue(Embedder), parsed.GetValue(_threads), Device(parsed), cancellationToken);
        try
        {
            if (GoesOn(parsed))
            {
                Tokenizer = ModelFolder.OwnTokenizer(new Workspace(parsed.GetValue(Out)!).Model, sources.Tokenizer);
            }

            return sources;
        }
        catch
        {
            sources.Dispose();
            throw;
        }
    }

    /// <summary>Where it is computed.</summary>
    public Device? Device(ParseResult parsed) => CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));

    /// <summary>The type it is computed in; null: not said.</summary>
    public ScalarType? Dtype(ParseResult parsed) => CommonOptions.Type(parsed.GetValue(_dtype), Device(parsed));

    /// <summary>Whether the training that the folder holds goes on; it keeps to its type, whatever this machine would take.</summary>
    public bool GoesOn(ParseResult parsed) => parsed.GetValue(_resume);

    /// <summary>Seed of every random choice.</summary>
    public long Seed(ParseResult parsed) => parsed.GetValue(_seed);

    /// <summary>Neighbors that the model reads; null: not said.</summary>
    public int? K(ParseResult parsed) => parsed.GetValue(_k);

    /// <summary>Tokens of a window.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="sources">The database.</param>
    /// <param name="longest">Tokens that the model reads at most; null: any.</param>
    /// <param name="reads">Whether neighbors of a chunk are read by the next one.</param>
    /// <exception cref="UsageException">It is no multiple of the database's chunk length, too short, or too long.</exception>
    /// <exception cref="RetroException">The model does not read as many chunks.</exception>
    public int Window(ParseResult parsed, Sources sources, int? longest, bool reads)
        => CommonOptions.WindowLength(parsed, _window, sources.Database.ChunkLength, longest, reads ? 2 : 1);

    /// <summary>Trains a model, and leaves its checkpoint, its tokenizer and what it took.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">Where it goes.</param>
    /// <param name="name">What is shown meanwhile.</param>
    /// <param name="model">The model.</param>
    /// <param name="sources">The database.</param>
    /// <param name="window">Tokens of a window.</param>
    /// <param name="recipe">Settings of a model that is trained from nothing, or of one that is fitted.</param>
    /// <param name="dropout">Share of the batches without neighbors.</param>
    /// <param name="planting">Planted neighbors; null: none.</param>
    /// <param name="cancellationToken">Ends it after a step.</param>
    /// <param name="save">Saves what belongs to the model beside its checkpoint; null: nothing does.</param>
    /// <returns>What is worth telling.</returns>
    public JsonObject Train(
        ParseResult parsed,
        Workspace workspace,
        string name,
        RetroModel model,
        Sources sources,
        int window,
        TrainingOptions recipe,
        double dropout,
        PlantingSchedule? planting,
        CancellationToken cancellationToken,
        Action? save = null)
    {
        RetrievalConfig? retrieval = model.Config.Retrieval;
        using NeighborTable? neighbors = retrieval is null ? null : FindNeighbors(parsed, sources, retrieval.Neighbors, cancellationToken);
        WindowSampler windows = new(
            sources.Database,
            new WindowSamplerOptions
            {
                WindowLength = window,
                BatchSize = Together(parsed),
                Neighbors = retrieval?.Neighbors ?? 0,
                RetrievedLength = retrieval?.RetrievedLength ?? 1,
                RetrievalDropout = retrieval is null ? 0 : dropout,
                Planting = retrieval is null ? null : planting,
                Seed = Seed(parsed),
            },
            neighbors);
        return Train(parsed, workspace, name, model, sources, windows, window, recipe, cancellationToken, save);
    }

    /// <summary>
    /// Rows of a batch: each core of a processor takes one, an accelerator all of a step. A training that goes on keeps to those that its data were divided
    /// into, wherever it does.
    /// </summary>
    /// <exception cref="UsageException">The rows of a step are no multiple of them.</exception>
    public int Together(ParseResult parsed)
    {
        int batch = parsed.GetValue(_batch), rows = Device(parsed) is null ? 1 : batch;
        if (GoesOn(parsed) && Trainer.Stored(new Workspace(parsed.GetValue(Out)!).Model).BatchSize is { } begun)
        {
            rows = begun;
        }

        return batch % rows == 0
            ? rows
            : throw new UsageException($"{_batch.Name} takes a multiple of {rows} where this training goes on, not {batch}: so many it computes together.");
    }

    /// <summary>Trains a model on any data, of which a batch is <see cref="Together"/>; leaves its checkpoint, its tokenizer and what it took.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">Where it goes.</param>
    /// <param name="name">What is shown meanwhile.</param>
    /// <param name="model">The model.</param>
    /// <param name="sources">The database.</param>
    /// <param name="data">What it is trained on.</param>
    /// <param name="window">Tokens of a window.</param>
    /// <param name="recipe">Settings of a model that is trained from nothing, or of one that is fitted.</param>
    /// <param name="cancellationToken">Ends it after a step.</param>
    /// <param name="save">Saves what belongs to the model beside its checkpoint; null: nothing does.</param>
    /// <returns>What is worth telling.</returns>
    public JsonObject Train(
        ParseResult parsed,
        Workspace workspace,
        string name,
        RetroModel model,
        Sources sources,
        ITrainingData data,
        int window,
        TrainingOptions recipe,
        CancellationToken cancellationToken,
        Action? save = null)
    {
        bool resume = GoesOn(parsed);
        int steps = parsed.GetValue(_steps);
        TimeSpan? time = parsed.GetValue(_minutes) is { } minutes ? TimeSpan.FromMinutes(minutes) : null;
        double? muonRate = parsed.GetValue(_muonRate);
        if (muonRate is not null && recipe.Optimizer.Kind != OptimizerKind.Muon)
        {
            throw new UsageException($"{_muonRate.Name} does nothing here, where AdamW moves everything; leave it out, and set {_rate.Name}.");
        }

        TrainingOptions options = recipe with
        {
            // What is typed is the rate of what is added, where a decoder has one of its own.
            LearningRate = parsed.GetValue(_rate) / recipe.RetrievalRate ?? recipe.LearningRate,
            MuonLearningRate = muonRate / recipe.RetrievalRate ?? recipe.MuonLearningRate,
            Steps = steps,
            TimeBudget = time,
            Accumulation = parsed.GetValue(_batch) / Together(parsed),
            CheckpointFolder = workspace.Model,
            CheckpointEvery = parsed.GetValue(_every),
            CheckpointInterval = parsed.GetValue(_checkpointMinutes) is > 0 and var between ? TimeSpan.FromMinutes(between) : null,
            Measures = Looks,
            Seed = Seed(parsed),
        };
        using ChunkDatabase? heldOut = sources.HeldOut();
        HeldOutSample? sample = heldOut is null ? null
            : new(
                heldOut,
                model.Config.HasRetrieval ? new RetroReader(model) : null,
                model.Config.HasRetrieval ? sources.Open(parsed.GetValue(Source)!, Seed(parsed)) : null,
                window,
                cancellationToken);
        using Trainer trainer = new(model, options) { Watch = sample is { IsEmpty: false } ? sample.Watch : null };
        if (resume)
        {
            Stages.Run("load the checkpoint", progress => trainer.Load(workspace.Model, progress, cancellationToken));
            Screen.Note($"going on after step {trainer.StepsDone:#,0}");
        }

        string stepsFile = Path.Combine(workspace.Model, RunReport.StepsFile);
        List<TrainingProgress> reports;
        SavedCheckpoint saved = new(
            Path.Combine(workspace.Model, Trainer.StateFile), () => Saved(parsed, workspace, sources, ModelFolder.CopyingFile));
        using (JsonLinesObserver lines = new(stepsFile))
        using (CsvObserver? table = parsed.GetValue(_csv) is { } csv ? new(csv) : null)
        using (TensorBoardObserver? events = parsed.GetValue(_tensorBoard) is { } folder ? new(folder) : null)
        {
            try
            {
                reports = Stages.Train(name, time, progress => trainer.Run(data, new SynchronousProgress<TrainingProgress>(step =>
                {
                    progress.Report(step);
                    lines.Report(step);
                    table?.Report(step);
                    events?.Report(step);
                    saved.Look();
                }), cancellationToken));
            }
            finally
            {
                saved.Look();
            }
        }

        if (!_isSaved && model.TokenizerHash == sources.Tokenizer.Hash)
        {
            Saved(parsed, workspace, sources, ModelFolder.CopyingFile); // whoever made the last step may have been ended before
        }

        Keep(); // where there was no step to be made
        save?.Invoke();

        string page = Path.Combine(workspace.Folder, RunReport.FileName);
        RunReport report = new($"{Tool.Name}: {name}, {workspace.Model}");
        report.Corpus(sources.Database, heldOut);
        string trained = model.Config.HasRetrieval ? "RETRO" : "decoder";
        report.Training(trained, File.Exists(stepsFile) ? JsonLinesObserver.Read(stepsFile) : []);
        report.Configuration(trained, workspace.Model, model.Config, File.ReadAllText(workspace.SettingsPath));
        report.Write(page);
        JsonObject result = new()
        {
            ["steps"] = trainer.StepsDone,
            ["minutes"] = trainer.Elapsed.TotalMinutes,
            ["parameters"] = model.Config.CountParameters().Total,
        };
        if (reports.Count > 0)
        {
            // Single steps are noisy.
            int lastSteps = Math.Max(1, reports.Count / 10);
            double rate = reports[^1].TokensPerSecond;
            double? last = MeanLoss(reports.TakeLast(lastSteps).Select(step => step.Loss));
            result["loss"] = last;
            Screen.Line($"{workspace.Model}: {Amount.Of(trainer.StepsDone, "step")} in {Amount.OfTime(trainer.Elapsed)}, {rate:#,0} tokens a second;");
            Screen.Line($"  loss {reports[0].Loss:0.00} at step {reports[0].Step:#,0}, {last ?? double.NaN:0.00} nats a token over the last {lastSteps:#,0}");
        }
        else
        {
            Screen.Line($"{workspace.Model}: its training was finished before, after {Amount.Of(trainer.StepsDone, "step")}");
        }

        Screen.Note($"Report: {page}");
        string made = Shell.Option("--model", workspace.Folder), read = Shell.Option("--database", sources.Workspace.Folder);
        string next = data is QuestionSampler ? $"eval --task {CommonOptions.Answering} {made}"
            : model.Config.HasRetrieval ? $"eval {made}"
            : $"fit {Shell.Option("--base", workspace.Folder)} --reader copying{(Sources.CanSort(sources.Database) ? " --anywhere" : "")} {read} --out copied";
        Screen.Note($"Next: {Tool.Name} {next}");
        return result;
    }

    /// <summary>Trains a reader that copies on top of a decoder, and leaves both.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">Where they go.</param>
    /// <param name="decoder">The decoder, which stays as it is.</param>
    /// <param name="sources">The database.</param>
    /// <param name="window">Tokens of a window.</param>
    /// <param name="fromAnywhere">Whether it copies from anywhere in the database, besides.</param>
    /// <param name="cancellationToken">Ends it after a step; nothing is left then.</param>
    /// <returns>What is worth telling.</returns>
    public JsonObject FitCopying(
        ParseResult parsed, Workspace workspace, RetroModel decoder, Sources sources, int window, bool fromAnywhere, CancellationToken cancellationToken)
    {
        CopyReaderOptions defaults = new();
        INeighborSource source = sources.Open(parsed.GetValue(Source)!, Seed(parsed));
        CopyReaderOptions options = defaults with
        {
            Neighbors = K(parsed) ?? defaults.Neighbors,
            Stride = Math.Min(defaults.Stride, sources.Database.ChunkLength),
            Steps = parsed.GetResult(_steps) is { Implicit: false } ? parsed.GetValue(_steps) : defaults.Steps,
            WindowLength = window,
            BatchSize = parsed.GetValue(_batch),
            LearningRate = parsed.GetValue(_rate) ?? defaults.LearningRate,
            Seed = Seed(parsed),
        };
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
            return CopyReader.Fit(decoder, sources.Database, source, options, runs, progress: told, cancellationToken: cancellationToken);
        });
        TimeSpan took = clock.Elapsed;
        Stages.Run("save", progress => Checkpoint.Save(workspace.Model, decoder, progress: progress, cancellationToken: cancellationToken));
        reader.Save(Path.Combine(workspace.Model, ModelFolder.CopyingFile));
        Saved(parsed, workspace, sources, Trainer.StateFile, Trainer.DescriptionFile, RunReport.StepsFile);
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
        double? last = MeanLoss(steps.TakeLast(lastSteps).Select(step => step.Loss!.Value));
        Screen.Line($"{workspace.Model}: the decoder, and {ModelFolder.ReadByCopying(options, fromAnywhere)};");
        Screen.Line($"  {Amount.Of(steps.Count, "step")} in {Amount.OfTime(took)};");
        Screen.Line($"  loss {steps[0].Loss:0.00} at step 1, {last ?? double.NaN:0.00} nats a token over the last {lastSteps:#,0}");
        Screen.Note($"Report: {page}");
        Screen.Note($"Next: {Tool.Name} eval {Shell.Option("--model", workspace.Folder)}");
        return new() { ["steps"] = options.Steps, ["neighbors"] = options.Neighbors, ["stride"] = options.Stride, ["loss"] = last };
    }

    /// <summary>The mean over the steps that were not skipped for a loss that is no number; null: there are none.</summary>
    internal static double? MeanLoss(IEnumerable<double> losses) => losses.Where(double.IsFinite).Average(loss => (double?)loss);

    // From now on the folder holds another model: what belongs to it comes, and what belonged to the one before goes.
    private void Saved(ParseResult parsed, Workspace workspace, Sources sources, params string[] others)
    {
        _isSaved = true;
        Keep();
        (Tokenizer ?? sources.Tokenizer).Save(workspace.Model);

        // Documents may have come and gone since the training that goes on was begun.
        TrainedDocuments documents = _withBelow(TrainedDocuments.Of(sources.Database));
        (GoesOn(parsed) ? documents.And(TrainedDocuments.Load(workspace.Model)) : documents).Save(workspace.Model);
        foreach (string other in others)
        {
            File.Delete(Path.Combine(workspace.Model, other));
        }
    }

    private void Keep()
    {
        _keep?.Invoke();
        _keep = null;
    }

    private NeighborTable FindNeighbors(ParseResult parsed, Sources sources, int read, CancellationToken cancellationToken)
    {
        INeighborSource source = sources.Open(parsed.GetValue(Source)!, Seed(parsed));
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
                + $"--separator), or train a decoder alone: {Tool.Name} train {Source.Name} none.");
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
