using System.IO.Compression;
using System.Text;
using System.Text.Json.Serialization;
using Parquet;
using Parquet.Schema;
using Parquet.Serialization;
using Retro.Corpora;

namespace Retro.Tests.Corpora;

/// <summary>Tables, as collections of documents are published: CSV (RFC 4180) and Apache Parquet, a document per row.</summary>
public class TableTests
{
    [Theory]
    [InlineData("t.csv", "text,id\r\n\"He said \"\"no\"\",\nand left.\",7\r\nSecond,8\r\n", "7@2=He said \"no\",\nand left.|8@4=Second")]
    [InlineData("t.csv", "\uFEFF\"id\",\"text\"\n1,a 5\" pipe\n\n2,\" kept \"", "1@2=a 5\" pipe|2@4=kept")]
    [InlineData("t.csv", "id;text\n1;one, two\n2;\"three; four\"\n", "1@2=one, two|2@3=three; four")]
    [InlineData("t.csv", "id\ttext\n1\tone, two\n", "1@2=one, two")]
    [InlineData("t.tsv", "text\tid,other\none\t1\n", "#@2=one")]
    [InlineData("t.csv", "text\none\n\"two\nlines\"\n", "#@2=one|#@3=two\nlines")]
    [InlineData("t.csv", "text,id\rone,1\rtwo,2\r", "1@2=one|2@3=two")]
    [InlineData("t.csv", "id,text\n1,one\n2\n", "1@2=one", true)] // the second has no text
    [InlineData("t.csv", "id,text\n1,one,two\n2,three\n", "2@3=three", true)] // a comma of the text
    [InlineData("t.csv", "id,text\n1,\"one\" two\n2,three\n", "2@3=three", true)] // what stands behind the quotation mark is no part of the field
    [InlineData("t.csv", "id,text\n1,one\n2,\"three\n4,five\n", "1@2=one", true)] // a field that is not closed would take what follows
    public void A_row_of_text_is_a_document(string name, string text, string expected, bool isBroken = false)
    {
        using TemporaryFolder folder = new();
        string path = folder.File(name, text);
        Corpus corpus = Corpus.Open(path, new() { SkipBroken = true });
        List<Document> documents = [.. corpus.Documents()];
        Assert.Equal(expected, string.Join('|', documents.Select(document
            => $"{(document.Id.Contains('#', StringComparison.Ordinal) ? "#" : document.Id)}@{document.Location[(name.Length + 1)..]}={document.Text}")));
        Assert.Equal(isBroken ? 1 : 0, corpus.Skipped);
        if (isBroken)
        {
            string message = Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message;
            Assert.Matches($"^Line [23] of {path} ", message);
        }
    }

    [Fact]
    public void A_row_has_title_and_labels_and_may_be_packed_or_of_another_encoding()
    {
        using TemporaryFolder folder = new();
        const string Text = "title,labels,text,id\nMüller,staff,Grinds: 🌾,9\n,,Second,\n";
        File.WriteAllBytes(Path.Combine(folder.Path, "a.csv"), Encoding.Unicode.GetPreamble().Concat(Encoding.Unicode.GetBytes(Text)).ToArray());
        using (GZipStream packed = new(File.Create(Path.Combine(folder.Path, "b.csv.gz")), CompressionMode.Compress))
        {
            packed.Write(Encoding.UTF8.GetBytes(Text));
        }

        Document[] documents = [.. Corpus.Open(folder.Path, new() { IdsByFile = true }).Documents()];
        Assert.Equal(["a.csv:9", "b.csv.gz:9"], documents.Where(document => document.Title == "Müller").Select(document => document.Id));
        Assert.Equal(["Grinds: 🌾", "Second", "Grinds: 🌾", "Second"], documents.Select(document => document.Text));
        Assert.Equal(["staff", "", "staff", ""], documents.Select(document => string.Join(',', document.Labels)));
        Assert.Equal("a.csv:3", documents[1].Title);

        // Each field is decoded by itself: of two rows, one is of the encoding that is named, and the other damaged.
        string latin = Path.Combine(folder.Path, "latin.csv");
        File.WriteAllBytes(latin, [.. "text\ncaf"u8, 0xE9, .. "\nplain\n"u8]);
        Assert.Equal(["café", "plain"], Corpus.Open(latin, new() { Encoding = "windows-1252" }).Documents().Select(document => document.Text));
        Assert.Equal(["plain"], Corpus.Open(latin, new() { SkipBroken = true }).Documents().Select(document => document.Text));
        Assert.Contains("Line 2 of", Assert.Throws<CorpusException>(() => Corpus.Open(latin).Documents().ToList()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_field_that_is_too_long_ends_its_file()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("t.csv", $"text\none\n\"{string.Join('\n', Enumerable.Repeat("another line", 20))}\"\ntwo\n");
        CorpusOptions options = new() { MaximumDocumentBytes = 100 };
        Assert.Contains("100 bytes", Assert.Throws<CorpusException>(() => Corpus.Open(path, options).Documents().ToList()).Message, StringComparison.Ordinal);
        Assert.Equal(["one"], Corpus.Open(path, options with { SkipBroken = true }).Documents().Select(document => document.Text));
    }

    /// <summary>Written by DuckDB 1.5: two groups of two rows, pages of version 2 in Zstandard, dictionaries.</summary>
    [Fact]
    public void A_row_of_Parquet_is_a_document()
    {
        string path = Path.Combine(Fixtures.Own, "rows.parquet");
        Document[] documents = [.. Corpus.Open(path, new() { KeepEmpty = true }).Documents()];
        Assert.Equal(["7", "9", "11", "12"], documents.Select(document => document.Id));
        Assert.Equal(["Ferry", "9", "Empty", "Second"], documents.Select(document => document.Title));
        Assert.Equal(["The ferry crosses at dawn.", "A müller grinds 🌾 grain.", "", "Line one\nline two"], documents.Select(document => document.Text));
        Assert.Equal(["staff,river", "", "", "staff"], documents.Select(document => string.Join(',', document.Labels)));
        Assert.Equal(["rows.parquet:1", "rows.parquet:2", "rows.parquet:3", "rows.parquet:4"], documents.Select(document => document.Location));
        Document[] others = [.. Corpus.Open(path, new() { Fields = new() { Text = "title", Id = "text", Labels = "none" }, SkipBroken = true }).Documents()];
        Assert.Equal(["Ferry", "Empty", "Second"], others.Select(document => document.Text)); // the second has no title
        Assert.All(others, document => Assert.Empty(document.Labels));
    }

    [Fact]
    public async Task Labels_that_are_no_texts_are_refused_and_not_read_as_none()
    {
        using TemporaryFolder folder = new();
        string path = await Write(
            folder, "t.parquet", new DataField<long>("labels"), async (group, field) => await group.WriteAsync<long>(field, new long[] { 1, 2 }));
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message;
        Assert.Contains("\"labels\"", message, StringComparison.Ordinal);
        Assert.Equal(2, Corpus.Open(path, new() { Fields = new() { Labels = "none" } }).Documents().Count());
        path = Path.Combine(folder.Path, "m.parquet");
        await using (FileStream file = File.Create(path))
        {
            await ParquetSerializer.SerializeAsync([new Mapped { Text = "A secret.", Labels = new() { ["who"] = "staff" } }], file);
        }

        Assert.Contains("\"labels\"", Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message, StringComparison.Ordinal);
        path = await Write(
            folder, "d.parquet", new DataField<double>("id"), async (group, field) => await group.WriteAsync<double>(field, new double[] { 1, 2 }));
        Assert.Contains("\"id\"", Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Other_tables_of_a_folder_are_left_out_and_one_that_is_named_is_refused_with_its_columns()
    {
        using TemporaryFolder folder = new();
        folder.File("page.md", "A page.");
        string numbers = folder.File("numbers.csv", "year,people\n1990,7\n");
        folder.File("rows.jsonl", "{\"text\":\"A row.\",\"body\":\"Of another name.\"}");
        Corpus corpus = Corpus.Open(folder.Path);
        Assert.Equal(["A page.", "A row."], corpus.Documents().Select(document => document.Text));
        Assert.Contains("1 tables without a column \"text\"", corpus.Kind, StringComparison.Ordinal);
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(numbers).Documents().ToList()).Message;
        Assert.Contains("\"year\", \"people\"", message, StringComparison.Ordinal);
        Assert.Contains("CorpusOptions.Fields", message, StringComparison.Ordinal);
        Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path, new() { Kinds = DocumentKinds.Csv }).Documents().ToList());
        CorpusOptions named = new() { Fields = new() { Text = "people", Id = "year" } };
        Assert.Equal("1990=7", string.Join('|', Corpus.Open(numbers, named).Documents().Select(document => $"{document.Id}={document.Text}")));
        Assert.Equal(["Of another name."], Corpus.Open(
            folder.Path, new() { Kinds = DocumentKinds.JsonLines, Fields = new() { Text = "body" } }).Documents().Select(document => document.Text));
        Assert.Throws<RetroOptionsException>(() => Corpus.Open(numbers, new() { Fields = new() { Id = "" } }));

        // Of two columns of labels, one would be passed over.
        string twice = folder.File("twice.csv", "text,labels,labels\nA secret.,,staff\n");
        Assert.Contains("\"labels\"", Assert.Throws<CorpusException>(() => Corpus.Open(twice).Documents().ToList()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_table_is_told_and_never_read_as_if_it_were_whole()
    {
        using TemporaryFolder folder = new();
        byte[] whole = File.ReadAllBytes(Path.Combine(Fixtures.Own, "rows.parquet"));
        string path = Path.Combine(folder.Path, "t.parquet");
        folder.File("page.md", "A page.");
        int told = 0;
        for (int at = 0; at < whole.Length; at += 3)
        {
            byte[] damaged = [.. whole];
            damaged[at] ^= 0x55;
            File.WriteAllBytes(path, at % 2 == 0 ? damaged : whole[..at]);
            try
            {
                Assert.NotEmpty(Corpus.Open(folder.Path).Documents().ToList());
            }
            catch (CorpusException exception)
            {
                told++;
                Assert.Contains(path, exception.Message, StringComparison.Ordinal);
                Assert.Equal(["A page."], Corpus.Open(folder.Path, new() { SkipBroken = true }).Documents().Select(document => document.Text).Take(1));
            }
        }

        Assert.True(told > whole.Length / 6, $"{told} of {whole.Length / 3} were told."); // every file that is cut short is
    }

    private static async Task<string> Write(
        TemporaryFolder folder, string name, DataField second, Func<ParquetRowGroupWriter, DataField, Task> write)
    {
        string path = Path.Combine(folder.Path, name);
        DataField<string> texts = new("text");
        await using FileStream file = File.Create(path);
        await using ParquetWriter writer = await ParquetWriter.CreateAsync(new ParquetSchema(texts, second), file);
        using ParquetRowGroupWriter group = writer.CreateRowGroup();
        await group.WriteAsync(texts, (string[])["One.", "Two."]);
        await write(group, second);
        return path;
    }

    private sealed class Mapped
    {
        [JsonPropertyName("text")]
        public string? Text { get; set; }

        [JsonPropertyName("labels")]
        public Dictionary<string, string>? Labels { get; set; }
    }
}
