namespace Retro.Embedders;

/// <summary>The function between the two matrices of a <see cref="TextEncoder"/>'s feed-forward sub-layers.</summary>
public enum EncoderActivation
{
    /// <summary>GELU with the error function ("gelu").</summary>
    Gelu,

    /// <summary>GELU in its tanh approximation ("gelu_new", "gelu_pytorch_tanh" and others).</summary>
    GeluTanh,

    /// <summary>ReLU ("relu").</summary>
    Relu,

    /// <summary>SiLU, also called swish ("silu").</summary>
    Silu,
}
