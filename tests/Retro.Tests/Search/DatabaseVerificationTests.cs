using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;

namespace Retro.Tests.Search;

public sealed class DatabaseVerificationTests : IDisposable
{
    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    public void Files_of_later_stages_that_are_missing_or_cut_are_told_by_whoever_verifies()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 91));
        string folder = data.Database.Folder, table;
        using (KeywordNeighborSource source = KeywordNeighborSource.Build(data.Database))
        using (NeighborTable.Build(data.Database, source, 2))
        {
            table = data.Database.Files.Single(file => file.Name.StartsWith("neighbors", StringComparison.Ordinal)).Name;
        }

        File.Delete(Path.Combine(folder, "bm25.bin"));
        using (FileStream cut = File.OpenWrite(Path.Combine(folder, table)))
        {
            cut.SetLength(cut.Length - 1);
        }

        foreach (bool verify in new[] { false, true })
        {
            using ChunkDatabase opened = ChunkDatabase.Open(folder, verify);
            Assert.Equal(2, opened.Faults.Count);
            Assert.Contains(opened.Faults, fault => fault.Contains("bm25.bin' is missing", StringComparison.Ordinal));
            Assert.Contains(opened.Faults, fault => fault.Contains("it is truncated or changed", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Every_stage_of_a_database_that_was_changed_is_as_it_is_made_again()
    {
        _databases.Build(SearchDatabase.Documents(30, seed: 1)).Dispose();
        using ChunkDatabase database = ChunkDatabaseUpdate.Apply(
            _databases.Folder(), SearchDatabase.Documents(35, seed: 2), ["d1"], TestDatabases.Bytes).Database;
        INeighborSource[] sources =
        [
            KeywordNeighborSource.Build(database), DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer()),
            DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), new() { Engine = VectorEngine.Exact }), new RandomNeighborSource(database),
        ];
        foreach (INeighborSource source in sources)
        {
            NeighborTable.Build(database, source, 4).Dispose();
        }

        IReadOnlyList<StageCheck> all = DatabaseVerification.Recompute(database, sources, share: 1);
        Assert.Equal(9, all.Count);
        Assert.All(all, check =>
        {
            Assert.Equal((0L, (string?)null), (check.Wrong, check.Example));
            Assert.InRange(check.Checked, database.ChunkCount, 10 * database.ChunkCount);
        });
        Assert.All(
            DatabaseVerification.Recompute(database, sources[..1], share: 0.1), check => Assert.Equal((database.ChunkCount + 9) / 10, check.Checked));
        Assert.Throws<ArgumentOutOfRangeException>(() => DatabaseVerification.Recompute(database, sources, share: 0));
        using ChunkDatabase other = _databases.Build(SearchDatabase.Documents(5, seed: 3), name: "other");
        Assert.Throws<ArgumentException>(() => DatabaseVerification.Recompute(other, sources));
    }

    /// <summary>What is whole by its checksums and was made wrongly is found.</summary>
    [Fact]
    public void A_stage_that_was_made_of_something_else_is_found()
    {
        using ChunkDatabase database = _databases.Build(SearchDatabase.Documents(30, seed: 4));

        // Keys that a function of the same name makes otherwise for one chunk.
        int made = 0;
        TestKeyer wrong = new(
            (chunks, keys, _) =>
            {
                for (int i = 0; i < chunks.Count; i++)
                {
                    SearchDatabase.KeyOf(made++ == 7 ? [1] : chunks[i].ToArray()).CopyTo(keys[(i * SearchDatabase.Dimensions)..]);
                }
            },
            SearchDatabase.Dimensions,
            SearchDatabase.KeyIdentity);
        DenseNeighborSource.Build(database, wrong).Dispose();
        DenseNeighborSource dense = DenseNeighborSource.Open(database, SearchDatabase.AnyKeyer());
        StageCheck keys = DatabaseVerification.Recompute(database, [dense], share: 1)[0];
        Assert.Equal(("keys.bin", database.ChunkCount, 1L), (keys.Stage, keys.Checked, keys.Wrong));
        Assert.StartsWith("chunk 7: its key is off by", keys.Example, StringComparison.Ordinal);

        // A table, and words, of other chunks.
        using Bm25Index words = Bm25Index.Build(
            database.ChunkCount, chunk => KeywordNeighborSource.TermsOf(database, chunk == 0 ? 1 : chunk));
        KeywordNeighborSource source = new(database, words);
        Assert.Equal(1, DatabaseVerification.Recompute(database, [source], share: 1)[0].Wrong);
        using KeywordNeighborSource right = KeywordNeighborSource.Build(database);
        NeighborTable.Build(database, new GivenNeighborSource(database, [0, 1, 2]), 3).Dispose();
        GivenNeighborSource given = new(database, [0, 1, 2]);
        Assert.Equal(0, DatabaseVerification.Recompute(database, [given], share: 1).Single().Wrong);

        // An index whose lists are hardly looked into misses some.
        DenseNeighborSource lists = DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), new() { Factory = "IVF16,Flat", Parameters = "nprobe=1" });
        StageCheck recall = DatabaseVerification.Recompute(database, [lists], share: 1)[1];
        Assert.InRange(recall.Wrong, 1, recall.Checked - 1);

        // As many, however small the numbers of the keys are.
        TestKeyer small = new(
            (chunks, keys, _) =>
            {
                for (int i = 0; i < chunks.Count; i++)
                {
                    float[] scaled = Array.ConvertAll(SearchDatabase.KeyOf(chunks[i].ToArray()), number => number / 1024);
                    scaled.CopyTo(keys[(i * SearchDatabase.Dimensions)..]);
                }
            },
            SearchDatabase.Dimensions,
            "small");
        lists = DenseNeighborSource.Build(database, small, new() { Factory = "IVF16,Flat", Parameters = "nprobe=1" });
        recall = DatabaseVerification.Recompute(database, [lists], share: 1)[1];
        Assert.InRange(recall.Wrong, 1, recall.Checked - 1);
    }

    [Fact]
    public void An_export_builds_the_same_database()
    {
        List<Document> documents = [.. SearchDatabase.Documents(12, seed: 5).Select((document, i) => document with { Labels = i % 2 == 0 ? [] : ["a", "b"] })];
        Retro.Tokenizers.RetroTokenizer tokenizer = Retro.Tokenizers.BpeTrainer.Train(
            documents.Select(document => document.Text), 300, _databases.Folder("tokenizer"));
        ChunkDatabaseOptions options = new() { ChunkLength = 8 };
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_databases.Folder(), documents, tokenizer, options);
        Assert.Equal(documents.Select(document => document.Text), DatabaseExport.Documents(database, tokenizer).Select(document => document.Text));
        string file = Path.Combine(_databases.Folder(), "..", "export.jsonl");
        DatabaseExport.WriteJsonLines(database, tokenizer, file, withChunks: true);
        Document[] read = [.. Corpus.Open(file).Documents()];
        Assert.Equal(
            documents.Select(document => (document.Id, document.Title, document.Text)), read.Select(document => (document.Id, document.Title, document.Text)));
        Assert.Equal(documents.Select(document => document.Labels), read.Select(document => document.Labels));
        using ChunkDatabase again = ChunkDatabaseBuilder.Build(_databases.Folder("again"), read, tokenizer, options);
        Assert.Equal(database.Manifest.TokensHash, again.Manifest.TokensHash);
        System.Text.Json.JsonElement first = System.Text.Json.JsonDocument.Parse(File.ReadLines(file).First()).RootElement;
        Assert.Equal(database.Documents[0].ChunkCount, first.GetProperty("chunks").GetArrayLength());
        Assert.Equal(documents[0].Location, first.GetProperty("location").GetString());
    }

    [Fact]
    public void Chunks_that_cut_characters_are_exported_as_they_are_read()
    {
        Document cut = new("cut", "", "Vögel flögen über Brücken, 日本語の文字", "");
        Retro.Tokenizers.RetroTokenizer tokenizer = Retro.Tokenizers.BpeTrainer.Train(["words of letters alone"], 260, _databases.Folder("tokenizer"));
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_databases.Folder(), [cut], tokenizer, new() { ChunkLength = 8 });
        string file = Path.Combine(_databases.Folder(), "..", "export.jsonl");
        DatabaseExport.WriteJsonLines(database, tokenizer, file, withChunks: true);
        string?[] texts = [.. System.Text.Json.JsonDocument.Parse(File.ReadAllText(file)).RootElement.GetProperty("chunks").EnumerateArray()
            .Select(chunk => chunk.GetProperty("text").GetString())];
        Assert.Equal(Enumerable.Range(0, (int)database.ChunkCount).Select(chunk => database.Text(chunk, tokenizer)), texts);
        Assert.DoesNotContain(texts, text => text!.Contains('\ufffd', StringComparison.Ordinal));
    }
}
