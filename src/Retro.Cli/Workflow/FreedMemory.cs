using System.Runtime.InteropServices;

namespace Retro.Cli.Workflow;

/// <summary>What becomes of memory that a training has freed.</summary>
internal static partial class FreedMemory
{
    private const int TrimThreshold = -1, TopPadding = -2, MapThreshold = -3; // M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD of malloc.h

    /// <summary>
    /// Keeps it in the process where it is glibc's: each step frees its activations and asks for as much again, and memory that was given back comes as fresh
    /// pages, which took 8 % of a small model's step.
    /// </summary>
    public static void Keep()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            // The second is as much as some versions take.
            _ = Set(MapThreshold, 1 << 30) != 0 || Set(MapThreshold, 1 << 25) != 0;
            _ = Set(TrimThreshold, int.MaxValue);
            _ = Set(TopPadding, 1 << 26);
        }
        catch (Exception exception) when (exception is EntryPointNotFoundException or DllNotFoundException)
        {
            // Another C library, with ways of its own.
        }
    }

    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int Set(int parameter, int value);
}
