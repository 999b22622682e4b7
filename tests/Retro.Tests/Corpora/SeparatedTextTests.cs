using Retro.Corpora;

namespace Retro.Tests.Corpora;

/// <summary>Files of plain text that hold several documents, as collections of stories and articles are handed around.</summary>
public class SeparatedTextTests
{
    [Theory]
    [InlineData("One day.\nA fox.\n<|endoftext|>\nTwo days.\n<|endoftext|>\n", "<|endoftext|>", "s.txt:1=One day.\nA fox.|s.txt:4=Two days.")]
    [InlineData("\uFEFF<|endoftext|>\r\nOne.\r\n \r\nDay.\r\n\t<|endoftext|> \r\n<|endoftext|>\r\nTwo.", " <|endoftext|>", "s.txt:2=One.\n \nDay.|s.txt:7=Two.")]
    [InlineData("One.\nDay.\n\n\n  \nTwo <|endoftext|> days.\n", "", "s.txt:1=One.\nDay.|s.txt:6=Two <|endoftext|> days.")]
    [InlineData("One.\n---\n\n---\nTwo.", "---", "s.txt:1=One.|s.txt:5=Two.")]
    [InlineData("One.\n----\nTwo.", "---", "s.txt:1=One.\n----\nTwo.")]
    [InlineData("One.\rDay.\r---\rTwo.\r\n\r---\n\nThree.\r", "---", "s.txt:1=One.\nDay.|s.txt:4=Two.|s.txt:7=Three.")]
    [InlineData("One.\rDay.\r\rTwo.\r\nDay.\n\rThree.", "", "s.txt:1=One.\nDay.|s.txt:4=Two.\nDay.|s.txt:7=Three.")]
    public void A_line_parts_the_documents_of_a_text_file(string text, string separator, string expected)
    {
        using TemporaryFolder folder = new();
        folder.File("s.txt", text);
        folder.File("page.md", "# A page\n\n---\n\nOf one document.");
        List<Document> documents = [.. Corpus.Open(folder.Path, new() { Separator = separator, KeepEmpty = true }).Documents()];
        Assert.Equal("page.md", documents[0].Id);
        Assert.Equal(expected, string.Join('|', documents.Skip(1).Select(document => $"{document.Location}={document.Text}")));
        Assert.All(documents.Skip(1), document => Assert.Equal(document.Location, document.Title));
        Assert.All(documents.Skip(1), document => Assert.Matches("^s[.]txt#[0-9a-f]{16}$", document.Id));
    }

    [Fact]
    public void A_file_may_be_longer_than_a_document_and_what_is_broken_is_told_or_left_out_alone()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("s.txt", string.Join("\n===\n", Enumerable.Range(0, 40).Select(i => $"Story {i}, {new string('x', i == 7 ? 200 : 20)}")));
        CorpusOptions options = new() { Separator = "===", MaximumDocumentBytes = 100 };
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(path, options).Documents().ToList()).Message;
        Assert.Contains("Line 15 of", message, StringComparison.Ordinal);
        Assert.Contains("100 bytes", message, StringComparison.Ordinal);
        Corpus corpus = Corpus.Open(path, options with { SkipBroken = true });
        Assert.Equal(Enumerable.Range(0, 40).Where(i => i != 7).Select(i => $"s.txt:{(2 * i) + 1}"), corpus.Documents().Select(document => document.Location));
        Assert.Equal(1, corpus.Skipped);

        // Many lines that are each short enough, and none that parts them.
        message = Assert.Throws<CorpusException>(() => Corpus.Open(path, options with { Separator = "=" }).Documents().ToList()).Message;
        Assert.Contains("From line 1 of", message, StringComparison.Ordinal);
        Assert.Contains("no line is \"=\"", message, StringComparison.Ordinal);

        File.WriteAllBytes(path, [.. "One caf"u8, 0xE9, .. "\n===\nTwo."u8]);
        Assert.Throws<CorpusException>(() => Corpus.Open(path, options).Documents().ToList());
        Assert.Equal(["Two."], Corpus.Open(path, options with { SkipBroken = true }).Documents().Select(document => document.Text));
        Assert.Equal(["One caf\u00E9", "Two."], Corpus.Open(path, options with { Encoding = "latin1" }).Documents().Select(document => document.Text));
        Assert.Throws<RetroOptionsException>(() => Corpus.Open(path, options with { Separator = "a\nb" }));
        Assert.Throws<RetroOptionsException>(() => Corpus.Open(path, options with { Separator = "\f" }));
    }

    /// <summary>Of a story that the damage cuts, the lines before it are there.</summary>
    [Theory]
    [InlineData(0.3)]
    [InlineData(0.6)]
    [InlineData(0.9)]
    public void Of_a_packed_file_that_is_cut_the_documents_come_that_are_whole(double share)
    {
        using TemporaryFolder folder = new();
        string[] stories = CutFile.Stories(1500);
        string path = folder.File("s.txt.gz", CutFile.Of(string.Join("\n---\n", stories), share));
        Corpus corpus = Corpus.Open(path, new() { Separator = "---", SkipBroken = true });
        string[] read = [.. corpus.Documents().Select(document => document.Text)];
        Assert.InRange(read.Length, 100, stories.Length - 1);
        Assert.Equal(stories[..read.Length], read);
        Assert.Equal(1, corpus.Skipped);
    }

    /// <summary>A file is read in blocks of 64 KiB.</summary>
    [Fact]
    public void A_return_and_its_newline_end_one_line_where_a_block_parts_them()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("s.txt", new string('x', (1 << 16) - 1) + "\r\n---\r\nTwo.");
        Assert.Equal(["s.txt:1", "s.txt:3"], Corpus.Open(path, new() { Separator = "---" }).Documents().Select(document => document.Location));
    }
}
