using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Tests.Search;

/// <summary>The way from tokens to key is one: what the database holds is what a query gets.</summary>
public class ChunkKeyTests
{
    [Fact]
    public void The_key_at_build_time_is_the_key_at_query_time_bit_for_bit_and_another_embedder_is_refused()
    {
        using TemporaryFolder folder = new();
        string[] texts = Enumerable.Range(0, 30)
            .Select(i => $"Document {i} tells of {string.Join(", ", Enumerable.Range(0, 40).Select(j => $"thing{i * j % 17}"))}.")
            .ToArray();
        BpeTrainer.Train(texts, 400, folder["tokenizer"]);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder["tokenizer"]);
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            folder["db"], texts.Select((text, i) => new Document($"d{i}", "", text, "")), tokenizer, new() { ChunkLength = 16 });
        ChunkKeyer keyer = new(tokenizer, new HashingEmbedder(32));
        using DenseNeighborSource source = DenseNeighborSource.Build(database, keyer);
        using KeyFile keys = KeyFile.Open(database);
        float[] key = new float[32];
        for (long chunk = 0; chunk < database.ChunkCount; chunk++)
        {
            // Precompute asks with the tokens alone, generation with a whole padded row.
            int[] tokens = database.Tokens(chunk)[..database.TokenCount(chunk)].ToArray();
            keyer.Keys([tokens], key, CancellationToken.None);
            Assert.Equal(keys.Row(chunk).ToArray(), key);
            keyer.Keys([database.Tokens(chunk).ToArray()], key, CancellationToken.None);
            Assert.Equal(keys.Row(chunk).ToArray(), key);
            Assert.Equal(key, keyer.KeyOfText(tokenizer.Decode(tokens)));
        }

        (long[] chunks, _) = source.Ask([new(database.Tokens(7).ToArray(), [])], 1);
        Assert.Equal(database.Tokens(7).ToArray(), database.Tokens(chunks[0]).ToArray());

        ChunkKeyer other = new(tokenizer, new HashingEmbedder(33));
        string message = Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(database, other)).Message;
        Assert.Contains(keyer.Identity, message, StringComparison.Ordinal);
        Assert.Contains(other.Identity, message, StringComparison.Ordinal);
    }
}
