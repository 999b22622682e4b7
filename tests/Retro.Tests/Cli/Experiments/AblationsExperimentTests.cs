using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Tests.Build;
using static TorchSharp.torch;

namespace Retro.Tests.Cli.Experiments;

/// <summary>`retro experiment ablations`, from its command line to its report.</summary>
public sealed partial class AblationsExperimentTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Variants_are_measured_beside_the_closed_book_and_what_was_measured_is_taken_again()
    {
        Random random = new(1);
        string[] words = [.. Enumerable.Range(0, 300).Select(_ => new string(random.GetItems("abcdefghijklmnopqrstuvwxyz".AsSpan(), random.Next(2, 9))))];
        for (int i = 0; i < 40; i++)
        {
            _folder.File(Path.Combine("corpus", $"{i}.md"), string.Join(' ', random.GetItems(words, 120)));
        }

        string output = Path.Combine(_folder.Path, "out");
        string[] command = ["experiment", "ablations", "--corpus", Path.Combine(_folder.Path, "corpus"), "--out", output, "--steps", "2"];
        string[] fitted = ["matching, fitted: off", "matching, fitted: random", "matching, fitted"];
        string[] together = ["paper, Muon with decay: off", "paper, Muon with decay: random", "paper, Muon with decay"];
        string[] copying = ["copying, 8 neighbors a chunk: random", "copying, 8 neighbors a chunk"];
        Assert.Equal(["closed book", .. fitted], Rows("--only", fitted[^1]));
        string closedBook = Path.Combine(output, "corpus", "variants-2-1", "closed book.json"), first = File.ReadAllText(closedBook);
        Assert.Equal(["closed book", .. together, .. fitted, .. copying], Rows("--resume", "--only", together[^1], copying[^1]));
        Assert.Equal(first, File.ReadAllText(closedBook));
        Assert.Equal(["closed book"], Rows("--start-over", "--only", "closed book")); // begun anew

        // Processes that share the variants, begun at once: what several need, one makes, and the others wait for it.
        string[] both = ["matching, and copying, 8 neighbors a chunk: random", "matching, and copying, 8 neighbors a chunk"];
        (int Code, string Said)[] shared = await Task.WhenAll(((string[])[both[^1], both[^1], fitted[^1]]).Select(name => Task.Run(
            () => Tool.Run("dotnet", _folder.Path, [Fixtures.Cli, .. command, "--resume", "--only", name]))));
        Assert.All(shared, one => Assert.True(one.Code == 0, one.Said));
        Assert.Single(Regex.Matches(string.Concat(shared.Select(one => one.Said)), @"^train matching, fitted: done", RegexOptions.Multiline));
        Assert.Equal(["closed book", .. fitted, .. both], Rows("--resume", "--only", "closed book"));

        // What was trained before is part of what a row was given: two steps, one that is fitted onto them, and one more of copying on top of that.
        string report = File.ReadAllText(Path.Combine(output, "corpus", "ablations.md"));
        Assert.Contains("| closed book | - | - | 2 | ", report, StringComparison.Ordinal);
        Assert.Contains("| matching, fitted: off | - | bm25 | 3 | ", report, StringComparison.Ordinal);
        Assert.Matches(@"\| matching, fitted \| bm25, k = \d+ \| bm25 \| 3 \| ", report);
        Assert.Matches(@"\| matching, and copying, 8 neighbors a chunk \| bm25, k = \d+ \| bm25 \| 4 \| ", report);
        Assert.Equal(["corpus"], Directory.GetDirectories(output).Select(Path.GetFileName));

        // What cannot be read, as of an earlier version, is measured anew where it is asked for, and else is no row.
        File.WriteAllText(closedBook, "[{}]");
        File.WriteAllText(Path.Combine(output, "corpus", "variants-2-1", $"{fitted[^1]}.json"), "{ of an earlier version");
        Assert.Equal(["closed book", .. both], Rows("--resume", "--only", "closed book"));
        Assert.StartsWith("[{\"Reader\":\"closed book\"", File.ReadAllText(closedBook), StringComparison.Ordinal);

        // What another type gave is not taken, and stays.
        string before = File.ReadAllText(closedBook);
        Assert.Equal(["closed book"], Rows("--resume", "--only", "closed book", "--dtype", "float64"));
        Assert.Equal(ScalarType.Float64, Checkpoint.StoredType(Path.Combine(output, "corpus", "variants-2-1-float64", "closed book")));
        Assert.Equal(before, File.ReadAllText(closedBook));

        // What another process is measuring is not taken away under its hands.
        string held = Path.ChangeExtension(closedBook, "lock");
        using (FileStream measuring = new(held, FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            (int refused, string why) = CliRun.In(_folder.Path, [.. command, "--start-over", "--only", "closed book"]);
            Assert.True(refused == 1 && why.Contains("Another process is measuring 'closed book' in", StringComparison.Ordinal), why);
            Assert.Equal(before, File.ReadAllText(closedBook));
        }

        (int code, string said) = CliRun.In(_folder.Path, [.. command, "--only", "magic"]);
        Assert.Equal(1, code);
        Assert.Contains("there is no variant 'magic'. There are: paper; ", said, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllText(closedBook)); // what was measured stays

        // Another run has the databases built of fewer documents: what was measured on the others is no row.
        string[] fewer = ["--megabytes", "0.02", "--only", "closed book"];
        (code, said) = CliRun.In(_folder.Path, [.. command[..^1], "3", .. fewer]);
        Assert.True(code == 0, said);
        Assert.Equal(["closed book"], Rows(["--resume", .. fewer]));
        Assert.NotEqual(before, File.ReadAllText(closedBook));

        IEnumerable<string> Rows(params string[] more)
        {
            (int code, string said) = CliRun.In(_folder.Path, [.. command, .. more]);
            Assert.True(code == 0, said);
            return [.. Row().Matches(File.ReadAllText(Path.Combine(output, "corpus", "ablations.md"))).Select(row => row.Groups[1].Value)];
        }
    }

    [GeneratedRegex(@"^\| (?!reader |-)(.+?) \| ", RegexOptions.Multiline)]
    private static partial Regex Row();
}
