using Retro.Database;
using Retro.Embedders;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests;
using Retro.Tokenizers;

namespace Retro.Postgres.Tests;

/// <summary>What the documentation shows of PostgreSQL is compiled here, run, and compared with its text.</summary>
public class ReadmeTests(TestServer server)
{
    [Fact]
    public async Task The_lines_on_postgresql_run_and_stand_in_the_documentation()
    {
        string connectionString = server.ConnectionString, before = Environment.CurrentDirectory;

        // The documentation's own name, which may be that of a database which somebody uses: only what is made here is removed again.
        Assert.SkipWhen(server.Ask("SELECT 1 FROM pg_namespace WHERE nspname = 'texts'").Count > 0, "The server has a schema texts, which is left alone.");
        using TemporaryFolder folder = new();
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(folder["db"], TestTexts.Documents(30, seed: 41, words: 200), TestTexts.Tokenizer);
        RetroConfig config = RetroConfig.Mini with { VocabularySize = TestTexts.Tokenizer.VocabularySize };
        using RetroModel model = new(config with { Retrieval = RetrievalConfig.Matching(config) });
        TextWriter console = Console.Out;
        StringWriter printed = new();
        try
        {
            Environment.CurrentDirectory = folder.Path;
            Console.SetOut(printed);
            await Lines(connectionString, TestTexts.Tokenizer, database, model);
        }
        finally
        {
            Console.SetOut(console);
            Environment.CurrentDirectory = before;
            server.Ask("DROP SCHEMA IF EXISTS texts CASCADE");
        }

        Assert.NotEmpty(printed.ToString());
        string lines = Fixtures.Snippet("tests/Retro.Postgres.Tests/ReadmeTests.cs", "postgres");
        Assert.Contains(lines, File.ReadAllText(Path.Combine(Fixtures.Root, "docs", "large.md")), StringComparison.Ordinal);
    }

    private static async Task Lines(string connectionString, RetroTokenizer tokenizer, ChunkDatabase database, RetroModel model)
    {
        // <postgres>
        ChunkKeyer keyer = new(tokenizer, new HashingEmbedder());
        using PostgresDatabase postgres = PostgresDatabase.Create(connectionString, tokenizer, keyer, new() { Schema = "texts" });
        postgres.Import(database); // Update(add, remove) takes documents; each is one transaction, and what is there already costs nothing
        postgres.BuildIndex(); // HNSW; without an index every search is exact
        using ChunkDatabase copy = postgres.Download("run/copy"); // documents and tokens, to read from; the imported database serves as well
        HybridNeighborSource source = new(postgres.Dense(copy), postgres.Keywords(copy)); // a source as any other
        await foreach (GeneratedPiece piece in new RetroGenerator(model, tokenizer, source).GenerateAsync("The river")) Console.Write(piece);
        // </postgres>
    }
}
