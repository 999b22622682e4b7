using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Retro.Distributed;

/// <summary>NCCL's C interface (docs.nvidia.com/deeplearning/nccl/user-guide/docs/api.html), as far as training needs it.</summary>
internal static unsafe partial class Nccl
{
    // ncclDataType_t and ncclRedOp_t.
    public const int Byte = 1, Int64 = 4, Float = 7, Double = 8, Sum = 0;

    // Of ncclResult_t: what was queued is under way.
    private const int InProgress = 7;

    /// <summary>What the processes of a communicator know each other by, as the first one made it.</summary>
    [InlineArray(128)]
    public struct UniqueId
    {
        private byte _first;
    }

    /// <summary>Loads the library.</summary>
    /// <exception cref="ExchangeException">It is missing.</exception>
    public static void Load()
        => NativeLibraries.Load(
            NativeLibraries.Nccl,
            "libnccl.so.2",
            "Install NCCL 2 where there are NVIDIA GPUs (NVIDIA's package libnccl2, or libnccl.so.2 of another program, its folder in LD_LIBRARY_PATH); "
                + "without them, MpiExchange is enough.");

    /// <summary>Throws where a call did not succeed.</summary>
    public static void Require(int code, string call)
    {
        if (code != 0)
        {
            throw new ExchangeException(Fault(code, call));
        }
    }

    /// <summary>What a call that did not succeed says.</summary>
    public static string Fault(int code, string call)
        => $"{call} failed with {code}: {Marshal.PtrToStringUTF8(ErrorString(code))}. NCCL_DEBUG=WARN says more; all processes have to be started again.";

    /// <summary>What went wrong in what a communicator does by itself, such as a link that failed; null: nothing.</summary>
    public static string? AsynchronousFault(nint communicator)
    {
        const string Call = "ncclCommGetAsyncError";
        Require(AsyncError(communicator, out int code), Call);
        return code is 0 or InProgress ? null : Fault(code, $"What NCCL was doing, {Call} says,");
    }

    [LibraryImport(NativeLibraries.Nccl, EntryPoint = "ncclGetUniqueId")]
    public static partial int GetUniqueId(UniqueId* id);

    [LibraryImport(NativeLibraries.Nccl, EntryPoint = "ncclCommInitRank")]
    public static partial int Join(out nint communicator, int size, UniqueId id, int rank);

    [LibraryImport(NativeLibraries.Nccl, EntryPoint = "ncclCommDestroy")]
    public static partial int Leave(nint communicator);

    [LibraryImport(NativeLibraries.Nccl, EntryPoint = "ncclAllReduce")]
    public static partial int AllReduce(void* send, void* receive, nuint count, int type, int operation, nint communicator, nint stream);

    [LibraryImport(NativeLibraries.Nccl, EntryPoint = "ncclReduce")]
    public static partial int Reduce(void* send, void* receive, nuint count, int type, int operation, int root, nint communicator, nint stream);

    [LibraryImport(NativeLibraries.Nccl, EntryPoint = "ncclBroadcast")]
    public static partial int Broadcast(void* send, void* receive, nuint count, int type, int root, nint communicator, nint stream);

    /// <summary>Where a tensor's numbers are, on whatever device.</summary>
    [LibraryImport("LibTorchSharp", EntryPoint = "THSTensor_data")]
    public static partial void* Data(nint tensor);

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SetEnvironment(string name, string value, int overwrite);

    [LibraryImport(NativeLibraries.Nccl, EntryPoint = "ncclCommGetAsyncError")]
    private static partial int AsyncError(nint communicator, out int code);

    [LibraryImport(NativeLibraries.Nccl, EntryPoint = "ncclGetErrorString")]
    private static partial nint ErrorString(int code);
}
