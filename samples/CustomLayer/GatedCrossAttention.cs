using Retro.Modeling;
using static TorchSharp.torch;

namespace CustomLayer;

/// <summary>Chunked cross-attention behind a gate tanh(a) for every channel (Flamingo, arXiv 2204.14198): closed at first, it changes nothing.</summary>
public sealed class GatedCrossAttention : ChunkedCrossAttention
{
    public GatedCrossAttention(RetroConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(config, dtype, device) => register_parameter("gate", new(zeros(config.Width, dtype, device)));

    // By its name: where a model is moved to another type or device, TorchSharp makes new parameters.
    private Tensor Gate => get_parameter("gate")!.tanh();

    /// <summary>Whole sequences: training and evaluation.</summary>
    public override Tensor forward(Tensor x, Tensor encoded, AttentionPlan plan) => Gate * base.forward(x, encoded, plan);

    /// <summary>One token more: generation with caches.</summary>
    public override Tensor Step(Tensor x, CrossAttentionCache cache, AttentionPlan plan) => Gate * base.Step(x, cache, plan);
}
