using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CustomLayer;

/// <summary>
/// A layer of one's own around one of Retro's: chunked cross-attention whose output passes a gate, tanh(a · x + b) for every channel of every position.
/// The gate starts closed (a = b = 0), so that a fresh layer changes nothing; the model learns where reading the neighbors pays.
/// </summary>
public sealed class GatedCrossAttention : nn.Module<Tensor, Tensor, AttentionPlan, Tensor>
{
    // Fields are what TorchSharp registers, under their names: "attention.q.weight", "slope", "offset".
    private readonly ChunkedCrossAttention attention;
    private readonly Parameter slope;
    private readonly Parameter offset;

    /// <summary>Makes a layer with a closed gate.</summary>
    public GatedCrossAttention(RetroConfig config)
        : base(nameof(GatedCrossAttention))
    {
        attention = new(config);
        slope = new(zeros(config.Width));
        offset = new(zeros(config.Width));
        RegisterComponents();
    }

    /// <summary>Reads the neighbors through the gate.</summary>
    /// <param name="x">[B, T, D], the states after self-attention.</param>
    /// <param name="encoded">[B, C, K, R, E], the encoded neighbors.</param>
    /// <param name="plan">From <see cref="AttentionPlan.ChunkedCross"/>.</param>
    /// <returns>[B, T, D].</returns>
    public override Tensor forward(Tensor x, Tensor encoded, AttentionPlan plan)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor gate = Gate(x);
        return (gate * attention.call(x, encoded, plan)).MoveToOuterDisposeScope();
    }

    /// <summary>How far the gate is open, between -1 and 1. [B, T, D] to [B, T, D].</summary>
    public Tensor Gate(Tensor x) => offset.addcmul(x, slope, Number.One).tanh();
}
