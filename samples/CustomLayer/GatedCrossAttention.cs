using Retro.Modeling;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CustomLayer;

/// <summary>Chunked cross-attention behind a gate tanh(a) for every channel (Flamingo, arXiv 2204.14198): closed at first, it changes nothing.</summary>
public sealed class GatedCrossAttention : ChunkedCrossAttention
{
    private readonly Parameter _gate;

    public GatedCrossAttention(RetroConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(config, dtype, device) => register_parameter("gate", _gate = new(zeros(config.Width, dtype, device)));

    /// <summary>Whole sequences: training and evaluation.</summary>
    public override Tensor forward(Tensor x, Tensor encoded, AttentionPlan plan) => _gate.tanh() * base.forward(x, encoded, plan);

    /// <summary>One token more: generation with caches.</summary>
    public override Tensor Step(Tensor x, CrossAttentionCache cache, AttentionPlan plan) => _gate.tanh() * base.Step(x, cache, plan);
}
