using Retro.Search;

namespace Retro.Tests.Search;

/// <summary>The sources that search nothing: random, given and none.</summary>
public class PlainNeighborSourceTests
{
    [Fact]
    public void Random_neighbors_are_different_chunks_outside_of_the_excluded_documents_and_all_equally_likely()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(12, seed: 31, maximumLength: 40));
        int[] counts = new int[data.Chunks.Count];
        int[] excluded = [0, 3, 3, 7];
        long[] allowed = Enumerable.Range(0, data.Chunks.Count)
            .Select(chunk => (long)chunk)
            .Where(chunk => !excluded.Contains(data.Database.DocumentOf(chunk)))
            .ToArray();
        const int Queries = 4000, K = 3;
        NeighborQuery[] queries = Enumerable.Range(0, Queries).Select(i => new NeighborQuery(new[] { i, i + 1 }, excluded)).ToArray();
        foreach (long chunk in new RandomNeighborSource(data.Database, 5).Ask(queries, K).Chunks)
        {
            counts[chunk]++;
        }

        double expected = (double)Queries * K / allowed.Length;
        for (int chunk = 0; chunk < counts.Length; chunk++)
        {
            if (allowed.Contains(chunk))
            {
                Assert.InRange(counts[chunk], expected - 6 * Math.Sqrt(expected), expected + 6 * Math.Sqrt(expected));
            }
            else
            {
                Assert.Equal(0, counts[chunk]);
            }
        }
    }

    [Fact]
    public void A_random_choice_depends_on_seed_and_tokens_alone()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(40, seed: 32));
        NeighborQuery[] queries = data.OwnQueries();
        long[] chunks = new RandomNeighborSource(data.Database, 1).Ask(queries, 4).Chunks;

        Assert.Equal(chunks.Chunk(4), new RandomNeighborSource(data.Database, 1).Ask(queries.Reverse().ToArray(), 4).Chunks.Chunk(4).Reverse());
        Assert.NotEqual(chunks, new RandomNeighborSource(data.Database, 2).Ask(queries, 4).Chunks);
        int everything = data.Chunks.Count;
        long[] all = new RandomNeighborSource(data.Database).Ask([new(new[] { 1 }, [])], everything + 2).Chunks;
        Assert.Equal(Enumerable.Range(0, everything).Select(i => (long)i), all[..everything].Order());
        Assert.Equal([-1, -1], all[everything..]);
    }

    [Fact]
    public void None_finds_nothing()
        => Assert.Equal([-1, -1], new NoNeighborSource().Ask([new(new[] { 1 }, [])], 2).Chunks);

    [Fact]
    public void Given_neighbors_come_in_their_order_without_the_excluded()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(12, seed: 33));
        long[] given = [data.Chunks.Count - 1, 0, data.Chunks.Count / 2];
        int document = data.Database.DocumentOf(0);
        GivenNeighborSource source = new(data.Database, given);

        Assert.Equal(given[..2], source.Ask([new(new[] { 1 }, [])], 2).Chunks);
        Assert.Equal(
            [.. given.Where(chunk => data.Database.DocumentOf(chunk) != document).Concat([-1, -1, -1, -1]).Take(4)],
            source.Ask([new(new[] { 1 }, [document])], 4).Chunks);
        GivenNeighborSource chosen = new(data.Database, query => [query.Tokens.Span[0]]);
        Assert.Equal([3, 5], chosen.Ask([new(new[] { 3 }, []), new(new[] { 5 }, [])], 1).Chunks);
        Assert.Throws<ArgumentException>(() => new GivenNeighborSource(data.Database, [data.Chunks.Count]));
        Assert.Throws<ArgumentException>(() => chosen.Ask([new(new[] { -1 }, [])], 1));
        GivenNeighborSource none = new(data.Database, _ => null!);
        Assert.Contains("gave null", Assert.Throws<RetroException>(() => none.Ask([new(new[] { 3 }, [])], 1)).Message, StringComparison.Ordinal);
        Assert.NotEqual(chosen.Identity, new GivenNeighborSource(data.Database, _ => []).Identity);
        Assert.Equal(new GivenNeighborSource(data.Database, _ => [], "a").Identity, new GivenNeighborSource(data.Database, _ => [], "a").Identity);
        Assert.NotEqual(new GivenNeighborSource(data.Database, _ => [], "a").Identity, new GivenNeighborSource(data.Database, _ => [], "b").Identity);
    }
}
