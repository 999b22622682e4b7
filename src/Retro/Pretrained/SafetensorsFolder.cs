using System.Security.Cryptography;
using System.Text.Json;
using Retro.Checkpoints;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>The weights of a Hugging Face folder: <c>model.safetensors</c>, or the shards that <c>model.safetensors.index.json</c> names.</summary>
internal sealed class SafetensorsFolder : StoredWeights
{
    public const string SingleFile = "model.safetensors";
    public const string IndexFile = "model.safetensors.index.json";

    // Spans count in 32 bits.
    private const int Piece = 1 << 30;

    private static readonly string[] s_pickleEndings = [".bin", ".pt", ".pth", ".ckpt", ".pkl"];

    private readonly Dictionary<string, Safetensors> _places = new(StringComparer.Ordinal);
    private readonly List<Safetensors> _files = [];
    private readonly List<string> _names = [];

    private SafetensorsFolder(string folder) => Place = folder;

    public override string Place { get; }

    public override IReadOnlyList<string> Names => _names;

    /// <summary>The files, by name.</summary>
    public IReadOnlyList<Safetensors> Files => _files;

    /// <summary>Opens every file of a folder.</summary>
    /// <exception cref="CheckpointException">There are none, a shard is missing, or the index contradicts the shards.</exception>
    public static SafetensorsFolder Open(string folder)
    {
        SafetensorsFolder opened = new(folder);
        try
        {
            if (File.Exists(Path.Combine(folder, SingleFile)))
            {
                opened.Add(Path.Combine(folder, SingleFile));
            }
            else if (File.Exists(Path.Combine(folder, IndexFile)))
            {
                opened.AddShards(Path.Combine(folder, IndexFile));
            }
            else
            {
                throw Missing(folder);
            }

            return opened;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    public override long[] Shape(string name) => _places[name].Entry(name).Shape;

    public override string Dtype(string name) => _places[name].Entry(name).Dtype;

    public override Tensor Read(string name) => _places[name].Read(name);

    public override void Dispose() => _files.ForEach(file => file.Dispose());

    /// <summary>What to say of a pickle.</summary>
    internal static CheckpointException Pickle(string path)
        => new($"{path} is a Python pickle, which can run any code when it is read and is never opened here. Convert it once in Python, where you trust it: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, safe_serialization=True).");

    protected override void AppendBytes(string name, IncrementalHash hash)
    {
        Safetensors file = _places[name];
        long length = file.Entry(name).ByteLength;
        for (long done = 0; done < length; done += Piece)
        {
            hash.AppendData(file.Bytes(name, done, (int)Math.Min(Piece, length - done)));
        }
    }

    private static CheckpointException Missing(string folder)
    {
        string? pickle = Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal).FirstOrDefault(file => s_pickleEndings.Contains(Path.GetExtension(file)));
        return pickle is not null ? Pickle(pickle) : new($"{folder} holds no weights: expected {SingleFile}, or {IndexFile} with its shards.");
    }

    private void Add(string path)
    {
        Safetensors file = Safetensors.Open(path);
        _files.Add(file);
        foreach (SafetensorsEntry entry in file.Entries)
        {
            if (!_places.TryAdd(entry.Name, file))
            {
                throw new CheckpointException($"The tensor \"{entry.Name}\" is in {_places[entry.Name].FilePath} and in {path}; one of the shards belongs to another model.");
            }

            _names.Add(entry.Name);
        }
    }

    private void AddShards(string index)
    {
        Dictionary<string, string> map = ReadIndex(index);
        string[] shards = [.. map.Values.Distinct().Order(StringComparer.Ordinal)];
        foreach (string shard in shards)
        {
            if (shard.Length == 0 || shard != Path.GetFileName(shard))
            {
                throw new CheckpointException($"{index} names the file \"{shard}\", which is not in the folder itself.");
            }

            if (!File.Exists(Path.Combine(Place, shard)))
            {
                throw new CheckpointException($"The shard {Path.Combine(Place, shard)} is missing; {index} names {shards.Length}. Get all of them.");
            }
        }

        foreach (string shard in shards)
        {
            Add(Path.Combine(Place, shard));
        }

        foreach ((string name, string shard) in map)
        {
            if (!_places.TryGetValue(name, out Safetensors? file) || Path.GetFileName(file.FilePath) != shard)
            {
                throw new CheckpointException($"{index} says that {shard} holds the tensor \"{name}\", but {(file is null ? "no shard holds it" : $"{Path.GetFileName(file.FilePath)} does")}; the shards belong to another model.");
            }
        }
    }

    private static Dictionary<string, string> ReadIndex(string path)
    {
        try
        {
            using JsonDocument document = TokenizerFiles.Json(File.ReadAllBytes(path));
            if (document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty("weight_map", out JsonElement map) && map.ValueKind == JsonValueKind.Object
                && map.EnumerateObject().Any() && map.EnumerateObject().All(entry => entry.Value.ValueKind == JsonValueKind.String))
            {
                Dictionary<string, string> names = new(StringComparer.Ordinal);
                foreach (JsonProperty entry in map.EnumerateObject())
                {
                    names[entry.Name] = entry.Value.GetString()!;
                }

                return names;
            }
        }
        catch (JsonException exception)
        {
            throw new CheckpointException($"{path} is not valid JSON: {exception.Message}", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"{path} cannot be read: {exception.Message}", exception);
        }

        throw new CheckpointException($"{path} has to hold \"weight_map\", an object that gives the file of each tensor.");
    }
}
