using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Tests.Samples;

namespace Retro.Tests.Cli.Experiments;

/// <summary>`retro compare`, from the command line to the table.</summary>
public sealed partial class CompareTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>For whom, and in what, a run computes; bfloat16 takes minutes where the processor has no products of it.</summary>
    public static IEnumerable<TheoryDataRow<bool, string>> Types =>
    [
        new(false, "float32"),
        new(true, "float64"),
        new TheoryDataRow<bool, string>(true, "bfloat16").WithTrait("Category", "Long"),
    ];

    [Theory]
    [MemberData(nameof(Types))]
    public void Every_reader_has_a_row_with_what_it_costs(bool forPrograms, string type)
    {
        MadeUpCorpus.Write(_folder, documents: 100, lines: 10, words: 300);
        string told = Path.Combine(_folder.Path, "told.json");
        string[] more = forPrograms ? ["--dtype", type, "--json", told, "--quiet"] : [];
        (int code, string output) = CliRun.In(
            _folder.Path,
            ["compare", "--out", _folder["out"], "--corpus", _folder["corpus"], "--steps", "2", "--measured-kilobytes", "8", .. more]);
        Assert.True(code == 0, output);
        string made = Path.Combine(_folder.Path, "out", "corpus"), report = File.ReadAllText(Path.Combine(made, "compare.md"));
        Assert.Contains($"models in {type}.\nOf 25 held-out documents a quarter", report, StringComparison.Ordinal);
        Assert.Contains("; 25 of all are cut to their beginning.", report, StringComparison.Ordinal);
        Assert.All(["closed-book", "retro"], model => Assert.Equal(
            type, Checkpoint.StoredType(Path.Combine(made, "models", "1", model)).ToString(), ignoreCase: true));
        string[] readers =
        [
            "closed book", "longest run", "in context", "ensemble (REPLUG)", "nearest states (kNN-LM)", "copying", "own attention (DecoupledRAG)",
            "RETRO", "RETRO, best in context (RETRO++)",
            .. new[]
            {
                "random", "inverse cloze", "BM25 and inverse cloze", "inverse cloze in BM25's order", "tower by sequence marginal",
                "tower by token marginal (RAG-Token's, EMDR²'s)", "tower by REALM",
                "tower by perplexity distillation, temperature 0.01", "tower by LSR, temperature 1",
                "tower by leave one out, temperature 0.01", "tower by VRAG, weight 1", "tower by JSA, 50 steps",
            }.Select(neighbors => $"RETRO, neighbors by {neighbors}"),
            "closed book, the longest training's time",
        ];
        Match[] rows = Row().Matches(report).ToArray();
        Assert.Equal(readers, rows.Select(row => row.Groups["reader"].Value));
        Assert.All(rows, row => Assert.True(double.Parse(row.Groups["bits"].Value, CultureInfo.InvariantCulture) > 0));
        Assert.All(rows, row => Assert.Equal(row.Groups["reads"].Value == "nothing", row.Groups["bytes"].Value == "0"));
        Assert.Contains("too few for an interval", report, StringComparison.Ordinal);
        Assert.Equal(["RETRO, neighbors by inverse cloze"], rows.Where(row => row.Groups["frozen"].Value == "-").Select(row => row.Groups["reader"].Value));
        if (forPrograms)
        {
            Assert.DoesNotContain("held out,", output, StringComparison.Ordinal); // --quiet
            Assert.DoesNotContain("Report: ", output, StringComparison.Ordinal);
            JsonNode results = JsonNode.Parse(File.ReadAllText(told))!;
            Assert.Equal(type, (string)results["dtype"]!);
            JsonArray json = results["readers"]!.AsArray();
            Assert.Equal(readers, json.Select(reader => (string)reader!["reader"]!));
            Assert.All(json.Zip(rows), pair =>
            {
                Assert.Equal(pair.Second.Groups["bits"].Value, ((double)pair.First!["bitsPerByte"]!).ToString("0.0000", CultureInfo.InvariantCulture));
                Assert.Equal(pair.Second.Groups["bytes"].Value, ((long)pair.First["databaseBytes"]!).ToString("#,0", CultureInfo.InvariantCulture));
            });

            // The texts are every source's, and an index those that search by it.
            Dictionary<string, long> bytes = json.ToDictionary(reader => (string)reader!["reader"]!, reader => (long)reader!["databaseBytes"]!);
            long By(string source) => bytes[$"RETRO, neighbors by {source}"];
            Assert.InRange(By("random"), 1, Math.Min(bytes["RETRO"], By("inverse cloze")) - 1);
            Assert.Equal(bytes["RETRO"] + By("inverse cloze") - By("random"), By("BM25 and inverse cloze"));
            Assert.Equal(By("BM25 and inverse cloze"), By("inverse cloze in BM25's order"));
            Assert.Equal(By("inverse cloze"), By("tower by REALM"));

            // The last one had as long as any other, the query towers among them.
            double[] seconds = [.. json.Select(reader => (double)reader!["trainingSeconds"]!)];
            Assert.InRange(seconds[^1], seconds[..^1].Max(), double.PositiveInfinity);
        }
    }

    [Theory]
    [InlineData("text", "models")]
    [InlineData("qa", "answer-models")]
    public void What_an_earlier_run_has_trained_is_not_replaced_unasked(string task, string models)
    {
        MadeUpCorpus.Write(_folder, documents: 20, lines: 4, words: 50);
        string corpus = Path.Combine(_folder.Path, "corpus");
        string old = _folder.File(Path.Combine("out", "corpus", models, "old"), "of another run");
        _folder.File(Path.Combine("out", "corpus", ".retro"), corpus); // whose run it was
        (int code, string output) = CliRun.In(
            _folder.Path, "compare", "--task", task, "--corpus", corpus, "--out", Path.Combine(_folder.Path, "out"));
        Assert.True(code == 1 && output.Contains("holds the models of an earlier run; replace them (--start-over)", StringComparison.Ordinal), output);
        Assert.True(File.Exists(old));
    }

    [Fact]
    public void Of_too_few_documents_nothing_is_replaced()
    {
        MadeUpCorpus.Write(_folder, documents: 5, lines: 4, words: 50);
        string old = _folder.File(Path.Combine("out", "corpus", "models", "old"), "of another run");
        string report = _folder.File(Path.Combine("out", "corpus", "compare.md"), "of another run");
        _folder.File(Path.Combine("out", "corpus", ".retro"), _folder["corpus"]); // whose run it was
        (int code, string output) = CliRun.In(_folder.Path, "compare", "--corpus", _folder["corpus"], "--out", _folder["out"], "--start-over");
        Assert.True(code == 1 && output.Contains("Of 1 held-out document a quarter, one at least,", StringComparison.Ordinal), output);
        Assert.All([old, report], file => Assert.True(File.Exists(file)));
    }

    [Theory]
    [InlineData("compare")]
    [InlineData("compare", "--task", "qa")]
    [InlineData("experiment", "evaluate")]
    [InlineData("experiment", "retrofit")]
    public void Of_two_runs_in_one_folder_the_second_is_told(params string[] run)
    {
        MadeUpCorpus.Write(_folder, documents: 20, lines: 4, words: 50);
        string corpus = Path.Combine(_folder.Path, "corpus"), made = Path.Combine(_folder.Path, "out", "corpus");
        string trained = _folder.File(Path.Combine("out", "corpus", run.Contains("qa") ? "answer-models" : "models", "begun"), "of the run that goes on");
        _folder.File(Path.Combine("out", "corpus", ".retro"), corpus);
        using WriterLock other = WriterLock.Take(made, "compare what goes on");
        (int code, string output) = CliRun.In(
            _folder.Path, [.. run, "--corpus", corpus, "--out", Path.Combine(_folder.Path, "out"), "--start-over"]);
        Assert.True(code == 1 && output.Contains("which is to compare what goes on", StringComparison.Ordinal), output);
        Assert.True(File.Exists(trained));
    }

    [Fact]
    public void A_corpus_that_is_not_there_gets_one_sentence_and_an_exit_code()
    {
        (int code, string output) = CliRun.In(_folder.Path, "compare", "--corpus", "nowhere");
        Assert.Equal(1, code);
        Assert.Contains("There is no folder or file", output, StringComparison.Ordinal);
    }

    [GeneratedRegex(
        @"^\| (?<reader>[^|]+) \| (?<reads>[^|]+) \| (?<bits>\d+\.\d+) \| (?<against>[^|]+) \| (?<frozen>[^|]+) \| (?<speed>[\d,]+) \| (?<bytes>[\d,]+) \| (?<seconds>\d+) \|",
        RegexOptions.Multiline)]
    private static partial Regex Row();
}
