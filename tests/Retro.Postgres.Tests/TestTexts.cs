using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tests;
using Retro.Tokenizers;

namespace Retro.Postgres.Tests;

/// <summary>Documents of a few words, and what makes tokens and keys of them.</summary>
internal static class TestTexts
{
    public const int ChunkLength = 16;

    private static readonly string[] s_words =
    [
        "river", "bridge", "harbor", "mountain", "stone", "step", "boat", "lantern", "the", "of", "and", "under", "quiet", "old", "market", "it's", "a\\b",
        "Zürich", "橋",
    ];

    public static RetroTokenizer Tokenizer { get; } = Train();

    public static ChunkKeyer Keyer { get; } = new(Tokenizer, new HashingEmbedder(24));

    public static PostgresOptions Options(string schema, PostgresWriting writing = PostgresWriting.Auto)
        => new() { Schema = schema, ChunkLength = ChunkLength, Writing = writing };

    /// <summary>Documents of up to some words; some have the same text, some labels, some nothing but signs in a chunk.</summary>
    public static List<Document> Documents(int count, int seed, int words = 40, double labeled = 0.5)
    {
        Random random = new(seed);
        List<Document> documents = [];
        for (int i = 0; i < count; i++)
        {
            string text = i % 7 == 6 ? documents[i - 3].Text
                : i % 11 == 10 ? string.Concat(Enumerable.Repeat("- . ! ", 30))
                : string.Join(' ', Enumerable.Range(0, 1 + random.Next(words)).Select(_ => s_words[random.Next(s_words.Length)]));
            documents.Add(new($"d'{i} \"é\"", $"Title {i}", text, $"{i}.txt")
            {
                Labels = [.. new[] { "a", "b", "c, {d}" }.Where(_ => random.NextDouble() < labeled)],
            });
        }

        return documents;
    }

    public static ChunkDatabase Build(IEnumerable<Document> documents, string folder)
        => ChunkDatabaseBuilder.Build(folder, documents, Tokenizer, new ChunkDatabaseOptions { ChunkLength = ChunkLength });

    /// <summary>A query of each chunk of a database, without its own document.</summary>
    public static NeighborQuery[] Queries(ChunkDatabase database)
        =>
        [
            .. Enumerable.Range(0, (int)database.ChunkCount).Select(chunk => new NeighborQuery(
                database.Tokens(chunk)[..database.TokenCount(chunk)].ToArray(), [database.DocumentOf(chunk)])),
        ];

    private static RetroTokenizer Train()
    {
        using TemporaryFolder folder = new();
        return BpeTrainer.Train(Documents(80, seed: 1).Select(document => document.Text), vocabularySize: 300, folder["tokenizer"]);
    }
}
