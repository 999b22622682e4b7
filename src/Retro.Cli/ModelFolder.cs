using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Tokenizers;
using Retro.Training;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Cli;

/// <summary>A trained model by the folder that a command line names.</summary>
internal static class ModelFolder
{
    /// <summary>The file of a reader that copies, beside the decoder that it was trained for.</summary>
    public const string CopyingFile = "copying.safetensors";

    /// <summary>In retro.json: what is known of the decoder that a model was made of, and what its configuration does not say.</summary>
    private const string Base = "base", Context = "context";

    /// <summary>Verbs that make models.</summary>
    private static readonly string[] s_makers = ["train", "fit"];

    /// <summary>Options of the verbs that make models which hold for those that use them, too.</summary>
    private static readonly string[] s_taken = ["database", "tokenizer", "embedder", "source"];

    /// <summary>Loads a model of the tool's, with what its training took as far as that is known, or a pretrained decoder as it is.</summary>
    /// <param name="path">The folder that was named.</param>
    /// <param name="dtype">Type to compute in; null: <see cref="BestType"/>.</param>
    /// <param name="device">Where; null: on the processor.</param>
    /// <param name="tokenizer">The tokenizer of what it is to read.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>The model, which is the caller's, and the tokenizer that it writes with.</returns>
    /// <exception cref="RetroException">It is missing or damaged, or was trained with another tokenizer.</exception>
    public static (TrainedModel Trained, RetroTokenizer Tokenizer) Load(
        string path, ScalarType? dtype, Device? device, RetroTokenizer tokenizer, CancellationToken cancellationToken)
    {
        Workspace workspace = Workspace.OfModel(path);
        tokenizer = OwnTokenizer(workspace.Model, tokenizer);
        CheckpointLoadOptions options = new() { Dtype = dtype ?? BestType(workspace.Model, device), Device = device };
        bool isOurs = IsOurs(path);
        (RetroModel model, int? context) = Stages.Run($"load {workspace.Model}", progress => isOurs
            ? (Checkpoint.Load(workspace.Model, options, progress, cancellationToken), ContextLength(workspace))
            : Pretrained(workspace.Model, options, tokenizer, progress, cancellationToken));
        model.RequireTokenizer(tokenizer.Hashes);
        model.eval();
        (long steps, TimeSpan time) = Training(workspace);
        return (new(model, steps, time, []) { Longest = new[] { model.Config.MaximumLength, context }.Min() }, tokenizer);
    }

    /// <summary>Tokens that the decoder of a model of the tool's was made to read at once, where it would take more; null: that is not known.</summary>
    /// <param name="workspace">The model's.</param>
    public static int? ContextLength(Workspace workspace)
        => int.TryParse(workspace.Section(Base)?[Context]?.ToString(), CultureInfo.InvariantCulture, out int length) ? length : null;

    /// <summary>Keeps how many tokens a model was made to read at once.</summary>
    /// <param name="workspace">The model's.</param>
    /// <param name="length">How many; null: what it takes.</param>
    public static void KeepContextLength(Workspace workspace, int? length)
        => workspace.Write(Base, length is null ? null : new() { [Context] = length });

    /// <summary>The type to compute a model in: as it is stored, but in float32 where the processor has no products of bfloat16.</summary>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <param name="device">Where; null: on the processor.</param>
    /// <exception cref="CheckpointException">It is missing or damaged.</exception>
    public static ScalarType BestType(string folder, Device? device)
    {
        ScalarType stored = Checkpoint.StoredType(folder);
        return stored == ScalarType.BFloat16 && device is null ? TrainingOptions.PreferredDtype() : stored;
    }

    /// <summary>Whether a folder holds a model of the tool's, and not one of Hugging Face.</summary>
    /// <param name="path">The folder that was named.</param>
    public static bool IsOurs(string path)
    {
        try
        {
            _ = Checkpoint.LoadConfig(Workspace.OfModel(path).Model);
            return true;
        }
        catch (RetroException)
        {
            return false;
        }
    }

    /// <summary>
    /// The tokenizer that a model writes with: its own, which has the ids of the database's, and says besides what ends a text. A folder that has none is taken
    /// as it is.
    /// </summary>
    /// <param name="model">The model's own folder, or a file.</param>
    /// <param name="tokenizer">The tokenizer of what it is to read.</param>
    /// <exception cref="RetroException">It was trained with another tokenizer, whose ids mean other texts.</exception>
    public static RetroTokenizer OwnTokenizer(string model, RetroTokenizer tokenizer)
    {
        RetroTokenizer own = RetroTokenizer.IsIn(model) ? RetroTokenizer.Load(model) : tokenizer;
        return own.Hash == tokenizer.Hash ? own
            : throw new RetroException(
                $"{model} was trained with another tokenizer, {own.Kind} of {own.VocabularySize} tokens with the hash {own.Hash}; that of the database is "
                    + $"{tokenizer.Kind} of {tokenizer.VocabularySize} tokens with the hash {tokenizer.Hash}. Use a database that was built with the model's: "
                    + $"{Tool.Name} build {Shell.Option("--tokenizer", model)}.");
    }

    /// <summary>Loads what copies on top of a model.</summary>
    /// <param name="path">The folder that was named.</param>
    /// <param name="trained">The model.</param>
    /// <param name="sources">The database that is read from.</param>
    /// <returns>The reader, which is the caller's; null: there is none.</returns>
    public static CopyReader? Copying(string path, TrainedModel trained, Sources sources)
        => CopyingOf(Workspace.OfModel(path)) is not { } file ? null
            : CopyReader.Load(file, trained.Model, CopyReader.Describe(file).FromAnywhere ? sources.Runs() : null);

    /// <summary>Whether something copies on top of a model.</summary>
    /// <param name="path">The folder that was named.</param>
    public static bool Copies(string path) => CopyingOf(Workspace.OfModel(path)) is not null;

    /// <summary>The file of what copies on top of a model; null: nothing does.</summary>
    /// <param name="workspace">The model's.</param>
    /// <exception cref="RetroException">Something was to, and is gone: alone, the model would pass for what it is not.</exception>
    public static string? CopyingOf(Workspace workspace)
    {
        string file = Path.Combine(workspace.Model, CopyingFile);
        return File.Exists(file) ? file
            : workspace.Section("fit")?["reader"]?.ToString() != Commands.FitCommand.Copying ? null
            : throw new RetroException($"{workspace.Model} was fitted as a reader that copies, and {CopyingFile} in it is gone; put it back, or fit it again.");
    }

    /// <summary>What a reader that copies is called: in tables, and among words.</summary>
    /// <param name="fromAnywhere">Whether it looks anywhere in the database, too.</param>
    public static string NameOfCopying(bool fromAnywhere) => fromAnywhere ? "copying from anywhere" : "copying";

    /// <summary>What a reader that copies reads.</summary>
    /// <param name="options">Its settings.</param>
    /// <param name="fromAnywhere">Whether it looks anywhere in the database, too.</param>
    public static string ReadByCopying(CopyReaderOptions options, bool fromAnywhere)
        => $"a reader that copies from {options.Neighbors} neighbors, found anew every {options.Stride} tokens"
            + (fromAnywhere ? ", and from anywhere in the database" : "");

    /// <summary>What a model's retro.json says for a verb that uses the model: the database it was trained on, and how it retrieved.</summary>
    /// <param name="path">The folder that was named.</param>
    /// <returns>The folder's workspace, and values by option.</returns>
    public static (Workspace Workspace, JsonObject Section) Made(string path)
    {
        Workspace workspace = Workspace.FindModel(path) ?? new(path);
        JsonObject taken = [];
        foreach (JsonObject section in s_makers.Select(workspace.Section).OfType<JsonObject>())
        {
            // A decoder, which was trained with no source, can be read beside neighbors all the same.
            foreach ((string name, JsonNode? value) in section.Where(pair => s_taken.Contains(pair.Key) && pair.Value?.ToString() != "none"))
            {
                taken[name] = value?.DeepClone();
            }
        }

        if (!taken.ContainsKey("database") && Directory.Exists(workspace.Database))
        {
            taken["database"] = Path.GetFullPath(workspace.Database);
        }

        return (workspace, taken);
    }

    /// <summary>What goes on with the training that was begun in a folder, or begins it again, as it is typed; null: none was.</summary>
    /// <param name="path">The folder that was named.</param>
    public static string? Begun(string path)
    {
        Workspace workspace = new(path);
        string resume = File.Exists(Path.Combine(workspace.Model, Trainer.StateFile)) ? " --resume" : "";
        return Array.Find(s_makers, maker => workspace.Section(maker) is not null) is { } verb
            ? $"{Tool.Name} {verb} {Shell.Option("--out", path)}{resume}"
            : null;
    }

    /// <summary>Whether a model was fitted to answer questions.</summary>
    /// <param name="path">The folder that was named.</param>
    public static bool Answers(string path)
        => (Workspace.FindModel(path) ?? new(path)).Section("fit")?["task"]?.ToString() == CommonOptions.Answering;

    /// <summary>
    /// What reads the passages of a question: a RETRO as neighbors, a decoder in front of it, as many in windows of as many tokens as it was fitted to.
    /// </summary>
    /// <param name="path">The folder that was named.</param>
    /// <param name="trained">The model.</param>
    /// <param name="sources">The database that its passages are cut from.</param>
    /// <param name="neighbors">How many a RETRO reads; null: as many as it was trained with.</param>
    /// <param name="window">Tokens that a decoder reads at most where it was not fitted to others; null: the usual.</param>
    public static IReader ReaderOfPassages(string path, TrainedModel trained, Sources sources, int? neighbors = null, int? window = null)
    {
        if (trained.Model.Config.HasRetrieval)
        {
            return new RetroReader(trained.Model, neighbors);
        }

        JsonObject? fit = (Workspace.FindModel(path) ?? new(path)).Section("fit");
        int chunk = sources.Database.ChunkLength;
        (int? passages, int? own) = fit?["reader"]?.ToString() == Commands.FitCommand.InContext ? (Number("k"), Number("window")) : default;
        int tokens = own ?? window ?? CommonOptions.UsualWindowLength(chunk, trained.Longest);
        return new InContextReader(trained.Model, sources.Tokenizer, AnsweringData.InContext(passages ?? AnsweringData.UsualPassages, chunk, tokens));

        int? Number(string option) => int.TryParse(fit[option]?.ToString(), CultureInfo.InvariantCulture, out int number) ? number : null;
    }

    /// <summary>The source of the neighbors that a model was trained with, as --source names it; null: it reads none.</summary>
    /// <param name="path">The folder that was named.</param>
    /// <param name="trained">The model.</param>
    public static string? Source(string path, TrainedModel trained)
        => !trained.Model.Config.HasRetrieval && !Copies(path) ? null
            : Made(path).Section["source"]?.ToString() ?? "bm25";

    /// <summary>The folders of the databases that a model was trained on, and the decoder below it, as far as they are there.</summary>
    /// <param name="path">The folder that was named.</param>
    public static IReadOnlyList<string> TrainedOn(string path)
    {
        List<string> databases = [];
        HashSet<string> seen = [];
        for (string? next = path; next is not null && seen.Add(Path.GetFullPath(next)) && IsOurs(next);)
        {
            (Workspace workspace, JsonObject section) = Made(next);
            if (section["database"]?.ToString() is { } named && Workspace.FindDatabase(workspace.Locate(named)) is { } database)
            {
                databases.Add(Path.GetFullPath(database.Database));
            }

            next = workspace.Section("fit")?["base"]?.ToString() is { } below ? workspace.Locate(below) : null;
        }

        return databases;
    }

    private static (RetroModel Model, int? ContextLength) Pretrained(
        string folder, CheckpointLoadOptions options, RetroTokenizer tokenizer, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        PretrainedDecoder decoder = PretrainedDecoder.Load(folder, options.Dtype!.Value, options.Device, progress, cancellationToken);
        try
        {
            decoder.RequireTokenizer(tokenizer);
            return (decoder.Model, decoder.Origin.ContextLength); // the model is the caller's from here on
        }
        catch
        {
            decoder.Dispose();
            throw;
        }
    }

    // Worth a column of a table: a model can be used without the state of its training, and beside a damaged one.
    private static (long Steps, TimeSpan Time) Training(Workspace workspace)
    {
        try
        {
            return File.Exists(Path.Combine(workspace.Model, Trainer.StateFile)) && Trainer.Stored(workspace.Model) is var stored
                ? (stored.Steps, stored.Elapsed)
                : default;
        }
        catch (CheckpointException)
        {
            return default;
        }
    }
}
