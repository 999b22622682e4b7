using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;

namespace Retro.Tests.Search;

public class RerankedNeighborSourceTests
{
    [Theory]
    [InlineData(12)]
    [InlineData(3)]
    public void Candidates_come_in_the_order_of_BM25_and_ties_in_their_own(int depth)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(50, seed: 31));
        using VectorIndex vectors = data.Index();
        using Bm25Index index = data.Keywords();
        DenseNeighborSource dense = data.Dense(vectors);
        RerankedNeighborSource source = new(dense, new KeywordNeighborSource(data.Database, index), new() { Depth = depth });
        int[][] terms = data.Chunks.Select(chunk => chunk.Where(token => token != TestDatabases.EndOfText).ToArray()).ToArray();
        LiteralBm25 literal = new(terms);
        NeighborQuery[] queries = data.OwnQueries();
        const int K = 5;

        (long[] chunks, float[] scores) = source.Ask(queries, K);

        int deep = Math.Max(K, depth), moved = 0;
        long[] candidates = dense.Ask(queries, deep).Chunks;
        for (int q = 0; q < queries.Length; q += 3)
        {
            Dictionary<long, double> judged = literal.Top([.. terms[q].Distinct()], data.Chunks.Count, _ => false)
                .ToDictionary(row => row.Document, row => row.Score);
            long[] row = candidates[(q * deep)..((q + 1) * deep)];
            long[] expected = [.. row.OrderByDescending(chunk => Math.Round(judged.GetValueOrDefault(chunk), 9)).Take(K)];
            Assert.Equal(expected, chunks[(q * K)..((q + 1) * K)]);
            Assert.Equal(judged.GetValueOrDefault(expected[0]), scores[q * K], 1e-5);
            moved += expected.SequenceEqual(row[..K]) ? 0 : 1;
        }

        Assert.True(moved > 0, "BM25 changed no order, so that nothing was tested.");
    }

    [Fact]
    public void Excluded_documents_and_missing_candidates_stay_out()
    {
        using SearchDatabase data = new([TestDatabases.Document("a", "xyz"), TestDatabases.Document("b", "xyw"), TestDatabases.Document("c", "ppp")]);
        using Bm25Index index = data.Keywords();
        KeywordNeighborSource keywords = new(data.Database, index);
        RerankedNeighborSource source = new(new GivenNeighborSource(data.Database, [2, 0, 1]), keywords);

        Assert.Equal([0, 1, 2, -1], source.Ask([new(data.Chunks[0], [])], 4).Chunks);
        Assert.Equal([1, 2, -1, -1], source.Ask([new(data.Chunks[0], [0])], 4).Chunks);
        Assert.Equal([2, 0, 1, -1], source.Ask([new(new int[] { 'q' }, [])], 4).Chunks);
        RerankedNeighborSource nothing = new(new GivenNeighborSource(data.Database, []), keywords);
        Assert.Equal([-1, -1], nothing.Ask([new(data.Chunks[0], [])], 2).Chunks);
    }

    [Fact]
    public void What_does_not_belong_together_is_refused_and_every_part_is_in_the_identity()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 32)), other = new(SearchDatabase.Documents(5, seed: 33));
        using Bm25Index index = data.Keywords();
        KeywordNeighborSource keywords = new(data.Database, index);
        Assert.Throws<ArgumentException>(() => new RerankedNeighborSource(new RandomNeighborSource(other.Database), keywords));
        Assert.Throws<ArgumentException>(() => new RerankedNeighborSource(new NoNeighborSource(), keywords));
        RandomNeighborSource random = new(data.Database, 1);
        Assert.Throws<RetroOptionsException>(() => new RerankedNeighborSource(random, keywords, new() { Depth = 0 }));
        Assert.Equal(
            3,
            new[]
            {
                new RerankedNeighborSource(random, keywords).Identity, new RerankedNeighborSource(random, keywords, new() { Depth = 9 }).Identity,
                new RerankedNeighborSource(new RandomNeighborSource(data.Database, 2), keywords).Identity,
            }.Distinct().Count());
    }
}
