using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Retro;

/// <summary>Settings of OpenMP, the thread pools of libtorch and FAISS, which are read once, when its runtime is loaded.</summary>
/// <remarks>
/// <para>libtorch brings a copy of libgomp that calls itself libgomp.so.1. Loaded first, it is FAISS's as well; loaded after FAISS, it is a second one beside
/// the system's. Either way its waiting threads spin for milliseconds by default, against the threads of FAISS's BLAS and whatever else computes: searches for
/// many queries take up to four times as long as where they sleep at once, and a pass of a model beside other busy programs up to three times.</para>
/// <para>Asleep at once, they are late for every small operator, of which a pass has hundreds. So they look for the next one for some microseconds first, 1/300
/// of the default, which is worth as much to a pass: it takes 0.41 to 0.76 of the time (tests/Retro.Benchmarks/results/waiting.md). Where there are more of
/// them than cores, they sleep at once.</para>
/// </remarks>
internal static partial class OpenMP
{
    private const string WaitPolicy = "OMP_WAIT_POLICY", SpinCount = "GOMP_SPINCOUNT";

    /// <summary>
    /// Lets OpenMP's threads look for work briefly and then sleep, unless the environment says otherwise. It has to be done before whichever runtime is loaded
    /// first, so it is done when this library is; a program that uses TorchSharp before anything of Retro sets the variables itself. .NET's own setter does not
    /// reach the C environment.
    /// </summary>
    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "Any later place could come after the loading of libtorch.")]
    internal static void WaitBriefly()
    {
        if (!OperatingSystem.IsWindows() && Environment.GetEnvironmentVariable(WaitPolicy) is null)
        {
            _ = SetEnvironment(WaitPolicy, "passive", overwrite: 0);
            _ = SetEnvironment(SpinCount, "1000", overwrite: 0);
        }
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
