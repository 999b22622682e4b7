using System.Runtime.InteropServices;

namespace Retro.Vectors;

/// <summary>
/// The FAISS C API as its headers declare it, so that our own small library and an upstream <c>libfaiss_c</c> both fit.
/// Every function that can fail returns a code, which goes through <see cref="Check"/>.
/// </summary>
internal static unsafe partial class FaissNative
{
    private const string Library = "faiss_c";

    /// <summary><c>faiss::IO_FLAG_MMAP</c> of <c>index_io.h</c> (the C header still names the value it had long ago).</summary>
    public const int MemoryMap = 0x646f0008;

    private static readonly delegate* unmanaged<int, void> s_setThreads;
    private static readonly delegate* unmanaged<int> s_getThreads;

    static FaissNative()
    {
        if (!NativeLibrary.TryLoad(Library, typeof(FaissNative).Assembly, null, out nint library))
        {
            return; // Require says so where it is needed
        }

        // FAISS's C API has no thread count: it is OpenMP's, of whichever OpenMP runtime serves the library.
        if (NativeLibrary.TryGetExport(library, "omp_set_num_threads", out nint set)
            && NativeLibrary.TryGetExport(library, "omp_get_max_threads", out nint get))
        {
            s_setThreads = (delegate* unmanaged<int, void>)set;
            s_getThreads = (delegate* unmanaged<int>)get;
        }

        SearchesAmong = Array.TrueForAll(
            ["faiss_Index_search_with_params", "faiss_IDSelectorBitmap_new", "faiss_SearchParameters_new", "faiss_SearchParametersIVF_new_with"],
            name => NativeLibrary.TryGetExport(library, name, out _));
        SearchesGivenLists = Array.TrueForAll(
            ["faiss_IndexIVF_quantizer", "faiss_IndexIVF_search_preassigned_with_params"], name => NativeLibrary.TryGetExport(library, name, out _));
        IsLoaded = true;
    }

    /// <summary>What brings FAISS where it is missing, to end a sentence with.</summary>
    public static string Remedy => "put a libfaiss_c of FAISS, and the OpenMP runtime libgomp that it needs, beside the application";

    /// <summary>Whether it can search among some ids alone, as the C API can since FAISS 1.7.4, and our own library.</summary>
    public static bool SearchesAmong { get; }

    /// <summary>Whether it can search inverted lists that are given, as our own library can and the C API cannot.</summary>
    public static bool SearchesGivenLists { get; }

    /// <summary>Whether libfaiss_c was found.</summary>
    public static bool IsLoaded { get; }

    /// <summary>Throws where libfaiss_c was not found.</summary>
    /// <exception cref="FaissException">The library is missing.</exception>
    public static void Require()
    {
        if (!IsLoaded)
        {
            throw new FaissException(
                "The native library libfaiss_c cannot be loaded, or a library that it needs is missing: use the exact managed index "
                    + $"({nameof(VectorEngine)}.{nameof(VectorEngine.Exact)}), or {Remedy}.");
        }
    }

    /// <summary>Gives the calling thread an OpenMP thread count until it is disposed there; the count belongs to a thread, not to the process.</summary>
    public readonly ref struct ThreadCount : IDisposable
    {
        private readonly int _former;

        public ThreadCount(int count)
        {
            if (s_setThreads != null)
            {
                _former = s_getThreads();
                s_setThreads(count);
            }
        }

        public void Dispose()
        {
            if (s_setThreads != null)
            {
                s_setThreads(_former);
            }
        }
    }

    /// <summary>Throws FAISS's message for a code other than 0.</summary>
    /// <param name="code">What the function returned.</param>
    /// <param name="action">What was tried, to begin the sentence with.</param>
    /// <exception cref="FaissException">The code is not 0.</exception>
    public static void Check(int code, string action)
    {
        if (code != 0)
        {
            string text = Marshal.PtrToStringUTF8(GetLastError()) is { Length: > 0 } last ? last : $"error code {code}";
            throw new FaissException($"{action}: FAISS says: {text}");
        }
    }

    [LibraryImport(Library, EntryPoint = "faiss_get_last_error")]
    private static partial nint GetLastError();

    [LibraryImport(Library, EntryPoint = "faiss_Index_free")]
    public static partial void IndexFree(nint index);

    [LibraryImport(Library, EntryPoint = "faiss_Index_d")]
    public static partial int Dimensions(FaissIndexHandle index);

    [LibraryImport(Library, EntryPoint = "faiss_Index_is_trained")]
    public static partial int IsTrained(FaissIndexHandle index);

    [LibraryImport(Library, EntryPoint = "faiss_Index_ntotal")]
    public static partial long Count(FaissIndexHandle index);

    [LibraryImport(Library, EntryPoint = "faiss_Index_metric_type")]
    public static partial int Metric(FaissIndexHandle index);

    [LibraryImport(Library, EntryPoint = "faiss_Index_metric_type")]
    public static partial int Metric(nint index);

    [LibraryImport(Library, EntryPoint = "faiss_Index_train")]
    public static partial int Train(FaissIndexHandle index, long n, float* x);

    [LibraryImport(Library, EntryPoint = "faiss_Index_add")]
    public static partial int Add(FaissIndexHandle index, long n, float* x);

    [LibraryImport(Library, EntryPoint = "faiss_Index_search")]
    public static partial int Search(FaissIndexHandle index, long n, float* x, long k, float* distances, long* labels);

    [LibraryImport(Library, EntryPoint = "faiss_Index_search_with_params")]
    public static partial int SearchWith(FaissIndexHandle index, long n, float* x, long k, nint parameters, float* distances, long* labels);

    [LibraryImport(Library, EntryPoint = "faiss_IndexIVF_search_preassigned_with_params")]
    public static partial int SearchGivenLists(
        nint lists, long n, float* x, long k, long* given, float* centroidDistances, nint parameters, float* distances, long* labels);

    [LibraryImport(Library, EntryPoint = "faiss_IDSelectorBitmap_new")]
    public static partial int BitmapNew(out nint selector, nuint bytes, byte* bitmap);

    [LibraryImport(Library, EntryPoint = "faiss_IDSelector_free")]
    public static partial void SelectorFree(nint selector);

    [LibraryImport(Library, EntryPoint = "faiss_SearchParameters_new")]
    public static partial int SearchParametersNew(out nint parameters, nint selector);

    [LibraryImport(Library, EntryPoint = "faiss_SearchParametersIVF_new_with")]
    public static partial int SearchParametersNewForLists(out nint parameters, nint selector, nuint probedLists, nuint mostCodes);

    [LibraryImport(Library, EntryPoint = "faiss_SearchParameters_free")]
    public static partial void SearchParametersFree(nint parameters);

    [LibraryImport(Library, EntryPoint = "faiss_index_factory", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Factory(out FaissIndexHandle index, int dimensions, string description, int metric);

    [LibraryImport(Library, EntryPoint = "faiss_write_index_fname", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Write(FaissIndexHandle index, string path);

    [LibraryImport(Library, EntryPoint = "faiss_read_index_fname", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Read(string path, int flags, out FaissIndexHandle index);

    [LibraryImport(Library, EntryPoint = "faiss_ParameterSpace_new")]
    public static partial int ParameterSpaceNew(out nint space);

    [LibraryImport(Library, EntryPoint = "faiss_ParameterSpace_free")]
    public static partial void ParameterSpaceFree(nint space);

    [LibraryImport(Library, EntryPoint = "faiss_ParameterSpace_set_index_parameters", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SetParameters(nint space, FaissIndexHandle index, string text);

    [LibraryImport(Library, EntryPoint = "faiss_IndexFlat_cast")]
    public static partial nint AsExact(nint index);

    [LibraryImport(Library, EntryPoint = "faiss_IndexFlat_xb")]
    public static partial void ExactVectors(nint exact, out float* vectors, out nuint numbers);

    [LibraryImport(Library, EntryPoint = "faiss_IndexIVF_cast")]
    public static partial nint AsInvertedLists(nint index);

    [LibraryImport(Library, EntryPoint = "faiss_IndexIVF_quantizer")]
    public static partial nint Quantizer(nint lists);

    [LibraryImport(Library, EntryPoint = "faiss_IndexIVF_nlist")]
    public static partial nuint ListCount(nint lists);

    [LibraryImport(Library, EntryPoint = "faiss_IndexIVF_nprobe")]
    public static partial nuint ProbedLists(nint lists);

    [LibraryImport(Library, EntryPoint = "faiss_IndexIVF_set_nprobe")]
    public static partial void SetProbedLists(nint lists, nuint count);

    [LibraryImport(Library, EntryPoint = "faiss_IndexPreTransform_cast")]
    public static partial nint AsPreTransform(nint index);

    [LibraryImport(Library, EntryPoint = "faiss_IndexPreTransform_index")]
    public static partial nint PreTransformed(nint index);

    [LibraryImport(Library, EntryPoint = "faiss_IndexIDMap_cast")]
    public static partial nint AsIdMap(nint index);

    [LibraryImport(Library, EntryPoint = "faiss_IndexIDMap_sub_index")]
    public static partial nint IdMapped(nint index);
}
