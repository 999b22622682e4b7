using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Retro;

/// <summary>Settings of OpenMP, the thread pools of libtorch and FAISS, which are read once, when its runtime is loaded.</summary>
/// <remarks>
/// libtorch brings a copy of libgomp that calls itself libgomp.so.1. Loaded first, it is FAISS's as well; loaded after FAISS, it is a second one beside the
/// system's. Either way its waiting threads spin for milliseconds by default, against the threads of FAISS's BLAS and whatever else computes. Measured on two
/// cores with libtorch 2.10 and a flat index of FAISS 1.7.3, each ratio in one run: spinning, a search takes 3.0 to 3.7 times as long as waiting passively
/// where libtorch was loaded first, and 1.0 to 1.4 times where FAISS was; training steps between the searches take the same within what quiet runs differ by (a
/// step alone 37 to 46 ms spinning, 43 to 52 ms passively). Where other programs keep the cores busy, a step alone takes 5 to 9 times as long spinning. Always
/// spinning ("active") made a search up to 15 times as long.
/// </remarks>
internal static partial class OpenMP
{
    private const string WaitPolicy = "OMP_WAIT_POLICY";

    /// <summary>
    /// Lets OpenMP's threads wait passively, unless the environment says otherwise. It has to be done before whichever runtime is loaded first, so it is done
    /// when this library is; a program that uses TorchSharp before anything of Retro sets the variable itself. .NET's own setter does not reach the C
    /// environment.
    /// </summary>
    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "Any later place could come after the loading of libtorch.")]
    internal static void WaitPassively()
    {
        if (!OperatingSystem.IsWindows())
        {
            _ = SetEnvironment(WaitPolicy, "passive", overwrite: 0);
        }
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
