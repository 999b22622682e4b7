using Retro.Corpora;
using Retro.Cli.Workflow;

namespace Retro.Tests.Samples;

public class SampleCorpusTests
{
    [Fact]
    public void Corpora_of_one_name_have_folders_of_their_own_and_each_finds_its_own_again()
    {
        using TemporaryFolder root = new();
        string output = root["out"], one = root["a/docs"], two = root["b/docs.jsonl"];

        string first = SampleCorpus.Folder(output, one), second = SampleCorpus.Folder(output, two);

        Assert.Equal(Path.Combine(output, "docs"), first);
        Assert.Matches("docs-[0-9a-f]{8}$", second);
        Assert.Equal(first, SampleCorpus.Folder(output, one + "/"));
        Assert.Equal(second, SampleCorpus.Folder(output, two));
        Assert.Equal(Path.Combine(output, "dotnet-documentation"), SampleCorpus.Folder(output, null));
        Assert.NotEqual(SampleCorpus.Folder(output, null), SampleCorpus.Folder(output, root["dotnet-documentation"]));
    }

    [Fact]
    public void A_folder_of_nobody_knows_whose_run_is_left_as_it_is()
    {
        using TemporaryFolder root = new();
        string kept = root.File("out/docs/report.html", "somebody's");

        string folder = SampleCorpus.Folder(root["out"], root["docs"]);

        Assert.NotEqual(Path.GetDirectoryName(kept), folder);
        Assert.Single(Directory.GetFileSystemEntries(Path.GetDirectoryName(kept)!));
        File.WriteAllText(Path.Combine(folder, ".retro"), "another");
        RetroException fault = Assert.Throws<RetroException>(() => SampleCorpus.Folder(root["out"], root["docs"]));
        Assert.Contains("name another folder for all runs", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_s_own_folder_is_no_part_of_a_corpus()
    {
        using TemporaryFolder root = new();
        root.File("docs/a.txt", "text");
        File.WriteAllText(Path.Combine(SampleCorpus.Folder(root["docs/out"], root["docs"]), "report.html"), "<p>ours");

        Corpus corpus = Corpus.Open(root["docs"]);

        Assert.Equal(["a.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal(1, corpus.LeftOut["folders that Retro wrote"]);
    }
}
