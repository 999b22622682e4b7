using System.Runtime.Versioning;

namespace Retro.Tests.Build;

/// <summary>What sets this checkout up says what is wrong in a sentence and exits non-zero, rather than leaving a checkout that fails later.</summary>
[UnsupportedOSPlatform("windows")]
public sealed class SetupTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _tools;

    public SetupTests()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The scripts are bash's.");
        _tools = Directory.CreateDirectory(Path.Combine(_folder.Path, "tools")).FullName;
        foreach (string tool in new[] { "bash", "cat", "cut", "dirname", "ls", "mkdir", "mktemp", "rm", "sha256sum", "tail", "uname" })
        {
            File.CreateSymbolicLink(Path.Combine(_tools, tool), new[] { "/usr/bin/", "/bin/" }.Select(folder => folder + tool).First(File.Exists));
        }
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Without_the_sdk_it_says_what_to_install() => Refused("the .NET SDK 10 is missing; install it");

    [Fact]
    public void An_old_sdk_is_named()
    {
        Fake("dotnet", "echo 8.0.404");

        Refused("the .NET SDK 10 or newer is needed, found 8.0.404; install it");
    }

    [Fact]
    public void Without_apt_it_names_what_is_missing()
    {
        Fake("dotnet", "echo 10.0.100");

        Refused("missing: g++ cmake make");
        Refused("install them with this system's package manager and run this again.");
    }

    [Fact]
    public void Without_root_and_sudo_it_gives_the_command()
    {
        Fake("dotnet", "echo 10.0.100");
        Fake("apt-get", "exit 0");
        Fake("id", "echo 1000");

        Refused("install them as root: apt-get install g++ cmake make");
    }

    [Fact]
    public void Where_apt_fails_its_last_lines_and_the_packages_are_shown()
    {
        Fake("dotnet", "echo 10.0.100");
        Fake("apt-get", "echo E: no route to the mirror; exit 100");
        Fake("id", "echo 0");
        Fake("env", Env);

        Refused("E: no route to the mirror\nsetup: could not install g++ cmake make");
    }

    /// <summary>One source of packages that does not answer makes the update fail; what is missing may come from another.</summary>
    [Fact]
    public void Where_the_lists_of_packages_cannot_all_be_renewed_it_installs_all_the_same()
    {
        Fake("dotnet", "echo 10.0.100");
        Fake("apt-get", "echo asked for: \"$@\"; exit 100");
        Fake("id", "echo 0");
        Fake("env", Env);

        Refused("install -y --no-install-recommends g++ cmake make");
    }

    [Fact]
    public void Where_the_native_library_does_not_build_nothing_half_made_is_left()
    {
        Assert.SkipUnless(
            Directory.Exists("/usr/include/faiss")
                && Directory.EnumerateDirectories("/usr/lib").Any(folder => File.Exists(Path.Combine(folder, "openblas-pthread", "libopenblas.a"))),
            "What builds FAISS is not installed here.");
        Fake("dotnet", "echo 10.0.100");
        Fake("g++", "exit 1");
        Fake("make", "exit 1");
        Fake("cmake", "echo no compiler; exit 1");

        Refused("no compiler\nsetup: libfaiss_c.so did not build (above).");
        Assert.False(File.Exists(Path.Combine(_folder.Path, "checkout", "artifacts", "native", "fingerprint")));
    }

    [Theory]
    [InlineData("tests/run.sh", "Retro.sln")]
    [InlineData("samples/quickstart.sh", "samples/Quickstart")]
    public void Where_no_source_of_packages_answers_one_sentence_says_what_was_wanted(string script, string target)
    {
        // Everything is set up but the packages.
        string checkout = Checkout(), packages = Path.Combine(_folder.Path, "packages");
        File.WriteAllText(Path.Combine(checkout, "eng", "setup.sh"), "#!/usr/bin/env bash\n");
        File.WriteAllText(Path.Combine(checkout, "NuGet.config"), """
            <configuration><packageSources><clear /><add key="closed" value="absent-folder" /></packageSources></configuration>
            """);

        (int exitCode, string output) = Tool.Run(
            "bash", checkout, new Dictionary<string, string?> { ["NUGET_PACKAGES"] = packages }, Path.Combine(checkout, script));

        Assert.NotEqual(0, exitCode);
        string sentence = Assert.Single(output.TrimEnd().Split('\n'));
        Assert.StartsWith($"build: NuGet could not fetch the packages that {target} needs (of ", sentence, StringComparison.Ordinal);
        Assert.Contains("TorchSharp-cpu 0.", sentence, StringComparison.Ordinal);
        Assert.Contains("absent-folder", sentence, StringComparison.Ordinal);
        Assert.EndsWith("and run this again.", sentence, StringComparison.Ordinal);
    }

    private const string Env = "while [[ $1 == *=* ]]; do shift; done; exec \"$@\"";

    /// <summary>Puts a tool of our own where the script finds it.</summary>
    private void Fake(string tool, string script)
    {
        string path = Path.Combine(_tools, tool);
        File.WriteAllText(path, $"#!/bin/bash\n{script}\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute);
    }

    /// <summary>Runs eng/setup.sh of a copy of the checkout, with no other tools than ours.</summary>
    private void Refused(string expected)
    {
        (int exitCode, string output) = Tool.Run(
            "/bin/bash", _folder.Path, new Dictionary<string, string?> { ["PATH"] = _tools }, Path.Combine(Checkout(), "eng", "setup.sh"));

        Assert.NotEqual(0, exitCode);
        Assert.Contains(expected, output, StringComparison.Ordinal);
    }

    /// <summary>A copy of what is needed to set up and to restore: scripts and project files, and the sources of the native library.</summary>
    private string Checkout()
    {
        string to = Path.Combine(_folder.Path, "checkout");
        string[] kinds = [".sln", ".csproj", ".props", ".targets", ".sh", ".cpp", ".txt"];
        foreach (string folder in new[] { ".", "eng", "src", "samples", "tests" })
        {
            EnumerationOptions all = new() { RecurseSubdirectories = folder != "." };
            foreach (string file in Directory.EnumerateFiles(Path.Combine(Fixtures.Root, folder), "*", all)
                .Where(file => kinds.Contains(Path.GetExtension(file))))
            {
                string relative = Path.GetRelativePath(Fixtures.Root, file);
                if (!relative.Split(Path.DirectorySeparatorChar).Any(part => part is "bin" or "obj"))
                {
                    string copy = Path.Combine(to, relative);
                    Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                    File.Copy(file, copy, overwrite: true);
                }
            }
        }

        return to;
    }
}
