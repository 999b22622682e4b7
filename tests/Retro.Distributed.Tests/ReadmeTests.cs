using Retro.Optimization;

namespace Retro.Distributed.Tests;

/// <summary>What the READMEs show of training in several processes is compiled here, run by one, and compared with their text.</summary>
public class ReadmeTests
{
    [Fact]
    public void The_lines_on_several_processes_run_and_stand_in_the_readme()
    {
        Together.Require();
        string lines = Fixtures.Snippet("tests/Retro.Distributed.Worker/Scenarios.cs", "distributed");
        Assert.Equal(3, lines.Split('\n').Length);
        foreach (string file in new[] { "docs/large.md", "src/Retro.Distributed/README.md" })
        {
            string text = File.ReadAllText(Path.Combine(Fixtures.Root, file));
            Assert.Contains(lines, text, StringComparison.Ordinal);
            Assert.Contains($"(with `using {typeof(GradientExchangeExtensions).Namespace};`)", text, StringComparison.Ordinal); // for ByFirst
        }

        using TemporaryFolder folder = new();
        Together.Done(0, folder.Path, "readme");
        Assert.Equal("rank 0 of 1", File.ReadAllText(folder["readme-0.txt"])[..11]);
    }
}
