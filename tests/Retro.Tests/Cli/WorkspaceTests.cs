using Retro.Cli;
using Retro.Database;
using Retro.Tests.Database;

namespace Retro.Tests.Cli;

/// <summary>What a folder remembers, who may change it, and where its parts are found.</summary>
public sealed class WorkspaceTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    /// <summary>As somebody else may have put it into a folder that all may write.</summary>
    [Fact]
    public void What_a_link_leads_to_that_stands_where_a_text_is_made_whole_is_not_written()
    {
        _retro.WriteFile("other", "kept");
        string path = _retro["results.json"];
        File.WriteAllText(path, "before");
        File.CreateSymbolicLink(path + ".tmp", _retro["other"]);
        Workspace.WriteText(path, "after");
        Assert.Equal(("after", "kept"), (File.ReadAllText(path), File.ReadAllText(_retro["other"])));
        Assert.Null(new FileInfo(path).LinkTarget);
    }

    /// <summary>What is refused, by the trainer too, changes nothing of what a folder remembers, and the same without it goes on.</summary>
    [Fact]
    public void What_is_refused_is_not_remembered()
    {
        _retro.Build();
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        _retro.Done(["train", "--database", "work", "--out", "other", "--source", "none", "--steps", "2", "--seed", "2", .. CliRun.Tiny]);
        _retro.Done("fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64");
        _retro.Done(
            "build", "--corpus", "docs", "--tokenizer", Path.Combine("work", "tokenizer"), "--out", "w2", "--chunk", "16", "--held-out-share", "0.2", "--seed",
            "5");
        Refused(2, "decoder", "A run that goes on keeps to --source none; leave --source out", "train", "--out", "decoder", "--resume", "--source", "bm25");
        Refused(2, "decoder", "A run that goes on keeps to --database", "train", "--out", "decoder", "--resume", "--steps", "3", "--database", "w2");
        Refused(2, "fitted", "what it was begun with, without --k; leave --k out", "fit", "--out", "fitted", "--resume", "--steps", "3", "--k", "3");
        _retro.Done("build", "--corpus", "docs", "--out", "w3", "--vocabulary", "290", "--chunk", "16", "--held-out-share", "0");
        Refused(1, "decoder", "was trained with another tokenizer", "train", "--out", "decoder", "--resume", "--steps", "3", "--database", "w3");
        string[] onto = ["fit", "--base", "fitted", "--database", "work", "--out", "again"];
        Refused(2, "fitted", "fitted is a RETRO, which reads already; --base takes a decoder alone (retro train --source none).", onto);
        Refused(2, "fitted", "keeps to --base", "fit", "--out", "fitted", "--resume", "--steps", "3", "--base", "other");
        Refused(1, "work", "There is no embedder", "neighbors", "--database", "work", "--source", "dense");
        _retro.Done("fit", "--out", "fitted", "--resume", "--steps", "3", "--base", "decoder" + Path.DirectorySeparatorChar);
        _retro.Done("train", "--out", "decoder", "--resume", "--steps", "3", "--json", "train.json");
        Refused(1, "fitted", "begun on other weights", "fit", "--out", "fitted", "--resume", "--steps", "4");
        Assert.Equal(3, (int)_retro.Json("train.json")["steps"]!);
        Assert.Equal("3", (string)_retro.Json(Path.Combine("decoder", "retro.json"))["train"]!["steps"]!);
        _retro.Done("neighbors", "--database", "work", "--json", "neighbors.json");
        Assert.Equal("bm25", (string)_retro.Json("neighbors.json")["source"]!);

        void Refused(int code, string folder, string message, params string[] line)
        {
            string settings = Path.Combine(_retro[folder], "retro.json"), before = File.ReadAllText(settings);
            ChildProcess.Outcome run = _retro.Run(line);
            Assert.True(run.ExitCode == code, $"{run.ExitCode}: {run.Output}{run.Errors}");
            Assert.Contains(message, run.Errors, StringComparison.Ordinal);
            Assert.Equal(before, File.ReadAllText(settings));
        }
    }

    /// <summary>By itself it would be an option, or the end of all.</summary>
    [Fact]
    public void A_value_that_begins_with_a_dash_is_remembered_as_a_value()
    {
        _retro.WriteFile("stories.txt", "One fox ran.\n--\nTwo rivers meet.\n--\nThree bells ring.\n");
        string[] sizes = ["--vocabulary", "300", "--chunk", "8", "--held-out-share", "0"];
        _retro.Done(["build", "--corpus", "stories.txt", "--separator=--", "--out", "work", .. sizes]);
        Assert.Contains("3 documents", _retro.Done("build", "--out", "work"), StringComparison.Ordinal);
        Assert.Contains("--separator=--", _retro.Done("info", "work"), StringComparison.Ordinal);
        _retro.WriteFile("stories.txt", "One fox ran.\n--\nTwo rivers part.\n--\nThree bells ring.\n");
        string updated = _retro.Done("update", "--database", "work", "--add", "stories.txt");
        Assert.Contains("4 documents (3 before)", updated, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_two_commands_that_write_into_a_folder_the_second_is_told()
    {
        _retro.Build();
        string[] train = ["train", "--out", "work", "--steps", "1", "--source", "none", .. CliRun.Tiny];
        using (WriterLock.Take(_retro["work"], "hold it"))
        {
            foreach (string[] second in new[] { ["build", "--out", "work", "--start-over"], train, ["embed-train", "--out", "work", "--steps", "1"] })
            {
                ChildProcess.Outcome run = _retro.Run(second);
                Assert.Equal(1, run.ExitCode);
                Assert.Contains("is being changed by", run.Errors, StringComparison.Ordinal);
            }

            Assert.False(Directory.Exists(_retro["work/model"]));
        }
    }

    [Fact]
    public async Task Who_needs_an_index_that_another_makes_waits_says_for_whom_and_takes_it()
    {
        _retro.Build();
        int waiting = 0;
        using WriterLock making = WriterLock.Take(_retro["work/database"], "index words");
        ChildProcess.Outcome[] all = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Task.Run(() => _retro.Run(
            (_, line) =>
            {
                if (line.StartsWith($"  waits for process {Environment.ProcessId} ", StringComparison.Ordinal) && Interlocked.Increment(ref waiting) == 2)
                {
                    making.Dispose();
                }
            },
            "inspect",
            "--database",
            "work",
            "--text",
            "the river",
            "--k",
            "1"))));
        Assert.All(all, one => Assert.Equal((0, ""), (one.ExitCode, one.Errors)));
        Assert.All(all, one => Assert.Contains("which is to index words, since", one.Output, StringComparison.Ordinal));
    }

    [Fact]
    public void A_project_that_was_copied_reads_its_own_database_and_never_the_original()
    {
        _retro.WriteCorpus();
        _retro.Done("build", "--corpus", "docs", "--out", "one/work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2");
        _retro.Done(["train", "--database", "one/work", "--out", "one/decoder", "--steps", "1", "--source", "none", .. CliRun.Tiny]);
        _retro.Done("fit", "--base", "one/decoder", "--database", "one/work", "--out", "one/fitted", "--steps", "1", "--window", "64");
        TestDatabases.Copy(_retro["one"], _retro["two"]);
        _retro.WriteFile("news/ferry.md", "A ferry crosses the canal at noon, and nobody knows its captain.\n");
        _retro.Done("update", "--database", "two/work", "--add", "news");
        Assert.Equal(["../news/ferry.md"], Asked("two/decoder"));
        Assert.DoesNotContain("../news/ferry.md", Asked("one/decoder"));

        Directory.Delete(_retro["one"], recursive: true);
        Assert.Equal(["../news/ferry.md"], Asked("two/decoder"));
        _retro.Done("eval", "--model", "two/fitted", "--json", "measured.json");

        IEnumerable<string> Asked(string model)
        {
            _retro.Done("ask", "--model", model, "--tokens", "1", "--json", "asked.json", "Who is the captain of the ferry on the canal?");
            return _retro.Json("asked.json")["passages"]!.AsArray().Select(passage => (string)passage!["document"]!);
        }
    }
}
