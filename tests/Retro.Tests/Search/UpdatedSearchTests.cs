using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;

namespace Retro.Tests.Search;

/// <summary>What is found in a database that was changed is what is found in one that was built of what is there now.</summary>
public sealed class UpdatedSearchTests : IDisposable
{
    private const int K = 7;

    private readonly TestDatabases _databases = new();

    public static TheoryData<string> Sources => [.. SourcesOver(null!).Keys];

    public void Dispose() => _databases.Dispose();

    /// <summary>Whoever has it open goes on with the state that it was opened in, whose segments are still there.</summary>
    [Fact]
    public void A_changed_database_that_is_changed_again_has_its_sources_where_it_is_open()
    {
        TestKeyer keyer = SearchDatabase.AnyKeyer();
        List<Document> there = [.. SearchDatabase.Documents(20, seed: 3)];
        using SearchDatabase asked = new(there);
        NeighborQuery[] queries = asked.OwnQueries();
        string folder = _databases.Folder();
        using (ChunkDatabase built = _databases.Build(there))
        {
            Make(built);
        }

        ChunkDatabaseUpdate.Apply(folder, [there[0] with { Id = "first", Text = "Of the first change." }], [], TestDatabases.Bytes, null, Make)
            .Database.Dispose();
        using ChunkDatabase open = ChunkDatabase.Open(folder);
        long[] before;
        using (DenseNeighborSource source = DenseNeighborSource.Open(open, keyer))
        {
            before = source.Ask(queries, K).Chunks;
        }

        ChunkDatabaseUpdate.Apply(folder, [there[0] with { Id = "second", Text = "Of the second change." }], [], TestDatabases.Bytes, null, Make)
            .Database.Dispose();
        KeywordNeighborSource.Open(open).Dispose();
        using DenseNeighborSource again = DenseNeighborSource.Open(open, keyer);
        Assert.Equal(before, again.Ask(queries, K).Chunks);

        void Make(ChunkDatabase database)
        {
            KeywordNeighborSource.Build(database).Dispose();
            DenseNeighborSource.Build(database, keyer).Dispose();
        }
    }

    [Theory]
    [MemberData(nameof(Sources))]
    public void Neighbors_are_those_of_a_database_that_was_built_of_what_is_there_now(string name)
    {
        Random random = new(3);
        List<Document> there = [.. SearchDatabase.Documents(40, seed: 3).Select(document => document with { Labels = random.Next(3) == 0 ? ["old"] : [] })];
        string folder = _databases.Folder();
        using (ChunkDatabase built = _databases.Build(there))
        {
            using IDisposable? made = SourcesOver(built)[name]() as IDisposable;
        }

        for (int change = 0; change < 8; change++)
        {
            (there, Document[] add, string[] remove) = ChunkDatabaseUpdateTests.Changed(there, random, change);
            ChunkDatabaseUpdate.Apply(folder, add, remove, TestDatabases.Bytes).Database.Dispose();
            if (change == 5)
            {
                DatabaseCompaction.Compact(folder).Dispose();
            }

            using ChunkDatabase changed = ChunkDatabase.Open(folder);
            using SearchDatabase built = new(there);
            INeighborSource source = SourcesOver(changed)[name](), expected = SourcesOver(built.Database)[name]();
            NeighborQuery[] queries =
            [
                .. built.OwnQueries().Select((query, i) => query with { Labels = (i % 4) switch { 0 => null, 1 => [], 2 => ["new"], _ => ["new", "old"] } }),
            ];
            (long[] Chunks, float[] Scores) came = source.Ask(queries, K);
            if (name == "random")
            {
                Assert.Equal(expected.Ask(queries, K).Chunks, came.Chunks);
            }
            else
            {
                NeighborResults.AssertSame(expected.Ask(queries, K), came, K);
            }

            // All there are come, too, which are more than any segment has.
            int all = (int)built.Database.ChunkCount + 1;
            if (name is "bm25" or "dense" or "exact")
            {
                NeighborResults.AssertSame(expected.Ask(queries, all), source.Ask(queries, all), all);
            }

            // Tables stand by the same numbers, and belong to this state alone.
            using NeighborTable table = NeighborTable.Build(changed, source, K), again = NeighborTable.Build(built.Database, expected, K);
            Assert.Equal(built.Database.ChunkCount, table.Rows);
            if (name is "bm25" or "exact")
            {
                Assert.All(Enumerable.Range(0, (int)table.Rows), chunk => Assert.Equal(again.Row(chunk), table.Row(chunk)));
            }
        }
    }

    [Fact]
    public void Keys_are_made_for_what_is_new_and_taken_over_when_the_database_is_compacted()
    {
        int made = 0;
        TestKeyer keyer = SearchDatabase.AnyKeyer(count => made += count);
        List<Document> there = SearchDatabase.Documents(40, seed: 5);
        string folder = _databases.Folder();
        using (ChunkDatabase built = _databases.Build(there))
        {
            DenseNeighborSource.Build(built, keyer).Dispose();
            Assert.Equal(built.ChunkCount, made);
        }

        Document[] add = [new("new", "", "a text of more than one chunk that is new here", "")];
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, add, [there[0].Id, there[20].Id], TestDatabases.Bytes).Database)
        {
            made = 0;
            DenseNeighborSource.Build(changed, keyer).Dispose();
            Assert.Equal(changed.Documents[^1].ChunkCount, made);
        }

        using (ChunkDatabase compacted = DatabaseCompaction.Compact(folder))
        {
            made = 0;
            using DenseNeighborSource source = DenseNeighborSource.Build(compacted, keyer);
            Assert.Equal(0, made);
            AssertKeys(compacted);
        }
    }

    /// <summary>Who starts while a change goes on, or after it, finds what was there before.</summary>
    [Fact]
    public void A_change_goes_live_with_the_indexes_that_are_asked_for()
    {
        int made = 0;
        TestKeyer keyer = SearchDatabase.AnyKeyer(count => made += count);

        // Of the whole database: a segment gets what its size asks for.
        DenseNeighborOptions options = new() { Factory = "IVF4,Flat", Parameters = "nprobe=4" };
        List<Document> there = SearchDatabase.Documents(40, seed: 5);
        string folder = _databases.Folder();
        using (ChunkDatabase built = _databases.Build(there))
        {
            Make(built);
        }

        // Of a text that only moved the keys are taken over.
        Document added = new("new", "", "a text of more than one chunk that is new here", "");
        using (ChunkDatabase changed = Change(
            prepare => ChunkDatabaseUpdate.Apply(folder, [added, there[3] with { Location = "elsewhere" }], [there[0].Id], TestDatabases.Bytes, null, prepare)
                .Database))
        {
            Assert.Equal(changed.FindDocument("new")!.ChunkCount, made);
        }

        using (ChunkDatabase compacted = Change(prepare => DatabaseCompaction.Compact(folder, prepare)))
        {
            Assert.Equal((0, 1), (made, compacted.SegmentCount));
            AssertKeys(compacted);
        }

        Dictionary<string, string> before = TestDatabases.Contents(folder);
        static void Fails(ChunkDatabase part) => throw new InvalidOperationException(part.Folder);
        Assert.Throws<InvalidOperationException>(
            () => ChunkDatabaseUpdate.Apply(folder, [added with { Text = "another" }], [], TestDatabases.Bytes, null, Fails));
        Assert.Equal(before, TestDatabases.Contents(folder));
        ChunkDatabaseUpdate.Apply(folder, [], [there[1].Id], TestDatabases.Bytes, null, Fails).Database.Dispose(); // nothing is new
        before = TestDatabases.Contents(folder);
        Assert.Throws<InvalidOperationException>(() => DatabaseCompaction.Compact(folder, Fails));
        Assert.Equal(before, TestDatabases.Contents(folder));
        Opens();

        void Make(ChunkDatabase database)
        {
            KeywordNeighborSource.Build(database).Dispose();
            DenseNeighborSource.Build(database, keyer, options).Dispose();
        }

        string Opens()
        {
            using ChunkDatabase now = ChunkDatabase.Open(folder);
            KeywordNeighborSource.Open(now).Dispose();
            DenseNeighborSource.Open(now, keyer).Dispose();
            return now.Manifest.TokensHash;
        }

        ChunkDatabase Change(Func<Action<ChunkDatabase>, ChunkDatabase> change)
        {
            string state = Opens();
            made = 0;
            bool isPrepared = false;
            ChunkDatabase changed = change(part =>
            {
                Assert.Equal(state, Opens());
                Make(part);
                Assert.Equal(state, Opens());
                isPrepared = true;
            });
            Assert.True(isPrepared);
            Assert.NotEqual(state, Opens());

            // All of it is as building it afterwards makes it.
            Dictionary<string, string> contents = TestDatabases.Contents(folder);
            int prepared = made;
            Make(changed);
            Assert.Equal(prepared, made);
            Assert.Equal(contents, TestDatabases.Contents(folder));
            return changed;
        }
    }

    [Fact]
    public void Keys_that_are_there_outlive_a_compaction_before_the_others_are_made()
    {
        int made = 0;
        TestKeyer keyer = SearchDatabase.AnyKeyer(count => made += count);
        List<Document> there = SearchDatabase.Documents(40, seed: 25);
        string folder = _databases.Folder();
        using (ChunkDatabase built = _databases.Build(there))
        {
            DenseNeighborSource.Build(built, keyer).Dispose();
        }

        // Added to and compacted twice, and moved besides, before a source is built again.
        Add(new("new", "", "a text of more than one chunk that is new here", ""), there[3] with { Location = "elsewhere" });
        using (ChunkDatabase compacted = DatabaseCompaction.Compact(folder))
        {
            Assert.Contains("have no key yet", Assert.Throws<DatabaseException>(() => KeyFile.Open(compacted)).Message, StringComparison.Ordinal);
            Assert.Null(ChunkKeys.TryOpen(compacted));
        }

        Add(new Document("newer", "", "another text", ""));
        List<string> messages = [];
        using (ChunkDatabase compacted = DatabaseCompaction.Compact(
            folder, progress: new Reports<StageProgress>(report => messages.AddRange(report.Message is { } message ? [message] : []))))
        {
            int added = compacted.FindDocument("new")!.ChunkCount + compacted.FindDocument("newer")!.ChunkCount;
            Assert.Contains(messages, message => message.StartsWith($"{added} of the {compacted.ChunkCount} chunks have no key", StringComparison.Ordinal));
            made = 0;
            DenseNeighborSource.Build(compacted, keyer).Dispose();
            Assert.Equal(added, made);
            AssertKeys(compacted);
        }

        void Add(params Document[] documents) => ChunkDatabaseUpdate.Apply(folder, documents, [], TestDatabases.Bytes).Database.Dispose();
    }

    [Fact]
    public void One_damaged_block_costs_its_own_keys_in_the_database_and_in_a_copy()
    {
        int made = 0;
        TestKeyer keyer = SearchDatabase.AnyKeyer(count => made += count);
        string folder = _databases.Folder();
        using (ChunkDatabase built = _databases.Build([LongDocument(), new("other", "", "some text", "")], chunkLength: 1))
        {
            KeyFile.Build(built, keyer);
            byte[] whole = File.ReadAllBytes(Path.Combine(folder, "keys.bin"));
            FlipKey(folder, KeyFileLayout.HeaderSize + (3000 * SearchDatabase.Dimensions * sizeof(float))); // in the second block of 2,048
            made = 0;
            KeyFile.Build(built, keyer);
            Assert.Equal(2048, made);
            Assert.Equal(whole, File.ReadAllBytes(Path.Combine(folder, "keys.bin")));
        }

        FlipKey(folder);
        ChunkDatabaseUpdate.Apply(folder, [], ["other"], TestDatabases.Bytes).Database.Dispose();
        using ChunkDatabase compacted = DatabaseCompaction.Compact(folder);
        made = 0;
        KeyFile.Build(compacted, keyer);
        Assert.Equal(2048, made);
    }

    private static void AssertKeys(ChunkDatabase database)
    {
        using ChunkKeys keys = ChunkKeys.Open(database);
        Assert.All(
            Enumerable.Range(0, (int)database.ChunkCount),
            chunk => Assert.Equal(SearchDatabase.KeyOf(TestDatabases.Text(database, chunk)), keys.Row(chunk).ToArray()));
    }

    private static Document LongDocument() => new("long", "", string.Concat(Enumerable.Range(0, 7000).Select(i => (char)('a' + (i * i % 23 % 26)))), "");

    /// <summary>A key depends on the text alone: a line that is put in front of a file of JSON lines moves every document behind it.</summary>
    [Fact]
    public void Documents_whose_place_title_or_labels_change_keep_their_keys()
    {
        int made = 0;
        TestKeyer keyer = SearchDatabase.AnyKeyer(count => made += count);
        List<Document> there = SearchDatabase.Documents(20, seed: 6);
        string folder = _databases.Folder();
        using (ChunkDatabase built = _databases.Build(there))
        {
            DenseNeighborSource.Build(built, keyer).Dispose();
        }

        Document[] moved =
        [
            .. there.Take(5).Select(document => document with { Location = "elsewhere" }), there[5] with { Labels = ["staff"] },
            there[6] with { Title = "other" }, new("new", "", "a text that is new here", ""),
        ];
        made = 0;
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, moved, [], TestDatabases.Bytes).Database)
        {
            DenseNeighborSource.Build(changed, keyer).Dispose();
            Assert.Equal(changed.Documents[^1].ChunkCount, made);
            AssertKeys(changed);
        }

        // What is damaged is made.
        FlipKey(folder);
        made = 0;
        using ChunkDatabase again = ChunkDatabaseUpdate.Apply(folder, [there[8] with { Title = "another" }], [], TestDatabases.Bytes).Database;
        KeyFile.Build(again.Segments[^1], keyer, whole: again);
        Assert.Equal(again.Documents[^1].ChunkCount, made);
    }

    [Fact]
    public void Keys_of_a_text_that_was_added_before_any_were_made_are_taken_whichever_segment_is_the_greater()
    {
        int made = 0;
        TestKeyer keyer = SearchDatabase.AnyKeyer(count => made += count);
        List<Document> there = SearchDatabase.Documents(20, seed: 16);
        string folder = _databases.Folder();
        _databases.Build(there).Dispose();
        using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, [there[8] with { Id = "copy" }], [], TestDatabases.Bytes).Database;
        KeyFile.Build(changed.Segments[1], keyer, whole: changed);
        Assert.Equal(changed.Segments[1].ChunkCount, made);
        KeyFile.Build(changed.Segments[0], keyer, whole: changed);
        Assert.Equal(changed.Segments[0].ChunkCount, made);
        AssertKeys(changed);
    }

    /// <summary>Keys can be made again, and text that was removed has to go.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(400)]
    public void Damaged_keys_keep_no_database_from_being_compacted(int at)
    {
        string folder = _databases.Folder();
        List<Document> there = SearchDatabase.Documents(20, seed: 7);
        using (ChunkDatabase built = _databases.Build(there))
        {
            DenseNeighborSource.Build(built, SearchDatabase.AnyKeyer()).Dispose();
        }

        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, [], [there[0].Id], TestDatabases.Bytes).Database)
        {
            DenseNeighborSource.Build(changed, SearchDatabase.AnyKeyer()).Dispose();
        }

        FlipKey(folder, at);
        List<string> messages = [];
        using ChunkDatabase compacted = DatabaseCompaction.Compact(
            folder, progress: new Reports<StageProgress>(report => messages.AddRange(report.Message is { } message ? [message] : [])));
        ChunkDatabaseUpdateTests.AssertReadsAs(there[1..], compacted);
        Assert.Null(compacted.Manifest.Find("keys.bin"));
        Assert.Contains(messages, message => message.Contains("have no key that could be taken over", StringComparison.Ordinal));
        Assert.Empty(Directory.GetFiles(folder, "keys.bin*", SearchOption.AllDirectories));
    }

    private static void FlipKey(string folder, int at = 400)
    {
        string path = Path.Combine(folder, "keys.bin");
        byte[] content = File.ReadAllBytes(path);
        content[at] ^= 1;
        File.WriteAllBytes(path, content);
    }

    [Fact]
    public void A_table_of_a_changed_database_is_no_fault_of_its_first_segment()
    {
        string folder = _databases.Folder();
        _databases.Build(SearchDatabase.Documents(20, seed: 5)).Dispose();
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, [new("new", "", "a text that is new here", "")], [], TestDatabases.Bytes).Database)
        {
            NeighborTable.Build(changed, new RandomNeighborSource(changed, 1), 2).Dispose();
        }

        using ChunkDatabase opened = ChunkDatabase.Open(folder);
        Assert.Equal(2, opened.SegmentCount);
        Assert.Empty(opened.Faults);
        Assert.Single(opened.Manifest.Stages);
        Assert.Empty(opened.Segments[0].Manifest.Stages);
        opened.Refresh();
        Assert.Empty(opened.Faults);
    }

    /// <summary>Tokens know of no ids: which documents there are is asked of all databases, and of what was added to them.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_table_into_what_was_changed_is_made_again_when_that_has_other_ids_for_the_same_tokens(bool isRebuilt)
    {
        List<Document> there = SearchDatabase.Documents(20, seed: 81);
        Document added = TestDatabases.Document("new", "a text of more than one chunk that is new here");
        string folder = _databases.Folder(), other = _databases.Folder("other"), tokens;
        _databases.Build(there).Dispose();
        _databases.Build(SearchDatabase.Documents(10, seed: 82), name: "other").Dispose();
        using ChunkDatabase queries = _databases.Build([added with { Id = "guide", Text = $"{added.Text} and more" }], name: "queries");
        Change([added], []);
        using (ChunkDatabase before = Open())
        using (KeywordNeighborSource source = KeywordNeighborSource.Build(before))
        using (NeighborTable table = NeighborTable.Build(queries, source, K))
        {
            tokens = before.Manifest.TokensHash;
            Assert.Contains("new", Found(table, before));
        }

        if (isRebuilt)
        {
            // Of the same documents; and what changes it then is its first change again.
            ChunkDatabaseBuilder.Build(folder, there, TestDatabases.Bytes, new() { ChunkLength = 8, StartOver = true }).Dispose();
        }

        Change([added with { Id = "guide" }], isRebuilt ? [] : ["new"]);
        using ChunkDatabase after = Open();
        using KeywordNeighborSource renamed = KeywordNeighborSource.Build(after);
        Assert.Equal(tokens, after.Manifest.TokensHash);
        Assert.Throws<DatabaseException>(() => NeighborTable.Open(queries, renamed, K));
        using NeighborTable again = NeighborTable.Build(queries, renamed, K);
        Assert.DoesNotContain("guide", Found(again, after));

        void Change(Document[] add, string[] remove) => ChunkDatabaseUpdate.Apply(folder, add, remove, TestDatabases.Bytes).Database.Dispose();

        ChunkDatabase Open() => isRebuilt ? ChunkDatabase.Open(folder) : ChunkDatabase.Open([folder, other]);

        static string[] Found(NeighborTable table, ChunkDatabase database)
            => [.. table.Row(0).ToArray().Where(chunk => chunk >= 0).Select(chunk => database.Documents[database.DocumentOf(chunk)].Id)];
    }

    private static Dictionary<string, Func<INeighborSource>> SourcesOver(ChunkDatabase database) => new()
    {
        ["bm25"] = () => KeywordNeighborSource.Build(database),
        ["dense"] = () => Dense(database, VectorEngine.Auto),
        ["exact"] = () => Dense(database, VectorEngine.Exact),
        ["hybrid"] = () => new HybridNeighborSource(KeywordNeighborSource.Build(database), Dense(database, VectorEngine.Exact)),
        ["reranked"] = () => new RerankedNeighborSource(
            Dense(database, VectorEngine.Exact), KeywordNeighborSource.Build(database), new RerankedNeighborOptions { Depth = 1000 }),
        ["random"] = () => new RandomNeighborSource(database, 3),
    };

    private static DenseNeighborSource Dense(ChunkDatabase database, VectorEngine engine)
        => DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), new() { Engine = engine });
}
