using System.Reflection;
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
    public void Crefs_are_links_and_inherited_comments_stand_where_they_are_inherited()
    {
        Assert.Contains("It retrieves every [CopyReaderOptions](#copyreaderoptions).Stride tokens", s_pages["Retro.Readers.md"], StringComparison.Ordinal);
        Assert.Matches(@"## CopyReader\n(.*\n)*?- `double\[\] LogLikelihoods\(ReadingBatch batch\)`: \S+", s_pages["Retro.Readers.md"]);
        Assert.Contains("](Retro.Database.md#documententry)", s_pages["Retro.Search.md"], StringComparison.Ordinal);
    }
}
