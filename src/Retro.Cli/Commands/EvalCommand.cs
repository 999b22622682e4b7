using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Cli.Reports;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Search;
using Retro.Cli.Workflow;
using TorchSharp;

namespace Retro.Cli.Commands;

/// <summary>`retro eval`: what reading is worth, on text that no model has seen.</summary>
internal sealed class EvalCommand : Verb
{
    private const string LeakageTitle = "by overlap: bits per byte of chunks of which at most so much stands in one of their neighbors";

    private readonly Option<string[]> _models = new("--model")
    {
        Description = $"The folder that {Tool.Name} train or fit wrote, or the Hugging Face folder of a decoder; several, such as a RETRO and a decoder alone, "
            + "are measured side by side.",
        HelpName = "FOLDER",
        Required = true,
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<string> _task = CommonOptions.Task(
        "text: bits per byte of held-out text; qa: answers to questions that are made of held-out documents, whose passages are searched with all others.");

    private readonly Option<int> _questions = CommonOptions.Questions();
    private readonly PathOption _database = CommonOptions.Database(required: false);
    private readonly PathOption _heldOut = new("--held-out", "FOLDER")
    {
        Description = "A database of held-out documents, or the folder that build has left one in. Default: the one beside the database.",
    };

    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _embedder = CommonOptions.Embedder();
    private readonly Option<string> _source = CommonOptions.Source(null);
    private readonly Option<int> _window = CommonOptions.Window();
    private readonly PathOption _report = new("--report", "FILE")
    {
        Description = $"The page of the results. Default: {RunReport.EvaluationFile} in the first model's folder.",
    };

    private readonly PathOption _tokenRecords = new("--token-records", "FILE")
    {
        Description = "Write what each held-out token costs each reader into this file, as lines of JSON.",
    };

    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<int> _threads = CommonOptions.Threads();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<string?> _dtype = CommonOptions.Dtype();

    public EvalCommand()
        : base(
            "eval",
            "Measures models on held-out documents, in bits per byte: retrieval on, off and with random neighbors, beside a decoder alone (closed book) and two "
                + "rules that copy without any training: the pointer rule, from the neighbors, and the longest run, from anywhere in a database of at most "
                + FormattableString.Invariant($"{Sources.MostSorted / 1_000_000} million tokens. With 95 % intervals."),
            "retro eval --model work",
            "retro eval --task qa --model answering decoder",
            "retro eval --model work --model decoder --json results.json")
    {
        PathOption.RequirePaths(_models, "folder");
        AddOptions(
            _models, _task, _questions, _database, _heldOut, _tokenizer, _embedder, _source, _window, _report, _tokenRecords, _seed, _threads, _device, _dtype);
    }

    public override IReadOnlyList<string> Remembered(ParseResult parsed)
    {
        if (parsed.GetResult(_models) is not { Tokens.Count: > 0 } named || named.Errors.Any())
        {
            return [];
        }

        // Of those that know one, the first says the database; a decoder of somebody else's knows none.
        (Workspace Workspace, JsonObject Section)[] made = [.. named.Tokens.Select(token => ModelFolder.Made(token.Value))];
        (Workspace workspace, JsonObject section) = made.FirstOrDefault(one => one.Section.ContainsKey(_database.Name[2..]), made[0]);
        section.Remove(_source.Name[2..]); // each model's own
        return [.. ArgumentsOf(parsed, workspace, section, all: false)];
    }

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said) => said(_task) == CommonOptions.Answering
        ? Because("answers are measured, and not text", _source, _window, _report, _tokenRecords)
        : [(_questions, $"it is for {_task.Name} {CommonOptions.Answering}")];

    protected override IEnumerable<(string Name, string? File)> Written(ParseResult parsed) =>
    [
        .. base.Written(parsed),
        (_tokenRecords.Name, parsed.GetValue(_tokenRecords)),
        .. parsed.GetValue(_task) == CommonOptions.Answering || IsNowhere(parsed) ? [] : new[] { (_report.Name, (string?)ReportFile(parsed)) },
    ];

    // Of a model that is not there, something else is to be said.
    private bool IsNowhere(ParseResult parsed) => parsed.GetValue(_report) is null && Workspace.FindModel(parsed.GetValue(_models)![0]) is null;

    private string ReportFile(ParseResult parsed) => parsed.GetValue(_report)
        ?? Path.Combine(new Workspace(parsed.GetValue(_models)![0]).Folder, RunReport.EvaluationFile);

    public override async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        TorchSharp.torch.Device? device = CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));
        string[] paths = parsed.GetValue(_models)!;
        foreach (string path in paths)
        {
            Workspace.OfModel(path); // what is missing is told before anything is measured
        }

        using Sources sources = new(
            parsed.GetValue(_database) ?? throw new UsageException($"Which database the model reads from is in no retro.json; name it with {_database.Name}."),
            parsed.GetValue(_tokenizer),
            parsed.GetValue(_embedder),
            parsed.GetValue(_threads),
            device,
            cancellationToken);
        ChunkDatabase database = sources.Database;
        if (!IsTyped(_database) && paths.FirstOrDefault(path => IsOfAnother(path, database)) is { } other)
        {
            Screen.Note($"{other} was trained on another database than {database.Folder}, which all are measured on; {_database.Name} names one for all");
        }

        using ChunkDatabase heldOut = (parsed.GetValue(_heldOut) is { } there
                ? ChunkDatabase.Open(
                    new Workspace(there) is { HasHeldOut: true } built ? built.HeldOut : Workspace.OfDatabase(there).Database,
                    cancellationToken: cancellationToken)
                : sources.HeldOut())
            ?? throw new RetroException(
                $"There are no held-out documents beside {database.Folder}; build it with --held-out-share above 0, or name a database of some "
                    + $"({_heldOut.Name}).");
        if (IsTyped(_heldOut))
        {
            Screen.Note($"measured on the documents of {heldOut.Folder}");
        }

        Stages.Run("look for held-out documents in the database", progress =>
            HeldOut.Require(heldOut, database, sources.Tokenizer, sources.Alike, progress, cancellationToken));
        if (sources.Alike.Similarity > new HeldOutOptions().Similarity)
        {
            Screen.Note($"the database has documents that repeat nearly {sources.Alike.Similarity:0.##} of a held-out one, as it was built to");
        }

        (string[] seen, TrainedDocuments compared) = RequireUnseen(paths, sources, heldOut, cancellationToken);
        torch.ScalarType? dtype = CommonOptions.Type(parsed.GetValue(_dtype), device);
        List<TrainedModel> models = [];
        try
        {
            foreach (string path in paths)
            {
                models.Add(ModelFolder.Load(path, dtype, device, sources.Tokenizer, cancellationToken).Trained);
            }

            if (parsed.GetValue(_task) == CommonOptions.Answering)
            {
                JsonObject answers = await AnswerEvaluation.MeasureAsync(
                    sources,
                    heldOut,
                    [.. paths.Zip(models)],
                    one => Window(one.Longest),
                    parsed.GetValue(_questions),
                    parsed.GetValue(_seed),
                    cancellationToken).ConfigureAwait(false);
                foreach (string sentence in seen)
                {
                    Screen.Line($"{sentence}");
                }

                WriteJson(parsed, WithSeen(answers, seen));
                return;
            }

            bool byKeys = parsed.GetValue(_source) is { } typed
                ? Sources.NeedsKeys(typed)
                : paths.Zip(models).Any(one => Sources.NeedsKeys(ModelFolder.Source(one.First, one.Second)));
            if (byKeys
                && TrainedDocuments.Caveat(TrainedDocuments.Load(sources.EmbedderFolder), sources.EmbedderFolder, heldOut, compared) is { } ofEmbedder)
            {
                seen = [.. seen, ofEmbedder];
            }

            using TextEvaluation evaluation = new(
                sources, heldOut, [.. paths.Zip(models)], parsed.GetValue(_source), Window(models.Min(one => one.Longest)), parsed.GetValue(_seed),
                cancellationToken);
            (EvaluationTable table, LeakageTable leakage) = evaluation.Measure();
            ResultRows rows = new(table, leakage);
            string[] notes = Notes(seen, Sources.CanSort(database));
            rows.Print(notes, LeakageTitle, "");
            WriteJson(parsed, WithSeen(ResultsJson.Of(table, leakage), seen));
            if (parsed.GetValue(_tokenRecords) is { } records)
            {
                evaluation.WriteTokens(records);
            }

            string page = ReportFile(parsed);
            RunReport report = new($"{Tool.Name} eval: {string.Join(", ", paths)}");
            rows.AddTo(report, string.Join(' ', notes), $"{LeakageTitle}.");
            evaluation.AddTo(report);
            report.Write(page);
            Screen.Note($"Report: {page}");
        }
        finally
        {
            models.ForEach(one => one.Model.Dispose());
        }

        int Window(int? longest) => CommonOptions.WindowLength(parsed, _window, database.ChunkLength, longest);
    }

    private bool IsOfAnother(string path, ChunkDatabase database)
    {
        (Workspace workspace, JsonObject section) = ModelFolder.Made(path);
        return section[_database.Name[2..]]?.ToString() is { } named
            && Workspace.FindDatabase(workspace.Locate(named)) is { } own
            && Workspace.Full(own.Database) != Workspace.Full(database.Folder);
    }

    /// <summary>
    /// Refuses held-out documents that are in another database which a model was trained on, and tells what else is known of what the models have seen.
    /// </summary>
    /// <returns>
    /// A sentence for each model that has seen some, or of which it cannot be said; none: no model has seen any. And the documents that were compared with the
    /// held-out ones.
    /// </returns>
    private static (string[] Seen, TrainedDocuments Compared) RequireUnseen(
        string[] paths, Sources sources, ChunkDatabase heldOut, CancellationToken cancellationToken)
    {
        HashSet<string> looked = [Path.GetFullPath(sources.Database.Folder)];
        TrainedDocuments compared = TrainedDocuments.Of(sources.Database);
        List<(string Path, TrainedDocuments? Documents)> models = [];
        foreach (string path in paths)
        {
            TrainedDocuments? documents = TrainedDocuments.Load(Workspace.OfModel(path).Model);
            foreach (string folder in ModelFolder.TrainedOn(path).Where(folder => !looked.Contains(folder)))
            {
                using ChunkDatabase other = ChunkDatabase.Open(folder, cancellationToken: cancellationToken);
                if (sources.Tokenizer.Hashes.Contains(other.Manifest.TokenizerHash) && documents?.HaveAll(other) != false)
                {
                    looked.Add(folder);
                    Stages.Run($"look for held-out documents in {folder}", progress =>
                        HeldOut.Require(heldOut, other, sources.Tokenizer, sources.Alike, progress, cancellationToken));
                    compared = compared.And(TrainedDocuments.Of(other));
                }
            }

            models.Add((path, documents));
        }

        return ([.. models.Select(one => TrainedDocuments.Caveat(one.Documents, one.Path, heldOut, compared)).OfType<string>()], compared);
    }

    private static JsonObject WithSeen(JsonObject results, string[] seen)
    {
        if (seen.Length > 0)
        {
            results["warnings"] = new JsonArray([.. seen.Select(sentence => JsonValue.Create(sentence))]);
        }

        return results;
    }

    private static string[] Notes(string[] seen, bool hasRuns) =>
    [
        $"The documents were held out, none of them {(seen.Length == 0 ? "trained on or " : "")}retrieved from.",
        .. seen,
        .. hasRuns ? [] : new[]
        {
            string.Create(
                CultureInfo.InvariantCulture,
                $"Of a database of more than {Sources.MostSorted:#,0} tokens the longest run is not measured: sorting takes memory."),
        },
        "Steps and minutes are those of a model's own training; what it was fitted onto was trained before.",
    ];
}
