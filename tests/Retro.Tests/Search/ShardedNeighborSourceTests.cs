using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;

namespace Retro.Tests.Search;

/// <summary>What is found in several databases is what is found in one of the same documents.</summary>
public sealed class ShardedNeighborSourceTests : IDisposable
{
    private const int K = 7;

    private static readonly TestKeyer s_keyer = SearchDatabase.AnyKeyer();

    private readonly TestDatabases _databases = new();

    public static TheoryData<string> Sources => [.. SourcesOver(null!).Keys];

    public void Dispose() => _databases.Dispose();

    [Theory]
    [MemberData(nameof(Sources))]
    public void Shards_answer_as_one_database_of_the_same_documents_whatever_was_changed_and_may_be_seen(string name)
    {
        (string[] folders, List<Document> documents) = Shards();
        using SearchDatabase whole = new(documents);
        INeighborSource expected = SourcesOver(whole.Database)[name]();
        using ShardedNeighborSource sharded = ShardedNeighborSource.Open(folders, database => SourcesOver(database)[name]());
        Assert.Equal((expected.Name, expected.KeyIdentity, 4), (sharded.Name, sharded.KeyIdentity, sharded.Database.SegmentCount));
        Assert.NotEqual(expected.Identity, sharded.Identity);
        ChunkDatabaseUpdateTests.AssertReadsAs(documents, sharded.Database);
        NeighborQuery[] queries =
        [
            .. whole.OwnQueries().Select((query, i) => query with { Labels = (i % 4) switch { 0 => null, 1 => [], 2 => ["new"], _ => ["new", "old"] } }),
        ];
        NeighborResults.AssertSame(expected.Ask(queries, K), sharded.Ask(queries, K), K);

        // The chunks of one shard have a table of neighbors in all of them.
        using ChunkDatabase part = ChunkDatabase.Open(folders[0]);
        using NeighborTable table = NeighborTable.Build(part, sharded, K), all = NeighborTable.Build(whole.Database, expected, K);
        Assert.Same(sharded.Database, table.Retrieval);
        if (name is "bm25" or "exact")
        {
            Assert.All(Enumerable.Range(0, (int)part.ChunkCount), chunk => Assert.Equal(all.Row(chunk), table.Row(chunk)));
        }
    }

    [Fact]
    public void One_shard_is_the_database_that_it_is()
    {
        (string[] folders, _) = Shards();
        using ShardedNeighborSource sharded = ShardedNeighborSource.Open(folders[..1], Words);
        using ChunkDatabase alone = ChunkDatabase.Open(folders[0]);
        using KeywordNeighborSource source = KeywordNeighborSource.Open(alone);
        Assert.Equal(source.Identity, sharded.Identity);
    }

    [Fact]
    public void A_shard_that_cannot_be_read_is_an_error_or_left_out_and_said()
    {
        (string[] folders, _) = Shards();
        string whole;
        List<string?> told = [];
        using (ShardedNeighborSource all = ShardedNeighborSource.Open(folders, Words))
        {
            whole = all.Identity;
        }

        File.Delete(Path.Combine(folders[1], "bm25.bin"));
        Assert.Contains(folders[1], Assert.Throws<DatabaseException>(() => Open(false)).Message, StringComparison.Ordinal);
        told.Clear();
        using (ShardedNeighborSource rest = Open(true))
        {
            string left = Assert.Single(rest.LeftOut);
            Assert.StartsWith($"The shard in '{folders[1]}' is left out: ", left, StringComparison.Ordinal);
            Assert.Equal([left], told);
            Assert.Equal("bm25-2-of-3", rest.Name);
            using ShardedNeighborSource two = ShardedNeighborSource.Open([folders[0], folders[2]], Reading);
            Assert.Equal(3, new HashSet<string> { whole, rest.Identity, two.Identity }.Count);
            NeighborQuery[] queries = [.. Enumerable.Range(0, 9).Select(chunk => new NeighborQuery(rest.Database.Tokens(chunk).ToArray(), []))];
            Assert.Equal(two.Ask(queries, K).Chunks, rest.Ask(queries, K).Chunks);
            Assert.Equal(two.Ask(queries, K).Scores, rest.Ask(queries, K).Scores);
        }

        File.Delete(Path.Combine(folders[2], "manifest.json"));
        using (ShardedNeighborSource first = Open(true))
        {
            Assert.Equal(("bm25-1-of-3", 2), (first.Name, first.LeftOut.Count));
        }

        File.WriteAllText(Path.Combine(folders[0], "tokens.bin"), "");
        Assert.Contains("None of the 3 shards can be read", Assert.Throws<DatabaseException>(() => Open(true)).Message, StringComparison.Ordinal);

        ShardedNeighborSource Open(bool leaveOut)
            => ShardedNeighborSource.Open(folders, Reading, leaveOut, new Reports<StageProgress>(report => told.Add(report.Message)));
    }

    [Fact]
    public void Shards_that_do_not_belong_together_are_refused_even_where_some_may_be_left_out()
    {
        (string[] folders, _) = Shards();
        using (ChunkDatabase other = _databases.Build(SearchDatabase.Documents(5, seed: 6), chunkLength: 4, name: "other"))
        {
            KeywordNeighborSource.Build(other).Dispose();
        }

        using ShardedNeighborSource made = ShardedNeighborSource.Open(folders[..2], Words);
        Assert.Contains("chunk length 4", Refused([folders[0], _databases.Folder("other")], Reading), StringComparison.Ordinal);
        using (ChunkDatabase one = ChunkDatabase.Open(folders[1]))
        {
            KeywordNeighborSource.Build(one, new() { K1 = 2 }).Dispose();
            DenseNeighborSource.Build(one, s_keyer, new() { Metric = VectorMetric.InnerProduct, Engine = VectorEngine.Exact }).Dispose();
        }

        Assert.Contains("k1 2", Refused(folders[..2], Reading), StringComparison.Ordinal);
        using (ChunkDatabase one = ChunkDatabase.Open(folders[0]))
        {
            DenseNeighborSource.Build(one, s_keyer, new() { Engine = VectorEngine.Exact }).Dispose();
        }

        Assert.Contains("InnerProduct", Refused(folders[..2], database => DenseNeighborSource.Open(database, s_keyer)), StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => ShardedNeighborSource.Open([folders[0], folders[0]], Reading));
        Assert.Throws<ArgumentException>(() => ShardedNeighborSource.Open([], Reading));
        Assert.Throws<ArgumentException>(() => ShardedNeighborSource.Open(folders, _ => new NoNeighborSource()));

        static string Refused(string[] some, Func<ChunkDatabase, INeighborSource> open)
            => Assert.Throws<DatabaseException>(() => ShardedNeighborSource.Open(some, open, leaveOutUnreadable: true)).Message;
    }

    [Theory]
    [InlineData("shard0")]
    [InlineData("shard0/")]
    [InlineData("shard1/../shard0")]
    [InlineData("link")]
    [InlineData("link/")]
    public void A_database_is_named_once_whatever_paths_lead_to_it(string path)
    {
        (string[] folders, _) = Shards();
        Directory.CreateSymbolicLink(_databases.Folder("link"), folders[0]);
        string[] twice = [folders[0], folders[1], _databases.Folder(path)];
        Assert.Contains($"'{twice[2]}'", Assert.Throws<ArgumentException>(() => ChunkDatabase.Open(twice)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => ShardedNeighborSource.Open(twice, Reading, leaveOutUnreadable: true));
    }

    [Fact]
    public void Databases_opened_as_one_are_read_and_not_written()
    {
        (string[] folders, _) = Shards();
        Dictionary<string, string>[] before = [.. folders.Select(TestDatabases.Contents)];
        using ChunkDatabase joint = ChunkDatabase.Open(folders, verify: true);
        RandomNeighborSource source = new(joint, 1);
        foreach (Action write in new Action[]
        {
            () => joint.Register("file.bin"), () => NeighborTable.Build(joint, source), () => NeighborTable.BuildShare(joint, source, new(1, 2)),
        })
        {
            Assert.Contains("opened as one with others", Assert.Throws<DatabaseException>(write).Message, StringComparison.Ordinal);
        }

        Assert.Equal(before, folders.Select(TestDatabases.Contents));
        Assert.All(joint.Files, file => Assert.True(File.Exists(Path.Combine(joint.Folder, file.Name))));
        Assert.Empty(joint.Faults);
        Assert.Throws<ArgumentException>(() => ChunkDatabase.Open(Array.Empty<string>()));
    }

    [Fact]
    public void Files_and_faults_of_databases_opened_as_one_are_those_of_each()
    {
        (string[] folders, _) = Shards();
        string made = Path.Combine(folders[1], "stage.bin");
        int files = 0;
        File.WriteAllText(made, "made");
        foreach (string folder in folders)
        {
            using ChunkDatabase one = ChunkDatabase.Open(folder);
            if (folder == folders[1])
            {
                one.Register("stage.bin");
            }

            files += one.Files.Count;
        }

        using (ChunkDatabase joint = ChunkDatabase.Open(folders))
        {
            Assert.Equal(files, joint.Files.Count);
            Assert.All(joint.Files, file => Assert.Equal(file.Bytes, new FileInfo(Path.Combine(joint.Folder, file.Name)).Length));
        }

        File.WriteAllText(made, "mode");
        using ChunkDatabase changed = ChunkDatabase.Open(folders[1], verify: true), all = ChunkDatabase.Open(folders, verify: true);
        Assert.Contains("stage.bin", Assert.Single(changed.Faults), StringComparison.Ordinal);
        Assert.Equal(changed.Faults, all.Faults);
    }

    /// <summary>Three databases, of which the second was changed, and all their documents in order.</summary>
    private (string[] Folders, List<Document> Documents) Shards()
    {
        Random random = new(4);
        List<Document>[] parts =
        [
            .. Enumerable.Range(0, 3).Select(part => SearchDatabase.Documents(15, seed: 60 + part)
                .Select(document => document with { Id = $"shard{part}-{document.Id}", Labels = random.Next(3) == 0 ? ["old"] : [] })
                .ToList()),
        ];
        string[] folders = [.. parts.Select((_, part) => _databases.Folder($"shard{part}"))];
        for (int part = 0; part < parts.Length; part++)
        {
            _databases.Build(parts[part], name: $"shard{part}").Dispose();
        }

        (parts[1], Document[] add, string[] remove) = ChunkDatabaseUpdateTests.Changed(parts[1], random, 1);
        ChunkDatabaseUpdate.Apply(folders[1], add, remove, TestDatabases.Bytes).Database.Dispose();
        return (folders, [.. parts.SelectMany(part => part)]);
    }

    private static Dictionary<string, Func<INeighborSource>> SourcesOver(ChunkDatabase database) => new()
    {
        ["bm25"] = () => KeywordNeighborSource.Build(database),
        ["dense"] = () => DenseNeighborSource.Build(database, s_keyer),
        ["exact"] = () => Exact(database),
        ["hybrid"] = () => new HybridNeighborSource(KeywordNeighborSource.Build(database), Exact(database)),
        ["reranked"] = () => new RerankedNeighborSource(
            Exact(database), KeywordNeighborSource.Build(database), new RerankedNeighborOptions { Depth = 1000 }),
    };

    private static KeywordNeighborSource Words(ChunkDatabase database) => KeywordNeighborSource.Build(database);

    private static KeywordNeighborSource Reading(ChunkDatabase database) => KeywordNeighborSource.Open(database);

    private static DenseNeighborSource Exact(ChunkDatabase database)
        => DenseNeighborSource.Build(database, s_keyer, new() { Engine = VectorEngine.Exact });
}
