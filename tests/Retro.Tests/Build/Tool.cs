using System.Diagnostics;

namespace Retro.Tests.Build;

/// <summary>Runs a program and gives back what it printed; one that does not end in time is ended, and the test fails.</summary>
internal static class Tool
{
    /// <summary>Far more than anything run here takes, so that only what hangs meets it.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(5);

    public static (int ExitCode, string Output) Run(string program, string folder, params string[] arguments)
        => Run(program, folder, new Dictionary<string, string?>(), arguments);

    public static (int ExitCode, string Output) Run(string program, string folder, IReadOnlyDictionary<string, string?> environment, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
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

        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        if (!Task.WaitAll([output, errors], s_limit) || !process.WaitForExit(s_limit))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"{program} {string.Join(' ', arguments)} did not end within {s_limit.TotalMinutes} minutes.");
        }

        return (process.ExitCode, output.Result + errors.Result);
    }
}
