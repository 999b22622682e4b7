using System.Diagnostics;
using Npgsql;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests;
using Retro.Tests.Search;
using Retro.Vectors;

namespace Retro.Postgres.Tests;

/// <summary>The sources find what the library's own find, or what they say, and never what may not be seen.</summary>
public sealed class PostgresSearchTests(TestServer server) : IDisposable
{
    private const int K = 6;

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Sources => ["dense exact", "dense without an index", "graph", "inverted lists", "words", "hybrid"];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Sources))]
    public void Never_a_forbidden_chunk_and_never_fewer_than_there_are(string name)
    {
        using TestServer.IndexPreference indexes = server.PreferIndexes();
        Random random = new(41);
        int wanted = 0, right = 0;
        for (int round = 0; round < 4; round++)
        {
            // From nearly everything to nearly nothing is hidden; the most similar documents are not seen alike.
            using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(60, seed: 50 + round, labeled: round / 3.0), _folder[$"copy {round}"]);
            using PostgresDatabase database = Import(copy, connection: indexes.ConnectionString);
            INeighborSource source = Source(name, database, copy);
            NeighborQuery[] queries =
            [
                .. TestTexts.Queries(copy).Select(query => query with
                {
                    Labels = random.Next(5) == 0 ? null : [.. new[] { "a", "b", "c, {d}", "unknown", "\0", "\ud800" }.Where(_ => random.Next(2) == 0)],
                }),
            ];
            (long[] chunks, float[] scores) = source.Ask(queries, K);
            int all = (int)copy.ChunkCount;
            (long[] every, float[] everyScore) = source.Ask([.. queries.Select(query => query with { Labels = null })], all);
            for (int q = 0; q < queries.Length; q++)
            {
                bool Visible(long chunk) => queries[q].Labels is not { } seen || copy.Documents[copy.DocumentOf(chunk)].Labels.All(seen.Contains);

                long[] came = [.. chunks.AsSpan(q * K, K).ToArray().Where(chunk => chunk >= 0)];
                Assert.All(came, chunk => Assert.True(Visible(chunk) && !queries[q].ExcludedDocuments.Contains(copy.DocumentOf(chunk))));
                (long Chunk, float Score)[] expected =
                [
                    .. every.Zip(everyScore).Skip(q * all).Take(all).TakeWhile(pair => pair.First >= 0).Where(pair => Visible(pair.First)),
                ];
                Assert.Equal(Math.Min(K, expected.Length), came.Length);
                if (name == "hybrid")
                {
                    continue; // it joins the ranks among what is seen
                }

                right += expected.Take(K).Count(pair => came.Contains(pair.Chunk));
                wanted += came.Length;
                if (name is not ("graph" or "inverted lists"))
                {
                    Assert.Equal(expected.Take(K).Select(pair => pair.Chunk), came);
                    Assert.Equal(expected.Take(K).Select(pair => pair.Score), scores.AsSpan(q * K, came.Length).ToArray());
                }
            }
        }

        Assert.InRange(right, 0.9 * wanted, wanted);
    }

    [Theory]
    [InlineData(VectorMetric.SquaredL2)]
    [InlineData(VectorMetric.InnerProduct)]
    public void Dense_neighbors_are_those_of_the_exact_index(VectorMetric metric)
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(80, seed: 9), _folder["copy"]);
        using PostgresDatabase database = Import(copy, metric);
        using DenseNeighborSource exact = DenseNeighborSource.Build(copy, TestTexts.Keyer, new() { Engine = VectorEngine.Exact, Metric = metric });
        PostgresDenseNeighborSource source = database.Dense(copy);
        NeighborQuery[] queries = TestTexts.Queries(copy);
        (long[] chunks, float[] scores) = source.Ask(queries, K);
        NeighborResults.AssertSame(exact.Ask(queries, K), (chunks, scores), K);
        Assert.Equal(chunks, database.Dense(copy, new() { Exact = true }).Ask(queries, K).Chunks);

        // A query without a key finds nothing, keys that come along are taken, and others are refused.
        NeighborQuery signs = new(TestTexts.Tokenizer.Encode("- . !"), []);
        Assert.All(source.Ask([signs], K).Chunks, chunk => Assert.Equal(-1, chunk));
        float[] key = TestTexts.Keyer.KeyOfText("the old bridge");
        NeighborQuery asked = new(TestTexts.Tokenizer.Encode("the old bridge"), []);
        Assert.Equal(source.Ask([asked], K).Chunks, source.Ask([signs with { Key = key }], K).Chunks);
        Assert.Throws<ArgumentException>(() => source.Ask([signs with { Key = key.AsMemory(1) }], K));
        Assert.Throws<ArgumentException>(() => source.Ask([asked with { Labels = [null!] }], K));
        Assert.Throws<ArgumentException>(() => source.Ask([asked with { ExcludedDocuments = [1000] }], K));
    }

    [Theory]
    [InlineData("graph")]
    [InlineData("inverted lists")]
    public void An_index_is_searched_and_has_its_share_of_the_exact_neighbors(string name)
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(400, seed: 10, labeled: 0.2), _folder["copy"]);
        using TestServer.IndexPreference indexes = server.PreferIndexes();
        using PostgresDatabase database = Import(copy, connection: indexes.ConnectionString);
        PostgresDenseNeighborSource exact = database.Dense(copy, new() { Exact = true }), before = database.Dense(copy);
        PostgresDenseNeighborSource source = (PostgresDenseNeighborSource)Source(name, database, copy);
        Assert.Equal(exact.Identity, before.Identity);
        Assert.NotEqual(exact.Identity, source.Identity);
        Assert.NotEqual(source.Identity, database.Dense(copy, new() { Candidates = 11, Probes = 3 }).Identity);
        Assert.Equal(exact.Identity, database.Dense(copy, new() { Exact = true }).Identity);
        NeighborQuery[] queries = [.. TestTexts.Queries(copy).Where((_, i) => i % 9 == 0).Select(query => query with { Labels = ["a"] })];
        Assert.Contains("Index Scan using chunks_key", Plan(indexes.ConnectionString, source, queries[0], exactly: false), StringComparison.Ordinal);
        Assert.DoesNotContain("chunks_key", Plan(indexes.ConnectionString, source, queries[0], exactly: true), StringComparison.Ordinal);
        (long[] chunks, float[] scores) = source.Ask(queries, K);
        (long[] best, float[] bestScores) = exact.Ask(queries, K);
        Assert.Equal(best.Count(chunk => chunk >= 0), chunks.Count(chunk => chunk >= 0));
        int asGood = Enumerable.Range(0, chunks.Length)
            .Count(i => chunks[i] < 0 || bestScores[i / K * K + K - 1] is var last && (float.IsNaN(last) || scores[i] >= last));
        Assert.InRange(asGood, 0.9 * chunks.Length, chunks.Length);
        database.BuildIndex(new() { Kind = PostgresIndexKind.None });
        Assert.Equal(exact.Identity, database.Dense(copy).Identity);
    }

    /// <summary>As the README advises where labels hide nearly everything.</summary>
    [Fact]
    public void An_index_over_labels_is_taken_and_changes_nothing_that_is_found()
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(60, seed: 11, labeled: 0.7), _folder["copy"]);
        using TestServer.IndexPreference indexes = server.PreferIndexes();
        string schema = server.NewSchema();
        using PostgresDatabase database = PostgresDatabase.Create(
            indexes.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, TestTexts.Options(schema));
        database.Import(copy);
        PostgresDenseNeighborSource source = database.Dense(copy);
        NeighborQuery[] queries = [.. TestTexts.Queries(copy).Select(query => query with { Labels = ["a"] })];
        (long[] chunks, float[] scores) = source.Ask(queries, K);
        Assert.DoesNotContain("chunks_labels", Plan(indexes.ConnectionString, source, queries[0], exactly: true), StringComparison.Ordinal);

        TestServer.Ask(indexes.ConnectionString, $"CREATE INDEX ON \"{schema.Replace("\"", "\"\"", StringComparison.Ordinal)}\".chunks USING gin (labels)");

        Assert.Contains("chunks_labels", Plan(indexes.ConnectionString, source, queries[0], exactly: true), StringComparison.Ordinal);
        (long[] after, float[] scoresAfter) = source.Ask(queries, K);
        Assert.Equal(chunks, after);
        Assert.Equal(scores, scoresAfter);
    }

    private static string Plan(string connectionString, PostgresDenseNeighborSource asked, in NeighborQuery query, bool exactly)
    {
        using NpgsqlConnection connection = NpgsqlDataSourceOf(connectionString).OpenConnection();
        using NpgsqlTransaction transaction = connection.BeginTransaction();
        foreach (string statement in asked.Setup)
        {
            using NpgsqlCommand setting = new(statement, connection);
            setting.ExecuteNonQuery();
        }

        NpgsqlBatchCommand search = asked.Statement(TestTexts.Keyer.KeyOfText("the old bridge"), query, K, exactly);
        using NpgsqlCommand explain = new($"EXPLAIN {search.CommandText}", connection);
        explain.Parameters.AddRange(search.Parameters.Select(parameter => parameter.Clone()).ToArray());
        using NpgsqlDataReader rows = explain.ExecuteReader();
        List<string> lines = [];
        while (rows.Read())
        {
            lines.Add(rows.GetString(0));
        }

        return string.Join('\n', lines);
    }

    private static NpgsqlDataSource NpgsqlDataSourceOf(string connectionString)
    {
        NpgsqlDataSourceBuilder builder = new(connectionString);
        builder.UseVector();
        return builder.Build();
    }

    [Fact]
    public void Words_are_ranked_by_how_often_a_chunk_has_them_and_stay_what_they_are()
    {
        Document[] documents =
        [
            new("none", "", "a harbor", ""), new("once", "", "the river and it's a\\b | & !", ""), new("thrice", "", "the river of river and river", ""),
        ];
        using ChunkDatabase copy = TestTexts.Build(documents, _folder["copy"]);
        using PostgresDatabase database = Import(copy);
        PostgresKeywordNeighborSource source = database.Keywords(copy);
        Assert.Equal(["thrice", "once"], Found("River"));
        Assert.Equal(["once"], Found("it's"));
        Assert.Equal(["none"], Found("\\ | ! & ' <-> harbor:* (\0 \"x"));
        Assert.Empty(Found(" !! ? "));

        IEnumerable<string> Found(string text)
        {
            NeighborQuery query = new(TestTexts.Tokenizer.Encode(text), []);
            return source.Ask([query], 3).Chunks.Where(chunk => chunk >= 0).Select(chunk => copy.Documents[copy.DocumentOf(chunk)].Id).Distinct().ToArray();
        }
    }

    /// <summary>One of a language finds a word in its other forms.</summary>
    [Theory]
    [InlineData("simple", false)]
    [InlineData("english", true)]
    public void Words_are_what_the_text_search_configuration_makes_of_a_text(string configuration, bool stems)
    {
        Assert.SkipUnless(
            server.Ask($"SELECT 1 FROM pg_ts_config WHERE cfgname = '{configuration}'").Count > 0,
            $"The server has no text search configuration {configuration}.");
        using ChunkDatabase copy = TestTexts.Build([new("rivers", "", "rivers, boats and mills beside them", "")], _folder["copy"]);
        using PostgresDatabase database = PostgresDatabase.Create(
            server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, TestTexts.Options(server.NewSchema()) with { TextSearch = configuration });
        database.Import(copy);
        Assert.Equal(0, Found("rivers"));
        Assert.Equal(stems ? 0 : -1, Found("river"));

        long Found(string text) => Assert.Single(database.Keywords(copy).Ask([new NeighborQuery(TestTexts.Tokenizer.Encode(text), [])], 1).Chunks);
    }

    [Fact]
    public void A_hybrid_joins_the_ranks_of_both()
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(50, seed: 11), _folder["copy"]);
        using PostgresDatabase database = Import(copy);
        INeighborSource[] sources = [database.Dense(copy), database.Keywords(copy)];
        HybridNeighborOptions options = new() { RankOffset = 10, Depth = 12, Weights = [1, 2] };
        HybridNeighborSource hybrid = new(options, sources);
        NeighborQuery[] queries = TestTexts.Queries(copy);
        (long[] chunks, float[] scores) = hybrid.Ask(queries, K);
        (long[] Chunks, float[] Scores)[] each = [.. sources.Select(source => source.Ask(queries, options.Depth))];
        for (int q = 0; q < queries.Length; q++)
        {
            (long Chunk, double Score)[] expected =
            [
                .. each.SelectMany((answer, s) => answer.Chunks.Skip(q * options.Depth).Take(options.Depth)
                        .Select((chunk, rank) => (Chunk: chunk, Share: options.Weights[s] / (options.RankOffset + rank + 1))))
                    .Where(pair => pair.Chunk >= 0)
                    .GroupBy(pair => pair.Chunk, (chunk, shares) => (Chunk: chunk, Score: shares.Sum(pair => pair.Share)))
                    .OrderByDescending(pair => pair.Score).ThenBy(pair => pair.Chunk)
                    .Take(K),
            ];
            Assert.Equal(expected.Select(pair => pair.Chunk), chunks.Skip(q * K).Take(K).TakeWhile(chunk => chunk >= 0));
            Assert.All(expected.Zip(scores.Skip(q * K)), pair => Assert.Equal(pair.First.Score, pair.Second, 1e-6));
        }
    }

    [Fact]
    public void Several_threads_ask_at_once()
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(40, seed: 12), _folder["copy"]);
        using PostgresDatabase database = Import(copy);
        INeighborSource source = database.Dense(copy);
        NeighborQuery[] queries = TestTexts.Queries(copy);
        long[] expected = source.Ask(queries, K).Chunks;
        long[][] came = new long[8][];
        Parallel.For(0, came.Length, new ParallelOptions { MaxDegreeOfParallelism = came.Length }, i => came[i] = source.Ask(queries, K).Chunks);
        Assert.All(came, chunks => Assert.Equal(expected, chunks));
    }

    [Fact]
    public void A_search_is_stopped()
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(10, seed: 13), _folder["copy"]);
        using PostgresDatabase database = Import(copy);
        Assert.Throws<OperationCanceledException>(
            () => database.Dense(copy).Find(TestTexts.Queries(copy)[..1], 1, new long[1], new float[1], new CancellationToken(canceled: true)));
    }

    /// <summary>Without the old index nobody can search until the transaction ends.</summary>
    [Fact]
    public void The_old_index_goes_when_the_new_one_is_made()
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(20, seed: 19), _folder["copy"]);
        using PostgresDatabase database = Import(copy);
        database.BuildIndex();
        List<string> statements = [];
        using (ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == "Npgsql",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = activity => statements.AddRange(
                activity.TagObjects.Where(tag => tag.Key is "db.statement" or "db.query.text").Select(tag => (string)tag.Value!)),
        })
        {
            ActivitySource.AddActivityListener(listener);
            database.BuildIndex(new() { Kind = PostgresIndexKind.IvfFlat, Lists = 2 });
        }

        string name = database.Schema.Replace("\"", "\"\"", StringComparison.Ordinal);
        string[] changes =
        [
            .. statements.Where(statement => statement.Contains(name, StringComparison.Ordinal) && statement.Contains(" INDEX ", StringComparison.Ordinal)),
        ];
        Assert.Equal(["CREATE", "DROP", "ALTER"], changes.Select(statement => statement.Split(' ')[0]));
        string asked = $"SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = '{database.Schema}' AND indexname LIKE 'chunks_key%'";
        string index = Assert.Single(server.Ask(asked));
        Assert.StartsWith("chunks_key|", index, StringComparison.Ordinal);
        Assert.Contains("ivfflat", index, StringComparison.Ordinal);

        // As many of the lists are looked into as are said, or their square root.
        database.BuildIndex(new() { Kind = PostgresIndexKind.IvfFlat, Lists = 25 });
        Assert.Contains("SET LOCAL ivfflat.probes = 5", database.Dense(copy).Setup);
        Assert.Contains("SET LOCAL ivfflat.probes = 7", database.Dense(copy, new() { Probes = 7 }).Setup);
    }

    private PostgresDatabase Import(ChunkDatabase copy, VectorMetric metric = VectorMetric.SquaredL2, string? connection = null)
    {
        PostgresDatabase database = PostgresDatabase.Create(
            connection ?? server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, TestTexts.Options(server.NewSchema()) with { Metric = metric });
        database.Import(copy);
        return database;
    }

    private static INeighborSource Source(string name, PostgresDatabase database, ChunkDatabase copy)
    {
        switch (name)
        {
            case "graph":
                database.BuildIndex(new() { Connections = 4, Candidates = 16 });
                return database.Dense(copy, new() { Candidates = 10 });
            case "inverted lists":
                database.BuildIndex(new() { Kind = PostgresIndexKind.IvfFlat, Lists = 8 });
                return database.Dense(copy, new() { Probes = 5 });
            case "dense exact":
                database.BuildIndex();
                return database.Dense(copy, new() { Exact = true });
            case "words":
                return database.Keywords(copy);
            case "hybrid":
                return new HybridNeighborSource(database.Keywords(copy), database.Dense(copy));
            default:
                return database.Dense(copy);
        }
    }
}
