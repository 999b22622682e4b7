using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Cli;
using Retro.Training;
using Retro.Vectors;

namespace Retro.Tests.Samples;

/// <summary>The quickstart as its users run it: a program of its own, from its command line to its exit code.</summary>
public sealed class QuickstartTests : IDisposable
{
    private static readonly string s_program = Fixtures.Sample("Quickstart");

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_small_corpus_goes_all_the_way_to_a_table_a_report_and_text_with_sources()
    {
        string corpus = WriteCorpus();
        ChildProcess.Outcome run = Run("--corpus", corpus, "--minutes", "0.1", "--out", Out, "--json", In("told.json"));

        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        Assert.Equal("", run.Errors);
        Assert.DoesNotContain('\u001b', run.Output);
        string[] rows =
        [
            "closed book", "closed book + pointer rule, k = 8", "closed book + longest run in the database",
            "copying from anywhere, random", "copying from anywhere", "copying from anywhere, dense", "copying from anywhere, hybrid",
            "RETRO off", "RETRO random", "RETRO", "RETRO, dense", "RETRO, hybrid",
        ];
        string made = Path.Combine(Out, "corpus"), tables = File.ReadAllText(Path.Combine(made, "report.md"));
        foreach (string row in rows)
        {
            // Neighbors and what it was trained with, steps, minutes, bits per byte.
            Assert.Matches(new Regex($@"^\| {Regex.Escape(row)} \|[^|]*\|[^|]*\| \d+ \| \d+\.\d \| \d+\.\d{{4}} \|", RegexOptions.Multiline), tables);
        }

        JsonNode told = JsonNode.Parse(File.ReadAllText(In("told.json")))!;
        Assert.Equal(rows, told["readers"]!.AsArray().Select(reader => (string)reader!["reader"]!));
        Assert.NotEmpty(told["byOverlap"]!.AsArray());

        Assert.Contains("| against closed book | against closed book + pointer rule, k = 8 |", tables, StringComparison.Ordinal);
        Assert.Matches(@"\| 100 % \| 100\.0 % \| \d+\.\d{4} \| \d+\.\d{4}, [+-]?\d", tables);
        Assert.Contains("│ copying from anywhere, dense ", run.Output, StringComparison.Ordinal);
        string shown = Regex.Replace(run.Output, @"\s+", " ");
        Assert.Contains(
            "The documents are neither in the training set nor in the database; 15 of them were cut to their beginning", shown, StringComparison.Ordinal);
        string[] once =
            ["of 15 held-out documents; ", "The documents are too few for an interval, which needs 20", "One seed: ", " may be copied all the same."];
        Assert.All(once, said => Assert.All([shown, tables], text => Assert.Single(Regex.Matches(text, Regex.Escape(said)))));
        Assert.Contains("after chunk 1 it read:", run.Output, StringComparison.Ordinal);
        string report = Path.Combine(made, "report.html");
        Assert.Contains($"Report: {report}", run.Output, StringComparison.Ordinal);
        Assert.Contains("<svg", File.ReadAllText(report), StringComparison.Ordinal);

        using ChunkDatabase database = ChunkDatabase.Open(
            Path.Combine(made, "database"), verify: true), heldOut = ChunkDatabase.Open(Path.Combine(made, "held-out"), verify: true);
        Assert.Equal(60, database.Documents.Count + heldOut.Documents.Count);
        Assert.Empty(database.Documents.Select(d => d.Id).Intersect(heldOut.Documents.Select(d => d.Id)));
        using RetroModel model = Checkpoint.Load(Path.Combine(made, "checkpoint"));
        Assert.NotEmpty(model.Config.Retrieval!.CrossAttentionLayers);
        using RetroModel decoder = Checkpoint.Load(Path.Combine(made, "closed-book"));
        using CopyReader copying = CopyReader.Load(Path.Combine(made, "copying.safetensors"), decoder, TokenIndex.Build(database));
        Assert.Equal((16, 16), (copying.Options.Neighbors, copying.Options.Stride));

        Assert.All(["embedder", "closed-book", "checkpoint"], part => Assert.True(File.Exists(Path.Combine(made, part, "trained-on.safetensors")), part));

        // What is learned on top of the closed book was given its steps, too; copying takes as many.
        Dictionary<string, double> steps = told["readers"]!.AsArray().ToDictionary(reader => (string)reader!["reader"]!, reader => (double)reader!["steps"]!);
        Assert.Equal(2 * steps["closed book"], steps["copying from anywhere"]);
        Assert.Equal(steps["closed book"] + Trainer.Stored(Path.Combine(made, "checkpoint")).Steps, steps["RETRO"]);

        ChildProcess.Outcome verified = ChildProcess.Run(
            CtrlC.Start(_folder.Path, "dotnet", Fixtures.Cli, "verify", made, "--json", In("verified.json"))).OfTool();
        Assert.True(verified.ExitCode == 0, verified.Output + verified.Errors);
        Assert.Contains("so is what copies on top", verified.Output, StringComparison.Ordinal);
        Assert.Equal(
            ["database", "held-out", "checkpoint", "closed-book", "tokenizer", "embedder"],
            JsonNode.Parse(File.ReadAllText(In("verified.json")))!.AsObject().Select(part => Path.GetFileName(part.Key)));
    }

    /// <summary>Else a run that is stopped, and then goes on, would take the models of the run before it for its own.</summary>
    [Fact]
    public void What_an_earlier_run_has_trained_is_gone_once_another_has_read_its_corpus()
    {
        string corpus = WriteCorpus(), made = Path.Combine("out", "corpus");
        _folder.File(Path.Combine(made, ".retro"), corpus); // whose run it was
        string[] trained =
            ["embedder/config.json", "closed-book/config.json", "checkpoint/config.json", "copying.safetensors", "training.time", "copying.time"];
        string[] earlier = [.. trained.Select(name => _folder.File(Path.Combine(made, name), "of another run"))];

        // Not for a corpus that cannot be read.
        string broken = Path.Combine(corpus, "broken.md");
        File.WriteAllBytes(broken, [0x41, 0xFD]);
        Assert.Equal(1, Run("--corpus", corpus, "--out", Out).ExitCode);
        Assert.All(earlier, file => Assert.True(File.Exists(file)));
        File.Delete(broken);
        InterruptIn("train the tokenizer");
        Assert.All(earlier, file => Assert.False(File.Exists(file)));
    }

    [Theory]
    [InlineData("There is no folder or file", "--corpus", "nowhere")]
    [InlineData("holds no .txt, .md, .html, .rst, .jsonl, .csv, .parquet or .xml file", "--corpus", "empty")]
    [InlineData("The corpus has 1 document to use", "--corpus", "single")]
    [InlineData("The corpus is too short for one chunk", "--corpus", "short")]
    [InlineData("broken.txt is not UTF-8: invalid byte 0xFF at byte 4", "--corpus", "broken")]
    [InlineData("Line 2 of", "--corpus", "lines.jsonl")]
    [InlineData("config.json is missing; the folder of a text embedder holds", "--embedder", "empty")]
    [InlineData("There is no folder", "--embedder", "nowhere")]
    public void Bad_input_gets_one_sentence_and_an_exit_code(string message, string option, string value)
    {
        foreach (string name in new[] { "empty", "single", "short", "broken" })
        {
            Directory.CreateDirectory(In(name));
        }

        File.WriteAllText(Path.Combine(In("single"), "a.txt"), "Only this.");
        File.WriteAllText(Path.Combine(In("short"), "a.txt"), "Too short.");
        File.WriteAllText(Path.Combine(In("short"), "b.txt"), "As short as that.");
        File.WriteAllBytes(Path.Combine(In("broken"), "broken.txt"), [.. "abc "u8, 0xFF, .. " def"u8]);
        File.WriteAllText(In("lines.jsonl"), "{\"id\":\"1\",\"title\":\"t\",\"text\":\"x\"}\n{\"id\":");

        ChildProcess.Outcome run = Run(option, option is "--corpus" or "--embedder" ? In(value) : value, "--out", Out);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains(message, run.Errors, StringComparison.Ordinal);
        Assert.Single(run.Errors.Trim().Split('\n'));
    }

    [Fact]
    public void A_pretrained_embedder_makes_the_keys_and_none_is_trained()
    {
        string corpus = WriteCorpus(), made = Path.Combine("out", "corpus");
        _folder.File(Path.Combine(made, ".retro"), corpus); // whose run it was
        string earlier = _folder.File(Path.Combine(made, "embedder", "trained-on.safetensors"), "of another embedder");
        ChildProcess.Outcome run = Run((process, line) =>
        {
            if (line == "find held-out neighbors, random ...")
            {
                CtrlC.Press(process);
            }
        }, "--corpus", corpus, "--out", Out, "--embedder", Path.Combine(Fixtures.Own, "pretrained", "bert"));

        Assert.True(run.ExitCode == 130, $"exit code {run.ExitCode}: {run.Output}{run.Errors}");
        Assert.Contains("load the embedder", run.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("train the embedder", run.Output, StringComparison.Ordinal);
        Assert.False(File.Exists(earlier));
        using ChunkDatabase database = ChunkDatabase.Open(Path.Combine(Out, "corpus", "database"), verify: true);
        using VectorIndex index = VectorIndexFile.Open(database);
        Assert.Equal((48, database.ChunkCount), (index.Dimensions, index.Count));
    }

    [Fact]
    [Trait("Category", "Long")]
    public void What_cannot_be_read_is_skipped_with_a_count_where_asked()
    {
        string corpus = WriteCorpus();
        File.WriteAllBytes(Path.Combine(corpus, "broken.md"), [0x41, 0xFD]);
        ChildProcess.Outcome refused = Run("--corpus", corpus, "--out", Out);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("broken.md is not UTF-8", refused.Errors, StringComparison.Ordinal);

        ChildProcess.Outcome skipped = Run("--corpus", corpus, "--out", Out, "--skip-broken", "--minutes", "0.1");
        Assert.Equal(0, skipped.ExitCode);
        Assert.Contains("1 unreadable", skipped.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("train the tokenizer")]
    [InlineData("cut chunks")]
    public void Interrupted_in_an_early_stage_it_ends_with_130_and_what_it_left_is_whole_or_refused(string stage) => InterruptIn(stage);

    [Theory]
    [Trait("Category", "Long")]
    [InlineData("train the tokenizer")]
    [InlineData("cut chunks")]
    [InlineData("train the embedder")]
    [InlineData("embed chunks")]
    [InlineData("find neighbors")]
    [InlineData("train closed book")]
    [InlineData("train copying from anywhere")]
    [InlineData("fit RETRO")]
    [InlineData("measure copying from anywhere, dense")]
    public void Interrupted_in_any_stage_it_goes_on_and_all_the_way(string stage)
    {
        InterruptIn(stage);
        string[] arguments = ["--corpus", In("corpus"), "--minutes", "0.1"];
        ChildProcess.Outcome again = Run("--out", Out, "--resume"), alone = Run([.. arguments, "--out", In("alone")]);
        Assert.True(again.ExitCode == 0 && alone.ExitCode == 0, again.Output + again.Errors + alone.Output + alone.Errors);

        // How far a training comes is a matter of time; the text that it is cut into is not.
        foreach (string file in new[] { "database/tokens.bin", "database/documents.bin", "held-out/tokens.bin" })
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(In("alone"), "corpus", file)), File.ReadAllBytes(Path.Combine(Out, "corpus", file)));
        }
    }

    private void InterruptIn(string stage)
    {
        string corpus = WriteCorpus();
        ChildProcess.Outcome run = Run((process, line) =>
        {
            if (line == $"{stage} ...")
            {
                CtrlC.Press(process);
            }
        }, "--corpus", corpus, "--minutes", "0.2", "--out", Out);

        Assert.True(run.ExitCode == 130, $"exit code {run.ExitCode}: {run.Output}{run.Errors}");
        Assert.Equal(
            [
                "Stopping after the current step; Ctrl-C once more stops at once.",
                $"Stopped. Nothing half-written is taken for whole; go on with: retro quickstart --out {Out} --resume",
            ],
            run.Errors.Trim().Split('\n'));
        foreach (string folder in new[] { "database", "held-out" }.Select(name => Path.Combine(Out, "corpus", name)).Where(Directory.Exists))
        {
            try
            {
                ChunkDatabase.Open(folder, verify: true).Dispose();
            }
            catch (DatabaseException)
            {
                // Refused: not taken for whole.
            }
        }
    }

    [Fact]
    public void A_full_disk_is_named_with_the_file_and_what_to_do() => FillDisk("100k", "building");

    [Theory]
    [Trait("Category", "Long")]
    [InlineData("4800k", "bm25.bin")]
    [InlineData("11m", "training.safetensors")]
    public void A_disk_that_is_full_later_is_named_too(string size, string file) => FillDisk(size, file);

    private void FillDisk(string size, string file)
    {
        using MountedDisk disk = new(size);
        ChildProcess.Outcome run = Run("--corpus", WriteCorpus(), "--minutes", "0.1", "--out", disk.Path);
        Assert.Equal(1, run.ExitCode);
        Assert.StartsWith("There is no space left on the disk to write", run.Errors, StringComparison.Ordinal);
        Assert.Contains($"{file}'; free some space", run.Errors, StringComparison.Ordinal);
        Assert.Single(run.Errors.Trim().Split('\n'));
    }

    private string Out => In("out");

    private string In(string name) => _folder[name];

    /// <summary>Sixty documents of made-up words.</summary>
    private string WriteCorpus() => MadeUpCorpus.Write(_folder, documents: 60, lines: 40, words: 400);

    private ChildProcess.Outcome Run(params string[] arguments) => Run(null, arguments);

    /// <summary>Runs the program.</summary>
    private ChildProcess.Outcome Run(Action<Process, string>? watch, params string[] arguments)
        => ChildProcess.Run(CtrlC.Start(_folder.Path, ["dotnet", s_program, .. arguments]), watch).OfTool();
}
