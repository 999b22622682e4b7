using System.Text.Json.Nodes;
using Retro.Cli.Commands;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Tests.Cli.Commands;

/// <summary>`retro update`: documents that come, change and go.</summary>
public sealed class UpdateCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    /// <summary>To look for a document among those that are held out takes longer than all else.</summary>
    [Fact]
    public void A_document_that_is_read_twice_is_looked_for_once_and_one_that_changed_meanwhile_again()
    {
        List<string> looked = [];
        Func<Document, bool> isHeld = UpdateCommand.Once(document =>
        {
            looked.Add(document.Text);
            return document.Text == "held";
        });
        Document free = new("a", "", "free", ""), held = new("b", "", "held", "");
        Assert.Equal([false, true, false, true], new[] { free, held, free, held }.Select(isHeld));
        Assert.True(isHeld(free with { Text = "held" }));
        Assert.False(isHeld(free with { Id = "c", Text = "other" }));
        Assert.Equal(["free", "held", "held", "other"], looked);
    }

    [Fact]
    public void Documents_are_added_replaced_and_removed()
    {
        _retro.Build();
        _retro.WriteFile("news/ferry.md", "The ferry crosses the river where the old bridge was, every morning.\n");
        _retro.WriteFile("news/river-0.md", "The river number 0 has dried up, and nobody counts its stones.\n");
        Assert.Equal("bm25", Best("the ferry crosses").Source);
        Assert.NotEqual("../news/ferry.md", Best("the ferry crosses").Document);
        (int documents, string gone) = (Count(), Ids().First(id => id.StartsWith("bridge", StringComparison.Ordinal)));
        string done = _retro.Done("update", "--database", "work", "--add", "news", "--remove", gone, "--json", "update.json");
        Assert.Contains(", 2 segments", done, StringComparison.Ordinal);
        OpenWords();
        Assert.Equal(("../news/ferry.md", "../news/river-0.md"), (Best("the ferry crosses").Document, Best("has dried up and nobody counts").Document));
        Assert.DoesNotContain(gone, Ids());
        Assert.Contains("are as they were written", _retro.Done("verify", "work"), StringComparison.Ordinal);
        Assert.Equal((int)_retro.Json("update.json")["documents"]!, Count());
        Assert.Equal(1, Count() - documents); // of another folder, it takes no place of the corpus

        Assert.Contains(", 1 segment\n", _retro.Done("update", "--database", "work", "--compact"), StringComparison.Ordinal);
        OpenWords();
        Assert.Equal("../news/ferry.md", Best("the ferry crosses").Document);
        Assert.Contains("nothing to do", _retro.Run("update", "--database", "work").Errors, StringComparison.Ordinal);
        string errors = _retro.Run("update", "--database", "work", "--remove", "nowhere").Errors;
        Assert.Contains("no document with the id 'nowhere'", errors, StringComparison.Ordinal);

        int Count() => Ids().Length;

        // As a process does that answers, which makes nothing.
        void OpenWords()
        {
            using ChunkDatabase database = _retro.Database();
            KeywordNeighborSource.Open(database).Dispose();
        }

        string[] Ids()
        {
            using ChunkDatabase database = _retro.Database();
            return [.. database.Documents.Select(document => document.Id)];
        }

        (string Source, string Document) Best(string text)
        {
            _retro.Done("inspect", "--database", "work", "--text", text, "--k", "1", "--json", "best.json");
            JsonObject found = _retro.Json("best.json");
            return ((string)found["source"]!, (string)found["neighbors"]![0]!["document"]!);
        }
    }

    [Fact]
    public void Many_segments_are_told_with_what_joins_them()
    {
        _retro.Build();
        RetroTokenizer tokenizer = RetroTokenizer.Load(_retro["work/tokenizer"]);
        string folder;
        using (ChunkDatabase database = _retro.Database())
        {
            folder = database.Folder;
        }

        for (int i = 0; i < 17; i++)
        {
            ChunkDatabaseUpdate.Apply(folder, [new Document($"added {i}", "", $"A stone of {i} pounds.", "")], [], tokenizer).Database.Dispose();
        }

        const string Joining = "update --database work --compact";
        Assert.DoesNotContain(Joining, Added("one"), StringComparison.Ordinal);
        string told = Added("two");
        Assert.Contains("every search asks all 20 segments", told, StringComparison.Ordinal);
        Assert.Contains(Joining, told, StringComparison.Ordinal);
        Assert.DoesNotContain(Joining, _retro.Done("update", "--database", "work", "--compact"), StringComparison.Ordinal);

        string Added(string name)
        {
            _retro.WriteFile($"{name}/{name}.md", $"The ferry number {name} crosses the river.");
            return _retro.Done("update", "--database", "work", "--add", name);
        }
    }

    /// <summary>What is added to a database is labelled and cleaned as it was built, and no document loses a label that nobody spoke of.</summary>
    [Fact]
    public void What_is_added_has_the_labels_and_the_cleaning_of_the_build()
    {
        _retro.WriteFile("docs/d1.md", "The river runs to the harbor, past the old bridge.");
        _retro.WriteFile("docs/d2.md", "The mountain stands over the valley, and nobody climbs it.");
        _retro.WriteFile("own/o.jsonl", """{"id": "o", "text": "The keeper sleeps at noon, and the gate is shut.", "labels": ["board"]}""");
        string[] sizes = ["--vocabulary", "300", "--chunk", "8", "--held-out-share", "0"];
        _retro.Done(["build", "--corpus", "docs", "--out", "work", "--labels", "hr", "--labels", "staff", "--clean", "unicode", "--clean", "near", .. sizes]);
        Assert.Equal(["hr", "staff"], Labels("d1.md"));
        _retro.WriteFile("docs/d1.md", "The river runs to the harbor, past the new bridge.");
        _retro.Done("update", "--database", "work", "--add", "docs");
        Assert.Equal(["hr", "staff"], Labels("d1.md"));
        _retro.Done("update", "--database", Path.Combine("work", "database"), "--add", "own");
        Assert.Equal(["board", "hr", "staff"], Labels("o"));

        // What a document names by itself cannot be lost in silence either.
        _retro.WriteFile("own/o.jsonl", """{"id": "o", "text": "The keeper sleeps at noon, and the gate is open."}""");
        ChildProcess.Outcome lost = _retro.Run("update", "--database", "work", "--add", "own");
        Assert.Equal(2, lost.ExitCode);
        Assert.StartsWith("The document 'o' is labelled board, and what would take its place is not", lost.Errors, StringComparison.Ordinal);
        Assert.Equal(["board", "hr", "staff"], Labels("o"));
        _retro.Done("update", "--database", "work", "--add", "own", "--labels", "");
        Assert.Empty(Labels("o"));

        string cleaned = _retro.Run("update", "--database", "work", "--add", "own", "--clean", "unicode").Errors;
        Assert.Contains("Say the same (--clean unicode --clean near).", cleaned, StringComparison.Ordinal);
        string both = _retro.Run("update", "--database", "work", "--add", "own", "--clean", "none", "--clean", "exact").Errors;
        Assert.StartsWith("--clean none is no cleaning at all", both, StringComparison.Ordinal);

        string[] Labels(string id)
        {
            using ChunkDatabase database = _retro.Database();
            return [.. database.Documents.Single(document => document.Id == id).Labels.Order(StringComparer.Ordinal)];
        }
    }

    [Fact]
    public void Held_out_documents_stay_out_of_what_is_added()
    {
        _retro.WriteCorpus();
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2", "--json", "built.json");
        int documents = (int)_retro.Json("built.json")["documents"]!, held = (int)_retro.Json("built.json")["heldOutDocuments"]!;
        string[] ids;
        using (ChunkDatabase heldOut = _retro.Database("work/held-out"))
        {
            ids = [.. heldOut.Documents.Select(document => document.Id)];
        }

        // The folder that the database was built of, with one more document, and a held-out text by another name.
        _retro.WriteFile("docs/new.md", "What is new here was never seen before.");
        string held0 = File.ReadAllText(Path.Combine(_retro["docs"], ids[0]));
        _retro.WriteFile("docs/copy.md", held0);
        _retro.WriteFile("docs/near.md", $"{held0}\nOne more sentence does not make it another document.\n");
        string done = _retro.Done("update", "--database", "work", "--add", "docs", "--json", "update.json");
        Assert.Contains("held out", done, StringComparison.Ordinal);
        Assert.InRange((int)_retro.Json("update.json")["heldOut"]!, held, held + 1);
        using ChunkDatabase changed = _retro.Database();
        string[] there = [.. changed.Documents.Select(document => document.Id)];
        Assert.Contains("new.md", there);
        Assert.DoesNotContain("copy.md", there);
        Assert.DoesNotContain("near.md", there);
        Assert.Empty(there.Intersect(ids));
        Assert.True(there.Length > documents);
    }

    /// <summary>Rows have no names of their own: what stands before them changes nothing of which is which.</summary>
    [Fact]
    public void A_line_on_top_of_others_takes_nothing_away()
    {
        string[] rows =
        [
            .. Enumerable.Range(0, 24).Select(i => $$"""{"text": "The keeper number {{i}} has {{7 * i}} stones and {{i * i}} steps, and sleeps."}"""),
        ];
        _retro.WriteFile("rows.jsonl", string.Join('\n', rows));
        _retro.Done("build", "--corpus", "rows.jsonl", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2");
        string[] known = Texts();
        _retro.WriteFile("rows.jsonl", string.Join('\n', rows.Prepend("""{"text": "The ferry crosses where the old bridge was, every morning."}""")));
        Assert.Contains("  1 new, ", _retro.Done("update", "--database", "work", "--add", "rows.jsonl"), StringComparison.Ordinal);
        Assert.Empty(known.Except(Texts()));
        Assert.Equal(known.Length + 1, Texts().Length);

        string[] Texts()
        {
            using ChunkDatabase database = _retro.Database();
            return [.. database.Documents.Select(document => document.ContentHash)];
        }
    }

    [Fact]
    public void What_is_gone_or_held_out_is_removed_where_that_is_asked_for()
    {
        _retro.Build();
        string held, gone;
        using (ChunkDatabase database = _retro.Database(), heldOut = _retro.Database("work/held-out"))
        {
            (held, gone) = (heldOut.Documents[0].Id, database.Documents[0].Id);
        }

        string removed = _retro.Done("update", "--database", "work", "--remove", held, "--compact");
        Assert.Contains("19 documents (19 before)", removed, StringComparison.Ordinal);
        Assert.Contains($"{Path.Combine("work", "held-out")}: 1 document removed", removed, StringComparison.Ordinal);
        using (ChunkDatabase heldOut = _retro.Database("work/held-out"))
        {
            Assert.Equal((4, 1), (heldOut.Documents.Count, heldOut.SegmentCount));
        }

        File.Delete(_retro[$"docs/{gone}"]);
        File.Delete(_retro[$"docs/{held}"]);
        _retro.WriteFile("news/ferry.md", "The ferry crosses where the old bridge was, every morning.\n");
        _retro.Done("update", "--database", "work", "--add", "news");
        string[] update = ["update", "--database", "work", "--add", "docs"];
        Assert.Contains($"no more where it came from: 1 document, such as {gone} (--remove-gone)", _retro.Done(update), StringComparison.Ordinal);
        string without = _retro.Done([.. update, "--remove-gone"]);
        Assert.Contains("19 documents (20 before)", without, StringComparison.Ordinal);
        Assert.Contains("look for what is gone: done in ", without, StringComparison.Ordinal);
        using (ChunkDatabase database = _retro.Database())
        {
            Assert.DoesNotContain(gone, database.Documents.Select(document => document.Id));
            Assert.Contains("../news/ferry.md", database.Documents.Select(document => document.Id));
        }

        Assert.Contains("--add needs the path", _retro.Run("update", "--database", "work", "--add", "").Errors, StringComparison.Ordinal);

        // A disk that is away.
        _retro.WriteFile("disk/mill.md", "The mill stands where the river leaves the valley.\n");
        Directory.CreateSymbolicLink(_retro["docs/disk"], _retro["disk"]);
        _retro.Done("update", "--database", "work", "--add", "docs");
        Directory.Move(_retro["disk"], _retro["away"]);
        ChildProcess.Outcome refused = _retro.Run("update", "--database", "work", "--add", "docs", "--remove-gone");
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("disk/mill.md is gone cannot be told, and nothing was removed", refused.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("still there", _retro.Done("update", "--database", "work", "--add", "docs"), StringComparison.Ordinal);
        File.Delete(_retro["docs/disk"]);

        // A folder, named as completion names it.
        _retro.WriteFile("docs/sub/ox.md", "An ox pulls the barge.\n");
        _retro.WriteFile("docs/sub/mule.md", "A mule pulls the cart.\n");
        _retro.Done("update", "--database", "work", "--add", "docs/sub/");
        File.Delete(_retro["docs/sub/ox.md"]);
        Assert.Contains(
            "still there, though no more where it came from: 1 document, such as sub/ox.md",
            _retro.Done("update", "--database", "work", "--add", "docs/sub/"),
            StringComparison.Ordinal);
        Assert.Contains(", 1 removed", _retro.Done("update", "--database", "work", "--add", "docs/sub/", "--remove-gone"), StringComparison.Ordinal);
    }

    /// <summary>As of a database that was built by the library; that nothing was gone would be believed.</summary>
    [Fact]
    public void What_is_gone_is_not_asked_of_a_folder_that_does_not_know_what_it_was_built_of()
    {
        _retro.Build();
        File.Delete(_retro["work/retro.json"]);
        File.Delete(_retro["docs/river-0.md"]);
        ChildProcess.Outcome refused = _retro.Run("update", "--database", "work", "--add", "docs", "--remove-gone");
        Assert.Equal(1, refused.ExitCode);
        Assert.StartsWith("Of which corpus the database was built is in no retro.json (", refused.Errors, StringComparison.Ordinal);
        Assert.Contains("leave out --remove-gone.", refused.Errors, StringComparison.Ordinal);
        using ChunkDatabase database = _retro.Database();
        Assert.Equal((19, 1), (database.Documents.Count, database.SegmentCount));
    }

    /// <summary>The last held-out document goes as any other does, and the rest of the command is done too.</summary>
    [Fact]
    public void All_that_was_held_out_can_be_removed()
    {
        _retro.Build();
        string kept, gone;
        string[] held;
        using (ChunkDatabase database = _retro.Database(), heldOut = _retro.Database("work/held-out"))
        {
            (gone, kept, held) = (database.Documents[0].Id, database.Documents[1].Id, [.. heldOut.Documents.Select(document => document.Id)]);
        }

        string removed = _retro.Done(["update", "--database", "work", "--remove", gone, .. held.SelectMany(id => new[] { "--remove", id }), "--compact"]);
        Assert.Contains("18 documents (19 before)", removed, StringComparison.Ordinal);
        Assert.Contains($"{Path.Combine("work", "held-out")}: 5 documents removed, the last", removed, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_retro["work/held-out"]));
        Assert.Contains("17 documents (18 before)", _retro.Done("update", "--database", "work", "--remove", kept), StringComparison.Ordinal);
    }

    /// <summary>Which of several files describes a type is known where all are read.</summary>
    [Fact]
    public void A_part_of_documentation_that_is_added_alone_changes_nothing_of_other_files()
    {
        const string Head = "<doc><assembly><name>Acme</name></assembly><members><member name=\"T:Acme.Foo\"><summary>A file of stones.</summary></member>";
        const string Opens = "<member name=\"M:Acme.Foo.Open\"><summary>Opens the gate to the harbor.</summary></member>";
        const string Async = "<member name=\"M:Acme.Foo.OpenAsync\"><summary>Opens the gate to the river, and goes on.</summary></member>";
        _retro.WriteFile("pkg/lib/net8.0/Acme.xml", $"{Head}{Opens}{Async}</members></doc>");
        _retro.WriteFile("pkg/lib/netstandard2.0/Acme.xml", $"{Head}{Opens}</members></doc>");
        _retro.Done("build", "--corpus", "pkg", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0");
        (string, string, string)[] before = All();
        Assert.Contains(
            "0 new, 0 replaced, 1 unchanged, 0 removed",
            _retro.Done("update", "--database", "work", "--add", "pkg/lib/netstandard2.0", "--remove-gone"),
            StringComparison.Ordinal);
        Assert.Equal(before, All());

        (string, string, string)[] All()
        {
            using ChunkDatabase database = _retro.Database();
            return [.. database.Documents.Select(document => (document.Id, document.Location, document.ContentHash))];
        }
    }

    /// <summary>What is added alone is named and cleaned as with what it is added to, and held-out text that alone is named changes nothing.</summary>
    [Fact]
    public void A_page_that_is_added_alone_takes_its_place()
    {
        const string Footer = "Copyright of the harbor, all rights reserved.";
        for (int i = 0; i < 12; i++)
        {
            _retro.WriteFile($"docs/guide/{i}.txt", $"The river number {i} has {7 * i} stones and {i * i} steps.\n{Footer}");
        }

        string[] clean = ["--clean", "unicode", "--clean", "exact", "--clean", "lines", "--clean", "near"];
        _retro.Done(["build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0.1", .. clean]);
        string held, known;
        using (ChunkDatabase heldOut = _retro.Database("work/held-out"))
        {
            held = heldOut.Documents[0].Id;
            known = held == "guide/0.txt" ? "guide/1.txt" : "guide/0.txt";
        }

        string only = _retro.Done("update", "--database", "work", "--add", Path.Combine("docs", held), "--json", "update.json");
        Assert.Contains("nearly repeating what is: 1 document", only, StringComparison.Ordinal);
        Assert.Equal((0, 0, 1), Counts("new", "removed", "heldOut"));
        _retro.Done("update", "--database", "work", "--add", Path.Combine("docs", known), "--json", "update.json");
        Assert.Equal((0, 0, 1), Counts("new", "replaced", "unchanged"));

        string text = File.ReadAllText(_retro[Path.Combine("docs", known)]);
        _retro.WriteFile("news/copy.txt", text);
        _retro.WriteFile($"docs/{known}", text.Replace("stones", "boats", StringComparison.Ordinal));
        string part = _retro.Done("update", "--database", "work", "--add", Path.Combine("docs", "guide"), "--json", "update.json");
        Assert.Contains("0 new, 1 replaced, 10 unchanged, 0 removed", part, StringComparison.Ordinal);
        Assert.Contains("near duplicates were looked for among what was added alone", part, StringComparison.Ordinal);
        Assert.DoesNotContain("Copyright", _retro.Done("inspect", "--database", "work", "--document", known), StringComparison.Ordinal);
        _retro.Done("update", "--database", "work", "--add", "news", "--json", "update.json");
        Assert.Equal((1, 0, 0), Counts("new", "replaced", "repeated"));
        _retro.WriteFile("news/again.txt", text);
        string again = _retro.Done("update", "--database", "work", "--add", Path.Combine("news", "again.txt"), "--json", "update.json");
        Assert.Equal((0, 0, 1), Counts("new", "replaced", "repeated"));
        Assert.Contains("such as that of ../news/copy.txt", again, StringComparison.Ordinal);

        // What holds the corpus would bring all of it a second time, called otherwise.
        ChildProcess.Outcome above = _retro.Run("update", "--database", "work", "--add", ".");
        Assert.Equal(2, above.ExitCode);
        Assert.Contains("the corpus that the database was built of", above.Errors, StringComparison.Ordinal);

        (int, int, int) Counts(string one, string two, string three)
        {
            JsonObject update = _retro.Json("update.json");
            return ((int)update[one]!, (int)update[two]!, (int)update[three]!);
        }
    }

    /// <summary>What a build would leave out does not stay from before: an emptied document, one that became a copy of another.</summary>
    [Fact]
    public void What_was_emptied_or_became_a_copy_is_removed()
    {
        _retro.WriteFile("docs/a.txt", "The river runs to the harbor, past the old bridge.");
        _retro.WriteFile("docs/b.txt", "The mountain stands over the valley, and nobody climbs it.");
        _retro.WriteFile("docs/c.jsonl", """{"id": "c", "text": "The keeper sleeps at noon.", "labels": ["board"]}""");
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0");
        _retro.WriteFile("docs/b.txt", "The river runs to the harbor, past the old bridge.");
        _retro.WriteFile("docs/c.jsonl", """{"id": "c", "text": ""}""");
        string done = _retro.Done("update", "--database", "work", "--add", "docs", "--json", "update.json");
        Assert.Contains("taken out by the cleaning, or held out: 2 documents", done, StringComparison.Ordinal);
        Assert.Equal((1, 2), ((int)_retro.Json("update.json")["documents"]!, (int)_retro.Json("update.json")["withdrawn"]!));
        using ChunkDatabase database = _retro.Database();
        Assert.Equal(["a.txt"], database.Documents.Select(document => document.Id));
    }
}
