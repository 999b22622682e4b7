using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>A Hugging Face folder that a decoder came from.</summary>
internal sealed class HuggingFaceOrigin : PretrainedOrigin
{
    private static readonly string[] s_storedTypes = ["F64", "F32", "F16", "BF16"];

    // What stands beside the weights in such a folder and belongs to the model.
    private static readonly string[] s_kept = ["config.json", WeightFolder.IndexName, .. TokenizerFiles.Names];

    private readonly IReadOnlyList<(string File, IReadOnlyDictionary<string, string>? Metadata, string[] Names)> _files;
    private readonly IReadOnlyList<(string Name, byte[] Content)> _kept;

    private HuggingFaceOrigin(
        string path,
        string family,
        string hash,
        IReadOnlyDictionary<string, ParameterHash> parameters,
        int? contextLength,
        IReadOnlyList<StoredTensor> tensors,
        IReadOnlyDictionary<string, string> dtypes,
        IReadOnlyDictionary<string, StoredBuffer> buffers,
        IReadOnlyList<(string File, IReadOnlyDictionary<string, string>? Metadata, string[] Names)> files,
        IReadOnlyList<(string Name, byte[] Content)> kept)
        : base(path, family, hash, parameters, contextLength, tensors, dtypes, buffers)
    {
        _files = files;
        _kept = kept;
    }

    /// <summary>What a folder says of itself, and whether its weights have the names and shapes for it.</summary>
    public static PretrainedDescription Describe(string folder)
    {
        (DecoderFamily family, RetroConfig config, int? contextLength) = Configure(folder, ReadKept(folder));
        using WeightFolder files = WeightFolder.Open(folder);
        (List<StoredTensor> tensors, _) = Fit(family, config, files);
        return new(family.ModelType, config, contextLength, Distinct(tensors.Select(tensor => files.Dtype(tensor.Name))));
    }

    /// <summary>Reads a folder.</summary>
    public static (RetroModel Model, PretrainedOrigin Origin) Load(
        string folder, ScalarType dtype, Device? device, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        List<(string Name, byte[] Content)> kept = ReadKept(folder);
        (DecoderFamily family, RetroConfig config, int? contextLength) = Configure(folder, kept);
        using WeightFolder files = WeightFolder.Open(folder);
        (List<StoredTensor> tensors, string[] ignored) = Fit(family, config, files);
        (RetroModel model, string hash, IReadOnlyDictionary<string, ParameterHash> parameters)
            = PretrainedDecoder.Fill(config, tensors, files, dtype, device, progress, cancellationToken);
        model.TokenizerHash = files.TokenizerHash;
        Dictionary<string, StoredBuffer> buffers = [];
        foreach (string name in ignored)
        {
            // Each layer has the same mask.
            if (buffers.Keys.FirstOrDefault(known => files.AreSame(known, name)) is { } same)
            {
                buffers.Add(name, buffers[same]);
                continue;
            }

            using Tensor buffer = files.Read(name);
            buffers.Add(name, StoredBuffer.Of(folder, name, buffer));
        }

        if (config.TieEmbeddings && files.Names.Contains(family.Head) && tensors.TrueForAll(tensor => tensor.Name != family.Head))
        {
            // A tied head that is stored, too: the embedding once more, and written as that is by then.
            tensors.Add(StoredTensor.Same(family.Head, "embedding.weight", config.VocabularySize, config.Width));
        }

        return (model, new HuggingFaceOrigin(
            folder,
            family.ModelType,
            hash,
            parameters,
            contextLength,
            tensors,
            tensors.ToDictionary(tensor => tensor.Name, tensor => files.Dtype(tensor.Name)),
            buffers,
            [.. files.Files.Select(file => (System.IO.Path.GetFileName(file.FilePath), file.Metadata, file.Entries.Select(entry => entry.Name).ToArray()))],
            kept));
    }

    private protected override StoredWeights OpenStored() => WeightFolder.Open(Path);

    private protected override string FolderOf(string path) => path;

    private protected override void StageFiles(StagedFiles staged, Weights weights, string path, StageCounter counter)
    {
        WeightFolder.RequireReplaceable(path, $"the decoder of '{Path}'", IsThis);
        foreach (string earlier in WeightFolder.FilesOf(path))
        {
            staged.Remove(earlier);
        }

        foreach ((string file, IReadOnlyDictionary<string, string>? metadata, string[] names) in _files)
        {
            using DisposeScope scope = NewDisposeScope();
            Safetensors.Stage(
                staged, System.IO.Path.Combine(path, file), [.. names.Select(name => KeyValuePair.Create(name, weights.Read(name)))], metadata, counter);
        }

        // config.json last: with it the folder is a model.
        foreach ((string name, byte[] content) in _kept.OrderBy(file => file.Name == "config.json"))
        {
            staged.Write(System.IO.Path.Combine(path, name), stream => stream.Write(content));
        }
    }

    private bool IsThis(string config)
    {
        try
        {
            return SmallFile.Read(config).AsSpan().SequenceEqual(_kept.Single(file => file.Name == Checkpoint.ConfigName).Content);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static (DecoderFamily Family, RetroConfig Config, int? ContextLength) Configure(string folder, List<(string Name, byte[] Content)> kept)
    {
        string configPath = System.IO.Path.Combine(folder, Checkpoint.ConfigName);
        using StrictJson said = StrictJson.Parse(configPath, kept.Single(file => file.Name == Checkpoint.ConfigName).Content);
        DecoderFamily family = DecoderFamily.Of(said);
        RetroConfig config = family.Configure(said);
        int? contextLength = new[] { family.ContextLength(said), config.MaximumLength }.Min();
        said.Require("is_encoder_decoder", false);
        said.Require("add_cross_attention", false);
        said.Require("is_causal", true);
        said.RequireAllRead(family.WithoutEffect);
        return (family, Validate(config, configPath), contextLength);
    }

    /// <summary>The tensors by their full names, and the stored buffers, which are left out.</summary>
    private static (List<StoredTensor> Tensors, string[] Ignored) Fit(DecoderFamily family, RetroConfig config, WeightFolder files)
    {
        string configPath = System.IO.Path.Combine(files.Place, Checkpoint.ConfigName);
        if (config.Layers > files.Names.Count)
        {
            throw new CheckpointException(
                $"The weights in {files.Place} do not fit {configPath} (\"{family.ModelType}\"): {config.Layers} layers cannot lie in {files.Names.Count} "
                    + "tensors.");
        }

        List<StoredTensor> tensors = Name(family, config, files);
        return (tensors, Check(family, config, tensors, files, configPath));
    }

    private static List<(string Name, byte[] Content)> ReadKept(string folder)
    {
        WeightFolder.RequireNoAdapter(folder);
        if (!File.Exists(System.IO.Path.Combine(folder, Checkpoint.ConfigName)))
        {
            throw new CheckpointException(
                $"{folder} has no config.json. "
                    + (Instead(folder) ?? "Name a Hugging Face folder (config.json and model.safetensors), or a llama2.c file itself."));
        }

        return [.. s_kept.Where(name => File.Exists(System.IO.Path.Combine(folder, name))).Select(name => (name, Read(System.IO.Path.Combine(folder, name))))];

        static byte[] Read(string path)
        {
            try
            {
                return SmallFile.Read(path);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw new CheckpointException($"The file {path} cannot be read: {exception.Message}", exception);
            }
        }
    }

    // What else than a model a folder of Hugging Face's may be.
    private static string? Instead(string folder)
    {
        string reference = System.IO.Path.Combine(folder, "refs", "main"), snapshots = System.IO.Path.Combine(folder, "snapshots");
        if (!Directory.Exists(snapshots))
        {
            return null;
        }

        string named = new FileInfo(reference) is { Exists: true, Length: < 256 } ? File.ReadAllText(reference).Trim() : "";
        string[] there = [.. Directory.EnumerateDirectories(snapshots).Order(StringComparer.Ordinal)];
        string? snapshot = there.FirstOrDefault(path => System.IO.Path.GetFileName(path) == named) ?? there.FirstOrDefault();
        return snapshot is null
            ? "It is a folder of the hub's cache without a snapshot; download the model again."
            : $"It is a folder of the hub's cache; name the snapshot in it: {snapshot}.";
    }

    private static RetroConfig Validate(RetroConfig config, string path)
    {
        try
        {
            return config.Validate();
        }
        catch (RetroOptionsException exception)
        {
            throw new CheckpointException($"{path} contradicts itself: {exception.Message}", exception);
        }
    }

    /// <summary>The tensors by their full names: those of a bare model have no prefix. A tied embedding may be stored under the head's name alone.</summary>
    private static List<StoredTensor> Name(DecoderFamily family, RetroConfig config, WeightFolder files)
    {
        string prefix = files.Names.Any(name => name.StartsWith(family.Prefix, StringComparison.Ordinal)) ? family.Prefix : "";
        List<StoredTensor> tensors = [.. family.Tensors(config).Select(tensor => tensor with { Name = prefix + tensor.Name })];
        int embedding = tensors.FindIndex(IsEmbedding);
        if (!config.TieEmbeddings)
        {
            tensors.Add(StoredTensor.Same(family.Head, "head.weight", config.VocabularySize, config.Width));
        }
        else if (!files.Names.Contains(tensors[embedding].Name)
            && files.Names.Contains(family.Head)
            && files.Shape(family.Head).AsSpan().SequenceEqual(tensors[embedding].Shape))
        {
            tensors[embedding] = tensors[embedding] with { Name = family.Head };
        }

        return tensors;
    }

    private static bool IsEmbedding(StoredTensor tensor) => tensor.Targets[0] == "embedding.weight";

    /// <summary>Compares what is stored with what the configuration says.</summary>
    /// <returns>The stored buffers, which are left out.</returns>
    private static string[] Check(DecoderFamily family, RetroConfig config, List<StoredTensor> tensors, WeightFolder files, string configPath)
    {
        HashSet<string> known = [.. files.Names];
        Dictionary<string, StoredTensor> expected = tensors.ToDictionary(tensor => tensor.Name);
        List<string> faults = [.. tensors.Where(tensor => !known.Contains(tensor.Name))
            .Select(tensor => $"\"{tensor.Name}\" [{string.Join(", ", tensor.Shape)}] is missing")], ignored = [];
        foreach (string name in files.Names)
        {
            if (expected.TryGetValue(name, out StoredTensor? tensor))
            {
                if (!files.Shape(name).AsSpan().SequenceEqual(tensor.Shape))
                {
                    faults.Add($"\"{name}\" is [{string.Join(", ", files.Shape(name))}], the configuration says [{string.Join(", ", tensor.Shape)}]");
                }
                else if (!s_storedTypes.Contains(files.Dtype(name)))
                {
                    faults.Add($"\"{name}\" is of type {files.Dtype(name)}, which is not supported; supported are {string.Join(", ", s_storedTypes)}");
                }
            }
            else if (family.IsBuffer(name.StartsWith(family.Prefix, StringComparison.Ordinal) ? name[family.Prefix.Length..] : name))
            {
                ignored.Add(name);
            }
            else if (name == family.Head && config.TieEmbeddings)
            {
                string tied = tensors.Find(IsEmbedding)!.Name;
                if (!known.Contains(tied))
                {
                    continue; // which is a fault already
                }

                if (!files.AreSame(name, tied))
                {
                    faults.Add($"\"{name}\" is not the embedding, but \"tie_word_embeddings\" says it is");
                }
            }
            else
            {
                faults.Add($"\"{name}\" [{string.Join(", ", files.Shape(name))}] is not known to this configuration");
            }
        }

        return faults.Count == 0 ? [.. ignored]
            : throw new CheckpointException(
                $"The weights in {files.Place} do not fit {configPath} (\"{family.ModelType}\"): "
                    + $"{string.Join("; ", faults.Take(5))}{(faults.Count > 5 ? $"; and {faults.Count - 5} more" : "")}.");
    }
}
