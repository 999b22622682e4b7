using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>Qwen3: Llama's layers, whose heads of queries and keys are normalized before they are rotated.</summary>
internal sealed class Qwen3Family : Qwen2Family
{
    private static readonly Unsaid s_unsaid = new(KeyValueHeads: 32, HeadSize: 128);

    public override string ModelType => "qwen3";

    public override string Architecture => "Qwen3ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        bool bias = config.Boolean("attention_bias") ?? false;
        return WithWindow(config, Common(config, s_unsaid) with { QueryKeyNorm = true, QueryKeyValueBias = bias, AttentionOutputBias = bias });
    }
}
