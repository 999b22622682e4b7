using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Vectors;

namespace Retro.Tests.Search;

/// <summary>Whoever asks finds what may be seen, and as much of it as there is, whichever source is asked.</summary>
public class LabelTests
{
    private const int K = 6;

    private static readonly string[] s_labels = ["a", "b", "c"];

    public static TheoryData<string> Sources => [.. SourcesOver(null!).Keys];

    [Theory]
    [MemberData(nameof(Sources))]
    public void Never_a_forbidden_chunk_and_never_fewer_than_there_are(string name)
    {
        Random random = new(41);
        int wanted = 0, right = 0;
        for (int round = 0; round < 6; round++)
        {
            // From nearly everything to nearly nothing is hidden; the most similar documents are not seen alike.
            double share = round / 5.0;
            using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 50 + round)
                .Select(document => document with { Labels = [.. s_labels.Where(_ => random.NextDouble() < share)] }));
            INeighborSource source = SourcesOver(data)[name]();
            using IDisposable? owned = source as IDisposable;
            NeighborQuery[] queries =
            [
                .. data.OwnQueries().Select(query => query with
                {
                    Labels = random.Next(5) == 0 ? null : [.. s_labels.Append("unknown").Where(_ => random.Next(2) == 0)],
                }),
            ];
            (long[] chunks, float[] scores) = source.Ask(queries, K);
            int all = data.Chunks.Count;
            (long[] every, float[] everyScore) = source.Ask([.. queries.Select(query => query with { Labels = null })], all);
            for (int q = 0; q < queries.Length; q++)
            {
                bool Visible(long chunk)
                    => queries[q].Labels is not { } seen || data.Database.Documents[data.Database.DocumentOf(chunk)].Labels.All(seen.Contains);

                long[] came = [.. chunks.AsSpan(q * K, K).ToArray().Where(chunk => chunk >= 0)];
                Assert.All(came, chunk => Assert.True(Visible(chunk)));
                (long Chunk, float Score)[] ranked = [.. every.Zip(everyScore).Skip(q * all).Take(all).TakeWhile(pair => pair.First >= 0)];
                (long Chunk, float Score)[] expected = [.. ranked.Where(pair => Visible(pair.Chunk))];
                Assert.Equal(Math.Min(K, expected.Length), came.Length);

                // What ranks the chunks one by one ranks those that are seen as it does among all.
                if (name == "given")
                {
                    Assert.Equal(expected.Take(K).Select(pair => pair.Chunk), came);
                }
                else if (name == "graph")
                {
                    // A graph's answers are approximate, among what is seen as among all.
                    wanted += came.Length;
                    right += expected.Take(K).Count(pair => came.Contains(pair.Chunk));
                }
                else if (name is not ("inverted lists" or "hybrid" or "random"))
                {
                    NeighborResults.AssertSame(
                        (Padded(expected.Select(pair => pair.Chunk), -1), Padded(expected.Select(pair => pair.Score), float.NaN)),
                        (Padded(came, -1), scores.AsSpan(q * K, K).ToArray()),
                        K);
                }
            }
        }

        Assert.InRange(right, 0.9 * wanted, wanted);

        static T[] Padded<T>(IEnumerable<T> values, T missing) => [.. values.Concat(Enumerable.Repeat(missing, K)).Take(K)];
    }

    [Fact]
    public void Faiss_passes_over_what_is_hidden_while_it_compares_where_its_kind_can()
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 3));
        ChunkSet one = new(data.Chunks.Count, [(5, 1)]);
        foreach (string factory in new[] { "Flat", "SQ8", "IVF4,Flat", "IVF4,SQ8", "IVF4,PQ4x4", "PCA8,Flat" })
        {
            using VectorIndex index = data.Index(factory);
            Assert.True(index.SearchesAmong, factory);
            long[] ids = new long[3];
            index.Search(data.AllKeys.AsSpan(0, SearchDatabase.Dimensions), 3, ids, new float[3], index.ListCount > 0 ? 4 : null, one);
            Assert.Equal([5, -1, -1], ids);
        }
    }

    /// <summary>What is near of a small part of the chunks lies farther off than what is near of all.</summary>
    [Theory]
    [InlineData("IVF128,Flat", "nprobe=8")]
    [InlineData("HNSW6", "efSearch=16")]
    public void As_much_of_what_is_nearest_is_found_however_little_may_be_seen(string factory, string parameters)
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        using SearchDatabase data = new(SearchDatabase.Documents(3500, seed: 61).Select((document, i) => document with
        {
            Labels = [i % 1000 == 7 ? "one in a thousand" : (i % 100) switch { 5 => "one in a hundred", > 55 => "nearly half", _ => "others" }],
        }));

        // Threads link a graph in whatever order they come; one alone makes the same each time.
        using DenseNeighborSource source = DenseNeighborSource.Build(
            data.Database, data.Keyer(), new() { Factory = factory, Parameters = parameters, Threads = 1 });
        NeighborQuery[] queries = [.. data.OwnQueries().Where((_, chunk) => chunk % 199 == 0)];
        double all = Recall(null);
        Assert.InRange(all, 0.3, 0.98);
        Assert.Equal(1, Recall("one in a thousand"));
        Assert.Equal(1, Recall("one in a hundred"));
        Assert.InRange(Recall("nearly half"), all - (factory == "HNSW6" ? 0.05 : 0.02), 1); // a graph passes over what is hidden after it has searched

        double Recall(string? label)
        {
            bool[] seen = [.. Enumerable.Range(0, data.Chunks.Count).Select(Sees)];
            (long[] found, _) = source.Ask([.. queries.Select(query => query with { Labels = label is null ? null : [label] })], K);
            int right = 0, wanted = 0;
            for (int q = 0; q < queries.Length; q++)
            {
                long[] nearest =
                [
                    .. data.Nearest(queries[q].Tokens.ToArray(), data.Chunks.Count, [.. queries[q].ExcludedDocuments]).Where(chunk => seen[chunk]).Take(K),
                ];
                wanted += nearest.Length;
                right += nearest.Intersect(found.AsSpan(q * K, K).ToArray()).Count();
            }

            return (double)right / wanted;

            bool Sees(int chunk) => label is null || data.Database.Documents[data.Database.DocumentOf(chunk)].Labels[0] == label;
        }
    }

    [Fact]
    public void A_document_without_labels_is_seen_by_everybody_and_one_with_two_only_with_both()
    {
        Document[] documents =
        [
            new("open", "", "the river runs", ""), new("one", "", "the river runs", "") { Labels = ["a"] },
            new("both", "", "the river runs", "") { Labels = ["a", "b"] },
        ];
        using SearchDatabase data = new(documents, chunkLength: 16);
        using Bm25Index index = data.Keywords();
        KeywordNeighborSource source = new(data.Database, index);
        Assert.Equal(["open", "one", "both"], Found(null));
        Assert.Equal(["open"], Found([]));
        Assert.Equal(["open"], Found(["b"]));
        Assert.Equal(["open", "one"], Found(["a"]));
        Assert.Equal(["open", "one", "both"], Found(["b", "a", "c"]));
        Assert.Throws<ArgumentException>(() => Found([null!]));

        IEnumerable<string> Found(string[]? labels) => source
            .Ask([new NeighborQuery(data.Chunks[0], []) { Labels = labels }], 3).Chunks
            .Where(chunk => chunk >= 0)
            .Select(chunk => data.Database.Documents[data.Database.DocumentOf(chunk)].Id);
    }

    /// <summary>Of more sets of labels than are kept the oldest goes, and not all of them.</summary>
    [Fact]
    public void A_further_set_of_labels_leaves_the_latest_ones_as_they_are()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(80, seed: 5).Select((document, i) => document with { Labels = [$"label {i % 70}"] }));
        DocumentLabels labels = new(data.Database);
        ChunkSet?[] sets = [.. Enumerable.Range(0, 65).Select(Seen)];
        Assert.All(Enumerable.Range(1, 64), i => Assert.Same(sets[i], Seen(i)));
        Assert.NotSame(sets[0], Seen(0));

        ChunkSet? Seen(int label) => labels.Visible([$"label {label}"]);
    }

    /// <summary>Which each text of a request asks for.</summary>
    [Fact]
    public void What_is_hidden_is_found_once_for_the_same_labels()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(80, seed: 6).Select((document, i) => document with { Labels = [$"label {i % 4}"] }));
        DocumentLabels labels = new(data.Database);
        HashSet<int> hidden = labels.Hidden(["label 1", "label 2"]);
        Assert.Equal(Enumerable.Range(0, 80).Where(i => i % 4 is 0 or 3), hidden.Order());
        Assert.Same(hidden, labels.Hidden(["label 2", "none", "label 1"]));
        Assert.NotSame(hidden, labels.Hidden(["label 1"]));
        Assert.Empty(labels.Hidden(null));
    }

    [Fact]
    public void A_set_of_chunks_counts_and_selects_its_members()
    {
        Random random = new(5);
        foreach (int size in new[] { 0, 1, 63, 64, 65, 200, 1000 })
        {
            long[] members = [.. Enumerable.Range(0, size).Where(_ => random.Next(3) == 0).Select(chunk => (long)chunk)];
            ChunkSet set = new(size, members.Select(chunk => (chunk, 1L)));
            Assert.Equal((members.Length, size), (set.Count, set.Size));
            Assert.Equal(members, Enumerable.Range(0, size).Select(chunk => (long)chunk).Where(set.Contains));
            Assert.Equal(members, set.Members());
            Assert.All(
                Enumerable.Range(0, members.Length + 1),
                place => Assert.Equal(members.Skip(place).Take(7), set.Members(place, Math.Min(7, members.Length - place))));
            Assert.Equal(members, Enumerable.Range(0, members.Length).Select(place => set.Select(place)));
            Assert.All(Enumerable.Range(0, size + 1), chunk => Assert.Equal(members.Count(member => member < chunk), set.Rank(chunk)));
            Assert.All(Enumerable.Range(0, size), chunk => Assert.Equal(set.Contains(chunk), (set.Bytes[chunk / 8] >> (chunk % 8) & 1) == 1));
        }
    }

    private static Dictionary<string, Func<INeighborSource>> SourcesOver(SearchDatabase data) => new()
    {
        ["bm25"] = () => KeywordNeighborSource.Build(data.Database),
        ["dense"] = () => Dense(data, VectorEngine.Auto, null),
        ["exact"] = () => Dense(data, VectorEngine.Exact, null),
        ["inverted lists"] = () => Dense(data, VectorEngine.Auto, "IVF8,Flat"),
        ["graph"] = () => Dense(data, VectorEngine.Auto, "HNSW16"),
        ["hybrid"] = () => new HybridNeighborSource(KeywordNeighborSource.Build(data.Database), Dense(data, VectorEngine.Auto, null)),
        ["reranked"] = () => new RerankedNeighborSource(
            Dense(data, VectorEngine.Auto, null), KeywordNeighborSource.Build(data.Database), new RerankedNeighborOptions { Depth = 1000 }),
        ["random"] = () => new RandomNeighborSource(data.Database, 3),
        ["given"] = () => new GivenNeighborSource(data.Database, [.. Enumerable.Range(0, data.Chunks.Count).Select(chunk => (long)chunk).Reverse()]),
        ["none"] = () => new NoNeighborSource(),
    };

    private static DenseNeighborSource Dense(SearchDatabase data, VectorEngine engine, string? factory)
        => DenseNeighborSource.Build(data.Database, data.Keyer(), new DenseNeighborOptions { Engine = engine, Factory = factory });
}
