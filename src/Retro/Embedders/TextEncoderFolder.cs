using System.Text.Json;
using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Embedders;

/// <summary>Reads what the JSON files of a Hugging Face BERT or sentence-transformers folder say about an embedder.</summary>
/// <param name="Config">Sizes, pooling and maximum length.</param>
/// <param name="LowerCase">Whether texts are lower-cased before the tokenizer.</param>
/// <param name="WeightFolder">Where weights and tokenizer lie.</param>
/// <param name="Identity">The identity that the folder was saved with; null where Retro did not write it.</param>
internal sealed record TextEncoderFolder(TextEncoderConfig Config, bool LowerCase, string WeightFolder, string? Identity)
{
    /// <summary>The key of config.json under which Retro keeps an embedder's identity; others ignore it.</summary>
    public const string IdentityKey = "retro_identity";

    private const string Architecture = "bert";

    /// <summary>Reads a folder.</summary>
    /// <exception cref="CheckpointException">A file is missing or damaged, the architecture is not known, or a value that would change the vectors is not supported.</exception>
    public static TextEncoderFolder Read(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new CheckpointException($"There is no folder {folder}; name one that holds config.json, model.safetensors and a tokenizer.");
        }

        Modules modules = ReadModules(folder);
        using EmbedderFile config = EmbedderFile.Open(Path.Combine(modules.Transformer, "config.json"));
        CheckArchitecture(config);
        using EmbedderFile? sentence = EmbedderFile.OpenIfThere(Path.Combine(modules.Transformer, "sentence_bert_config.json"));
        using EmbedderFile? tokenizer = EmbedderFile.OpenIfThere(Path.Combine(modules.Transformer, "tokenizer_config.json"));
        int positions = config.Integer("max_position_embeddings") ?? 512;
        int length = sentence?.Integer("max_seq_length") ?? (int)Math.Min(tokenizer?.Number("model_max_length") ?? positions, positions);
        try
        {
            TextEncoderConfig sizes = new TextEncoderConfig(
                VocabularySize: config.Integer("vocab_size") ?? 30522,
                Width: config.Integer("hidden_size") ?? 768,
                Layers: config.Integer("num_hidden_layers") ?? 12,
                Heads: config.Integer("num_attention_heads") ?? 12,
                FeedForwardSize: config.Integer("intermediate_size") ?? 3072,
                MaximumPositions: positions,
                TokenTypes: config.Integer("type_vocab_size") ?? 2,
                LayerNormEpsilon: config.Number("layer_norm_eps") ?? 1e-12,
                MaximumLength: length,
                Pooling: modules.Pooling,
                Normalize: modules.Normalize,
                Activation: ReadActivation(config)).Validate();
            if (modules.Dimensions is int dimensions && dimensions != sizes.Width)
            {
                throw config.Fault($"\"hidden_size\" is {sizes.Width}, the pooling's config.json says {dimensions} dimensions; the files belong to different models.");
            }

            return new TextEncoderFolder(sizes, sentence?.Boolean("do_lower_case") ?? false, modules.Transformer, config.Text(IdentityKey));
        }
        catch (RetroOptionsException exception)
        {
            throw new CheckpointException($"The files of {folder} contradict themselves: {string.Join(' ', exception.Faults)}", exception);
        }
    }

    private static void CheckArchitecture(EmbedderFile config)
    {
        string? kind = config.Text("model_type") ?? (config.Value("architectures") is { ValueKind: JsonValueKind.Array } names
            ? names.EnumerateArray().Select(name => name.ToString()).FirstOrDefault(name => name.StartsWith("Bert", StringComparison.Ordinal)) is null ? names.ToString() : Architecture
            : null);
        if (kind != Architecture)
        {
            throw config.Fault($"The architecture is {kind ?? "not named (\"model_type\" is missing)"}; the only one known for text embedders is {Architecture} (BertModel and BertFor...).");
        }

        Require(config, "position_embedding_type", config.Text("position_embedding_type") ?? "absolute", "absolute");
        Require(config, "is_decoder", config.Boolean("is_decoder") ?? false ? "true" : "false", "false");
        Require(config, "add_cross_attention", config.Boolean("add_cross_attention") ?? false ? "true" : "false", "false");
        foreach (string key in new[] { "quantization_config", "pruned_heads" })
        {
            if (config.Value(key) is { } value && !(value.ValueKind == JsonValueKind.Object && !value.EnumerateObject().Any()))
            {
                throw config.Unsupported(key, "set", "a model without it");
            }
        }
    }

    private static EncoderActivation ReadActivation(EmbedderFile config)
    {
        string name = config.Text("hidden_act") ?? "gelu";
        return ActivationNames.GeluOf(name) is { } gelu ? gelu == ActivationKind.Gelu ? EncoderActivation.Gelu : EncoderActivation.GeluTanh
            : ActivationNames.Relu.Contains(name, StringComparer.Ordinal) ? EncoderActivation.Relu
            : ActivationNames.Silu.Contains(name, StringComparer.Ordinal) ? EncoderActivation.Silu
            : throw config.Unsupported("hidden_act", name, "one of " + ActivationNames.List(ActivationNames.Gelu, ActivationNames.GeluTanh, ActivationNames.Relu, ActivationNames.Silu));
    }

    private static void Require(EmbedderFile file, string key, string value, string supported)
    {
        if (value != supported)
        {
            throw file.Unsupported(key, value, supported);
        }
    }

    private sealed record Modules(string Transformer, TextPooling Pooling, int? Dimensions, bool Normalize);

    // A plain BERT folder, without modules.json, is taken as sentence-transformers and RETRO take it: the mean over all tokens.
    private static Modules ReadModules(string folder)
    {
        string path = Path.Combine(folder, "modules.json");
        if (!File.Exists(path))
        {
            return new Modules(folder, TextPooling.Mean, null, false);
        }

        using EmbedderFile file = EmbedderFile.Open(path, JsonValueKind.Array);
        List<(string Kind, string Path)> modules = [];
        foreach (JsonElement module in file.Root.EnumerateArray())
        {
            if (module.ValueKind != JsonValueKind.Object
                || !module.TryGetProperty("type", out JsonElement type) || type.ValueKind != JsonValueKind.String
                || !module.TryGetProperty("path", out JsonElement place) || place.ValueKind != JsonValueKind.String)
            {
                throw file.Fault("Every module has to have a \"type\" and a \"path\".");
            }

            string relative = place.GetString()!;
            if (Path.IsPathRooted(relative) || relative.Split('/', '\\').Contains(".."))
            {
                throw file.Fault($"The module path \"{relative}\" leads out of the folder.");
            }

            modules.Add((type.GetString()!.Split('.')[^1], Path.Combine(folder, relative)));
        }

        string kinds = string.Join(", ", modules.Select(module => module.Kind));
        if (kinds is not ("Transformer, Pooling" or "Transformer, Pooling, Normalize"))
        {
            throw file.Fault($"The modules are {(kinds.Length == 0 ? "none" : kinds)}; supported are Transformer, Pooling, and Normalize after them or not.");
        }

        using (EmbedderFile? settings = EmbedderFile.OpenIfThere(Path.Combine(folder, "config_sentence_transformers.json")))
        {
            if (settings?.Text("default_prompt_name") is { } prompt)
            {
                throw settings.Unsupported("default_prompt_name", $"\"{prompt}\"", "none: texts are embedded as they are");
            }
        }

        (TextPooling pooling, int? dimensions) = ReadPooling(Path.Combine(modules[1].Path, "config.json"));
        return new Modules(modules[0].Path, pooling, dimensions, modules.Count == 3);
    }

    private static (TextPooling Pooling, int? Dimensions) ReadPooling(string path)
    {
        using EmbedderFile file = EmbedderFile.Open(path);
        Dictionary<string, TextPooling> known = new()
        {
            ["pooling_mode_mean_tokens"] = TextPooling.Mean,
            ["pooling_mode_cls_token"] = TextPooling.FirstToken,
            ["pooling_mode_max_tokens"] = TextPooling.Max,
            ["pooling_mode_mean_sqrt_len_tokens"] = TextPooling.MeanSquareRoot,
        };
        string[] set = file.Root.EnumerateObject().Where(entry => entry.Name.StartsWith("pooling_mode_", StringComparison.Ordinal) && file.Boolean(entry.Name) == true).Select(entry => entry.Name).ToArray();
        if (set.Length == 0 && file.Text("pooling_mode") is { } mode)
        {
            set = mode switch
            {
                "mean" => ["pooling_mode_mean_tokens"],
                "cls" => ["pooling_mode_cls_token"],
                "max" => ["pooling_mode_max_tokens"],
                "mean_sqrt_len_tokens" => ["pooling_mode_mean_sqrt_len_tokens"],
                _ => [mode],
            };
        }

        return set.Length == 1 && known.TryGetValue(set[0], out TextPooling pooling) ? (pooling, file.Integer("word_embedding_dimension") ?? file.Integer("embedding_dimension"))
            : throw file.Fault($"The pooling is {(set.Length == 0 ? "not set" : string.Join(" and ", set))}; supported is one of {string.Join(", ", known.Keys)}.");
    }
}
