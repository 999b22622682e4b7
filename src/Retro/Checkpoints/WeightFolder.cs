using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>
/// The weights of a folder: <c>model.safetensors</c>, or the files that <c>model.safetensors.index.json</c> names, laid out as Hugging Face lays them out.
/// The index is hostile input: it may name files of the folder alone, and every tensor that it names has to be in the file it says.
/// </summary>
internal sealed class WeightFolder : StoredWeights
{
    /// <summary>Name of the file where there is one.</summary>
    public const string SingleName = "model.safetensors";

    /// <summary>Name of the index where there are several.</summary>
    public const string IndexName = "model.safetensors.index.json";

    /// <summary>Under which a file's metadata have <see cref="TokenizerHash"/>.</summary>
    public const string TokenizerKey = "tokenizer_hash";

    // Spans count in 32 bits.
    private const int Piece = 1 << 30;

    private static readonly string[] s_pickleEndings = [".bin", ".pt", ".pth", ".ckpt", ".pkl"];

    // Pickles that a training of others leaves behind, and no weights.
    private static readonly string[] s_trainingBeginnings = ["training_args.", "optimizer.", "scheduler.", "scaler.", "rng_state", "random_states"];

    private readonly Dictionary<string, Safetensors> _owners = new(StringComparer.Ordinal);
    private readonly List<Safetensors> _files = [];
    private readonly List<string> _names = [];

    private WeightFolder(string folder) => Place = folder;

    /// <inheritdoc/>
    public override string Place { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Names => _names;

    /// <summary>The files, by name.</summary>
    public IReadOnlyList<Safetensors> Files => _files;

    /// <summary>Hash of the tokenizer that the model was trained with; null: nothing says it.</summary>
    public string? TokenizerHash => _files[0].Metadata?.GetValueOrDefault(TokenizerKey);

    /// <summary>Opens the weights of a folder, those of one saving alone: where one comes in between, they are opened anew.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="CheckpointException">There are none, a file is missing or not valid, or the index contradicts the files.</exception>
    public static WeightFolder Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        return OfOneSaving(folder, () =>
        {
            WeightFolder weights = new(folder);
            try
            {
                weights.AddAll();
                return weights;
            }
            catch
            {
                weights.Dispose();
                throw;
            }
        });
    }

    /// <summary>Opens weights until no saving has come in between.</summary>
    /// <param name="folder">Their folder.</param>
    /// <param name="open">Opens them.</param>
    /// <exception cref="CheckpointException">Of <paramref name="open"/>, where no saving is the reason.</exception>
    public static WeightFolder OfOneSaving(string folder, Func<WeightFolder> open)
    {
        while (true)
        {
            StagedFiles.Finish(folder, CheckpointException.Of);
            string saved = Saved(folder);
            try
            {
                WeightFolder weights = open();
                if (IsStill(saved))
                {
                    return weights;
                }

                weights.Dispose();
            }
            catch (CheckpointException) when (!IsStill(saved))
            {
                // What was opened before it did not fit what was opened after it.
            }
        }

        // In this order: where there is no record any more, files that were opened while some of them had their names and others had not are under another
        // index by now.
        bool IsStill(string saved) => !File.Exists(Path.Combine(folder, StagedFiles.RecordName)) && Saved(folder) == saved;
    }

    /// <summary>
    /// The weight files of a folder that is written to: those that <see cref="Open"/> looks for, and those that its index names. Where the index cannot be
    /// read, nobody knows whose the others are.
    /// </summary>
    /// <param name="folder">The folder; it need not be there.</param>
    public static IReadOnlyList<string> FilesOf(string folder)
    {
        string[] looked = [.. new[] { SingleName, IndexName }.Select(name => Path.Combine(folder, name)).Where(File.Exists)];
        try
        {
            IEnumerable<string> named = File.Exists(Path.Combine(folder, IndexName))
                ? ReadIndex(Path.Combine(folder, IndexName)).Values.Distinct(StringComparer.Ordinal)
                : [];
            return [
                .. looked,
                .. named.Where(name => name.EndsWith(".safetensors", StringComparison.Ordinal)).Select(name => Path.Combine(folder, name)).Where(File.Exists)
            ];
        }
        catch (CheckpointException)
        {
            return looked;
        }
    }

    /// <summary>Refuses a folder with another's model: saving would replace its configuration, and take its weights away.</summary>
    /// <param name="folder">The folder that is to be written to; it need not be there.</param>
    /// <param name="kind">What may be replaced, as the message says it.</param>
    /// <param name="isOwn">Whether a config.json is that of a model that may be replaced.</param>
    /// <exception cref="CheckpointException">The folder holds another model; nothing was touched.</exception>
    public static void RequireReplaceable(string folder, string kind, Func<string, bool> isOwn)
    {
        StagedFiles.Finish(folder, CheckpointException.Of);
        string config = Path.Combine(folder, Checkpoint.ConfigName);
        if (!(File.Exists(config) ? isOwn(config) : FilesOf(folder).Count == 0))
        {
            throw new CheckpointException(
                $"'{folder}' holds a model that is not {kind}, which saving would replace; nothing was touched. Save into another folder, or empty this one.");
        }
    }

    /// <summary>Refuses a folder with an adapter: alone it is a part of a model, and beside whole weights other programs put it on top of them.</summary>
    /// <param name="folder">The folder; it need not be there.</param>
    /// <exception cref="CheckpointException">There is one.</exception>
    public static void RequireNoAdapter(string folder)
    {
        string adapter = Path.Combine(folder, "adapter_config.json");
        if (File.Exists(adapter))
        {
            throw new CheckpointException(
                $"{adapter} says that the folder holds an adapter (PEFT), which is a part of a model and is not read here. Merge it in Python, "
                    + "model.merge_and_unload().save_pretrained(folder), and name that folder; or, where the model beside it is meant without it, move the "
                    + "adapter's files (adapter_config.json and adapter_model) away.");
        }
    }

    /// <summary>A text that a config.json says; null where it says none, or cannot be read.</summary>
    /// <param name="path">The file.</param>
    /// <param name="key">The key.</param>
    public static string? ConfigText(string path, string key)
    {
        try
        {
            return JsonNode.Parse(SmallFile.ReadText(path, SmallFile.Configuration)) is JsonObject root
                && root[key] is JsonValue value
                && value.TryGetValue(out string? text)
                ? text
                : null;
        }
        catch (Exception exception) when (exception is JsonException or ArgumentException or InvalidOperationException
            or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>The names of the files that an index names, by tensor.</summary>
    /// <param name="path">The index.</param>
    /// <exception cref="CheckpointException">It cannot be read, or names what is not a file beside it.</exception>
    public static IReadOnlyDictionary<string, string> ReadIndex(string path)
    {
        using StrictJson index = StrictJson.Open(path);
        if (index.Part("weight_map") is not { } map || map.Keys.Count == 0)
        {
            throw index.Fault("\"weight_map\" is missing; it has to be an object that gives the file of each tensor");
        }

        Dictionary<string, string> files = map.Keys.ToDictionary(name => name, name => map.Text(name) ?? "", StringComparer.Ordinal);
        foreach (string file in files.Values.Distinct(StringComparer.Ordinal))
        {
            if (file.Length == 0 || file != Path.GetFileName(file) || file is "." or ".." || file.AsSpan().IndexOfAny(['/', '\\', ':', '\0']) >= 0)
            {
                throw index.Fault($"\"weight_map\" names the file \"{file}\"; files beside the index are allowed alone");
            }
        }

        return files;
    }

    /// <summary>Whether there is a tensor of this name.</summary>
    /// <param name="name">Its name.</param>
    public bool Contains(string name) => _owners.ContainsKey(name);

    /// <summary>What the file says of a tensor.</summary>
    /// <param name="name">Its name.</param>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public SafetensorsEntry Entry(string name) => FileOf(name).Entry(name);

    /// <inheritdoc/>
    public override long[] Shape(string name) => Entry(name).Shape;

    /// <inheritdoc/>
    public override string Dtype(string name) => Entry(name).Dtype;

    /// <inheritdoc/>
    public override Tensor Read(string name) => FileOf(name).Read(name);

    /// <summary>Whether two tensors have the same type, shape and bytes. They are compared as they lie in the files, up to the first difference.</summary>
    /// <param name="one">Name of one.</param>
    /// <param name="other">Name of the other.</param>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public bool AreSame(string one, string other)
    {
        SafetensorsEntry entry = Entry(one);
        if (entry.Dtype != Dtype(other) || !entry.Shape.AsSpan().SequenceEqual(Shape(other)))
        {
            return false;
        }

        for (long done = 0; done < entry.ByteLength; done += Piece)
        {
            int count = (int)Math.Min(Piece, entry.ByteLength - done);
            if (!FileOf(one).Bytes(one, done, count).SequenceEqual(FileOf(other).Bytes(other, done, count)))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether a tensor is there with the type, shape and bytes of another. It is read up to the first difference.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="tensor">The other, on any device.</param>
    public bool Holds(string name, Tensor tensor) => Contains(name) && FileOf(name).Holds(name, tensor);

    /// <summary>Copies a tensor into one of the same shape that there is already, in whatever type and on whatever device.</summary>
    public void CopyTo(string name, Tensor target) => FileOf(name).CopyTo(name, target);

    /// <summary>Closes the files.</summary>
    public override void Dispose() => _files.ForEach(file => file.Dispose());

    /// <inheritdoc/>
    protected override void AppendBytes(string name, IncrementalHash hash)
    {
        long length = Entry(name).ByteLength;
        for (long done = 0; done < length; done += Piece)
        {
            hash.AppendData(FileOf(name).Bytes(name, done, (int)Math.Min(Piece, length - done)));
        }
    }

    private static CheckpointException Missing(string folder)
    {
        // What stands beside the model's, such as BGE-M3's two heads, is not what to convert.
        string? pickle = Directory.Exists(folder)
            ? Directory.EnumerateFiles(folder)
                .OrderBy(file => !Path.GetFileName(file).StartsWith("pytorch_model", StringComparison.Ordinal))
                .ThenBy(file => file, StringComparer.Ordinal)
                .FirstOrDefault(IsPickle)
            : null;
        return pickle is not null ? Pickle(pickle) : new($"{folder} holds no weights: expected {SingleName}, or {IndexName} with its files.");

        static bool IsPickle(string file)
            => s_pickleEndings.Contains(Path.GetExtension(file))
                && !s_trainingBeginnings.Any(begin => Path.GetFileName(file).StartsWith(begin, StringComparison.Ordinal));
    }

    private Safetensors FileOf(string name) => _owners.TryGetValue(name, out Safetensors? file)
        ? file
        : throw new CheckpointException($"The weights in {Place} hold no tensor \"{name}\".");

    /// <summary>Tells one saving from the next: each replaces or removes the one file, or the index of several after them.</summary>
    private static string Saved(string folder)
    {
        try
        {
            return string.Join(' ', new[] { SingleName, IndexName }.Select(name => Path.Combine(folder, name)).Where(File.Exists).Select(FileIdentity.StateOf));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return ""; // removed in between
        }
    }

    private void AddAll()
    {
        string single = Path.Combine(Place, SingleName), index = Path.Combine(Place, IndexName);
        if (File.Exists(single))
        {
            Add(single);
        }
        else if (File.Exists(index))
        {
            AddIndexed(index);
        }
        else
        {
            throw Missing(Place);
        }
    }

    private void Add(string path)
    {
        Safetensors file = Safetensors.Open(path);
        _files.Add(file);
        foreach (SafetensorsEntry entry in file.Entries)
        {
            if (!_owners.TryAdd(entry.Name, file))
            {
                throw new CheckpointException(
                    $"The tensor \"{entry.Name}\" is in {_owners[entry.Name].FilePath} and in {path}; the files do not belong together.");
            }

            _names.Add(entry.Name);
        }
    }

    private void AddIndexed(string index)
    {
        IReadOnlyDictionary<string, string> map = ReadIndex(index);
        string[] files = [.. map.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        foreach (string name in files)
        {
            if (!File.Exists(Path.Combine(Place, name)))
            {
                throw new CheckpointException($"The file {Path.Combine(Place, name)} is missing; {index} names {files.Length}. Get all of them.");
            }
        }

        foreach (string name in files)
        {
            Add(Path.Combine(Place, name));
        }

        // What no index names is taken too, as transformers does; whoever reads knows it or refuses it.
        foreach ((string name, string said) in map)
        {
            string? holder = _owners.TryGetValue(name, out Safetensors? file) ? Path.GetFileName(file.FilePath) : null;
            if (holder != said)
            {
                throw new CheckpointException(
                    $"{index} says that {said} holds the tensor \"{name}\", but {holder ?? "none of its files"} does; the files do not belong together.");
            }
        }
    }
}
