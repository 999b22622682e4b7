using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>
/// A model as a folder: <c>config.json</c> and <c>model.safetensors</c>, or several files with an index above a size and where a part of the model is frozen.
/// Python's safetensors reads it; names are those that named_parameters() of the model gives.
/// </summary>
public static class Checkpoint
{
    /// <summary>Name of the configuration's file.</summary>
    public const string ConfigName = "config.json";

    /// <summary>The name of a model's embedding, whose type is the model's.</summary>
    internal const string Embedding = "embedding.weight";

    /// <summary>The file of what a RETROfit adds to its decoder, which may lie beside a checkpoint of the whole.</summary>
    internal const string Additions = "retrofit.safetensors";

    /// <summary>
    /// Saves a model. Every file is written beside its place, and all take their names as one when the last is whole: a fault, a cancellation or a kill leaves
    /// the old checkpoint or the new one, never a mixture, and the disk holds both until then.
    /// Weights of an earlier save in the folder are replaced, and what <see cref="Pretrained.Retrofit.Save"/> wrote there goes: it would be of other weights.
    /// What a training has left there besides stays, its state and its best model: its trainer's Load tells where the model is not its own any more.
    /// Parameters that are frozen (requires_grad false) beside others lie in files of their own, and a file that the folder holds with the same bytes stays.
    /// </summary>
    /// <param name="folder">The folder; made where it is missing.</param>
    /// <param name="model">The model.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="progress">Stage "save weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <exception cref="CheckpointException">A file cannot be written, or the folder holds a model that is none of ours, such as one from Hugging Face: it
    /// would be lost. Or a training, or another saving, has the folder, and is named. Or the model has no values, on the device meta.</exception>
    /// <exception cref="RetroOptionsException">An option makes no sense.</exception>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    public static void Save(
        string folder,
        RetroModel model,
        CheckpointSaveOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(model);
        options ??= new();
        options.Validate();
        SaveAfter(null, folder, model, options, progress: progress, cancellationToken: cancellationToken);
    }

    /// <summary>Saves a model of which an earlier checkpoint, in another folder, may hold the frozen part.</summary>
    internal static void SaveAfter(
        string? earlier,
        string folder,
        RetroModel model,
        CheckpointSaveOptions options,
        IReadOnlyDictionary<string, string>? notes = null,
        ComparedFiles? compared = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        RequireReplaceable(folder);
        using WriterLock writing = WriterLock.TakeOfCheckpoint(folder, "save a model");
        using StagedFiles staged = Begin(folder);
        StageCounter counter = Stage(staged, folder, model, earlier, options, notes, compared, progress, cancellationToken);
        staged.Commit();
        counter.End();
    }

    /// <summary>Begins what is saved together with a model.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="CheckpointException">It holds a model that is none of ours.</exception>
    internal static StagedFiles Begin(string folder)
    {
        RequireReplaceable(folder);
        return new(folder, CheckpointException.Of);
    }

    /// <summary>Refuses a folder that holds a model which is none of ours, before anything is left in it.</summary>
    /// <exception cref="CheckpointException">It does.</exception>
    internal static void RequireReplaceable(string folder) => WeightFolder.RequireReplaceable(folder, "a checkpoint of Retro", RetroConfigJson.IsOne);

    /// <summary>
    /// Writes a model's files beside their places. Those of frozen parameters, which a training would write with every checkpoint, stay where they are there,
    /// and have a second name where an earlier checkpoint holds them.
    /// </summary>
    /// <param name="staged">Takes the files.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="model">The model.</param>
    /// <param name="earlier">The folder of an earlier checkpoint; null: there is none.</param>
    /// <param name="options">How.</param>
    /// <param name="notes">What the files of trained parameters say besides in their metadata; null: nothing.</param>
    /// <param name="compared">The files of frozen parameters that are known; null: none are.</param>
    /// <param name="progress">Whom to tell.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <returns>What tells that all are saved, once they have their names.</returns>
    internal static StageCounter Stage(
        StagedFiles staged,
        string folder,
        RetroModel model,
        string? earlier,
        CheckpointSaveOptions options,
        IReadOnlyDictionary<string, string>? notes,
        ComparedFiles? compared,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        ILookup<bool, KeyValuePair<string, Tensor>> tensors = Stored(model.Undisposed).ToLookup(pair => pair.Value is Parameter { requires_grad: false });
        List<List<KeyValuePair<string, Tensor>>> frozen = Divide(tensors[true], options.MaximumFileBytes);
        List<List<KeyValuePair<string, Tensor>>> shards = [.. frozen, .. Divide(tensors[false], options.MaximumFileBytes)];
        string[] names = shards.Count == 1
            ? [WeightFolder.SingleName]
            : [.. Enumerable.Range(1, shards.Count).Select(number => ShardName(number, shards.Count))];
        StageCounter counter = Safetensors.Saving(shards.Sum(shard => shard.Count), progress, cancellationToken);
        Dictionary<string, string> metadata = new() { ["format"] = "pt" };
        if (model.TokenizerHash is { } tokenizer)
        {
            metadata[WeightFolder.TokenizerKey] = tokenizer;
        }

        Dictionary<string, string> ofTrained = new(metadata.Concat(notes ?? new Dictionary<string, string>()));
        HashSet<string> kept = new(StringComparer.Ordinal);
        for (int i = 0; i < names.Length; i++)
        {
            string path = Path.Combine(folder, names[i]);
            if (i < frozen.Count && IsThere(path, shards[i]))
            {
                shards[i].ForEach(_ => counter.Next());
            }
            else
            {
                Safetensors.Stage(staged, path, shards[i], i < frozen.Count ? metadata : ofTrained, counter);
            }
        }

        string index = Path.Combine(folder, WeightFolder.IndexName);
        if (shards.Count > 1)
        {
            JsonObject map = [];
            foreach ((string name, List<KeyValuePair<string, Tensor>> shard) in names.Zip(shards))
            {
                shard.ForEach(tensor => map[tensor.Key] = name);
            }

            JsonObject sizes = new() { ["total_size"] = shards.Sum(shard => shard.Sum(pair => Bytes(pair.Value))) };
            JsonObject root = new() { ["metadata"] = sizes, ["weight_map"] = map };
            staged.WriteText(index, root.ToJsonString(new() { WriteIndented = true }) + "\n");
        }

        staged.WriteText(Path.Combine(folder, ConfigName), RetroConfigJson.Write(model.Config));
        foreach (string path in WeightFolder.FilesOf(folder).Append(Path.Combine(folder, Additions)).Where(path => !kept.Contains(path)))
        {
            staged.Remove(path);
        }

        cancellationToken.ThrowIfCancellationRequested();
        return counter;

        bool IsThere(string path, List<KeyValuePair<string, Tensor>> shard)
        {
            HashSet<string>? known = compared?.Of(shard);
            if (Safetensors.IsWritten(path, shard, metadata, known, cancellationToken))
            {
                return kept.Add(path);
            }

            return earlier is not null
                && Path.Combine(earlier, Path.GetFileName(path)) is var other
                && Safetensors.IsWritten(other, shard, metadata, known, cancellationToken)
                && staged.Link(path, other);
        }
    }

    /// <summary>Makes sure that a folder can take a checkpoint, before the work is done that it is to keep.</summary>
    /// <param name="folder">The folder; made where it is missing.</param>
    /// <exception cref="CheckpointException">It cannot be made or written, or holds a model that is none of ours.</exception>
    internal static void RequireWritable(string folder)
    {
        RequireReplaceable(folder);
        try
        {
            Directory.CreateDirectory(folder);
            File.Create(Path.Combine(folder, $".writable-{Guid.NewGuid():N}"), 1, FileOptions.DeleteOnClose).Dispose();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(
                $"No checkpoint can be written into '{folder}' ({exception.Message}); name a folder that this user may write.", exception);
        }
    }

    /// <summary>Loads a model.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="progress">Stages "check weights" where the options ask for it and "load weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <returns>The model, in training mode as a fresh one; call eval() to use it.</returns>
    /// <exception cref="CheckpointException">A file is missing or not valid, or tensors are missing, extra, of another shape or not finite; one message lists
    /// all.</exception>
    /// <exception cref="RetroOptionsException">An option is not valid.</exception>
    public static RetroModel Load(
        string folder, CheckpointLoadOptions? options = null, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        options ??= new();
        options.Validate();
        RetroConfig config = LoadConfig(folder);
        using WeightFolder weights = WeightFolder.Open(folder);
        // Nothing is allocated for a file that does not hold what its configuration says. What custom branches add or leave out is known only when they
        // are there.
        Check(
            folder,
            config.Parameters().ToDictionary(parameter => parameter.Name, parameter => parameter.Shape),
            weights,
            options.Strict && options.Layers is null);
        RetroModel model;
        using (options.Strict ? Initialization.Skip() : null)
        {
            model = new(config, options.Dtype ?? StoredType(weights), options.Device, options.Layers) { TokenizerHash = weights.TokenizerHash };
        }

        try
        {
            Check(folder, model, weights, options.Strict);
            Copy(folder, model, weights, options.RequireFinite, progress, cancellationToken);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Loads a folder's configuration alone.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="CheckpointException">It is missing, cannot be read or is not valid.</exception>
    public static RetroConfig LoadConfig(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        StagedFiles.Finish(folder, CheckpointException.Of);
        string path = Path.Combine(folder, ConfigName);
        try
        {
            return RetroConfigJson.Read(SmallFile.ReadText(path, SmallFile.Configuration));
        }
        catch (CheckpointException exception)
        {
            throw new CheckpointException($"'{path}': {exception.Message}", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"'{path}' cannot be read: {exception.Message} Point at the folder that Checkpoint.Save wrote.", exception);
        }
    }

    private static List<List<KeyValuePair<string, Tensor>>> Divide(IEnumerable<KeyValuePair<string, Tensor>> tensors, long most)
    {
        List<List<KeyValuePair<string, Tensor>>> shards = [];
        long size = 0;
        foreach (KeyValuePair<string, Tensor> tensor in tensors)
        {
            long bytes = Bytes(tensor.Value);
            if (shards.Count == 0 || (size > 0 && size + bytes > most))
            {
                shards.Add([]);
                size = 0;
            }

            shards[^1].Add(tensor);
            size += bytes;
        }

        return shards;
    }

    private static string ShardName(int number, int count) => string.Create(CultureInfo.InvariantCulture, $"model-{number:D5}-of-{count:D5}.safetensors");

    /// <summary>What custom branches keep beside their parameters, such as running means; the library's own keep nothing.</summary>
    internal static IEnumerable<KeyValuePair<string, Tensor>> Buffers(RetroModel model) => model.state_dict().Where(pair => pair.Value is not Parameter);

    /// <summary>All that a checkpoint holds of a model.</summary>
    internal static IEnumerable<KeyValuePair<string, Tensor>> Stored(RetroModel model)
        => model.named_parameters().Select(pair => KeyValuePair.Create<string, Tensor>(pair.name, pair.parameter)).Concat(Buffers(model));

    private static void Check(string folder, RetroModel model, WeightFolder weights, bool strict)
    {
        Dictionary<string, Tensor> buffers = Buffers(model).ToDictionary();
        Dictionary<string, IReadOnlyList<long>> shapes = Stored(model).ToDictionary(pair => pair.Key, pair => (IReadOnlyList<long>)pair.Value.shape);
        Check(folder, shapes, weights, strict, [.. buffers.Keys]);
    }

    /// <summary>Refuses weights that do not have the shapes that are expected; one message lists every fault. Buffers may be of whole numbers.</summary>
    internal static void Check(
        string folder, Dictionary<string, IReadOnlyList<long>> expected, WeightFolder weights, bool strict, HashSet<string>? buffers = null)
    {
        List<string> faults = [];
        foreach ((string name, IReadOnlyList<long> shape) in expected)
        {
            if (!weights.Contains(name))
            {
                if (strict)
                {
                    faults.Add($"missing: {name} [{string.Join(", ", shape)}]");
                }

                continue;
            }

            SafetensorsEntry entry = weights.Entry(name);
            if (!entry.Dimensions.SequenceEqual(shape.Select(size => (ulong)size)))
            {
                faults.Add($"shape: {name} has to be [{string.Join(", ", shape)}], is [{string.Join(", ", entry.Dimensions)}]");
            }
            else if (buffers?.Contains(name) != true
                && SafetensorsTypes.ToScalarType(entry.Dtype) is not (ScalarType.Float64 or ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16))
            {
                faults.Add($"type: {name} is {entry.Dtype}, not F64, F32, BF16 or F16");
            }
        }

        if (strict)
        {
            faults.AddRange(weights.Names.Where(name => !expected.ContainsKey(name))
                .Select(weights.Entry)
                .Select(entry => $"extra: {entry.Name} [{string.Join(", ", entry.Dimensions)}]")
                .Order(StringComparer.Ordinal));
        }

        if (faults.Count > 0)
        {
            throw new CheckpointException(
                $"The weights of '{folder}' do not fit the model's configuration; {faults.Count} tensors "
                    + $"differ:{Environment.NewLine}{string.Join(Environment.NewLine, faults)}");
        }
    }

    private static void Copy(
        string folder, RetroModel model, WeightFolder weights, bool requireFinite, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        KeyValuePair<string, Tensor>[] stored = [.. Stored(model).Where(pair => weights.Contains(pair.Key))];
        using IDisposable noGrad = no_grad();
        if (requireFinite)
        {
            StageCounter checks = new("check weights", stored.Length, progress, cancellationToken);
            string[] faulty = [.. stored.Select(pair => pair.Key).Where(name => !IsFinite(weights, name, checks))];
            if (faulty.Length > 0)
            {
                throw new CheckpointException(
                    $"The weights of '{folder}' hold values that are not finite, in {string.Join(", ", faulty)}; the training that wrote them had "
                        + "diverged. Load an earlier checkpoint.");
            }

            checks.End();
        }

        StageCounter counter = new("load weights", stored.Length, progress, cancellationToken);
        foreach ((string name, Tensor tensor) in stored)
        {
            counter.Next();
            weights.CopyTo(name, tensor);
        }

        counter.End();
    }

    private static bool IsFinite(WeightFolder weights, string name, StageCounter counter)
    {
        counter.Next();
        using DisposeScope scope = NewDisposeScope();
        return weights.Read(name).isfinite().all().item<bool>();
    }

    /// <summary>The type in which <see cref="Load"/> computes where it is told none: that of the stored weights.</summary>
    /// <param name="folder">The folder.</param>
    /// <returns>Float32, float64 or bfloat16.</returns>
    /// <exception cref="CheckpointException">Its weights are missing or damaged.</exception>
    public static ScalarType StoredType(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        StagedFiles.Finish(folder, CheckpointException.Of);
        using WeightFolder weights = WeightFolder.Open(folder);
        return StoredType(weights);
    }

    private static ScalarType StoredType(WeightFolder weights)
    {
        // What is added to a decoder has no embedding of its own.
        string? name = weights.Contains(Embedding) ? Embedding : weights.Names is [string first, ..] ? first : null;
        return TypeOf(name is null ? null : weights.Dtype(name));
    }

    /// <summary>The type of a model whose weights are stored in one: as it is, float32 where no model computes in it.</summary>
    internal static ScalarType TypeOf(string? dtype)
    {
        ScalarType? stored = dtype is null ? null : SafetensorsTypes.ToScalarType(dtype);
        return stored is ScalarType.Float64 or ScalarType.BFloat16 ? stored.Value : ScalarType.Float32;
    }

    private static long Bytes(Tensor tensor) => tensor.numel() * tensor.element_size();
}
