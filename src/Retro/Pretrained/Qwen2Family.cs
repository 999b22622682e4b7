using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>Qwen2: Llama's layers with biases on queries, keys and values.</summary>
internal sealed class Qwen2Family : LlamaFamily
{
    // What transformers takes where the file does not say the key.
    private const int UnsaidKeyValueHeads = 32;
    private const int UnsaidWindow = 4096;
    private const int UnsaidFullLayers = 28;

    public override string ModelType => "qwen2";

    public override string Architecture => "Qwen2ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, UnsaidKeyValueHeads);
        return common with { QueryKeyValueBias = true, SlidingWindow = Window(config, common.Layers) };
    }

    // The first max_window_layers layers see everything, or layer_types says it of each layer; ours have one window for all.
    private static int? Window(StrictJson config, int layers)
    {
        int? window = config.Has("sliding_window") ? config.Integer("sliding_window") : UnsaidWindow;
        int full = config.Integer("max_window_layers") ?? UnsaidFullLayers;
        bool used = (config.Boolean("use_sliding_window") ?? false) && window is not null;
        if (config.Texts("layer_types") is { } types)
        {
            if (types.Length != layers)
            {
                throw config.Fault($"\"layer_types\" names {types.Length} layers, but \"num_hidden_layers\" is {layers}");
            }

            if (types.Distinct().Count() > 1 || types[0] is not ("full_attention" or "sliding_attention"))
            {
                throw config.Unsupported(
                    "layer_types", $"[{string.Join(", ", types.Distinct())}]", "one kind for all layers, \"full_attention\" or \"sliding_attention\"");
            }

            return used && types[0] == "sliding_attention" ? window : null;
        }

        return !used || full >= layers ? null
            : full == 0 ? window
            : throw config.Unsupported("max_window_layers", $"{full} of {layers} layers with \"use_sliding_window\"", "a window on all layers or on none");
    }
}
