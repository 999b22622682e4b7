using System.CommandLine;
using Retro.Optimization;
using Retro.Readers;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Cli;

/// <summary>What train and fit are asked for: their options, and what those come to.</summary>
internal sealed class TrainingArguments
{
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

    /// <summary>Creates the options.</summary>
    /// <param name="k">Neighbors read where nothing is said, for the help.</param>
    /// <param name="steps">Steps where nothing is said beside the usual ones, for the help; empty: none.</param>
    /// <param name="rate">The learning rate where nothing is said, for the help.</param>
    /// <param name="muon">When Muon moves the matrices, for the help.</param>
    /// <param name="dtype">The type.</param>
    public TrainingArguments(string k, string steps, string rate, string muon, Option<string?> dtype)
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

    /// <summary>All options, in the order of the help.</summary>
    public Option[] All =>
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

    /// <summary>Where it is computed.</summary>
    public Device? Device(ParseResult parsed) => CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));

    /// <summary>The type it is computed in; null: not said.</summary>
    public ScalarType? Dtype(ParseResult parsed) => CommonOptions.Type(parsed.GetValue(_dtype), Device(parsed));

    /// <summary>Whether the training that the folder holds goes on; it keeps to its type, whatever this machine would take.</summary>
    public bool GoesOn(ParseResult parsed) => parsed.GetValue(_resume);

    /// <summary>Whether the model that the folder holds is replaced.</summary>
    public bool StartsOver(ParseResult parsed) => parsed.GetValue(_startOver);

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

    /// <summary>How long it is trained; null: by steps.</summary>
    public TimeSpan? Time(ParseResult parsed) => parsed.GetValue(_minutes) is { } minutes ? TimeSpan.FromMinutes(minutes) : null;

    /// <summary>The table that each step is written into; null: none.</summary>
    public CsvObserver? Table(ParseResult parsed) => parsed.GetValue(_csv) is { } file ? new(file) : null;

    /// <summary>The event file that each step is written into; null: none.</summary>
    public TensorBoardObserver? Events(ParseResult parsed) => parsed.GetValue(_tensorBoard) is { } folder ? new(folder) : null;

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

    /// <summary>Opens the database.</summary>
    /// <exception cref="RetroException">It cannot be opened.</exception>
    public Sources Open(ParseResult parsed, CancellationToken cancellationToken) => new(
        parsed.GetValue(Database)!, parsed.GetValue(_tokenizer), parsed.GetValue(Embedder), parsed.GetValue(_threads), Device(parsed), cancellationToken);

    /// <summary>The settings of a training.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="recipe">Those of a model that is trained from nothing, or of one that is fitted.</param>
    /// <param name="folder">The checkpoint's.</param>
    /// <exception cref="UsageException">One has no effect.</exception>
    public TrainingOptions Settings(ParseResult parsed, TrainingOptions recipe, string folder)
    {
        double? muonRate = parsed.GetValue(_muonRate);
        if (muonRate is not null && recipe.Optimizer.Kind != OptimizerKind.Muon)
        {
            throw new UsageException($"{_muonRate.Name} does nothing here, where AdamW moves everything; leave it out, and set {_rate.Name}.");
        }

        return recipe with
        {
            // What is typed is the rate of what is added, where a decoder has one of its own.
            LearningRate = parsed.GetValue(_rate) / recipe.RetrievalRate ?? recipe.LearningRate,
            MuonLearningRate = muonRate / recipe.RetrievalRate ?? recipe.MuonLearningRate,
            Steps = parsed.GetValue(_steps),
            TimeBudget = Time(parsed),
            Accumulation = parsed.GetValue(_batch) / Together(parsed),
            CheckpointFolder = folder,
            CheckpointEvery = parsed.GetValue(_every),
            CheckpointInterval = parsed.GetValue(_checkpointMinutes) is > 0 and var between ? TimeSpan.FromMinutes(between) : null,
            Measures = Looks,
            Seed = Seed(parsed),
        };
    }

    /// <summary>The settings of a reader that copies.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="chunkLength">M, the tokens of the database's chunks.</param>
    /// <param name="window">Tokens of a window.</param>
    public CopyReaderOptions Copying(ParseResult parsed, int chunkLength, int window)
    {
        CopyReaderOptions defaults = new();
        return defaults with
        {
            Neighbors = K(parsed) ?? defaults.Neighbors,
            Stride = Math.Min(defaults.Stride, chunkLength),
            Steps = parsed.GetResult(_steps) is { Implicit: false } ? parsed.GetValue(_steps) : defaults.Steps,
            WindowLength = window,
            BatchSize = parsed.GetValue(_batch),
            LearningRate = parsed.GetValue(_rate) ?? defaults.LearningRate,
            Seed = Seed(parsed),
        };
    }
}
