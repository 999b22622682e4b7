using Retro.Checkpoints;
using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>GPT-2: LayerNorm, learned positions, projections stored as [in, out] with queries, keys and values in one.</summary>
/// <param name="dividesByLayer">Whether attention's logits of the n-th layer are divided by n, which its queries are instead.</param>
internal sealed class Gpt2Family(bool dividesByLayer = false) : DecoderFamily
{
    public override string ModelType => "gpt2";

    public override string Architecture => "GPT2LMHeadModel";

    public override string Prefix => "transformer.";

    public override string Head => "lm_head.weight";

    public override int? ContextLength(StrictJson config) => config.Integer("n_positions");

    public override DecoderFamily For(StrictJson config) => new Gpt2Family(config.Boolean("scale_attn_by_inverse_layer_idx") ?? false);

    public override RetroConfig Configure(StrictJson config)
    {
        int width = config.Size("n_embd"), heads = config.Size("n_head");
        config.Require("scale_attn_weights", true);
        return new()
        {
            VocabularySize = config.Size("vocab_size"),
            Width = width,
            Layers = config.Size("n_layer"),
            Heads = heads,
            HeadSize = HeadSize(config, "n_embd", width, "n_head", heads),
            FeedForwardSize = config.Integer("n_inner") ?? 4 * width,
            MaximumLength = config.Size("n_positions"),
            Positions = PositionKind.Learned,
            Norm = NormKind.LayerNorm,
            NormEpsilon = config.Number("layer_norm_epsilon") ?? 1e-5,
            Activation = ActivationNames.Read(config, "activation_function", "gelu_new", ActivationKind.Gelu, ActivationKind.GeluTanh),
            QueryKeyValueBias = true,
            AttentionOutputBias = true,
            FeedForwardBias = true,
            TieEmbeddings = config.Boolean("tie_word_embeddings") ?? true,
        };
    }

    public override IEnumerable<StoredTensor> Tensors(RetroConfig config) => AroundProjections(config, (layer, from, to) =>
    {
        long width = config.Width, inner = config.FeedForwardSize;
        Projections weights = new(dividesByLayer ? layer + 1 : 1), biases = new(dividesByLayer ? layer + 1 : 1);
        return
        [
            new(
                $"{from}.attn.c_attn.weight",
                [width, 3 * width],
                [$"{to}.attn.q.weight", $"{to}.attn.k.weight", $"{to}.attn.v.weight"],
                tensor => weights.Read(Thirds(tensor.t())),
                parts => cat(weights.Written(parts), 0).t()),
            new(
                $"{from}.attn.c_attn.bias",
                [3 * width],
                [$"{to}.attn.q.bias", $"{to}.attn.k.bias", $"{to}.attn.v.bias"],
                tensor => biases.Read(Thirds(tensor)),
                parts => cat(biases.Written(parts), 0)),
            StoredTensor.Transposed($"{from}.attn.c_proj.weight", $"{to}.attn.o.weight", width, width),
            StoredTensor.Same($"{from}.attn.c_proj.bias", $"{to}.attn.o.bias", width),
            StoredTensor.Transposed($"{from}.mlp.c_fc.weight", $"{to}.ffw.up.weight", width, inner),
            StoredTensor.Same($"{from}.mlp.c_fc.bias", $"{to}.ffw.up.bias", inner),
            StoredTensor.Transposed($"{from}.mlp.c_proj.weight", $"{to}.ffw.down.weight", inner, width),
            StoredTensor.Same($"{from}.mlp.c_proj.bias", $"{to}.ffw.down.bias", width),
        ];
    });

    /// <summary>The tensors of GPT-2 and GPT-Neo, which differ in their projections alone.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="projections">Those of a layer, from 0, by how its names begin there and here.</param>
    internal static IEnumerable<StoredTensor> AroundProjections(RetroConfig config, Func<int, string, string, StoredTensor[]> projections)
    {
        long width = config.Width;
        yield return StoredTensor.Same("wte.weight", "embedding.weight", config.VocabularySize, width);
        yield return StoredTensor.Same("wpe.weight", "positions.weight", config.MaximumLength!.Value, width);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string from = $"h.{layer}", to = $"decoder.{layer + 1}";
            foreach (string part in (string[])["weight", "bias"])
            {
                yield return StoredTensor.Same($"{from}.ln_1.{part}", $"{to}.attn.norm.{part}", width);
                yield return StoredTensor.Same($"{from}.ln_2.{part}", $"{to}.ffw.norm.{part}", width);
            }

            foreach (StoredTensor projection in projections(layer, from, to))
            {
                yield return projection;
            }
        }

        yield return StoredTensor.Same("ln_f.weight", "decoder.norm.weight", width);
        yield return StoredTensor.Same("ln_f.bias", "decoder.norm.bias", width);
    }

    public override bool IsBuffer(string name) => IsInLayer(name, "h", "attn.bias", "attn.masked_bias");

    private static Tensor[] Thirds(Tensor tensor)
    {
        long size = tensor.shape[0] / 3;
        return [tensor.narrow(0, 0, size), tensor.narrow(0, size, size), tensor.narrow(0, 2 * size, size)];
    }

    // Queries, keys and values, the first of which may be divided.
    private sealed class Projections(int divisor)
    {
        private readonly ConvertedTensor? _queries = divisor == 1 ? null : ConvertedTensor.Divided(divisor);

        public Tensor[] Read(Tensor[] stored) => _queries is null ? stored : [_queries.Read(stored[0]), .. stored[1..]];

        public Tensor[] Written(Tensor[] parts)
            => _queries is null ? parts : [_queries.Written(parts[0]), .. parts[1..].Select(part => part.to_type(ScalarType.Float64))];
    }
}
