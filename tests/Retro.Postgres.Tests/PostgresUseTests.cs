using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests;
using Retro.Vectors;

namespace Retro.Postgres.Tests;

/// <summary>What takes a source takes these.</summary>
public sealed class PostgresUseTests(TestServer server) : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_neighbor_table_is_built_and_opened()
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(50, seed: 31), _folder["copy"]);
        using PostgresDatabase database = Import(copy);
        PostgresDenseNeighborSource source = database.Dense(copy);
        using DenseNeighborSource own = DenseNeighborSource.Build(copy, TestTexts.Keyer, new() { Engine = VectorEngine.Exact });
        using (NeighborTable table = NeighborTable.Build(copy, source, 4), expected = NeighborTable.Build(copy, own, 4))
        {
            for (long chunk = 0; chunk < copy.ChunkCount; chunk++)
            {
                // One document's neighbors do not come from it; ties apart, they are those of the library's own source.
                Assert.DoesNotContain(table.Row(chunk).ToArray(), neighbor => neighbor >= 0 && copy.DocumentOf(neighbor) == copy.DocumentOf(chunk));
                Assert.Equal(expected.Row(chunk).ToArray().Count(neighbor => neighbor >= 0), table.Row(chunk).ToArray().Count(neighbor => neighbor >= 0));
            }

            int same = Enumerable.Range(0, (int)copy.ChunkCount).Count(chunk => table.Row(chunk).SequenceEqual(expected.Row(chunk)));
            Assert.InRange(same, 0.9 * copy.ChunkCount, copy.ChunkCount);
        }

        using NeighborTable again = NeighborTable.Open(copy, database.Dense(copy, new() { Exact = true }), 4);
        Assert.Equal(copy.ChunkCount, again.Rows);
        Assert.Throws<DatabaseException>(() => NeighborTable.Open(copy, database.Keywords(copy), 4));
    }

    [Fact]
    public async Task A_text_is_generated_with_neighbors_from_the_server_that_may_be_seen()
    {
        using ChunkDatabase copy = TestTexts.Build(TestTexts.Documents(60, seed: 32), _folder["copy"]);
        using PostgresDatabase database = Import(copy);
        HybridNeighborSource source = new(database.Dense(copy), database.Keywords(copy));
        RetroConfig config = RetroConfig.Mini with { VocabularySize = TestTexts.Tokenizer.VocabularySize };
        using RetroModel model = new(config with { Retrieval = RetrievalConfig.Matching(config) with { ChunkLength = TestTexts.ChunkLength } });
        RetroGenerator generator = new(model, TestTexts.Tokenizer, source);
        List<RetrievedNeighbor> read = [];
        string prompt = string.Join(' ', Enumerable.Repeat("the old river under the bridge", 6));
        await foreach (GeneratedPiece piece in generator.GenerateAsync(prompt, new() { MaximumNewTokens = 40, Labels = ["a"], Seed = 1 }))
        {
            read.AddRange(piece.Retrieved?.Neighbors ?? []);
        }

        Assert.NotEmpty(read);
        Dictionary<string, DocumentEntry> documents = copy.Documents.ToDictionary(document => document.Id);
        Assert.All(read, neighbor => Assert.True(documents[neighbor.DocumentId].Labels.All(label => label == "a")));
    }

    private PostgresDatabase Import(ChunkDatabase copy)
    {
        PostgresDatabase database = PostgresDatabase.Create(
            server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, TestTexts.Options(server.NewSchema()));
        database.Import(copy);
        return database;
    }
}
