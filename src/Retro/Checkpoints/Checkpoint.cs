using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>A model as a folder: <c>config.json</c> and <c>model.safetensors</c>, in several files with an index above a size. Python's safetensors reads it; names are those of <see cref="RetroConfig.Parameters"/>.</summary>
public static class Checkpoint
{
    /// <summary>Name of the configuration's file.</summary>
    public const string ConfigName = "config.json";

    /// <summary>Saves a model. Every file is written beside its place and renamed; weights of an earlier save in the folder are replaced.</summary>
    /// <param name="folder">The folder; made where it is missing.</param>
    /// <param name="model">The model.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <exception cref="CheckpointException">A file cannot be written.</exception>
    public static void Save(string folder, RetroModel model, CheckpointSaveOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(model);
        options ??= new();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.MaximumFileBytes);
        AtomicFile.WriteText(Path.Combine(folder, ConfigName), RetroConfigJson.Write(model.Config), Fault);
        SaveWeights(folder, [.. model.named_parameters().Select(item => new KeyValuePair<string, Tensor>(item.name, item.parameter))], options);
    }

    /// <summary>Loads a model.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <returns>The model, in training mode as a fresh one; call eval() to use it.</returns>
    /// <exception cref="CheckpointException">A file is missing or not valid, or tensors are missing, extra, of another shape or not finite; one message lists all.</exception>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public static RetroModel Load(string folder, CheckpointLoadOptions? options = null)
    {
        RetroConfig config = LoadConfig(folder);
        options ??= new();
        using WeightFiles weights = WeightFiles.Open(folder);
        // Nothing is allocated for a file that does not hold what its configuration says. What branches of one's own add or leave out is known only when they are there.
        Check(folder, config.Parameters().ToDictionary(parameter => parameter.Name, parameter => parameter.Shape), weights, options.Strict && options.Layers is null);
        RetroModel model = new(config, options.Dtype ?? StoredType(weights), options.Device, options.Layers);
        try
        {
            Check(folder, Shapes(model), weights, options.Strict);
            Copy(folder, model, weights, options.RequireFinite);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Loads a folder's weights into a model that there is already.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="model">The model; unchanged where the weights do not fit.</param>
    /// <param name="options">How; type and device are the model's. Null for the defaults.</param>
    /// <exception cref="CheckpointException">A file is missing or not valid, or tensors are missing, extra, of another shape or not finite; one message lists all.</exception>
    public static void LoadWeights(string folder, RetroModel model, CheckpointLoadOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new();
        using WeightFiles weights = WeightFiles.Open(folder);
        Check(folder, Shapes(model), weights, options.Strict);
        Copy(folder, model, weights, options.RequireFinite);
    }

    /// <summary>Loads a folder's configuration alone.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="CheckpointException">It is missing or cannot be read.</exception>
    /// <exception cref="RetroOptionsException">It is not valid.</exception>
    public static RetroConfig LoadConfig(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        string path = Path.Combine(folder, ConfigName);
        try
        {
            return RetroConfigJson.Read(File.ReadAllText(path));
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

    private static void SaveWeights(string folder, List<KeyValuePair<string, Tensor>> tensors, CheckpointSaveOptions options)
    {
        Dictionary<string, string> metadata = new() { ["format"] = "pt" };
        string single = Path.Combine(folder, WeightFiles.SingleName), index = Path.Combine(folder, WeightFiles.IndexName);
        List<List<KeyValuePair<string, Tensor>>> shards = Divide(tensors, options.MaximumFileBytes);
        if (shards.Count == 1)
        {
            // The single file is read before an index is looked for, so the folder is whole at every moment.
            Safetensors.Write(single, shards[0], metadata);
            Delete(index);
            DeleteShards(folder, 0);
            return;
        }

        // Without an index the folder holds no weights, so that a kill on the way cannot leave files of two saves that look like one.
        Delete(index);
        Delete(single);
        JsonObject map = [];
        for (int i = 0; i < shards.Count; i++)
        {
            string name = ShardName(i + 1, shards.Count);
            Safetensors.Write(Path.Combine(folder, name), shards[i], metadata);
            foreach ((string tensor, _) in shards[i])
            {
                map[tensor] = name;
            }
        }

        JsonObject root = new() { ["metadata"] = new JsonObject { ["total_size"] = tensors.Sum(pair => Bytes(pair.Value)) }, ["weight_map"] = map };
        AtomicFile.WriteText(index, root.ToJsonString(new() { WriteIndented = true }) + "\n", Fault);
        DeleteShards(folder, shards.Count);
    }

    private static List<List<KeyValuePair<string, Tensor>>> Divide(List<KeyValuePair<string, Tensor>> tensors, long most)
    {
        List<List<KeyValuePair<string, Tensor>>> shards = [[]];
        long size = 0;
        foreach (KeyValuePair<string, Tensor> tensor in tensors)
        {
            long bytes = Bytes(tensor.Value);
            if (size > 0 && size + bytes > most)
            {
                shards.Add([]);
                size = 0;
            }

            shards[^1].Add(tensor);
            size += bytes;
        }

        return shards;
    }

    private static void DeleteShards(string folder, int keep)
    {
        foreach (string path in Directory.EnumerateFiles(folder, "model-?????-of-?????.safetensors"))
        {
            if (keep == 0 || !Path.GetFileName(path).EndsWith(ShardName(1, keep)["model-00001".Length..], StringComparison.Ordinal))
            {
                Delete(path);
            }
        }
    }

    private static void Delete(string path) => AtomicFile.Guard(path, Fault, () =>
    {
        if (File.Exists(path))
        {
            File.Delete(path);
        }
    });

    private static string ShardName(int number, int count) => string.Create(CultureInfo.InvariantCulture, $"model-{number:D5}-of-{count:D5}.safetensors");

    private static Dictionary<string, IReadOnlyList<long>> Shapes(RetroModel model)
        => model.named_parameters().ToDictionary(pair => pair.name, pair => (IReadOnlyList<long>)pair.parameter.shape);

    private static void Check(string folder, Dictionary<string, IReadOnlyList<long>> expected, WeightFiles weights, bool strict)
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

            SafetensorsEntry entry = weights.FileOf(name).Entry(name);
            if (!entry.Dimensions.SequenceEqual(shape.Select(size => (ulong)size)))
            {
                faults.Add($"shape: {name} has to be [{string.Join(", ", shape)}], is [{string.Join(", ", entry.Dimensions)}]");
            }
            else if (SafetensorsTypes.ToScalarType(entry.Dtype) is not (ScalarType.Float64 or ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16))
            {
                faults.Add($"type: {name} is {entry.Dtype}, not F64, F32, BF16 or F16");
            }
        }

        if (strict)
        {
            faults.AddRange(weights.Entries.Where(entry => !expected.ContainsKey(entry.Name)).Select(entry => $"extra: {entry.Name} [{string.Join(", ", entry.Dimensions)}]").Order(StringComparer.Ordinal));
        }

        if (faults.Count > 0)
        {
            throw new CheckpointException(
                $"The weights of '{folder}' do not fit the model's configuration; {faults.Count} tensors differ:{Environment.NewLine}{string.Join(Environment.NewLine, faults)}");
        }
    }

    private static void Copy(string folder, RetroModel model, WeightFiles weights, bool requireFinite)
    {
        using IDisposable noGrad = no_grad();
        if (requireFinite)
        {
            string[] faulty = [.. model.named_parameters().Select(pair => pair.name).Where(weights.Contains).Where(name => !IsFinite(weights, name))];
            if (faulty.Length > 0)
            {
                throw new CheckpointException($"The weights of '{folder}' hold values that are not finite, in {string.Join(", ", faulty)}; the training that wrote them had diverged. Load an earlier checkpoint.");
            }
        }

        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            if (weights.Contains(name))
            {
                using Tensor value = weights.FileOf(name).Read(name);
                parameter.copy_(value);
            }
        }
    }

    private static bool IsFinite(WeightFiles weights, string name)
    {
        using DisposeScope scope = NewDisposeScope();
        return weights.FileOf(name).Read(name).isfinite().all().item<bool>();
    }

    private static ScalarType StoredType(WeightFiles weights)
    {
        ScalarType? stored = weights.Contains("embedding.weight") ? SafetensorsTypes.ToScalarType(weights.FileOf("embedding.weight").Entry("embedding.weight").Dtype) : null;
        return stored is ScalarType.Float64 or ScalarType.BFloat16 ? stored.Value : ScalarType.Float32;
    }

    private static long Bytes(Tensor tensor) => tensor.numel() * tensor.element_size();

    private static CheckpointException Fault(string message, Exception exception) => new(message, exception);
}
