using System.Diagnostics;
using Retro.Tests;

namespace Retro.Postgres.Tests;

/// <summary>A PGlite that runs: PostgreSQL with pgvector in a process of its own, on the loopback.</summary>
internal sealed class PgliteServer : IDisposable
{
    private readonly Process _process;

    /// <param name="folder">Where its data lie; null: in memory.</param>
    /// <param name="vectors">Whether it has pgvector.</param>
    public PgliteServer(string? folder = null, bool vectors = true)
    {
        TestServer.RequirePglite();
        ProcessStartInfo start = new("node", ["server.mjs", vectors ? "vectors" : "plain", .. folder is null ? Array.Empty<string>() : [folder]])
        {
            WorkingDirectory = Folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        _process = Process.Start(start)!;
        Task<string?> first = _process.StandardOutput.ReadLineAsync();
        string? line = first.Wait(ChildProcess.Limit) ? first.Result : "it said nothing";
        if (line?.StartsWith("listening ", StringComparison.Ordinal) != true)
        {
            Dispose();
            Assert.Fail($"PGlite did not start: {line}");
        }

        Port = int.Parse(line.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>Where it is installed.</summary>
    public static string Folder { get; } = Path.Combine(Fixtures.Root, "artifacts", "pglite");

    public int Port { get; }

    /// <summary>One connection at a time, without encryption, is what it can.</summary>
    public string ConnectionString => $"Host=127.0.0.1;Port={Port};Username=postgres;Database=postgres;Pooling=false;Maximum Pool Size=1;SSL Mode=Disable";

    /// <summary>Ends it at once.</summary>
    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            Kill();
        }

        _process.Dispose();
    }
}
