using System.Runtime.InteropServices;
using Retro.Search;
using Retro.Tests.Search;
using Retro.Tests.Vectors;
using Retro.Vectors;
using static TorchSharp.torch;

namespace Retro.Tests;

public partial class OpenMPTests
{
    [Fact]
    public void Waiting_threads_spin_for_microseconds_unless_the_environment_says_so()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no libgomp.");
        OpenMP.WaitBriefly();

        // .NET's view is that of the process's start, the C library's is what a native runtime reads.
        string? policy = Environment.GetEnvironmentVariable("OMP_WAIT_POLICY"), count = Environment.GetEnvironmentVariable("GOMP_SPINCOUNT");
        Assert.Equal(policy ?? "passive", Marshal.PtrToStringUTF8(GetEnvironment("OMP_WAIT_POLICY")));
        Assert.Equal(policy is null ? count ?? "1000" : count, Marshal.PtrToStringUTF8(GetEnvironment("GOMP_SPINCOUNT")));
    }

    [Fact]
    public void A_search_leaves_the_number_of_threads_of_torch_as_it_was()
    {
        int former = get_num_threads();
        using VectorIndex index = VectorIndex.Create(8, threads: former + 1);
        index.Add(TestVectors.Random(100, 8, seed: 1));
        index.Search(TestVectors.Random(30, 8, seed: 2), 3, new long[90], new float[90]);

        Assert.Equal(former, get_num_threads());
    }

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint GetEnvironment(string name);
}
