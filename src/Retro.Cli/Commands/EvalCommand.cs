using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Cli.Reports;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Readers;
using Retro.Search;
using Retro.Training;
using Retro.Cli.Workflow;
using TorchSharp;

namespace Retro.Cli.Commands;

/// <summary>`retro eval`: what reading is worth, on text that no model has seen.</summary>
internal sealed class EvalCommand : Verb
{
    private const string ClosedBook = "closed book", Retrieving = "RETRO";

    /// <summary>Neighbors of the pointer rule, at most, and so of every table.</summary>
    private const int RuleNeighbors = 8;

    /// <summary>Held-out documents that the report shows token by token, and tokens of each at most.</summary>
    private const int MostInspected = 4, InspectedTokens = 512;

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
        Description = "A database of held-out documents. Default: the one beside the database.",
    };

    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _embedder = CommonOptions.Embedder();
    private readonly Option<string> _source = CommonOptions.Source(null);
    private readonly Option<int> _window = CommonOptions.Window();
    private readonly PathOption _report = new("--report", "FILE")
    {
        Description = "The page of the results. Default: report.html in the first model's folder.",
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
        => AddOptions(
            _models, _task, _questions, _database, _heldOut, _tokenizer, _embedder, _source, _window, _report, _tokenRecords, _seed, _threads, _device, _dtype);

    public override IReadOnlyList<string> Remembered(ParseResult parsed)
    {
        if (parsed.GetResult(_models) is not { Tokens.Count: > 0 } named)
        {
            return [];
        }

        (Workspace workspace, JsonObject section) = ModelFolder.Made(named.Tokens[0].Value);
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
        ?? Path.Combine(new Workspace(parsed.GetValue(_models)![0]).Folder, RunReport.FileName);

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
        using ChunkDatabase heldOut = (parsed.GetValue(_heldOut) is { } there
                ? ChunkDatabase.Open(Workspace.OfDatabase(there).Database, cancellationToken: cancellationToken)
                : sources.HeldOut())
            ?? throw new RetroException(
                $"There are no held-out documents beside {database.Folder}; build it with --held-out-share above 0, or name a database of some "
                    + $"({_heldOut.Name}).");
        Stages.Run("look for held-out documents in the database", progress =>
            HeldOut.Require(heldOut, database, sources.Tokenizer, sources.Alike, progress, cancellationToken));
        if (sources.Alike.Similarity > new HeldOutOptions().Similarity)
        {
            Screen.Note($"the database has documents that repeat nearly {sources.Alike.Similarity:0.##} of a held-out one, as it was built to");
        }

        string[] seen = RequireUnseen(paths, sources, heldOut, cancellationToken);
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

            int window = Window(models.Min(one => one.Longest)), most = models.Max(one => one.Model.Config.Retrieval?.Neighbors ?? 0);
            Measure(parsed, sources, heldOut, [.. paths.Zip(models)], window, Math.Max(RuleNeighbors, most), seen, cancellationToken);
        }
        finally
        {
            models.ForEach(one => one.Model.Dispose());
        }

        int Window(int? longest) => CommonOptions.WindowLength(parsed, _window, database.ChunkLength, longest);
    }

    /// <summary>
    /// Refuses held-out documents that are in another database which a model was trained on, and tells what else is known of what the models have seen.
    /// </summary>
    /// <returns>A sentence for each model that has seen some, and one where of a model it is not known; none: no model has seen any.</returns>
    private static string[] RequireUnseen(string[] paths, Sources sources, ChunkDatabase heldOut, CancellationToken cancellationToken)
    {
        HashSet<string> looked = [Path.GetFullPath(sources.Database.Folder)];
        List<string> seen = [];
        bool isKnown = true;
        foreach (string path in paths)
        {
            TrainedDocuments? documents = TrainedDocuments.Load(Workspace.OfModel(path).Model);
            foreach (string folder in ModelFolder.TrainedOn(path).Where(folder => !looked.Contains(folder)))
            {
                using ChunkDatabase other = ChunkDatabase.Open(folder, cancellationToken: cancellationToken);
                if (other.Manifest.TokenizerHash == sources.Database.Manifest.TokenizerHash && documents?.HaveAll(other) != false)
                {
                    looked.Add(folder);
                    Stages.Run($"look for held-out documents in {folder}", progress =>
                        HeldOut.Require(heldOut, other, sources.Tokenizer, sources.Alike, progress, cancellationToken));
                }
            }

            if (documents?.CountOf(heldOut) is { } count and > 0)
            {
                string of = Amount.Of(heldOut.Documents.Count, "held-out document");
                seen.Add($"{count:#,0} of {of} were in what {path} was trained on: what it remembers is measured, too.");
            }
            else
            {
                isKnown &= documents is { IsComplete: true };
            }
        }

        return isKnown ? [.. seen] : [.. seen, "For at least one model it is not known what it was trained on; it may have seen these documents."];
    }

    private void Measure(
        ParseResult parsed,
        Sources sources,
        ChunkDatabase heldOut,
        (string Path, TrainedModel Trained)[] models,
        int window,
        int read,
        string[] seen,
        CancellationToken cancellationToken)
    {
        ChunkDatabase database = sources.Database;

        // Each model reads by the source that it was trained with, or all by the one that was typed; the rule, by that of the first that reads.
        string? typed = parsed.GetValue(_source);
        Dictionary<string, INeighborSource> opened = [];
        Dictionary<string, NeighborTable> tables = [];
        INeighborSource SourceOf(string? trainedWith)
        {
            string said = typed ?? trainedWith ?? "bm25";
            return opened.TryGetValue(said, out INeighborSource? open) ? open : opened[said] = sources.Open(said, parsed.GetValue(_seed));
        }

        NeighborTable TableOf(INeighborSource from)
            => tables.TryGetValue(from.Name, out NeighborTable? there) ? there : tables[from.Name] = FindHeldOut(from, $"find held-out neighbors, {from.Name}");

        // The rule with as many and as fresh neighbors as copying has learned to read: what its learning has to beat.
        using CopyReader? copies = models.Select(one => ModelFolder.Copying(one.Path, one.Trained, sources)).FirstOrDefault(one => one is not null);
        int kept = Math.Max(Sources.TableNeighbors(read), copies?.Neighbors ?? 0);
        INeighborSource source = SourceOf(models.Select(one => ModelFolder.Source(one.Path, one.Trained)).FirstOrDefault(one => one is not null));
        using NeighborTable neighbors = Stages.Make(
            "find neighbors",
            progress => NeighborTable.Build(database, source, kept, progress: progress, cancellationToken: cancellationToken),
            cancellationToken);
        NeighborTable found = TableOf(source);
        using NeighborTable random = FindHeldOut(new RandomNeighborSource(database, parsed.GetValue(_seed)), "draw random neighbors");
        PointerRule Rule(int k) => Stages.Run(
            $"count the pointer rule, k = {k}", progress => PointerRule.Count(database, neighbors, new() { Neighbors = k }, progress, cancellationToken));
        PointerRule[] rules = [Rule(2), Rule(RuleNeighbors)];
        PointerRule? fresh = copies is not null && Rule(copies.Neighbors) is var counted
            ? new(copies.Neighbors, copies.Options.Stride, counted.RetrievedLength, counted.Precisions)
            : null;

        // The same rule without a retriever, the stronger one as a rule: training has to beat it, too.
        (TokenIndex, double[])? runs = null;
        if (Sources.CanSort(database))
        {
            TokenIndex index = sources.Runs();
            runs = (index, Stages.Run(
                "count runs", progress => RunReader.CountPrecisions(index, progress: progress, cancellationToken: cancellationToken)));
        }

        Comparison comparison = new(heldOut, database, found, random, rules, parsed.GetValue(_seed), runs);
        BitsPerByteOptions options = new() { WindowLength = window, KeepTokens = true };
        List<Measured> measured = [];
        HashSet<string> names = [];
        string? baseline = null, freshRule = null;
        foreach ((string path, TrainedModel trained) in models.OrderBy(one => one.Trained.Model.Config.HasRetrieval))
        {
            bool reads = trained.Model.Config.HasRetrieval;
            string? trainedWith = ModelFolder.Source(path, trained);
            INeighborSource own = SourceOf(trainedWith);
            if (!reads)
            {
                using CopyReader? copying = ModelFolder.Copying(path, trained, sources);

                // What copying was trained on top of is often among the models, under another name.
                Measured? same = copying is null ? null : measured.FirstOrDefault(one => one.Trained.HasSameWeights(trained));
                string closed = same?.Off ?? Named(ClosedBook, path);
                if (same is null)
                {
                    comparison.ClosedBook(closed, trained, options, cancellationToken);
                    if (baseline is null && fresh is not null)
                    {
                        freshRule = $"{closed} + pointer rule, k = {fresh.Neighbors}, every {fresh.ChunkLength} tokens";
                        PointerReader asking = new(new DecoderReader(trained.Model, closed), fresh, freshRule);
                        comparison.Asking(asking, trained, source, options, cancellationToken);
                    }

                    baseline ??= closed;
                }

                string shown = copying is null ? closed : Named(ModelFolder.NameOfCopying(copying.Database is not null), path);
                if (copying is not null)
                {
                    comparison.Copying(shown, copying, trained, own, [], options, cancellationToken, trainedWith);
                }

                measured.Add(new(path, shown, closed, trained, own));
                continue;
            }

            string name = Named(Retrieving, path);

            // Where there is no decoder to compare with, its own retrieval off stands in for one.
            if (baseline is null)
            {
                baseline = $"{name} off";
                comparison.ClosedBook(baseline, trained, options, cancellationToken);
            }

            measured.Add(new(path, name, $"{name} off", trained, own));
            comparison.Retro(name, trained, trainedWith!, [], options, cancellationToken, off: baseline != $"{name} off", TableOf(own));
        }

        IReadOnlyList<EvaluationEntry> entries = comparison.Entries;
        string rule = comparison.RuleOn(baseline!, RuleNeighbors);
        string[] against = [baseline!, rule, .. new[] { freshRule, runs is null ? null : comparison.RunsOn(baseline!) }.OfType<string>()];
        EvaluationTable table = EvaluationTable.Of(entries, against) with
        {
            TextLoss = TextLoss.Of(heldOut, sources.Tokenizer, cancellationToken: cancellationToken),
        };
        double[] bytes = LeakageCurve.ChunkBytes(heldOut, sources.Tokenizer);
        LeakageCurve curve = Stages.Run(
            "compare chunks with their neighbors",
            progress => LeakageCurve.Compute(heldOut, found, bytes, RuleNeighbors, progress: progress, cancellationToken: cancellationToken));
        names.UnionWith(against);
        string[] notes = Notes(seen, runs is not null);
        LeakageTable leakage = LeakageTable.Of(curve, [.. entries.Where(entry => names.Contains(entry.Reader))]);
        ResultRows rows = new(table, leakage);
        rows.Print(notes, LeakageTitle, "");
        WriteJson(parsed, WithSeen(ResultsJson.Of(table, leakage), seen));
        if (parsed.GetValue(_tokenRecords) is { } tokens)
        {
            Dictionary<string, BitsPerByteResult> results = entries.ToDictionary(entry => entry.Reader, entry => entry.Results[0]);
            Stages.Run("write token records", progress => TokenRecords.Write(
                tokens, heldOut, results, found, RuleNeighbors, progress: progress, cancellationToken: cancellationToken));
        }

        string page = ReportFile(parsed);
        RunReport report = new($"{Tool.Name} eval: {string.Join(", ", models.Select(one => one.Path))}");
        rows.AddTo(report, string.Join(' ', notes), $"{LeakageTitle}.");
        Inspect(report, sources, heldOut, measured, entries, cancellationToken);
        report.Corpus(database, heldOut);
        foreach ((string path, string name, _, TrainedModel trained, _) in measured)
        {
            Workspace workspace = Workspace.OfModel(path);
            string steps = Path.Combine(workspace.Model, RunReport.StepsFile);
            report.Training(name, File.Exists(steps) ? JsonLinesObserver.Read(steps) : []);
            string? settings = File.Exists(workspace.SettingsPath) ? File.ReadAllText(workspace.SettingsPath) : null;
            report.Configuration(name, workspace.Model, trained.Model.Config, settings);
        }

        report.Write(page);
        Screen.Note($"Report: {page}");
        foreach (NeighborTable one in tables.Values)
        {
            one.Dispose();
        }

        string Named(string kind, string path)
        {
            string name = names.Add(kind) ? kind : $"{kind} of {path}";
            names.Add(name);
            return name;
        }

        NeighborTable FindHeldOut(INeighborSource from, string stage) => Stages.Make(
            stage, progress => NeighborTable.Build(heldOut, from, kept, excludeOwnDocument: false, progress, cancellationToken), cancellationToken);
    }

    private static JsonObject WithSeen(JsonObject results, string[] seen)
    {
        if (seen.Length > 0)
        {
            results["warnings"] = new JsonArray([.. seen.Select(sentence => JsonValue.Create(sentence))]);
        }

        return results;
    }

    /// <summary>Shows, token by token, what the first model that reads gained on some held-out documents.</summary>
    private static void Inspect(
        RunReport report,
        Sources sources,
        ChunkDatabase heldOut,
        List<Measured> measured,
        IReadOnlyList<EvaluationEntry> entries,
        CancellationToken cancellationToken)
    {
        BitsPerByteResult? Result(string name) => entries.FirstOrDefault(entry => entry.Reader == name)?.Results[0];
        foreach ((string path, string on, string off, TrainedModel trained, INeighborSource source) in measured)
        {
            using CopyReader? copying = ModelFolder.Copying(path, trained, sources);
            IReader? reader = copying is not null ? copying : trained.Model.Config.HasRetrieval ? new RetroReader(trained.Model) : null;
            if (reader is null || source.Database is null || Result(on) is not { TokenBits: { } onBits } || Result(off) is not { TokenBits: { } offBits })
            {
                continue;
            }

            Inspection inspection = new(sources.Database, sources.Tokenizer, reader, source, sources.Ready());
            report.Page.Heading($"What {on} read").Html(Inspection.Legend);
            foreach (DocumentEntry document in HeldOutSample.Evenly(heldOut, MostInspected))
            {
                int[] tokens = Inspection.Tokens(heldOut, document, InspectedTokens);
                int first = (int)document.FirstChunk * heldOut.ChunkLength;
                double[] Bits(IReadOnlyList<float> all) => [.. Enumerable.Range(first, tokens.Length).Select(place => (double)all[place])];
                report.Page.Heading(Passages.Name(document.Title, document.Id), 3).Paragraph(document.Location, soft: true)
                    .Html(inspection.Show(tokens, Bits(offBits), Bits(onBits), [], cancellationToken));
            }

            return;
        }
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

    /// <summary>A model that was measured.</summary>
    /// <param name="Path">The folder that was named.</param>
    /// <param name="Name">Its row; of what copies and of a RETRO, that with retrieval on.</param>
    /// <param name="Off">The row of its decoder.</param>
    /// <param name="Trained">The model.</param>
    /// <param name="Source">The source that it reads by.</param>
    private sealed record Measured(string Path, string Name, string Off, TrainedModel Trained, INeighborSource Source);
}
