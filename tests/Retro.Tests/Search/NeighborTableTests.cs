using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;

namespace Retro.Tests.Search;

public class NeighborTableTests
{
    private const int K = 8;

    [Fact]
    public void P28_rows_belong_to_their_chunks_and_hold_what_the_source_finds()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(50, seed: 41));
        using VectorIndex index = data.Index();
        using NeighborTable table = NeighborTable.Build(data["table.bin"], data.Database, data.Dense(index), K, excludeOwnDocument: true);

        Assert.Equal((data.Database.ChunkCount, K, "dense", true), (table.Rows, table.Count, table.SourceName, table.ExcludesOwnDocument));
        Assert.Equal((data.Database.Manifest.TokensHash, data.Database.Manifest.TokensHash), (table.QueryHash, table.RetrievalHash));
        for (int chunk = 0; chunk < data.Chunks.Count; chunk++)
        {
            // The row of a chunk is what its own tokens find, not those of a chunk beside it.
            data.AssertNearest(data.Chunks[chunk], table.Row(chunk), data.Database.DocumentOf(chunk));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => table.Row(table.Rows).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => table.Row(-1).Length);
    }

    /// <summary>Uncleaned text has groups of a hundred thousand: a list of them for each of their chunks would be without end.</summary>
    [Fact]
    public void Of_many_documents_with_one_text_there_is_one_list()
    {
        const int Documents = 4000;
        using SearchDatabase data = new(Enumerable.Range(0, Documents).Select(i => TestDatabases.Document($"{i}", "404")));
        using Bm25Index keywords = data.Keywords();
        INeighborSource[] sources = [new KeywordNeighborSource(data.Database, keywords), new RandomNeighborSource(data.Database)];
        foreach (INeighborSource source in sources)
        {
            using NeighborRows rows = new(data.Database, source, 1, excludeOwnDocument: true, progress: null, cancellationToken: default);
            byte[] found = new byte[512 * sizeof(long)];
            long before = GC.GetAllocatedBytesForCurrentThread();
            rows.Find(0, found);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
            Assert.All(found, one => Assert.Equal(255, one)); // -1: all others are the same document
            ExcludedChunks[] excluded = NeighborQueries.Excluded(data.Database, [rows.QueryOf(0), rows.QueryOf(Documents - 1)]);
            Assert.Equal(Documents, excluded[0].Count);
            Assert.Same(excluded[0].Ranges, excluded[1].Ranges);
        }
    }

    [Fact]
    public void P22_no_neighbor_shares_a_document_with_its_window_however_windows_are_packed()
    {
        // Planted: a document that stands there three times under other names, and documents shorter than a window.
        List<Document> documents = SearchDatabase.Documents(40, seed: 42, maximumLength: 50);
        string text = documents.MaxBy(document => document.Text.Length)!.Text;
        documents.Insert(3, TestDatabases.Document("copy one", text));
        documents.Insert(20, TestDatabases.Document("copy two", text));
        documents.Add(TestDatabases.Document("copy three", text));
        using SearchDatabase data = new(documents);
        ChunkDatabase database = data.Database;
        using VectorIndex index = data.Index();
        using Bm25Index keywords = data.Keywords();
        INeighborSource dense = data.Dense(index);
        SameDocuments same = new(database, database);
        const int Window = 4, Used = 2;
        Span<long> kept = stackalloc long[Used];
        KeywordNeighborSource words = new(database, keywords);
        int taken = 0, passedOver = 0;
        foreach (INeighborSource source in new INeighborSource[] { dense, words, new HybridNeighborSource(dense, words) })
        {
            using NeighborTable table = NeighborTable.Build(data[source.Name], database, source, 40, excludeOwnDocument: true);
            for (long first = 0; first + Window <= database.ChunkCount; first++)
            {
                int[] inWindow = Enumerable.Range(0, Window).Select(i => database.DocumentOf(first + i)).Distinct().ToArray();
                HashSet<int> groups = [.. inWindow.Select(same.Group)];
                for (long chunk = first; chunk < first + Window; chunk++)
                {
                    int found = same.Keep(database, table.Row(chunk), groups, kept);
                    // By brute force: the best of the row that share neither a document nor a document's text with the window.
                    long[] allowed = [.. table.Row(chunk)
                        .ToArray()
                        .Where(neighbor =>
                            neighbor >= 0
                                && !inWindow.Any(own => database.Documents[own].ContentHash == database.Documents[database.DocumentOf(neighbor)].ContentHash))];
                    Assert.Equal(allowed.Take(Used), kept[..found].ToArray());
                    taken += found;
                    passedOver += table.Row(chunk).ToArray().Count(neighbor => neighbor >= 0) - allowed.Length;
                    foreach (long neighbor in kept[..found])
                    {
                        Assert.DoesNotContain(
                            database.Documents[database.DocumentOf(neighbor)].ContentHash,
                            inWindow.Select(document => database.Documents[document].ContentHash));
                    }

                    if (source == dense)
                    {
                        int[] without = [.. Enumerable.Range(0, database.Documents.Count)
                            .Where(d => inWindow.Any(w => database.Documents[d].ContentHash == database.Documents[w].ContentHash))];
                        data.AssertNearest(data.Chunks[(int)chunk], kept, without);
                    }
                }
            }
        }

        Assert.True(taken > 500 && passedOver > 500, $"{taken} neighbors were taken and {passedOver} passed over: the test shows little.");
    }

    [Fact]
    public void The_filter_skips_what_is_missing_and_says_how_many_remain()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(12, seed: 43));
        SameDocuments same = new(data.Database, data.Database);
        HashSet<int> none = [], first = [same.Group(data.Database.DocumentOf(0))];
        long last = data.Database.ChunkCount - 1;
        long[] kept = new long[3];

        Assert.Equal(1, same.Keep(data.Database, [0, -1, last], first, kept));
        Assert.Equal([last, -1, -1], kept);
        Assert.Equal(0, same.Keep(data.Database, [-1, -1], none, kept));
        Assert.Equal([-1, -1, -1], kept);
        Assert.Equal(3, same.Keep(data.Database, [0, 1, 2, 3], none, kept));
        Assert.Throws<ArgumentOutOfRangeException>(() => same.Keep(data.Database, [last + 1], none, kept));
    }

    [Fact]
    public void Documents_are_the_same_by_id_by_text_and_by_a_chain_of_both()
    {
        using SearchDatabase queries = new([TestDatabases.Document("a", "one"), TestDatabases.Document("b", "two"), TestDatabases.Document("c", "three")]);
        using SearchDatabase retrieval = new([
            TestDatabases.Document("x", "four"), TestDatabases.Document("a", "five"), TestDatabases.Document("y", "five"), TestDatabases.Document("z", "two")
        ]);
        SameDocuments same = new(queries.Database, retrieval.Database);

        Assert.Equal([1, 2], same.Of(0)); // by id, and by the text of the one with that id
        Assert.Equal([3], same.Of(1));
        Assert.Empty(same.Of(2));
        long[] kept = new long[4];
        HashSet<int> window = [same.Group(0), same.Group(1)];
        Assert.Equal(1, same.Keep(retrieval.Database, [3, 2, 1, 0], window, kept));
        Assert.Equal([0, -1, -1, -1], kept);
    }

    [Fact]
    public void P24_missing_neighbors_are_minus_one_and_bring_nothing_to_the_model()
    {
        using SearchDatabase data = new([TestDatabases.Document("a", "abcdefgh"), TestDatabases.Document("b", "xyz")]);
        using VectorIndex index = data.Index();
        using NeighborTable table = NeighborTable.Build(data["table.bin"], data.Database, data.Dense(index), 4, excludeOwnDocument: true);
        long[] expected = [2, -1, -1, -1];
        Assert.Equal(expected, table.Row(0).ToArray());
        Assert.Equal(2, table.Row(2).ToArray().Count(chunk => chunk >= 0));

        long[] tokens = new long[16];
        bool[] valid = Enumerable.Repeat(true, 16).ToArray();
        data.Database.CopyRetrieved(table.Row(0)[1], tokens, valid);
        Assert.DoesNotContain(true, valid);
    }

    [Fact]
    public void A_document_is_left_out_of_another_database_by_its_id_and_by_its_text()
    {
        List<Document> documents = SearchDatabase.Documents(20, seed: 44);
        using SearchDatabase retrieval = new(documents);
        using SearchDatabase queries = new([
            documents[4] with { Text = documents[4].Text + " more" }, documents[7] with { Id = "renamed" }, TestDatabases.Document("new", "something else")
        ]);
        using VectorIndex index = retrieval.Index();
        using NeighborTable without = NeighborTable.Build(queries["without.bin"], queries.Database, retrieval.Dense(index), K, excludeOwnDocument: true);
        using NeighborTable with = NeighborTable.Build(queries["with.bin"], queries.Database, retrieval.Dense(index), K, excludeOwnDocument: false);
        int[] own = [4, 7, -1];
        for (int chunk = 0; chunk < queries.Chunks.Count; chunk++)
        {
            int document = own[queries.Database.DocumentOf(chunk)];
            retrieval.AssertNearest(queries.Chunks[chunk], without.Row(chunk), document);
            retrieval.AssertNearest(queries.Chunks[chunk], with.Row(chunk));
        }

        Assert.Same(retrieval.Database, without.Retrieval);
        without.RequireMatch(queries.Database);
        Assert.Throws<DatabaseException>(() => without.RequireMatch(retrieval.Database));
        Assert.Contains(
            retrieval.Database.Manifest.TokensHash,
            Assert.Throws<DatabaseException>(() => NeighborTable.Open(queries["without.bin"], queries.Database)).Message,
            StringComparison.Ordinal);
        using NeighborTable opened = NeighborTable.Open(queries["without.bin"], retrieval.Database);
        Assert.Equal(without.Row(1).ToArray(), opened.Row(1).ToArray());
    }

    [Fact]
    public void A_table_into_another_database_is_made_again_when_that_has_other_ids_for_the_same_tokens()
    {
        List<Document> documents = SearchDatabase.Documents(8, seed: 45);
        using SearchDatabase before = new(documents);
        using SearchDatabase queries = new([documents[4] with { Text = documents[4].Text + " more", Id = "guide" }]);
        using SearchDatabase after = new([.. documents.Select((document, i) => i == 4 ? document with { Id = "guide" } : document)]);
        using VectorIndex index = before.Index(), same = after.Index();
        DenseNeighborSource source = before.Dense(index), renamed = after.Dense(same);
        Assert.Equal(source.Identity, renamed.Identity);

        using NeighborTable first = NeighborTable.Build(queries.Database, source, K);
        Assert.Contains(first.Row(0).ToArray(), chunk => before.Database.DocumentOf(chunk) == 4);
        Assert.Throws<DatabaseException>(() => NeighborTable.Open(queries.Database, renamed, K));
        using NeighborTable second = NeighborTable.Build(queries.Database, renamed, K);
        Assert.DoesNotContain(second.Row(0).ToArray(), chunk => chunk >= 0 && after.Database.DocumentOf(chunk) == 4);
        using NeighborTable again = NeighborTable.Open(queries.Database, renamed, K);
        Assert.Equal(second.Identity, again.Identity);
    }

    [Fact]
    public void P27_an_interrupted_build_goes_on_and_ends_with_the_same_bytes()
    {
        using SearchDatabase data = new([TestDatabases.Document("long", new string('x', 4500 * 4)), TestDatabases.Document("short", "y")], chunkLength: 4);
        RandomNeighborSource source = new(data.Database, 7);
        NeighborTable.Build(data["whole.bin"], data.Database, source, 3, excludeOwnDocument: false).Dispose();
        foreach (int after in new[] { 0, 1, 3, 4 })
        {
            string path = data[$"cut{after}.bin"];
            using CancellationTokenSource stop = new();
            int blocks = 0;
            Assert.ThrowsAny<OperationCanceledException>(() => NeighborTable.Build(path, data.Database, new Stopping(source, () =>
            {
                if (blocks++ == after)
                {
                    stop.Cancel();
                }
            }), 3, excludeOwnDocument: false, cancellationToken: stop.Token));
            Assert.False(File.Exists(path));

            List<long> done = [];
            NeighborTable.Build(path, data.Database, source, 3, excludeOwnDocument: false, new Reports<StageProgress>(progress =>
            {
                if (progress.Stage == "find neighbors")
                {
                    done.Add(progress.Done);
                }
            })).Dispose();
            Assert.Equal(File.ReadAllBytes(data["whole.bin"]), File.ReadAllBytes(path));

            // The last block that was written is made again, since a kill may have torn it; those before it are not.
            Assert.Equal(Math.Max(0, after - 1) * 1024, done[0]);
            Assert.Equal(data.Database.ChunkCount, done[^1]);
        }

        Assert.DoesNotContain(Directory.GetFiles(data.Database.Folder), file => file.Contains(".part", StringComparison.Ordinal));
    }

    [Fact]
    public void The_same_table_is_not_made_twice_and_another_or_a_damaged_one_is()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 45));
        string path = data["table.bin"];
        int asked = 0;
        NeighborTable Build(int seed, int count = 3)
            => NeighborTable.Build(
                path, data.Database, new Stopping(new RandomNeighborSource(data.Database, seed), () => asked++), count, excludeOwnDocument: true);

        Build(1).Dispose();
        byte[] first = File.ReadAllBytes(path);
        Build(1).Dispose();
        Assert.Equal(1, asked);
        Build(2).Dispose();
        Assert.Equal(2, asked);
        Assert.NotEqual(first, File.ReadAllBytes(path));
        Build(1, count: 4).Dispose();
        Assert.Equal(3, asked);
        File.WriteAllBytes(path, first[..^3]);
        Build(1).Dispose();
        Assert.Equal(4, asked);
        Assert.Equal(first, File.ReadAllBytes(path));
    }

    [Fact]
    public void A_source_without_a_database_gives_a_table_of_missing_neighbors()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(3, seed: 46));
        using NeighborTable table = NeighborTable.Build(data["table.bin"], data.Database, new NoNeighborSource(), 2, excludeOwnDocument: true);
        long[] nothing = [-1, -1];
        Assert.Equal(nothing, table.Row(0).ToArray());
        Assert.Null(table.RetrievalHash);
        Assert.Same(data.Database, table.Retrieval);
    }

    [Theory]
    [InlineData(false, 5, "names no database")]
    [InlineData(true, 1_000_000, "has the chunks 0 to")]
    [InlineData(true, -2, "finds chunk -2")]
    public void A_source_that_forgets_its_database_or_finds_what_is_not_there_is_told_at_the_first_block(bool named, long chunk, string expected)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(300, seed: 47));
        Assert.True(data.Database.ChunkCount > NeighborTable.BlockRows);
        int calls = 0;
        Forgetful source = new(named ? data.Database : null, chunk, () => calls++);

        string message = Assert.Throws<DatabaseException>(() => NeighborTable.Build(data.Database, source, 2, excludeOwnDocument: false)).Message;

        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.Equal(1, calls);
    }

    [Fact]
    public void A_damaged_table_is_refused_wherever_the_damage_lies()
    {
        using SearchDatabase data = new([TestDatabases.Document("a", "abcdefgh"), TestDatabases.Document("b", "xyz")]);
        string path = data["table.bin"];
        Assert.Contains(path, Assert.Throws<DatabaseException>(() => NeighborTable.Open(path, data.Database)).Message, StringComparison.Ordinal);
        NeighborTable.Build(path, data.Database, new RandomNeighborSource(data.Database), 2, excludeOwnDocument: true).Dispose();
        byte[] whole = File.ReadAllBytes(path);
        for (int i = 0; i < whole.Length; i += i < 64 ? 1 : 7)
        {
            byte[] changed = (byte[])whole.Clone();
            changed[i] ^= 0x41;
            File.WriteAllBytes(path, changed);
            Assert.Contains(path, Assert.Throws<DatabaseException>(() => NeighborTable.Open(path, data.Database)).Message, StringComparison.Ordinal);
            File.WriteAllBytes(path, whole[..i]);
            Assert.Throws<DatabaseException>(() => NeighborTable.Open(path, data.Database));
        }

        File.WriteAllBytes(path, [.. whole, .. new byte[8]]);
        Assert.Throws<DatabaseException>(() => NeighborTable.Open(path, data.Database));
    }

    [Theory]
    [InlineData(16)]
    [InlineData(32)]
    public void A_table_that_says_other_numbers_of_chunks_than_the_databases_have_belongs_to_none(int place)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(4, seed: 48));
        string path = data["table.bin"];
        NeighborTable.Build(path, data.Database, new RandomNeighborSource(data.Database), 1, excludeOwnDocument: false).Dispose();
        byte[] file = File.ReadAllBytes(path);
        BitConverter.TryWriteBytes(file.AsSpan(place), BitConverter.ToInt64(file, place) + 1);
        file = place == 16 ? [.. file, .. new byte[8]] : file;
        System.Security.Cryptography.SHA256.HashData([.. file[..NeighborTableHeader.HashAt], .. file[NeighborTableHeader.Size..]])
            .CopyTo(file, NeighborTableHeader.HashAt);
        File.WriteAllBytes(path, file);

        Assert.Contains("make the table again", Assert.Throws<DatabaseException>(Open).Message, StringComparison.Ordinal);

        void Open()
        {
            using NeighborTable table = NeighborTable.Open(path, data.Database);
            table.RequireMatch(data.Database);
        }
    }

    [Fact]
    public void A_disposed_table_says_so()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(3, seed: 47));
        NeighborTable table = NeighborTable.Build(data["table.bin"], data.Database, new NoNeighborSource(), 2, excludeOwnDocument: false);
        table.Dispose();
        Assert.Throws<ObjectDisposedException>(() => table.Row(0).Length);
    }

    [Fact]
    public void Two_sources_of_one_kind_and_one_with_other_settings_have_tables_of_their_own()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(30, seed: 48));
        ChunkDatabase database = data.Database;
        using Bm25Index plain = data.Keywords();
        using Bm25Index other = Bm25Index.Build(database.ChunkCount, chunk => KeywordNeighborSource.TermsOf(database, chunk), new() { K1 = 0, B = 0 });
        KeywordNeighborSource a = new(database, plain), b = new(database, other);
        (KeywordNeighborSource Source, int Count, bool Exclude)[] kinds = [(a, 3, true), (b, 3, true), (a, 4, true), (a, 3, false)];
        string[] identities = [.. kinds.Select(kind =>
        {
            using NeighborTable table = NeighborTable.Build(database, kind.Source, kind.Count, kind.Exclude);
            return table.Identity;
        })];

        Assert.Equal(kinds.Length, database.Manifest.Files.Count(file => file.Name.StartsWith("neighbors-bm25-", StringComparison.Ordinal)));
        foreach (((KeywordNeighborSource source, int count, bool exclude), string identity) in kinds.Zip(identities))
        {
            using NeighborTable opened = NeighborTable.Open(database, source, count, exclude);
            Assert.Equal(identity, opened.Identity);
            NeighborQuery[] queries = exclude ? data.OwnQueries() : [.. data.Chunks.Select(chunk => new NeighborQuery(chunk, []))];
            Assert.Equal(source.Ask(queries, count).Chunks, Enumerable.Range(0, data.Chunks.Count).SelectMany(chunk => opened.Row(chunk).ToArray()));
        }

        Assert.Contains("neighbors-bm25-", Assert.Throws<DatabaseException>(() => NeighborTable.Open(database, b, 4)).Message, StringComparison.Ordinal);
    }

    /// <summary>Who has that state open still needs them, or who has moved it.</summary>
    [Fact]
    public void Tables_of_what_a_database_was_before_stay()
    {
        using SearchDatabase heldOut = new(SearchDatabase.Documents(10, seed: 46)), there = new(SearchDatabase.Documents(20, seed: 47));
        Make(there.Database);
        NeighborTable.Build(there.Database, new RandomNeighborSource(there.Database, 1), 2).Dispose();
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(
            there.Database.Folder, [TestDatabases.Document("new", "a text")], [], TestDatabases.Bytes).Database)
        {
            Make(changed);
        }

        NeighborTable.Open(heldOut.Database, new RandomNeighborSource(there.Database, 1), 2).Dispose();
        NeighborTable.Open(there.Database, new RandomNeighborSource(there.Database, 1), 2).Dispose();

        void Make(ChunkDatabase retrieval) => NeighborTable.Build(heldOut.Database, new RandomNeighborSource(retrieval, 1), 2).Dispose();
    }

    [Fact]
    public void Tables_that_were_deleted_count_as_not_made()
    {
        using SearchDatabase heldOut = new(SearchDatabase.Documents(10, seed: 46)), there = new(SearchDatabase.Documents(20, seed: 47));
        string[] folders = [heldOut.Database.Folder, there.Database.Folder];
        string[] before = [Make(heldOut.Database, there.Database), Make(there.Database, there.Database)];
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folders[1], [TestDatabases.Document("new", "a text")], [], TestDatabases.Bytes).Database)
        {
            string[] now = [Make(heldOut.Database, changed), Make(changed, changed)];
            Array.ForEach(before, File.Delete);
            AreWhole();
            Array.ForEach(now, File.Delete);
            AreWhole();
        }

        // Where the next one is registered, the manifest forgets them.
        using ChunkDatabase queries = ChunkDatabase.Open(folders[0]), again = ChunkDatabase.Open(folders[1]);
        Assert.Contains(
            "build it first",
            Assert.Throws<DatabaseException>(() => NeighborTable.Open(queries, new RandomNeighborSource(again, 1), 2)).Message,
            StringComparison.Ordinal);
        string[] made = [Make(queries, again), Make(again, again)];
        for (int i = 0; i < made.Length; i++)
        {
            DatabaseFile listed = Assert.Single(DatabaseManifest.Load(folders[i]).Files, file => file.Name.StartsWith("neighbors-", StringComparison.Ordinal));
            Assert.Equal(Path.GetFileName(made[i]), listed.Name);
        }

        void AreWhole() => Assert.All(folders, folder =>
        {
            using ChunkDatabase opened = ChunkDatabase.Open(folder, verify: true);
            Assert.Empty(opened.Faults);
        });

        static string Make(ChunkDatabase queries, ChunkDatabase retrieval)
        {
            string[] there = Tables(queries.Folder);
            NeighborTable.Build(queries, new RandomNeighborSource(retrieval, 1), 2).Dispose();
            return Assert.Single(Tables(queries.Folder).Except(there));
        }

        static string[] Tables(string folder) => Directory.GetFiles(folder, "neighbors-*.bin");
    }

    [Fact]
    public void Opening_tells_how_far_it_is_and_can_be_stopped()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 50));
        RandomNeighborSource source = new(data.Database);
        NeighborTable.Build(data.Database, source).Dispose();
        List<StageProgress> told = [];
        NeighborTable.Open(data.Database, source, progress: new Reports<StageProgress>(told.Add)).Dispose();
        Assert.Contains(told, report => report == new StageProgress("check neighbors", 0, data.Database.ChunkCount));
        using CancellationTokenSource stopped = new();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => NeighborTable.Open(data.Database, source, cancellationToken: stopped.Token));
    }

    [Theory]
    [InlineData("web/docs")]
    [InlineData("..")]
    [InlineData("")]
    public void A_source_whose_name_cannot_stand_in_a_file_name_is_refused_before_it_is_asked(string name)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 51));
        Forgetful source = new(data.Database, 0, () => Assert.Fail("It was asked.")) { Name = name };
        string[] before = Directory.GetFileSystemEntries(data.Database.Folder);
        foreach (Action make in new Action[]
        {
            () => NeighborTable.Build(data.Database, source).Dispose(), () => NeighborTable.BuildShare(data.Database, source, new(1, 2)),
        })
        {
            Assert.Contains("name stands in file names", Assert.Throws<ArgumentException>(make).Message, StringComparison.Ordinal);
        }

        Assert.Equal(before.Order(), Directory.GetFileSystemEntries(data.Database.Folder).Order());
    }

    [Fact]
    public void More_neighbors_than_can_be_written_at_once_are_refused_before_anything_is_begun()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(3, seed: 51));
        RandomNeighborSource source = new(data.Database, 1);
        string[] before = Directory.GetFileSystemEntries(data.Database.Folder);
        Assert.Throws<ArgumentOutOfRangeException>(() => NeighborTable.Build(data.Database, source, 300_000));
        Assert.Throws<ArgumentOutOfRangeException>(() => NeighborTable.BuildShare(data.Database, source, new(1, 2), 300_000));
        Assert.Equal(before.Order(), Directory.GetFileSystemEntries(data.Database.Folder).Order());
    }

    /// <summary>A source that always finds one chunk.</summary>
    private sealed class Forgetful(ChunkDatabase? database, long chunk, Action called) : INeighborSource
    {
        public string Name { get; init; } = "forgetful";

        public ChunkDatabase? Database => database;

        public string Identity => "forgetful";

        public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            called();
            chunks.Fill(chunk);
            scores.Clear();
        }
    }

    /// <summary>A source that tells of every call, to the outside no other than the one it wraps.</summary>
    private sealed class Stopping(INeighborSource source, Action called) : INeighborSource
    {
        public string Name => source.Name;

        public ChunkDatabase? Database => source.Database;

        public string Identity => source.Identity;

        public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            called();
            cancellationToken.ThrowIfCancellationRequested();
            source.Find(queries, count, chunks, scores, cancellationToken);
        }
    }
}
