using System.Text.Json;
using System.Text.Json.Nodes;

namespace Retro.Checkpoints;

/// <summary>
/// The weights of a folder: <c>model.safetensors</c>, or several files with <c>model.safetensors.index.json</c>, laid out as Hugging Face lays them out.
/// The index is hostile input: it may name files of the folder alone, and every tensor has to be in the file it names.
/// </summary>
internal sealed class WeightFiles : IDisposable
{
    /// <summary>Name of the file where there is one.</summary>
    public const string SingleName = "model.safetensors";

    /// <summary>Name of the index where there are several.</summary>
    public const string IndexName = "model.safetensors.index.json";

    private readonly Dictionary<string, Safetensors> _owners = new(StringComparer.Ordinal);
    private readonly List<Safetensors> _files = [];

    private WeightFiles()
    {
    }

    /// <summary>Every tensor's entry, by name.</summary>
    public IEnumerable<SafetensorsEntry> Entries => _owners.Select(pair => pair.Value.Entry(pair.Key));

    /// <summary>Opens the weights of a folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="CheckpointException">There are none, a file is not valid, or the index names what is not there.</exception>
    public static WeightFiles Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        WeightFiles weights = new();
        try
        {
            string single = Path.Combine(folder, SingleName), index = Path.Combine(folder, IndexName);
            if (File.Exists(single))
            {
                weights.Add(single, null);
            }
            else if (File.Exists(index))
            {
                weights.AddIndexed(folder, index);
            }
            else
            {
                throw new CheckpointException($"'{folder}' holds no weights: neither {SingleName} nor {IndexName} is there. Point at the folder that Checkpoint.Save wrote.");
            }

            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Whether there is a tensor of this name.</summary>
    /// <param name="name">Its name.</param>
    public bool Contains(string name) => _owners.ContainsKey(name);

    /// <summary>The file that holds a tensor.</summary>
    /// <param name="name">Its name.</param>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public Safetensors FileOf(string name) => _owners.TryGetValue(name, out Safetensors? file)
        ? file
        : throw new CheckpointException($"The weights hold no tensor \"{name}\".");

    /// <summary>Closes the files.</summary>
    public void Dispose()
    {
        foreach (Safetensors file in _files)
        {
            file.Dispose();
        }

        _files.Clear();
        _owners.Clear();
    }

    private void Add(string path, Dictionary<string, string>? map)
    {
        Safetensors file = Safetensors.Open(path);
        _files.Add(file);
        string name = Path.GetFileName(path);
        foreach (SafetensorsEntry entry in file.Entries)
        {
            if (map is not null && (!map.TryGetValue(entry.Name, out string? owner) || owner != name))
            {
                throw new CheckpointException($"'{path}' holds the tensor \"{entry.Name}\", which the index {(owner is null ? "does not name" : $"seeks in {owner}")}; the files do not belong together.");
            }

            _owners.Add(entry.Name, file);
        }
    }

    private void AddIndexed(string folder, string path)
    {
        Dictionary<string, string> map = ReadIndex(path);
        string[] files = [.. map.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        foreach (string name in files)
        {
            if (name.Length == 0 || name != Path.GetFileName(name) || name is "." or ".." || name.AsSpan().IndexOfAny('/', '\\', ':') >= 0)
            {
                throw new CheckpointException($"'{path}' names the file \"{name}\"; files beside the index are allowed alone.");
            }

            if (!File.Exists(Path.Combine(folder, name)))
            {
                throw new CheckpointException($"'{path}' names {name}, which is not there; copy the missing file into the folder.");
            }
        }

        foreach (string name in files)
        {
            Add(Path.Combine(folder, name), map);
        }

        string[] missing = [.. map.Keys.Where(name => !_owners.ContainsKey(name)).Order(StringComparer.Ordinal)];
        if (missing.Length > 0)
        {
            throw new CheckpointException($"'{path}' names tensors that its files do not hold: {string.Join(", ", missing)}.");
        }
    }

    private static Dictionary<string, string> ReadIndex(string path)
    {
        try
        {
            JsonObject map = JsonNode.Parse(File.ReadAllText(path))?["weight_map"] as JsonObject
                ?? throw new CheckpointException($"'{path}' has no \"weight_map\".");
            return map.ToDictionary(pair => pair.Key, pair => pair.Value?.GetValue<string>() ?? "", StringComparer.Ordinal);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or ArgumentException or IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"'{path}' cannot be read: {exception.Message}", exception);
        }
    }
}
