using System.Diagnostics;
using System.Globalization;

namespace Retro.Distributed.Tests;

/// <summary>Starts the worker in several processes.</summary>
internal static class Together
{
    private static readonly string s_worker = Path.Combine(
        Fixtures.Root, "tests", "Retro.Distributed.Worker", "bin", Fixtures.Configuration, "net10.0", "Retro.Distributed.Worker.dll");

    /// <summary>Skips the test where there is no mpirun; a machine that is not a person's has one (tests/run.sh).</summary>
    public static void Require()
        => Assert.SkipUnless(
            (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, "mpirun"))),
            "There is no mpirun on this machine; eng/setup.sh --distributed installs it.");

    /// <summary>Runs scenarios.</summary>
    /// <param name="processes">How many; 0: one, without mpirun.</param>
    /// <param name="folder">Where they write to.</param>
    /// <param name="scenarios">What they do, one after the other.</param>
    public static ChildProcess.Outcome Run(int processes, string folder, params string[] scenarios) => Run(processes, folder, yields: true, scenarios);

    /// <summary>The same of two, the second of which computes with the instructions that every processor has; it has to end well.</summary>
    public static void DoneWithUnlikeProcessors(string folder, params string[] scenarios)
        => RequireDone(Run(2, folder, yields: true, scenarios, unlike: true), 2, scenarios);

    /// <summary>The same with a library of NCCL's that has no GPU.</summary>
    public static ChildProcess.Outcome RunWith(NcclStub nccl, int processes, string folder, params string[] scenarios)
        => Run(processes, folder, yields: true, scenarios, nccl);

    /// <summary>One process that mpirun started, whose threads no variable says.</summary>
    /// <param name="bind">What mpirun binds it to.</param>
    /// <param name="folder">Where it writes to.</param>
    /// <param name="scenarios">What it does.</param>
    public static ChildProcess.Outcome RunBound(string bind, string folder, params string[] scenarios)
        => Run(1, folder, yields: true, scenarios, bind: bind, threads: null);

    private static ChildProcess.Outcome Run(
        int processes,
        string folder,
        bool yields,
        string[] scenarios,
        NcclStub? nccl = null,
        bool unlike = false,
        string bind = "none",
        string? threads = "1")
    {
        Directory.CreateDirectory(folder);
        string[] program = ["dotnet", s_worker, folder, .. scenarios];
        if (processes > 0)
        {
            Require();
            // More processes than cores, as root in a container, on this machine alone: its own address and shared memory.
            program = ["mpirun", "--oversubscribe", "--allow-run-as-root", "--bind-to", bind, "--mca", "btl", "self,vader", "--mca", "pml", "ob1",
                "--mca", "mpi_yield_when_idle", yields ? "1" : "0", .. unlike
                ? (string[])["-n", "1", .. program, ":", "-n", "1", "-x", "ATEN_CPU_CAPABILITY=default", .. program]
                : ["-n", processes.ToString(CultureInfo.InvariantCulture), .. program]];
        }

        ProcessStartInfo start = new(program[0], program[1..]) { WorkingDirectory = folder };
        start.Environment.Remove("OMP_NUM_THREADS");
        start.Environment.Remove("MKL_NUM_THREADS");
        if (threads is not null)
        {
            start.Environment.Add("OMP_NUM_THREADS", threads);
        }

        nccl?.AddTo(start.Environment);
        return ChildProcess.Run(start);
    }

    /// <summary>The same; it has to end well.</summary>
    public static void Done(int processes, string folder, params string[] scenarios) => Done(processes, folder, yields: true, scenarios);

    /// <summary>The same, of processes whose MPI keeps its core while it waits, as it does where it has one for each.</summary>
    public static void DoneWithoutYielding(int processes, string folder, params string[] scenarios) => Done(processes, folder, yields: false, scenarios);

    private static void Done(int processes, string folder, bool yields, string[] scenarios)
    {
        RequireDone(Run(processes, folder, yields, scenarios), processes, scenarios);
    }

    private static void RequireDone(ChildProcess.Outcome outcome, int processes, string[] scenarios)
    {
        Assert.True(
            outcome.ExitCode == 0, $"{processes} processes, {string.Join(' ', scenarios)}: exit code {outcome.ExitCode}\n{outcome.Output}{outcome.Errors}");
    }
}
