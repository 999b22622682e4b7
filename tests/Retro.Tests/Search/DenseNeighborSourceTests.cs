using Retro.Corpora;
using Retro.Search;
using Retro.Tests.Database;

namespace Retro.Tests.Search;

public class DenseNeighborSourceTests
{
    [Theory]
    [InlineData(VectorMetric.SquaredL2)]
    [InlineData(VectorMetric.InnerProduct)]
    public void Finds_the_nearest_keys_outside_of_the_excluded_documents(VectorMetric metric)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(40, seed: 1));
        using VectorIndex index = data.Index("Flat", metric);
        NeighborQuery[] queries = data.OwnQueries();
        (long[] chunks, float[] scores) = data.Dense(index).Ask(queries, 5);

        for (int q = 0; q < queries.Length; q++)
        {
            float[] key = SearchDatabase.KeyOf(data.Chunks[q]);
            double Score(long chunk) => Enumerable.Range(0, SearchDatabase.Dimensions).Sum(j =>
            {
                double other = data.AllKeys[chunk * SearchDatabase.Dimensions + j];
                return metric == VectorMetric.InnerProduct ? key[j] * other : -(key[j] - other) * (key[j] - other);
            });
            double[] expected = Enumerable.Range(0, data.Chunks.Count)
                .Where(chunk => data.Database.DocumentOf(chunk) != data.Database.DocumentOf(q))
                .Select(chunk => Score(chunk)).OrderDescending().Take(5).ToArray();
            for (int i = 0; i < 5; i++)
            {
                long found = chunks[q * 5 + i];
                Assert.NotEqual(data.Database.DocumentOf(q), data.Database.DocumentOf(found));
                Assert.Equal(expected[i], Score(found), 1e-5);
                Assert.Equal(expected[i], scores[q * 5 + i], 1e-5);
            }
        }
    }

    [Fact]
    public void Widens_until_there_are_enough_although_whole_long_documents_are_excluded()
    {
        // One document fills nearly the whole database, and all its chunks are nearer to its own chunks than anything else.
        List<Retro.Corpora.Document> documents = [TestDatabases.Document("long", string.Concat(Enumerable.Repeat("abcdefg ", 600)))];
        documents.AddRange(SearchDatabase.Documents(6, seed: 2));
        using SearchDatabase data = new(documents);
        using VectorIndex index = data.Index();

        (long[] chunks, _) = data.Dense(index).Ask([new(data.Chunks[17], [0])], 9);

        data.AssertNearest(data.Chunks[17], chunks, 0);
    }

    [Fact]
    public void Looks_into_more_lists_until_there_are_enough_and_leaves_the_index_as_it_was()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 3));
        using VectorIndex index = data.Index("IVF16,Flat");
        index.ProbedLists = 1;
        NeighborQuery[] queries = data.OwnQueries();
        int all = data.Chunks.Count;

        (long[] chunks, _) = data.Dense(index).Ask(queries[..12], all);

        for (int q = 0; q < 12; q++)
        {
            // Everything outside of the own document comes, and nothing else.
            int own = data.Database.Documents[data.Database.DocumentOf(q)].ChunkCount;
            Assert.Equal(all - own, chunks.Skip(q * all).Take(all).Count(chunk => chunk >= 0));
            Assert.DoesNotContain(chunks.Skip(q * all).Take(all - own), chunk => data.Database.DocumentOf(chunk) == data.Database.DocumentOf(q));
        }

        Assert.Equal(1, index.ProbedLists);
    }

    [Fact]
    public void Where_everything_is_excluded_or_nothing_more_is_there_neighbors_are_missing()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(3, seed: 4));
        using VectorIndex index = data.Index();
        int documents = data.Database.Documents.Count;
        (long[] chunks, _) = data.Dense(index).Ask([new(data.Chunks[0], [.. Enumerable.Range(0, documents)]), new(data.Chunks[0], [])], 200);

        Assert.All(chunks[..200], chunk => Assert.Equal(-1, chunk));
        Assert.Equal(data.Chunks.Count, chunks[200..].Count(chunk => chunk >= 0));
    }

    [Fact]
    public void Equal_chunks_come_in_the_order_of_their_numbers()
    {
        using SearchDatabase data = new(Enumerable.Range(0, 30).Select(i => TestDatabases.Document($"copy {i}", "the same")));
        using VectorIndex index = data.Index();
        (long[] chunks, float[] scores) = data.Dense(index).Ask([new(data.Chunks[0], [0])], 8);

        Assert.Equal(8, chunks.Length);
        Assert.Equal(chunks.Order(), chunks);
        Assert.All(scores, score => Assert.Equal(0, score, 1e-5));
        Assert.DoesNotContain(0L, chunks);
    }

    [Fact]
    public void The_order_of_queries_and_keys_that_came_along_change_nothing()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 5));
        using VectorIndex index = data.Index();
        DenseNeighborSource source = data.Dense(index);
        NeighborQuery[] queries = data.OwnQueries();
        (long[] Chunks, float[] Scores) plain = source.Ask(queries, 4);

        (long[] chunks, float[] scores) = source.Ask(queries.Reverse().ToArray(), 4);
        NeighborResults.AssertSame(plain, ([.. chunks.Chunk(4).Reverse().SelectMany(row => row)], [.. scores.Chunk(4).Reverse().SelectMany(row => row)]), 4);

        int made = data.KeysMade;
        NeighborResults.AssertSame(plain, source.Ask(queries.Select((query, i) => i % 2 == 0 ? query : query with { Key = SearchDatabase.KeyOf(data.Chunks[i]) }).ToArray(), 4), 4);
        Assert.Equal(made + (queries.Length + 1) / 2, data.KeysMade);
        Assert.Throws<ArgumentException>(() => source.Ask([queries[0] with { Key = new float[3] }], 4));
    }

    [Fact]
    public void Its_identity_names_the_engine_and_the_search_parameters()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 7));
        using VectorIndex index = data.Index("HNSW8");
        using VectorIndex flat = data.Index();
        using VectorIndex exact = VectorIndex.Create(SearchDatabase.Dimensions, engine: VectorEngine.Exact);
        exact.Add(data.AllKeys);
        DenseNeighborSource source = data.Dense(index);
        string plain = source.Identity;
        index.SetParameter("efSearch", 20);
        string twenty = source.Identity;
        index.SetParameters("efSearch=40");
        string forty = source.Identity;
        index.SetParameters("efSearch=20");

        Assert.Equal(3, new[] { plain, twenty, forty }.Distinct().Count());
        Assert.Equal(twenty, source.Identity);
        Assert.Throws<FaissException>(() => index.SetParameter("nosuch", 1));
        Assert.Equal(twenty, source.Identity);
        Assert.NotEqual(data.Dense(flat).Identity, data.Dense(exact).Identity);
    }

    [Fact]
    public void What_does_not_belong_together_is_refused()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 6));
        using VectorIndex index = data.Index();
        DenseNeighborSource source = data.Dense(index);

        Assert.Throws<ArgumentException>(() => source.Ask([new(data.Chunks[0], [data.Database.Documents.Count])], 2));
        Assert.Throws<ArgumentException>(() => source.Ask([new(data.Chunks[0], [-1])], 2));
        Assert.Throws<ArgumentException>(() => source.Find([new(data.Chunks[0], [])], 2, new long[1], new float[2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => source.Find([], 0, [], []));
        source.Find([], 3, [], []);
        Assert.Contains("keys of 24", Assert.Throws<DatabaseException>(() => new DenseNeighborSource(data.Database, index, data.Keys, 7, "seven")).Message, StringComparison.Ordinal);
        index.Add(new float[SearchDatabase.Dimensions]);
        Assert.Contains("build the index again", Assert.Throws<DatabaseException>(() => data.Dense(index)).Message, StringComparison.Ordinal);
    }
}
