using System.Diagnostics;
using System.Globalization;
using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>How the benchmarks take times and print tables.</summary>
internal static class Measuring
{
    /// <summary>The types to compute models in: bfloat16 only where the device multiplies it; emulated, a product takes some hundred times as long.</summary>
    public static ScalarType[] Types(Device? device = null)
        => Precision.MultipliesBFloat16(device ?? CPU) ? [ScalarType.Float32, ScalarType.BFloat16] : [ScalarType.Float32];

    /// <summary>The median of some runs after one that warms up, in seconds of the clock.</summary>
    public static double Median(int times, Action work)
    {
        work();
        double[] seconds = new double[times];
        for (int i = 0; i < times; i++)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        return seconds.Order().ElementAt(times / 2);
    }

    /// <summary>Prints the head of a table.</summary>
    public static void Head(string title, params string[] columns)
    {
        Console.WriteLine();
        Console.WriteLine($"## {title}");
        Console.WriteLine();
        Console.WriteLine($"| {string.Join(" | ", columns)} |");
        Console.WriteLine($"|{string.Concat(columns.Select(_ => "---|"))}");
    }

    /// <summary>Prints a row of a table.</summary>
    public static void Row(params FormattableString[] cells)
        => Console.WriteLine($"| {string.Join(" | ", cells.Select(cell => cell.ToString(CultureInfo.InvariantCulture)))} |");

    /// <summary>The process's memory in bytes without the pages of files that it has mapped, which the system takes back when it needs them.</summary>
    public static long Private() => 1024 * File.ReadLines("/proc/self/status")
        .Where(line => line.StartsWith("RssAnon:", StringComparison.Ordinal))
        .Select(line => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture))
        .Single();

    /// <summary>The most of <see cref="Private"/> while something is done, looked up every few milliseconds.</summary>
    public static long MostPrivate(Action work)
    {
        long most = Private();
        using ManualResetEventSlim ended = new();
        Thread watch = new(() =>
        {
            while (!ended.Wait(5))
            {
                most = Math.Max(most, Private());
            }
        });
        watch.Start();
        try
        {
            work();
        }
        finally
        {
            ended.Set();
            watch.Join();
        }

        return most;
    }

    /// <summary>The most memory that the process had since the last call, in bytes; 0 where the system does not tell.</summary>
    public static long PeakMemory()
    {
        const string Status = "/proc/self/status", Reset = "/proc/self/clear_refs";
        if (!File.Exists(Status))
        {
            return 0;
        }

        string line = File.ReadLines(Status).First(one => one.StartsWith("VmHWM:", StringComparison.Ordinal));
        long peak = 1024 * long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
        try
        {
            File.WriteAllText(Reset, "5");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return 0; // it would be that of everything before
        }

        return peak;
    }
}
