using System.Globalization;

namespace Retro.Tests.Build;

/// <summary>The tool as its users get it: packed into a folder, installed from there into an empty one, and run.</summary>
public sealed class ToolPackageTests : IDisposable
{
    /// <summary>A version of its own for each run, so that nothing that an earlier one left is taken.</summary>
    private static readonly string s_version = string.Create(CultureInfo.InvariantCulture, $"0.1.0-test{DateTime.UtcNow.Ticks}");

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_installed_command_builds_a_database_and_trains_on_it()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The tool is packed for Linux.");
        for (int i = 0; i < 8; i++)
        {
            _folder.File(Path.Combine("docs", $"{i}.md"), string.Concat(Enumerable.Range(0, 20).Select(j => $"River {i} has {(7 * j) + i} stones.\n")));
        }

        string feed = _folder["feed"], tools = _folder["tools"], retro = Path.Combine(tools, "retro");
        string project = Path.Combine(Fixtures.Root, "src", "Retro.Cli");
        Run("dotnet", "pack", project, "-c", Fixtures.Configuration, "--no-build", "-o", feed, $"-p:Version={s_version}");
        Notices.Require(Assert.Single(Directory.GetFiles(feed, "*.nupkg")));
        Run("dotnet", "tool", "install", "Retro.Cli", "--version", s_version, "--tool-path", tools, "--add-source", feed);

        Run(retro, "build", "--corpus", "docs", "--out", "work", "--vocabulary", "280", "--chunk", "16", "--held-out-share", "0");
        string trained = Run(retro, "train", "--out", "work", "--preset", "tiny", "--steps", "2", "--window", "32");
        Assert.Contains("2 steps in", trained, StringComparison.Ordinal);
        Assert.Contains("are there and finite", Run(retro, "verify", "work"), StringComparison.Ordinal);

        // FAISS is in it, too: a dense index is not the managed one.
        Run(retro, "embed-train", "--out", "work", "--steps", "1");
        Run(retro, "neighbors", "--database", "work", "--source", "dense", "--k", "2");
        Assert.Contains("factory Flat", Run(retro, "info", "work"), StringComparison.Ordinal);
    }

    private string Run(string program, params string[] arguments)
    {
        (int exitCode, string output) = Tool.Run(
            program, _folder.Path, new Dictionary<string, string?> { ["DOTNET_CLI_UI_LANGUAGE"] = "en", ["DOTNET_NOLOGO"] = "1" }, arguments);
        Assert.True(exitCode == 0, $"{program} {string.Join(' ', arguments)}\n{output}");
        return output;
    }
}
