using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tokenizers;

namespace Retro.Tests.Search;

/// <summary>What a build that starts over keeps of the keys that were made.</summary>
public sealed class EarlierKeysTests : IDisposable
{
    private static readonly ChunkDatabaseOptions s_options = new() { ChunkLength = 8, StartOver = true };

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)] // of a database that was changed
    public void Keys_of_texts_that_were_there_are_not_made_again(bool isChanged)
    {
        List<Document> documents = SearchDatabase.Documents(40, seed: 71);
        RetroTokenizer tokenizer = BpeTrainer.Train(documents.Select(document => document.Text), 300, _databases.Folder("tokenizer"));
        string folder = _databases.Folder("db");
        int made = 0;
        TestKeyer keyer = Keyer(count => made += count);
        ChunkDatabaseBuilder.Build(folder, isChanged ? documents[..30] : documents, tokenizer, s_options).Dispose();
        if (isChanged)
        {
            ChunkDatabaseUpdate.Apply(folder, documents[30..], [documents[0].Id], tokenizer).Database.Dispose();
        }

        using (ChunkDatabase database = ChunkDatabase.Open(folder))
        {
            DenseNeighborSource.Build(database, keyer).Dispose();
        }

        // In another order, of other names, without some, and with one that is new.
        Document[] now =
        [
            .. documents[5..].AsEnumerable().Reverse().Select(document => document with { Id = $"again {document.Id}" }),
            new("new", "", "What nobody has written before.", ""),
        ];
        using EarlierKeys earlier = EarlierKeys.Open(folder, tokenizer, s_options)!;
        DatabasePlan plan = DatabasePlan.For(now, tokenizer, chunkLength: 8, earlier: earlier);
        using ChunkDatabase built = ChunkDatabaseBuilder.Build(folder, now, tokenizer, s_options);
        int fresh = built.Documents[^1].ChunkCount;
        made = 0;
        Assert.Equal(built.ChunkCount - fresh, earlier.GiveTo(built));
        Assert.Equal(built.ChunkCount - fresh, plan.KeysReused);
        Assert.Contains($"{built.ChunkCount - fresh} keys of the database that is there to be taken over", plan.ToString(), StringComparison.Ordinal);
        DenseNeighborSource.Build(built, keyer).Dispose();
        Assert.Equal(fresh, made);

        using ChunkDatabase expected = ChunkDatabaseBuilder.Build(_databases.Folder("fresh"), now, tokenizer, s_options);
        DenseNeighborSource.Build(expected, keyer).Dispose();
        Assert.Equal(
            File.ReadAllBytes(Path.Combine(expected.Folder, StageNames.Keys)), File.ReadAllBytes(Path.Combine(built.Folder, StageNames.Keys)));
        Assert.Equal(built.ChunkCount, earlier.GiveTo(built)); // and those that are there stay
    }

    [Fact]
    public void Keys_of_another_tokenizer_or_chunk_length_are_not_held()
    {
        List<Document> documents = SearchDatabase.Documents(20, seed: 72);
        RetroTokenizer tokenizer = BpeTrainer.Train(documents.Select(document => document.Text), 300, _databases.Folder("tokenizer"));
        RetroTokenizer other = BpeTrainer.Train(documents.Select(document => document.Text), 290, _databases.Folder("other"));
        string folder = _databases.Folder("db");
        Assert.Null(EarlierKeys.Open(folder, tokenizer, s_options));
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(folder, documents, tokenizer, s_options);
        Assert.Null(EarlierKeys.Open(folder, tokenizer, s_options)); // has none
        DenseNeighborSource.Build(database, Keyer()).Dispose();
        Assert.Null(EarlierKeys.Open(folder, other, s_options));
        Assert.Null(EarlierKeys.Open(folder, tokenizer, s_options with { ChunkLength = 16 }));
        using EarlierKeys earlier = EarlierKeys.Open(folder, tokenizer, s_options with { Cleaning = "another" })!;
        using ChunkDatabase longer = ChunkDatabaseBuilder.Build(_databases.Folder("longer"), documents, tokenizer, s_options with { ChunkLength = 16 });
        Assert.Throws<ArgumentException>(() => earlier.GiveTo(longer));
    }

    private static TestKeyer Keyer(Action<int>? told = null) => new(
        (chunks, keys, _) =>
        {
            told?.Invoke(chunks.Count);
            for (int i = 0; i < chunks.Count; i++)
            {
                (keys[2 * i], keys[(2 * i) + 1]) = (1 + chunks[i].ToArray().Sum(), 1 + chunks[i].Span[0]);
            }
        },
        2,
        "sums");
}
