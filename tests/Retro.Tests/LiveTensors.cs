using static TorchSharp.torch;

namespace Retro.Tests;

/// <summary>Counts tensors for tests that hold a number of them constant.</summary>
internal static class LiveTensors
{
    /// <summary>The tensors alive once the collector took what earlier tests left to it; else it would take them while a test counts.</summary>
    public static long Settled()
    {
        for (int i = 0; i < 2; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        return Tensor.TotalCount;
    }
}
