namespace Retro.Modeling;

/// <summary>The non-linearity of the feed-forward branch.</summary>
public enum ActivationKind
{
    /// <summary>GELU with the error function (arXiv 1606.08415).</summary>
    Gelu,

    /// <summary>GELU in its tanh approximation, as GPT-2 has it.</summary>
    GeluTanh,

    /// <summary>ReLU.</summary>
    Relu,

    /// <summary>SiLU, also called swish.</summary>
    Silu,

    /// <summary>SiLU(gate) · up: a gated feed-forward of three matrices (arXiv 2002.05202).</summary>
    SwiGlu,

    /// <summary>GELU(gate) · up, GELU with the error function (arXiv 2002.05202).</summary>
    GeGlu,

    /// <summary>The same with GELU in its tanh approximation, as Gemma has it.</summary>
    GeGluTanh,
}
