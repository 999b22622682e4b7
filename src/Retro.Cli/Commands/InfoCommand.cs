using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli.Commands;

/// <summary>`retro info`: what a folder holds.</summary>
internal sealed class InfoCommand : Verb
{
    private readonly Argument<string> _folder = new("folder")
    {
        Description = "A folder that the tool has written, or a database, a model, an embedder or a tokenizer.",
    };

    public InfoCommand()
        : base("info", "Says what a folder holds: tokenizer, databases and what was made of them, models, and what retro.json remembers.",
            "retro info work", "retro info work/database --json info.json")
    {
        Add(_folder);
        AddOptions();
    }

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string folder = parsed.GetValue(_folder)!;
        if (!Directory.Exists(folder))
        {
            throw new RetroException(File.Exists(folder) ? $"{folder} is a file; name a folder." : $"There is no folder {folder}.");
        }

        JsonObject all = [];
        Workspace workspace = new(folder);
        string[] parts = [.. workspace.Parts()];
        foreach (string part in new[] { folder, workspace.Tokenizer }.Concat(parts[1..]))
        {
            Describe(part, all);
        }

        if (RetroTokenizer.IsIn(workspace.Tokenizer))
        {
            RetroTokenizer tokenizer = RetroTokenizer.Load(workspace.Tokenizer, cancellationToken: cancellationToken);
            foreach (string part in new[] { workspace.Database, workspace.HeldOut }.Where(part => File.Exists(Path.Combine(part, DatabaseManifest.FileName))))
            {
                using ChunkDatabase database = ChunkDatabase.Open(part, cancellationToken: cancellationToken);
                if (!tokenizer.Hashes.Contains(database.Manifest.TokenizerHash))
                {
                    Screen.Line($"{workspace.Tokenizer} is not the tokenizer of {part}, which cannot be read with it: put its own back, or build it anew.");
                }
            }
        }

        if (Sources.IsEmbedder(workspace.Embedder))
        {
            DescribeEmbedder(workspace.Embedder, all, cancellationToken);
        }

        if (File.Exists(workspace.SettingsPath))
        {
            foreach (string verb in Tool.MakeRoot().Subcommands.Select(command => command.Name))
            {
                if (workspace.Section(verb) is { } section)
                {
                    Screen.Line($"remembered for {Tool.Name} {verb}: {string.Join(' ', section.SelectMany(Typed))}");
                    all[$"remembered for {verb}"] = section.DeepClone();
                }
            }
        }

        if (all.Count == 0)
        {
            throw new RetroException($"{folder} holds nothing that {Tool.Name} reads: no tokenizer, database or model.");
        }

        WriteJson(parsed, all);
        return Task.CompletedTask;
    }

    private static IEnumerable<string> Typed(KeyValuePair<string, JsonNode?> option)
        => (option.Value is JsonArray many ? [.. many] : new[] { option.Value }).Select(value => Shell.Option($"--{option.Key}", value?.ToString() ?? ""));

    private static void Describe(string folder, JsonObject all)
    {
        if (File.Exists(Path.Combine(folder, DatabaseManifest.FileName)))
        {
            using ChunkDatabase database = ChunkDatabase.Open(folder);
            DatabaseManifest manifest = database.Manifest;
            Screen.Line($"database {folder}: {Amount.Of(manifest.DocumentCount, "document")}, {manifest.ByteCount:#,0} bytes of text,");
            string kind = manifest.TokenizerKind;
            Screen.Line($"  {Amount.Of(manifest.ChunkCount, "chunk")} of {manifest.ChunkLength} tokens; {kind} of {manifest.VocabularySize:#,0} tokens");
            foreach (DatabaseFile file in database.Files)
            {
                string details = string.Join(", ", file.Details.Select(detail => $"{detail.Key} {Passages.Shorten(detail.Value, 16)}"));
                Screen.Line($"  {file.Name}: {file.Bytes:#,0} bytes{(details.Length > 0 ? $"; {details}" : "")}");
            }

            all[$"database {folder}"] = new JsonObject
            {
                ["documents"] = manifest.DocumentCount,
                ["chunks"] = manifest.ChunkCount,
                ["chunkLength"] = manifest.ChunkLength,
                ["tokens"] = manifest.TokenCount,
                ["bytes"] = manifest.ByteCount,
                ["vocabulary"] = manifest.VocabularySize,
                ["segments"] = database.SegmentCount,
                ["files"] = new JsonArray([.. database.Files.Select(file => JsonValue.Create(file.Name))]),
            };
        }
        else if (File.Exists(Path.Combine(folder, Checkpoint.ConfigName)) && ModelFolder.IsOurs(folder))
        {
            RetroConfig config = Checkpoint.LoadConfig(folder);
            long total = config.CountParameters().Total;
            string reads = config.Retrieval is { } reading
                ? $"RETRO reading {reading.Neighbors} neighbors of {reading.RetrievedLength} tokens per chunk of {reading.ChunkLength}"
                : "decoder without retrieval";
            string copying = Path.Combine(folder, ModelFolder.CopyingFile);
            if (File.Exists(copying))
            {
                (CopyReaderOptions options, bool fromAnywhere) = CopyReader.Describe(copying);
                reads = $"a decoder, and {ModelFolder.ReadByCopying(options, fromAnywhere)}";
            }

            Screen.Line($"model {folder}: {total:#,0} parameters, {config.Layers} layers of width {config.Width}, {config.VocabularySize:#,0} tokens; {reads}");
            all[$"model {folder}"] = new JsonObject
            {
                ["parameters"] = total,
                ["layers"] = config.Layers,
                ["width"] = config.Width,
                ["vocabulary"] = config.VocabularySize,
                ["retrieval"] = config.HasRetrieval,
                ["copying"] = File.Exists(copying),
            };
            Screen.Note($"  {(File.Exists(Path.Combine(folder, Trainer.StateFile)) ? "its training can go on (--resume)" : "it has no state of a training")}");
        }
        else
        {
            if (File.Exists(Path.Combine(folder, Checkpoint.ConfigName)))
            {
                DescribePretrained(folder, all);
            }

            DescribeTokenizer(folder, all);
        }
    }

    // A model of others', or the reason why it is none that is read here.
    private static void DescribePretrained(string folder, JsonObject all)
    {
        try
        {
            PretrainedDescription decoder = PretrainedDecoder.Describe(folder);
            RetroConfig config = decoder.Config;
            long total = config.CountParameters().Total;
            string types = string.Join(", ", decoder.StoredTypes);
            Screen.Line($"decoder {folder}: {decoder.Family} of {total:#,0} parameters, {config.Layers} layers of width {config.Width},");
            string context = decoder.ContextLength is { } length ? $"; trained to read {length:#,0} tokens at once" : "";
            Screen.Line($"  {config.VocabularySize:#,0} tokens; stored as {types}{context}");
            all[$"decoder {folder}"] = new JsonObject
            {
                ["family"] = decoder.Family,
                ["parameters"] = total,
                ["layers"] = config.Layers,
                ["width"] = config.Width,
                ["vocabulary"] = config.VocabularySize,
                ["contextLength"] = decoder.ContextLength,
                ["storedTypes"] = new JsonArray([.. decoder.StoredTypes.Select(type => JsonValue.Create(type))]),
            };
        }
        catch (CheckpointException asDecoder)
        {
            try
            {
                DescribeEmbedder(folder, all, default);
            }
            catch (RetroException asEmbedder)
            {
                Screen.Line($"model {folder}, which is not read here.");
                Screen.Line($"  As a decoder: {asDecoder.Message}");
                Screen.Line($"  As an embedder: {asEmbedder.Message}");
                all[$"model {folder}"] = new JsonObject { ["asDecoder"] = asDecoder.Message, ["asEmbedder"] = asEmbedder.Message };
            }
        }
    }

    private static void DescribeEmbedder(string folder, JsonObject all, CancellationToken cancellationToken)
    {
        using TextEmbedder embedder = TextEmbedder.Load(folder, cancellationToken: cancellationToken);
        Screen.Line($"embedder {folder}: keys of {embedder.Dimensions} numbers");
        if (Sources.PromptsOf(embedder) is { } prompts)
        {
            Screen.Note($"  {prompts}");
        }

        all[$"embedder {folder}"] = new JsonObject { ["dimensions"] = embedder.Dimensions, ["identity"] = embedder.Identity };
    }

    private static void DescribeTokenizer(string folder, JsonObject all)
    {
        if (RetroTokenizer.IsIn(folder))
        {
            RetroTokenizer tokenizer = RetroTokenizer.Load(folder);
            Screen.Line($"tokenizer {folder}: {tokenizer.Kind}, {tokenizer.VocabularySize:#,0} tokens");
            all[$"tokenizer {folder}"] = new JsonObject { ["kind"] = tokenizer.Kind, ["vocabulary"] = tokenizer.VocabularySize, ["hash"] = tokenizer.Hash };
        }
    }
}
