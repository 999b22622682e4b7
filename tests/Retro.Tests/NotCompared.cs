using System.Collections.Concurrent;

[assembly: AssemblyFixture(typeof(Retro.Tests.NotCompared))]

namespace Retro.Tests;

/// <summary>
/// What a run did not compare, since an input lies outside the checkout and is absent. At its end the run writes a line for each class to the file that
/// RETRO_NOT_COMPARED names; tests/run.sh prints it.
/// </summary>
public sealed class NotCompared : IDisposable
{
    private static readonly ConcurrentDictionary<(string Class, string Input), byte> s_inputs = new();

    /// <summary>Notes that the running test's class goes without an input.</summary>
    public static void Add(string input) => s_inputs.TryAdd((TestContext.Current.TestClass?.TestClassSimpleName ?? "?", input), 0);

    /// <summary>A line for each class, in the order of their names.</summary>
    public static IReadOnlyList<string> Lines()
        => [.. s_inputs.Keys.GroupBy(pair => pair.Class).OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => $"{group.Key}: not compared with {string.Join(", ", group.Select(pair => pair.Input).Order(StringComparer.Ordinal))}")];

    public void Dispose()
    {
        if (Environment.GetEnvironmentVariable("RETRO_NOT_COMPARED") is { Length: > 0 } file)
        {
            File.AppendAllLines(file, Lines());
        }
    }
}
