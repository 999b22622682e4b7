using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Cli.Commands;

/// <summary>`retro train`: a model from nothing.</summary>
internal sealed class TrainCommand : Verb
{
    /// <summary>Share of the training of a small RETRO in which its decoder learns alone, before it reads.</summary>
    private const double ClosedBookShare = 0.5;

    private readonly TrainingArguments _arguments = new(
        k: "8 below 50 million parameters, else 2",
        steps: "",
        rate: "0.016, with Muon for the matrices, below 50 million parameters; else the paper's 0.0002",
        muon: "below 50 million parameters",
        CommonOptions.TrainedDtype())
    {
        Source = CommonOptions.Source("bm25", none: "a decoder alone, which reads no neighbors, is trained"),
    };

    private readonly Option<string> _preset = CommonOptions.Choice(
        "--preset", "The model's shape.", "mini", [.. RetroConfig.Presets.Keys.Select(name => name.ToLowerInvariant())]);

    private readonly MadeModel _made;

    public TrainCommand()
        : base(
            "train",
            "Trains a RETRO from nothing on a database, or with --source none a decoder alone, to compare with. What is left out is taken from retro.json.",
            "retro train --out work --minutes 10",
            "retro train --database work --out decoder --source none --steps 2000",
            "retro train --out work --resume")
    {
        _made = new(_arguments);
        AddOptions([.. _arguments.All, _preset]);
    }

    protected override PathOption Home => _arguments.Out;

    protected override IReadOnlyList<Option> OneOf => _arguments.Length;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said) => _arguments.Idle(said);

    public override string HowToGoOn(ParseResult parsed) => _made.HowToGoOn(parsed, Name);

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        Workspace workspace = _made.Prepare(parsed);
        using Sources sources = _made.Open(parsed, cancellationToken);
        RetroConfig config = Config(parsed, sources);
        int window = _arguments.Window(parsed, sources, config.MaximumLength, config.HasRetrieval);
        using WriterLock writing = _made.Keep(parsed, workspace, () =>
        {
            Remember(parsed, workspace, _arguments.NotKept);
            workspace.Write("fit", null); // the folder's model is of one verb
            ModelFolder.KeepContextLength(workspace, null);
        });

        manual_seed(_arguments.Seed(parsed));
        using RetroModel model = new(config, device: _arguments.Device(parsed));
        ParameterCounts counts = config.CountParameters();
        Screen.Note($"{(config.HasRetrieval ? "RETRO" : "decoder")} of {counts.Total:#,0} parameters");
        bool small = TrainingRecipes.IsSmall(config);
        TrainingOptions recipe = small ? TrainingOptions.SmallModel with { ClosedBook = config.HasRetrieval ? ClosedBookShare : 0 } : new();
        recipe = recipe with
        {
            Dtype = _arguments.Dtype(parsed)
                ?? (_arguments.GoesOn(parsed) ? Trainer.Stored(workspace.Model).Dtype : TrainingOptions.PreferredDtype(_arguments.Device(parsed))),
        };
        string stage = config.HasRetrieval ? "train RETRO" : "train the decoder";
        TrainingRun run = new(_arguments, _made, parsed, workspace, sources, window, cancellationToken);
        JsonObject Train() => run.Train(stage, model, recipe, 0.1, small ? null : new PlantingSchedule());
        WriteJson(parsed, _arguments.GoesOn(parsed) ? GoOn(parsed, workspace, [_preset, .. _arguments.Lasting], Train) : Train());
        return Task.CompletedTask;
    }

    protected override IEnumerable<(string Name, string? File)> Written(ParseResult parsed) => [.. base.Written(parsed), .. _arguments.Written(parsed)];

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace)
        => WithDatabaseThere(parsed, workspace, _arguments.Database, base.Remembered(parsed, workspace));

    private RetroConfig Config(ParseResult parsed, Sources sources)
    {
        RetroConfig preset = RetroConfig.Presets[parsed.GetValue(_preset)!] with { VocabularySize = sources.Tokenizer.VocabularySize };
        if (parsed.GetValue(_arguments.Source) == "none")
        {
            return preset with { Retrieval = null };
        }

        // What a small model learns to read with in its time; keys that also see the token before let any model find what to copy.
        int chunk = sources.Database.ChunkLength;
        RetrievalConfig retrieval = TrainingRecipes.IsSmall(preset) ? RetrievalConfig.Matching(preset) : preset.Retrieval!;
        return preset with
        {
            Retrieval = retrieval with
            {
                ChunkLength = chunk, RetrievedLength = 2 * chunk, Neighbors = _arguments.K(parsed) ?? retrieval.Neighbors, ShiftedKeys = true,
            },
        };
    }
}
