using System.Runtime.InteropServices;

namespace Retro.Tests;

/// <summary>What the C library has given out, in its heaps and mapped: tensors are in there, the runtime's own heap is not.</summary>
internal static class MemoryInUse
{
    /// <summary>Bytes in use.</summary>
    public static long Now()
    {
        Numbers memory = Memory();
        return (long)(memory.Allocated + memory.Mapped);
    }

    /// <summary>Skips a test where the C library does not tell.</summary>
    public static void Require() => Assert.SkipUnless(
        OperatingSystem.IsLinux() && NativeLibrary.TryGetExport(NativeLibrary.GetMainProgramHandle(), "mallinfo2", out _),
        "The memory that a process has in use is asked of glibc.");

    [DllImport("libc", EntryPoint = "mallinfo2")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern Numbers Memory();

    // struct mallinfo2 of malloc.h: ten numbers of the size of a pointer.
    [StructLayout(LayoutKind.Sequential, Size = 80)]
    private struct Numbers
    {
        public nuint Arena, FreeBlocks, SmallBlocks, MappedBlocks, Mapped, Unused, SmallFree, Allocated, Free, Releasable;
    }
}
