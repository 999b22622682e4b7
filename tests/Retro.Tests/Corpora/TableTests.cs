using System.IO.Compression;
using System.Text;
using Retro.Corpora;

namespace Retro.Tests.Corpora;

/// <summary>Tables of text, as collections of documents are published: CSV (RFC 4180), a document per row.</summary>
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
    [InlineData("t.csv", "sep=;\r\nid;text\r\n1;one, two\r\n", "1@3=one, two")] // as Excel is told what parts the fields
    [InlineData("t.csv", "\uFEFFsep=,\nid,text\n1,\"sep=,\"\n", "1@3=sep=,")]
    [InlineData("t.csv", "id,text\n1,one\n2\n", "1@2=one", true)] // the second has no text
    [InlineData("t.csv", "id,text\n1,one,two\n2,three\n", "2@3=three", true)] // a comma of the text
    [InlineData("t.csv", "id,text,labels\n1,one,\n\n2,two\n\n", "1@2=one", true, 4)] // a row that is too short may lack labels
    [InlineData("t.csv", "id,text,note\n1,one,\"no\n2,two,\"no\"\n3,three,\n", "3@4=three", true, 2, 2)] // nor may a column that nobody asked for swallow rows
    [InlineData("t.csv", "id,text,note\n1,one,5\"\n2,two,\"no\n", "1@2=one", true)]
    [InlineData("t.csv", "id,text\n1,\"one\" two\n2,three\n", "2@3=three", true)] // what stands behind the quotation mark is no part of the field
    [InlineData("t.csv", "id,text\n1,one\n2,\"three\n4,five\n", "1@2=one", true, 3, 2)] // a field that is not closed takes what follows
    [InlineData("t.csv", "id,text\n1,\"a\n\nb\"\n\n2,\"un\n3,a\n\n4,b\n", "1@2=a\n\nb", true, 6, 4)]
    public void A_row_of_text_is_a_document(string name, string text, string expected, bool isBroken = false, int line = 0, int lost = 1)
    {
        using TemporaryFolder folder = new();
        string path = folder.File(name, text);
        Corpus corpus = Corpus.Open(path, new() { SkipBroken = true });
        List<Document> documents = [.. corpus.Documents()];
        Assert.Equal(expected, string.Join('|', documents.Select(document
            => $"{(document.Id.Contains('#', StringComparison.Ordinal) ? "#" : document.Id)}@{document.Location[(name.Length + 1)..]}={document.Text}")));
        Assert.Equal(isBroken ? lost : 0, corpus.Skipped);
        if (isBroken)
        {
            string message = Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message;
            Assert.Matches($"^Line {(line > 0 ? line : "[23]")} of {path} ", message);
            Assert.Equal(lost > 1, message.Contains($"takes the {lost - 1} line", StringComparison.Ordinal));
        }
    }

    /// <summary>Fields that tabs part are written with quotation marks around them, as by Excel and pandas, or as they are.</summary>
    [Theory]
    [InlineData("id\ttext\n1\ta \"q\" b\n2\t\"Unbalanced\n3\tc\n4\tends\"\n5\td\n", "1=a \"q\" b|2=\"Unbalanced|3=c|4=ends\"|5=d")]
    [InlineData("id\ttext\n1\t\"Never closed\n2\tb\n", "1=\"Never closed|2=b")]
    [InlineData("id\ttext\n1\t\"One\" and \"two\"\n2\t\"\"\n3\t\"Whole\"\n4\t\"\"\"Said\"\"\"\n", "1=\"One\" and \"two\"|2=|3=Whole|4=\"Said\"")]
    [InlineData("id\ttext\n1\t\"x\ty\"\n2\t\"two\n\nlines\"\n3\t\"a \"\"q\"\",\r\nb\"\r\n4\tc\n", "1=x\ty|2=two\n\nlines|3=a \"q\",\nb|4=c")]
    [InlineData("text\tid\n\"two\nlines\"\t\"1\"\n\"x\"\t2\n\"x\t3\n", "1=two\nlines|2=x|3=\"x")]
    [InlineData("id\ttext\r1\t\"a\rb\"\r2\tc\r", "1=a\nb|2=c")]
    [InlineData("sep=\t\nid\tnote\ttext\n1\t\"a\t5\"\tb\n2\t\"a\tb\n3\t\t\"c\"\n", "1=b|2=b|3=c")]
    public void A_quotation_mark_in_a_table_of_tabs_takes_no_rows(string text, string expected)
    {
        using TemporaryFolder folder = new();
        Corpus corpus = Corpus.Open(folder.File("t.tsv", text), new() { KeepEmpty = true });
        Assert.Equal(expected, string.Join('|', corpus.Documents().Select(document => $"{document.Id}={document.Text}")));
    }

    [Fact]
    public void A_field_over_lines_of_a_table_of_tabs_that_is_too_long_is_no_document_of_its_first_line()
    {
        using TemporaryFolder folder = new();
        CorpusOptions options = new() { MaximumDocumentBytes = 100 };
        foreach (string lines in new[] { string.Join('\n', Enumerable.Repeat(new string('x', 40), 5)), new string('x', 200) })
        {
            string path = folder.File("t.tsv", $"id\ttext\n1\tone\n7\t\"first line\n{lines}\"\n8\ttwo\n");
            Assert.Contains(
                "longer than the 100 bytes",
                Assert.Throws<CorpusException>(() => Corpus.Open(path, options).Documents().ToList()).Message,
                StringComparison.Ordinal);
            Assert.Equal(["one"], Corpus.Open(path, options with { SkipBroken = true }).Documents().Select(document => document.Text));
        }

        // Its own length counts; and a mark before as much of rows is none of a field's.
        string beside = folder.File("beside.tsv", $"id\tnote\ttext\n7\t{new string('x', 80)}\t\"first line\nand the second\"\n");
        Assert.Equal("first line\nand the second", Corpus.Open(beside, options).Documents().Single().Text);
        string rows = folder.File("rows.tsv", $"id\ttext\n0\t\"Unbalanced\n{string.Concat(Enumerable.Range(1, 40).Select(i => $"{i}\trow {i}\n"))}");
        Assert.Equal(41, Corpus.Open(rows, options).Documents().Count());
    }

    [Theory]
    [InlineData(0.3)]
    [InlineData(0.6)]
    [InlineData(0.9)]
    public void Of_a_table_of_tabs_that_is_cut_the_rows_come_that_are_whole(double share)
    {
        using TemporaryFolder folder = new();
        string[] stories = CutFile.Stories(1500);
        string table = $"id\ttext\n{string.Concat(stories.Select((story, i) => $"{i}\t\"{story}\"\n"))}";
        Corpus corpus = Corpus.Open(folder.File("t.tsv.gz", CutFile.Of(table, share)), new() { SkipBroken = true });
        string[] read = [.. corpus.Documents().Select(document => document.Text)];
        Assert.InRange(read.Length, 100, stories.Length - 1);
        Assert.Equal(stories[..read.Length], read);
    }

    [Fact]
    public void Rows_between_two_marks_of_a_table_of_tabs_keep_their_labels()
    {
        using TemporaryFolder folder = new();
        string Row(int i) => $"{i}\t{(i % 7 == 0 ? "staff" : "public")}\t{(i == 3 ? "\"Unbalanced start" : i == 500 ? "an end\"" : $"plain {i}")}\n";
        Corpus corpus = Corpus.Open(folder.File("t.tsv", "id\tlabels\ttext\n" + string.Concat(Enumerable.Range(1, 1000).Select(Row))));
        Document[] documents = [.. corpus.Documents()];
        Assert.Equal(1000, documents.Length);
        Assert.Equal(("\"Unbalanced start", "plain 4", "an end\""), (documents[2].Text, documents[3].Text, documents[499].Text));
        Assert.Equal(Enumerable.Range(1, 1000).Select(i => i % 7 == 0 ? "staff" : "public"), documents.Select(document => Assert.Single(document.Labels)));
    }

    /// <summary>A byte order mark, and a share of bytes of zero, say something at the head of a file alone.</summary>
    [Fact]
    public void A_field_or_a_line_is_of_its_file_s_encoding_whatever_it_begins_with()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("t.csv", [.. "id,text\n1,ok\n2,"u8, 0xFF, 0xFE, .. "abcd\n3,a\0b\n"u8]);
        Assert.Contains(
            $"Line 3 of {path} is not UTF-8: invalid byte 0xFF at byte 0",
            Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message,
            StringComparison.Ordinal);
        Assert.Equal(["ok", "a\0b"], Corpus.Open(path, new() { SkipBroken = true }).Documents().Select(document => document.Text));
        Assert.Equal(["ok", "\u00FF\u00FEabcd", "a\0b"], Corpus.Open(path, new() { Encoding = "windows-1252" }).Documents().Select(document => document.Text));
        path = folder.File("u.csv", [.. "id,text\n1,ok\n2,"u8, 0xFF, 0xFE, .. "abcd\n"u8]);
        Assert.Contains(
            "is not UTF-8", Assert.Throws<CorpusException>(() => Corpus.Open(path, new() { Encoding = "utf-16" }).Documents().ToList()).Message,
            StringComparison.Ordinal);
        path = folder.File("s.txt", [.. "one\n---\n\0a\n---\n"u8, 0xFE, 0xFF, .. "b"u8]);
        Assert.Equal(
            ["one", "\0a", "\u00FE\u00FFb"],
            Corpus.Open(path, new() { Separator = "---", Encoding = "latin1" }).Documents().Select(document => document.Text));
    }

    [Fact]
    public void A_column_called_nearly_as_labels_are_is_not_passed_over()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("t.csv", "id,Labels,text\n1,staff,A secret.\n");
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message;
        Assert.StartsWith($"The table {path} has a column \"Labels\", where labels are called \"labels\".", message, StringComparison.Ordinal);
        Assert.Equal("staff", Corpus.Open(path, new() { Fields = new() { Labels = "Labels" } }).Documents().Single().Labels[0]);
        string rows = folder.File("r.jsonl", "{\"LABELS\":[\"staff\"],\"text\":\"A secret.\"}\n{\"text\":\"A page.\",\"more\":{\"Labels\":1}}\n");
        message = Assert.Throws<CorpusException>(() => Corpus.Open(rows).Documents().ToList()).Message;
        Assert.StartsWith($"Line 1 of {rows} is broken: it has \"LABELS\", where labels are called \"labels\".", message, StringComparison.Ordinal);
        Assert.Equal(["A page."], Corpus.Open(rows, new() { SkipBroken = true }).Documents().Select(document => document.Text));
        Assert.Equal(2, Corpus.Open(rows, new() { Fields = new() { Labels = "none" } }).Documents().Count());
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
    public void A_row_has_one_label_whatever_stands_around_it()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("t.csv", "id, text, labels\n1, A secret., staff\n2,A page,  \n");
        Assert.Equal(["staff", ""], Corpus.Open(path).Documents().Select(document => string.Join('|', document.Labels)));

        // As one label, a list would be one that nobody has.
        foreach (string list in (string[])["\"['staff', 'river']\"", "[staff]", "\" [\"\"staff\"\"] \""])
        {
            path = folder.File("list.csv", $"id,text,labels\n1,A secret.,{list}\n2,A page.,\n");
            Assert.Equal(["A page."], Corpus.Open(path, new() { SkipBroken = true }).Documents().Select(document => document.Text));
            string message = Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message;
            Assert.Contains($"Line 2 of {path}", message, StringComparison.Ordinal);
            Assert.Contains("list that was written as text", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_row_takes_memory_by_its_length_however_many_columns_it_has()
    {
        using TemporaryFolder folder = new();
        const int Columns = 3000, Rows = 5;
        string row = $"A row.\t{string.Join('\t', Enumerable.Repeat("5\"a", Columns))}\n";
        string path = folder.File(
            "wide.tsv", $"text\t{string.Join('\t', Enumerable.Range(0, Columns))}\n{string.Concat(Enumerable.Repeat(row, Rows))}");
        Corpus corpus = Corpus.Open(path);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(Rows, corpus.Documents().Count());
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.InRange(allocated, 1, 100L * row.Length * Rows);
    }

    [Fact]
    public void Of_a_table_the_first_row_alone_is_read_for_its_columns_with_an_encoding_too()
    {
        using TemporaryFolder folder = new();
        byte[] row = [.. "caf"u8, 0xE9, .. ",1\n"u8];
        byte[] table = [.. "text,id\n"u8, .. Enumerable.Repeat(row, 200_000).SelectMany(bytes => bytes)];
        folder.File("latin.csv", table);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Corpus corpus = Corpus.Open(folder.Path, new() { Encoding = "windows-1252" });
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, table.Length);
        Assert.Equal("café", corpus.Documents().First().Text);
    }

    [Fact]
    public void A_field_that_is_too_long_ends_its_file()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("t.csv", $"text\none\n\"{string.Join('\n', Enumerable.Repeat("another line", 20))}\"\ntwo\n");
        CorpusOptions options = new() { MaximumDocumentBytes = 100 };
        Assert.Contains("100 bytes", Assert.Throws<CorpusException>(() => Corpus.Open(path, options).Documents().ToList()).Message, StringComparison.Ordinal);
        Corpus corpus = Corpus.Open(path, options with { SkipBroken = true });
        Assert.Equal(["one"], corpus.Documents().Select(document => document.Text));
        Assert.Equal(21, corpus.Skipped); // all lines behind the first document
        path = folder.File("line.csv", $"text\none\n{new string('x', 200)}\ntwo\n");
        corpus = Corpus.Open(path, options with { SkipBroken = true });
        Assert.Equal(["one"], corpus.Documents().Select(document => document.Text));
        Assert.Equal(2, corpus.Skipped);
    }

    [Fact]
    public void A_first_row_whose_quotation_mark_is_not_closed_is_no_table_without_rows()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("t.csv", "text,\"id\none,1\ntwo,2\n");
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message;
        Assert.StartsWith($"Line 1 of {path} has a quotation mark in a quoted field that is not doubled, or not closed", message, StringComparison.Ordinal);
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
}
