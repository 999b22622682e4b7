using Retro.Database;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Search;
using Retro.Vectors;

namespace Retro.Tests;

/// <summary>
/// Whoever disposes what others use ends no process, as a server does that opens a new state while a request still reads the old one: each use ends with what
/// it reads or says that it was disposed. A fault here ends the whole run.
/// </summary>
public class DisposedMeanwhileTests
{
    [Theory]
    [InlineData("bm25")]
    [InlineData("exact")]
    [InlineData("faiss")]
    [InlineData("inverted lists")]
    public void A_source_is_searched(string kind)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(1500, seed: 3));
        ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder);
        INeighborSource source = kind switch
        {
            "bm25" => KeywordNeighborSource.Build(database),
            "exact" => DenseNeighborSource.Build(database, data.Keyer(), new() { Engine = VectorEngine.Exact, MemoryMapped = true }),
            "faiss" => DenseNeighborSource.Build(database, data.Keyer(), new() { Factory = "Flat" }),
            _ => DenseNeighborSource.Build(database, data.Keyer(), new() { Factory = "IVF16,Flat" }),
        };
        NeighborQuery[] queries = [.. data.Chunks.Take(100).Select((chunk, i) => new NeighborQuery(chunk, [i]))];
        UseAndDispose(database, () => source.Ask(queries, 8));
    }

    [Fact]
    public void A_database_and_a_table_are_read()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(300, seed: 4));
        ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder);
        NeighborTable table = NeighborTable.Build(database, new RandomNeighborSource(database), 4);
        ReadOnlySpan<long> row = table.Row(0);
        ReadOnlySpan<int> tokens = database.Tokens(0), own = database.OwnTokens(1);
        long[] neighbors = row.ToArray();
        UseAndDispose(database, () =>
        {
            for (int chunk = 0; chunk < database.ChunkCount; chunk++)
            {
                database.CopyRetrieved(table.Row(chunk)[0], new long[16], new bool[16]);
                Assert.Equal(data.Chunks[chunk], database.OwnTokens(chunk).ToArray());
                Assert.NotEmpty(database.Documents[database.DocumentOf(chunk)].Id);
            }
        });

        // What was taken before stays.
        Assert.Equal(neighbors, row.ToArray());
        Assert.Equal(data.Chunks[0], tokens[..data.Chunks[0].Length].ToArray());
        Assert.Equal(data.Chunks[1], own.ToArray());
    }

    [Fact]
    public void A_token_store_is_searched()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 5));
        using TemporaryFolder folder = new();
        using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = 257 });
        TokenStore store = TokenStore.Build(model, data.Database, folder["states.bin"]);
        double[] states = [.. Vectors.TestVectors.Random(8, store.Width, seed: 6).Select(x => (double)x)];
        UseAndDispose(store, () => store.Find(states, 4, new long[32], new double[32]));
    }

    [Fact]
    public void An_embedder_embeds()
    {
        TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny), EmbeddingInputs.Tokenizer);
        string[] texts = EmbeddingInputs.Texts;
        UseAndDispose(embedder, () => embedder.Embed(texts, new float[texts.Length * embedder.Dimensions]));
        Assert.Throws<ObjectDisposedException>(() => embedder.Identity);
        using TemporaryFolder folder = new();
        Assert.Throws<ObjectDisposedException>(() => embedder.Save(folder["embedder"]));
    }

    [Fact]
    public void What_is_opened_of_a_disposed_database_is_closed()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 6));
        KeywordNeighborSource.Build(data.Database).Dispose();
        ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder);
        Noted noted = new();
        database.Dispose();
        Assert.Throws<ObjectDisposedException>(() => database.Opened(noted));
        Assert.True(noted.IsDisposed);
    }

    /// <summary>Several threads use something over and over, and once all of them do it is disposed; each ends, and says why.</summary>
    private static void UseAndDispose(IDisposable disposed, Action use)
    {
        const int Threads = 4;
        Exception?[] ends = new Exception?[Threads];
        using CountdownEvent begun = new(Threads);
        Thread[] users = [.. Enumerable.Range(0, Threads).Select(i => new Thread(() => Use(i)))];
        Array.ForEach(users, user => user.Start());
        begun.Wait(TestContext.Current.CancellationToken);
        disposed.Dispose();
        Array.ForEach(users, user => user.Join());
        Assert.All(ends, end => Assert.IsType<ObjectDisposedException>(end));

        void Use(int i)
        {
            for (bool first = true; ends[i] is null; first = false)
            {
                try
                {
                    use();
                }
                catch (Exception end)
                {
                    ends[i] = end;
                }

                if (first)
                {
                    begun.Signal();
                }
            }
        }
    }

    private sealed class Noted : IDisposable
    {
        public bool IsDisposed { get; private set; }

        public void Dispose() => IsDisposed = true;
    }
}
