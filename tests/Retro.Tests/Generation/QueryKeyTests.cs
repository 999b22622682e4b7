using Microsoft.Extensions.AI;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Modeling;
using Retro.Tokenizers;

namespace Retro.Tests.Generation;

/// <summary>The key of a text on its three real ways: as a database is built, as a table is computed beforehand, and as a generator asks.</summary>
public sealed class QueryKeyTests : IDisposable
{
    private const int ChunkLength = 8;

    private static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.Tokenizer;

    private static readonly string[] s_texts =
    [
        "The lighthouse stands on the northern cape, the lighthouse on the rock.", "Green tea is brewed below boiling heat; black tea is not.",
        "naïve café über Straße, 日本 and more of it, so that there are chunks",
    ];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task P26_a_text_has_one_key_when_it_is_stored_precomputed_for_and_asked_for(bool hashed)
    {
        using Recording embedder = new(hashed ? new HashingEmbedder(32) : new TextEmbedder(new TextEncoder(EmbeddingInputs.Tiny), s_tokenizer));
        ChunkKeyer keyer = new(s_tokenizer, embedder);
        using ChunkDatabase database = Build("db", "d"), queries = Build("queries", "q");
        using DenseNeighborSource source = DenseNeighborSource.Build(database, keyer, cancellationToken: TestContext.Current.CancellationToken);
        using KeyFile keys = KeyFile.Open(database);
        Dictionary<string, float[]> built = embedder.Take();
        Assert.Equal(database.ChunkCount, built.Count);

        // Precomputed for the chunks of another database: each finds the same text, at no distance.
        using (NeighborTable table = NeighborTable.Build(Path.Combine(_folder.Path, "table"), queries, source, 1, excludeOwnDocument: false))
        {
            Assert.Equal(
                Enumerable.Range(0, (int)queries.ChunkCount).Select(chunk => (long)chunk),
                Enumerable.Range(0, (int)queries.ChunkCount).Select(chunk => table.Row(chunk)[0]));
        }

        AssertSame(built, embedder.Take(), (int)queries.ChunkCount);

        using RetroModel model = new((RetroConfig.Tiny with
        {
            VocabularySize = s_tokenizer.VocabularySize, Width = 16, Heads = 2, HeadSize = 8, FeedForwardSize = 32,
            Retrieval = RetroConfig.Tiny.Retrieval! with
            {
                ChunkLength = ChunkLength,
                RetrievedLength = 2 * ChunkLength,
                Encoder = SmallModel.Encoder,
            },
        }).Validate());
        RetroGenerator generator = new(model, s_tokenizer, source);
        for (int document = 0; document < s_texts.Length; document++)
        {
            long first = database.Documents[document].FirstChunk;
            int chunks = (1 + s_tokenizer.Encode(s_texts[document]).Length) / ChunkLength;
            int asked = 0;
            await foreach (GeneratedPiece piece in generator.GenerateAsync(
                s_texts[document], new() { MaximumNewTokens = 0, Neighbors = 1 }, TestContext.Current.CancellationToken))
            {
                if (piece.Retrieved is { } found)
                {
                    Assert.Equal(first + found.Chunk, found.Neighbors[0].Chunk);
                    Assert.InRange(found.Neighbors[0].Score!.Value, -1e-4, 1e-4);
                    Assert.Equal(SearchKey(found.Query), SearchKey(found.Neighbors[0].Text));
                    asked++;
                }
            }

            Assert.Equal(chunks, asked);
            AssertSame(built, embedder.Take(), chunks);
        }

        for (long chunk = 0; chunk < database.ChunkCount; chunk++)
        {
            EmbeddingInputs.AssertNear([keys.Row(chunk).ToArray()], [built[s_tokenizer.Decode(database.Tokens(chunk)[..database.TokenCount(chunk)])]]);
        }

        static string SearchKey(string text) => text.Trim();
    }

    /// <summary>What was asked for are texts that were stored, with their keys but for the rounding of another batch.</summary>
    private static void AssertSame(Dictionary<string, float[]> built, Dictionary<string, float[]> asked, int count)
    {
        Assert.Equal(count, asked.Count);
        foreach ((string text, float[] key) in asked)
        {
            Assert.True(built.ContainsKey(text), $"No chunk was stored under the key of '{text}'.");
            EmbeddingInputs.AssertNear([built[text]], [key]);
        }
    }

    private ChunkDatabase Build(string name, string id) => ChunkDatabaseBuilder.Build(
        Path.Combine(_folder.Path, name),
        s_texts.Select((text, i) => new Document($"{id}{i}", "", text, "")),
        s_tokenizer,
        new ChunkDatabaseOptions { ChunkLength = ChunkLength });

    /// <summary>An embedder that keeps what it was given and what it gave.</summary>
    private sealed class Recording(IEmbeddingGenerator<string, Embedding<float>> inner) : DelegatingEmbeddingGenerator<string, Embedding<float>>(inner)
    {
        private Dictionary<string, float[]> _given = [];

        public Dictionary<string, float[]> Take() => Interlocked.Exchange(ref _given, []);

        public override async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
            IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
        {
            string[] texts = [.. values];
            GeneratedEmbeddings<Embedding<float>> embeddings = await base.GenerateAsync(texts, options, cancellationToken);
            for (int i = 0; i < texts.Length; i++)
            {
                _given[texts[i]] = embeddings[i].Vector.ToArray();
            }

            return embeddings;
        }
    }
}
