namespace Retro.Tests.Build;

/// <summary>eng/setup.sh says what is wrong and exits non-zero, rather than leaving a checkout that fails later.</summary>
public class SetupTests
{
    private static readonly string Script = Path.Combine(Fixtures.Root, "eng", "setup.sh");

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
