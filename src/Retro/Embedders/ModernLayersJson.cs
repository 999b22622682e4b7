using Retro.Checkpoints;
using Retro.Pretrained;

namespace Retro.Embedders;

/// <summary>
/// <see cref="ModernLayers"/> in a config.json. They are written by the keys of transformers 4, which transformers 5 reads, too; what that writes for positions
/// and kinds of layers is read as well.
/// </summary>
internal static class ModernLayersJson
{
    private const string RotaryBase = "global_rope_theta", WindowRotaryBase = "local_rope_theta", Window = "local_attention",
        FullEvery = "global_attn_every_n_layers", NormBias = "norm_bias", AttentionBias = "attention_bias", FeedForwardBias = "mlp_bias";

    /// <summary>Reads them.</summary>
    /// <param name="config">The file.</param>
    /// <param name="layers">How many layers it says.</param>
    /// <exception cref="CheckpointException">A value is not supported.</exception>
    public static ModernLayers Read(StrictJson config, int layers)
    {
        ModernLayers unsaid = new();
        (PretrainedRotary all, double? windowBase) = PretrainedRotary.ReadByKind(config, unsaid.RotaryBase, RotaryBase, WindowRotaryBase);
        if (all is not { Scaling: null, Longest: null })
        {
            throw config.Unsupported("rope_type", "of another kind", "\"default\"");
        }

        _ = config.Number("layer_norm_eps"); // which files of ModernBERT say beside "norm_eps", and no program reads
        return new()
        {
            RotaryBase = all.Base,
            WindowRotaryBase = windowBase ?? (config.Has(WindowRotaryBase) ? all.Base : unsaid.WindowRotaryBase), // null: there is one base for all
            Window = (config.Integer(Window) ?? (2 * unsaid.Window)) >> 1, // both sides are said
            FullEvery = ReadFullEvery(config, layers, unsaid.FullEvery),
            NormBias = config.Boolean(NormBias) ?? false,
            AttentionBias = config.Boolean(AttentionBias) ?? false,
            FeedForwardBias = config.Boolean(FeedForwardBias) ?? false,
        };
    }

    /// <summary>Writes them.</summary>
    public static void Write(ModernLayers layers, Dictionary<string, object?> config)
    {
        config[RotaryBase] = layers.RotaryBase;
        config[WindowRotaryBase] = layers.WindowRotaryBase;
        config[Window] = 2 * layers.Window;
        config[FullEvery] = layers.FullEvery;
        config[NormBias] = layers.NormBias;
        config[AttentionBias] = layers.AttentionBias;
        config[FeedForwardBias] = layers.FeedForwardBias;
        config["pad_token_id"] = null; // unsaid, it is taken for a row that a small vocabulary does not have
    }

    private static int ReadFullEvery(StrictJson config, int layers, int unsaid)
    {
        string[]? types = config.Texts("layer_types");
        int second = types is null ? unsaid : Array.IndexOf(types, PretrainedRotary.FullAttention, Math.Min(1, types.Length));
        int every = config.Integer(FullEvery) ?? (second > 0 ? second : Math.Max(1, layers));
        if (every <= 0)
        {
            throw config.Fault($"\"{FullEvery}\" is {every}; it has to be positive");
        }

        return types is null || (types.Length == layers && types.Select((type, layer) => type == KindOf(layer)).All(same => same)) ? every
            : throw config.Unsupported(
                "layer_types",
                "of another pattern",
                $"\"{PretrainedRotary.FullAttention}\" in the first of {layers} layers and each {every} behind such a one, \"{PretrainedRotary.SlidingAttention}\" "
                    + "in the others");

        string KindOf(int layer) => layer % every == 0 ? PretrainedRotary.FullAttention : PretrainedRotary.SlidingAttention;
    }
}
