using System.Text.Json;
using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Embedders;

/// <summary>Reads what the JSON files of a Hugging Face encoder's or sentence-transformers folder say about an embedder.</summary>
/// <param name="Config">Sizes, pooling and maximum length.</param>
/// <param name="LowerCase">Whether texts are lower-cased before the tokenizer.</param>
/// <param name="WeightFolder">Where weights and tokenizer lie.</param>
/// <param name="DenseFolder">Where the weights of <see cref="TextEncoderConfig.Dense"/> lie; null: there is none.</param>
/// <param name="Identity">The identity that the folder was saved with; null where Retro did not write it.</param>
/// <param name="Prompts">What is meant to stand before texts, by the texts' kind.</param>
/// <param name="Prompt">The one of them for texts that are found and looked up alike; empty: none.</param>
internal sealed record TextEncoderFolder(
    TextEncoderConfig Config,
    bool LowerCase,
    string WeightFolder,
    string? DenseFolder,
    string? Identity,
    IReadOnlyDictionary<string, string> Prompts,
    string Prompt)
{
    /// <summary>What "activation_function" of a "Dense" says.</summary>
    public const string Tanh = "torch.nn.modules.activation.Tanh", NoActivation = "torch.nn.modules.linear.Identity";

    /// <summary>The file of the prompts.</summary>
    public const string PromptsName = "config_sentence_transformers.json";

    /// <summary>The key of config.json under which Retro keeps an embedder's identity; others ignore it.</summary>
    public const string IdentityKey = Tokenizers.TokenizerConfig.OwnKey;

    private const string TruncationSide = "truncation_side";

    // As sentence-transformers looks for the prompt of documents.
    private static readonly string[] s_documentKinds = ["document", "passage", "corpus"];

    // Of the pooler, which embeddings do without, of heads, and of training.
    private static readonly string[] s_withoutEffect =
    [
        "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type", "tie_word_embeddings",
        "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds", "tie_weights_",
        "classifier_activation", "classifier_bias", "classifier_pooling", "decoder_bias", "deterministic_flash_attn", "initializer_cutoff_factor",
        "mlp_dropout", "reference_compile", "repad_logits_with_grad", "sparse_pred_ignore_index", "sparse_prediction",
    ];

    // What sentence-transformers takes for the settings of its Transformer: the first of these that is there.
    private static readonly string[] s_sentenceNames =
    [
        "sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json", "sentence_camembert_config.json",
        "sentence_albert_config.json", "sentence_xlm-roberta_config.json", "sentence_xlnet_config.json",
    ];

    // What it writes there and changes no vector: where files were kept, and whether padding is computed.
    private static readonly string[] s_sentenceWithoutEffect = ["cache_dir", "unpad_inputs"];

    /// <summary>Reads a folder.</summary>
    /// <exception cref="CheckpointException">A file is missing or damaged, the architecture is not known, or a value that would change the vectors is not
    /// supported.</exception>
    public static TextEncoderFolder Read(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new CheckpointException($"There is no folder {folder}; name one that holds config.json, model.safetensors and a tokenizer.");
        }

        StagedFiles.Finish(folder, CheckpointException.Of);
        Modules modules = ReadModules(folder);
        Checkpoints.WeightFolder.RequireNoAdapter(modules.Transformer);
        using StrictJson config = StrictJson.Open(
            Path.Combine(modules.Transformer, "config.json"),
            hint: "the folder of a text embedder holds config.json, model.safetensors and the tokenizer's files");
        TextEncoderFamily family = TextEncoderFamily.Read(config);
        CheckArchitecture(config);
        string? settings = s_sentenceNames.Select(name => Path.Combine(modules.Transformer, name)).FirstOrDefault(File.Exists);
        using StrictJson? sentence = settings is null ? null : StrictJson.Open(settings);
        using StrictJson? tokenizer = StrictJson.OpenIfThere(Path.Combine(modules.Transformer, "tokenizer_config.json"));
        int positions = config.Integer("max_position_embeddings") ?? family.UsualPositions, first = family.FirstPosition(config);

        // A file may say more than there are positions for, or count RoBERTa's rows for padding among them: what lies beyond has no vector.
        int length = Math.Min(
            sentence?.Integer("max_seq_length") ?? (int)Math.Min(tokenizer?.Number("model_max_length") ?? positions, positions), positions - first);
        tokenizer?.Require(TruncationSide, "right");
        int layers = config.Integer(family.Layers) ?? family.UsualLayers;
        try
        {
            TextEncoderConfig sizes = new TextEncoderConfig(
                VocabularySize: config.Integer("vocab_size") ?? family.VocabularySize,
                Width: config.Integer(family.Width) ?? 768,
                Layers: layers,
                Heads: config.Integer(family.Heads) ?? 12,
                FeedForwardSize: config.Integer(family.FeedForwardSize) ?? family.UsualFeedForwardSize,
                MaximumPositions: positions,
                TokenTypes: family.TokenTypes is { } types ? config.Integer(types) ?? 2 : 0,
                LayerNormEpsilon: family.LayerNormEpsilon is { } epsilon ? config.Number(epsilon) ?? family.UsualEpsilon : family.UsualEpsilon,
                MaximumLength: length,
                Pooling: modules.Pooling,
                Normalize: modules.Normalize,
                Activation: ActivationNames.Read(
                    config, family.Activation, "gelu", ActivationKind.Gelu, ActivationKind.GeluTanh, ActivationKind.Relu, ActivationKind.Silu))
            {
                FirstPosition = first,
                RelativePositions = family.RelativePositions,
                Modern = family.IsModern ? ModernLayersJson.Read(config, layers) : null,
                Dense = modules.Dense is null ? null : ReadDense(modules.Dense, config.Integer(family.Width) ?? 768),
            }.Validate();
            if (family.RelativePositions && config.Integer("relative_attention_num_buckets") is { } distances and not TextEncoder.Distances)
            {
                throw config.Unsupported("relative_attention_num_buckets", $"{distances}", $"{TextEncoder.Distances}");
            }

            if (config.Integer("emb_size") is { } size && size != sizes.Width)
            {
                throw config.Fault($"\"emb_size\" is {size}, \"hidden_size\" {sizes.Width}; supported is one value in both");
            }

            if (modules.Dimensions is int dimensions && dimensions != sizes.Width)
            {
                throw config.Fault(
                    $"\"hidden_size\" is {sizes.Width}, the pooling's config.json says {dimensions} dimensions; the files belong to different models");
            }

            string? identity = config.Text(IdentityKey);
            config.RequireAllRead(s_withoutEffect);
            bool lowerCase = sentence?.Boolean("do_lower_case") ?? false;
            if (sentence is not null)
            {
                CheckSettings(sentence);
            }

            return new TextEncoderFolder(sizes, lowerCase, modules.Transformer, modules.Dense, identity, modules.Prompts, modules.Prompt);
        }
        catch (RetroOptionsException exception)
        {
            throw new CheckpointException($"The files of {folder} contradict themselves: {string.Join(' ', exception.Faults)}", exception);
        }
    }

    /// <summary>Refuses a tokenizer.json that cuts long texts at their beginning, where tokenizer_config.json says nothing about it.</summary>
    public static void RequireCutEnds(string folder)
    {
        using StrictJson? config = StrictJson.OpenIfThere(Path.Combine(folder, "tokenizer_config.json"));
        using StrictJson? tokenizer = config?.Text(TruncationSide) is null ? StrictJson.OpenIfThere(Path.Combine(folder, "tokenizer.json")) : null;
        tokenizer?.Part("truncation")?.Require("direction", "Right");
    }

    private static void CheckArchitecture(StrictJson config)
    {
        config.Require("position_embedding_type", "absolute");
        config.Require("directionality", "bidi");
        config.Require("is_decoder", false);
        config.Require("is_encoder_decoder", false);
        config.Require("add_cross_attention", false);
    }

    // Versions from 5.4 on say what is fed and what is taken: a text as it is, and its tokens' last states.
    private static void CheckSettings(StrictJson sentence)
    {
        sentence.Require("transformer_task", "feature-extraction");
        sentence.Require("module_output_name", "token_embeddings");
        if (sentence.Part("modality_config") is { } kinds)
        {
            StrictJson text = kinds.Part("text") ?? throw kinds.Fault("\"text\" is missing; supported is a model of texts");
            text.Require("method", "forward");
            text.Require("method_output_name", "last_hidden_state");
            text.RequireAllRead();
            kinds.RequireAllRead(); // of "message" a text would be put into a chat template
        }

        sentence.RequireAllRead(s_sentenceWithoutEffect);
    }

    private sealed record Modules(
        string Transformer,
        TextPooling Pooling,
        int? Dimensions,
        string? Dense,
        bool Normalize,
        IReadOnlyDictionary<string, string> Prompts,
        string Prompt);

    // A plain BERT folder, without modules.json, is taken as sentence-transformers and RETRO take it: the mean over all tokens.
    private static Modules ReadModules(string folder)
    {
        string path = Path.Combine(folder, "modules.json");
        if (!File.Exists(path))
        {
            return new Modules(folder, TextPooling.Mean, null, null, false, new Dictionary<string, string>(), "");
        }

        using StrictJson file = StrictJson.Open(path, JsonValueKind.Array);
        List<(string Kind, string Path)> modules = [];
        foreach (StrictJson module in file.Items())
        {
            string type = module.Text("type") ?? throw module.Fault("\"type\" is missing; every module has to have a \"type\" and a \"path\"");
            string relative = module.Text("path") ?? throw module.Fault("\"path\" is missing; every module has to have a \"type\" and a \"path\"");
            if (Path.IsPathRooted(relative) || relative.Contains('\0') || relative.Split('/', '\\').Contains(".."))
            {
                throw module.Fault($"\"path\" is \"{relative}\", which leads out of the folder, or nowhere; supported is a folder below it");
            }

            modules.Add((type.Split('.')[^1], Path.Combine(folder, relative)));
        }

        string kinds = string.Join(", ", modules.Select(module => module.Kind));
        bool dense = modules.Count > 2 && modules[2].Kind == "Dense", normalize = modules.Count > 2 && modules[^1].Kind == "Normalize";
        if (kinds != $"Transformer, Pooling{(dense ? ", Dense" : "")}{(normalize ? ", Normalize" : "")}")
        {
            throw file.Fault(
                $"the modules (\"type\") are {(kinds.Length == 0 ? "none" : kinds)}; supported are Transformer, Pooling, then Dense or not, then Normalize or not");
        }

        (Dictionary<string, string> prompts, string prompt) = ReadPrompts(Path.Combine(folder, PromptsName));
        (TextPooling pooling, int? dimensions) = ReadPooling(Path.Combine(modules[1].Path, "config.json"), prompt);
        return new Modules(modules[0].Path, pooling, dimensions, dense ? modules[2].Path : null, normalize, prompts, prompt);
    }

    private static TextDense ReadDense(string folder, int width)
    {
        using StrictJson file = StrictJson.Open(Path.Combine(folder, "config.json"));
        if (file.Size("in_features") is var taken && taken != width)
        {
            throw file.Fault($"\"in_features\" is {taken}, the pooled vectors have {width} dimensions; the files belong to different models");
        }

        string activation = file.Text("activation_function") ?? Tanh;
        if (activation is not (Tanh or NoActivation))
        {
            throw file.Unsupported("activation_function", $"\"{activation}\"", $"\"{Tanh}\" or \"{NoActivation}\"");
        }

        foreach (string key in (string[])["module_input_name", "module_output_name"])
        {
            file.Require(key, "sentence_embedding");
        }

        file.Require("use_residual", false);
        TextDense dense = new(file.Size("out_features"), file.Boolean("bias") ?? true, activation == Tanh);
        file.RequireAllRead();
        return dense;
    }

    // A query's prompt alone is for short questions; where documents have one too, every text the model knows has one.
    private static (Dictionary<string, string> Prompts, string Prompt) ReadPrompts(string path)
    {
        Dictionary<string, string> prompts = new(StringComparer.Ordinal);
        using StrictJson? file = StrictJson.OpenIfThere(path);
        StrictJson? part = file?.Part("prompts");
        foreach (string kind in (IEnumerable<string>?)part?.Keys ?? [])
        {
            if (part!.Text(kind) is { Length: > 0 } text)
            {
                prompts.Add(kind, text);
            }
        }

        if (file?.Text("default_prompt_name") is { } usual)
        {
            return (prompts, part?.Text(usual)
                ?? throw file.Fault($"\"default_prompt_name\" is \"{usual}\", and \"prompts\" has none of that name; write it there, or null"));
        }

        string? document = s_documentKinds.Select(kind => prompts.GetValueOrDefault(kind)).FirstOrDefault(text => text is not null);
        return (prompts, document is null ? "" : prompts.GetValueOrDefault("query", document));
    }

    private static (TextPooling Pooling, int? Dimensions) ReadPooling(string path, string prompt)
    {
        using StrictJson file = StrictJson.Open(path);
        if (prompt.Length > 0)
        {
            file.Require("include_prompt", true);
        }

        Dictionary<string, TextPooling> known = new()
        {
            ["pooling_mode_mean_tokens"] = TextPooling.Mean,
            ["pooling_mode_cls_token"] = TextPooling.FirstToken,
            ["pooling_mode_max_tokens"] = TextPooling.Max,
            ["pooling_mode_mean_sqrt_len_tokens"] = TextPooling.MeanSquareRoot,
        };
        string[] set = [.. file.Keys.Where(key => key.StartsWith("pooling_mode_", StringComparison.Ordinal) && file.Boolean(key) == true)];
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

        return set.Length == 1 && known.TryGetValue(set[0], out TextPooling pooling)
            ? (pooling, file.Integer("word_embedding_dimension") ?? file.Integer("embedding_dimension"))
            : throw file.Fault(
                $"the pooling (\"pooling_mode_...\") is {(set.Length == 0 ? "not set" : string.Join(" and ", set))}; supported is one of "
                    + $"{string.Join(", ", known.Keys)}");
    }
}
