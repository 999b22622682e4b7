using System.Runtime.InteropServices;

namespace TorchSharp.Interop;

/// <summary>The entries of retro_torch (src/Native/torch.cpp), and what has to be settled before libtorch is loaded.</summary>
internal static unsafe partial class Native
{
    private const string Library = "retro_torch";

    static Native()
    {
        // OpenMP's threads spin while they wait and fight OpenBLAS's for the cores. Its library reads the variable once, when
        // it is loaded, from the C library's environment, which .NET's own SetEnvironmentVariable does not reach.
        if (OperatingSystem.IsLinux())
        {
            _ = setenv("OMP_WAIT_POLICY", "passive", 0);
        }

        NativeLibrary.SetDllImportResolver(typeof(Native).Assembly, static (name, assembly, path) =>
        {
            if (name != Library)
            {
                return 0;
            }

            string beside = Path.Combine(AppContext.BaseDirectory, "libretro_torch.so");
            return NativeLibrary.TryLoad(beside, out nint handle) || NativeLibrary.TryLoad(name, assembly, path, out handle) ? handle : 0;
        });
        if (Environment.GetEnvironmentVariable("MALLOC_TRIM_THRESHOLD_") is null && Environment.GetEnvironmentVariable("MALLOC_MMAP_MAX_") is null)
        {
            rt_keep_freed_memory();
        }

        // libtorch 1.13 counts half the processors by itself, and does not govern OpenBLAS.
        if (Environment.GetEnvironmentVariable("OMP_NUM_THREADS") is null)
        {
            _ = rt_set_threads(Environment.ProcessorCount);
        }
    }

    /// <summary>Throws what the original throws where a native call failed.</summary>
    public static void Check(int status)
    {
        if (status != 0)
        {
            Throw();
        }
    }

    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    public static void Throw() => throw new ExternalException(LastError());

    public static string LastError() => Marshal.PtrToStringUTF8(rt_error()) ?? "";

    [DllImport("libc", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    private static extern int setenv(string name, string value, int overwrite);

    [LibraryImport(Library)]
    private static partial nint rt_error();

    [LibraryImport(Library)]
    public static partial nint rt_version();

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint rt_op(string name, string overload);

    [LibraryImport(Library)]
    public static partial int rt_call(nint op, NativeArg* args, int count, NativeArg* results, int capacity);

    [LibraryImport(Library)]
    public static partial void rt_free(nint memory);

    [LibraryImport(Library)]
    public static partial void rt_release(nint handle);

    [LibraryImport(Library), SuppressGCTransition]
    public static partial int rt_info(nint handle, TensorInfo* info);

    [LibraryImport(Library)]
    public static partial nint rt_data(nint handle);

    [LibraryImport(Library), SuppressGCTransition]
    public static partial long rt_owned_bytes(nint handle);

    [LibraryImport(Library), SuppressGCTransition]
    public static partial int rt_requires_grad(nint handle);

    [LibraryImport(Library)]
    public static partial int rt_set_requires_grad(nint handle, int value);

    [LibraryImport(Library)]
    public static partial int rt_is_leaf(nint handle);

    [LibraryImport(Library)]
    public static partial int rt_grad(nint handle, nint* grad);

    [LibraryImport(Library)]
    public static partial int rt_set_grad(nint handle, nint grad);

    [LibraryImport(Library)]
    public static partial int rt_retain_grad(nint handle);

    [LibraryImport(Library)]
    public static partial int rt_set_data(nint handle, nint data);

    [LibraryImport(Library)]
    public static partial int rt_is_pinned(nint handle, int* pinned);

    [LibraryImport(Library)]
    public static partial int rt_backward(nint* tensors, int count, nint* grads, int gradCount, int retain, int create, nint* inputs, int inputCount);

    [LibraryImport(Library)]
    public static partial int rt_gradients(nint* outputs, int count, nint* inputs, int inputCount, nint* grads, int gradCount, int retain, int create, int allowUnused, nint* results);

    [LibraryImport(Library)]
    public static partial int rt_grad_enabled();

    [LibraryImport(Library)]
    public static partial void rt_set_grad_enabled(int enabled);

    [LibraryImport(Library)]
    public static partial int rt_inference_enabled();

    [LibraryImport(Library)]
    public static partial nint rt_inference_begin(int enabled);

    [LibraryImport(Library)]
    public static partial void rt_inference_end(nint guard);

    [LibraryImport(Library)]
    public static partial int rt_manual_seed(ulong seed);

    [LibraryImport(Library)]
    public static partial int rt_default_generator(int deviceType, int deviceIndex, nint* generator);

    [LibraryImport(Library)]
    public static partial int rt_new_generator(int deviceType, int deviceIndex, ulong seed, nint* generator);

    [LibraryImport(Library)]
    public static partial void rt_release_generator(nint generator);

    [LibraryImport(Library)]
    public static partial int rt_generator_set_seed(nint generator, ulong seed);

    [LibraryImport(Library)]
    public static partial int rt_generator_seed(nint generator, ulong* seed);

    [LibraryImport(Library)]
    public static partial int rt_generator_initial_seed(nint generator, ulong* seed);

    [LibraryImport(Library)]
    public static partial int rt_generator_state(nint generator, nint* state);

    [LibraryImport(Library)]
    public static partial int rt_generator_set_state(nint generator, nint state);

    [LibraryImport(Library)]
    public static partial int rt_threads();

    [LibraryImport(Library)]
    public static partial int rt_set_threads(int count);

    [LibraryImport(Library)]
    public static partial int rt_interop_threads();

    [LibraryImport(Library)]
    public static partial int rt_set_interop_threads(int count);

    [LibraryImport(Library)]
    private static partial void rt_keep_freed_memory();

    [LibraryImport(Library)]
    public static partial int rt_cuda_available();

    [LibraryImport(Library)]
    public static partial int rt_cuda_count();
}

/// <summary>A tensor as the native side describes it; the pointers live as long as the tensor keeps its shape.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TensorInfo
{
    public long Dimensions;
    public long Count;
    public long* Sizes;
    public long* Strides;
    public long StorageOffset;
    public int DType;
    public int DeviceType;
    public int DeviceIndex;
    public int ItemSize;
    public int Contiguous;
    public int Reserved;
}

/// <summary>One argument or result as it crosses over.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeArg
{
    public Tag Tag;
    public int Count;
    public long Bits;
}

/// <summary>What an argument is; the numbers are those of src/Native/torch.cpp.</summary>
internal enum Tag
{
    Default = 0,
    None = 1,
    Tensor = 2,
    Int = 3,
    Double = 4,
    Bool = 5,
    Ints = 6,
    Doubles = 7,
    Bools = 8,
    Tensors = 9,
    MaybeTensors = 10,
    String = 11,
    Generator = 12,
    Device = 13,
}
