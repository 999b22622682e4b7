using Retro.Checkpoints;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Embedders;

/// <summary>Loads a <see cref="TextEncoder"/> from the weights of a Hugging Face folder, by the names of its family.</summary>
/// <remarks>
/// Names may have any prefix (<c>bert.</c>) and layer norms their old names (<c>gamma</c>, <c>beta</c>). The pooler, position buffers, and what stands outside
/// the encoder (heads) are left out by name; any other tensor would change the vectors and is refused.
/// </remarks>
internal static class TextEncoderWeights
{
    /// <summary>How the names of the weights in the folder of a "Dense" begin.</summary>
    public const string DensePrefix = "linear.";

    private static readonly string[] s_ignored = ["embeddings.position_ids", "embeddings.token_type_ids", "pooler.dense.weight", "pooler.dense.bias"];

    private static readonly string[] s_heads =
        ["cls.", "classifier.", "qa_outputs.", "lm_head.", "pre_classifier.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "head.", "decoder."];

    private static readonly string[] s_types = ["F64", "F32", "F16", "BF16"];

    /// <summary>Makes an encoder of the weights in a folder. Nothing is allocated before every name, shape and type has been checked.</summary>
    /// <exception cref="CheckpointException">A file or tensor is missing, not known, or of another shape or type than the configuration says.</exception>
    public static TextEncoder Load(
        TextEncoderConfig config,
        string folder,
        string? denseFolder,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        using WeightFolder weights = WeightFolder.Open(folder);
        using WeightFolder? dense = denseFolder is null ? null : WeightFolder.Open(denseFolder);
        Dictionary<string, (WeightFolder Folder, string Name)> stored = Match(config, weights)
            .ToDictionary(pair => pair.Key, pair => (weights, pair.Value), StringComparer.Ordinal);
        foreach (string name in dense is null ? [] : MatchDense(config, dense))
        {
            stored.Add($"{TextEncoder.DenseName}.{name}", (dense!, DensePrefix + name));
        }

        TextEncoder encoder = new(config, null);
        try
        {
            StageCounter counter = new("load weights", stored.Count, progress, cancellationToken);
            using IDisposable guard = no_grad();
            foreach ((string name, Parameter parameter) in encoder.named_parameters())
            {
                counter.Next();
                (WeightFolder place, string storedName) = stored[name];
                place.CopyTo(storedName, parameter);
            }

            counter.End();
            return encoder;
        }
        catch
        {
            encoder.Dispose();
            throw;
        }
    }

    /// <summary>Finds the stored name of every weight.</summary>
    private static Dictionary<string, string> Match(TextEncoderConfig config, WeightFolder weights)
    {
        string folder = weights.Place;
        if (config.Layers > weights.Names.Count)
        {
            throw new CheckpointException(
                $"The weights in {folder} do not fit its config.json: {config.Layers} layers cannot lie in {weights.Names.Count} tensors.");
        }

        TextEncoderFamily family = TextEncoderFamily.Of(config);
        string anchor = family.Stored("embeddings.word_embeddings.weight");
        string[] prefixes = [.. weights.Names.Where(name => name == anchor || name.EndsWith("." + anchor, StringComparison.Ordinal))
            .Select(name => name[..^anchor.Length])];
        if (prefixes.Length != 1)
        {
            throw new CheckpointException(
                $"The weights in {folder} hold {prefixes.Length} tensors named [prefix]{anchor}, where an encoder has one; is this another architecture?");
        }

        Dictionary<string, long[]> expected = config.Weights().ToDictionary(weight => weight.Name, weight => weight.Shape);
        Dictionary<string, string> found = [];
        List<string> faults = [];
        foreach (SafetensorsEntry entry in weights.Names.Select(weights.Entry))
        {
            bool inside = entry.Name.StartsWith(prefixes[0], StringComparison.Ordinal);
            string name = inside ? family.Own(Modern(entry.Name[prefixes[0].Length..])) : entry.Name;
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
            else if (!found.TryAdd(name, entry.Name))
            {
                faults.Add($"tensor \"{entry.Name}\" comes twice");
            }
        }

        if (faults.Count == 0)
        {
            faults.AddRange(expected.Keys.Where(name => !found.ContainsKey(name)).Select(name => $"tensor \"{prefixes[0]}{family.Stored(name)}\" is missing"));
        }

        return faults.Count == 0 ? found
            : throw new CheckpointException(
                $"The weights in {folder} do not fit its config.json: "
                    + $"{string.Join("; ", faults.Take(5))}{(faults.Count > 5 ? $"; and {faults.Count - 5} more" : "")}.");
    }

    // The names behind the prefix.
    private static string[] MatchDense(TextEncoderConfig config, WeightFolder weights)
    {
        TextDense dense = config.Dense!;
        Dictionary<string, long[]> expected = new() { ["weight"] = [dense.Width, config.Width] };
        if (dense.HasBias)
        {
            expected.Add("bias", [dense.Width]);
        }

        string wanted = string.Join(", ", expected.Select(pair => $"\"{DensePrefix}{pair.Key}\" {Shape(pair.Value)}"));
        return weights.Names.Count == expected.Count && expected.All(pair => weights.Names.Contains(DensePrefix + pair.Key)
            && weights.Shape(DensePrefix + pair.Key).AsSpan().SequenceEqual(pair.Value) && s_types.Contains(weights.Dtype(DensePrefix + pair.Key)))
            ? [.. expected.Keys]
            : throw new CheckpointException(
                $"The weights in {weights.Place} are {string.Join(", ", weights.Names.Select(name => $"\"{name}\" {Shape(weights.Shape(name))}"))}; its config.json "
                    + $"says {wanted}, each of {string.Join(", ", s_types)}.");
    }

    private static string Modern(string name)
        => name.EndsWith("LayerNorm.gamma", StringComparison.Ordinal) ? name[..^"gamma".Length] + "weight"
            : name.EndsWith("LayerNorm.beta", StringComparison.Ordinal) ? name[..^"beta".Length] + "bias"
            : name;

    private static string Shape(long[] shape) => $"[{string.Join(", ", shape)}]";
}
