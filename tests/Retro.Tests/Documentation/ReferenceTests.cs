using System.Reflection;
using System.Text.RegularExpressions;
using Retro.Distributed;
using Retro.Modeling;
using Retro.Postgres;

namespace Retro.Tests.Documentation;

/// <summary>The reference in docs/reference is what the documentation comments say: a page a namespace, every public type on it with a sentence.</summary>
public sealed class ReferenceTests
{
    private static readonly string s_folder = Path.Combine(Fixtures.Root, "docs", "reference");
    private static readonly Assembly[] s_packages = [typeof(RetroModel).Assembly, typeof(PostgresDatabase).Assembly, typeof(MpiExchange).Assembly];
    private static readonly SortedDictionary<string, string> s_pages = new LibraryReference(s_packages).Pages();

    [Fact]
    public void The_reference_is_up_to_date()
    {
        string received = Path.Combine(Path.GetTempPath(), "reference.received");
        string[] there = Directory.Exists(s_folder) ? [.. Directory.EnumerateFiles(s_folder).Select(Path.GetFileName).OfType<string>()] : [];
        string[] others =
        [
            .. s_pages.Where(page => !there.Contains(page.Key) || File.ReadAllText(Path.Combine(s_folder, page.Key)) != page.Value).Select(page => page.Key),
            .. there.Except(s_pages.Keys),
        ];
        if (others.Length > 0)
        {
            Directory.CreateDirectory(received);
            foreach ((string name, string text) in s_pages)
            {
                File.WriteAllText(Path.Combine(received, name), text);
            }
        }

        Assert.True(
            others.Length == 0,
            $"Documentation comments have changed, and {string.Join(", ", others)} of docs/reference is of before. Take what they say now: "
                + $"rm -rf {s_folder}; cp -r {received} {s_folder}");
    }

    [Fact]
    public void Every_namespace_has_a_page_and_every_type_a_sentence_on_it()
    {
        Type[] types = [.. s_packages.SelectMany(package => package.GetExportedTypes())];
        Assert.Equal(types.Select(type => $"{type.Namespace}.md").Append("README.md").Distinct().Order(StringComparer.Ordinal), s_pages.Keys);
        Assert.All(s_pages.Where(page => page.Key != "README.md"), page =>
        {
            string[] parts = page.Value.Split("\n## ")[1..];
            Assert.Equal(types.Count(type => $"{type.Namespace}.md" == page.Key), parts.Length);
            Assert.All(parts, part => Assert.Matches(@"^.*\n\n`.*`\n\n(?!- )[^\n]{10,}", part));
        });
    }

    [Fact]
    public void Crefs_are_links()
    {
        Assert.Contains("It retrieves every [CopyReaderOptions](#copyreaderoptions).Stride tokens", s_pages["Retro.Readers.md"], StringComparison.Ordinal);
        Assert.Contains("](Retro.Database.md#documententry)", s_pages["Retro.Search.md"], StringComparison.Ordinal);
    }

    [Fact]
    public void What_the_reference_points_to_can_be_used_from_outside()
        => Assert.Empty(new LibraryReference(s_packages).HiddenCrefs());

    [Theory]
    [InlineData("Retro.Readers", "## CopyReader\n\n`sealed class CopyReader : IDisposable, IReader`")]
    [InlineData("Retro.Generation", "## RetroChatClient\n\n`sealed class RetroChatClient : IChatClient`")]
    [InlineData("Retro.Modeling", "## LayerList\n\n`sealed class LayerList : IEquatable<LayerList>, IReadOnlyList<int>`")]
    [InlineData("Retro.Search", "`readonly record struct NeighborQuery(ReadOnlyMemory<int> Tokens, IReadOnlyList<int> ExcludedDocuments)`")]
    [InlineData("Retro.Search", "- `IReadOnlyList<string>? Labels { get; init; }`: ")]
    [InlineData("Retro.Search", "- `static IReadOnlyList<RetrievedNeighbor> Search(this INeighborSource source, string text, RetroTokenizer tokenizer, ")]
    [InlineData("Retro.Search", " int count = 5, IReadOnlyList<string>? labels = null, ")]
    [InlineData("Retro.Database", "- `static bool TryParse(string? text, out WorkShare share)`: ")]
    [InlineData("Retro.Database", "- `DocumentEntry? FindDocument(string id)`: ")]
    [InlineData("Retro.Training", "- `Func<RetroModel, double>? Measure { get; init; }`: ")]
    [InlineData("Retro.Training", "- `const string BestFolder`: ")]
    [InlineData("Retro.Corpora", "- `new CorpusCleaning(params CleaningStep[] steps)`: ")]
    public void Members_are_declared_as_in_code(string page, string expected) => Assert.Contains(expected, s_pages[$"{page}.md"], StringComparison.Ordinal);

    /// <summary>Of its own it says itself what it does and takes, and of the other one's what it may return and throw.</summary>
    [Fact]
    public void A_member_that_inherits_says_first_what_it_says_itself()
    {
        string several = s_pages["Retro.Generation.md"].Split("\n- ").Single(part => part.StartsWith(
            "`IAsyncEnumerable<(int, GeneratedPiece)> GenerateAsync(IReadOnlyList<ReadOnlyMemory<int>> prompts,", StringComparison.Ordinal));
        Assert.Contains("`: Continues several prompts that are encoded already", several, StringComparison.Ordinal);
        Assert.Contains("Returns: The pieces of all texts", several, StringComparison.Ordinal);
        Assert.Contains("- `prompts`: The ids of each", several, StringComparison.Ordinal);
        Assert.DoesNotContain("- `prompt`:", several, StringComparison.Ordinal);
        Assert.Contains("- `ArgumentOutOfRangeException`: An id is outside", several, StringComparison.Ordinal);
        Assert.Contains("- `OperationCanceledException`: The work was canceled.", several, StringComparison.Ordinal);
    }

    /// <summary>What a record's head or an interface says stands there alone.</summary>
    [Fact]
    public void Nothing_is_said_twice()
    {
        string piece = s_pages["Retro.Generation.md"].Split("\n## ").Single(part => part.StartsWith("GeneratedPiece\n", StringComparison.Ordinal));
        Assert.Single(Regex.Matches(piece, "Whole characters only"));
        string reader = s_pages["Retro.Readers.md"].Split("\n## ").Single(part => part.StartsWith("CopyReader\n", StringComparison.Ordinal));
        Assert.DoesNotContain("LogLikelihoods(", reader, StringComparison.Ordinal);
    }
}
