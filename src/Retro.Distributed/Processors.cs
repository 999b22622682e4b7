using System.Globalization;

namespace Retro.Distributed;

/// <summary>
/// The processors that processes of a machine may use, as Linux lists them ("0-3,8"; man 7 cpuset, "List format"): a launcher may have bound each to a few.
/// </summary>
internal static class Processors
{
    private const string Status = "/proc/self/status", Allowed = "Cpus_allowed_list:", Online = "/sys/devices/system/cpu/online";

    /// <summary>Those that this process may use; empty where the system does not say.</summary>
    public static string Own { get; } = File.Exists(Status)
        ? File.ReadLines(Status).FirstOrDefault(line => line.StartsWith(Allowed, StringComparison.Ordinal))?[Allowed.Length..].Trim() ?? ""
        : "";

    /// <summary>Those of the machine; empty where the system does not say.</summary>
    public static string OfMachine { get; } = File.Exists(Online) ? File.ReadAllText(Online).Trim() : "";

    /// <summary>Threads for a process: one for each core that it may use, as torch has alone, less what others that may use one of them take.</summary>
    /// <param name="own">What it may use.</param>
    /// <param name="here">What each process of its machine may use, itself among them.</param>
    /// <param name="most">Processors at most, such as a container's share.</param>
    /// <param name="coreOf">The core of a processor, of which several can be threads.</param>
    /// <returns>At least 1.</returns>
    public static int Threads(string own, IReadOnlyList<string> here, int most, Func<int, string> coreOf)
    {
        HashSet<int> mine = [.. Numbers(own)];
        int sharing = here.Count(other => own.Length == 0 || other.Length == 0 || mine.Overlaps(Numbers(other)));
        int cores = own.Length == 0 ? most : Math.Min(most, Cores(own, coreOf));
        return Math.Max(1, cores / Math.Max(1, sharing));
    }

    /// <summary>Whether all processes of a machine together are kept from half of its cores, or more.</summary>
    /// <param name="here">What each of them may use.</param>
    /// <param name="machine">What the machine has.</param>
    /// <param name="coreOf">The core of a processor.</param>
    public static bool LeavesHalf(IReadOnlyList<string> here, string machine, Func<int, string> coreOf)
        => !here.Contains("") && 2 * Cores(string.Join(',', here), coreOf) <= Cores(machine, coreOf);

    /// <summary>How many cores processors are of.</summary>
    public static int Cores(string processors, Func<int, string> coreOf) => Numbers(processors).Select(coreOf).Distinct().Count();

    /// <summary>The core of one of this machine's processors: all that are threads of it.</summary>
    public static string CoreOf(int processor)
    {
        string file = $"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list";
        return File.Exists(file) ? File.ReadAllText(file).Trim() : $"{processor}";
    }

    private static IEnumerable<int> Numbers(string list) => list.Split(',', StringSplitOptions.RemoveEmptyEntries).SelectMany(part =>
    {
        int[] ends = [.. part.Split('-').Select(end => int.Parse(end, CultureInfo.InvariantCulture))];
        return Enumerable.Range(ends[0], ends[^1] - ends[0] + 1);
    });
}
