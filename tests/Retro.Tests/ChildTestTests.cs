using System.Diagnostics;
using System.Globalization;

namespace Retro.Tests;

public class ChildTestTests
{
    private const string Marker = "RETRO_TEST_CHILD_MARKER";

    /// <summary>As that of a run of the tests that is killed, which leaves no process behind.</summary>
    [Fact]
    public void A_child_that_waits_ends_when_the_process_that_started_it_does()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "There is no sleep to start.");
        using TemporaryFolder folder = new();
        using Process starter = Process.Start("sleep", "3600");
        Dictionary<string, string?> environment = new()
        {
            [Marker] = folder["started"], [ChildTest.Starter] = starter.Id.ToString(CultureInfo.InvariantCulture),
        };
        ChildProcess.Outcome outcome = ChildTest.Run(Waits_for_ever, environment, process =>
        {
            while (!process.HasExited && !File.Exists(folder["started"]))
            {
                Thread.Sleep(1);
            }

            starter.Kill();
        });
        Assert.True(File.Exists(folder["started"]), outcome.Output);
        Assert.Equal(137, outcome.ExitCode); // of SIGKILL
    }

    /// <summary>What the process does.</summary>
    [Fact(Explicit = true)]
    public void Waits_for_ever()
    {
        File.WriteAllText(ChildTest.Given(Marker), "");
        Thread.Sleep(Timeout.Infinite);
    }
}
