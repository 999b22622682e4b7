using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>Qwen2: Llama's layers with biases on queries, keys and values.</summary>
internal class Qwen2Family : LlamaFamily
{
    // What transformers takes where the file does not say the key.
    private const int UnsaidWindow = 4096, UnsaidFullLayers = 28;
    private static readonly Unsaid s_unsaid = new(KeyValueHeads: 32);

    public override string ModelType => "qwen2";

    public override string Architecture => "Qwen2ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        return WithWindow(config, Common(config, s_unsaid) with { QueryKeyValueBias = true });
    }

    /// <summary>The layers behind the first max_window_layers have a window, or those that layer_types names.</summary>
    protected static RetroConfig WithWindow(StrictJson config, RetroConfig common)
    {
        int? window = config.Has("sliding_window") ? config.Integer("sliding_window") : UnsaidWindow;
        int full = config.Integer("max_window_layers") ?? UnsaidFullLayers;
        LayerList layers = WindowLayers(config, common.Layers) ?? Layers(common.Layers, layer => layer > full);
        return WithWindow(common, config.Boolean("use_sliding_window") == true ? window : null, layers);
    }
}
