using System.Diagnostics;

namespace Retro.Tests.Build;

/// <summary>Runs a program that may itself build, apart from the settings that the test host was started with.</summary>
internal static class Tool
{
    public static (int ExitCode, string Output) Run(string program, string folder, params string[] arguments)
        => Run(program, folder, new Dictionary<string, string?>(), arguments);

    public static (int ExitCode, string Output) Run(string program, string folder, IReadOnlyDictionary<string, string?> environment, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { WorkingDirectory = folder };
        // The test host's own MSBuild settings would change what an inner build evaluates to.
        foreach (string inherited in start.Environment.Keys.Where(k => k.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToList())
        {
            start.Environment.Remove(inherited);
        }

        // A build server that stays behind would hold the pipes open, and a later test would meet what an earlier one left in it.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        start.Environment["UseSharedCompilation"] = "false";
        foreach ((string name, string? value) in environment)
        {
            start.Environment[name] = value;
        }

        ChildProcess.Outcome outcome = ChildProcess.Run(start);
        return (outcome.ExitCode, outcome.Output + outcome.Errors);
    }
}
