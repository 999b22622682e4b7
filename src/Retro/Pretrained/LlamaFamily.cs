using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>Llama: RMSNorm, rotary positions (default, linear, llama3 or YaRN scaling), SwiGLU, grouped queries, optional biases.</summary>
internal class LlamaFamily : DecoderFamily
{
    /// <summary>What layer_types says of a layer.</summary>
    protected const string FullAttention = "full_attention", SlidingAttention = "sliding_attention";

    public override string ModelType => "llama";

    public override string Architecture => "LlamaForCausalLM";

    public override string Prefix => "model.";

    public override string Head => "lm_head.weight";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, defaultKeyValueHeads: null);
        RequireWindow(config, common.Layers, null);
        bool attention = config.Boolean("attention_bias") ?? false;
        return common with { QueryKeyValueBias = attention, AttentionOutputBias = attention, FeedForwardBias = config.Boolean("mlp_bias") ?? false };
    }

    public override IEnumerable<StoredTensor> Tensors(RetroConfig config)
    {
        long width = config.Width, queries = (long)config.Heads
            * config.HeadSize, keys = (long)(config.KeyValueHeads ?? config.Heads) * config.HeadSize, inner = config.FeedForwardSize;
        yield return StoredTensor.Same("embed_tokens.weight", "embedding.weight", config.VocabularySize, width);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string from = $"layers.{layer}", to = $"decoder.{layer + 1}";
            yield return StoredTensor.Same($"{from}.input_layernorm.weight", $"{to}.attn.norm.weight", width);
            if (config.QueryKeyNorm)
            {
                yield return StoredTensor.Same($"{from}.self_attn.q_norm.weight", $"{to}.attn.q_norm.weight", config.HeadSize);
                yield return StoredTensor.Same($"{from}.self_attn.k_norm.weight", $"{to}.attn.k_norm.weight", config.HeadSize);
            }

            yield return StoredTensor.Same($"{from}.post_attention_layernorm.weight", $"{to}.ffw.norm.weight", width);
            (string From, string To, long Output, long Input, bool Bias)[] projections =
            [
                ("self_attn.q_proj", "attn.q", queries, width, config.QueryKeyValueBias),
                ("self_attn.k_proj", "attn.k", keys, width, config.QueryKeyValueBias),
                ("self_attn.v_proj", "attn.v", keys, width, config.QueryKeyValueBias),
                ("self_attn.o_proj", "attn.o", width, queries, config.AttentionOutputBias),
                ("mlp.gate_proj", "ffw.gate", inner, width, config.FeedForwardBias),
                ("mlp.up_proj", "ffw.up", inner, width, config.FeedForwardBias),
                ("mlp.down_proj", "ffw.down", width, inner, config.FeedForwardBias),
            ];
            foreach ((string name, string target, long output, long input, bool bias) in projections)
            {
                yield return StoredTensor.Same($"{from}.{name}.weight", $"{to}.{target}.weight", output, input);
                if (bias)
                {
                    yield return StoredTensor.Same($"{from}.{name}.bias", $"{to}.{target}.bias", output);
                }
            }
        }

        yield return StoredTensor.Same("norm.weight", "decoder.norm.weight", width);
    }

    public override bool IsBuffer(string name) => name == "rotary_emb.inv_freq" || IsInLayer(name, "layers", "self_attn.rotary_emb.inv_freq");

    /// <summary>The one kind of attention that layer_types names for all layers; null: it says nothing.</summary>
    protected static string? LayerType(StrictJson config, int layers)
    {
        if (config.Texts("layer_types") is not { } types)
        {
            return null;
        }

        if (types.Length != layers)
        {
            throw config.Fault($"\"layer_types\" names {types.Length} layers, but \"num_hidden_layers\" is {layers}");
        }

        return types.Distinct().Count() == 1 && types[0] is FullAttention or SlidingAttention ? types[0]
            : throw config.Unsupported(
                "layer_types",
                $"[{string.Join(", ", types.Distinct())}]",
                $"one kind for all layers, \"{FullAttention}\" or \"{SlidingAttention}\"");
    }

    /// <summary>Refuses what says otherwise than the family whether there is a window; it may be said as it is.</summary>
    protected static void RequireWindow(StrictJson config, int layers, int? window)
    {
        config.Require("use_sliding_window", window is not null);
        string type = window is null ? FullAttention : SlidingAttention;
        if (LayerType(config, layers) is { } said && said != type)
        {
            throw config.Unsupported("layer_types", $"\"{said}\"", $"\"{type}\" for \"model_type\" \"{config.Text("model_type")}\"");
        }
    }

    /// <summary>What Llama, Mistral, Qwen2 and Qwen3 say alike.</summary>
    protected static RetroConfig Common(StrictJson config, int? defaultKeyValueHeads, int? defaultHeadSize = null)
    {
        int width = config.Size("hidden_size"), heads = config.Size("num_attention_heads");
        _ = ActivationNames.Read(config, "hidden_act", "silu", ActivationKind.Silu); // SwiGLU's

        // Spoken of by some configs; another value is another model.
        config.Require("rope_interleaved", false);
        config.Require("use_mrope", false);
        config.Require("activation", "swiglu"); // its name for silu and the gate
        PretrainedRotary rotary = PretrainedRotary.Read(config);
        int? keyValueHeads = config.Has("num_key_value_heads") ? config.Integer("num_key_value_heads") : defaultKeyValueHeads;
        return new()
        {
            VocabularySize = config.Size("vocab_size"),
            Width = width,
            Layers = config.Size("num_hidden_layers"),
            Heads = heads,
            KeyValueHeads = keyValueHeads ?? heads,
            HeadSize = config.Integer("head_dim") ?? defaultHeadSize ?? HeadSize(config, "hidden_size", width, "num_attention_heads", heads),
            FeedForwardSize = config.Size("intermediate_size"),
            Norm = NormKind.RmsNorm,
            NormEpsilon = config.Number("rms_norm_eps") ?? 1e-6,
            Activation = ActivationKind.SwiGlu,
            Positions = PositionKind.Rotary,
            RotaryBase = rotary.Base,
            RotaryScaling = rotary.Scaling,
            MaximumLength = rotary.Longest,
            TieEmbeddings = config.Boolean("tie_word_embeddings") ?? false,
        };
    }
}
