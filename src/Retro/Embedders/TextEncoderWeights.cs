using System.Text.Json;
using Retro.Checkpoints;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Embedders;

/// <summary>Loads a <see cref="TextEncoder"/> from the weights of a Hugging Face BERT folder, by name.</summary>
/// <remarks>
/// Names may have any prefix (<c>bert.</c>) and layer norms their old names (<c>gamma</c>, <c>beta</c>). The pooler, position buffers, and what stands outside the encoder (heads) are left out by name;
/// any other tensor would change the vectors and is refused.
/// </remarks>
internal static class TextEncoderWeights
{
    private const string Anchor = "embeddings.word_embeddings.weight";

    private static readonly string[] s_ignored = ["embeddings.position_ids", "embeddings.token_type_ids", "pooler.dense.weight", "pooler.dense.bias"];
    private static readonly string[] s_heads = ["cls.", "classifier.", "qa_outputs."];
    private static readonly string[] s_types = ["F64", "F32", "F16", "BF16"];

    /// <summary>Makes an encoder of the weights in a folder. Nothing is allocated before every name, shape and type has been checked.</summary>
    /// <exception cref="CheckpointException">A file or tensor is missing, not known, or of another shape or type than the configuration says.</exception>
    public static TextEncoder Load(TextEncoderConfig config, string folder)
    {
        List<Safetensors> files = [];
        try
        {
            files.AddRange(Paths(folder).Select(Safetensors.Open));
            Dictionary<string, (Safetensors File, string Name)> found = Match(config, folder, files);
            TextEncoder encoder = new(config, null);
            using IDisposable guard = no_grad();
            foreach ((string name, Parameter parameter) in encoder.named_parameters())
            {
                using Tensor weight = found[name].File.Read(found[name].Name, parameter.dtype);
                parameter.copy_(weight);
            }

            return encoder;
        }
        finally
        {
            files.ForEach(file => file.Dispose());
        }
    }

    /// <summary>Finds the file and the stored name of every weight.</summary>
    private static Dictionary<string, (Safetensors File, string Name)> Match(TextEncoderConfig config, string folder, List<Safetensors> files)
    {
        int stored = files.Sum(file => file.Entries.Count);
        if (config.Layers > stored)
        {
            throw new CheckpointException($"The weights in {folder} do not fit its config.json: {config.Layers} layers cannot lie in {stored} tensors.");
        }

        string[] prefixes = files.SelectMany(file => file.Entries).Select(entry => entry.Name).Where(name => name == Anchor || name.EndsWith("." + Anchor, StringComparison.Ordinal)).Select(name => name[..^Anchor.Length]).ToArray();
        if (prefixes.Length != 1)
        {
            throw new CheckpointException($"The weights in {folder} hold {prefixes.Length} tensors named [prefix]{Anchor}, where a BERT encoder has one; is this another architecture?");
        }

        Dictionary<string, long[]> expected = config.Weights().ToDictionary(weight => weight.Name, weight => weight.Shape);
        Dictionary<string, (Safetensors File, string Name)> found = [];
        List<string> faults = [];
        foreach (Safetensors file in files)
        {
            foreach (SafetensorsEntry entry in file.Entries)
            {
                bool inside = entry.Name.StartsWith(prefixes[0], StringComparison.Ordinal);
                string name = inside ? Modern(entry.Name[prefixes[0].Length..]) : entry.Name;
                if (!inside || !expected.TryGetValue(name, out long[]? shape))
                {
                    if (!(inside && s_ignored.Contains(name)) && !s_heads.Any(head => name.StartsWith(head, StringComparison.Ordinal)))
                    {
                        faults.Add($"tensor \"{entry.Name}\" {Shape(entry.Shape)} is not known to this configuration");
                    }
                }
                else if (!entry.Shape.AsSpan().SequenceEqual(shape))
                {
                    faults.Add($"tensor \"{entry.Name}\" is {Shape(entry.Shape)}, the configuration says {Shape(shape)}");
                }
                else if (!s_types.Contains(entry.Dtype))
                {
                    faults.Add($"tensor \"{entry.Name}\" is of type {entry.Dtype}, supported are {string.Join(", ", s_types)}");
                }
                else if (!found.TryAdd(name, (file, entry.Name)))
                {
                    faults.Add($"tensor \"{entry.Name}\" comes twice");
                }
            }
        }

        faults.AddRange(expected.Keys.Where(name => !found.ContainsKey(name) && faults.Count == 0).Select(name => $"tensor \"{prefixes[0]}{name}\" is missing"));
        return faults.Count == 0 ? found
            : throw new CheckpointException($"The weights in {folder} do not fit its config.json: {string.Join("; ", faults.Take(5))}{(faults.Count > 5 ? $"; and {faults.Count - 5} more" : "")}.");
    }

    private static string Modern(string name)
        => name.EndsWith("LayerNorm.gamma", StringComparison.Ordinal) ? name[..^"gamma".Length] + "weight"
            : name.EndsWith("LayerNorm.beta", StringComparison.Ordinal) ? name[..^"beta".Length] + "bias"
            : name;

    private static string Shape(long[] shape) => $"[{string.Join(", ", shape)}]";

    /// <summary>The weight files: one, or those that an index names.</summary>
    private static IEnumerable<string> Paths(string folder)
    {
        string single = Path.Combine(folder, "model.safetensors");
        string index = single + ".index.json";
        if (File.Exists(single))
        {
            return [single];
        }

        if (!File.Exists(index))
        {
            string? pickle = Directory.EnumerateFiles(folder).FirstOrDefault(file => file.EndsWith(".bin", StringComparison.Ordinal) || file.EndsWith(".pt", StringComparison.Ordinal) || file.EndsWith(".pth", StringComparison.Ordinal));
            throw new CheckpointException(pickle is null
                ? $"{single} is missing; the weights have to be there as safetensors."
                : $"{pickle} is a Python pickle, which can run any code when read and is never opened here; convert it: load the model in Python with transformers, and save_pretrained(folder, safe_serialization=True).");
        }

        using EmbedderFile file = EmbedderFile.Open(index);
        if (file.Value("weight_map") is not { ValueKind: JsonValueKind.Object } map || map.EnumerateObject().Any(entry => entry.Value.ValueKind != JsonValueKind.String))
        {
            throw file.Fault("\"weight_map\" has to map tensor names to file names.");
        }

        string[] shards = map.EnumerateObject().Select(entry => entry.Value.GetString()!).Distinct().Order(StringComparer.Ordinal).ToArray();
        foreach (string shard in shards)
        {
            if (shard != Path.GetFileName(shard))
            {
                throw file.Fault($"The file name \"{shard}\" leads out of the folder.");
            }

            if (!File.Exists(Path.Combine(folder, shard)))
            {
                throw file.Fault($"The shard {shard} is missing; get all {shards.Length} of them.");
            }
        }

        return shards.Select(shard => Path.Combine(folder, shard));
    }
}
