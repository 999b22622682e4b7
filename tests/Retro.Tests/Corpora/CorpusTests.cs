using Retro.Corpora;

namespace Retro.Tests.Corpora;

public class CorpusTests
{
    [Fact]
    public void A_folder_is_read_in_ordinal_order_with_the_folders_below()
    {
        using TemporaryFolder folder = new();
        folder.File("b.txt", "second\r\nline\r");
        folder.File("a/z.md", "\uFEFF---\r\ntitle: \"From the head\"\r\nauthor: x\r\n---\r\n# Heading\n\nBody");
        folder.File("a/y.md", "# Only a heading\n\nText");
        folder.File("B.txt", "  first  ");
        folder.File("empty.txt", " \n");
        folder.File("ignored.bin", "x");

        Corpus corpus = Corpus.Open(folder.Path);
        Document[] documents = corpus.Documents().ToArray();

        Assert.Equal("3 text, 2 Markdown (left out: 1 .bin)", corpus.Kind);
        Assert.Equal(["B.txt", "a/y.md", "a/z.md", "b.txt"], documents.Select(document => document.Id));
        Assert.Equal(["B", "Only a heading", "From the head", "b"], documents.Select(document => document.Title));
        Assert.Equal(["first", "# Only a heading\n\nText", "# Heading\n\nBody", "second\nline"], documents.Select(document => document.Text));
        Assert.Equal((0, 1), (corpus.Skipped, corpus.Empty));
        Assert.Contains(
            "author: x",
            Corpus.Open(folder.Path, new CorpusOptions { KeepFrontMatter = true }).Documents().Single(document => document.Id == "a/z.md").Text,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Of_types_of_one_name_nothing_is_lost_that_another_file_says()
    {
        using TemporaryFolder folder = new();
        folder.File("a.xml", File("<member name='T:N.X'/>"));
        folder.File("b.xml", File("<member name='T:N.X'><summary>Of b.</summary></member><member name='M:N.X.Alpha'><summary>Common.</summary></member>"));
        folder.File("c.xml", File("<member name='M:N.X.Alpha'><summary>Common.</summary></member><member name='M:N.X.Beta'><summary>Of c.</summary></member>"));
        folder.File("d.xml", File("<member name='T:N.X'><summary>Of\n b.</summary></member><member name='M:N.X.Alpha'/>"));
        folder.File("e.xml", File("<member name='T:N.X'><summary>Of e.</summary></member><member name='T:N.Y'/>"));

        // Whether documents without text are asked for changes no other's name.
        Corpus corpus = Corpus.Open(folder.Path, new() { KeepEmpty = true });
        Assert.Equal(
            [("N.X", "N.X\nOf b.\n\nAlpha()\nCommon."), ("N.X (c.xml)", "N.X\n\nBeta()\nOf c."), ("N.X (e.xml)", "N.X\nOf e."), ("N.Y", "")],
            corpus.Documents().Select(document => (document.Id, document.Text)));
        Assert.Equal(1, corpus.Empty);

        corpus = Corpus.Open(folder.Path);
        Assert.Equal(["N.X", "N.X (c.xml)", "N.X (e.xml)"], corpus.Documents().Select(document => document.Id));
        Assert.Equal(1, corpus.Empty);

        static string File(string members) => $"<doc><assembly><name>N</name></assembly><members>{members}</members></doc>";
    }

    [Fact]
    public void Types_of_one_name_in_two_libraries_are_called_the_same_whichever_files_are_read_together()
    {
        using TemporaryFolder folder = new();
        File("A.xml", "A, Version=1.0.0.0", "<member name='T:My.Alpha'><summary>Of A.</summary></member><member name='T:My.Extensions'/>");
        File("B.xml", "B", "<member name='T:My.Alpha'><summary>Of B.</summary></member><member name='T:My.Extensions'><summary>Of B.</summary></member>");
        File("C.xml", "My", "<member name='T:My.Alpha'><summary>Of B.</summary></member><member name='T:Mine'><summary>No namespace.</summary></member>");
        File("D.xml", "System.Runtime", "<member name='T:System.String'><summary>Text.</summary></member>");

        Dictionary<string, Document> together = Corpus.Open(folder.Path).Documents().ToDictionary(document => document.Id);
        Assert.Equal(
            ["Mine (My)", "My.Alpha", "My.Alpha (A)", "My.Alpha (B)", "My.Extensions (B)", "System.String"], together.Keys.Order(StringComparer.Ordinal));
        Assert.Equal("My.Alpha\nOf B.", together["My.Alpha"].Text);
        Assert.Equal("My.Alpha\nOf B.", together["My.Alpha (B)"].Text);
        foreach (Document alone in Directory.GetFiles(folder.Path).SelectMany(file => Corpus.Open(file).Documents()))
        {
            Assert.Equivalent(together[alone.Id], alone);
        }

        void File(string name, string assembly, string members)
            => folder.File(name, $"<doc><assembly><name>{assembly}</name></assembly><members>{members}</members></doc>");
    }

    [Fact]
    public void A_part_of_a_corpus_has_the_names_of_the_whole_where_that_is_its_root()
    {
        using TemporaryFolder folder = new();
        folder.File("all/guide/a.txt", "one");
        folder.File("all/guide/deep/b.jsonl", """{"text": "two"}""");
        folder.File("all/c.txt", "three");
        folder.File("all else/d.txt", "four");
        CorpusOptions options = new() { Root = folder["all"], IdsByFile = true };
        string[] parts = [Path.Combine("all", "guide", "a.txt"), Path.Combine("all", "guide", "deep"), Path.Combine("all", "c.txt")];
        Assert.Equal(Documents("all"), parts.SelectMany(Documents).OrderBy(document => document.Id, StringComparer.Ordinal));
        Assert.Equal([("../all else/d.txt", "../all else/d.txt")], Documents("all else"));
        options = options with { Root = Path.Combine(folder["all"], "c.txt") };
        Assert.Equal(["c.txt"], Documents(parts[2]).Select(document => document.Id));

        (string Id, string Location)[] Documents(string part)
            => [.. Corpus.Open(folder[part], options).Documents().Select(document => (document.Id, document.Location))];
    }

    [Fact]
    public void Invalid_utf8_is_refused_with_file_and_byte_or_skipped_with_a_count()
    {
        using TemporaryFolder folder = new();
        string bad = folder.File("bad.txt", [0x61, 0xC3, 0xA9, 0xC3, 0x28]);
        folder.File("good.txt", "fine");
        string wide = folder.File("utf16.txt", [0x61, 0x00]);

        string message = Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path).Documents().ToList()).Message;
        Assert.Contains(bad, message, StringComparison.Ordinal);
        Assert.Contains("byte 3", message, StringComparison.Ordinal);

        Corpus lenient = Corpus.Open(folder.Path, new CorpusOptions { SkipBroken = true });
        Assert.Equal("fine", Assert.Single(lenient.Documents()).Text);
        Assert.Equal(2, lenient.Skipped);
        Assert.Single(lenient.Documents());
        Assert.Equal(2, lenient.Skipped);
        Assert.Equal(
            [
                $"The file {bad} is not UTF-8: invalid byte 0xC3 at byte 3.",
                $"The file {wide} is no text in UTF-8: 1 of its 2 bytes are zero, as in UTF-16 or UTF-32 without a mark.",
            ],
            lenient.SkippedExamples);
        Assert.Contains(
            "UTF-16",
            Assert.Throws<CorpusException>(() => Corpus.Open(wide).Documents().ToList()).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Json_lines_take_id_title_and_text()
    {
        using TemporaryFolder folder = new();
        string file = folder.File(
            "c.jsonl",
            "\uFEFF{\"id\": \"x\", \"title\": \"T\", \"text\": \"one\\r\\ntwo\"}\n\n{\"id\": 7, \"text\": \"three\"}\r\n{\"text\": "
                + "\"four\"}\n{\"text\": \"  \"}");

        Corpus corpus = Corpus.Open(file);
        Document[] documents = corpus.Documents().ToArray();

        Assert.Equal(
            [new("x", "T", "one\ntwo", "c.jsonl:1"), new("7", "7", "three", "c.jsonl:3"), new(documents[2].Id, "c.jsonl:4", "four", "c.jsonl:4")], documents);
        Assert.Equal(1, corpus.Empty);
    }

    /// <summary>A line's number would be another's as soon as one is put before it.</summary>
    [Theory]
    [InlineData("rows.jsonl", "{\"text\": \"one\"}", "{\"text\": \"two\"}", "{\"text\": \"none\"}", "\n")]
    [InlineData("rows.txt", "one", "two", "none", "\n---\n")]
    public void A_document_without_an_id_keeps_the_one_that_it_is_given(string name, string one, string two, string none, string between)
    {
        using TemporaryFolder folder = new();
        string[] before = Ids(one, two, one);
        Assert.Equal([before[0], before[1], $"{before[0]}-2"], before);
        Assert.Equal(before, Ids(none, one, two, one)[1..]);
        Assert.Equal([before[1]], Ids(two));

        string[] Ids(params string[] parts)
        {
            string file = folder.File(name, string.Join(between, parts));
            return [.. Corpus.Open(file, new() { Separator = "---" }).Documents().Select(document => document.Id)];
        }
    }

    [Fact]
    public void Json_lines_name_the_labels_of_a_document()
    {
        using TemporaryFolder folder = new();
        string file = folder.File("c.jsonl", """
            {"text": "a", "labels": ["x", "y"]}
            {"text": "b", "labels": "z"}
            {"text": "c", "labels": null}
            {"text": "d"}
            {"text": "e", "labels": ""}
            {"text": "f", "labels": ["", "x"]}
            """);
        Assert.Equal([["x", "y"], ["z"], [], [], [], ["x"]], Corpus.Open(file).Documents().Select(document => document.Labels));
    }

    [Theory]
    [InlineData("{\"text\": \"a\"", 2)]
    [InlineData("[1]", 2)]
    [InlineData("{\"id\": \"a\"}", 2)]
    [InlineData("{\"text\": 5}", 2)]
    [InlineData("{\"text\": \"a\", \"labels\": [\"b\", 7]}", 2)]
    [InlineData("{\"text\": \"a\", \"labels\": {}}", 2)]
    [InlineData("{\"text\": \"\\ud800\"}", 2)]
    public void A_broken_line_is_named_or_skipped_with_a_count(string broken, int line)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("c.jsonl", "{\"text\": \"good\"}\n" + broken + "\n{\"text\": \"also\"}\n");

        string message = Assert.Throws<CorpusException>(() => Corpus.Open(file).Documents().ToList()).Message;
        Assert.Contains($"Line {line} of {file}", message, StringComparison.Ordinal);

        Corpus lenient = Corpus.Open(file, new CorpusOptions { SkipBroken = true });
        Assert.Equal(["good", "also"], lenient.Documents().Select(document => document.Text));
        Assert.Equal(1, lenient.Skipped);
    }

    /// <summary>RFC 8259 leaves open which of two members counts; labels that are given twice would let a document be seen.</summary>
    [Theory]
    [InlineData("""{"text": "a", "text": "b"}""", "it has \"text\" more than once")]
    [InlineData("""{"text": "a", "labels": ["secret"], "labels": []}""", "it has \"labels\" more than once")]
    [InlineData("""{"i\u0064": "1", "id": "2", "text": "a"}""", "it has \"id\" more than once")]
    [InlineData("""{"id": {"$oid": "5f1"}, "text": "a"}""", "its \"id\" is neither a string nor a number")]
    [InlineData("""{"id": true, "text": "a"}""", "its \"id\" is neither a string nor a number")]
    public void A_row_that_can_be_read_in_two_ways_is_refused(string row, string fault)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("rows.jsonl", $"{{\"text\": \"fine\", \"x\": 1, \"x\": 2}}\n{row}");
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(file).Documents().ToList()).Message;
        Assert.Contains($"Line 2 of {file} is broken: {fault}", message, StringComparison.Ordinal);
        Assert.Equal("fine", Assert.Single(Corpus.Open(file, new() { SkipBroken = true }).Documents()).Text);
    }

    [Theory]
    [InlineData(65)]
    [InlineData(100_000)]
    public void What_else_a_row_holds_may_nest(int depth)
    {
        using TemporaryFolder folder = new();
        string nest = string.Concat(Enumerable.Repeat("{\"a\":[", depth)) + string.Concat(Enumerable.Repeat("]}", depth));
        string file = folder.File("rows.jsonl", $"{{\"meta\": {nest}, \"text\": \"found\", \"id\": null}}");
        Document document = Assert.Single(Corpus.Open(file).Documents());
        Assert.Equal(("rows.jsonl:1", "found"), (document.Location, document.Text));
    }

    [Fact]
    public void Lines_longer_than_any_buffer_are_read_whole()
    {
        using TemporaryFolder folder = new();
        string text = string.Concat(Enumerable.Range(0, 40_000).Select(i => i + " é "));
        string file = folder.File("c.jsonl", $"{{\"text\": \"{text}\"}}\n{{\"text\": \"b\"}}");

        Assert.Equal([text.Trim(), "b"], Corpus.Open(file).Documents().Select(document => document.Text));
    }

    [Fact]
    public void What_is_missing_or_empty_says_what_to_do()
    {
        using TemporaryFolder folder = new();
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(Path.Combine(folder.Path, "absent"))).Message;
        Assert.Contains("absent", message, StringComparison.Ordinal);
        Assert.Contains("Name a folder", message, StringComparison.Ordinal);
        Assert.Contains("holds no .txt", Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path)).Message, StringComparison.Ordinal);

        folder.File("a.txt", "\n");
        Assert.Contains(
            "holds no text: 1 documents are empty",
            Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path).Documents().ToList()).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Xml_documentation_becomes_prose_by_type()
    {
        using TemporaryFolder folder = new();
        const string xml = """
            <?xml version="1.0"?>
            <doc><assembly><name>A</name></assembly><members>
              <member name="M:N.Box`1.Put(`0,System.Collections.Generic.IDictionary{System.String,System.Int32[]},System.Int32@)">
                <summary>Puts <paramref name="item" /> into the <see cref="T:N.Box`1" />, or throws <see langword="null"> </see>
                  away; see <see cref="M:N.Box`1.Take" />.</summary>
                <param name="item">The item.</param><param name="map">A map.</param><param name="count">How many.</param>
                <returns><c>true</c> where it fits.</returns>
                <exception cref="T:System.ArgumentNullException"><paramref name="item" /> is null.</exception>
                <remarks><para>First.</para><para>Second.</para><list type="bullet"><item><term>One</term><description>is one</description></item></list>
                <code>
            if (x)
                y();
            </code></remarks>
              </member>
              <member name="T:N.Box`1"><summary>A box.</summary><typeparam name="T">What is in it.</typeparam></member>
              <member name="M:N.Box`1.#ctor(System.String)"><summary>Makes it.</summary><param name="name">Its name.</param></member>
              <member name="P:N.Box`1.System#IThing#Size"><summary>Its size.</summary></member>
              <member name="T:N.Silent" />
              <member name="F:N.Other.Zero"><summary>Nothing.</summary></member>
            </members></doc>
            """;
        folder.File("one/A.xml", xml);
        folder.File("two/A.xml", xml);
        folder.File("two/unrelated.xml", "<project/>");

        Corpus corpus = Corpus.Open(folder.Path);
        Document[] documents = corpus.Documents().ToArray();

        Assert.Equal(["N.Box`1 (A)", "N.Other (A)"], documents.Select(document => document.Id));
        Assert.Equal(1, corpus.Empty);
        Assert.Equal("one/A.xml", documents[0].Location);
        Assert.Equal(
            """
            N.Box<T>
            A box.
            T: What is in it.

            Put(T item, IDictionary<String, Int32[]> map, Int32 count)
            Puts item into the Box<T>, or throws null away; see Box<T>.Take.
            item: The item.
            map: A map.
            count: How many.
            Returns: true where it fits.
            Throws ArgumentNullException: item is null.
            First.
            Second.
            - One: is one
            if (x)
                y();

            new Box<T>(String name)
            Makes it.
            name: Its name.

            Size
            Its size.
            """.ReplaceLineEndings("\n"),
            documents[0].Text);
    }

    /// <summary>Which file describes a type first, and what is new in another, only the whole tells.</summary>
    [Fact]
    public void A_part_of_documentation_gives_what_the_whole_has_of_its_types()
    {
        using TemporaryFolder folder = new();
        string[] all = ["Foo", "Open", "OpenAsync", "Read"];
        Library("lib/net8.0", all[..3], "Bar");
        Library("lib/netstandard1.0", all[..2], "Bar");
        Library("lib/netstandard2.0", [.. all[..2], all[3]]);
        File.Copy(folder["lib/net8.0/Acme.xml"], folder["lib/copy.xml"]);
        Document[] whole = Read("lib");
        Assert.Equal(
            [
                ("Acme.Foo", "copy.xml"), ("Acme.Bar", "copy.xml"), ("Acme.Foo (netstandard2.0/Acme.xml)", "netstandard2.0/Acme.xml"),
            ],
            whole.Select(document => (document.Id, document.Location)));
        foreach (string part in new[] { "lib/copy.xml", "lib/net8.0", "lib/net8.0/Acme.xml", "lib/netstandard1.0" })
        {
            Assert.Equal(whole, Read(part), SameDocument);
        }

        Assert.Equal([whole[0], whole[2]], Read("lib/netstandard2.0/"), SameDocument);

        // What comes before others takes from them what it says.
        Library("lib/a", [all[0], all[3]]);
        Document[] read = Read("lib/a");
        Assert.Equal(["Acme.Foo", "Acme.Foo (copy.xml)"], read.Select(document => document.Id));
        Assert.Contains("OpenAsync", read[1].Text, StringComparison.Ordinal);

        // And what lies elsewhere takes nothing.
        Library("other", all);
        Assert.Equal(["Acme.Foo (../other/Acme.xml)"], Read("other").Select(document => document.Id));

        // A file that says nothing of a type takes it out of what no other file says.
        folder.File(
            "lib/z/Acme.xml",
            "<doc><assembly><name>Acme</name></assembly><members><member name=\"T:Acme.Bar\"/><member name=\"T:Acme.Baz\"/></members></doc>");
        Assert.Equal(["Acme.Bar", "Acme.Baz"], Read("lib/z").Select(document => document.Id));
        Assert.Equal(["Bar.", ""], Read("lib/z").Select(document => document.Text.Split('\n')[^1]));

        Document[] Read(string part) => [.. Corpus.Open(folder[part], new() { Root = folder["lib"], KeepEmpty = true }).Documents()];

        void Library(string place, string[] names, params string[] types) => folder.File(
            $"{place}/Acme.xml",
            $"<doc><assembly><name>Acme</name></assembly><members><member name=\"T:Acme.{names[0]}\"><summary>{names[0]}.</summary></member>"
                + string.Concat(names[1..].Select(name => $"<member name=\"M:Acme.{names[0]}.{name}\"><summary>{name}s it.</summary></member>"))
                + string.Concat(types.Select(name => $"<member name=\"T:Acme.{name}\"><summary>{name}.</summary></member>")) + "</members></doc>");

        static bool SameDocument(Document one, Document other) => (one.Id, one.Location, one.Text) == (other.Id, other.Location, other.Text);
    }

    /// <summary>The compiler indents every line of an entry; what all lines of code have in common is none of it.</summary>
    [Theory]
    [InlineData("\n      <code>\n      if (x)\n      {\n\n      \ty();\n      }\n      </code>\n", "if (x)\n{\n\n\ty();\n}")]
    [InlineData("\n            <code>if (x)\n                y();</code>", "if (x)\n    y();")]
    [InlineData("<code>\n\tif (x)\n\t\ty();\n</code>", "if (x)\n\ty();")]
    [InlineData("<code><![CDATA[\n  List<int> a;\n\n  b();\n]]></code>", "List<int> a;\n\nb();")]
    [InlineData("<code>a = <see cref=\"T:N.Box`1\"/>.Of(<paramref name=\"b\"/>)  <b>+</b> 1;</code>", "a = Box<T>.Of(b)  + 1;")]
    public void Code_keeps_its_lines_and_loses_the_indentation_of_the_entry(string code, string text)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("A.xml", $"<doc><members><member name=\"T:N.Box`1\"><summary>Box.{code}end</summary></member></members></doc>");
        Assert.Equal($"N.Box<T>\nBox.\n{text}\nend", Assert.Single(Corpus.Open(file).Documents()).Text);
    }

    /// <summary>https://learn.microsoft.com/dotnet/csharp/language-reference/xmldoc/#id-strings.</summary>
    [Theory]
    [InlineData("M:N.C.F(System.Int32[0:,0:],System.String[][0:,0:,0:],System.Int64@)", "F(Int32[,], String[][,,], Int64)")]
    [InlineData("M:N.C.F(System.Char!System.Runtime.CompilerServices.IsConst*,System.Int32|X.Y)", "F(Char*, Int32)")]
    [InlineData("M:N.C.F(System.Collections.Generic.Dictionary{System.String,System.Int32[0:,0:]})", "F(Dictionary<String, Int32[,]>)")]
    [InlineData("M:N.C.op_AdditionAssignment(System.Int32)", "operator +=(Int32)")]
    [InlineData("M:N.C.op_CheckedMultiplicationAssignment(System.Int32)", "operator checked *=(Int32)")]
    [InlineData("M:N.C.op_IncrementAssignment", "operator ++()")]
    public void Types_of_parameters_are_written_as_in_a_program(string id, string signature)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("A.xml", $"<doc><members><member name=\"{id}\"><summary>F.</summary></member></members></doc>");
        Assert.Contains($"\n{signature}\n", Assert.Single(Corpus.Open(file).Documents()).Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("M:System.Exception.#ctor(System.String)", "new Exception")]
    [InlineData("Overload:System.String.Format", "String.Format")]
    [InlineData("Overload:N.Box`1.#ctor", "new Box<T>")]
    [InlineData("N:System.Text", "System.Text")]
    [InlineData("!:Unknown", "Unknown")]
    [InlineData("!:List{T}", "List<T>")]
    [InlineData("Select{T1,T2}", "Select<T1,T2>")]
    [InlineData("!:Missing`1", "Missing<T>")]
    public void References_are_named_as_a_sentence_would_name_them(string reference, string name)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("A.xml", $"<doc><members><member name=\"T:C\"><summary>See <see cref=\"{reference}\"/>.</summary></member></members></doc>");
        Assert.Equal($"C\nSee {name}.", Assert.Single(Corpus.Open(file).Documents()).Text);
    }

    /// <summary>The .NET packs have words that are there as such a reference alone.</summary>
    [Theory]
    [InlineData("<xref data-throw-if-not-resolved=\"true\" uid=\"System.IAsyncResult\"></xref>", "System.IAsyncResult")]
    [InlineData("<xref uid=\"System.IO.Stream.ReadAsync(System.Byte[],System.Int32,System.Int32)\" />", "Stream.ReadAsync")]
    [InlineData("<xref uid=\"System.Collections.Generic.IAsyncEnumerable`1\"></xref>", "System.Collections.Generic.IAsyncEnumerable<T>")]
    [InlineData("<xref href=\"System.String.Format*\"></xref>", "System.String.Format")]
    [InlineData("<xref uid=\"System.String\">a string</xref>", "a string")]
    public void References_by_a_uid_are_named_by_it_or_as_they_say(string reference, string name)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("A.xml", $"<doc><members><member name=\"T:C\"><summary>See {reference}.</summary></member></members></doc>");
        Assert.Equal($"C\nSee {name}.", Assert.Single(Corpus.Open(file).Documents()).Text);
    }

    [Fact]
    public void Xml_that_nests_without_end_is_refused_or_skipped()
    {
        using TemporaryFolder folder = new();
        const int Deep = 200_000;
        folder.File(
            "a.xml",
            "<doc><members><member "
                + $"name=\"T:A\"><summary>{string.Concat(Enumerable.Repeat("<b>", Deep))}x{string.Concat(Enumerable.Repeat("</b>", Deep))}</summary></member></members></doc>");
        folder.File("b.xml", "<doc><members><member name=\"T:B\"><summary><para><list><item>y</item></list></para></summary></member></members></doc>");

        string message = Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path).Documents().ToList()).Message;
        Assert.Contains("a.xml", message, StringComparison.Ordinal);
        Assert.Contains("nests elements deeper than 256", message, StringComparison.Ordinal);
        Corpus corpus = Corpus.Open(folder.Path, new() { SkipBroken = true });
        Assert.Equal("B (b)", Assert.Single(corpus.Documents()).Id);
        Assert.Equal(1, corpus.Skipped);
    }

    [Theory]
    [InlineData("\n")]
    [InlineData("")]
    public void A_line_that_is_too_long_for_a_document_is_refused_or_skipped(string end)
    {
        using TemporaryFolder folder = new();
        string good = "{\"text\": \"good\"}", file = folder.File(
            "c.jsonl", $"{good}\n{{\"text\": \"{new string('x', 200_000)}\"}}\n{good}\n{new string('y', 70_000)}{end}");
        CorpusOptions options = new() { MaximumDocumentBytes = 60_000 };
        Corpus strict = Corpus.Open(file, options), lenient = Corpus.Open(file, options with { SkipBroken = true });

        string message = Assert.Throws<CorpusException>(() => strict.Documents().ToList()).Message;
        Assert.Contains($"Line 2 of {file} is longer than the 60000 bytes", message, StringComparison.Ordinal);
        Assert.Equal(["c.jsonl:1", "c.jsonl:3"], lenient.Documents().Select(document => document.Location));
        Assert.Equal(2, lenient.Skipped);
    }

    [Fact]
    public void Malformed_xml_is_refused_or_skipped()
    {
        using TemporaryFolder folder = new();
        folder.File("a.xml", "<doc><members><member name=\"T:A\"><summary>x</member></doc>");
        folder.File("b.xml", "<doc><members><member name=\"T:B\"><summary>y</summary></member></members></doc>");

        Assert.Contains("a.xml", Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path).Documents().ToList()).Message, StringComparison.Ordinal);
        Corpus lenient = Corpus.Open(folder.Path, new CorpusOptions { SkipBroken = true });
        Assert.Equal("B (b)", Assert.Single(lenient.Documents()).Id);
        Assert.Equal(1, lenient.Skipped);
    }

    [Fact]
    public void The_reference_packs_hold_many_types_once_each()
    {
        Corpus corpus;
        try
        {
            corpus = Corpus.DotNetReferencePacks();
        }
        catch (CorpusException exception)
        {
            Assert.Skip(exception.Message);
            return;
        }

        Document[] documents = corpus.Documents().Take(3000).ToArray();
        Assert.Equal(documents.Length, documents.Select(document => document.Id).Distinct().Count());
        Assert.True(documents.Length > 1000, $"only {documents.Length} documents");
        Assert.DoesNotContain(
            documents, document => document.Text.Contains('\r', StringComparison.Ordinal) || document.Text.Contains("<see ", StringComparison.Ordinal));
    }
}
