using System.Text;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Search;
using Retro.Vectors;

namespace Retro.Tests.Database;

/// <summary>Documents are added, replaced and removed; whatever is done, the database reads as one that was built of what is there now.</summary>
public sealed class ChunkDatabaseUpdateTests : IDisposable
{
    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    /// <summary>The copy has checksums of its own, with which the damage would be right.</summary>
    [Theory]
    [InlineData("tokens.bin")]
    [InlineData("documents.bin")]
    [InlineData("segments/1/tokens.bin")]
    public void What_is_damaged_is_not_copied_by_compacting(string name)
    {
        string folder = _databases.Folder(), path = Path.Combine(folder, name);
        _databases.Build(SearchDatabase.Documents(10, seed: 1)).Dispose();
        ChunkDatabaseUpdate.Apply(folder, [TestDatabases.Document("new", "some text")], ["d1"], TestDatabases.Bytes).Database.Dispose();
        byte[] whole = File.ReadAllBytes(path), changed = [.. whole];
        changed[^(name.Contains("tokens", StringComparison.Ordinal) ? 8 * sizeof(int) : 6)] ^= 1; // a letter is another, of the text or the location
        File.WriteAllBytes(path, changed);
        Dictionary<string, string> before = TestDatabases.Contents(folder);

        Assert.Contains($"'{path}' has checksum", Assert.Throws<DatabaseException>(() => DatabaseCompaction.Compact(folder)).Message, StringComparison.Ordinal);
        Assert.Equal(before, TestDatabases.Contents(folder));
        File.WriteAllBytes(path, whole);
        DatabaseCompaction.Compact(folder).Dispose();
        ChunkDatabase.Open(folder, verify: true).Dispose();
    }

    /// <summary>The chunks of an entry of before are others' now.</summary>
    [Fact]
    public void An_entry_of_before_a_change_is_refused()
    {
        string folder;
        DocumentEntry[] before;
        using (ChunkDatabase database = _databases.Build(
            [TestDatabases.Document("a", "some words"), TestDatabases.Document("b", "more words than before"), TestDatabases.Document("c", "the last")]))
        {
            folder = database.Folder;
            before = [.. database.Documents];
            Assert.Equal([TestDatabases.EndOfText, .. TestDatabases.Bytes.Encode("the last"), TestDatabases.EndOfText], database.TokensOf(before[2]));
        }

        using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, [], ["a"], TestDatabases.Bytes).Database;
        Assert.Equal(before[2].TokenCount, changed.TokensOf(changed.Documents[1]).Length);
        Assert.All(before, entry => Assert.Contains(
            $"the chunks of \"{entry.Id}\"", Assert.Throws<ArgumentException>(() => changed.TokensOf(entry)).Message, StringComparison.Ordinal));
    }

    [Fact]
    public void A_changed_database_reads_as_one_that_was_built_of_what_is_there_now()
    {
        Random random = new(1);
        List<Document> there = SearchDatabase.Documents(30, seed: 1);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        for (int change = 0; change < 25; change++)
        {
            (there, Document[] add, string[] remove) = Changed(there, random, change);
            using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, add, remove, TestDatabases.Bytes).Database)
            {
                AssertReadsAs(there, changed);
            }

            using (ChunkDatabase opened = ChunkDatabase.Open(folder, verify: true))
            {
                AssertReadsAs(there, opened);
            }

            if (change % 7 == 6)
            {
                using ChunkDatabase compacted = DatabaseCompaction.Compact(folder);
                AssertReadsAs(there, compacted);
                AssertSameFiles(there, compacted);
            }
        }
    }

    /// <summary>Nothing goes on with it, and on a full disk it would keep the disk full.</summary>
    [Theory]
    [InlineData("compact", "copy documents")]
    [InlineData("change", "encode documents")]
    [InlineData("change", "write tokens")]
    public void What_a_change_had_written_that_was_stopped_is_removed(string how, string stage)
    {
        string folder = _databases.Folder();
        _databases.Build(SearchDatabase.Documents(30, seed: 3)).Dispose();
        ChunkDatabaseUpdate.Apply(folder, [new("new", "", "some text", "")], ["d1"], TestDatabases.Bytes).Database.Dispose();
        Dictionary<string, string> before = TestDatabases.Contents(folder);
        using CancellationTokenSource stop = new();
        bool isWritten = false;
        SynchronousProgress<StageProgress> progress = new(done =>
        {
            if (done.Stage == stage)
            {
                isWritten = Directory.EnumerateFiles(Path.Combine(folder, "segments", "2"), "*.bin", SearchOption.AllDirectories).Any();
                stop.Cancel();
            }
        });
        Assert.ThrowsAny<OperationCanceledException>(() => how == "compact"
            ? DatabaseCompaction.Compact(folder, null, progress, stop.Token)
            : ChunkDatabaseUpdate.Apply(
                folder, [new("more", "", "some more text", "")], ["d2"], TestDatabases.Bytes, null, null, progress, stop.Token).Database);
        Assert.True(isWritten);
        Assert.Equal(before, TestDatabases.Contents(folder));
    }

    [Fact]
    public void A_change_that_finds_the_disk_full_gives_its_room_back()
    {
        using MountedDisk disk = new("256k");
        string folder = disk["db"];
        ChunkDatabaseBuilder.Build(folder, SearchDatabase.Documents(30, seed: 3), TestDatabases.Bytes, new() { ChunkLength = 8 }).Dispose();
        ChunkDatabaseUpdate.Apply(folder, [], ["d1"], TestDatabases.Bytes).Database.Dispose();
        long free = new DriveInfo(disk.Path).AvailableFreeSpace;
        Document large = new("large", "", new string('x', (int)free), "");
        Assert.Contains(
            "space",
            Assert.Throws<DatabaseException>(() => ChunkDatabaseUpdate.Apply(folder, [large], [], TestDatabases.Bytes).Database).Message,
            StringComparison.Ordinal);
        Assert.InRange(new DriveInfo(disk.Path).AvailableFreeSpace, free - (16 << 10), free); // a folder, and a lock
    }

    /// <summary>As on systems that delete no file while somebody has it open, who may be a server that answers.</summary>
    [Fact]
    public void What_cannot_be_deleted_yet_hinders_no_change_and_goes_with_a_later_one()
    {
        string folder = _databases.Folder(), left = Path.Combine(folder, "segments", "1");
        List<Document> there = SearchDatabase.Documents(5, seed: 6);
        _databases.Build(there).Dispose();
        ChunkDatabaseUpdate.Apply(folder, [new("new", "", "some text", "")], [], TestDatabases.Bytes).Database.Dispose();
        Document changed = new("new", "", "some other text", ""), more = new("more", "", "some more text", "");
        List<string> told = [];
        using (new MountedDisk("64k", Path.Combine(left, "held")))
        {
            ChunkDatabaseUpdate.Apply(folder, [changed], [], TestDatabases.Bytes).Database.Dispose();
            using (ChunkDatabase database = ChunkDatabaseUpdate.Apply(folder, [more], [], TestDatabases.Bytes).Database)
            {
                AssertReadsAs([.. there, changed, more], database);
            }

            Assert.Equal(["held", WriterLock.FileName], Directory.GetFileSystemEntries(left).Select(Path.GetFileName).Order());
            using ChunkDatabase compacted = DatabaseCompaction.Compact(
                folder, progress: new SynchronousProgress<StageProgress>(done => told.Add($"{done.Message}")));
            AssertReadsAs([.. there, changed, more], compacted);
            Assert.Contains("cannot be deleted yet", told[^1], StringComparison.Ordinal);
        }

        ChunkDatabaseUpdate.Apply(folder, [], ["more"], TestDatabases.Bytes).Database.Dispose();
        Assert.False(Directory.Exists(left));
    }

    [Fact]
    public void A_document_that_is_removed_and_added_in_one_change_is_there_whether_or_not_it_is_the_same()
    {
        List<Document> there = SearchDatabase.Documents(5, seed: 6);
        _databases.Build(there).Dispose();
        Document changed = there[1] with { Text = "something else" };
        using ChunkDatabase database = ChunkDatabaseUpdate.Apply(
            _databases.Folder(), [there[0], changed], [there[0].Id, changed.Id], TestDatabases.Bytes).Database;
        AssertReadsAs([.. there.Skip(2), there[0], changed], database);
    }

    [Fact]
    public void A_removed_document_is_gone_from_the_bytes_once_the_database_is_compacted()
    {
        // Bytes are the tokens, so that a text that no other holds is found in the files as it stands.
        const string Secret = "the combination of the safe is 7351";
        List<Document> there = SearchDatabase.Documents(30, seed: 2);
        using (ChunkDatabase built = _databases.Build([.. there, new("secret", "Secret title", Secret, "safe.txt")]))
        {
            KeywordNeighborSource.Build(built).Dispose();
        }

        string folder = _databases.Folder();
        Assert.True(Holds(folder, Secret, "Secret title"));
        using (ChunkDatabase removed = ChunkDatabaseUpdate.Apply(folder, [], ["secret"], TestDatabases.Bytes).Database)
        {
            Assert.DoesNotContain("secret", removed.Documents.Select(document => document.Id));
        }

        Assert.True(Holds(folder, Secret, "Secret title"));
        DatabaseCompaction.Compact(folder).Dispose();
        Assert.False(Holds(folder, Secret) || Holds(folder, "Secret title"));

        // So it is where it was added and removed later, and where it was replaced.
        ChunkDatabaseUpdate.Apply(folder, [new("again", "Secret title", Secret, "safe.txt")], [], TestDatabases.Bytes).Database.Dispose();
        ChunkDatabaseUpdate.Apply(folder, [new("again", "Title", "nothing is said here", "safe.txt")], [], TestDatabases.Bytes).Database.Dispose();
        DatabaseCompaction.Compact(folder).Dispose();
        Assert.False(Holds(folder, Secret) || Holds(folder, "Secret title"));
        using ChunkDatabase database = ChunkDatabase.Open(folder, verify: true);
        AssertReadsAs([.. there, new("again", "Title", "nothing is said here", "safe.txt")], database);
    }

    /// <summary>Stopped between the new manifest and the removal of what it does without: whoever writes next removes it, and nothing else.</summary>
    [Theory]
    [InlineData("compacted")]
    [InlineData("changed")]
    [InlineData("built anew")]
    public void What_a_stopped_writer_would_have_removed_is_removed_by_the_next(string how)
    {
        List<Document> there = SearchDatabase.Documents(30, seed: 9), without = there[1..];
        ChunkDatabaseOptions options = new() { ChunkLength = 8 };
        string old = _databases.Folder("old"), done = _databases.Folder("done");
        using (ChunkDatabase database = ChunkDatabaseBuilder.Build(old, there, TestDatabases.Bytes, options))
        {
            Make(database);
        }

        if (how == "compacted")
        {
            ChunkDatabaseUpdate.Apply(old, [], [there[0].Id], TestDatabases.Bytes).Database.Dispose();
        }
        else if (how == "changed")
        {
            // What is made of several segments together belongs to one state of them alone.
            string last = there[^1].Id;
            (there, without) = (there[..^1], there[1..^1]);
            using ChunkDatabase database = ChunkDatabaseUpdate.Apply(old, [], [last], TestDatabases.Bytes).Database;
            Make(database);
        }

        TestDatabases.Copy(old, done);
        Write(done);
        Dictionary<string, string> expected = TestDatabases.Contents(done);
        DatabaseManifest manifest = DatabaseManifest.Load(done).After(DatabaseManifest.Load(old));
        Assert.NotNull(manifest.Leaving);

        string again = Stopped("again");
        Write(again);
        Assert.Equal(expected, TestDatabases.Contents(again));

        string made = Stopped("made");
        using (ChunkDatabase opened = ChunkDatabase.Open(done))
        {
            Make(opened);
        }

        using (ChunkDatabase opened = ChunkDatabase.Open(made, verify: true))
        {
            AssertReadsAs(without, opened);
            Make(opened);
        }

        Assert.Equal(TestDatabases.Contents(done), TestDatabases.Contents(made));

        // A manifest of somebody else's cannot have anything else removed.
        string manifestPath = Path.Combine(made, DatabaseManifest.FileName);
        foreach (string? foreign in new[] { "../other", "segments/x/keys.bin", "sub/keys.bin", "manifest.json", "/etc/passwd", "", null })
        {
            (DatabaseManifest.Load(done) with { Leaving = [foreign!] }).Save(made);
            Assert.Contains($"'{foreign}'", Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(made)).Message, StringComparison.Ordinal);
        }

        string Stopped(string name)
        {
            string folder = _databases.Folder(name);
            TestDatabases.Copy(old, folder);
            foreach (string file in Directory.EnumerateFiles(done, "*", SearchOption.AllDirectories))
            {
                string to = Path.Combine(folder, Path.GetRelativePath(done, file));
                Directory.CreateDirectory(Path.GetDirectoryName(to)!);
                File.Copy(file, to, overwrite: true);
            }

            manifest.Save(folder);
            if (manifest.Home != 0)
            {
                manifest.Save(manifest.HomeIn(folder));
            }

            return folder;
        }

        void Write(string folder)
        {
            if (how == "compacted")
            {
                DatabaseCompaction.Compact(folder).Dispose();
            }
            else if (how == "built anew")
            {
                ChunkDatabaseOptions anew = options with { StartOver = DatabaseManifest.Load(folder).Leaving is null };
                ChunkDatabaseBuilder.Build(folder, without, TestDatabases.Bytes, anew).Dispose();
            }
            else if (DatabaseManifest.Load(folder).Leaving is null)
            {
                ChunkDatabaseUpdate.Apply(folder, [], [there[0].Id], TestDatabases.Bytes).Database.Dispose();
            }
            else
            {
                ChunkDatabaseUpdate.Apply(folder, [], [], TestDatabases.Bytes).Database.Dispose();
            }
        }

        void Make(ChunkDatabase database)
        {
            DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), new() { Engine = VectorEngine.Exact }).Dispose();
            using KeywordNeighborSource words = KeywordNeighborSource.Build(database);
            NeighborTable.Build(database, words, 2).Dispose();
        }
    }

    [Fact]
    public void Files_are_named_by_where_they_lie_whatever_was_changed_and_compacted()
    {
        List<Document> there = SearchDatabase.Documents(12, seed: 8);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        ChunkDatabaseUpdate.Apply(folder, [], [there[0].Id], TestDatabases.Bytes).Database.Dispose();
        using (ChunkDatabase compacted = DatabaseCompaction.Compact(folder))
        {
            KeywordNeighborSource.Build(compacted).Dispose();
            AssertThere(3, compacted);
        }

        using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(
            folder, [TestDatabases.Document("new", "a text that is new here")], [there[1].Id], TestDatabases.Bytes).Database;
        using KeywordNeighborSource words = KeywordNeighborSource.Build(changed);
        NeighborTable.Build(changed, words, 2).Dispose();
        AssertThere(3 + 3 + 2, changed); // with what was removed, and the table

        static void AssertThere(int count, ChunkDatabase database)
        {
            Assert.Equal(count, database.Files.Count);
            Assert.All(database.Files, file => Assert.Equal(file.Bytes, new FileInfo(Path.Combine(database.Folder, file.Name)).Length));
        }
    }

    [Fact]
    public void What_is_to_go_by_a_manifest_from_Windows_goes_here_too()
    {
        string folder = _databases.Folder(), left = Path.Combine(folder, "segments", "7", "keys.bin");
        _databases.Build(SearchDatabase.Documents(5, seed: 3)).Dispose();
        Directory.CreateDirectory(Path.GetDirectoryName(left)!);
        File.WriteAllText(left, "keys");
        (DatabaseManifest.Load(folder) with { Leaving = ["segments\\7\\keys.bin"] }).Save(folder);
        using ChunkDatabase database = ChunkDatabase.Open(folder);
        KeywordNeighborSource.Build(database).Dispose();
        Assert.False(File.Exists(left));
        Assert.Null(DatabaseManifest.Load(folder).Leaving);
    }

    [Fact]
    public void Who_has_the_database_open_keeps_seeing_it_as_it_was()
    {
        List<Document> there = SearchDatabase.Documents(30, seed: 3), first = there;
        string folder = _databases.Folder();
        using ChunkDatabase before = _databases.Build(there);
        using KeywordNeighborSource source = KeywordNeighborSource.Build(before);
        NeighborQuery[] queries = [new(TestDatabases.Text(before, 3), [])];
        long[] answer = source.Ask(queries, 9).Chunks;
        ChunkDatabaseUpdate.Apply(folder, [new("new", "", "a text that is new here", "")], [there[0].Id, there[5].Id], TestDatabases.Bytes).Database.Dispose();
        AssertReadsAs(first, before);
        Assert.Equal(answer, source.Ask(queries, 9).Chunks);

        using ChunkDatabase changed = ChunkDatabase.Open(folder);
        List<Document> second = [.. first.Where((_, i) => i is not (0 or 5)), new("new", "", "a text that is new here", "")];
        DatabaseCompaction.Compact(folder).Dispose();
        AssertReadsAs(first, before);
        AssertReadsAs(second, changed);
        Assert.Equal(answer, source.Ask(queries, 9).Chunks);

        // What it would still have to make is told to belong to another state.
        Assert.Throws<DatabaseException>(() => KeywordNeighborSource.Build(changed));
    }

    /// <summary>What is made of a database is for its documents, of which tokens know no ids and no labels.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Who_has_the_database_open_makes_nothing_for_other_documents_of_the_same_tokens(bool isChanged)
    {
        List<Document> there = SearchDatabase.Documents(10, seed: 31);
        Document added = TestDatabases.Document("new", "a text that is new here");
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        if (isChanged)
        {
            ChunkDatabaseUpdate.Apply(folder, [added], [], TestDatabases.Bytes).Database.Dispose();
        }

        using ChunkDatabase open = ChunkDatabase.Open(folder);
        using (ChunkDatabase now = isChanged
            ? ChunkDatabaseUpdate.Apply(folder, [added with { Labels = ["staff"] }], [], TestDatabases.Bytes).Database
            : ChunkDatabaseBuilder.Build(
                folder,
                there.Select(document => document with { Id = $"{document.Id}'" }),
                TestDatabases.Bytes,
                new ChunkDatabaseOptions { ChunkLength = 8, StartOver = true }))
        {
            Assert.Equal(open.Manifest.TokensHash, now.Manifest.TokensHash);
        }

        Action[] stages = [() => open.Refresh(), () => KeywordNeighborSource.Build(open).Dispose()];
        Assert.All(
            stages, stage => Assert.Contains("open it again", Assert.Throws<DatabaseException>(stage).Message, StringComparison.Ordinal));
        AssertReadsAs(isChanged ? [.. there, added] : there, open);
    }

    [Fact]
    public void What_was_begun_of_a_stage_goes_with_the_stage()
    {
        string folder = _databases.Folder();
        string[] begun = ["keys.bin.part", "keys.bin.part.txt", "keys.bin.tmp"];
        using (ChunkDatabase database = _databases.Build(SearchDatabase.Documents(5, seed: 3)))
        {
            File.WriteAllText(Path.Combine(folder, "keys.bin"), "keys");
            database.Register("keys.bin");
            Array.ForEach(begun, name => File.WriteAllText(Path.Combine(folder, name), "some"));
        }

        ChunkDatabaseUpdate.Apply(folder, [TestDatabases.Document("new", "a text")], [], TestDatabases.Bytes).Database.Dispose();
        Assert.All(begun, name => Assert.True(File.Exists(Path.Combine(folder, name))));
        DatabaseCompaction.Compact(folder).Dispose();
        Assert.DoesNotContain(Directory.GetFiles(folder), path => Path.GetFileName(path).StartsWith("keys", StringComparison.Ordinal));
    }

    [Fact]
    public void What_was_begun_of_a_stage_that_was_never_done_goes_with_the_place_it_was_begun_in()
    {
        string folder = _databases.Folder();
        string[] begun =
        [
            "keys.bin.part", "keys.bin.part.txt", "keys.1-of-2.bin", "keys.2-of-2.bin.part", "keys.2-of-2.bin.part.txt", "keys.2-of-2.bin.lock",
            "bm25.1-of-2.bin", "bm25.2-of-2.bin.tmp", "bm25.bin", "index-all.faiss.tmp",
            "neighbors-dense-0123456789ab.bin.part", "neighbors-dense-0123456789ab.bin.part.txt.tmp",
        ];

        // Shares of a build that is to replace the database take days, and of a whole file the name alone does not say whose it is.
        string[] others =
        [
            "notes.part", "keys.txt", "neighbors-of-mine.bin", "keys.1-of-3.bin", "tokens.1-of-2.bin", "tokens.2-of-2.bin.part", "index.faiss", "recall.json",
            "neighbors-dense-ba9876543210.bin",
        ];
        _databases.Build(SearchDatabase.Documents(5, seed: 3)).Dispose();
        Array.ForEach(begun, name => File.WriteAllText(Path.Combine(folder, name), "RETROBM1"));
        Array.ForEach(others, name => File.WriteAllText(Path.Combine(folder, name), "some"));
        ChunkDatabaseUpdate.Apply(folder, [TestDatabases.Document("new", "a text")], [], TestDatabases.Bytes).Database.Dispose();
        Assert.All(begun, name => Assert.True(File.Exists(Path.Combine(folder, name)), name));

        // A share that another machine is making is that machine's.
        using (ShareName.Hold(Path.Combine(folder, "keys.1-of-3.bin")))
        {
            List<string> told = [];
            DatabaseCompaction.Compact(
                folder, progress: new Reports<StageProgress>(report => told.AddRange(report.Message is { } message ? [message] : []))).Dispose();
            Assert.Contains("tokens.1-of-2.bin, tokens.2-of-2.bin", Assert.Single(told), StringComparison.Ordinal);
        }

        Assert.DoesNotContain(begun, name => File.Exists(Path.Combine(folder, name)));
        Assert.All(others, name => Assert.True(File.Exists(Path.Combine(folder, name)), name));
        Assert.Null(DatabaseManifest.Load(folder).Leaving);
    }

    /// <summary>Of a rebuild that was stopped and given up, whose number no later one has.</summary>
    [Fact]
    public void Documents_that_were_begun_to_be_written_go_with_the_next_change()
    {
        string folder = _databases.Folder();
        string[] begun = ["documents-1.bin.tmp", "removed-7.bin.tmp"], others = ["documents-2.bin.tmp", "documents-of-mine.bin.tmp"];
        _databases.Build(SearchDatabase.Documents(5, seed: 3)).Dispose();
        File.Copy(Path.Combine(folder, "documents.bin"), Path.Combine(folder, begun[0]));
        File.WriteAllBytes(Path.Combine(folder, begun[1]), RemovedDocuments.Magic.ToArray());
        Array.ForEach(others, name => File.WriteAllText(Path.Combine(folder, name), "some of somebody else's"));
        ChunkDatabaseUpdate.Apply(folder, [TestDatabases.Document("new", "a text")], [], TestDatabases.Bytes).Database.Dispose();
        Assert.DoesNotContain(begun, name => File.Exists(Path.Combine(folder, name)));
        Assert.All(others, name => Assert.True(File.Exists(Path.Combine(folder, name)), name));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_unfinished_build_outlives_what_changes_no_document_and_goes_with_a_change_which_says_so(bool compacts)
    {
        string folder = _databases.Folder(), journal = Path.Combine(folder, "building", "journal.jsonl");
        List<Document> documents = SearchDatabase.Documents(5, seed: 3);
        _databases.Build(documents).Dispose();
        Directory.CreateDirectory(Path.GetDirectoryName(journal)!);
        File.WriteAllText(journal, "begun");
        (DatabaseManifest.Load(folder) with { Leaving = ["keys.bin"] }).Save(folder); // as a change has left it that was stopped
        using (ChunkDatabase database = ChunkDatabase.Open(folder))
        {
            KeywordNeighborSource.Build(database).Dispose();
        }

        Assert.True(File.Exists(journal));
        Assert.Null(DatabaseManifest.Load(folder).Leaving);
        List<string> told = [];
        Reports<StageProgress> progress = new(report => told.AddRange(report.Message is { } message ? [message] : []));
        (DatabaseManifest.Load(folder) with { Leaving = ["keys.bin"] }).Save(folder);
        ChunkDatabaseUpdate.Apply(folder, documents, [], TestDatabases.Bytes, progress: progress).Database.Dispose(); // no news
        Assert.Empty(told);
        Assert.True(File.Exists(journal));
        Assert.Null(DatabaseManifest.Load(folder).Leaving);
        using ChunkDatabase changed = compacts
            ? DatabaseCompaction.Compact(folder, progress: progress)
            : ChunkDatabaseUpdate.Apply(folder, [TestDatabases.Document("new", "a text")], [], TestDatabases.Bytes, progress: progress).Database;
        Assert.Single(told, message => message.Contains("unfinished build", StringComparison.Ordinal));
        Assert.False(File.Exists(journal));
    }

    /// <summary>What cannot be seen is taken away by many tokenizers.</summary>
    [Fact]
    public void A_document_whose_text_has_no_token_takes_out_the_one_of_its_id()
    {
        const string Unseen = "\u200b";
        TokenizerFacts tokenizer = TestDatabases.Bytes with { Encode = text => text == Unseen ? [] : TestDatabases.Bytes.Encode(text) };
        Document[] documents = [new("a", "", "a text of some words", ""), new("b", "", "another text", ""), new("c", "", "the third", "")];
        Document[] unseen = [.. documents.Select(document => document with { Text = Unseen })];
        string folder = _databases.Folder();
        _databases.Build(documents[..2]).Dispose();
        Dictionary<string, string> before = TestDatabases.Contents(folder);
        Assert.Contains("none has text", Assert.Throws<CorpusException>(() => Apply(unseen[2]).Dispose()).Message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => Apply(unseen).Dispose()); // nothing would be left
        Apply(documents[0], unseen[2]).Dispose(); // no news
        Assert.Equal(before[DatabaseManifest.FileName], TestDatabases.Contents(folder)[DatabaseManifest.FileName]);
        using (ChunkDatabase without = Apply(unseen[0]))
        {
            AssertReadsAs([documents[1]], without);
        }

        using ChunkDatabase changed = Apply(unseen[1], documents[2]);
        AssertReadsAs([documents[2]], changed);

        ChunkDatabase Apply(params Document[] add) => ChunkDatabaseUpdate.Apply(folder, add, [], tokenizer).Database;
    }

    [Fact]
    public void Only_what_is_new_is_cut_and_what_is_there_as_it_is_costs_nothing()
    {
        List<Document> there = SearchDatabase.Documents(20, seed: 4);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        Dictionary<string, string> before = TestDatabases.Contents(folder);
        int encoded = 0;
        TokenizerFacts counting = TestDatabases.Bytes with { Encode = text => Counted(text) };
        ChunkDatabaseUpdate.Apply(folder, there, [], counting).Database.Dispose();
        Assert.Equal(0, encoded);
        Assert.Equal(before, TestDatabases.Contents(folder));

        Document[] relabeled = [there[3] with { Labels = ["a"] }, there[4] with { Title = "other" }, new("new", "", "new", "")];
        using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, [.. there.Take(3), .. relabeled], [], counting).Database;
        Assert.Equal(3, encoded);
        AssertReadsAs([.. there.Where((_, i) => i is not (3 or 4)), .. relabeled], changed);
        Assert.All(before, file => Assert.True(file.Key == DatabaseManifest.FileName || TestDatabases.Contents(folder)[file.Key] == file.Value));

        int[] Counted(string text)
        {
            Interlocked.Increment(ref encoded);
            return TestDatabases.Bytes.Encode(text);
        }
    }

    [Fact]
    public void A_document_without_text_takes_out_the_one_of_its_id()
    {
        Document[] documents = [new("a", "", "a text of some words", ""), new("b", "", "another text", ""), new("c", "", "the third", "")];
        Document[] empty = [.. documents.Select(document => document with { Text = "" })];
        string folder = _databases.Folder();
        _databases.Build([.. documents[..2], empty[2]]).Dispose();
        Dictionary<string, string> before = TestDatabases.Contents(folder);

        // As it was built: one that was empty then is no news.
        ChunkDatabaseUpdate.Apply(folder, [.. documents[..2], empty[2]], [], TestDatabases.Bytes).Database.Dispose();
        Assert.Equal(before, TestDatabases.Contents(folder));
        Assert.Contains("none has text", Assert.Throws<CorpusException>(() => Apply(empty[2]).Dispose()).Message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => Apply(empty).Dispose()); // nothing would be left
        Assert.Equal(before, TestDatabases.Contents(folder));

        using (ChunkDatabase without = Apply(empty[0]))
        {
            AssertReadsAs([documents[1]], without);
        }

        using ChunkDatabase changed = Apply(empty[1], documents[2]);
        AssertReadsAs([documents[2]], changed);

        ChunkDatabase Apply(params Document[] add) => ChunkDatabaseUpdate.Apply(folder, add, [], TestDatabases.Bytes).Database;
    }

    /// <summary>As if all of it had been cleaned together: what is there and stays comes first.</summary>
    [Fact]
    public void Where_no_text_is_twice_none_is_added_that_is_there()
    {
        Document[] there =
        [
            new("a", "", "one text", ""), new("b", "", "two texts", "") { Labels = ["x"] }, new("c", "", "the third", ""), new("d", "", "last", ""),
        ];
        Document[] add =
        [
            there[0], new("copy of a", "", "one text", "") { Labels = ["y"] }, new("open", "", "two texts", ""),
            new("copy of b", "", "two texts", "") { Labels = ["y", "x"] }, new("instead of c", "", "the third", ""), there[3] with { Text = "one text" },
            new("new", "", "the fifth", ""), new("moved", "", "last", ""), new("empty", "", "", ""),
        ];
        (ChunkDatabase cleaned, UpdateCounts counts) = Changed(new CorpusCleaning(CleaningStep.Unicode(), CleaningStep.ExactDuplicates()).Name);
        using (cleaned)
        {
            AssertReadsAs([there[0], there[1], add[2], add[4], add[6], add[7]], cleaned);
            Assert.Equal(new UpdateCounts(New: 4, Replaced: 0, Unchanged: 1, Repeated: 3, Removed: 2) { RepeatOf = "a" }, counts);
        }

        (ChunkDatabase any, UpdateCounts all) = Changed("none");
        using (any)
        {
            AssertReadsAs([there[0], there[1], .. add[1..^1]], any);
            Assert.Equal(new UpdateCounts(New: 6, Replaced: 1, Unchanged: 1, Repeated: 0, Removed: 1), all);
        }

        DatabaseChange Changed(string cleaning)
        {
            string folder = _databases.Folder(cleaning);
            ChunkDatabaseBuilder.Build(folder, there, TestDatabases.Bytes, new() { ChunkLength = 8, Cleaning = cleaning }).Dispose();
            return ChunkDatabaseUpdate.Apply(folder, add, ["c"], TestDatabases.Bytes);
        }
    }

    [Theory]
    [InlineData(1, "changed while they were read: 'late' from late.txt has come")]
    [InlineData(-1, "changed while they were read: 1 of 2 have gone")]
    [InlineData(0, "changed while they were read: 1 of 2 have gone")]
    public void Documents_that_change_while_they_are_read_change_nothing(int more, string fault)
    {
        List<Document> there = SearchDatabase.Documents(5, seed: 5);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        int pass = 0;
        Assert.Contains(
            fault,
            Assert.Throws<DatabaseException>(() => ChunkDatabaseUpdate.Apply(folder, Changing(), [], TestDatabases.Bytes).Database).Message,
            StringComparison.Ordinal);
        using ChunkDatabase database = ChunkDatabase.Open(folder);
        AssertReadsAs(there, database);

        // Compared, then written.
        IEnumerable<Document> Changing()
        {
            return new[] { 0 }.SelectMany(_ =>
            {
                bool again = ++pass > 1;
                string text = again && more == 0 ? "" : "another text"; // emptied in the meantime
                Document[] documents = [new("new", "", "a", ""), new(there[0].Id, "", text, ""), new("late", "", "another text, too", "late.txt")];
                return documents[..(2 + (again ? more : 0))];
            });
        }
    }

    [Fact]
    public void What_cannot_be_done_is_said_and_changes_nothing()
    {
        List<Document> there = SearchDatabase.Documents(5, seed: 5);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        Dictionary<string, string> before = TestDatabases.Contents(folder);
        Refused("no document with the id 'nowhere'", () => ChunkDatabaseUpdate.Apply(folder, [], ["nowhere"], TestDatabases.Bytes).Database);
        Refused("Nothing would be left", () => ChunkDatabaseUpdate.Apply(folder, [], there.Select(document => document.Id), TestDatabases.Bytes).Database);
        Refused("have the id 'x'", () => ChunkDatabaseUpdate.Apply(folder, [new("x", "", "a", ""), new("x", "", "b", "")], [], TestDatabases.Bytes).Database);
        Refused("half a surrogate pair", () => ChunkDatabaseUpdate.Apply(folder, [new("x\uD800", "", "a", "")], [], TestDatabases.Bytes).Database);
        Refused(
            "half a surrogate pair",
            () => ChunkDatabaseUpdate.Apply(folder, [new("x", "", "a", "") { Labels = ["secret", "\uDFFF"] }], [], TestDatabases.Bytes).Database);
        Refused("half a surrogate pair", () => _databases.Build([.. there, new("x\uD800", "", "a", "")], name: "none"));
        Directory.Delete(_databases.Folder("none"), recursive: true);
        Refused(
            "the one in use is",
            () => ChunkDatabaseUpdate.Apply(folder, [new("x", "", "a", "")], [], TestDatabases.Bytes with { VocabularySize = 300 }).Database);
        Refused("There is no database", () => ChunkDatabaseUpdate.Apply(_databases.Folder("none"), [new("x", "", "a", "")], [], TestDatabases.Bytes).Database);
        Refused("There is no database", () => DatabaseCompaction.Compact(_databases.Folder("none")));
        using (WriterLock.Take(folder, "test"))
        {
            Refused("is being changed by", () => ChunkDatabaseUpdate.Apply(folder, [new("x", "", "a", "")], [], TestDatabases.Bytes).Database);
            Refused("is being changed by", () => DatabaseCompaction.Compact(folder));
        }

        DatabaseCompaction.Compact(folder).Dispose();
        Assert.Equal(before, TestDatabases.Contents(folder));
        Assert.False(Directory.Exists(_databases.Folder("none")));

        // A database that was changed is not what its documents build: it is opened or replaced, not mistaken.
        ChunkDatabaseUpdate.Apply(folder, [new("x", "", "a", "")], [], TestDatabases.Bytes).Database.Dispose();
        Refused("documents were added or removed since", () => _databases.Build(there));
        ChunkDatabaseOptions options = new() { ChunkLength = 8, StartOver = true };
        using ChunkDatabase rebuilt = ChunkDatabaseBuilder.Build(folder, there, TestDatabases.Bytes, options);
        AssertReadsAs(there, rebuilt);
        Assert.False(Directory.Exists(Path.Combine(folder, "segments", "1")));

        static void Refused(string why, Func<ChunkDatabase> change)
            => Assert.Contains(why, Assert.Throws<DatabaseException>(() => change().Dispose()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Everything_can_be_replaced_and_what_was_replaced_wholly_leaves_no_segment()
    {
        List<Document> there = SearchDatabase.Documents(12, seed: 6);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        for (int round = 0; round < 4; round++)
        {
            there = [.. there.Select(document => document with { Text = $"{round} {document.Text}" })];
            using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, there, [], TestDatabases.Bytes).Database;
            AssertReadsAs(there, changed);
            Assert.Equal(2, changed.SegmentCount);
            Assert.Single(Directory.EnumerateDirectories(Path.Combine(folder, "segments")));
        }

        using ChunkDatabase compacted = DatabaseCompaction.Compact(folder);
        AssertSameFiles(there, compacted);
        Assert.Equal(1, compacted.SegmentCount);
    }

    /// <summary>A folder whose removal was stopped goes with the next change, as far as it had come; what somebody else has put there stays.</summary>
    [Fact]
    public void What_is_left_of_a_segment_that_was_being_removed_goes()
    {
        string folder = _databases.Folder();
        string Segments(int number) => Path.Combine(folder, "segments", $"{number}");
        _databases.Build(SearchDatabase.Documents(12, seed: 6)).Dispose();
        for (int number = 70; number < 74; number++)
        {
            Directory.CreateDirectory(Segments(number));
        }

        File.WriteAllText(Path.Combine(Segments(70), WriterLock.FileName), "");
        File.WriteAllText(Path.Combine(Segments(71), WriterLock.FileName), "");
        File.WriteAllText(Path.Combine(Segments(71), "keys.bin"), "half");
        File.WriteAllText(Path.Combine(Segments(73), "keys.bin"), "of somebody else");
        ChunkDatabaseUpdate.Apply(folder, [new("x", "", "a", "")], [], TestDatabases.Bytes).Database.Dispose();
        Assert.Equal([false, false, false, true], Enumerable.Range(70, 4).Select(number => Directory.Exists(Segments(number))));
    }

    /// <summary>Whatever moment of a change or a compaction a kill leaves, the database is as it was before or as it is after, and goes on.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_copy_of_any_moment_is_the_state_before_or_the_one_after(bool compacts)
    {
        List<Document> there = SearchDatabase.Documents(12, seed: 7);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        Document added = new("new", "", "a text that is new here", "");
        List<Document> after = [.. there.Skip(1), added];
        if (compacts)
        {
            ChunkDatabaseUpdate.Apply(folder, [added], [there[0].Id], TestDatabases.Bytes).Database.Dispose();
            there = after;
        }

        int moment = 0;
        Reports<StageProgress> copies = new(_ => TestDatabases.Copy(folder, _databases.Folder($"moment{moment++}")));
        Run(folder, copies).Dispose();
        Assert.InRange(moment, 5, 200);
        for (int copy = 0; copy < moment; copy++)
        {
            string killed = _databases.Folder($"moment{copy}");
            using (ChunkDatabase opened = ChunkDatabase.Open(killed, verify: true))
            {
                AssertReadsAs(opened.Documents.Any(document => document.Id == "new") ? after : there, opened);
            }

            using ChunkDatabase finished = Run(killed, null);
            AssertReadsAs(after, finished);
            Assert.Equal(TestDatabases.Contents(folder).Keys.Order(), TestDatabases.Contents(killed).Keys.Order());
        }

        ChunkDatabase Run(string where, IProgress<StageProgress>? progress)
        {
            if (compacts)
            {
                return DatabaseCompaction.Compact(where, progress: progress);
            }

            using ChunkDatabase now = ChunkDatabase.Open(where);
            string[] remove = [.. now.Documents.Select(document => document.Id).Where(id => id == there[0].Id)];
            return ChunkDatabaseUpdate.Apply(where, [added], remove, TestDatabases.Bytes, progress: progress).Database;
        }
    }

    [Fact]
    public void A_damaged_part_of_a_change_is_reported()
    {
        List<Document> there = SearchDatabase.Documents(12, seed: 8);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        ChunkDatabaseUpdate.Apply(folder, [new("new", "", "a text that is new here", "")], [there[0].Id], TestDatabases.Bytes).Database.Dispose();
        Random random = new(9);
        foreach (string name in new[] { "removed-1.bin", "segments/1/tokens.bin", "segments/1/documents.bin", "segments/1/manifest.json", "manifest.json" })
        {
            string path = Path.Combine(folder, name);
            byte[] whole = File.ReadAllBytes(path);
            for (int round = 0; round < 30; round++)
            {
                byte[] damaged = round % 3 == 0 ? whole[..random.Next(whole.Length)] : [.. whole];
                if (round % 3 != 0)
                {
                    damaged[random.Next(damaged.Length)] ^= (byte)random.Next(1, 256);
                }

                File.WriteAllBytes(path, damaged);
                Exception? fault = Record.Exception(() => ChunkDatabase.Open(folder, verify: true).Dispose());

                // In a manifest, some bytes mean nothing, such as the spaces.
                Assert.True(fault is DatabaseException || (fault is null && name.EndsWith(".json", StringComparison.Ordinal)), $"{name}, {round}: {fault}");
            }

            File.Delete(path);
            Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(folder));
            File.WriteAllBytes(path, whole);
        }

        using ChunkDatabase database = ChunkDatabase.Open(folder, verify: true);
        Assert.Equal(there.Count, database.Documents.Count);
        Assert.Equal(
            ["documents.bin", "removed-1.bin", "segments/1/documents.bin", "segments/1/tokens.bin", "tokens.bin"],
            database.Files.Select(file => file.Name).Order(StringComparer.Ordinal));
        Assert.All(database.Files, file => Assert.Equal(file.Bytes, new FileInfo(Path.Combine(folder, file.Name)).Length));
    }

    /// <summary>Some documents to add, some that replace others, and some to remove; and what is there then.</summary>
    internal static (List<Document> There, Document[] Add, string[] Remove) Changed(List<Document> there, Random random, int change)
    {
        string[] remove = [.. there.Where(_ => random.Next(6) == 0).Skip(1).Select(document => document.Id)];
        Document[] replace =
        [
            .. there.Where(document => random.Next(8) == 0 && !remove.Contains(document.Id))
                .Select(document => document with { Text = $"{change}{document.Text}" }),
        ];
        Document[] add =
        [
            .. replace,
            .. SearchDatabase.Documents(random.Next(5), seed: 100 + change)
                .Select(document => document with { Id = $"{change}-{document.Id}", Labels = ["new"] }),
        ];
        return ([.. there.Where(document => !remove.Contains(document.Id) && !replace.Any(other => other.Id == document.Id)), .. add], add, remove);
    }

    /// <summary>Checks everything that a database says against one that was built.</summary>
    internal static void AssertReadsAs(List<Document> documents, ChunkDatabase database)
    {
        using TestDatabases folders = new();
        using ChunkDatabase built = folders.Build(documents, database.ChunkLength);
        Assert.Equal(built.Documents.Select(Text), database.Documents.Select(Text));
        Assert.Equal(
            (built.ChunkCount, built.Manifest.ChunkCount, built.Manifest.DocumentCount, built.Manifest.TokenCount, built.Manifest.ByteCount),
            (database.ChunkCount, database.Manifest.ChunkCount, database.Manifest.DocumentCount, database.Manifest.TokenCount, database.Manifest.ByteCount));
        for (long chunk = 0; chunk < built.ChunkCount; chunk++)
        {
            Assert.Equal(built.Tokens(chunk), database.Tokens(chunk));
            Assert.Equal(
                (built.TokenCount(chunk), built.DocumentOf(chunk), built.Continuation(chunk)),
                (database.TokenCount(chunk), database.DocumentOf(chunk), database.Continuation(chunk)));
            Assert.Equal(Retrieved(built, chunk), Retrieved(database, chunk));
        }

        static string Text(DocumentEntry entry) => (entry with { Labels = [] }) + string.Join(',', entry.Labels);

        static IEnumerable<(long, bool)> Retrieved(ChunkDatabase from, long chunk)
        {
            long[] tokens = new long[20];
            bool[] valid = new bool[20];
            from.CopyRetrieved(chunk, tokens, valid);
            return tokens.Zip(valid);
        }
    }

    /// <summary>Checks that the bytes are those of a database that was built.</summary>
    private static void AssertSameFiles(List<Document> documents, ChunkDatabase database)
    {
        using TestDatabases folders = new();
        using ChunkDatabase built = folders.Build(documents, database.ChunkLength);
        Assert.Equal(built.Manifest.TokensHash, database.Manifest.TokensHash);
        Assert.Equal(built.Manifest.CorpusHash, database.Manifest.CorpusHash);
        Assert.Equal(built.Manifest.Files.Select(file => file.Sha256), database.Manifest.Files.Select(file => file.Sha256));
        Assert.Equal(
            new[] { DatabaseManifest.FileName, "segments" }.Order(),
            Directory.EnumerateFileSystemEntries(database.Folder).Select(path => Path.GetFileName(path))
                .Where(name => name is not (WriterLock.FileName or WriterLock.HolderName))
                .Order());
    }

    // As text, or as the tokens that are its bytes.
    private static bool Holds(string folder, params string[] texts)
        => texts.All(text => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Any(file =>
        {
            byte[] content = File.ReadAllBytes(file), bytes = Encoding.UTF8.GetBytes(text), tokens = [.. bytes.SelectMany(b => new byte[] { b, 0, 0, 0 })];
            return content.AsSpan().IndexOf(bytes) >= 0 || content.AsSpan().IndexOf(tokens) >= 0;
        }));
}
