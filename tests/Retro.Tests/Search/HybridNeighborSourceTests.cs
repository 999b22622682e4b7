using Retro.Search;
using Retro.Vectors;

namespace Retro.Tests.Search;

public class HybridNeighborSourceTests
{
    [Theory]
    [InlineData(60, 32, null)]
    [InlineData(1, 3, null)]
    [InlineData(60, 32, new[] { 1.5, 0.25, 0.01 })]
    [InlineData(2, 4, new[] { 0.1, 3, 7 })]
    public void Fuses_as_the_formula_reads(double rankOffset, int depth, double[]? weights)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(50, seed: 21));
        using VectorIndex vectors = data.Index();
        using Bm25Index keywords = data.Keywords();
        INeighborSource[] sources = [data.Dense(vectors), new KeywordNeighborSource(data.Database, keywords), new RandomNeighborSource(data.Database, 3)];
        HybridNeighborSource hybrid = new(new HybridNeighborOptions { RankOffset = rankOffset, Depth = depth, Weights = weights ?? [] }, sources);
        NeighborQuery[] queries = data.OwnQueries();
        const int K = 5;
        (long[] chunks, float[] scores) = hybrid.Ask(queries, K);

        int deep = Math.Max(K, depth);
        long[][] lists = sources.Select(source => source.Ask(queries, deep).Chunks).ToArray();
        for (int q = 0; q < queries.Length; q++)
        {
            (long Chunk, double Score)[] expected = Enumerable.Range(0, data.Chunks.Count)
                .Select(chunk =>
                    ((long)chunk, Score: lists.Select((list, s) => (At: Array.IndexOf(list, chunk, q * deep, deep), Weight: weights?[s] ?? 1))
                        .Where(rank => rank.At >= 0)
                        .Sum(rank => rank.Weight / (rankOffset + 1 + rank.At - q * deep))))
                .Where(pair => pair.Score > 0)
                .OrderByDescending(pair => Math.Round(pair.Score, 12))
                .ThenBy(pair => pair.Item1)
                .Take(K)
                .ToArray();
            Assert.Equal(expected.Select(pair => pair.Chunk), chunks.Skip(q * K).Take(K).Where(chunk => chunk >= 0));
            Assert.All(expected.Select((pair, i) => (pair, i)), row => Assert.Equal(row.pair.Score, scores[q * K + row.i], 1e-6));
        }
    }

    [Fact]
    public void One_source_alone_keeps_its_order_and_missing_neighbors_stay_missing()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 22));
        using VectorIndex vectors = data.Index();
        DenseNeighborSource dense = data.Dense(vectors);
        NeighborQuery[] queries = data.OwnQueries();

        Assert.Equal(dense.Ask(queries, 7).Chunks, new HybridNeighborSource(dense).Ask(queries, 7).Chunks);
        Assert.Equal(dense.Ask(queries, 7).Chunks, new HybridNeighborSource(dense, new NoNeighborSource()).Ask(queries, 7).Chunks);
        Assert.All(new HybridNeighborSource(new NoNeighborSource()).Ask(queries, 2).Chunks, chunk => Assert.Equal(-1, chunk));
        Assert.Equal(dense.KeyIdentity, ((INeighborSource)new HybridNeighborSource(dense, new NoNeighborSource())).KeyIdentity);
    }

    /// <summary>A key means something to the embedder that made it alone.</summary>
    [Fact]
    public void A_key_is_handed_on_where_the_sources_have_one_embedder_and_left_out_where_they_have_several()
    {
        float[] key = [1, 2];
        Keyed one = new("one"), same = new("one"), other = new("other");
        Ask(new(one, same));
        Assert.Equal([key, key], new[] { one, same }.Select(source => source.Key.ToArray()));
        Ask(new(one, other));
        Assert.All([one, other], source => Assert.True(source.Key.IsEmpty));

        void Ask(HybridNeighborSource hybrid) => hybrid.Find([new NeighborQuery(new[] { 1 }, []) { Key = key }], 1, new long[1], new float[1]);
    }

    [Fact]
    public void Bad_settings_and_sources_are_refused()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 23));
        using SearchDatabase other = new(SearchDatabase.Documents(5, seed: 24));
        Assert.Throws<ArgumentException>(() => new HybridNeighborSource());
        Assert.Throws<ArgumentException>(() => new HybridNeighborSource(new NoNeighborSource(), null!));
        Assert.Throws<ArgumentException>(() => new HybridNeighborSource(new RandomNeighborSource(data.Database), new RandomNeighborSource(other.Database)));
        foreach (double offset in new[] { 0, -1, double.NaN, double.PositiveInfinity })
        {
            Assert.Single(
                Assert.Throws<RetroOptionsException>(() =>
                    new HybridNeighborSource(new HybridNeighborOptions { RankOffset = offset }, new NoNeighborSource())).Faults);
        }

        Assert.Throws<RetroOptionsException>(() => new HybridNeighborSource(new HybridNeighborOptions { Depth = 0 }, new NoNeighborSource()));
        INeighborSource random = new RandomNeighborSource(data.Database);
        Assert.Throws<ArgumentException>(() => new HybridNeighborSource(new HybridNeighborOptions { Weights = [1, 2] }, random));
        foreach (double weight in new[] { 0, -1, double.NaN, double.PositiveInfinity })
        {
            Assert.Throws<RetroOptionsException>(() => new HybridNeighborSource(new HybridNeighborOptions { Weights = [weight] }, random));
        }

        string[] identities =
        [
            .. new double[][] { [], [1], [2] }.Select(weights => new HybridNeighborSource(new HybridNeighborOptions { Weights = weights }, random).Identity),
        ];
        Assert.Equal(identities[0], identities[1]);
        Assert.NotEqual(identities[0], identities[2]);
        HybridNeighborSource a = new(new RandomNeighborSource(data.Database, 1)), b = new(new RandomNeighborSource(data.Database, 2));
        Assert.NotEqual(a.Identity, b.Identity);
        Assert.NotEqual(a.Identity, new HybridNeighborSource(new HybridNeighborOptions { Depth = 9 }, new RandomNeighborSource(data.Database, 1)).Identity);
    }

    /// <summary>Finds nothing, and keeps the key that it was asked with.</summary>
    private sealed class Keyed(string identity) : INeighborSource
    {
        public ReadOnlyMemory<float> Key { get; private set; }

        public string Name => "keyed";

        public string Identity => identity;

        public string KeyIdentity => identity;

        public void Find(
            IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            Key = queries[0].Key;
            chunks.Fill(-1);
            scores.Fill(float.NaN);
        }
    }
}
