using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>Qwen3: Llama's layers, whose heads of queries and keys are normalized before they are rotated.</summary>
internal sealed class Qwen3Family : Qwen2Family
{
    // What transformers takes where the file does not say the key.
    private const int UnsaidHeadSize = 128;

    public override string ModelType => "qwen3";

    public override string Architecture => "Qwen3ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, UnsaidKeyValueHeads, UnsaidHeadSize);
        bool bias = config.Boolean("attention_bias") ?? false;
        return common with
        {
            QueryKeyNorm = true, QueryKeyValueBias = bias, AttentionOutputBias = bias, SlidingWindow = Window(config, common.Layers),
        };
    }
}
