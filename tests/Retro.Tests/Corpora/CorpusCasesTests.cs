using System.Text.Json;
using Retro.Corpora;

namespace Retro.Tests.Corpora;

/// <summary>Inputs that users of comparable tools reported trouble with; each folder of fixtures/cases has the number of its kind.</summary>
public class CorpusCasesTests
{
    [Fact]
    public void Case_01_lines_with_a_byte_order_mark_and_carriage_returns_are_read()
    {
        Document[] documents = Read("01-jsonl-bom-crlf");
        Assert.Equal(["k1", "k2", "k3"], documents.Select(document => document.Id));
        Assert.Contains("ö", documents[0].Text, StringComparison.Ordinal);
        Assert.Contains("ß", documents[0].Text, StringComparison.Ordinal);
        Assert.DoesNotContain(documents, document => document.Text.AsSpan().ContainsAny('\r', '\uFEFF'));
    }

    [Fact]
    public void Case_03_half_a_surrogate_pair_is_refused_with_its_line_and_a_whole_one_is_read()
    {
        Assert.Contains("Line 2 ", Assert.Throws<CorpusException>(() => Read("03-jsonl-lone-surrogate")).Message, StringComparison.Ordinal);
        Assert.Contains(
            Read("03-jsonl-lone-surrogate", new() { SkipBroken = true }), document => document.Text.Contains("\U0001F600", StringComparison.Ordinal));
    }

    [Fact]
    public void Case_04_a_file_in_windows_1252_is_refused_with_its_place_skipped_or_read()
    {
        string message = Assert.Throws<CorpusException>(() => Read("04-txt-windows-1252/corpus")).Message;
        Assert.Contains("menu.txt", message, StringComparison.Ordinal);
        Assert.Contains("0xE9 at byte 3", message, StringComparison.Ordinal);
        Assert.Equal("plain.txt", Assert.Single(Read("04-txt-windows-1252/corpus", new() { SkipBroken = true })).Id);
        Assert.StartsWith("Café menu – soup", Read("04-txt-windows-1252/corpus", new() { Encoding = "windows-1252" })[0].Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("05-md-title-code-fence")]
    [InlineData("06-md-front-matter-scalars")]
    public void Cases_05_and_06_pages_have_the_titles_that_CommonMark_and_YAML_give_them(string name)
    {
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllText(Path.Combine(Fixtures.Own, "cases", name, "expected.json")));
        Document[] documents = Read(name + "/pages");
        Assert.Equal(expected.RootElement.EnumerateObject().Select(page => page.Name).Order(StringComparer.Ordinal), documents.Select(document => document.Id));
        foreach (Document document in documents)
        {
            JsonElement title = expected.RootElement.GetProperty(document.Id);
            Assert.Equal(title.ValueKind == JsonValueKind.Array ? title[0].GetString() : title.GetString(), document.Title);
        }
    }

    [Fact]
    public void Case_07_data_beside_its_card_and_documentation_beside_a_license_are_read()
    {
        Assert.Contains(Read("07-folder-mixed/dataset"), document => document.Location.StartsWith("train.jsonl:", StringComparison.Ordinal));
        Assert.Contains(Read("07-folder-mixed/package"), document => document.Location == "lib/net8.0/Acme.Widgets.xml");
        Assert.DoesNotContain(
            Read("07-folder-mixed/package", new() { Kinds = DocumentKinds.XmlDocumentation }),
            document => document.Location.EndsWith(".md", StringComparison.Ordinal));
    }

    [Fact]
    public void Case_10_keywords_and_generic_names_stand_in_the_prose()
    {
        string text = string.Concat(Read("10-xml-langword-generic/xml").Select(document => document.Text));
        Assert.Contains("If Select<T1, T2>.Many is true", text, StringComparison.Ordinal);
        Assert.Contains("Either<T1, T2>", text, StringComparison.Ordinal);
        Assert.Contains("Map<TResult>(Func<T1, TResult> map)", text, StringComparison.Ordinal);
        Assert.DoesNotContain("`", text, StringComparison.Ordinal);
    }

    private static Document[] Read(string name, CorpusOptions? options = null)
        => [.. Corpus.Open(Path.Combine(Fixtures.Own, "cases", name), options).Documents()];
}
