using Retro.Checkpoints;
using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>GPT-NeoX and Pythia: LayerNorm, partly rotated heads, parallel or sequential residuals, queries, keys and values interleaved by head.</summary>
internal sealed class GptNeoXFamily : DecoderFamily
{
    private const double UnsaidFraction = 0.25;

    public override string ModelType => "gpt_neox";

    public override string Architecture => "GPTNeoXForCausalLM";

    public override string Prefix => "gpt_neox.";

    public override string Head => "embed_out.weight";

    public override RetroConfig Configure(StrictJson config)
    {
        int width = config.Size("hidden_size"), heads = config.Size("num_attention_heads");
        PretrainedRotary rotary = PretrainedRotary.Read(config, oldBase: "rotary_emb_base", oldFraction: "rotary_pct", partly: true);
        bool attention = config.Boolean("attention_bias") ?? true;
        return new()
        {
            VocabularySize = config.Size("vocab_size"),
            Width = width,
            Layers = config.Size("num_hidden_layers"),
            Heads = heads,
            HeadSize = HeadSize(config, "hidden_size", width, "num_attention_heads", heads),
            FeedForwardSize = config.Size("intermediate_size"),
            Norm = NormKind.LayerNorm,
            NormEpsilon = config.Number("layer_norm_eps") ?? 1e-5,
            Activation = ActivationNames.Read(config, "hidden_act", "gelu", ActivationKind.Gelu, ActivationKind.GeluTanh),
            Positions = PositionKind.Rotary,
            RotaryBase = rotary.Base,
            RotaryFraction = rotary.Fraction ?? UnsaidFraction,
            RotaryScaling = rotary.Scaling,
            MaximumLength = rotary.Longest,
            QueryKeyValueBias = attention,
            AttentionOutputBias = attention,
            FeedForwardBias = true,
            ParallelResidual = config.Boolean("use_parallel_residual") ?? true,
            TieEmbeddings = config.Boolean("tie_word_embeddings") ?? false,
        };
    }

    public override IEnumerable<StoredTensor> Tensors(RetroConfig config)
    {
        long width = config.Width, inner = config.FeedForwardSize, heads = config.Heads, size = config.HeadSize;
        yield return StoredTensor.Same("embed_in.weight", "embedding.weight", config.VocabularySize, width);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string from = $"layers.{layer}", to = $"decoder.{layer + 1}";
            foreach (string part in (string[])["weight", "bias"])
            {
                yield return StoredTensor.Same($"{from}.input_layernorm.{part}", $"{to}.attn.norm.{part}", width);
                yield return StoredTensor.Same($"{from}.post_attention_layernorm.{part}", $"{to}.ffw.norm.{part}", width);
            }

            yield return Fused($"{from}.attention.query_key_value.weight", to, "weight", [3 * heads * size, width]);
            yield return StoredTensor.Same($"{from}.attention.dense.weight", $"{to}.attn.o.weight", width, heads * size);
            if (config.QueryKeyValueBias)
            {
                yield return Fused($"{from}.attention.query_key_value.bias", to, "bias", [3 * heads * size]);
                yield return StoredTensor.Same($"{from}.attention.dense.bias", $"{to}.attn.o.bias", width);
            }

            yield return StoredTensor.Same($"{from}.mlp.dense_h_to_4h.weight", $"{to}.ffw.up.weight", inner, width);
            yield return StoredTensor.Same($"{from}.mlp.dense_h_to_4h.bias", $"{to}.ffw.up.bias", inner);
            yield return StoredTensor.Same($"{from}.mlp.dense_4h_to_h.weight", $"{to}.ffw.down.weight", width, inner);
            yield return StoredTensor.Same($"{from}.mlp.dense_4h_to_h.bias", $"{to}.ffw.down.bias", width);
        }

        yield return StoredTensor.Same("final_layer_norm.weight", "decoder.norm.weight", width);
        yield return StoredTensor.Same("final_layer_norm.bias", "decoder.norm.bias", width);

        // Rows are [head, q|k|v, feature].
        StoredTensor Fused(string name, string to, string part, long[] shape) => new(
            name,
            shape,
            [$"{to}.attn.q.{part}", $"{to}.attn.k.{part}", $"{to}.attn.v.{part}"],
            tensor => [.. Enumerable.Range(0, 3).Select(i => tensor.view(heads, 3, size, -1).select(1, i).reshape([heads * size, .. shape[1..]]))],
            parts => stack(parts.Select(tensor => tensor.reshape(heads, size, -1)).ToArray(), 1).reshape(shape));
    }

    public override bool IsBuffer(string name)
        => name == "rotary_emb.inv_freq" || IsInLayer(name, "layers", "attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq");
}
