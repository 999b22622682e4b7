using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CustomLayer;

/// <summary>Chunked cross-attention behind a gate, tanh(a · x + b) for every channel: closed at first, so that a fresh layer changes nothing; the model learns where reading the neighbors pays.</summary>
public sealed class GatedCrossAttention : ChunkedCrossAttention
{
    // A number that lives as long as the program; x + y would make one that a collection on another thread can free (README, Threads).
    private static readonly Scalar s_one = 1.ToScalar();
    private readonly Parameter _slope, _offset;

    /// <summary>Makes a layer with a closed gate.</summary>
    public GatedCrossAttention(RetroConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(config, dtype, device)
    {
        register_parameter("slope", _slope = new(zeros(config.Width, dtype, device)));
        register_parameter("offset", _offset = new(zeros(config.Width, dtype, device)));
    }

    /// <summary>Whole sequences: training and evaluation.</summary>
    public override Tensor forward(Tensor x, Tensor encoded, AttentionPlan plan) => Gate(x) * base.forward(x, encoded, plan);

    /// <summary>One token more: generation with caches.</summary>
    public override Tensor Step(Tensor x, CrossAttentionCache cache, AttentionPlan plan) => Gate(x) * base.Step(x, cache, plan);

    private Tensor Gate(Tensor x) => _offset.addcmul(x, _slope, s_one).tanh(); // [B, T, D]
}
