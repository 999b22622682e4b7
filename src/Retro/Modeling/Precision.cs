using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>What is computed in float32 though the model is narrower, and where bfloat16 is fast.</summary>
internal static class Precision
{
    // AVX512_BF16, in Intel's and AMD's processors: leaf 7, subleaf 1, bit 5 of EAX.
    private static readonly bool s_processorMultipliesBFloat16 = Avx512F.IsSupported && (X86Base.CpuId(7, 1).Eax & (1 << 5)) != 0;

    /// <summary>Whether a device multiplies matrices of bfloat16 by instructions of its own, and so faster than those of float32.</summary>
    public static bool MultipliesBFloat16(Device device) => device.type != DeviceType.CPU || s_processorMultipliesBFloat16;

    /// <summary>The tensor in float32 where its type is narrower; else the tensor itself.</summary>
    public static Tensor AtLeastFloat32(Tensor x) => x.dtype is ScalarType.BFloat16 or ScalarType.Float16 ? x.to_type(ScalarType.Float32) : x;
}
