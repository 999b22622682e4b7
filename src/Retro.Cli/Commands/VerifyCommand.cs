using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using Retro.Cli.Quickstart;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Cli.Commands;

/// <summary>`retro verify`: whether what a folder holds is whole.</summary>
internal sealed class VerifyCommand : Verb
{
    private readonly Argument<string> _folder = new("folder") { Description = "A folder that the tool has written, or a database or a model." };

    private readonly Option<double> _recompute = CommonOptions.Number(
        "--recompute", "Share of the chunks for which words, keys and neighbors are made once more and compared, with the recall of the index.", 0, 0, 1);

    private readonly Option<string> _source = CommonOptions.Source("bm25");
    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _embedder = CommonOptions.Embedder();
    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<int> _threads = CommonOptions.Threads();

    public VerifyCommand()
        : base(
            "verify",
            "Reads every byte of a folder's databases, and says whether all is as it was written, which their checksums tell; models, a tokenizer and an "
                + "embedder have none: of these it says whether all files are there, can be read, belong together and hold finite numbers alone. Ends with 1 "
                + "where something is not so.",
            "retro verify work",
            "retro verify work/database --recompute 0.01 --source hybrid")
    {
        Add(_folder);
        AddOptions(_recompute, _source, _embedder, _tokenizer, _seed, _threads);
    }

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
        => double.Parse(said(_recompute)!, CultureInfo.InvariantCulture) == 0
            ? Because($"nothing is made once more without {_recompute.Name}", _source, _embedder, _tokenizer, _seed, _threads)
            : Sources.NeedsKeys(said(_source)) ? [] : Because(Sources.NoKeys, _embedder);

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string folder = parsed.GetValue(_folder)!;
        Workspace workspace = new(folder);
        JsonObject all = [];
        List<string> faults = [];
        foreach (string part in workspace.Parts())
        {
            if (File.Exists(Path.Combine(part, DatabaseManifest.FileName)))
            {
                Check(part, () =>
                {
                    using ChunkDatabase database = Stages.Run(
                        $"verify {part}", progress => ChunkDatabase.Open(part, verify: true, progress, cancellationToken));
                    return database.Faults.Count == 0
                        ? $"{database.ChunkCount:#,0} chunks and {database.Files.Count} files are as they were written"
                        : throw new DatabaseException(string.Join(" ", database.Faults));
                });
            }
            else if (File.Exists(Path.Combine(part, Checkpoint.ConfigName)))
            {
                Check(part, () =>
                {
                    CheckpointLoadOptions options = new() { RequireFinite = true };
                    using RetroModel model = Stages.Run(
                        $"verify {part}", progress => Checkpoint.Load(part, options, progress, cancellationToken));
                    // That of a quickstart lies beside its closed book.
                    IEnumerable<string> places = Path.GetFileName(part) == QuickstartRun.ClosedBookFolder ? [part, folder] : [part];
                    string[] copying = [.. places.Select(place => Path.Combine(place, ModelFolder.CopyingFile)).Where(File.Exists).Distinct()];
                    if (copying.Length == 0 && part == workspace.Model)
                    {
                        _ = ModelFolder.CopyingOf(workspace); // where it is gone, this says so
                    }

                    foreach (string file in copying)
                    {
                        CopyReader.Verify(file, model);
                    }

                    Stages.Run($"verify what lies beside the weights of {part}", progress => VerifyOthers(part, model, progress, cancellationToken));
                    return $"{model.Config.CountParameters().Total:#,0} parameters are there and finite"
                        + (copying.Length > 0 ? "; so is what copies on top" : "");
                });
            }
        }

        bool isBuilt = Directory.Exists(workspace.Database);
        try
        {
            isBuilt |= workspace.Section("build") is not null;
        }
        catch (RetroException fault)
        {
            Add(workspace.SettingsPath, fault);
        }

        // A database that is gone or was never finished, where what lies beside it was made with it.
        if (!all.ContainsKey(workspace.Database) && isBuilt)
        {
            Check(workspace.Database, () => throw new DatabaseException(
                $"{workspace.Database} holds no whole database; {Tool.Name} build goes on with one that was begun, or makes it again."));
        }

        // One that is gone, or has lost its files, is told, too: nothing beside it can be read without.
        if (Directory.Exists(workspace.Tokenizer) || all.ContainsKey(workspace.Database) || all.ContainsKey(workspace.HeldOut))
        {
            Check(workspace.Tokenizer, () =>
            {
                RetroTokenizer tokenizer = RetroTokenizer.IsIn(workspace.Tokenizer)
                    ? RetroTokenizer.Load(workspace.Tokenizer, cancellationToken: cancellationToken)
                    : throw new RetroException($"{workspace.Tokenizer} holds no tokenizer, and without it nobody can read what lies beside it; put it back.");
                foreach (string part in new[] { workspace.Database, workspace.HeldOut }.Where(part => (bool?)all[part]?["whole"] == true))
                {
                    using ChunkDatabase database = ChunkDatabase.Open(part, cancellationToken: cancellationToken);
                    database.RequireTokenizer(tokenizer);
                }

                return $"{tokenizer.VocabularySize:#,0} tokens";
            });
        }

        if (Sources.IsEmbedder(workspace.Embedder))
        {
            Check(workspace.Embedder, () =>
            {
                using TextEmbedder embedder = Stages.Run(
                    $"verify {workspace.Embedder}", progress => TextEmbedder.Load(workspace.Embedder, null, progress, cancellationToken));
                _ = TrainedDocuments.Load(workspace.Embedder);
                Stages.Run($"verify the weights of {workspace.Embedder}", progress => RequireFinite(
                    Directory.GetFiles(workspace.Embedder, "*.safetensors", SearchOption.AllDirectories), progress, cancellationToken));
                return $"keys of {embedder.Dimensions} numbers";
            });
        }

        if (all.Count == 0)
        {
            throw new RetroException($"{folder} holds no database and no model; name a folder that {Tool.Name} has written.");
        }

        if (parsed.GetValue(_recompute) is var share and > 0)
        {
            all["recomputed"] = Recompute(parsed, folder, share, faults, cancellationToken);
        }

        WriteJson(parsed, all);
        return faults.Count == 0 ? Task.CompletedTask : throw new RetroException(string.Join(" ", faults.Distinct()));

        void Check(string part, Func<string> check)
        {
            try
            {
                string found = check();
                all[part] = new JsonObject { ["whole"] = true };
                Screen.Line($"{part}: {found}");
            }
            catch (RetroException fault)
            {
                Add(part, fault);
            }
        }

        void Add(string part, RetroException fault)
        {
            faults.Add(fault.Message);
            all[part] = new JsonObject { ["whole"] = false, ["fault"] = fault.Message };
        }
    }

    /// <summary>Reads what a model's folder holds beside the weights, which were read, down to the best model of its training.</summary>
    /// <exception cref="RetroException">One cannot be read, is of another model, or holds a number that is not finite.</exception>
    private static void VerifyOthers(string folder, RetroModel model, IProgress<StageProgress> progress, CancellationToken cancellationToken)
    {
        if (RetroTokenizer.IsIn(folder))
        {
            model.RequireTokenizer(RetroTokenizer.Load(folder, cancellationToken: cancellationToken).Hashes);
        }

        _ = TrainedDocuments.Load(folder);
        if (File.Exists(Path.Combine(folder, Trainer.StateFile)))
        {
            _ = Trainer.Stored(folder);
        }

        RequireFinite(
            [
                .. Directory.EnumerateFiles(folder, "*.safetensors", SearchOption.AllDirectories)
                    .Where(file => Path.GetDirectoryName(file) != folder || !Path.GetFileName(file).StartsWith("model", StringComparison.Ordinal)),
            ],
            progress,
            cancellationToken);
    }

    private static void RequireFinite(string[] files, IProgress<StageProgress> progress, CancellationToken cancellationToken)
    {
        foreach ((int i, string path) in files.Order(StringComparer.Ordinal).Index())
        {
            using Safetensors file = Safetensors.Open(path);
            foreach (SafetensorsEntry entry in file.Entries)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using Tensor tensor = file.Read(entry.Name);
                if (tensor.is_floating_point())
                {
                    using Tensor finite = tensor.isfinite(), every = finite.all();
                    if (!every.item<bool>())
                    {
                        throw new CheckpointException($"Tensor \"{entry.Name}\" of {path} holds a number that is not finite; take the file from a copy.");
                    }
                }
            }

            progress.Report(new StageProgress("", i + 1, files.Length));
        }
    }

    private JsonArray Recompute(ParseResult parsed, string folder, double share, List<string> faults, CancellationToken cancellationToken)
    {
        using Sources sources = new(
            folder, parsed.GetValue(_tokenizer), parsed.GetValue(_embedder), parsed.GetValue(_threads), null, cancellationToken);
        string name = parsed.GetValue(_source)!;
        string[] parts = name is "hybrid" or "rerank" ? ["bm25", "dense", name] : [name];
        INeighborSource[] opened = [.. parts.Select(part => sources.Open(part, parsed.GetValue(_seed)))];
        IReadOnlyList<StageCheck> checks = Stages.Run(
            "recompute",
            progress => DatabaseVerification.Recompute(sources.Database, opened, share, parsed.GetValue(_seed), progress, cancellationToken));
        foreach (StageCheck check in checks)
        {
            Screen.Line($"{check.Stage}: {check.Checked - check.Wrong:#,0} of {check.Checked:#,0} as they are made again{Example(check)}");
            if (check.Wrong > 0 && !check.IsRecall)
            {
                faults.Add($"{check.Stage} is not what its stage makes{Example(check)}; make it again.");
            }
        }

        return new([.. checks.Select(check => new JsonObject
        {
            ["stage"] = check.Stage, ["checked"] = check.Checked, ["wrong"] = check.Wrong, ["example"] = check.Example, ["recall"] = check.IsRecall,
        })]);

        static string Example(StageCheck check) => check.Example is null ? "" : $" ({check.Example})";
    }
}
