using Retro.Cli.Experiments;
using Retro.Corpora;

namespace Retro.Tests.Cli.Experiments;

/// <summary>Where a run writes what it makes of a corpus.</summary>
public sealed class RunFolderTests
{
    [Fact]
    public void Corpora_of_one_name_have_folders_of_their_own_and_each_finds_its_own_again()
    {
        using TemporaryFolder root = new();
        string output = root["out"], one = root["a/docs"], two = root["b/docs.jsonl"];

        string first = RunFolder.Find(output, one), second = RunFolder.Find(output, two);

        Assert.Equal(Path.Combine(output, "docs"), first);
        Assert.Matches("docs-[0-9a-f]{8}$", second);
        Assert.Equal(first, RunFolder.Find(output, one + "/"));
        Assert.Equal(second, RunFolder.Find(output, two));
        Assert.Equal(Path.Combine(output, "dotnet-documentation"), RunFolder.Find(output, null));
        Assert.NotEqual(RunFolder.Find(output, null), RunFolder.Find(output, root["dotnet-documentation"]));
    }

    [Fact]
    public void A_folder_of_nobody_knows_whose_run_is_left_as_it_is()
    {
        using TemporaryFolder root = new();
        string kept = root.File("out/docs/report.html", "somebody's");

        string folder = RunFolder.Find(root["out"], root["docs"]);

        Assert.NotEqual(Path.GetDirectoryName(kept), folder);
        Assert.Single(Directory.GetFileSystemEntries(Path.GetDirectoryName(kept)!));
        File.WriteAllText(Path.Combine(folder, ".retro"), "another");
        RetroException fault = Assert.Throws<RetroException>(() => RunFolder.Find(root["out"], root["docs"]));
        Assert.Contains("name another folder for all runs", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_s_own_folder_is_no_part_of_a_corpus()
    {
        using TemporaryFolder root = new();
        root.File("docs/a.txt", "text");
        File.WriteAllText(Path.Combine(RunFolder.Find(root["docs/out"], root["docs"]), "report.html"), "<p>ours");

        Corpus corpus = Corpus.Open(root["docs"]);

        Assert.Equal(["a.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal(1, corpus.LeftOut["folders that Retro wrote"]);
    }
}
