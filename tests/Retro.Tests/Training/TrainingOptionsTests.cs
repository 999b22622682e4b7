using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public sealed class TrainingOptionsTests
{
    /// <summary>The operating system is asked what the processor has, in place of the processor itself.</summary>
    [Fact]
    public void The_processor_is_trained_on_in_bfloat16_where_it_has_products_of_it_and_all_else_in_float32()
    {
        const string Cpu = "/proc/cpuinfo";
        bool fast = File.Exists(Cpu) && File.ReadLines(Cpu).Any(line => line.StartsWith("flags", StringComparison.Ordinal)
            && line.Contains("avx512_bf16", StringComparison.Ordinal));
        ScalarType expected = fast ? ScalarType.BFloat16 : ScalarType.Float32;
        Assert.Equal(expected, TrainingOptions.PreferredDtype());
        Assert.Equal(expected, TrainingOptions.PreferredDtype(CPU));
        Assert.Equal(ScalarType.Float32, TrainingOptions.PreferredDtype(META));
    }
}
