using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>Llama: RMSNorm, rotary positions (default, linear, llama3 or YaRN scaling), SwiGLU, grouped queries, optional biases.</summary>
internal class LlamaFamily : DecoderFamily
{
    public override string ModelType => "llama";

    public override string Architecture => "LlamaForCausalLM";

    public override string Prefix => "model.";

    public override string Head => "lm_head.weight";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, new());
        RequireWindow(config, common.Layers, null);
        bool attention = config.Boolean("attention_bias") ?? false;
        return common with { QueryKeyValueBias = attention, AttentionOutputBias = attention, FeedForwardBias = config.Boolean("mlp_bias") ?? false };
    }

    public override IEnumerable<StoredTensor> Tensors(RetroConfig config)
    {
        long width = config.Width;
        yield return StoredTensor.Same("embed_tokens.weight", "embedding.weight", config.VocabularySize, width);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string from = $"layers.{layer}", to = $"decoder.{layer + 1}";
            foreach ((string name, string target, long size) in Norms(config))
            {
                yield return Norm($"{from}.{name}.weight", $"{to}.{target}.weight", size);
            }

            foreach (StoredTensor projection in Projections(config, from, to))
            {
                yield return projection;
            }
        }

        yield return Norm("norm.weight", "decoder.norm.weight", width);
    }

    /// <summary>The weights of a norm.</summary>
    protected virtual StoredTensor Norm(string name, string target, long size) => StoredTensor.Same(name, target, size);

    /// <summary>The matrices of a layer and their biases.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="from">The layer's name there.</param>
    /// <param name="to">The layer's name here.</param>
    protected virtual IEnumerable<StoredTensor> Projections(RetroConfig config, string from, string to)
    {
        (long width, long queries, long keys, long inner) = Widths(config);
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

    // The norm before feed-forward is called as if it were one behind attention where there is none.
    private static IEnumerable<(string From, string To, long Size)> Norms(RetroConfig config)
    {
        (long width, long queries, long keys, _) = Widths(config);
        if (config.NormsBefore)
        {
            yield return ("input_layernorm", "attn.norm", width);
            yield return (config.NormsAfter ? "pre_feedforward_layernorm" : "post_attention_layernorm", "ffw.norm", width);
        }

        if (config.NormsAfter)
        {
            yield return ("post_attention_layernorm", "attn.output_norm", width);
            yield return ("post_feedforward_layernorm", "ffw.output_norm", width);
        }

        if (config.QueryKeyNorm)
        {
            yield return ("self_attn.q_norm", "attn.q_norm", config.QueryKeyNormAcrossHeads ? queries : config.HeadSize);
            yield return ("self_attn.k_norm", "attn.k_norm", config.QueryKeyNormAcrossHeads ? keys : config.HeadSize);
        }
    }

    /// <summary>Widths of the states, of the queries and of the keys of all heads, and of the feed-forward branch.</summary>
    protected static (long Width, long Queries, long Keys, long Inner) Widths(RetroConfig config)
        => (config.Width, (long)config.Heads * config.HeadSize, (long)config.SelfAttentionKeyValueHeads * config.HeadSize, config.FeedForwardSize);

    public override bool IsBuffer(string name) => name == "rotary_emb.inv_freq" || IsInLayer(name, "layers", "self_attn.rotary_emb.inv_freq");

    /// <summary>The layers, from 1, that have a window, as layer_types names them; null: it says nothing.</summary>
    protected static LayerList? WindowLayers(StrictJson config, int layers)
    {
        if (config.Texts("layer_types") is not { } types)
        {
            return null;
        }

        if (types.Length != layers)
        {
            throw config.Fault($"\"layer_types\" names {types.Length} layers, but \"num_hidden_layers\" is {layers}");
        }

        return types.FirstOrDefault(type => type is not (PretrainedRotary.FullAttention or PretrainedRotary.SlidingAttention)) is { } other
            ? throw config.Unsupported("layer_types", $"\"{other}\"", $"\"{PretrainedRotary.FullAttention}\" or \"{PretrainedRotary.SlidingAttention}\"")
            : Layers(layers, layer => types[layer - 1] == PretrainedRotary.SlidingAttention);
    }

    /// <summary>Refuses what says otherwise than the family whether all layers have a window; it may be said as it is.</summary>
    protected static void RequireWindow(StrictJson config, int layers, int? window)
    {
        config.Require("use_sliding_window", window is not null);
        if (WindowLayers(config, layers) is { } said && said.Count != (window is null ? 0 : layers))
        {
            throw config.Unsupported(
                "layer_types",
                string.Join(", ", config.Texts("layer_types")!.Distinct().Select(type => $"\"{type}\"")),
                $"\"{(window is null ? PretrainedRotary.FullAttention : PretrainedRotary.SlidingAttention)}\" for \"model_type\" \"{config.Text("model_type")}\"");
        }
    }

    /// <summary>What transformers takes where the file does not say a key.</summary>
    /// <param name="KeyValueHeads">Null: as many as there are heads.</param>
    /// <param name="HeadSize">Null: width / heads.</param>
    /// <param name="Epsilon">What norms add below the root.</param>
    /// <param name="RotaryBase">The base of the rotary frequencies.</param>
    /// <param name="Tied">Whether the head is the embedding.</param>
    protected sealed record Unsaid(
        int? KeyValueHeads = null, int? HeadSize = null, double Epsilon = 1e-6, double RotaryBase = PretrainedRotary.UsualBase, bool Tied = false);

    /// <summary>What Llama and its kin say alike.</summary>
    /// <param name="config">The file.</param>
    /// <param name="unsaid">What holds where it says nothing.</param>
    /// <param name="positions">The rotary positions; null: those of whole heads.</param>
    protected static RetroConfig Common(StrictJson config, Unsaid unsaid, PretrainedRotary? positions = null)
    {
        int width = config.Size("hidden_size"), heads = config.Size("num_attention_heads");
        _ = ActivationNames.Read(config, "hidden_act", "silu", ActivationKind.Silu); // SwiGLU's

        // Spoken of by some configs; another value is another model.
        config.Require("rope_interleaved", false);
        config.Require("use_mrope", false);
        config.Require("activation", "swiglu"); // its name for silu and the gate
        PretrainedRotary rotary = positions ?? PretrainedRotary.Read(config, unsaid.RotaryBase);
        int? keyValueHeads = config.Has("num_key_value_heads") ? config.Integer("num_key_value_heads") : unsaid.KeyValueHeads;
        return new()
        {
            VocabularySize = config.Size("vocab_size"),
            Width = width,
            Layers = config.Size("num_hidden_layers"),
            Heads = heads,
            KeyValueHeads = keyValueHeads ?? heads,
            HeadSize = config.Integer("head_dim") ?? unsaid.HeadSize ?? HeadSize(config, "hidden_size", width, "num_attention_heads", heads),
            FeedForwardSize = config.Size("intermediate_size"),
            Norm = NormKind.RmsNorm,
            NormEpsilon = config.Number("rms_norm_eps") ?? unsaid.Epsilon,
            Activation = ActivationKind.SwiGlu,
            Positions = PositionKind.Rotary,
            RotaryBase = rotary.Base,
            RotaryFraction = rotary.Fraction ?? 1,
            RotaryScaling = rotary.Scaling,
            MaximumLength = rotary.Longest,
            TieEmbeddings = config.Boolean("tie_word_embeddings") ?? unsaid.Tied,
        };
    }
}
