using System.Diagnostics;
using System.IO.Compression;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Retro.Cli.Reports;
using Retro.Cli.Serving;
using Retro.Corpora;

namespace Retro.Tests.Corpora;

/// <summary>Which files of a folder are read, and what is said of the others.</summary>
public partial class CorpusFilesTests
{
    private const string Documentation = "<doc><members><member name=\"T:A.B\"><summary>What it is.</summary></member></members></doc>";

    [Fact]
    public void Every_kind_in_a_folder_is_read_in_the_order_of_the_paths()
    {
        using TemporaryFolder folder = new();
        folder.File("README.md", "# Card\n\nAbout the data.");
        folder.File("data/train.jsonl", "{\"id\": 1, \"text\": \"row\"}\n");
        folder.File("lib/A.xml", Documentation);
        folder.File("site/page.html", "<p>page");
        folder.File("site/notes.rst", "Notes\n=====\n\ntext");
        folder.File("z.txt", "plain");

        Corpus corpus = Corpus.Open(folder.Path);

        Assert.Equal(["README.md", "1", "A.B", "site/notes.rst", "site/page.html", "z.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal(
            [("text", 1), ("Markdown", 1), ("HTML", 1), ("reStructuredText", 1), ("JSON lines", 1), (".NET XML documentation", 1)],
            corpus.Files.Select(kind => (kind.Key, kind.Value)));
        Assert.Empty(corpus.LeftOut);
        Assert.Equal("1 text, 1 Markdown, 1 HTML, 1 reStructuredText, 1 JSON lines, 1 .NET XML documentation", corpus.Kind);
    }

    /// <summary>A report that was moved, or that lies in the corpus itself, has text of models and of held-out documents in it.</summary>
    [Fact]
    public void A_page_that_the_tool_wrote_is_left_out_wherever_it_lies()
    {
        using TemporaryFolder folder = new();
        folder.File("report.html", new Page("Results").Paragraph("what a model wrote").ToString());
        folder.File("served.html", ServedPage.Html("model"));
        folder.File("page.html", "<!DOCTYPE html><html><head><meta name=\"generator\" content=\"Retrospect\"></head><body><p>page");

        Corpus corpus = Corpus.Open(folder.Path);

        Assert.Equal(["page.html"], corpus.Documents().Select(document => document.Id));
        Assert.Equal([("pages that Retro wrote", 2)], corpus.LeftOut.Select(kind => (kind.Key, kind.Value)));
    }

    [Fact]
    public void A_pattern_that_matches_no_file_is_known_and_refused_with_what_there_is()
    {
        using TemporaryFolder folder = new();
        folder.File("guide/a.md", "text");
        folder.File("guide/old/b.md", "text");
        folder.File("c.txt", "text");
        Corpus corpus = Corpus.Open(folder.Path, new() { Include = ["guide/**/*.md", "*.text"], Exclude = ["guide/old/**", "drafts/**"] });
        Assert.Equal(["guide/a.md"], corpus.Documents().Select(document => document.Id));
        Assert.Equal(["*.text", "drafts/**"], corpus.Unmatched);
        Assert.Contains(
            "matches \"*.text\" or \"drafts/**\"; it holds 1 .md, 1 .txt, such as c.txt, guide/a.md.",
            Assert.Throws<CorpusException>(corpus.RequireMatched).Message,
            StringComparison.Ordinal);
        string nothing = Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path, new() { Include = ["Guide/*.md"] })).Message;
        Assert.Contains("matches \"Guide/*.md\"; it holds 2 .md, 1 .txt, such as", nothing, StringComparison.Ordinal);

        Corpus all = Corpus.Open(folder.Path, new() { Exclude = ["**/old/**"] });
        all.RequireMatched();
        Assert.Equal(["c.txt", "guide/a.md"], all.Documents().Select(document => document.Id));
    }

    [Theory]
    [InlineData("**/.git/**")]
    [InlineData(".git")]
    [InlineData("**/.DS_Store")]
    [InlineData("run/*.html")]
    [InlineData("a/** a/b/**")]
    [InlineData("**/node_modules/** **/LICENSE*")]
    public void A_pattern_that_leaves_out_what_is_left_out_anyway_is_no_mistake(string patterns)
    {
        using TemporaryFolder folder = Mixed();
        Corpus.Open(folder.Path, new() { Exclude = patterns.Split(' ') }).RequireMatched();
    }

    /// <summary>What is left out unseen excuses no pattern that could not match it, and none of files that are asked for.</summary>
    [Fact]
    public void A_mistyped_pattern_is_refused_beside_what_is_left_out_unseen()
    {
        using TemporaryFolder folder = Mixed();
        foreach (string pattern in new[] { "drafts/**", "*.text", "gits/*/x.md" })
        {
            Corpus corpus = Corpus.Open(folder.Path, new() { Exclude = [pattern] });
            Assert.Contains($"matches \"{pattern}\"; it holds", Assert.Throws<CorpusException>(corpus.RequireMatched).Message, StringComparison.Ordinal);
        }

        Corpus hidden = Corpus.Open(folder.Path, new() { Include = ["*.txt", ".git/**"], Exclude = ["**/node_modules/**", "**/LICENSE*"] });
        Assert.Equal([".git/**", "**/LICENSE*"], hidden.Unmatched);
        Assert.Contains("matches \".git/**\"; it holds", Assert.Throws<CorpusException>(hidden.RequireMatched).Message, StringComparison.Ordinal);
    }

    /// <summary>What is read together has its patterns together.</summary>
    [Fact]
    public void A_pattern_that_matches_in_one_of_several_corpora_is_no_mistake()
    {
        using TemporaryFolder first = new(), second = new();
        first.File("guide/a.md", "text");
        second.File("notes/b.txt", "text");
        Corpus.RequireMatched(Opened("guide/*.md", "notes/*.txt"));
        string message = Assert.Throws<CorpusException>(() => Corpus.RequireMatched(Opened("guide/*.md", "notes/*.txt", "*.text"))).Message;
        Assert.Contains($"{first.Path} or {second.Path} matches \"*.text\"; {first.Path} holds 1 .md", message, StringComparison.Ordinal);

        Corpus[] Opened(params string[] include) => [.. new[] { first, second }.Select(folder => Corpus.Open(folder.Path, new() { Include = include }))];
    }

    private static TemporaryFolder Mixed()
    {
        TemporaryFolder folder = new();
        folder.File("z.txt", "text");
        folder.File("a/b/c.txt", "text");
        folder.File(".DS_Store", "");
        folder.File(".git/config", "");
        folder.File("node_modules/p/LICENSE", "license");
        folder.File("run/.retro", "");
        folder.File("run/report.html", "<p>ours");
        return folder;
    }

    /// <summary>So that what an update adds of a part is what the build read of it.</summary>
    [Fact]
    public void Patterns_of_a_part_of_a_corpus_are_those_of_the_whole()
    {
        using TemporaryFolder folder = new();
        folder.File("docs/guide/a.md", "text");
        folder.File("docs/guide/old/b.md", "text");
        folder.File("news/guide/c.md", "text");
        CorpusOptions options = new() { Root = folder["docs"], Include = ["guide/**"], Exclude = ["guide/old/**"] };
        Assert.Equal(["guide/a.md"], Corpus.Open(folder["docs/guide"], options).Documents().Select(document => document.Id));
        Assert.Equal(["../news/guide/c.md"], Corpus.Open(folder["news"], options).Documents().Select(document => document.Id));
        Assert.Equal(["guide/old/b.md"], Corpus.Open(folder["docs/guide/old/b.md"], options).Documents().Select(document => document.Id));
    }

    [Fact]
    public void What_is_not_read_any_more_is_gone_where_its_file_was_read_or_is_missing()
    {
        using TemporaryFolder folder = new();
        folder.File("docs/a.md", "text");
        folder.File("docs/rows.jsonl", "{\"text\": \"row\"}");
        folder.File("docs/left/b.md", "text");
        folder.File("docs/left/c.jsonl", "{\"text\": \"row\"}");
        Directory.CreateSymbolicLink(folder["docs/away"], folder["disk"]);
        Corpus corpus = Corpus.Open(folder["docs"], new() { Exclude = ["left/**"] });
        Assert.All(["a.md", "a.md:3", "rows.jsonl:7", "old.md", "left/old.md", "left/old.jsonl:7"], location => Assert.True(corpus.IsGone(location)));
        Assert.All(["left/b.md", "left/c.jsonl:1", "left/c.jsonl:7"], location => Assert.False(corpus.IsGone(location)));
        Assert.All(["away/d.md", "away/e.jsonl:7", "away"], location => Assert.Null(corpus.IsGone(location)));
        Assert.True(Corpus.Open(folder["docs/a.md"], new() { Root = folder["docs"] }).IsGone("a.md:3"));
    }

    [Theory]
    [InlineData(null, true)]
    [InlineData("windows-1252", true)]
    [InlineData("windows-1252", false)]
    public void JSON_whose_first_line_is_not_ASCII_is_read_as_any_other(string? encoding, bool isUtf8)
    {
        using TemporaryFolder folder = new();
        System.Text.Encoding written = isUtf8 ? System.Text.Encoding.UTF8 : System.Text.Encoding.Latin1;
        foreach ((string name, string text) in new[]
            {
                ("rows.json", "{\"gr\u00F6\u00DFe\":\"Stra\u00DFe\"}\n{\"gr\u00F6\u00DFe\":\"caf\u00E9\"}\n"), ("meta.json", "{\"name\":\"caf\u00E9\"}"),
            })
        {
            File.WriteAllBytes(Path.Combine(folder.Path, name), written.GetBytes(text));
        }

        Corpus corpus = Corpus.Open(folder.Path, new() { Encoding = encoding, Fields = new() { Text = "gr\u00F6\u00DFe" } });
        Assert.Equal(["Stra\u00DFe", "caf\u00E9"], corpus.Documents().Select(document => document.Text));
        Assert.Equal("1 JSON lines (left out: 1 .json)", corpus.Kind);
    }

    /// <summary>Many collections are published as JSON lines in files that are called as other JSON is.</summary>
    [Fact]
    public void JSON_is_read_as_lines_where_its_first_line_is_a_document()
    {
        using TemporaryFolder folder = new();
        folder.File("data/part-00000.json", "{\"text\":\"One of Spark.\"}\n{\"text\":\"Two of Spark.\"}\n");
        folder.File("data/c4-train.00000-of-01024.json.gz", Gzip("{\"text\":\"One of C4.\",\"url\":\"x\"}\n"));
        folder.File("package.json", "{\n  \"text\": \"no document\"\n}\n");
        folder.File("tsconfig.json", "{\"compilerOptions\":{\"text\":\"no document\"}}");
        folder.File("words.json", "{\"text\":{\"title\":\"of a page\"}}");
        folder.File("data/part-00001.json", "\n{\"text\":\"Three of Spark.\"}\n");
        folder.File("list.json", "[{\"text\":\"no line\"}]");
        folder.File("map.json.gz", Gzip("{\"version\":3}"));
        folder.File("half.json", "{\"\\ud83d\": \"half of a pair\", \"\\udce9t\\udce9.txt\": 1}");
        Corpus corpus = Corpus.Open(folder.Path);
        Assert.Equal(["One of C4.", "One of Spark.", "Two of Spark.", "Three of Spark."], corpus.Documents().Select(document => document.Text));
        Assert.Equal("3 JSON lines (left out: 5 .json, 1 .json.gz)", corpus.Kind);
        Assert.Equal(["One of C4.", "One of Spark.", "Two of Spark.", "Three of Spark."], Corpus.Open(
            folder.Path, new() { Kinds = DocumentKinds.JsonLines }).Documents().Select(document => document.Text));

        Assert.Contains(
            $"The file {folder["list.json"]} begins an array of JSON",
            Assert.Throws<CorpusException>(() => Corpus.Open(folder["list.json"]).Documents().ToList()).Message,
            StringComparison.Ordinal);

        // One that is named is meant, and says what it lacks; a damaged one may be of documents.
        string path = folder.File("named.json", "{\"body\":\"Of another name.\"}\n");
        Assert.Contains(
            $"Line 1 of {path} is broken: it is no object with a \"text\"",
            Assert.Throws<CorpusException>(() => Corpus.Open(path).Documents().ToList()).Message,
            StringComparison.Ordinal);
        Assert.Equal("Of another name.", Assert.Single(Corpus.Open(path, new() { Fields = new() { Text = "body" } }).Documents()).Text);

        // So is the first line of a file of documents.
        string lacking = folder.File("data/lacking.json", "{\"id\":1,\"text\":null}\n{\"text\":\"One more.\"}\n");
        Assert.Contains(
            $"Line 1 of {lacking} is broken",
            Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path).Documents().ToList()).Message,
            StringComparison.Ordinal);
        File.Delete(lacking);
        folder.File("data/cut.json.gz", Gzip("{\"text\":\"One of C4.\"}\n")[..^9]);
        Assert.Contains(
            "cut.json.gz is damaged", Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path).Documents().ToList()).Message, StringComparison.Ordinal);

        static byte[] Gzip(string text)
        {
            using MemoryStream packed = new();
            using (GZipStream stream = new(packed, CompressionMode.Compress))
            {
                stream.Write(System.Text.Encoding.UTF8.GetBytes(text));
            }

            return packed.ToArray();
        }
    }

    [Fact]
    public void What_is_left_out_is_counted_by_kind_and_told()
    {
        using TemporaryFolder folder = new();
        folder.File("a.txt", "text");
        folder.File("b.PDF", "x");
        folder.File("c.pdf", "x");
        folder.File("Makefile", "x");
        folder.File("project.xml", "<project/>");
        folder.File(".git/a.txt", "hidden");
        folder.File("page.html.gz", "a packed page is not read");
        folder.File("run/.retro", "");
        folder.File("run/report.html", "<p>ours");
        folder.File("model/training.safetensors", "");
        folder.File("model/steps.jsonl", "ours");
        folder.File("base/manifest.json", "{}");
        folder.File("base/tokens.bin", "");
        folder.File("base/x.txt", "ours");
        folder.File("compacted/manifest.json", "{}");
        folder.File("compacted/writer.txt", "ours");
        folder.File("compacted/segments/2/tokens-1.bin", "");
        folder.File("compacted/segments/2/keys.bin.part.txt", "ours");

        Corpus corpus = Corpus.Open(folder.Path);

        Assert.Equal(["a.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal(
            [(".html.gz", 1), (".pdf", 2), ("folders that Retro wrote", 4), ("hidden", 1), ("other .xml", 1), ("without an ending", 1)],
            corpus.LeftOut.Select(kind => (kind.Key, kind.Value)));
        Assert.Equal(
            "1 text (left out: 1 .html.gz, 2 .pdf, 4 folders that Retro wrote, 1 hidden, 1 other .xml, 1 without an ending)", corpus.Kind);
        Assert.Equal(["report.html"], Corpus.Open(folder["run"]).Documents().Select(document => document.Id));
    }

    [Fact]
    public void Models_among_the_files_are_read_but_for_what_their_tokenizers_hold()
    {
        using TemporaryFolder folder = new();
        folder.File("bert/config.json", "{}");
        folder.File("bert/model.safetensors", "");
        folder.File("bert/vocab.txt", "[PAD]");
        folder.File("bert/README.md", "card");
        folder.File("bert/docs/use.md", "page");
        folder.File("gpt/merges.txt", "a b");
        folder.File("gpt/vocab.json", "{}");
        folder.File("french/vocab.txt", "maison house");

        Corpus corpus = Corpus.Open(folder.Path);

        Assert.Equal(["bert/README.md", "bert/docs/use.md", "french/vocab.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal([(".json", 2), (".safetensors", 1), ("lists of a tokenizer's pieces", 2)], corpus.LeftOut.Select(kind => (kind.Key, kind.Value)));
    }

    [Fact]
    public void Kinds_and_patterns_choose_what_is_read()
    {
        using TemporaryFolder folder = new();
        folder.File("README.md", "card");
        folder.File("LICENSE.md", "license");
        folder.File("a/train.jsonl", "{\"text\": \"row\"}");
        folder.File("a/notes.log", "log");

        Assert.Equal(["a/train.jsonl:1"], Ids(new() { Kinds = DocumentKinds.JsonLines }));
        Assert.Equal(["README.md", "a/train.jsonl:1"], Ids(new() { Exclude = ["**/LICENSE*"] }));
        Assert.Equal(["a/train.jsonl:1"], Ids(new() { Include = ["a/**"] }));
        Assert.Equal(["a/notes.log"], Ids(new() { Include = ["**/*.log"], Kinds = DocumentKinds.Text }));
        Assert.Equal(["notes.log"], Corpus.Open(folder["a/notes.log"], new() { Kinds = DocumentKinds.Text }).Documents().Select(document => document.Id));
        Assert.Equal("{\"text\": \"row\"}", Corpus.Open(folder["a/train.jsonl"], new() { Kinds = DocumentKinds.Text }).Documents().Single().Text);
        Assert.Equal(["README.md"], Ids(new() { Include = ["README.md", "a/*.jsonl"], Kinds = DocumentKinds.Markdown }));
        Corpus some = Corpus.Open(folder.Path, new() { Include = ["a/*.jsonl", "*.md"], Kinds = DocumentKinds.JsonLines | DocumentKinds.Text });
        Assert.Equal([("Markdown", 2), ("by pattern", 1)], some.LeftOut.Select(kind => (kind.Key, kind.Value)));

        CorpusException none = Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path, new() { Kinds = DocumentKinds.Html }));
        Assert.Contains("left out: 1 .log, 1 JSON lines, 2 Markdown", none.Message, StringComparison.Ordinal);

        IEnumerable<string> Ids(CorpusOptions options) => Corpus.Open(folder.Path, options).Documents().Select(document => document.Location);
    }

    [Fact]
    public void Folders_that_a_pattern_leaves_out_whole_are_not_entered()
    {
        using TemporaryFolder folder = new();
        folder.File("a.txt", "a");
        folder.File("node_modules/b.txt", "b");
        folder.File("node_modules/deep/c.txt", "c");
        folder.File("x/node_modules/d.txt", "d");
        folder.File("x/node_modules.txt", "e");
        folder.File("y/f.txt", "f");
        folder.File("y/z/g.txt", "g");

        Corpus corpus = Corpus.Open(folder.Path, new() { Exclude = ["**/node_modules/**", "y/z/**"] });

        Assert.Equal(["a.txt", "x/node_modules.txt", "y/f.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal([("by pattern", 3)], corpus.LeftOut.Select(kind => (kind.Key, kind.Value)));
    }

    [Fact]
    public void A_file_of_XML_that_may_not_be_read_stops_a_corpus_or_is_skipped()
    {
        using TemporaryFolder folder = new();
        folder.File("a.txt", "a");
        using FileStream held = new(folder["b.xml"], FileMode.Create, FileAccess.ReadWrite, FileShare.None);

        Assert.Contains(
            "b.xml cannot be read", Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path).Documents().ToList()).Message, StringComparison.Ordinal);
        Corpus corpus = Corpus.Open(folder.Path, new() { SkipBroken = true });
        Assert.Equal("a", Assert.Single(corpus.Documents()).Text);
        Assert.Equal(1, corpus.Skipped);
    }

    /// <summary>A folder that may be listed and not searched tells the names of what nobody may ask for.</summary>
    [Theory]
    [InlineData("000")]
    [InlineData("644")]
    public void A_folder_that_may_not_be_listed_stops_a_corpus_or_is_skipped(string mode)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The right to list a folder is taken as on Linux.");
        using TemporaryFolder folder = new();
        folder.File("a.txt", "a");
        string lost = folder.File("lost/b.txt", "b");
        Assert.Equal("2 text", Corpus.Open(folder.Path).Kind); // with the assemblies it takes, which others may have no right to read
        Run("chmod", "-R", "a+rX", folder.Path);
        Run("chmod", mode, folder["lost"]);
        try
        {
            AsNobody(() =>
            {
                Assert.SkipWhen(IsTold(), "This user may search every folder.");
                Assert.SkipUnless(File.Exists(folder["a.txt"]), "The folder of temporary files lies where others may not go.");
                Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path));
                Assert.Equal("1 text (left out: 1 folders that cannot be listed)", Corpus.Open(folder.Path, new() { SkipBroken = true }).Kind);
                Assert.Equal("1 text (left out: 1 by pattern)", Corpus.Open(folder.Path, new() { Exclude = ["**/lost/**"] }).Kind);
            });
        }
        finally
        {
            Run("chmod", "700", folder["lost"]);
        }

        bool IsTold()
        {
            try
            {
                return File.GetAttributes(lost) >= 0;
            }
            catch (UnauthorizedAccessException)
            {
                return false;
            }
        }
    }

    /// <summary>The system tells nobody of a path that is too long for it.</summary>
    [Fact]
    public void A_folder_whose_entries_cannot_be_asked_for_stops_a_corpus_or_is_skipped()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "How long a path may be is taken as on Linux.");
        using TemporaryFolder folder = new();
        folder.File("a.txt", "a");
        string deep = new('d', 250);
        Run("bash", "-c", $"cd '{folder.Path}' && for i in {{1..16}}; do mkdir {deep} && cd {deep} || exit 1; done && echo b > {deep}");
        string strict;
        Corpus corpus;
        try
        {
            strict = Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path)).Message;
            corpus = Corpus.Open(folder.Path, new() { SkipBroken = true });
        }
        finally
        {
            Run("rm", "-r", folder[deep]); // .NET does not get that deep
        }

        Assert.Contains("cannot be listed", strict, StringComparison.Ordinal);
        Assert.Equal("1 text (left out: 1 folders that cannot be listed)", corpus.Kind);
        Assert.Equal(1, corpus.UnlistedFolders);
    }

    [Fact]
    public void Options_that_make_no_sense_are_named_together()
    {
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() => new CorpusOptions
        {
            Kinds = DocumentKinds.None, Include = [" ", "a/*"], Exclude = ["a/../b/*"], Encoding = "klingon", MaximumDocumentBytes = 0,
        }.Validate());
        Assert.All(
            [
                nameof(CorpusOptions.Kinds), "Include is \" \", \"a/*\"; expected", "Exclude is \"a/../b/*\"; expected", "klingon",
                nameof(CorpusOptions.MaximumDocumentBytes),
            ],
            part => Assert.Contains(part, fault.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Links_are_followed_once_and_in_no_circle()
    {
        using TemporaryFolder folder = new(), outside = new();
        folder.File("real/a.txt", "a");
        outside.File("far.txt", "far");
        outside.File("deep/b.txt", "b");
        Directory.CreateSymbolicLink(folder["real/up"], folder.Path);
        Directory.CreateSymbolicLink(folder["alias"], folder["real"]);
        Directory.CreateSymbolicLink(folder["elsewhere"], outside.Path);
        Directory.CreateSymbolicLink(outside["deep/back"], outside.Path);
        File.CreateSymbolicLink(folder["same.txt"], folder["real/a.txt"]);
        File.CreateSymbolicLink(folder["gone.txt"], folder["nothing"]);
        File.CreateSymbolicLink(folder["itself.txt"], folder["itself.txt"]);

        Corpus corpus = Corpus.Open(folder.Path);

        Assert.Equal(["elsewhere/deep/b.txt", "elsewhere/far.txt", "real/a.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal(
            [("files reached twice", 1), ("folders reached twice", 3), ("links to nothing", 2)], corpus.LeftOut.Select(kind => (kind.Key, kind.Value)));
    }

    [Fact]
    public void Two_names_of_one_file_and_pipes_are_left_out()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells which file a name leads to and what is no file.");
        using TemporaryFolder folder = new();
        Run("ln", folder.File("a.txt", "a"), folder["b.txt"]);
        Run("mkfifo", folder["pipe.txt"], folder["pipe.html"]);
        File.CreateSymbolicLink(folder["zeros.txt"], "/dev/zero");

        Corpus corpus = Corpus.Open(folder.Path);

        Assert.Equal(["a.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal([("files reached twice", 1), ("pipes and devices", 3)], corpus.LeftOut.Select(kind => (kind.Key, kind.Value)));
        Assert.All(["pipe.txt", "pipe.html"], pipe => Assert.Contains(
            "is a pipe", Assert.Throws<CorpusException>(() => Corpus.Open(folder[pipe]).Documents().ToList()).Message, StringComparison.Ordinal));
    }

    [Fact]
    public void A_name_of_bytes_that_are_no_UTF_8_is_told_as_such()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Elsewhere no name is of such bytes.");
        using TemporaryFolder folder = new();
        folder.File("a.txt", "a");
        folder.File(".b.txt", "hidden");
        Run("bash", "-c", $"echo text > '{folder.Path}'/$'na\\xefve.txt' && mkdir '{folder.Path}'/$'stra\\xdfe'");

        Corpus corpus = Corpus.Open(folder.Path);

        Run("bash", "-c", $"rm -r '{folder.Path}'/na?ve.txt '{folder.Path}'/stra?e"); // .NET has no name to delete them by
        Assert.Equal(["a.txt"], corpus.Documents().Select(document => document.Id));
        Assert.Equal([("hidden", 1), ("names that are no UTF-8", 2)], corpus.LeftOut.Select(kind => (kind.Key, kind.Value)));
    }

    [Theory]
    [InlineData("docs")]
    [InlineData("docs/a.txt")]
    public void A_corpus_of_a_relative_path_is_the_same_one_wherever_the_process_goes(string path)
    {
        string before = Environment.CurrentDirectory;
        using TemporaryFolder folder = new(), elsewhere = new();
        folder.File("docs/a.txt", "here");
        elsewhere.File("docs/a.txt", "elsewhere");
        try
        {
            Environment.CurrentDirectory = folder.Path;
            Corpus corpus = Corpus.Open(path);
            Environment.CurrentDirectory = elsewhere.Path;
            Assert.Equal(new Document("a.txt", "a", "here", "a.txt"), Assert.Single(corpus.Documents()));
            Assert.Equal(path, corpus.Path);
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }
    }

    /// <summary>Runs on a thread that, where it is root's, has no right to others' files: they are taken from that thread alone, and end with it.</summary>
    private static void AsNobody(Action action)
    {
        const uint Nobody = 65534;
        Exception? thrown = null;
        Thread thread = new(() =>
        {
            _ = SetFileSystemUser(Nobody); // which changes nothing for others than root
            thrown = Record.Exception(action);
        });
        thread.Start();
        thread.Join();
        if (thrown is not null)
        {
            ExceptionDispatchInfo.Throw(thrown);
        }
    }

    [LibraryImport("libc", EntryPoint = "setfsuid")]
    private static partial int SetFileSystemUser(uint user);

    private static void Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    [Fact]
    public void Ids_that_begin_anew_in_every_shard_get_the_name_of_their_file()
    {
        using TemporaryFolder folder = new();
        folder.File("part-0.jsonl", "{\"id\": 0, \"text\": \"a\"}\n{\"text\": \"b\"}");
        folder.File("part-1.jsonl", "{\"id\": 0, \"text\": \"c\"}");

        string[] ids = [.. Corpus.Open(folder.Path).Documents().Select(document => document.Id)];
        Assert.StartsWith("part-0.jsonl#", ids[1], StringComparison.Ordinal);
        Assert.Equal(["0", ids[1], "0"], ids);
        Assert.Equal(
            ["part-0.jsonl:0", ids[1], "part-1.jsonl:0"],
            Corpus.Open(folder.Path, new() { IdsByFile = true }).Documents().Select(document => document.Id));
    }
}
