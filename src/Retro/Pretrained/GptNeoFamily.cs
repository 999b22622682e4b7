using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>
/// GPT-Neo, and with it the models of TinyStories (arXiv 2305.07759): GPT-2's layers with a matrix for each projection and a window in some of them. Their
/// attention's logits are not divided by the root of a head's size, by which its queries are multiplied instead.
/// </summary>
internal sealed class GptNeoFamily : DecoderFamily
{
    private const string Global = "global", Local = "local";

    // What transformers takes where the file does not say the key.
    private const int UnsaidWindow = 256;

    public override string ModelType => "gpt_neo";

    public override string Architecture => "GPTNeoForCausalLM";

    public override string Prefix => "transformer.";

    public override string Head => "lm_head.weight";

    // The list of layers is made of it, and counts where both are said.
    public override string[] WithoutEffect => ["attention_types"];

    public override RetroConfig Configure(StrictJson config)
    {
        int width = config.Size("hidden_size"), heads = config.Size("num_heads"), layers = config.Size("num_layers");
        RetroConfig common = new()
        {
            VocabularySize = config.Size("vocab_size"),
            Width = width,
            Layers = layers,
            Heads = heads,
            HeadSize = HeadSize(config, "hidden_size", width, "num_heads", heads),
            FeedForwardSize = config.Integer("intermediate_size") ?? 4 * width,
            MaximumLength = config.Size("max_position_embeddings"),
            Positions = PositionKind.Learned,
            Norm = NormKind.LayerNorm,
            NormEpsilon = config.Number("layer_norm_epsilon") ?? 1e-5,
            Activation = ActivationNames.Read(config, "activation_function", "gelu_new", ActivationKind.Gelu, ActivationKind.GeluTanh),
            AttentionOutputBias = true,
            FeedForwardBias = true,
            TieEmbeddings = config.Boolean("tie_word_embeddings") ?? true,
        };
        return WithWindow(common, config.Integer("window_size") ?? UnsaidWindow, LocalLayers(config, layers));
    }

    public override IEnumerable<StoredTensor> Tensors(RetroConfig config) => Gpt2Family.AroundProjections(config, (_, from, to) =>
    {
        long width = config.Width, inner = config.FeedForwardSize;
        ConvertedTensor queries = ConvertedTensor.Divided(1 / Math.Sqrt(config.HeadSize));
        return
        [
            new(
                $"{from}.attn.attention.q_proj.weight",
                [width, width],
                [$"{to}.attn.q.weight"],
                stored => [queries.Read(stored)],
                parameters => queries.Written(parameters[0])),
            StoredTensor.Same($"{from}.attn.attention.k_proj.weight", $"{to}.attn.k.weight", width, width),
            StoredTensor.Same($"{from}.attn.attention.v_proj.weight", $"{to}.attn.v.weight", width, width),
            StoredTensor.Same($"{from}.attn.attention.out_proj.weight", $"{to}.attn.o.weight", width, width),
            StoredTensor.Same($"{from}.attn.attention.out_proj.bias", $"{to}.attn.o.bias", width),
            StoredTensor.Same($"{from}.mlp.c_fc.weight", $"{to}.ffw.up.weight", inner, width),
            StoredTensor.Same($"{from}.mlp.c_fc.bias", $"{to}.ffw.up.bias", inner),
            StoredTensor.Same($"{from}.mlp.c_proj.weight", $"{to}.ffw.down.weight", width, inner),
            StoredTensor.Same($"{from}.mlp.c_proj.bias", $"{to}.ffw.down.bias", width),
        ];
    });

    public override bool IsBuffer(string name) => IsInLayer(name, "h", "attn.attention.bias", "attn.attention.masked_bias");

    // The layers, from 1, that have a window.
    private static LayerList LocalLayers(StrictJson config, int layers)
    {
        const string Key = "attention_layers";
        string[] kinds = config.Texts(Key) ?? throw config.Fault($"\"{Key}\" is missing; it has to name \"{Global}\" or \"{Local}\" for each layer");
        if (kinds.Length != layers)
        {
            throw config.Fault($"\"{Key}\" names {kinds.Length} layers, but \"num_layers\" is {layers}");
        }

        return kinds.FirstOrDefault(kind => kind is not (Global or Local)) is { } other
            ? throw config.Unsupported(Key, $"\"{other}\"", $"\"{Global}\" or \"{Local}\"")
            : Layers(layers, layer => kinds[layer - 1] == Local);
    }
}
