using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Embedders;
using Retro.Retrievers;
using Retro.Cli.Workflow;

namespace Retro.Cli.Commands;

/// <summary>`retro embed-train`: a small embedder of the database's own text.</summary>
internal sealed class EmbedTrainCommand : Verb
{
    private readonly PathOption _database = CommonOptions.Database(required: true);
    private readonly PathOption _out = CommonOptions.Out("Folder for the embedder. In the database's own, dense and hybrid find it by themselves.");
    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly Option<int> _steps = CommonOptions.Whole("--steps", "Steps of the training.", 500, 1, int.MaxValue);
    private readonly Option<double?> _minutes = CommonOptions.NumberOrNone("--minutes", "Train for so long instead of by steps.", 0.01, 1e6);
    private readonly Option<bool> _startOver = CommonOptions.StartOver("embedder");
    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<int> _threads = CommonOptions.Threads();

    public EmbedTrainCommand()
        : base(
            "embed-train",
            "Trains a small embedder on the texts of a database, by the inverse cloze task: which piece was cut out of which text. It makes the keys of dense "
                + "and hybrid.",
            "retro embed-train --database work --out work --minutes 2",
            "retro neighbors --database work --source dense")
        => AddOptions(_database, _out, _tokenizer, _steps, _minutes, _startOver, _seed, _device, _threads);

    protected override PathOption Home => _out;

    protected override IReadOnlyList<Option> OneOf => [_steps, _minutes];

    public override string HowToGoOn(ParseResult parsed) => "An embedder's training has no checkpoints; the same command begins again.";

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        Workspace workspace = new(parsed.GetValue(_out)!);
        RequireFree();
        TorchSharp.torch.Device? device = CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));
        using Sources sources = new(parsed.GetValue(_database)!, parsed.GetValue(_tokenizer), null, parsed.GetValue(_threads), null, cancellationToken);
        using WriterLock writing = workspace.Take("train an embedder");
        RequireFree(); // of another command, too, that has ended since
        Remember(parsed, workspace, _startOver);
        InverseClozeOptions options = new()
        {
            Steps = parsed.GetValue(_steps),
            TimeBudget = parsed.GetValue(_minutes) is { } minutes ? TimeSpan.FromMinutes(minutes) : null,
            Seed = parsed.GetValue(_seed),
        };
        using TextEmbedder embedder = Stages.Run("train the embedder", progress => InverseClozeTrainer.Train(
            AnsweringData.Documents(sources.Database, sources.Tokenizer),
            sources.Tokenizer,
            options: options,
            device: device,
            progress: progress,
            cancellationToken: cancellationToken));
        TrainedDocuments.Forget(workspace.Embedder);
        Stages.Run("save the embedder", progress => embedder.Save(workspace.Embedder, progress, cancellationToken));
        TrainedDocuments.Of(sources.Database).Save(workspace.Embedder);
        Screen.Line($"{workspace.Embedder}: keys of {embedder.Dimensions} numbers");
        WriteJson(parsed, new JsonObject { ["dimensions"] = embedder.Dimensions, ["identity"] = embedder.Identity });
        return Task.CompletedTask;

        void RequireFree()
        {
            if (Sources.IsEmbedder(workspace.Embedder) && !parsed.GetValue(_startOver))
            {
                throw new RetroException($"{workspace.Embedder} is there already; replace it ({_startOver.Name}), or name another folder.");
            }
        }
    }

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace)
        => WithDatabaseThere(parsed, workspace, _database, base.Remembered(parsed, workspace));
}
