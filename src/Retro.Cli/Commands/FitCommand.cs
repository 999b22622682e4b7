using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Answering;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Training;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Cli.Commands;

/// <summary>`retro fit`: retrieval onto a pretrained decoder.</summary>
internal sealed class FitCommand : Verb
{
    /// <summary>What --reader says of passages in front of a question.</summary>
    public const string InContext = "in-context";

    /// <summary>The reader that copies.</summary>
    public const string Copying = "copying";

    private readonly TrainingArguments _arguments = new(
        k: "8, with --attention paper 2, of copying 16, of --task qa 5",
        steps: " Copying takes 300 where nothing is said.",
        rate: "0.016, with Muon for the matrices; of copying 0.01; of in-context, from 50 million parameters on, 0.0002",
        muon: "with --reader retro, and with in-context below 50 million parameters",
        CommonOptions.FittedDtype());

    private readonly PathOption _base = new("--base", "FOLDER")
    {
        Description = "The decoder: what train --source none wrote, a Hugging Face folder "
            + "(Llama, Mistral, Qwen, OLMo 2, Phi-3, SmolLM3, Gemma 3, GPT-2, GPT-Neo, GPT-NeoX), or a llama2.c file.",
        Required = true,
    };

    private readonly Option<string> _reader = CommonOptions.Choice(
        "--reader",
        "What is fitted: retro adds chunked cross-attention (--attention); copying adds what copies from many neighbors, and takes a few hundred steps; "
            + "in-context, with --task qa, trains the decoder itself to answer from passages in front of the question (RAFT).",
        "retro",
        "retro",
        Copying,
        InContext);

    private readonly Option<bool> _anywhere = new("--anywhere")
    {
        Description = "Have --reader copying copy from anywhere in the database, too: what followed the longest run of the last tokens. Fewer bits than from "
            + "neighbors alone; whoever opens the model sorts the database's runs, a million tokens in a third of a second, with 24 bytes of memory for each.",
    };

    private readonly Option<string> _task = CommonOptions.Task(
        "text: continues the database's text; qa: questions that are made of its documents are answered, from the passage with the answer among others "
            + "that distract, in a fifth of the examples without it.");

    private readonly Option<string> _attention = CommonOptions.Choice(
        "--attention",
        "What --reader retro adds: matching, 8 neighbors read in the last layer by their embeddings and by where they run as the text does, which is learned "
            + "within minutes; or paper, an encoder of the neighbors and cross-attention in several layers.",
        "matching",
        "matching",
        "paper");

    private readonly Option<string> _unfreeze = CommonOptions.Unfreeze();
    private readonly Option<int?> _rank = CommonOptions.GateRank();
    private readonly MadeModel _made;

    public FitCommand()
        : base(
            "fit",
            "Fits retrieval onto a decoder that is trained already (RETROfitting), which stays as it is: without retrieval, the model is the decoder to the "
                + "bit. The database has to be built with the decoder's tokenizer.",
            "retro fit --base decoder --database work --out fitted --minutes 5",
            "retro build --corpus docs --tokenizer llama --out work",
            "retro fit --base llama --database work --out fitted --attention paper --minutes 30",
            "retro fit --base decoder --reader copying --anywhere --database work --out copied",
            "retro fit --task qa --base decoder --database work --out answering",
            "retro fit --out fitted --resume")
    {
        _made = new(_arguments);
        AddOptions([_base, _task, _reader, _anywhere, _attention, .. _arguments.All, _unfreeze, _rank]);
    }

    protected override PathOption Home => _arguments.Out;

    protected override IReadOnlyList<Option> OneOf => _arguments.Length;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
    {
        string? reader = said(_reader);
        bool isRetro = reader is not (Copying or InContext);
        return
        [
            .. reader == Copying ? _arguments.NotOfCopying : Because($"it is for {_reader.Name} {Copying}", _anywhere),
            .. isRetro ? [] : Because($"it is for {_reader.Name} retro", _attention, _unfreeze, _rank),
            .. said(_task) == CommonOptions.Answering
                ? Because("the passages of questions are found by their words", _arguments.Source, _arguments.Embedder)
                : _arguments.Idle(said),
        ];
    }

    public override string HowToGoOn(ParseResult parsed) => _made.HowToGoOn(parsed, Name);

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string path = parsed.GetValue(_base)!;
        if (!Path.Exists(path))
        {
            throw new RetroException($"There is no decoder at {path}; name a folder of one, or a llama2.c file ({_base.Name}).");
        }

        if (Workspace.IsOurs(path) || Workspace.FindDatabase(path) is not null)
        {
            Workspace.OfModel(path); // says how one is made, or that it is being made, where there is none
        }

        bool copies = parsed.GetValue(_reader) == Copying, answers = parsed.GetValue(_task) == CommonOptions.Answering;
        if (answers ? copies : parsed.GetValue(_reader) == InContext)
        {
            throw new UsageException(answers
                ? $"{_task.Name} qa trains what reads passages, and copying is learned of text alone; leave out one of the two, or take {_reader.Name} retro."
                : $"{_reader.Name} {InContext} is trained to answer questions: it takes {_task.Name} qa.");
        }

        // A model of the tool's lies in its folder, one of Hugging Face is its folder.
        bool ours = ModelFolder.IsOurs(path);
        string named = path;
        path = ours ? Workspace.OfModel(path).Model : path;
        if (ours && Checkpoint.LoadConfig(path).HasRetrieval)
        {
            throw new UsageException($"{named} is a RETRO, which reads already; {_base.Name} takes a decoder alone ({Tool.Name} train --source none).");
        }

        if (ours && File.Exists(Path.Combine(path, ModelFolder.CopyingFile)))
        {
            Screen.Note($"{named} holds a decoder and what copies on top of it; the decoder alone is taken");
        }

        if (Workspace.Full(path) == Workspace.Full(new Workspace(parsed.GetValue(_arguments.Out)!).Model))
        {
            throw new UsageException($"{_arguments.Out.Name} is the decoder's own folder, and what goes on with it needs it as it is: name another folder.");
        }

        _made.GoesOnFrom(ours ? TrainedDocuments.Load(path) : null);
        Workspace workspace = _made.Prepare(parsed);
        if (_arguments.GoesOn(parsed) && workspace.Section(Name)?["base"]?.ToString() is { } begun && Path.Exists(workspace.Locate(begun)))
        {
            RequireAsBegun(parsed, workspace, _base); // one that was moved since is told by its weights
        }

        using Sources sources = _made.Open(parsed, cancellationToken);
        ScalarType dtype = _arguments.Dtype(parsed)
            ?? (_arguments.GoesOn(parsed) ? Trainer.Stored(workspace.Model).Dtype
            : ours ? ModelFolder.BestType(path, _arguments.Device(parsed)) : ScalarType.Float32);
        using PretrainedDecoder decoder = Stages.Run(
            "load the decoder", progress => PretrainedDecoder.Load(path, dtype, _arguments.Device(parsed), progress, cancellationToken));
        _made.Tokenizer = ModelFolder.OwnTokenizer(path, sources.Tokenizer);
        decoder.RequireTokenizer(sources.Tokenizer);
        bool reads = !copies && !answers; // what copies reads neighbors within a chunk, and passages of a question stand before it
        int? context = new[] { decoder.Origin.ContextLength, ours ? ModelFolder.ContextLength(Workspace.OfModel(named)) : null }.Min();
        int window = _arguments.Window(parsed, sources, context, reads);
        using WriterLock writing = _made.Keep(parsed, workspace, () =>
        {
            Remember(parsed, workspace, _arguments.NotKept);
            workspace.Write("train", null); // the folder's model is of one verb
            ModelFolder.KeepContextLength(workspace, context);
        });
        Option[] lasting = [_reader, _task, _attention, _unfreeze, _rank, .. _arguments.Lasting];
        WriteJson(parsed, _arguments.GoesOn(parsed) ? GoOn(parsed, workspace, lasting, Fit) : Fit());
        return Task.CompletedTask;

        JsonObject Fit() => copies
            ? new CopyingRun(_arguments, _made, parsed, workspace, sources, window, cancellationToken).Fit(decoder.Model, parsed.GetValue(_anywhere))
            : parsed.GetValue(_reader) == InContext
                ? FitInContext(parsed, workspace, decoder.Model, sources, window, cancellationToken)
                : FitRetro(parsed, workspace, decoder, sources, window, answers, cancellationToken);
    }

    protected override IEnumerable<(string Name, string? File)> Written(ParseResult parsed) => [.. base.Written(parsed), .. _arguments.Written(parsed)];

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace)
        => WithDatabaseThere(parsed, workspace, _arguments.Database, base.Remembered(parsed, workspace));

    /// <summary>Trains the decoder to answer from passages in front of the question.</summary>
    private JsonObject FitInContext(
        ParseResult parsed, Workspace workspace, RetroModel decoder, Sources sources, int window, CancellationToken cancellationToken)
    {
        using AnsweringData data = AnsweringData.Of(sources, workspace, asks: true, cancellationToken);
        int passages = _arguments.K(parsed) ?? AnsweringData.UsualPassages;
        InContextOptions context = AnsweringData.InContext(passages, sources.Database.ChunkLength, window);
        if (context.Neighbors < passages)
        {
            Screen.Note($"a window of {window} tokens has room for {context.Neighbors} of {passages} passages; --window makes it longer");
        }

        QuestionSampler sampler = Sampler(parsed, data, context.Neighbors, window, context);
        TrainingOptions recipe = TrainingRecipes.IsSmall(decoder.Config) ? TrainingOptions.SmallModel : new();
        return new TrainingRun(_arguments, _made, parsed, workspace, sources, window, cancellationToken).Train("train to answer", decoder, sampler, recipe);
    }

    private QuestionSampler Sampler(ParseResult parsed, AnsweringData data, int passages, int window, InContextOptions? context)
    {
        QuestionSampler sampler = new(data.Set.Questions, data.Passages, new()
        {
            Neighbors = passages, InContext = context, BatchSize = _arguments.Together(parsed), WindowLength = window, Seed = _arguments.Seed(parsed),
        });
        string made = Amount.Of(data.Database.Documents.Count, "passage");
        Screen.Note($"{Amount.Of(sampler.Count, "question")} made of {made}; {sampler.LeftOut:#,0} longer than the window");
        return sampler;
    }

    private JsonObject FitRetro(
        ParseResult parsed, Workspace workspace, PretrainedDecoder decoder, Sources sources, int window, bool answers, CancellationToken cancellationToken)
    {
        RetroConfig config = decoder.Model.Config;
        RetrievalConfig retrieval = parsed.GetValue(_attention) == "matching" ? RetrievalConfig.Matching(config) : RetrievalConfig.For(config);
        int chunk = sources.Database.ChunkLength;
        manual_seed(_arguments.Seed(parsed));
        using Retrofit retrofit = Retrofit.From(
            decoder,
            retrieval with
            {
                ChunkLength = chunk,
                RetrievedLength = 2 * chunk,
                Neighbors = _arguments.K(parsed) ?? (answers ? AnsweringData.UsualPassages : retrieval.Neighbors),
                CrossAttentionRank = parsed.GetValue(_rank),
                ShiftedKeys = true,
            },
            CommonOptions.Unfrozen(parsed, _unfreeze),
            take: true);
        RetroModel model = retrofit.Model;
        TrainingOptions recipe = TrainingRecipes.FittingRecipe(config, retrofit.Unfreeze);
        long total = model.Config.CountParameters().Total, own = config.CountParameters().Total;
        Screen.Note($"{decoder.Origin.Family} of {own:#,0} parameters; {total - own:#,0} are added");

        TrainingRun run = new(_arguments, _made, parsed, workspace, sources, window, cancellationToken);
        JsonObject result;
        if (answers)
        {
            using AnsweringData data = AnsweringData.Of(sources, workspace, asks: true, cancellationToken);
            QuestionSampler sampler = Sampler(parsed, data, model.Config.Retrieval!.Neighbors, window, null);
            result = run.Train("fit retrieval to answer", model, sampler, recipe, SaveAdditions);
        }
        else
        {
            // Windows without neighbors would teach a frozen decoder nothing.
            result = run.Train("fit retrieval", model, recipe, 0, null, SaveAdditions);
        }

        result["added"] = total - own;
        return result;

        void SaveAdditions() => Stages.Run("save the additions", progress => retrofit.Save(workspace.Model, progress, cancellationToken));
    }
}
