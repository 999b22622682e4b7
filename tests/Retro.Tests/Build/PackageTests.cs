namespace Retro.Tests.Build;

/// <summary>
/// The package as its users get it: packed into a folder, added to a new project outside this repository together with TorchSharp-cpu, built, run and
/// published.
/// </summary>
public sealed class PackageTests : IDisposable
{
    private readonly PackedApp _app = new("Retro");

    public void Dispose() => _app.Dispose();

    [Fact]
    public void A_new_project_runs_the_readmes_lines_and_a_faiss_search()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libfaiss_c.so is packed for Linux.");
        _app.RequireNotices("Retro");
        WriteProject();

        // Without a runtime identifier, as a new project is: natives of every system, in folders of their own.
        _app.Dotnet("build", "-c", "Release");
        string natives = Path.Combine(Path.GetDirectoryName(_app.Program)!, "runtimes", "linux-x64", "native");
        Assert.Single(TorchPackage.Differences(File.ReadAllBytes(TorchPackage.Library), File.ReadAllBytes(Path.Combine(natives, "libLibTorchSharp.so"))));
        string[] lines = _app.Dotnet(_app.Program).TrimEnd().Split('\n');
        Assert.NotEmpty(string.Concat(lines[..^2]).Trim());
        Assert.Equal("chunk 3 is nearest to itself, at 0.000", lines[^2]);
        Assert.Equal(Path.Combine(natives, "libfaiss_c.so"), lines[^1]);

        Assert.Contains(
            "Skipping target \"_RetroCopyTorch\" because all output files are up-to-date",
            _app.Dotnet("build", "-c", "Release", "--no-restore", "-v:n"),
            StringComparison.Ordinal);

        // Switched off, the output has the package's own file, and switched on again it does not.
        foreach ((string wanted, int differences) in new[] { ("false", 0), ("true", 1) })
        {
            _app.Dotnet("build", "-c", "Release", "--no-restore", $"-p:RetroWeakenTorchRequirement={wanted}");
            Assert.Equal(
                differences,
                TorchPackage.Differences(File.ReadAllBytes(TorchPackage.Library), File.ReadAllBytes(Path.Combine(natives, "libLibTorchSharp.so"))).Count);
        }

        string published = _app["published"];
        _app.Dotnet("publish", "-c", "Release", "-r", "linux-x64", "--no-self-contained", "-p:PublishSingleFile=true", "-o", published);
        Assert.Single(TorchPackage.Differences(File.ReadAllBytes(TorchPackage.Library), File.ReadAllBytes(Path.Combine(published, "libLibTorchSharp.so"))));
        (int exitCode, string said) = Tool.Run(Path.Combine(published, "app"), _app.Folder, "torch");
        Assert.True(exitCode == 0 && said.Trim() == "2", said);
    }

    private void WriteProject()
    {
        string torchVersion = Path.GetFileName(TorchPackage.Folder);
        string lines = File.ReadAllText(Path.Combine(Fixtures.Root, "README.md")).Split("## In ten lines", 2)[1].Split("```csharp\n", 2)[1].Split("```", 2)[0];
        string program = $$"""
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
            """;

        // Copies of a gigabyte would show nothing more.
        const string HardLinks = "<CreateHardLinksForCopyLocalIfPossible>true</CreateHardLinksForCopyLocalIfPossible>"
            + "<CreateHardLinksForPublishFilesIfPossible>true</CreateHardLinksForPublishFilesIfPossible>";
        _app.Write(program, HardLinks, ("Retro", PackedApp.Version), ("TorchSharp-cpu", torchVersion));
        Directory.CreateDirectory(Path.Combine(_app.Folder, "docs"));
        Random random = new(5);
        for (int i = 0; i < 12; i++)
        {
            string topic = new[] { "river", "bridge", "harbor", "mountain" }[i % 4];
            File.WriteAllText(
                Path.Combine(_app.Folder, "docs", $"{i}.md"),
                string.Concat(Enumerable.Range(0, 30).Select(j => $"The {topic} number {i} has {random.Next(1000)} stones and {random.Next(1000)} steps.\n")));
        }
    }
}
