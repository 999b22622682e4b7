using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Tests.Samples;
using static TorchSharp.torch;

namespace Retro.Tests.Cli.Experiments;

/// <summary>`retro experiment update`, from its command line to its report.</summary>
public sealed partial class UpdateExperimentTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Added_documents_are_read_at_once_and_removed_ones_no_more()
    {
        // Each document about rivers has the phrases of another one about rivers, and none of any other document.
        Random random = new(1);
        string[] words = [.. Enumerable.Range(0, 300).Select(_ => new string(random.GetItems("abcdefghijklmnopqrstuvwxyz".AsSpan(), random.Next(2, 9))))];
        string[] phrases = [.. Enumerable.Range(0, 40).Select(_ => string.Join(' ', random.GetItems(words, 12)) + ".")];
        for (int i = 0; i < 60; i++)
        {
            string[] lines = [.. Enumerable.Range(0, 10).Select(_ => string.Join(' ', random.GetItems(words, 12)) + ".")];
            _folder.File(Path.Combine("corpus", "land", $"{i}.md"), string.Join('\n', lines));
        }

        for (int i = 0; i < 8; i++)
        {
            string[] facts = [$"# River {i}", "", $"Length: {random.Next(100, 1000)} km", $"Bridges: {random.Next(100, 1000)}", ""];
            _folder.File(Path.Combine("corpus", "river", $"{i}.md"), string.Join('\n', facts.Concat(random.GetItems(phrases, 20))));
        }

        // What is held out of the subject stands among the other documents once more, and the other way round.
        File.Copy(_folder["corpus/river/4.md"], _folder["corpus/land/river.md"]);
        File.Copy(_folder["corpus/land/2.md"], _folder["corpus/river/land.md"]);
        HeldOutOptions holding = new() { Count = 4, Seed = 1 };
        Assert.True(HeldOutSplit.Create(Documents("river"), holding).IsHeldOut("river/4.md"));
        Assert.True(HeldOutSplit.Create(Documents("land"), holding with { Count = 15 }).IsHeldOut("land/2.md"));

        // A file that cannot be read is left out where that is asked for.
        File.WriteAllBytes(_folder["corpus/broken.md"], [0x41, 0xFD]);
        string[] command =
        [
            "experiment", "update", "--corpus", _folder["corpus"], "--out", _folder["out"], "--subject", "river", "--steps", "4",
            "--dtype", "float64", "--skip-broken", "--quiet",
        ];
        (int code, string output) = CliRun.In(_folder.Path, command);
        Assert.True(code == 0, output);
        Assert.StartsWith("# Documents added to the database", output, StringComparison.Ordinal); // the report, and no progress
        Assert.Contains("broken.md", output, StringComparison.Ordinal);
        string report = File.ReadAllText(Path.Combine(_folder.Path, "out", "corpus", "update.md"));
        Assert.Contains("45 documents know nothing of it, 4 are added, 4 others about it are measured", report, StringComparison.Ordinal);
        Assert.Contains("2 more nearly repeat one that is measured, and are left out.", report, StringComparison.Ordinal);
        Assert.Contains("all models in float64.", report, StringComparison.Ordinal);
        Assert.Equal(ScalarType.Float64, Checkpoint.StoredType(Path.Combine(_folder.Path, "out", "corpus", "models", "retro")));
        Assert.Contains("what it was before, to the bit", report, StringComparison.Ordinal);
        Dictionary<string, double> bits = Row().Matches(report).ToDictionary(
            row => row.Groups[1].Value, row => double.Parse(row.Groups[2].Value, System.Globalization.CultureInfo.InvariantCulture));
        Assert.Equal(11, bits.Count);

        // Each row says what it was given: four steps of the decoder, and two more of what was trained on top of it.
        Assert.Contains("| closed book | - | - | 4 | ", report, StringComparison.Ordinal);
        Assert.Contains("| closed book, trained on the subject | - | - | 6 | ", report, StringComparison.Ordinal);
        Assert.Matches(@"\| rule, added \| bm25, k = \d+ \| - \| 4 \| ", report);
        Assert.Matches(@"\| copying, added \| bm25, k = \d+ \| bm25 \| 6 \| ", report);
        Assert.Matches(@"\| RETRO, added \| bm25, k = \d+ \| bm25 \| 6 \| ", report);
        Assert.True(bits["rule, added"] < bits["rule, before"], report);
        Assert.True(bits["copying, added"] < 0.9 * bits["copying, before"], report);
        Assert.True(bits["RETRO, added"] < bits["RETRO, before"], report);
        Assert.Contains("of 15 held-out documents about other things", report, StringComparison.Ordinal);
        Assert.Equal(
            [
                "closed book, before", "copying, before", "RETRO, before", "closed book, added", "copying, added", "RETRO, added", "closed book, removed",
                "copying, removed", "RETRO, removed", "closed book, trained on the subject, removed",
            ],
            Fact().Matches(report).Select(row => $"{row.Groups[1].Value}, {row.Groups[2].Value}"));
        string[] copied = [.. Fact().Matches(report).Where(row => row.Groups[1].Value == "copying").Select(row => row.Groups[3].Value)];
        Assert.Equal(copied[0], copied[2]); // what is removed is gone at once

        (code, output) = CliRun.In(_folder.Path, [.. command, "--start-over", "--include", "river/*.md", "--include", "lnad/*"]);
        Assert.True(code == 1 && output.Contains("lnad/*", StringComparison.Ordinal), output);

        (code, output) = CliRun.In(_folder.Path, command);
        Assert.True(code == 1 && output.Contains("holds the models of an earlier run; replace them (--start-over)", StringComparison.Ordinal), output);
    }

    [Fact]
    public void Where_all_other_documents_repeat_held_out_ones_nothing_is_replaced()
    {
        Directory.Move(MadeUpCorpus.Write(_folder, documents: 8, lines: 10, words: 300), _folder["river"]);
        Directory.CreateDirectory(_folder["corpus/land"]);
        Directory.Move(_folder["river"], _folder["corpus/river"]);
        Document[] about = Documents("river");
        foreach (Document heldOut in HeldOutSplit.Create(about, new() { Count = 4, Seed = 1 }).HeldOut(about))
        {
            File.Copy(_folder[$"corpus/{heldOut.Id}"], _folder[$"corpus/land/{Path.GetFileName(heldOut.Id)}"]);
        }

        string old = _folder.File(Path.Combine("out", "corpus", "models", "old"), "of another run");
        string report = _folder.File(Path.Combine("out", "corpus", "update.md"), "of another run");
        _folder.File(Path.Combine("out", "corpus", ".retro"), _folder["corpus"]); // whose run it was
        (int code, string output) = CliRun.In(
            _folder.Path, "experiment", "update", "--corpus", _folder["corpus"], "--out", _folder["out"], "--subject", "river", "--start-over");
        Assert.True(code == 1 && output.Contains("that know nothing of the subject 0 are left", StringComparison.Ordinal), output);
        Assert.All([old, report], file => Assert.True(File.Exists(file)));
    }

    private Document[] Documents(string subject)
        => [.. Corpus.Open(_folder["corpus"]).Documents().Where(document => document.Id.StartsWith(subject, StringComparison.Ordinal))];

    [GeneratedRegex(@"^\| ([^|]+) \| (before|added|removed) \| ([^|]+) \| [^|]+ \|", RegexOptions.Multiline)]
    private static partial Regex Fact();

    [GeneratedRegex(@"^\| ((?!reader)[a-zA-Z][^|]*) \|(?:[^|]*\|)*? (\d+\.\d{4}) \|", RegexOptions.Multiline)]
    private static partial Regex Row();
}
