using Retro.Corpora;
using Retro.Search;
using Retro.Tests.Database;

namespace Retro.Tests.Search;

public class KeywordNeighborSourceTests
{
    [Fact]
    public void Finds_the_best_of_the_formula_for_the_different_tokens_of_a_chunk_outside_of_the_excluded_documents()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(50, seed: 11));
        int[][] terms = data.Chunks.Select(chunk => chunk.Where(token => token != TestDatabases.EndOfText).ToArray()).ToArray();
        LiteralBm25 literal = new(terms);
        using Bm25Index index = data.Keywords();
        KeywordNeighborSource source = new(data.Database, index);
        NeighborQuery[] queries = data.OwnQueries();
        (long[] chunks, float[] scores) = source.Ask(queries, 6);
        Assert.Equal(chunks, new KeywordNeighborSource(data.Database, index, threads: 1).Ask(queries, 6).Chunks);

        for (int q = 0; q < queries.Length; q += 7)
        {
            (long Document, double Score)[] expected = literal.Top(
                [.. terms[q].Distinct()], 6, chunk => data.Database.DocumentOf(chunk) == data.Database.DocumentOf(q));
            Assert.Equal(expected.Select(row => row.Document), chunks.Skip(q * 6).Take(6).Where(chunk => chunk >= 0));
            Assert.Equal(expected.Length > 0 ? expected[0].Score : double.NaN, scores[q * 6], 1e-5);
            Assert.Equal(chunks.Skip(q * 6).Take(6), source.Ask([queries[q]], 6).Chunks);
        }
    }

    [Fact]
    public void The_padding_of_a_chunk_and_the_ends_of_documents_are_no_terms()
    {
        using SearchDatabase data = new([TestDatabases.Document("a", "xy"), TestDatabases.Document("b", "zw")]);
        using Bm25Index index = data.Keywords();
        KeywordNeighborSource source = new(data.Database, index);
        int[] padded = data.Database.Tokens(0).ToArray();

        Assert.Equal(TestDatabases.EndOfText, padded[^1]);
        Assert.Equal([0, -1], source.Ask([new(padded, [])], 2).Chunks);
        Assert.Equal([-1, -1], source.Ask([new(padded, [0])], 2).Chunks);
        Assert.Equal(4, index.TermCount);
    }

    [Fact]
    public void What_does_not_belong_together_is_refused()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 12));
        using Bm25Index other = Bm25Index.Build(1, _ => [1]);
        Assert.Throws<DatabaseException>(() => new KeywordNeighborSource(data.Database, other));
        using Bm25Index index = data.Keywords();
        KeywordNeighborSource source = new(data.Database, index);
        Assert.Throws<ArgumentException>(() => source.Ask([new(data.Chunks[0], []), new(data.Chunks[0], [77])], 1));
        Assert.Equal(0, new KeywordNeighborOptions().Validate().Threads); // one per processor, whatever the machine
        Assert.Equal(
            3, Assert.Throws<RetroOptionsException>(() => KeywordNeighborSource.Build(data.Database, new() { K1 = -1, B = 2, Threads = -1 })).Faults.Count);
        using CancellationTokenSource stopped = new();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() =>
            source.Find(data.OwnQueries(), 1, new long[data.Chunks.Count], new float[data.Chunks.Count], stopped.Token));
    }

    [Fact]
    public void Built_it_owns_its_index_and_opened_it_refuses_other_constants()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 13));
        NeighborQuery[] queries = data.OwnQueries()[..5];
        long[] expected;
        using (KeywordNeighborSource built = KeywordNeighborSource.Build(data.Database, new() { K1 = 2, B = 0.5 }))
        {
            expected = built.Ask(queries, 3).Chunks;
            built.Dispose();
            Assert.Throws<ObjectDisposedException>(() => built.Ask(queries, 3));
        }

        using KeywordNeighborSource opened = KeywordNeighborSource.Open(data.Database), same = KeywordNeighborSource.Open(
            data.Database, new() { K1 = 2, B = 0.5, Verify = false, Threads = 1 });
        Assert.Equal(expected, opened.Ask(queries, 3).Chunks);
        Assert.Equal(expected, same.Ask(queries, 3).Chunks);
        Assert.Equal(opened.Identity, same.Identity);
        string refused = Assert.Throws<DatabaseException>(() => KeywordNeighborSource.Open(data.Database, new())).Message;
        Assert.Contains("k1 2 and b 0.5", refused, StringComparison.Ordinal);
        Assert.Contains("k1 1.2 and b 0.75", refused, StringComparison.Ordinal);
        using KeywordNeighborSource other = KeywordNeighborSource.Build(data.Database);
        Assert.NotEqual(opened.Identity, other.Identity);
        Assert.Equal(expected, opened.Ask(queries, 3).Chunks); // a file that was replaced stays open
    }

    [Fact]
    public void A_damaged_index_is_refused_on_opening_and_built_again_and_opening_can_be_watched_and_stopped()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 14));
        KeywordNeighborSource.Build(data.Database).Dispose();
        List<StageProgress> told = [];
        KeywordNeighborSource.Open(data.Database, progress: new Reports<StageProgress>(told.Add)).Dispose();
        Assert.Contains(told, report => report.Stage == "check keyword index" && report.Total == new FileInfo(data["bm25.bin"]).Length);
        using CancellationTokenSource stopped = new();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => KeywordNeighborSource.Open(data.Database, cancellationToken: stopped.Token));

        byte[] whole = File.ReadAllBytes(data["bm25.bin"]), changed = [.. whole];
        changed[^1] ^= 1;
        File.WriteAllBytes(data["bm25.bin"], changed);
        Assert.Contains("checksum", Assert.Throws<DatabaseException>(() => KeywordNeighborSource.Open(data.Database)).Message, StringComparison.Ordinal);
        KeywordNeighborSource.Build(data.Database).Dispose();
        Assert.Equal(whole, File.ReadAllBytes(data["bm25.bin"]));
    }
}
