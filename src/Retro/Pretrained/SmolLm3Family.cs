using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>SmolLM3: Llama's layers, some of which do not rotate.</summary>
internal sealed class SmolLm3Family : LlamaFamily
{
    private const int UnsaidInterval = 4;
    private static readonly Unsaid s_unsaid = new(KeyValueHeads: 4, RotaryBase: 2_000_000, Tied: true);

    public override string ModelType => "smollm3";

    public override string Architecture => "SmolLM3ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, s_unsaid);
        LayerList unrotated = UnrotatedLayers(config, common.Layers), windowed = WindowLayers(config, common.Layers) ?? unrotated;
        bool bias = config.Boolean("attention_bias") ?? false;
        _ = config.Integer("max_window_layers"); // of the family that it was made of, and of no effect
        int? window = config.Integer("sliding_window");
        return WithWindow(common, config.Boolean("use_sliding_window") == true ? window : null, windowed) with
        {
            UnrotatedLayers = unrotated,
            QueryKeyValueBias = bias,
            AttentionOutputBias = bias,
            FeedForwardBias = config.Boolean("mlp_bias") ?? false,
        };
    }

    // By layer, 1 where it rotates; or every so manieth does not.
    private static LayerList UnrotatedLayers(StrictJson config, int layers)
    {
        const string Listed = "no_rope_layers", Every = "no_rope_layer_interval";
        int interval = config.Integer(Every) ?? UnsaidInterval;
        if (config.Numbers(Listed) is not { } rotated)
        {
            return interval > 0 ? Layers(layers, layer => layer % interval == 0) : throw config.Fault($"\"{Every}\" is {interval}; it has to be positive");
        }

        return rotated.Length >= layers && rotated.All(one => one is 0 or 1)
            ? Layers(layers, layer => rotated[layer - 1] == 0)
            : throw config.Fault($"\"{Listed}\" has to hold 0 or 1 for each of {layers} layers, not {rotated.Length} numbers");
    }
}
