using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Search;
using Retro.Tokenizers;
using Retro.Vectors;

namespace Retro.Tests;

/// <summary>What is documented as safe to use from several threads gives each of them what it gives one.</summary>
public class ConcurrentUseTests
{
    private const int Threads = 4, Rounds = 25;

    [Theory]
    [InlineData("pretrained/bert")]
    [InlineData("pretrained/gpt2-no-prefix")]
    [InlineData("pretrained/llama-rope-linear")]
    [InlineData("sentencepiece/unigram-nfkc")]
    public void Tokenizers(string folder)
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(Fixtures.Own, folder));
        string[] texts = [.. Enumerable.Range(0, 40).Select(i => $"Text {i * 7919}: the lighthouse, naïve café, 日本語 {new string((char)('a' + (i % 26)), i)}")];

        AssertSame(() => texts.Select(text => tokenizer.Encode(text)).Select(ids => $"{string.Join(' ', ids)} {tokenizer.Decode(ids)}"));
    }

    [Fact]
    public void A_database()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 71));
        ChunkDatabase database = data.Database;

        AssertSame(() => Enumerable.Range(0, (int)database.ChunkCount).Select(chunk =>
        {
            long[] tokens = new long[20];
            bool[] valid = new bool[20];
            database.CopyRetrieved(chunk, tokens, valid);
            DocumentEntry entry = database.Documents[database.DocumentOf(chunk)];
            return $"{entry.Id} {entry.Title} {database.Continuation(chunk)} {string.Join(' ', database.Tokens(chunk).ToArray())} "
                + $"{string.Join(' ', tokens)} {string.Join(' ', valid)}";
        }));
    }

    [Theory]
    [InlineData("exact")]
    [InlineData("inverted lists")]
    [InlineData("bm25")]
    [InlineData("hybrid")]
    [InlineData("random")]
    public void Neighbor_sources(string kind)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(60, seed: 72));
        using VectorIndex index = data.Index(kind == "inverted lists" ? "IVF16,Flat" : "Flat");
        using Bm25Index words = data.Keywords();
        KeywordNeighborSource keywords = new(data.Database, words);
        INeighborSource source = kind switch
        {
            "bm25" => keywords,
            "hybrid" => new HybridNeighborSource(data.Dense(index), keywords),
            "random" => new RandomNeighborSource(data.Database, 4),
            _ => data.Dense(index),
        };
        NeighborQuery[] queries = data.OwnQueries();

        // Long lists, so that a search has to widen while others search.
        AssertSame(() => queries.Where((_, i) => i % 5 == 0).Select(query => string.Join(' ', source.Ask([query], 30).Chunks)), rounds: 5);
    }

    [Fact]
    public void Embedders_and_keys()
    {
        using TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny), EmbeddingInputs.Tokenizer);
        ChunkKeyer keyer = new(EmbeddingInputs.Tokenizer, embedder);

        AssertSame(() => EmbeddingInputs.Texts.Select(text => string.Join(' ', keyer.KeyOfText(text))));
    }

    /// <summary>Does the same on several threads at once, again and again, and compares with what one thread gave before.</summary>
    private static void AssertSame(Func<IEnumerable<string>> work, int rounds = Rounds)
    {
        string[] expected = [.. work()];
        using Barrier together = new(Threads);
        string[][][] came = new string[Threads][][];
        Exception?[] faults = new Exception?[Threads];
        Thread[] threads = [.. Enumerable.Range(0, Threads).Select(number => new Thread(() =>
        {
            together.SignalAndWait();
            faults[number] = Record.Exception(() => came[number] = [.. Enumerable.Range(0, rounds).Select(_ => work().ToArray())]);
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());

        Assert.All(faults, Assert.Null);
        Assert.All(came, all => Assert.All(all, results => Assert.Equal(expected, results)));
        Assert.True(expected.Distinct().Count() > 5);
    }
}
