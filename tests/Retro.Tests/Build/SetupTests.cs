namespace Retro.Tests.Build;

/// <summary>eng/setup.sh says what is wrong and exits non-zero, rather than leaving a checkout that fails later.</summary>
public class SetupTests
{
    private static readonly string Script = Path.Combine(Fixtures.Root, "eng", "setup.sh");

    [Fact]
    public void An_unknown_source_is_refused()
    {
        (int exitCode, string output) = Tool.Run("bash", Fixtures.Root, new Dictionary<string, string?> { ["TORCH_SOURCE"] = "Elsewhere" }, Script);

        Assert.NotEqual(0, exitCode);
        Assert.Contains("TORCH_SOURCE is 'Elsewhere'; it has to be Package or System", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_that_holds_no_libtorch_is_refused_and_nothing_is_changed()
    {
        string props = Path.Combine(Fixtures.Root, "eng", "TorchSource.props");
        string? before = File.Exists(props) ? File.ReadAllText(props) : null;
        DirectoryInfo folder = Directory.CreateTempSubdirectory("no-libtorch");
        try
        {
            (int exitCode, string output) = Tool.Run("bash", Fixtures.Root, new Dictionary<string, string?> { ["LIBTORCH"] = folder.FullName }, Script);

            Assert.NotEqual(0, exitCode);
            Assert.Contains($"LIBTORCH is '{folder.FullName}', which holds no include/torch", output, StringComparison.Ordinal);
            Assert.Equal(before, File.Exists(props) ? File.ReadAllText(props) : null);
        }
        finally
        {
            folder.Delete();
        }
    }

    [Fact]
    public void Without_the_sdk_it_says_what_to_install()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("no-sdk");
        try
        {
            foreach (string tool in new[] { "bash", "dirname" })
            {
                File.CreateSymbolicLink(Path.Combine(folder.FullName, tool), new[] { "/usr/bin/", "/bin/" }.Select(b => b + tool).First(File.Exists));
            }

            (int exitCode, string output) = Tool.Run("/bin/bash", Fixtures.Root, new Dictionary<string, string?> { ["PATH"] = folder.FullName }, Script);

            Assert.NotEqual(0, exitCode);
            Assert.Contains("the .NET SDK 10 is missing; install it", output, StringComparison.Ordinal);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
