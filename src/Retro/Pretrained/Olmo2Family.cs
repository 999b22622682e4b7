using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>OLMo 2: Llama's layers, normalized behind attention and feed-forward, with queries and keys normalized across their heads.</summary>
internal sealed class Olmo2Family : LlamaFamily
{
    private static readonly Unsaid s_unsaid = new(Epsilon: 1e-5);

    public override string ModelType => "olmo2";

    public override string Architecture => "Olmo2ForCausalLM";

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig common = Common(config, s_unsaid);
        RequireWindow(config, common.Layers, null);
        bool bias = config.Boolean("attention_bias") ?? false;
        return common with
        {
            NormPlacement = NormPlacement.After, QueryKeyNorm = true, QueryKeyNormAcrossHeads = true, QueryKeyValueBias = bias, AttentionOutputBias = bias,
        };
    }
}
