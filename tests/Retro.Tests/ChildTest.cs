using System.Diagnostics;
using System.Globalization;

namespace Retro.Tests;

/// <summary>
/// A test in a process of its own: one that is explicit, and is told what to do by variables of its environment. Whether it ends by itself or is to be killed,
/// it never outlives who started it.
/// </summary>
internal static class ChildTest
{
    /// <summary>The variable that names the process with which it ends.</summary>
    public const string Starter = "RETRO_TEST_STARTER";

    private static int s_watched;

    /// <summary>Runs a test of this assembly to its end.</summary>
    /// <param name="test">The test's method.</param>
    /// <param name="environment">What it asks <see cref="Given"/> for.</param>
    /// <param name="meanwhile">Called while it runs, for instance to kill it; null: nothing.</param>
    public static ChildProcess.Outcome Run(Action test, Dictionary<string, string?> environment, Action<Process>? meanwhile = null)
    {
        ProcessStartInfo start = new("dotnet", [typeof(ChildTest).Assembly.Location, .. Arguments(test)]);
        start.Environment[Starter] = Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        foreach ((string name, string? value) in environment)
        {
            start.Environment[name] = value;
        }

        return ChildProcess.Run(start, meanwhile: meanwhile);
    }

    /// <summary>What the runner of this assembly is given to run one test that is explicit.</summary>
    public static string[] Arguments(Action test) => ["-method", $"{test.Method.DeclaringType!.FullName}.{test.Method.Name}", "-explicit", "only"];

    /// <summary>A variable that the test was started with; from then on its process ends with the one that started it, however that ends.</summary>
    public static string Given(string name)
    {
        string given = Environment.GetEnvironmentVariable(name) ?? throw new InvalidOperationException($"This is run by another test, which sets {name}.");
        if (Environment.GetEnvironmentVariable(Starter) is { } starter && Interlocked.Exchange(ref s_watched, 1) == 0)
        {
            new Thread(() => EndWith(int.Parse(starter, CultureInfo.InvariantCulture))) { IsBackground = true }.Start();
        }

        return given;
    }

    private static void EndWith(int starter)
    {
        try
        {
            using Process process = Process.GetProcessById(starter);
            process.WaitForExit();
        }
        catch (ArgumentException)
        {
            // It has ended already.
        }

        Process.GetCurrentProcess().Kill();
    }
}
