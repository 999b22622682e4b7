using System.Diagnostics;

namespace Retro.Tests.Build;

/// <summary>Runs a program and gives back what it printed.</summary>
internal static class Tool
{
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

        foreach ((string name, string? value) in environment)
        {
            start.Environment[name] = value;
        }

        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.Result);
    }
}
