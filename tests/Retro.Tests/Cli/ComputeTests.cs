using Retro.Cli;
using static TorchSharp.torch;

namespace Retro.Tests.Cli;

/// <summary>With how many threads the tool computes where nobody says it, in a process of its own: they are of the whole process.</summary>
public sealed class ComputeTests : IDisposable
{
    private const string Result = "RETRO_TEST_THREADS";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>What .NET is told of processors here is what it finds of a container's share.</summary>
    [Fact]
    public void Torch_has_no_more_threads_than_the_process_has_processors() => Assert.Equal(1, Threads(null).Computing);

    [Fact]
    public void What_the_environment_says_of_threads_stays()
    {
        (int torchs, int computing) = Threads("2");
        Assert.Equal(torchs, computing);
    }

    /// <summary>What the process does.</summary>
    [Fact(Explicit = true)]
    public void Computes()
    {
        string file = ChildTest.Given(Result);
        TorchLibrary.Require();
        int before = get_num_threads();
        CommonOptions.Compute("cpu", 0);
        File.WriteAllLines(file, [$"{before}", $"{get_num_threads()}"]);
    }

    private (int Torchs, int Computing) Threads(string? said)
    {
        string file = _folder["threads"];
        ChildProcess.Outcome outcome = ChildTest.Run(
            Computes, new() { [Result] = file, ["DOTNET_PROCESSOR_COUNT"] = "1", ["OMP_NUM_THREADS"] = said, ["MKL_NUM_THREADS"] = null });
        Assert.True(outcome.ExitCode == 0, outcome.Output + outcome.Errors);
        int[] threads = [.. File.ReadLines(file).Select(line => int.Parse(line, System.Globalization.CultureInfo.InvariantCulture))];
        return (threads[0], threads[1]);
    }
}
