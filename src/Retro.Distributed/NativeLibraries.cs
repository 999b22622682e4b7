using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace Retro.Distributed;

/// <summary>Finds the libraries of MPI and NCCL, which whoever trains installs, and says what to install where one is missing.</summary>
internal static class NativeLibraries
{
    /// <summary>The name by which MPI is imported.</summary>
    public const string Mpi = "mpi";

    /// <summary>The name by which NCCL is imported.</summary>
    public const string Nccl = "nccl";

    private static readonly ConcurrentDictionary<string, nint> s_handles = new();

    static NativeLibraries()
        => NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, (name, _, _) => s_handles.GetValueOrDefault(name));

    /// <summary>Loads a library once.</summary>
    /// <param name="name">The name by which it is imported.</param>
    /// <param name="file">Its file, for the system's loader to find.</param>
    /// <param name="advice">What to do where it is missing.</param>
    /// <returns>Its handle.</returns>
    /// <exception cref="ExchangeException">It cannot be loaded.</exception>
    public static nint Load(string name, string file, string advice)
    {
        if (s_handles.TryGetValue(name, out nint handle))
        {
            return handle;
        }

        try
        {
            return s_handles[name] = NativeLibrary.Load(file);
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException)
        {
            throw new ExchangeException($"{file} cannot be loaded: {exception.Message.Trim()} {advice}", exception);
        }
    }
}
