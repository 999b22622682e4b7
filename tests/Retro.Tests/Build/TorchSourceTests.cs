using System.Text.Json;

namespace Retro.Tests.Build;

/// <summary>TorchSource decides what the library references; both choices are held to it.</summary>
public class TorchSourceTests
{
    private static readonly string Project = Path.Combine(Fixtures.Root, "src", "Retro", "Retro.csproj");

    [Theory]
    [InlineData("Package", new[] { "TorchSharp", "Microsoft.ML.Tokenizers" }, new string[0])]
    [InlineData("System", new string[0], new[] { "TorchSharp", "Microsoft.ML.Tokenizers" })]
    public void Each_source_evaluates_to_its_references(string source, string[] packages, string[] standIns)
    {
        (int exitCode, string output) = Tool.Run(
            "dotnet", Fixtures.Root, "msbuild", Project, $"-p:TorchSource={source}", "-getItem:PackageReference", "-getItem:ProjectReference");
        Assert.True(exitCode == 0, output);

        JsonElement items = JsonDocument.Parse(output).RootElement.GetProperty("Items");
        string[] referencedPackages = Identities(items, "PackageReference");
        string[] referencedProjects = Identities(items, "ProjectReference").Select(p => Path.GetFileNameWithoutExtension(p)).ToArray();
        string[] either = ["TorchSharp", "Microsoft.ML.Tokenizers"];
        Assert.Equal(packages.Order(), referencedPackages.Intersect(either).Order());
        Assert.Equal(standIns.Order(), referencedProjects.Intersect(either).Order());
        Assert.Contains("Microsoft.Extensions.AI.Abstractions", referencedPackages);
    }

    [Fact]
    public void The_library_compiles_against_the_original_packages_where_the_feed_has_them()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-package-build");
        try
        {
            string[] settings = [Project, "-p:TorchSource=Package", "--artifacts-path", folder.FullName, "-nologo", "-v", "quiet"];
            (int restored, string restoreOutput) = Tool.Run("dotnet", Fixtures.Root, ["restore", .. settings]);
            Assert.SkipUnless(restored == 0, $"The package feed does not give the original packages: {restoreOutput.Split('\n').FirstOrDefault(l => l.Contains("error", StringComparison.Ordinal))}");

            (int built, string buildOutput) = Tool.Run("dotnet", Fixtures.Root, ["build", "--no-restore", .. settings]);
            Assert.True(built == 0, buildOutput);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("src/Retro")]
    [InlineData("tests")]
    [InlineData("samples")]
    public void No_source_file_asks_at_compile_time_which_source_it_has(string folder)
    {
        string[] files = Directory.EnumerateFiles(Path.Combine(Fixtures.Root, folder), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Split(Path.DirectorySeparatorChar).Any(part => part is "bin" or "obj"))
            .ToArray();

        Assert.NotEmpty(files);
        Assert.DoesNotContain(files, f => File.ReadLines(f).Any(line => line.TrimStart().StartsWith("#if", StringComparison.Ordinal)));
    }

    private static string[] Identities(JsonElement items, string kind)
        => items.GetProperty(kind).EnumerateArray().Select(i => i.GetProperty("Identity").GetString()!).ToArray();
}
