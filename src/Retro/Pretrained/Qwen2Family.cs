using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>Qwen2: Llama's layers with biases on queries, keys and values.</summary>
internal class Qwen2Family : LlamaFamily
{
    // What transformers takes where the file does not say the key.
    protected const int UnsaidKeyValueHeads = 32;
    private const int UnsaidWindow = 4096;
    private const int UnsaidFullLayers = 28;

    public override string ModelType => "qwen2";

    public override string Architecture => "Qwen2ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, UnsaidKeyValueHeads);
        return common with { QueryKeyValueBias = true, SlidingWindow = Window(config, common.Layers) };
    }

    /// <summary>The first max_window_layers layers see everything, or layer_types says it of each layer; ours have one window for all.</summary>
    protected static int? Window(StrictJson config, int layers)
    {
        int? window = config.Has("sliding_window") ? config.Integer("sliding_window") : UnsaidWindow;
        int full = config.Integer("max_window_layers") ?? UnsaidFullLayers;
        bool used = (config.Boolean("use_sliding_window") ?? false) && window is not null;
        if (LayerType(config, layers) is { } type)
        {
            return used && type == SlidingAttention ? window : null;
        }

        return !used || full >= layers ? null
            : full == 0 ? window
            : throw config.Unsupported("max_window_layers", $"{full} of {layers} layers with \"use_sliding_window\"", "a window on all layers or on none");
    }
}
