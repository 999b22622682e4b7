using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>Mistral: Llama's layers without biases, with a sliding window.</summary>
internal sealed class MistralFamily : LlamaFamily
{
    private const int UnsaidWindow = 4096;
    private static readonly Unsaid s_unsaid = new(KeyValueHeads: 8);

    public override string ModelType => "mistral";

    public override string Architecture => "MistralForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, s_unsaid);
        int? window = config.Has("sliding_window") ? config.Integer("sliding_window") : UnsaidWindow;
        RequireWindow(config, common.Layers, window);
        config.Require("attention_bias", false);
        config.Require("mlp_bias", false);
        return common with { SlidingWindow = window };
    }
}
