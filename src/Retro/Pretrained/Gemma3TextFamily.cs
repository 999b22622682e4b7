using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>
/// Gemma 3 without images (270M and 1B): Llama's layers, normalized before and behind each branch by weights that are stored less one, with GELU in the place
/// of SiLU, scaled embeddings, normalized heads, and a window with rotary frequencies of its own in most layers.
/// </summary>
internal sealed class Gemma3TextFamily : LlamaFamily
{
    // What transformers takes where the file does not say the key.
    private const int UnsaidWindow = 4096, UnsaidPattern = 6;
    private static readonly Unsaid s_unsaid = new(KeyValueHeads: 4, HeadSize: 256, RotaryBase: 1_000_000, Tied: true);

    public override string ModelType => "gemma3_text";

    public override string Architecture => "Gemma3ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        (PretrainedRotary all, double? windowBase) = PretrainedRotary.ReadByKind(config, s_unsaid.RotaryBase, null, "rope_local_base_freq");
        RetroConfig common = Common(config, s_unsaid, all);
        ActivationKind activation = ActivationNames.Read(config, "hidden_activation", "gelu_pytorch_tanh", ActivationKind.GeluTanh, ActivationKind.Gelu);
        config.Require("use_bidirectional_attention", false);
        foreach (string key in (string[])["attn_logit_softcapping", "final_logit_softcapping"])
        {
            if (config.Number(key) is { } cap)
            {
                throw config.Unsupported(key, FormattableString.Invariant($"{cap}"), "null");
            }
        }

        if ((config.Number("query_pre_attn_scalar") ?? s_unsaid.HeadSize) is { } scalar && scalar != common.HeadSize)
        {
            throw config.Unsupported("query_pre_attn_scalar", FormattableString.Invariant($"{scalar}"), $"{common.HeadSize}, the size of a head");
        }

        _ = config.Text("cache_implementation");
        int pattern = config.Integer("sliding_window_pattern") ?? config.Integer("_sliding_window_pattern") ?? UnsaidPattern;
        if (pattern <= 0)
        {
            throw config.Fault($"\"sliding_window_pattern\" is {pattern}; it has to be positive");
        }

        LayerList windowed = WindowLayers(config, common.Layers) ?? Layers(common.Layers, layer => layer % pattern != 0);
        bool bias = config.Boolean("attention_bias") ?? false;
        RetroConfig made = WithWindow(common, config.Integer("sliding_window") ?? UnsaidWindow, windowed) with
        {
            NormPlacement = NormPlacement.Both,
            QueryKeyNorm = true,
            Activation = activation == ActivationKind.Gelu ? ActivationKind.GeGlu : ActivationKind.GeGluTanh,
            QueryKeyValueBias = bias,
            AttentionOutputBias = bias,
            EmbeddingScale = Rounded(Math.Sqrt(common.Width), config.Text("dtype") ?? config.Text("torch_dtype")),
        };
        return made.SlidingWindow is null ? made : made with { WindowRotaryBase = windowBase ?? PretrainedRotary.UsualBase };
    }

    protected override StoredTensor Norm(string name, string target, long size)
    {
        ConvertedTensor weight = ConvertedTensor.Raised(1);
        return new(name, [size], [target], stored => [weight.Read(stored)], parameters => weight.Written(parameters[0]));
    }

    // The models were trained with the root in the type of their weights (https://github.com/huggingface/transformers/pull/29402).
    private static double Rounded(double root, string? dtype) => dtype switch
    {
        "bfloat16" => BFloat16Format.Read(BFloat16Format.Nearest((float)root)),
        "float16" => (double)(Half)root,
        _ => (float)root,
    };
}
