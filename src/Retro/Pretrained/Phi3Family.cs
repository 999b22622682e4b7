using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>
/// Phi-3, Phi-3.5 and Phi-4-mini: Llama's layers without biases, partly rotated heads, LongRoPE up to the original length, and queries, keys and values, gate
/// and up each stored in one.
/// </summary>
internal sealed class Phi3Family : LlamaFamily
{
    private static readonly Unsaid s_unsaid = new(Epsilon: 1e-5);

    public override string ModelType => "phi3";

    public override string Architecture => "Phi3ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, s_unsaid, PretrainedRotary.Read(config, partly: true));
        if (common is not { RotaryScaling.Kind: RotaryScalingKind.LongRope } and not { RotaryScaling: null, MaximumLength: null })
        {
            // Its first files call LongRoPE "su" and "yarn".
            throw config.Unsupported("rope_type", "of another kind", "\"longrope\" or \"default\" for \"model_type\" \"phi3\"");
        }

        config.Require("attention_bias", false);
        config.Require("mlp_bias", false);
        config.Require("lm_head_bias", false);
        foreach (string key in (string[])["full_attn_mod", "interpolate_factor"])
        {
            if (config.Integer(key) is { } number and not 1)
            {
                throw config.Unsupported(key, $"{number}", "1");
            }
        }

        _ = config.Part("auto_map"); // its own code, which transformers has as this family
        _ = config.Integer("original_max_position_embeddings"); // without LongRoPE, of no effect
        return common with { SlidingWindow = config.Integer("sliding_window") };
    }

    protected override IEnumerable<StoredTensor> Projections(RetroConfig config, string from, string to)
    {
        (long width, long queries, long keys, long inner) = Widths(config);
        yield return StoredTensor.Stacked(
            $"{from}.self_attn.qkv_proj.weight", width, ($"{to}.attn.q.weight", queries), ($"{to}.attn.k.weight", keys), ($"{to}.attn.v.weight", keys));
        yield return StoredTensor.Same($"{from}.self_attn.o_proj.weight", $"{to}.attn.o.weight", width, queries);
        yield return StoredTensor.Stacked($"{from}.mlp.gate_up_proj.weight", width, ($"{to}.ffw.gate.weight", inner), ($"{to}.ffw.up.weight", inner));
        yield return StoredTensor.Same($"{from}.mlp.down_proj.weight", $"{to}.ffw.down.weight", width, inner);
    }
}
