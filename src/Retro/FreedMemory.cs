using System.Runtime.InteropServices;

namespace Retro;

/// <summary>What becomes of memory that the process has freed.</summary>
public static partial class FreedMemory
{
    private const int TrimThreshold = -1, TopPadding = -2, MapThreshold = -3; // M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD of malloc.h

    /// <summary>
    /// Keeps it in the process, for programs that train or evaluate: each step frees its activations and asks for as much again, and what was given back to the
    /// system comes as fresh pages. To be called once, before the first step; it holds for the whole process, which then keeps the most memory that it ever
    /// took. On Linux with glibc's allocator; elsewhere it does nothing.
    /// </summary>
    /// <remarks>See mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD are raised. The retro tool's trainings call it.</remarks>
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
