using System.Globalization;
using System.Text.Json;

namespace Retro.Tests.Build;

/// <summary>
/// The package as its users get it: packed into a folder, added to a new project outside this repository together with TorchSharp-cpu, built, run and
/// published.
/// </summary>
public sealed class PackageTests : IDisposable
{
    /// <summary>A version of its own for each run, so that nothing that an earlier one left in the package cache is taken.</summary>
    private static readonly string s_version = string.Create(CultureInfo.InvariantCulture, $"0.1.0-test{DateTime.UtcNow.Ticks}");

    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        string assets = Path.Combine(_folder.Path, "app", "obj", "project.assets.json");
        if (File.Exists(assets))
        {
            using JsonDocument restored = JsonDocument.Parse(File.ReadAllText(assets));
            foreach (JsonProperty cache in restored.RootElement.GetProperty("packageFolders")
                .EnumerateObject()
                .Where(cache => Directory.Exists(Path.Combine(cache.Name, "retro", s_version))))
            {
                Directory.Delete(Path.Combine(cache.Name, "retro", s_version), recursive: true);
            }
        }

        _folder.Dispose();
    }

    [Fact]
    public void A_new_project_runs_the_readmes_lines_and_a_faiss_search()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libfaiss_c.so is packed for Linux.");
        string app = Directory.CreateDirectory(Path.Combine(_folder.Path, "app")).FullName, feed = Path.Combine(_folder.Path, "feed");
        Dotnet(Fixtures.Root, "pack", Path.Combine("src", "Retro"), "-c", Fixtures.Configuration, "--no-build", "-o", feed, $"-p:Version={s_version}");
        WriteProject(app, feed);

        // Without a runtime identifier, as a new project is: natives of every system, in folders of their own.
        Dotnet(app, "build", "-c", "Release");
        string output = Path.Combine(app, "bin", "Release", "net10.0"), natives = Path.Combine(output, "runtimes", "linux-x64", "native");
        Assert.Single(TorchPackage.Differences(File.ReadAllBytes(TorchPackage.Library), File.ReadAllBytes(Path.Combine(natives, "libLibTorchSharp.so"))));
        string[] lines = Dotnet(app, Path.Combine(output, "app.dll")).TrimEnd().Split('\n');
        Assert.NotEmpty(string.Concat(lines[..^2]).Trim());
        Assert.Equal("chunk 3 is nearest to itself, at 0.000", lines[^2]);
        Assert.Equal(Path.Combine(natives, "libfaiss_c.so"), lines[^1]);

        Assert.Contains(
            "Skipping target \"_RetroCopyTorch\" because all output files are up-to-date",
            Dotnet(app, "build", "-c", "Release", "--no-restore", "-v:n"),
            StringComparison.Ordinal);

        // Switched off, the output has the package's own file, and switched on again it does not.
        foreach ((string wanted, int differences) in new[] { ("false", 0), ("true", 1) })
        {
            Dotnet(app, "build", "-c", "Release", "--no-restore", $"-p:RetroWeakenTorchRequirement={wanted}");
            Assert.Equal(
                differences,
                TorchPackage.Differences(File.ReadAllBytes(TorchPackage.Library), File.ReadAllBytes(Path.Combine(natives, "libLibTorchSharp.so"))).Count);
        }

        string published = Path.Combine(_folder.Path, "published");
        Dotnet(app, "publish", "-c", "Release", "-r", "linux-x64", "--no-self-contained", "-p:PublishSingleFile=true", "-o", published);
        Assert.Single(TorchPackage.Differences(File.ReadAllBytes(TorchPackage.Library), File.ReadAllBytes(Path.Combine(published, "libLibTorchSharp.so"))));
        (int exitCode, string said) = Tool.Run(Path.Combine(published, "app"), app, "torch");
        Assert.True(exitCode == 0 && said.Trim() == "2", said);
    }

    private static void WriteProject(string app, string feed)
    {
        string torchVersion = Path.GetFileName(TorchPackage.Folder);
        string lines = File.ReadAllText(Path.Combine(Fixtures.Root, "README.md")).Split("## In ten lines", 2)[1].Split("```csharp\n", 2)[1].Split("```", 2)[0];
        File.WriteAllText(Path.Combine(app, "app.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <InvariantGlobalization>true</InvariantGlobalization>
                <RestoreAdditionalProjectSources>{feed}</RestoreAdditionalProjectSources>
                <!-- Copies of a gigabyte would show nothing more. -->
                <CreateHardLinksForCopyLocalIfPossible>true</CreateHardLinksForCopyLocalIfPossible>
                <CreateHardLinksForPublishFilesIfPossible>true</CreateHardLinksForPublishFilesIfPossible>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Retro" Version="{s_version}" />
                <PackageReference Include="TorchSharp-cpu" Version="{torchVersion}" />
              </ItemGroup>
            </Project>
            """);
        File.WriteAllText(Path.Combine(app, "Program.cs"), $$"""
            using Retro.Checkpoints;
            using Retro.Corpora;
            using Retro.Database;
            using Retro.Embedders;
            using Retro.Evaluation;
            using Retro.Generation;
            using Retro.Modeling;
            using Retro.Search;
            using Retro.Tokenizers;
            using Retro.Training;

            if (args is ["torch"])
            {
                Console.WriteLine(TorchSharp.torch.ones(2).sum().item<float>());
                return;
            }

            {{lines}}
            ChunkKeyer keyer = new(tokenizer, new HashingEmbedder());
            DenseNeighborSource dense = DenseNeighborSource.Build(database, keyer);
            long[] found = new long[1];
            float[] scores = new float[1];
            dense.Find([new(database.Tokens(3)[..database.TokenCount(3)].ToArray(), [])], 1, found, scores);
            Console.WriteLine($"\nchunk {found[0]} is nearest to itself, at {Math.Abs(scores[0]):0.000}");
            Console.WriteLine(File.ReadLines("/proc/self/maps").First(line => line.EndsWith("libfaiss_c.so")).Split(' ')[^1]);
            """);
        Directory.CreateDirectory(Path.Combine(app, "docs"));
        Random random = new(5);
        for (int i = 0; i < 12; i++)
        {
            string topic = new[] { "river", "bridge", "harbor", "mountain" }[i % 4];
            File.WriteAllText(
                Path.Combine(app, "docs", $"{i}.md"),
                string.Concat(Enumerable.Range(0, 60).Select(j => $"The {topic} number {i} has {random.Next(1000)} stones and {random.Next(1000)} steps.\n")));
        }
    }

    private static string Dotnet(string folder, params string[] arguments)
    {
        (int exitCode, string output) = Tool.Run(
            "dotnet", folder, new Dictionary<string, string?> { ["DOTNET_CLI_UI_LANGUAGE"] = "en", ["DOTNET_NOLOGO"] = "1" }, arguments);
        Assert.True(exitCode == 0, $"dotnet {string.Join(' ', arguments)}\n{output}");
        return output;
    }
}
