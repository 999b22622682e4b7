using System.Globalization;
using System.Text.RegularExpressions;

namespace Retro.Tests.Documentation;

/// <summary>README and docs: no link is dead, and no line of C# stands there that is not compiled.</summary>
public sealed partial class DocumentationTests
{
    /// <summary>README and the pages of docs, without the reference.</summary>
    public static IEnumerable<string> Pages { get; } =
        [Path.Combine(Fixtures.Root, "README.md"), .. Directory.EnumerateFiles(Path.Combine(Fixtures.Root, "docs"), "*.md").Order(StringComparer.Ordinal)];

    /// <summary>The pages of what was measured.</summary>
    public static IEnumerable<string> Results { get; } = Files("tests/Retro.Benchmarks/results");

    /// <summary>What the packages show where they are looked up; nothing of the repository lies beside it there.</summary>
    private static string[] PackagePages { get; } =
        [.. Directory.EnumerateDirectories(Path.Combine(Fixtures.Root, "src")).Select(project => Path.Combine(project, "README.md")).Where(File.Exists)];

    /// <summary>The text of all of them.</summary>
    public static string Text { get; } = string.Join('\n', Pages.Select(File.ReadAllText));

    [Fact]
    public void No_link_is_dead()
    {
        IEnumerable<string> linking = Pages.Concat(Files("docs/reference")).Concat(Results);
        List<string> dead = [];
        int links = 0;
        foreach (string file in linking)
        {
            foreach (Match link in LinkPattern().Matches(CodePattern().Replace(File.ReadAllText(file), "")))
            {
                links++;
                string to = link.Groups["file"].Length > 0 ? Path.GetFullPath(link.Groups["file"].Value, Path.GetDirectoryName(file)!) : file;
                if (!Path.Exists(to) || (link.Groups["anchor"].Length > 0 && !Anchors(to).Contains(link.Groups["anchor"].Value)))
                {
                    dead.Add($"{Path.GetRelativePath(Fixtures.Root, file)}: {link.Value}");
                }
            }
        }

        Assert.Empty(dead);
        Assert.InRange(links, 500, int.MaxValue);
    }

    [Fact]
    public void A_package_has_a_page_of_its_own_without_links_into_the_repository()
    {
        Assert.Equal(4, PackagePages.Length);
        Assert.All(PackagePages, page => Assert.Empty(LinkPattern().Matches(File.ReadAllText(page))));
    }

    [Fact]
    public void The_times_beside_another_implementation_are_those_of_the_table()
    {
        string table = File.ReadAllText(Path.Combine(Fixtures.Root, "tests", "Retro.Benchmarks", "results", "peers.md"));
        string sentence = File.ReadLines(Path.Combine(Fixtures.Root, "docs", "cost.md"))
            .Single(line => line.Contains("results/peers.md", StringComparison.Ordinal) && line.Contains("1/", StringComparison.Ordinal));
        string[] shares = [.. SharePattern().Matches(sentence).Select(share => share.Groups[1].Value)];
        Assert.Equal(4, shares.Length);
        double[] ratios = [.. RatioPattern().Matches(table).Select(ratio => double.Parse(ratio.Groups[1].Value, CultureInfo.InvariantCulture))];
        Assert.All(shares, share =>
        {
            int digits = share.Contains('.', StringComparison.Ordinal) ? 2 : 0;
            Assert.Contains(double.Parse(share, CultureInfo.InvariantCulture), ratios.Select(ratio => Math.Round(ratio, digits)));
        });
    }

    [Fact]
    public void Every_page_is_reached_from_the_readme()
    {
        HashSet<string> reached = [Pages.First()];
        Queue<string> open = new(reached);
        while (open.TryDequeue(out string? file))
        {
            foreach (Match link in LinkPattern().Matches(File.ReadAllText(file)))
            {
                string to = Path.GetFullPath(link.Groups["file"].Value, Path.GetDirectoryName(file)!);
                if (to.EndsWith(".md", StringComparison.Ordinal) && reached.Add(to))
                {
                    open.Enqueue(to);
                }
            }
        }

        Assert.Empty(Pages.Concat(Files("docs/reference")).Except(reached));
    }

    [Fact]
    public void Every_line_of_code_is_one_that_a_test_compiles()
    {
        string[] files = ["Retro.Tests/ReadmeTests.cs", "Retro.Postgres.Tests/ReadmeTests.cs", "Retro.Distributed.Worker/Scenarios.cs"];
        string compiled = string.Join('\n', files.SelectMany(file => File.ReadLines(Path.Combine(Fixtures.Root, "tests", file)).Select(line => line.Trim())));
        string[] blocks =
        [
            .. SnippetPattern().Matches(string.Join('\n', PackagePages.Select(File.ReadAllText).Prepend(Text)))
                .Select(match => string.Join('\n', match.Groups[1].Value.Trim().Split('\n').Select(line => line.Trim()))),
        ];
        Assert.NotEmpty(blocks);
        Assert.All(blocks, block => Assert.Contains(block, compiled, StringComparison.Ordinal));
    }

    [Fact]
    public void Every_sample_and_no_other_is_named()
    {
        string text = File.ReadAllText(Path.Combine(Fixtures.Root, "docs", "development.md"));
        IEnumerable<string> samples = Directory.EnumerateFiles(Path.Combine(Fixtures.Root, "samples"), "*.csproj", SearchOption.AllDirectories)
            .Select(project => Path.GetFileNameWithoutExtension(project));
        IEnumerable<string> named = SamplePattern().Matches(text).Select(match => match.Groups[1].Value).Distinct();
        Assert.Equal(samples.Order(StringComparer.Ordinal), named.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_rates_of_a_folder_of_ones_own_are_those_of_the_report()
    {
        string report = File.ReadAllText(Path.Combine(Fixtures.Root, "tests", "Retro.Benchmarks", "results", "report.md"));
        string page = File.ReadAllText(Path.Combine(Fixtures.Root, "docs", "own-folder.md"));
        string[] rates =
        [
            .. page.Split("| what | rate |")[1].Split('\n').Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Select(line => line.Split('|')[2]),
        ];
        Assert.InRange(rates.Length, 9, int.MaxValue);
        Assert.All(rates.SelectMany(rate => NumberPattern().Matches(rate)), rate => Assert.Contains($" {rate.Value} ", report, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("README.md")]
    [InlineData("docs/measured.md")]
    public void What_random_neighbors_cost_is_what_the_evaluation_found(string page)
    {
        string all = File.ReadAllText(Path.Combine(Fixtures.Root, "tests", "Retro.Benchmarks", "results", "evaluate.md"));
        string report = all[..all.IndexOf("\n## With a decoder", StringComparison.Ordinal)]; // the three corpora with the usual decoder
        ILookup<string, string> found = RandomRowPattern().Matches(report).ToLookup(row => row.Groups["reader"].Value, row => row.Groups["share"].Value);
        Match[] said = RandomSharesPattern().Matches(File.ReadAllText(Path.Combine(Fixtures.Root, page))).ToArray();
        Assert.Equal(["RETRO", "copying"], said.Select(row => row.Groups["reader"].Value));
        Assert.All(said, row => Assert.Equal(string.Join(", ", found[row.Groups["reader"].Value]), row.Groups["shares"].Value));
    }

    [Fact]
    public void What_the_readme_says_of_answers_is_what_the_comparison_found()
    {
        string[][] rows =
        [
            .. File.ReadLines(Path.Combine(Fixtures.Root, "tests", "Retro.Benchmarks", "results", "answers.md"))
                .Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Select(line => line.Split('|', StringSplitOptions.TrimEntries)),
        ];
        const string Retro = "RETRO, trained among distractors", Closed = "closed book, trained to answer";
        const string Raft = "in context, trained among distractors (RAFT)";
        string[] found =
        [
            Share(Retro, 0, "exact match"), Share(Retro, 0, "exact match, given the passage"), Share(Retro, 1, "right, 4 of noise"),
            Share(Retro, 1, "right against a wrong answer, given wrong"), Share(Closed, 0, "exact match"), Share(Raft, 0, "exact match"),
        ];
        string readme = File.ReadAllText(Pages.First()), said = readme[readme.IndexOf("was asked 100 of them", StringComparison.Ordinal)..];
        Assert.Equal(found, PercentPattern().Matches(said[..said.IndexOf("\n## ", StringComparison.Ordinal)]).Select(share => share.Groups[1].Value));

        // In percent, of the first or second table.
        string Share(string reader, int table, string column)
        {
            string[] heads = rows.Where(row => row[1] == "reader").ElementAt(table), row = rows.Where(row => row[1] == reader).ElementAt(table);
            double share = double.Parse(row[Array.IndexOf(heads, column)].Split(' ')[0], CultureInfo.InvariantCulture);
            return Math.Round(100 * share).ToString(CultureInfo.InvariantCulture);
        }
    }

    [Theory]
    [InlineData("README.md")]
    [InlineData("docs/quickstart.md")]
    [InlineData("docs/tool.md")]
    public void A_clone_is_said_to_build_on_the_systems_that_its_setup_takes(string page)
    {
        Assert.Equal(["Debian 12", "Ubuntu 24.04"], Systems("eng/setup.sh"));
        Assert.Equal(Systems("eng/setup.sh"), Systems(page));

        static IEnumerable<string> Systems(string file)
            => SystemPattern().Matches(File.ReadAllText(Path.Combine(Fixtures.Root, file))).Select(system => system.Value).Distinct();
    }

    [Fact]
    public void The_readme_fits_on_a_screen() => Assert.InRange(File.ReadLines(Pages.First()).Count(), 1, 75);

    private static IEnumerable<string> Files(string folder)
        => Directory.EnumerateFiles(Path.Combine(Fixtures.Root, folder), "*.md").Order(StringComparer.Ordinal);

    /// <summary>The anchors that renderers make of headings.</summary>
    private static HashSet<string> Anchors(string file)
        => [.. File.ReadLines(file).Where(line => line.StartsWith('#'))
            .Select(line => OthersPattern().Replace(LinkPattern().Replace(line.TrimStart('#').Trim(), "").ToLowerInvariant(), "").Replace(' ', '-'))];

    [GeneratedRegex(@"\]\((?!https?:)(?<file>[^)#\s]*)(#(?<anchor>[^)\s]*))?\)")]
    private static partial Regex LinkPattern();

    [GeneratedRegex("```.*?```|`[^`\n]*`", RegexOptions.Singleline)]
    private static partial Regex CodePattern();

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex SnippetPattern();

    [GeneratedRegex("samples/([A-Z][A-Za-z]+)")]
    private static partial Regex SamplePattern();

    [GeneratedRegex("[0-9][0-9.,]*[0-9]")]
    private static partial Regex NumberPattern();

    [GeneratedRegex(@"\b1/([0-9.]*[0-9])")]
    private static partial Regex SharePattern();

    /// <summary>A ratio with its range behind it.</summary>
    [GeneratedRegex(@"\| ([0-9.]+) \[[0-9.]+, [0-9.]+\] \|")]
    private static partial Regex RatioPattern();

    /// <summary>A reader's row of an evaluation with random neighbors, up to the difference to the closed book.</summary>
    [GeneratedRegex(@"^\| (?<reader>RETRO|copying),? random \|(?:[^|\n]*\|){5} (?<share>[+-][0-9.]+) %", RegexOptions.Multiline)]
    private static partial Regex RandomRowPattern();

    /// <summary>The same differences of all corpora in one row.</summary>
    [GeneratedRegex(@"^\| \**(?<reader>RETRO|copying)\b[^|\n]*random(?: neighbors)?: (?<shares>[^|\n]*) %\)", RegexOptions.Multiline)]
    private static partial Regex RandomSharesPattern();

    /// <summary>A distribution, of some version or of any.</summary>
    [GeneratedRegex("(Debian|Ubuntu)( [0-9.]*[0-9])?")]
    private static partial Regex SystemPattern();

    [GeneratedRegex("([0-9.]+) %")]
    private static partial Regex PercentPattern();

    [GeneratedRegex("[^a-z0-9 _-]")]
    private static partial Regex OthersPattern();
}
