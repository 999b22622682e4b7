using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Tests.Cli.Workflow;

/// <summary>What of a corpus is trained on, and what is held out.</summary>
public sealed class SampleCorpusTests
{
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

    /// <summary>A corpus may take minutes to read.</summary>
    [Fact]
    public void Documents_that_a_stage_reads_are_shown_and_can_be_stopped_at_each()
    {
        using TemporaryFolder root = new();
        for (int i = 0; i < 250; i++)
        {
            root.File($"docs/{i}.txt", $"The river number {i} runs to the harbor.");
        }

        using CancellationTokenSource stopping = new();
        List<long> told = [];
        SynchronousProgress<StageProgress> progress = new(stage =>
        {
            told.Add(stage.Done);
            if (stage.Done == 200)
            {
                stopping.Cancel();
            }
        });
        List<string> read = [];
        Assert.Throws<OperationCanceledException>(() => read.AddRange(
            SampleCorpus.Documents(Corpus.Open(root["docs"]), progress, stopping.Token).Select(document => document.Id)));
        Assert.Equal(200, read.Count);
        Assert.Equal([100, 200], told);
    }
}
