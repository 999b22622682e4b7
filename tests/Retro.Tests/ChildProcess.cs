using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Retro.Tests;

/// <summary>
/// Runs a program and gives back what it printed. One that does not end in time is ended with all that it started, and the test fails and says so.
/// </summary>
internal static class ChildProcess
{
    /// <summary>Far more than anything run here takes, so that only what hangs meets it.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>What a program left: its exit code and what it wrote to either stream.</summary>
    public sealed record Outcome(int ExitCode, string Output, string Errors)
    {
        /// <summary>Of a run of the tool: how far it says that its work is, which it writes to the standard error, behind what it printed.</summary>
        public Outcome OfTool()
        {
            ILookup<bool, string> lines = Errors.Split('\n')[..^1].ToLookup(line => s_progress.IsMatch(line), line => line + "\n");
            return this with { Output = Output + string.Concat(lines[true]), Errors = string.Concat(lines[false]) };
        }
    }

    // A stage begins, is under way, or is done.
    private static readonly Regex s_progress = new(@"^(\S.* \.\.\.|  \S.*|\S.*: done in [\d.]+ s)$");

    /// <summary>Runs a program to its end.</summary>
    /// <param name="start">The program, its arguments and its environment.</param>
    /// <param name="watch">Told each line that it writes, to either stream, as it comes; null: nobody.</param>
    /// <param name="meanwhile">Called while it runs, for instance to end it; null: nothing.</param>
    /// <param name="limit">Ends it; null: <see cref="Limit"/>.</param>
    public static Outcome Run(ProcessStartInfo start, Action<Process, string>? watch = null, Action<Process>? meanwhile = null, TimeSpan? limit = null)
    {
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = true;
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        StringBuilder output = new(), errors = new();
        Exception? fault = null;
        using CancellationTokenSource failed = new();

        // The two streams are read side by side, and the watcher is told one line after the other.
        Lock watching = new();
        void Watched(string line)
        {
            lock (watching)
            {
                Guarded(() => watch?.Invoke(process, line));
            }
        }

        // What fails while it watches ends the wait at once: what is watched may go on for ever.
        void Guarded(Action action)
        {
            try
            {
                action();
            }
            catch (Exception exception)
            {
                fault ??= exception;
                failed.Cancel();
            }
        }

        Task ending = Task.WhenAll(
            Read(process.StandardOutput, output, Watched),
            Read(process.StandardError, errors, Watched),
            meanwhile is null ? Task.CompletedTask : Task.Run(() => Guarded(() => meanwhile(process))),
            process.WaitForExitAsync());
        bool ended = false;
        try
        {
            ended = ending.Wait((int)(limit ?? Limit).TotalMilliseconds, failed.Token);
        }
        catch (OperationCanceledException)
        {
        }

        if (!ended)
        {
            process.Kill(entireProcessTree: true);
        }

        if (fault is not null)
        {
            ExceptionDispatchInfo.Throw(fault);
        }

        if (!ended)
        {
            string printed;
            lock (output)
            {
                printed = output.ToString();
            }

            Assert.Fail(
                $"{start.FileName} {string.Join(' ', start.ArgumentList)} did not end within {limit ?? Limit}; it was ended with all that it had started. "
                    + $"It had printed:\n{printed}");
        }

        return new(process.ExitCode, output.ToString(), errors.ToString());
    }

    private static async Task Read(StreamReader reader, StringBuilder text, Action<string> seen)
    {
        while (await reader.ReadLineAsync() is { } line)
        {
            lock (text)
            {
                text.Append(line).Append('\n');
            }

            seen(line);
        }
    }
}
