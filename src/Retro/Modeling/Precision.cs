using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>What is computed in float32 though the model is narrower.</summary>
internal static class Precision
{
    /// <summary>The tensor in float32 where its type is narrower; else the tensor itself.</summary>
    public static Tensor AtLeastFloat32(Tensor x) => x.dtype is ScalarType.BFloat16 or ScalarType.Float16 ? x.to_type(ScalarType.Float32) : x;
}
