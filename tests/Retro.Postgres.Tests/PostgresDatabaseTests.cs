using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tests;
using Retro.Tests.Search;
using Retro.Tokenizers;

namespace Retro.Postgres.Tests;

/// <summary>What is written is what was given, however it came.</summary>
public sealed class PostgresDatabaseTests(TestServer server) : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_rows_are_the_same_whatever_the_order_of_arrival()
    {
        List<Document> documents = TestTexts.Documents(60, seed: 2);
        string whole = server.NewSchema();
        using (PostgresDatabase database = Create(whole))
        {
            using ChunkDatabase source = TestTexts.Build(documents, _folder["whole"]);
            database.Import(source);
            Assert.Equal((source.Documents.Count, source.ChunkCount), database.Count());
        }

        List<string> expected = server.Rows(whole);
        Assert.Contains(expected, row => row.EndsWith(",)", StringComparison.Ordinal)); // a chunk without a key
        Random random = new(3);
        for (int round = 0; round < 4; round++)
        {
            string schema = server.NewSchema();
            using PostgresDatabase database = Create(schema, PostgresWriting.Insert);
            Document[] shuffled = [.. documents];
            random.Shuffle(shuffled);
            while (shuffled.Length > 0)
            {
                // Some come as they were before, some twice, some by way of a database, and some that do not stay.
                Document[] some = shuffled[..Math.Min(shuffled.Length, 1 + random.Next(40))];
                shuffled = shuffled[some.Length..];
                Document stranger = new("stranger", "", "a stranger passes", "");
                database.Update(some.Select(document => document with { Title = "another" }).Append(stranger), []);
                if (random.Next(2) == 0)
                {
                    database.Update(some, ["stranger"]);
                }
                else
                {
                    using ChunkDatabase source = TestTexts.Build(some.Append(stranger), Path.Combine(_folder.Path, Path.GetRandomFileName()));
                    using DenseNeighborSource keys = DenseNeighborSource.Build(source, TestTexts.Keyer);
                    database.Import(source);
                    database.Update([], ["stranger"]);
                }
            }

            Assert.Equal(expected, server.Rows(schema));
            database.Update(documents, []);
            Assert.Equal(expected, server.Rows(schema));
        }
    }

    [Fact]
    public void Copied_rows_are_those_that_are_inserted()
    {
        TestServer.RequireGiven("PostgreSQL's COPY", "takes no COPY");
        List<Document> documents = TestTexts.Documents(40, seed: 4);
        List<string>[] rows = [.. new[] { PostgresWriting.Copy, PostgresWriting.Insert, PostgresWriting.Auto }.Select(writing =>
        {
            string schema = server.NewSchema();
            using PostgresDatabase database = Create(schema, writing);
            database.Update(documents, []);
            return server.Rows(schema);
        })];
        Assert.Equal(rows[0], rows[1]);
        Assert.Equal(rows[0], rows[2]);
    }

    [Fact]
    public void What_is_there_costs_no_key()
    {
        int made = 0;
        CountingKeyer keyer = new(TestTexts.Keyer, count => made += count);
        using PostgresDatabase database = PostgresDatabase.Create(
            server.ConnectionString, TestTexts.Tokenizer, keyer, TestTexts.Options(server.NewSchema()));
        List<Document> documents = TestTexts.Documents(20, seed: 5);
        database.Update(documents, []);
        Assert.Equal(database.Count().Chunks, made);
        database.Update(documents, []);
        Assert.Equal(database.Count().Chunks, made);
        using ChunkDatabase source = TestTexts.Build(documents.Append(new("new", "", "the river runs under the bridge", "")), _folder["db"]);
        using DenseNeighborSource keys = DenseNeighborSource.Build(source, TestTexts.Keyer);
        database.Import(source);
        Assert.Equal(source.ChunkCount, database.Count().Chunks);
        Assert.True(made < source.ChunkCount); // the stored one was taken
    }

    [Fact]
    public void Keys_are_made_of_many_documents_at_once_and_stay_where_the_text_does()
    {
        List<int> made = [];
        CountingKeyer keyer = new(TestTexts.Keyer, made.Add);
        string schema = server.NewSchema(), other = server.NewSchema();
        using PostgresDatabase database = PostgresDatabase.Create(server.ConnectionString, TestTexts.Tokenizer, keyer, TestTexts.Options(schema));
        List<Document> documents = TestTexts.Documents(20, seed: 10);
        database.Update(documents, []);
        Assert.Equal([(int)database.Count().Chunks], made);
        made.Clear();
        Document[] moved =
            [.. documents.Select((document, i) => i % 2 == 0 ? document with { Location = $"moved:{i}" } : document with { Labels = ["staff"] })];
        database.Update(moved, []);
        Assert.Empty(made);

        // A line in front of others moves the ids of all behind it, and what was removed may come under another id.
        Document[] shifted = [moved[0], .. moved.Skip(1).Select((document, i) => document with { Id = moved[i].Id })];
        shifted[0] = shifted[0] with { Id = moved[^1].Id };
        database.Update(shifted, []);
        database.Update([moved[3] with { Id = "renamed" }], [shifted[3].Id]);
        Assert.Empty(made);
        using PostgresDatabase fresh = Create(other);
        fresh.Update([.. shifted.Where((_, i) => i != 3), moved[3] with { Id = "renamed" }], []);
        Assert.Equal(server.Rows(other), server.Rows(schema));

        // What is removed and added as it is, is there.
        database.Update([shifted[5]], [shifted[5].Id]);
        Assert.Equal(server.Rows(other), server.Rows(schema));
        Assert.Empty(made);
    }

    [Fact]
    public void Damaged_keys_are_made_again_when_a_database_is_imported()
    {
        string folder = _folder["damaged"];
        using ChunkDatabase source = TestTexts.Build(TestTexts.Documents(20, seed: 11), folder);
        DenseNeighborSource.Build(source, TestTexts.Keyer).Dispose();
        string path = Path.Combine(folder, "keys.bin");
        byte[] content = File.ReadAllBytes(path);
        content[400] ^= 1;
        File.WriteAllBytes(path, content);
        string schema = server.NewSchema(), other = server.NewSchema();
        using PostgresDatabase database = Create(schema), fresh = Create(other);
        database.Import(source);
        fresh.Update(TestTexts.Documents(20, seed: 11), []);
        Assert.Equal(server.Rows(other), server.Rows(schema));
    }

    [Fact]
    public void A_copy_that_has_a_document_twice_is_another_one()
    {
        List<Document> documents = TestTexts.Documents(4, seed: 12);
        using PostgresDatabase database = Create(server.NewSchema());
        database.Update(documents, []);
        TestTexts.Build(documents[..2], _folder["one"]).Dispose();
        TestTexts.Build(documents[1..3], _folder["two"]).Dispose();
        using ChunkDatabase copy = ChunkDatabase.Open([_folder["one"], _folder["two"]]);
        Assert.Contains("of which 3 are", Assert.Throws<PostgresDatabaseException>(() => database.Dense(copy)).Message, StringComparison.Ordinal);
        string refused = Assert.Throws<DatabaseException>(() => database.Import(copy)).Message;
        Assert.Contains($"have the id '{documents[1].Id}'", refused, StringComparison.Ordinal);
    }

    [Fact]
    public void Tables_of_before_get_the_index_that_they_are_without()
    {
        string schema = server.NewSchema();
        string asked = $"SELECT indexname FROM pg_indexes WHERE schemaname = '{schema}' AND indexname LIKE 'documents%' ORDER BY 1";
        Create(schema).Dispose();
        List<string> indexes = server.Ask(asked);
        server.Ask($"DROP INDEX \"{schema.Replace("\"", "\"\"", StringComparison.Ordinal)}\".documents_content");
        Assert.NotEqual(indexes, server.Ask(asked));
        Create(schema).Dispose();
        Assert.Equal(indexes, server.Ask(asked));
    }

    [Fact]
    public void A_downloaded_copy_has_the_bytes_of_one_that_is_built()
    {
        List<Document> documents = TestTexts.Documents(50, seed: 6);
        using PostgresDatabase database = Create(server.NewSchema());
        Assert.Throws<CorpusException>(() => database.Download(_folder["empty"]));
        database.Update(documents[25..], []);
        database.Update(documents[..25], []);
        using ChunkDatabase copy = database.Download(_folder["copy"]);
        using ChunkDatabase built = TestTexts.Build(documents.OrderBy(document => document.Id, StringComparer.Ordinal), _folder["built"]);
        Assert.Equal(Files(built), Files(copy));
        Assert.Equal(built.Manifest.CorpusHash, copy.Manifest.CorpusHash);
        Assert.Equal(built.Documents.Select(DocumentKey.Of), copy.Documents.Select(DocumentKey.Of));
        using (ChunkDatabase again = database.Download(_folder["copy"]))
        {
            Assert.Equal(copy.Manifest.TokensHash, again.Manifest.TokensHash);
        }

        Assert.Throws<ArgumentNullException>(() => database.Update([], [null!]));
        database.Update([], [documents[0].Id]);
        Assert.Contains("copy", Assert.Throws<DatabaseException>(() => database.Download(_folder["copy"])).Message, StringComparison.Ordinal);
        Assert.Contains("49", Assert.Throws<PostgresDatabaseException>(() => database.Dense(copy)).Message, StringComparison.Ordinal);

        static IEnumerable<(string Name, string Hash)> Files(ChunkDatabase of) => of.Manifest.Files.Select(file => (file.Name, file.Sha256));
    }

    [Fact]
    public void What_was_removed_or_replaced_is_not_found_from_that_moment_and_what_is_new_not_by_an_older_copy()
    {
        List<Document> documents = TestTexts.Documents(40, seed: 7, labeled: 0);
        string schema = server.NewSchema();
        using PostgresDatabase database = Create(schema);
        database.Update(documents, []);
        using ChunkDatabase copy = database.Download(_folder["copy"]);
        INeighborSource[] sources = [database.Dense(copy), database.Keywords(copy)];
        NeighborQuery[] queries = TestTexts.Queries(copy);
        const int K = 5;
        (long[] Chunks, float[] Scores)[] before = [.. sources.Select(source => source.Ask(queries, (int)copy.ChunkCount))];

        // Many that are as good as the best, so that those of the copy come after more than are asked for.
        database.Update([.. documents.Take(8).SelectMany(document => Enumerable.Range(0, 5).Select(i => document with { Id = $"{document.Id} {i}" }))], []);
        Check([]);
        string[] gone = [documents[0].Id, documents[3].Id];
        database.Update([documents[5] with { Labels = ["secret"] }], gone);
        Check([.. gone, documents[5].Id]);

        void Check(string[] without)
        {
            for (int s = 0; s < sources.Length; s++)
            {
                (long[] chunks, float[] scores) = sources[s].Ask(queries, K);
                for (int q = 0; q < queries.Length; q++)
                {
                    int all = (int)copy.ChunkCount;
                    (long Chunk, float Score)[] expected =
                    [
                        .. before[s].Chunks.Zip(before[s].Scores).Skip(q * all).Take(all)
                            .TakeWhile(pair => pair.First >= 0)
                            .Where(pair => !without.Contains(copy.Documents[copy.DocumentOf(pair.First)].Id))
                            .Take(K),
                    ];
                    Assert.Equal(expected.Select(pair => pair.Chunk), chunks.Skip(q * K).Take(K).TakeWhile(chunk => chunk >= 0));
                    Assert.Equal(expected.Select(pair => pair.Score), scores.Skip(q * K).Take(K).TakeWhile(score => !float.IsNaN(score)));
                }
            }
        }
    }

    [Fact]
    public void A_document_without_text_takes_out_the_one_of_its_id()
    {
        string schema = server.NewSchema();
        using PostgresDatabase database = Create(schema);
        List<Document> documents = TestTexts.Documents(5, seed: 9);
        database.Update(documents, []);
        database.Update([documents[0] with { Text = "" }, documents[1], new("never", "", "", "")], []);
        database.Update([documents[2] with { Text = "" }], [documents[3].Id]);
        string other = server.NewSchema();
        using PostgresDatabase without = Create(other);
        without.Update([documents[1], documents[4]], []);
        Assert.Equal(server.Rows(other), server.Rows(schema));
    }

    /// <summary>What cannot be seen is taken away by a tokenizer of BERT's.</summary>
    [Fact]
    public void A_document_of_which_the_tokenizer_leaves_nothing_takes_out_the_one_of_its_id()
    {
        const string Unseen = "\u200b";
        _folder.File("bert/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nriver\nbridge\n");
        RetroTokenizer tokenizer = RetroTokenizer.Load(_folder["bert"]);
        using PostgresDatabase database = PostgresDatabase.Create(
            server.ConnectionString, tokenizer, new ChunkKeyer(tokenizer, new HashingEmbedder(24)), TestTexts.Options(server.NewSchema()));
        database.Update([new("a", "", "river", ""), new("b", "", "bridge", "")], []);
        Assert.Throws<CorpusException>(() => database.Update([new("c", "", Unseen, "")], []));
        database.Update([new("a", "", Unseen, ""), new("b", "", "river bridge", "")], []);
        using ChunkDatabase left = database.Download(_folder["left"]);
        Assert.Equal("b", Assert.Single(left.Documents).Id);
        database.Update([new("b", "", Unseen, "")], []);
        Assert.Equal((0L, 0L), database.Count());
    }

    [Fact]
    public void A_change_that_cannot_be_made_changes_nothing()
    {
        string schema = server.NewSchema();
        using PostgresDatabase database = Create(schema);
        List<Document> documents = TestTexts.Documents(30, seed: 8);
        database.Update(documents, []);
        List<string> before = server.Rows(schema);
        Document added = new("added", "", "the harbor is quiet", "");
        PostgresDatabaseException unknown = Assert.Throws<PostgresDatabaseException>(() => database.Update([added], [documents[2].Id, "nobody"]));
        Assert.Contains("'nobody'", unknown.Message, StringComparison.Ordinal);
        foreach (Document odd in new[]
        {
            added with { Id = "a\0b" }, added with { Title = "a\0b" }, added with { Location = "a\0b" }, added with { Labels = ["a\0b"] },
        })
        {
            PostgresDatabaseException fault = Assert.Throws<PostgresDatabaseException>(() => database.Update([documents[1] with { Text = "new" }, odd], []));
            Assert.Contains("U+0000", fault.Message, StringComparison.Ordinal);
        }

        Assert.Throws<CorpusException>(() => database.Update([added with { Text = "" }], []));
        Assert.Throws<DatabaseException>(() => database.Update([added, added], []));
        using CancellationTokenSource stopped = new();
        Reports<StageProgress> stop = new(_ => stopped.Cancel());
        Assert.Throws<OperationCanceledException>(() => database.Update([added], [documents[2].Id], stop, stopped.Token));
        Assert.Equal(before, server.Rows(schema));
    }

    private PostgresDatabase Create(string schema, PostgresWriting writing = PostgresWriting.Auto)
        => PostgresDatabase.Create(server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, TestTexts.Options(schema, writing));
}
