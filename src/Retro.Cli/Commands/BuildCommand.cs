using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Cli.Workflow;

namespace Retro.Cli.Commands;

/// <summary>`retro build`: from text to a tokenizer, a database, and a database of held-out documents.</summary>
internal sealed class BuildCommand : Verb
{
    /// <summary>Their texts are in memory while the others are compared with them; more would measure hardly better.</summary>
    private const int MostHeldOut = 10_000;

    /// <summary>Share of many documents that is held out where nothing is said.</summary>
    private const double UsualShare = 0.05;

    /// <summary>Documents whose tokens are compared with their text: whether a tokenizer keeps text shows in few.</summary>
    private const int MostLookedAt = 100;

    private readonly PathOption _corpus = CommonOptions.Corpus();
    private readonly PathOption _out = CommonOptions.Out("Folder for the tokenizer, the database and the held-out documents.");
    private readonly PathOption _tokenizer = new("--tokenizer", "FOLDER")
    {
        Description = "Take this tokenizer, such as a pretrained decoder's folder. Default: one is trained on the text.",
    };

    private readonly Option<int> _vocabulary = CommonOptions.Whole(
        "--vocabulary", "Tokens of the tokenizer that is trained.", 2048, BpeTrainer.SmallestVocabulary, 1_000_000);

    private readonly Option<int> _chunk = CommonOptions.Whole("--chunk", "Tokens of a chunk.", 64, 2, 4096);
    private readonly Option<double?> _heldOutShare = CommonOptions.NumberOrNone(
        "--held-out-share",
        "Share of the documents that is held out to measure on, at most 10,000 of them; what nearly repeats them is left out of the database. 0: none. "
            + "Default: 0.05, but 20 documents of fewer than 400, as many as an interval takes, though at most a quarter.",
        0,
        0.5);

    private readonly Option<double?> _similarity = CommonOptions.NumberOrNone(
        "--held-out-similarity",
        "How much of a document has to stand in a held-out one, or of that in it, for it to be left out of the database, up to 1 for all of it; for forms and "
            + "versions of one text, of which the database is to have many. Default: 0.8.",
        0.3,
        1);

    private readonly Option<double?> _megabytes = CommonOptions.NumberOrNone(
        "--megabytes", "Most text to take; documents are chosen by the seed. Default: all.", 0.001, 1e9);

    private readonly CorpusReading _reading = new();
    private readonly Option<string[]> _labels = CommonOptions.GivenLabels();
    private readonly Option<string[]> _clean = CommonOptions.Clean("unicode, exact");
    private readonly Option<bool> _plan = new("--plan")
    {
        Description = "Say what the database will be and take, once there is a tokenizer, and stop.",
    };

    private readonly Option<WorkShare?> _share = CommonOptions.Share(
        "Encode the I-th of N shares of the documents, for as many machines or processes on one storage; the same command without it joins the shares. In a "
            + "job array: once --plan, which makes the tokenizer, then --share $TASK/8, and once without both.");

    private readonly Option<bool> _startOver = CommonOptions.StartOver(
        "database, and the held-out documents beside it,",
        " A tokenizer is trained anew, which models trained before do not fit, unless --tokenizer names the one that is there.");

    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<int> _threads = CommonOptions.Threads();

    public BuildCommand()
        : base(
            "build",
            "Cuts text into a database of chunks. The same command goes on where it was stopped, and does nothing where all is done.",
            "retro build --corpus docs --out work",
            "retro build --corpus docs --tokenizer llama --out work",
            "retro build --corpus docs --out work --share 3/8")
    {
        _corpus.Required = true;
        AddOptions(
            [
                _corpus, _out, _tokenizer, _vocabulary, _chunk, _heldOutShare, _similarity, _megabytes, .. _reading.Options, _clean, _labels, _plan, _share,
                _startOver, _seed, _threads,
            ]);
    }

    protected override PathOption Home => _out;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
        =>
        [
            .. said(_tokenizer) is null ? [] : Because("the tokenizer is there", _vocabulary),
            .. double.TryParse(said(_heldOutShare), CultureInfo.InvariantCulture, out double share) && share == 0
                ? Because("nothing is held out", _similarity)
                : [],
        ];

    public override string HowToGoOn(ParseResult parsed) => KeepsOld(parsed, new(parsed.GetValue(_out)!))
        ? base.HowToGoOn(parsed)
        : $"Go on with: {Tool.Name} build {Shell.Option(_out.Name, parsed.GetValue(_out)!)}"
            + (parsed.GetValue(_share) is { } share ? $" {_share.Name} {share}" : "");

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        Workspace workspace = new(parsed.GetValue(_out)!);
        try
        {
            return Build(parsed, workspace, cancellationToken);
        }
        catch (DatabaseException fault) when (IsOfOtherText(fault, parsed))
        {
            throw new RetroException(OtherText(fault.Difference, parsed, workspace), fault);
        }
        finally
        {
            if (parsed.GetValue(_share) is null && Planned(workspace) is null)
            {
                DropNewTokenizer(workspace);
            }
        }
    }

    // A tokenizer that is trained on another text, or on another part of it, is another.
    private bool IsOfOtherText(DatabaseException fault, ParseResult parsed)
        => fault.Difference is DatabaseDifference.Documents or DatabaseDifference.Changes
            || (fault.Difference == DatabaseDifference.Tokenizer && parsed.GetValue(_tokenizer) is null);

    /// <summary>What has come between a database and the build that would make it, and the ways on.</summary>
    private string OtherText(DatabaseDifference difference, ParseResult parsed, Workspace workspace)
    {
        string folder = workspace.Folder, corpus = parsed.GetValue(_corpus)!;
        string what = difference switch
        {
            DatabaseDifference.Documents => $"The text is another than when {folder} was built",
            DatabaseDifference.Changes => $"Documents were added to {folder}, or removed, since it was built",
            _ => $"The text is another than when {folder} was built, or another part of it is taken, or another vocabulary is asked for",
        };
        string tokenizer = parsed.GetValue(_tokenizer) is not null
            ? ""
            : $" with a new tokenizer, which models trained on this database do not fit ({Shell.Option(_tokenizer.Name, workspace.Tokenizer)} keeps it)";
        string update = $"`{Tool.Name} update {Shell.Option("--database", folder)} {Shell.Option("--add", corpus)}`";
        return $"{what}. {update} takes in what is new and changed in {corpus} and keeps the models; "
            + $"{_startOver.Name} builds anew{tokenizer}; another {_out.Name} leaves this one as it is.";
    }

    private Task Build(ParseResult parsed, Workspace workspace, CancellationToken cancellationToken)
    {
        double? share = parsed.GetValue(_heldOutShare);
        long seed = parsed.GetValue(_seed);
        Corpus corpus = Corpus.Open(parsed.GetValue(_corpus)!, _reading.Of(parsed));
        corpus.RequireMatched();
        RetroTokenizer? named = parsed.GetValue(_tokenizer) is { } folder ? LoadTokenizer(folder) : null;
        WorkShare? part = parsed.GetValue(_share);
        workspace.Create();
        using WriterLock? writing = part is null ? workspace.Take("build the database") : null; // shares are made side by side

        // A tokenizer that was trained by the same command is not trained again. Shares are made of what such a command has left, and change none of it.
        string? made = HasDatabase(workspace) && !parsed.GetValue(_plan) && IsSame(parsed, workspace, Planned(workspace)) ? workspace.NewTokenizer
            : IsSame(parsed, workspace, workspace.Section(Name))
                && RetroTokenizer.IsIn(workspace.Tokenizer)
                && (part is not null || !parsed.GetValue(_startOver))
                ? workspace.Tokenizer
                : null;

        // A database that is whole cannot be read without its tokenizer: both stay, and what was typed for them, until the new one is whole.
        bool keepsOld = KeepsOld(parsed, workspace);
        if (part is null)
        {
            if (!keepsOld)
            {
                Remember(parsed, workspace, _startOver, _plan, _share);
            }
        }
        else if (named is null && made is null)
        {
            throw new UsageException(
                $"There is no tokenizer in {workspace.Tokenizer} that this command has made, and all shares have to have one: make it first, with {_plan.Name} "
                    + $"in place of {_share.Name}, or name one ({_tokenizer.Name}).");
        }

        Func<Document, bool> takes = _ => true;
        long? taken = null;
        double? most = parsed.GetValue(_megabytes);
        if (most is { } megabytes)
        {
            (takes, taken) = Stages.Run(
                "read the corpus", progress => SampleCorpus.Choose(corpus, megabytes * 1e6, seed, progress, cancellationToken));
        }

        // Without a share as many are held out as what the cleaning leaves allows, which may be a small part.
        CorpusCleaning cleaning = CommonOptions.Cleaning(parsed, _clean);
        long count = share is not null && taken is { } chosen ? chosen : Stages.Run(taken is null ? "read the corpus" : "count documents", progress =>
        {
            IEnumerable<Document> read = SampleCorpus.Documents(corpus, progress, cancellationToken).Where(takes);
            return (share is null ? cleaning.Clean(read) : read).LongCount();
        });
        if (share != 0 && count < 2)
        {
            string has = most is not null
                ? string.Create(CultureInfo.InvariantCulture, $"{_megabytes.Name} {most} takes {Amount.Of(count, "document")} of the corpus")
                : $"The corpus has {Amount.Of(count, "document")} to use";
            string more = most is null ? "" : $"take more ({_megabytes.Name}), ";
            throw new CorpusException(
                $"{has}; one has to be held out and one to be retrieved from: {more}cut the text into documents, "
                    + $"where a line of a text file parts them by naming it ({_reading.Separator}), or hold none out ({_heldOutShare.Name} 0).");
        }

        string[] labels = CommonOptions.Given(parsed, _labels);
        IEnumerable<Document> documents = cleaning.Clean(corpus.Documents().Where(takes))
            .Select(document => document with { Labels = [.. document.Labels, .. labels] });
        double holds = share * count ?? Usual(count);
        HeldOutOptions holding = CommonOptions.Alike(parsed.GetValue(_similarity)) with
        {
            Count = (int)Math.Clamp(Math.Round(holds), 1, MostHeldOut), Seed = seed,
        };
        HeldOutSplit? split = share != 0
            ? Stages.Run("hold documents out", progress => HeldOutSplit.Create(documents, holding, progress, cancellationToken))
            : null;
        WarnOfRemoved(split);
        IEnumerable<Document> known = split is null ? documents : split.Training(documents);
        if (keepsOld && made is null)
        {
            DropNewTokenizer(workspace); // of another command
        }

        RetroTokenizer tokenizer = named
            ?? (made is not null
                ? RetroTokenizer.Load(made, cancellationToken: cancellationToken)
                : Stages.Run("train the tokenizer", progress => BpeTrainer.Train(
                    known.Select(document => document.Text),
                    parsed.GetValue(_vocabulary),
                    keepsOld ? workspace.NewTokenizer : workspace.Tokenizer,
                    progress,
                    cancellationToken)));
        if (split is not null)
        {
            RequireChunk(parsed, split.HeldOut(documents), tokenizer, "is held out", "hold out more");
            RequireChunk(parsed, known, tokenizer, "is left to be retrieved from", "hold out less");
        }

        ChunkDatabaseOptions options = new()
        {
            ChunkLength = parsed.GetValue(_chunk),
            Cleaning = cleaning.Name,
            StartOver = parsed.GetValue(_startOver),
            Threads = parsed.GetValue(_threads),
        };
        if (part is { } own)
        {
            Stages.Run("encode documents", progress
                => ChunkDatabaseBuilder.BuildShare(workspace.Database, known, tokenizer, own, options, progress, cancellationToken));
            Screen.Line($"share {own} is done; when all are, the same command without {_share.Name} joins them");
            WriteJson(parsed, new JsonObject { ["share"] = own.ToString() });
            return Task.CompletedTask;
        }

        if (!keepsOld)
        {
            named?.Save(workspace.Tokenizer);
        }

        using EarlierKeys? earlier = options.StartOver && HasDatabase(workspace) ? EarlierKeys.Open(workspace.Database, tokenizer, options) : null;
        DatabasePlan plan = Stages.Run(
            "plan the database",
            progress => DatabasePlan.For(
                known, tokenizer, null, parsed.GetValue(_chunk), earlier, progress: progress, cancellationToken: cancellationToken));
        if (parsed.GetValue(_plan))
        {
            Screen.Text($"{plan}\n");
        }

        // A database that is whole takes no more room: it is opened, or refused.
        if (parsed.GetValue(_startOver) || !HasDatabase(workspace))
        {
            plan.Require(workspace.Database);
        }

        if (parsed.GetValue(_plan))
        {
            if (keepsOld && parsed.GetValue(_startOver))
            {
                // For the shares and for who joins them; what is there goes on with its own until then.
                new Workspace(workspace.NewTokenizer).Write(Name, Kept(parsed, workspace));
            }

            WriteJson(parsed, new JsonObject
            {
                ["documents"] = plan.Documents, ["bytes"] = plan.TextBytes, ["tokens"] = plan.Tokens, ["chunks"] = plan.Chunks,
                ["diskBytes"] = plan.DiskBytes, ["memoryBytes"] = plan.MemoryBytes, ["minutes"] = plan.Time.TotalMinutes,
                ["keysReused"] = plan.KeysReused, ["keysToMake"] = plan.KeysReused is { } kept ? Math.Max(0, plan.Chunks - kept) : null,
            });
            return Task.CompletedTask;
        }

        using ChunkDatabase database = Stages.Run(
            "cut chunks", progress => ChunkDatabaseBuilder.Build(workspace.Database, known, tokenizer, options, progress, cancellationToken));
        DatabaseCleaning.Save(database, cleaning);
        long? reused = earlier is null ? null : Stages.Run("take over keys", progress => earlier.GiveTo(database, progress, cancellationToken));
        if (keepsOld)
        {
            tokenizer.Save(workspace.Tokenizer);
            Remember(parsed, workspace, _startOver, _plan, _share);
            DropNewTokenizer(workspace);
        }

        // What was held out of a database before may be in this one, and have the tokens of another tokenizer.
        bool hasOld = split is null && workspace.HasHeldOut;
        if (hasOld && parsed.GetValue(_startOver))
        {
            workspace.DeleteHeldOut();
            hasOld = false;
        }

        using ChunkDatabase? heldOut = split is null ? null : Stages.Run(
            "cut held-out chunks",
            progress => ChunkDatabaseBuilder.Build(workspace.HeldOut, split.HeldOut(documents), tokenizer, options, progress, cancellationToken));

        DatabaseManifest manifest = database.Manifest;
        Screen.Line($"{corpus.Path}: {corpus.Kind}");
        Screen.Line($"{workspace.Database}: {Amount.Of(manifest.DocumentCount, "document")}, {Amount.OfBytes(manifest.ByteCount)} of text,");
        Screen.Line($"  {Amount.Of(manifest.ChunkCount, "chunk")} of {manifest.ChunkLength} tokens; {tokenizer.Kind} of {tokenizer.VocabularySize:#,0} tokens");
        if (reused is not null)
        {
            Screen.Line($"  {Amount.Of(reused.Value, "key")} of the database before taken over, {database.ChunkCount - reused.Value:#,0} to be made");
        }

        if (TextLoss.Of(heldOut ?? database, tokenizer, MostLookedAt, cancellationToken).Note is { Length: > 0 } lost)
        {
            Screen.Note($"  {lost}");
        }

        if (heldOut is not null)
        {
            Screen.Line($"{workspace.HeldOut}: {Amount.Of(heldOut.Documents.Count, "document")} held out, {Amount.OfBytes(heldOut.Manifest.ByteCount)};");
            Screen.Line($"  in neither, since nearly repeating one of them: {Amount.Of(split!.Removed.Count, "document")}");
            if (heldOut.Documents.Count < PairedDifference.LeastDocuments)
            {
                Screen.Note($"  {Tool.Name} eval gives intervals from {PairedDifference.LeastDocuments} held-out documents on ({_heldOutShare.Name})");
            }
        }

        if (hasOld)
        {
            Screen.Note($"{workspace.HeldOut} holds documents that this build did not hold out, and will be measured on; {_startOver.Name} removes it");
        }

        Screen.Report(cleaning);
        Screen.ReportUnmatched(corpus);
        JsonArray skipped = Screen.ReportSkipped(corpus);
        Screen.Note($"Next: {Tool.Name} train {Shell.Option("--database", workspace.Folder)} --out decoder --source none --minutes 5");
        WriteJson(parsed, new JsonObject
        {
            ["documents"] = database.Documents.Count,
            ["chunks"] = database.ChunkCount,
            ["bytes"] = database.Manifest.ByteCount,
            ["vocabulary"] = tokenizer.VocabularySize,
            ["keysReused"] = reused,
            ["heldOutDocuments"] = heldOut?.Documents.Count ?? 0,
            ["nearlyRepeated"] = split?.Removed.Count ?? 0,
            ["unreadable"] = corpus.Skipped,
            ["unreadableExamples"] = skipped,
            ["cleaning"] = Screen.Json(cleaning),
        });
        return Task.CompletedTask;
    }

    /// <summary>
    /// Refuses a part of the documents, of those held out and of the others, that makes no chunk, before either is cut: what would be said of it then is said
    /// of a corpus. One without any text is.
    /// </summary>
    private void RequireChunk(ParseResult parsed, IEnumerable<Document> part, RetroTokenizer tokenizer, string what, string otherwise)
    {
        long documents = 0, tokens = 0;
        int chunk = parsed.GetValue(_chunk);
        foreach (Document document in part)
        {
            if (tokenizer.Encode(document.Text).Length is > 0 and var length)
            {
                documents++;
                tokens += length + 2; // its ends
            }

            if (tokens >= chunk)
            {
                return;
            }
        }

        if (tokens > 0)
        {
            throw new CorpusException(
                $"What {what} is too short for one chunk: {Amount.Of(documents, "document")} of {Amount.Of(tokens, "token")}, and a chunk takes {chunk}; "
                    + $"{otherwise}, or nothing ({_heldOutShare.Name}), take shorter chunks ({_chunk.Name}), or "
                    + $"{(parsed.GetValue(_megabytes) is null ? "give more text" : $"more text ({_megabytes.Name})")}.");
        }
    }

    /// <summary>Says at once where much of a corpus comes into no part: who has a corpus of forms wants the forms.</summary>
    private void WarnOfRemoved(HeldOutSplit? split)
    {
        const double Many = 0.1;
        if (split is null || split.HeldOutCount + split.TrainingCount + split.Removed.Count is var all && split.Removed.Count < Many * all)
        {
            return;
        }

        SimilarDocument one = split.Removed[0];
        string removed = Amount.Of(split.Removed.Count, "document");
        Screen.Warn(
            $"{removed} of {all:#,0} will be neither in the database nor held out: they nearly repeat one of the {split.HeldOutCount} that are held out, as "
                + $"{one.Id} does {one.HeldOutId}. Where they are forms or versions that the database is to have, {_similarity.Name} 0.95, or 1, leaves out "
                + $"fewer, and {_heldOutShare.Name} 0 none.");
    }

    /// <summary>What was typed, of which a database that is there knows, and what of a plan of the one that is to take its place.</summary>
    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace)
    {
        JsonObject? planned = IsTyped(_share) || IsTyped(_startOver) ? Planned(workspace) : null;
        return ArgumentsOf(parsed, workspace, planned ?? workspace.Section(Name), all: true);
    }

    /// <summary>What was typed for the plan of a database that is to take the place of one that is there; null: there is no such plan.</summary>
    private JsonObject? Planned(Workspace workspace) => new Workspace(workspace.NewTokenizer).Section(Name);

    private JsonObject Kept(ParseResult parsed, Workspace workspace) => Typed(parsed, workspace, _startOver, _plan, _share);

    private bool IsSame(ParseResult parsed, Workspace workspace, JsonObject? section)
        => section is not null && JsonNode.DeepEquals(AsKept(section, workspace), Kept(parsed, workspace));

    private static bool HasDatabase(Workspace workspace) => File.Exists(Path.Combine(workspace.Database, DatabaseManifest.FileName));

    private bool KeepsOld(ParseResult parsed, Workspace workspace) => HasDatabase(workspace)
        && parsed.GetValue(_share) is null
        && (!IsSame(parsed, workspace, workspace.Section(Name)) || parsed.GetValue(_startOver) || parsed.GetValue(_tokenizer) is not null);

    private static void DropNewTokenizer(Workspace workspace)
    {
        if (Directory.Exists(workspace.NewTokenizer))
        {
            Directory.Delete(workspace.NewTokenizer, recursive: true);
        }
    }

    private static RetroTokenizer LoadTokenizer(string folder)
        => Path.Exists(folder) ? RetroTokenizer.Load(Workspace.TokenizerOf(folder))
            : throw new RetroException($"There is no tokenizer at {folder}; name a folder with tokenizer.json, tokenizer.model, vocab.json or vocab.txt.");

    /// <summary>How many are held out where nothing is said: a share, at least what intervals need, at most a quarter.</summary>
    private static double Usual(long documents) => Math.Min(documents / 4, Math.Max(PairedDifference.LeastDocuments, UsualShare * documents));
}
