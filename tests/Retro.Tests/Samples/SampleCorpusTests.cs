using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

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

    [Fact]
    public void Held_out_documents_are_kept_apart_from_the_others_in_the_form_in_which_they_are_measured()
    {
        using TemporaryFolder root = new();
        Random random = new(1);
        for (int i = 0; i < 60; i++)
        {
            root.File($"docs/{i}.txt", Text(8000));
        }

        string[] heldOut = [.. Read(null).HeldOut.Select(document => document.Id)];
        Assert.Equal(15, heldOut.Length);

        // Pages that begin alike and go on differently: one held out and one not, and two that are held out.
        string[] twins = [heldOut[0], Enumerable.Range(0, 60).Select(i => $"{i}.txt").First(id => !heldOut.Contains(id)), heldOut[1], heldOut[2]];
        foreach (string[] pair in twins.Chunk(2))
        {
            string beginning = Text(4000);
            Array.ForEach(pair, id => root.File(Path.Combine("docs", id), beginning + "\n" + Text(40_000)));
        }

        SampleCorpus whole = Read(null), cut = Read((30_000, 500));
        Assert.Equal(heldOut, whole.HeldOut.Select(document => document.Id));
        Assert.Equal((45, 0), (whole.Training.Count, whole.Cut));
        Assert.Equal((44, 14, 14), (cut.Training.Count, cut.HeldOut.Count, cut.Cut));
        Assert.DoesNotContain(twins[1], cut.Training.Select(document => document.Id));
        Assert.Contains(twins[0], cut.HeldOut.Select(document => document.Id));
        Assert.Single(cut.HeldOut, document => document.Id == twins[2] || document.Id == twins[3]);
        Assert.All(cut.HeldOut, document => Assert.InRange(document.Text.Length, 1900, 2000));
        RetroTokenizer tokenizer = BpeTrainer.Train(cut.Training.Select(document => document.Text), 300, root["tokenizer"]);
        using ChunkDatabase measured = ChunkDatabaseBuilder.Build(root["held-out"], cut.HeldOut, tokenizer),
            database = ChunkDatabaseBuilder.Build(root["database"], cut.Training, tokenizer);
        HeldOut.Require(measured, database, tokenizer);

        SampleCorpus Read((long, int)? measured) => SampleCorpus.Read(root["docs"], long.MaxValue, 1, new(), default, 15, measured);

        string Text(int characters)
        {
            string text = string.Join(' ', Enumerable.Range(0, characters / 6).Select(_ => random.Next(10_000, 100_000)));
            return text[..Math.Min(characters, text.Length)];
        }
    }
}
