using System.CommandLine;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Cli.Workflow;

namespace Retro.Cli.Commands;

/// <summary>`retro update`: documents into a database and out of it, without building it anew.</summary>
internal sealed class UpdateCommand : Verb
{
    /// <summary>From so many segments on a search takes several times as long as over one.</summary>
    private const int ManySegments = 20;

    private const string AsBuilt = "as the database was built, as its retro.json says";

    /// <summary>Options of build that hold for what is added, too.</summary>
    private static readonly string[] s_taken = ["clean", "labels", "include", "exclude", "encoding", "separator", "fields", "ids-by-file"];

    private readonly PathOption _database = CommonOptions.Database(required: true);
    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _embedder = CommonOptions.Embedder();
    private readonly Option<string[]> _add = new("--add")
    {
        Description = "Add the documents of this file or folder; those whose ids are there take their places. May be given several times.",
        HelpName = "PATH",
    };

    private readonly Option<string[]> _remove = new("--remove")
    {
        Description = "Remove the document with this id, from the held-out documents where it is one of those; may be given several times.",
        HelpName = "ID",
    };

    private readonly Option<bool> _removeGone = new("--remove-gone")
    {
        Description = "Remove what came from the files and folders of --add before and stands there no more: deleted files, lines and parts that were changed. "
            + "Files that are there and left out stay.",
    };

    private readonly Option<bool> _compact = new("--compact")
    {
        Description = "Then write what is left as one piece, without the bytes of what was removed. Until then these stay on the disk, though nothing finds "
            + "them.",
    };

    private readonly Option<string[]> _labels = CommonOptions.GivenLabels(AsBuilt);
    private readonly Option<string[]> _clean = CommonOptions.Clean(AsBuilt);
    private readonly CorpusReading _reading = new();

    public UpdateCommand()
        : base(
            "update",
            "Adds documents to a database, replaces and removes some. The keys and indexes that the database has are made of what is new before anybody reads "
                + "it.",
            "retro update --database work --add news",
            "retro update --database work --add bridge.md --remove old-bridge.md --compact")
    {
        PathOption.RequirePaths(_add, "file or folder");
        AddOptions([_database, _add, _remove, _removeGone, _compact, _clean, _labels, .. _reading.Options, _tokenizer, _embedder]);
    }

    protected override PathOption Home => _database;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
        => said(_add) is not null ? []
            : [
                .. Because("nothing is added", [_removeGone, _clean, _labels, .. _reading.Options]),
                .. bool.TryParse(said(_compact), out bool compacts) && compacts ? [] : Because("nothing is added or compacted", _embedder),
            ];

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string[] add = parsed.GetValue(_add) ?? [], remove = parsed.GetValue(_remove) ?? [], labels = CommonOptions.Given(parsed, _labels);
        bool compact = parsed.GetValue(_compact);
        if (add.Length == 0 && remove.Length == 0 && !compact)
        {
            throw new UsageException($"There is nothing to do; name what to add ({_add.Name}) or to remove ({_remove.Name}), or {_compact.Name}.");
        }

        // A part of the corpus that the database was built of is called as it is there, so that it takes its own place.
        Workspace workspace = Workspace.OfDatabase(parsed.GetValue(_database)!);
        string? built = workspace.Section("build")?["corpus"]?.ToString();
        CorpusOptions reading = _reading.Of(parsed) with
        {
            KeepEmpty = true,
            Root = built is null ? null : workspace.Locate(built),
        };
        if (reading.Root is { } root && Array.Find(add, path => Workspace.IsBelow(root, path)) is { } above)
        {
            throw new UsageException(
                $"{above} holds {root}, the corpus that the database was built of, whose documents would come a second time under other ids: name that, and "
                    + "what is beside it.");
        }

        if (built is null && parsed.GetValue(_removeGone))
        {
            throw new RetroException(
                $"Of which corpus the database was built is in no retro.json ({workspace.SettingsPath}), so that it cannot be told what came from where and is "
                    + $"gone, and nothing was changed: name what is to go ({_remove.Name}), or leave out {_removeGone.Name}.");
        }

        CorpusCleaning cleaning = CommonOptions.Cleaning(parsed, _clean);
        Corpus[] corpora = [.. add.Select(path => Corpus.Open(path, reading))];
        if (_reading.Files.Any(IsTyped))
        {
            Corpus.RequireMatched(corpora); // those of the build are for all that is ever added
        }

        UpdateCounts counts = new(0, 0, 0, 0, 0);
        bool anyText = false, allHeldGone = false;
        HashSet<string> leftOut = new(StringComparer.Ordinal), empty = new(StringComparer.Ordinal), read = new(StringComparer.Ordinal);
        string folder;
        string[] gone = [], heldGone = [];
        int before, withdrawn = 0;
        using (Sources sources = new(
            parsed.GetValue(_database)!, parsed.GetValue(_tokenizer), parsed.GetValue(_embedder), 0, null, cancellationToken))
        {
            Action<ChunkDatabase, IProgress<StageProgress>>? prepare = add.Length > 0 || compact ? sources.Preparation() : null;
            (folder, before) = (sources.Database.Folder, sources.Database.Documents.Count);
            if (add.Length > 0 || remove.Length > 0)
            {
                if (add.Length > 0 && sources.Database.Manifest.Cleaning != cleaning.Name)
                {
                    throw new UsageException(
                        $"The database was cleaned by: {sources.Database.Manifest.Cleaning}; what is added would be by: {cleaning.Name}. "
                            + (CommonOptions.Typed(sources.Database.Manifest.Cleaning) is { } same
                                ? $"Say the same ({same})."
                                : $"{_clean.Name} has no such steps; add by the library."));
                }

                // What is measured on must not be read: the folder that a database was built of holds the held-out documents too.
                using ChunkDatabase? heldOut = sources.HeldOut();
                heldGone = [.. remove.Where(id => sources.Database.FindDocument(id) is null && heldOut?.FindDocument(id) is not null)];
                allHeldGone = heldOut is not null && heldOut.Documents.All(document => heldGone.Contains(document.Id));
                remove = [.. remove.Except(heldGone)];
                if (parsed.GetValue(_removeGone))
                {
                    Stages.Run("look for what is gone", progress => read.UnionWith(
                        corpora.SelectMany(corpus => SampleCorpus.Documents(corpus, progress, cancellationToken)).Select(document => document.Id)));
                    gone = Gone();
                }

                Func<Document, bool> isHeld = heldOut is null
                    ? _ => false
                    : Once(HeldOut.Finder(heldOut, sources.Tokenizer, sources.Alike));
                Dictionary<string, IReadOnlyList<string>> labelled = IsTyped(_labels)
                    ? []
                    : sources.Database.Documents.Where(document => document.Labels.Count > 0)
                        .ToDictionary(document => document.Id, document => document.Labels);

                // Of what a build would leave out, nothing stays that came in before: it comes without text, which takes it out.
                IEnumerable<Document> documents = cleaning.Clean(corpora.SelectMany(corpus => corpus.Documents()), keepRemoved: true)
                    .Select(document => IsHeldOut(document) ? document with { Text = "" } : document)
                    .Select(document => document with { Labels = [.. document.Labels, .. labels] })
                    .Select(KeepsLabels);
                try
                {
                    (ChunkDatabase changed, counts) = Stages.Run(
                        "add and remove documents",
                        progress => ChunkDatabaseUpdate.Apply(
                            folder, documents, remove.Union(gone), sources.Tokenizer, cleaning, Prepare(progress), progress, cancellationToken));
                    changed.Dispose();
                }
                catch (CorpusException) when (!anyText && cleaning.Report is { } report && (leftOut.Count > 0 || report.Steps.Any(step => step.Removed > 0)))
                {
                    // All of it was read, and has text, but none that may be added: that is told below.
                }

                if (heldGone.Length > 0 && !allHeldGone)
                {
                    Stages.Run("remove held-out documents", progress
                        => ChunkDatabaseUpdate.Apply(
                            heldOut!.Folder, [], heldGone, sources.Tokenizer, progress: progress, cancellationToken: cancellationToken).Database).Dispose();
                }

                withdrawn = sources.Database.Documents.Count(document => empty.Contains(document.Id));
                gone = [.. Gone().Except(remove)];

                // The names of what came from a path begin with the way to it, as the corpus that was built is called.
                string[] Gone()
                {
                    if (corpora.SelectMany(corpus => corpus.SkippedExamples).FirstOrDefault() is { } unread)
                    {
                        return parsed.GetValue(_removeGone)
                            ? throw new RetroException(
                                "What cannot be read cannot be told from what is gone, and nothing was removed: give this user the right to read it, "
                                    + $"fix it, or leave out {_removeGone.Name}. {unread}")
                            : [];
                    }

                    if (built is null)
                    {
                        return [];
                    }

                    string[] ways = [.. add.Select(path => WayTo(path, FolderOf(reading.Root!)))];
                    List<string> found = [];
                    foreach (DocumentEntry document in sources.Database.Documents.Where(document => !read.Contains(document.Id)))
                    {
                        bool?[] from = [.. corpora.Where((_, i) => IsFrom(ways[i], document.Location)).Select(corpus => corpus.IsGone(document.Location))];
                        if (from.Contains(true))
                        {
                            found.Add(document.Id);
                        }
                        else if (from.Contains(null) && parsed.GetValue(_removeGone))
                        {
                            throw new RetroException(
                                $"Whether {document.Location} is gone cannot be told, and nothing was removed: it lies behind a link to nothing, or where this "
                                    + $"user may not look. Bring back what the link leads to, delete the link, or leave out {_removeGone.Name}.");
                        }
                    }

                    return [.. found];
                }

                // Nobody sees more by an update who was not named in it.
                Document KeepsLabels(Document document)
                {
                    read.Add(document.Id);
                    if (document.Text.Length == 0)
                    {
                        empty.Add(document.Id);
                        return document;
                    }

                    anyText = true;
                    return labelled.TryGetValue(document.Id, out IReadOnlyList<string>? before)
                        && before.Except(document.Labels).ToArray() is { Length: > 0 } lost
                        ? throw new UsageException(
                            $"The document '{document.Id}' is labelled {string.Join(", ", lost)}, and what would take its place is not: more people would "
                                + $"read it. Say the labels of what is added ({_labels.Name}; \"\" for none).")
                        : document;
                }

                bool IsHeldOut(Document document)
                {
                    if (document.Text.Length == 0 || !isHeld(document))
                    {
                        return false;
                    }

                    leftOut.Add(document.Id);
                    return true;
                }
            }

            sources.Database.Dispose(); // not every system deletes a file that is open, and compacting deletes those of before
            if (allHeldGone)
            {
                workspace.DeleteHeldOut();
            }

            if (compact)
            {
                Stages.Run("compact the database", progress => DatabaseCompaction.Compact(folder, Prepare(progress), progress, cancellationToken)).Dispose();
            }

            if (compact && heldGone.Length > 0 && !allHeldGone)
            {
                Stages.Run("compact the held-out documents", progress
                    => DatabaseCompaction.Compact(workspace.HeldOut, progress: progress, cancellationToken: cancellationToken)).Dispose();
            }

            Action<ChunkDatabase>? Prepare(IProgress<StageProgress> progress) => prepare is null ? null : part => prepare(part, progress);
        }

        using ChunkDatabase now = ChunkDatabase.Open(folder, cancellationToken: cancellationToken);
        string parts = $"{Amount.Of(now.ChunkCount, "chunk")}, {Amount.Of(now.SegmentCount, "segment")}";
        Screen.Line($"{folder}: {Amount.Of(now.Documents.Count, "document")} ({before:#,0} before), {parts}");
        if (now.SegmentCount >= ManySegments)
        {
            Screen.Line($"  every search asks all {now.SegmentCount} segments, which takes several times as long as to ask one; this joins them:");
            Screen.Line($"  {Tool.Name} update {Shell.Option(_database.Name, parsed.GetValue(_database)!)} {_compact.Name}");
        }

        if (add.Length > 0 || remove.Length > 0)
        {
            Screen.Line($"  {counts.New:#,0} new, {counts.Replaced:#,0} replaced, {counts.Unchanged:#,0} unchanged, {counts.Removed:#,0} removed");
        }

        if (counts.Repeated > 0)
        {
            Screen.Line($"not added, since another that is there has their text: {Amount.Of(counts.Repeated, "document")}, such as that of {counts.RepeatOf}");
            Screen.Line($"  (where a file was moved, {_add.Name} the new one and {_remove.Name} the old id at once)");
        }

        if (leftOut.Count > 0)
        {
            Screen.Line($"not added, since held out by id or text, or nearly repeating what is: {Amount.Of(leftOut.Count, "document")}");
        }

        if (withdrawn > 0)
        {
            Screen.Line($"removed, since empty now, taken out by the cleaning, or held out: {Amount.Of(withdrawn, "document")}");
        }

        if (heldGone.Length > 0)
        {
            Screen.Line($"{workspace.HeldOut}: {Amount.Of(heldGone.Length, "document")} removed{(allHeldGone ? ", the last" : "")}");
        }

        if (gone.Length > 0 && !parsed.GetValue(_removeGone))
        {
            Screen.Line($"still there, though no more where it came from: {Amount.Of(gone.Length, "document")}, such as {gone[0]} ({_removeGone.Name})");
        }

        if (compact)
        {
            Screen.Note($"what was made of the database before keeps its text: passages of a fitted model, and models themselves");
        }

        Screen.Report(cleaning);
        if (add.Length > 0 && parsed.GetValue(_clean)?.Contains("near") == true)
        {
            Screen.Line($"near duplicates were looked for among what was added alone; a build of all the text compares it with what was there");
        }

        if (_reading.Files.Any(IsTyped))
        {
            Screen.ReportUnmatched(corpora);
        }

        JsonArray skipped = Screen.ReportSkipped(corpora);
        WriteJson(parsed, new JsonObject
        {
            ["documents"] = now.Documents.Count, ["before"] = before, ["chunks"] = now.ChunkCount, ["segments"] = now.SegmentCount, ["new"] = counts.New,
            ["replaced"] = counts.Replaced, ["unchanged"] = counts.Unchanged, ["repeated"] = counts.Repeated, ["removed"] = counts.Removed,
            ["heldOutRemoved"] = heldGone.Length, ["gone"] = gone.Length,
            ["heldOut"] = leftOut.Count, ["withdrawn"] = withdrawn, ["unreadable"] = corpora.Sum(corpus => (long)corpus.Skipped),
            ["unreadableExamples"] = skipped,
        });
        return Task.CompletedTask;
    }

    /// <summary>
    /// Asks of a document with its id and text once: all documents are read a second time where one is new, and to encode them takes longer than all else.
    /// </summary>
    internal static Func<Document, bool> Once(Func<Document, bool> asks)
    {
        Dictionary<(UInt128 Id, UInt128 Text), bool> known = [];
        return document =>
        {
            (UInt128, UInt128) key = (HashOf(document.Id), HashOf(document.Text));
            return known.TryGetValue(key, out bool answer) ? answer : known[key] = asks(document);
        };

        static UInt128 HashOf(string text) => MemoryMarshal.Read<UInt128>(SHA256.HashData(MemoryMarshal.AsBytes(text.AsSpan())));
    }

    private static string FolderOf(string path) => File.Exists(path) ? Path.GetDirectoryName(path)! : path;

    private static string WayTo(string path, string folder) => Path.TrimEndingDirectorySeparator(Path.GetRelativePath(folder, path)).Replace('\\', '/');

    private static bool IsFrom(string way, string location) => way == "."
        ? !location.StartsWith("../", StringComparison.Ordinal) && !Path.IsPathRooted(location) // as what another disk of Windows has
        : location.StartsWith(way, StringComparison.Ordinal) && (location.Length == way.Length || location[way.Length] is '/' or ':');

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace)
    {
        Workspace built = Workspace.FindDatabase(workspace.Folder) ?? workspace;
        IEnumerable<KeyValuePair<string, JsonNode?>> taken = (built.Section("build") ?? []).Where(pair => s_taken.Contains(pair.Key));
        return ArgumentsOf(parsed, built, new(taken.Select(pair => KeyValuePair.Create(pair.Key, pair.Value?.DeepClone()))), all: true);
    }
}
