namespace Retro.Tests;

public class ChildProcessTests
{
    [Fact]
    public void What_does_not_end_in_time_is_ended_with_what_it_started_and_the_test_fails()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The shell is of Linux.");
        int child = 0;
        Exception fault = Assert.ThrowsAny<Exception>(() =>
            ChildProcess.Run(new("bash", ["-c", "sleep 600 & echo $!; wait"]), (_, line) => child = int.Parse(line, null), limit: TimeSpan.FromSeconds(3)));

        Assert.Contains("did not end within", fault.Message, StringComparison.Ordinal);
        Assert.Contains($"{child}", fault.Message, StringComparison.Ordinal);
        Assert.True(SpinWait.SpinUntil(() => !Runs(child), TimeSpan.FromSeconds(30)), "What the program had started goes on.");
    }

    [Fact]
    public void A_watcher_that_fails_ends_the_program_and_the_test()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The shell is of Linux.");
        int process = 0;
        Assert.Throws<InvalidOperationException>(() => ChildProcess.Run(new("bash", ["-c", "echo line; exec sleep 600"]), (running, _) =>
        {
            process = running.Id;
            throw new InvalidOperationException();
        }));

        Assert.True(SpinWait.SpinUntil(() => !Runs(process), TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public void Output_errors_and_exit_code_come_back()
        => Assert.Equal(new(3, "one\ntwo\n", "three\n"), ChildProcess.Run(new("bash", ["-c", "echo one; echo two; echo three >&2; exit 3"])));

    /// <summary>A process that has ended and is not waited for by its parent counts as ended.</summary>
    private static bool Runs(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/stat").Split(") ")[^1][0] != 'Z';
        }
        catch (IOException)
        {
            return false; // gone, perhaps between opening and reading
        }
    }
}
