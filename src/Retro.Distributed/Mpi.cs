using System.Runtime.InteropServices;
using System.Text;

namespace Retro.Distributed;

/// <summary>OpenMPI's C interface (www.open-mpi.org/doc/v4.1), as far as training needs it. Its predefined handles are addresses of exported symbols.</summary>
internal static unsafe partial class Mpi
{
    /// <summary>One thread at a time calls, whichever it is (MPI 3.1, section 12.4).</summary>
    public const int ThreadSerialized = 2;

    /// <summary>Those that share memory, which are those of a machine (MPI 3.1, section 6.4.2).</summary>
    public const int TypeShared = 0;

    private const string File = "libmpi.so.40";

    private const string Advice = "Install OpenMPI 4 or 5 (on Debian and Ubuntu: apt-get install openmpi-bin, or eng/setup.sh --distributed in a checkout of "
        + "Retro) and start the program by mpirun --bind-to none -n PROCESSES dotnet PROGRAM.dll.";

    /// <summary>In the place of what is sent: what is received into is sent.</summary>
    public static void* InPlace => (void*)1;

    /// <summary>All processes.</summary>
    public static nint World { get; private set; }

    /// <summary>Nothing to say about a communicator.</summary>
    public static nint NoInfo { get; private set; }

    /// <summary>Single bytes.</summary>
    public static nint Byte { get; private set; }

    /// <summary>32-bit floating point.</summary>
    public static nint Float { get; private set; }

    /// <summary>64-bit floating point.</summary>
    public static nint Double { get; private set; }

    /// <summary>32-bit whole numbers.</summary>
    public static nint Int32 { get; private set; }

    /// <summary>64-bit whole numbers.</summary>
    public static nint Int64 { get; private set; }

    /// <summary>The sum, as an operation.</summary>
    public static nint Sum { get; private set; }

    /// <summary>The largest, as an operation.</summary>
    public static nint Largest { get; private set; }

    /// <summary>Loads the library and finds its handles.</summary>
    /// <exception cref="ExchangeException">It is missing, or another MPI.</exception>
    public static void Load()
    {
        nint library = NativeLibraries.Load(NativeLibraries.Mpi, File, Advice);
        World = Export("ompi_mpi_comm_world");
        NoInfo = Export("ompi_mpi_info_null");
        Byte = Export("ompi_mpi_byte");
        Float = Export("ompi_mpi_float");
        Double = Export("ompi_mpi_double");
        Int32 = Export("ompi_mpi_int32_t");
        Int64 = Export("ompi_mpi_int64_t");
        Sum = Export("ompi_mpi_op_sum");
        Largest = Export("ompi_mpi_op_max");

        nint Export(string name)
            => NativeLibrary.TryGetExport(library, name, out nint address)
                ? address
                : throw new ExchangeException($"{File} has no {name}, so that it is not OpenMPI's. {Advice}");
    }

    /// <summary>Throws where a call did not succeed. By default OpenMPI ends all processes before it returns.</summary>
    public static void Require(int code, string call)
    {
        if (code != 0)
        {
            byte* text = stackalloc byte[512];
            int length = ErrorString(code, text, out int count) == 0 ? count : 0;
            throw new ExchangeException($"{call} failed with {code}: {Encoding.UTF8.GetString(text, length)}. All processes have to be started again.");
        }
    }

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Initialized")]
    public static partial int Initialized(out int flag);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Init_thread")]
    public static partial int InitThread(nint argumentCount, nint arguments, int required, out int provided);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Finalize")]
    public static partial int Finish();

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Abort")]
    public static partial int Abort(nint communicator, int code);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Comm_rank")]
    public static partial int Rank(nint communicator, out int rank);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Comm_size")]
    public static partial int Size(nint communicator, out int size);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Comm_split_type")]
    public static partial int Split(nint communicator, int type, int order, nint info, out nint part);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Comm_free")]
    public static partial int Free(ref nint communicator);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Allreduce")]
    public static partial int Allreduce(void* send, void* receive, int count, nint type, nint operation, nint communicator);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Reduce")]
    public static partial int Reduce(void* send, void* receive, int count, nint type, nint operation, int root, nint communicator);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Bcast")]
    public static partial int Broadcast(void* values, int count, nint type, int root, nint communicator);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Allgather")]
    public static partial int Allgather(void* send, int sent, nint sentType, void* receive, int received, nint receivedType, nint communicator);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Allgatherv")]
    public static partial int AllgatherVarying(
        void* send, int sent, nint sentType, void* receive, int* received, int* places, nint receivedType, nint communicator);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Iallreduce")]
    public static partial int BeginAllreduce(
        void* send, void* receive, int count, nint type, nint operation, nint communicator, out nint request);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Test")]
    public static partial int Test(ref nint request, out int isDone, nint ignored);

    [LibraryImport(NativeLibraries.Mpi, EntryPoint = "MPI_Error_string")]
    private static partial int ErrorString(int code, byte* text, out int length);
}
