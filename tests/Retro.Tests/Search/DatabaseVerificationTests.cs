using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
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

    /// <summary>Of what was there before, either one document is left, or none (d5, which the others do not take the place of).</summary>
    [Theory]
    [InlineData("d1")]
    [InlineData("d5")]
    public void Every_stage_of_a_database_that_was_changed_is_as_it_is_made_again(string removed)
    {
        _databases.Build(SearchDatabase.Documents(30, seed: 1)).Dispose();
        using ChunkDatabase database = ChunkDatabaseUpdate.Apply(
            _databases.Folder(), SearchDatabase.Documents(35, seed: 2), [removed], TestDatabases.Bytes).Database;
        KeywordNeighborSource words = KeywordNeighborSource.Build(database);
        DenseNeighborSource dense = DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer());
        DenseNeighborSource exact = DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), new() { Engine = VectorEngine.Exact });
        INeighborSource[] sources =
        [
            words, dense, exact, new RandomNeighborSource(database), new HybridNeighborSource(words, exact), new RerankedNeighborSource(exact, words),
        ];
        foreach (INeighborSource source in sources)
        {
            NeighborTable.Build(database, source, 4).Dispose();
        }

        IReadOnlyList<StageCheck> all = DatabaseVerification.Recompute(database, sources, share: 1);
        Assert.Equal(11, all.Count);
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
        lists = DenseNeighborSource.Build(database, SmallKeyer(), new() { Factory = "IVF16,Flat", Parameters = "nprobe=1" });
        recall = DatabaseVerification.Recompute(database, [lists], share: 1)[1];
        Assert.InRange(recall.Wrong, 1, recall.Checked - 1);
    }

    [Theory]
    [InlineData("exact")]
    [InlineData("small")]
    [InlineData("random")]
    public void A_row_with_any_other_neighbor_or_order_is_found_however_small_the_scores_are(string kind)
    {
        const int K = 4;
        using ChunkDatabase database = _databases.Build(SearchDatabase.Documents(30, seed: 6));
        INeighborSource source = kind == "random"
            ? new RandomNeighborSource(database)
            : DenseNeighborSource.Build(
                database, kind == "small" ? SmallKeyer() : SearchDatabase.AnyKeyer(), new() { Engine = VectorEngine.Exact });
        NeighborTable.Build(database, source, K).Dispose();
        int document = Enumerable.Range(0, database.Documents.Count).First(number => database.Documents[number].ChunkCount > 1);
        long chunk = database.Documents[document].FirstChunk;
        NeighborQuery query = new(TestDatabases.Text(database, chunk), [document]);
        long[] all = [.. source.Ask([query], (int)database.ChunkCount).Chunks.Where(other => other >= 0)];
        Assert.Equal(0, CheckOfRow(database, source, chunk, K, row => row).Wrong);
        foreach (Func<long[], long[]> change in new Func<long[], long[]>[]
        {
            row => [chunk + 1, .. row[..^1]], // its own continuation
            row => [.. row[..^1], all.Last(other => Array.IndexOf(row, other) < 0)],
            row => [row[1], row[0], .. row[2..]],
            row => [row[0], row[0], .. row[2..]],
            row => [.. row[..^1], -1],
        })
        {
            StageCheck check = CheckOfRow(database, source, chunk, K, change);
            Assert.Equal(1, check.Wrong);
            Assert.StartsWith($"chunk {chunk}: ", check.Example, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_row_with_more_or_fewer_neighbors_than_there_are_is_found()
    {
        using ChunkDatabase database = _databases.Build(SearchDatabase.Documents(30, seed: 7));
        GivenNeighborSource source = new(database, [0, 1]);
        NeighborTable.Build(database, source, 3).Dispose();
        long chunk = database.ChunkCount - 1;
        foreach ((long[] row, long wrong) in new (long[], long)[] { ([0, 1, -1], 0), ([0, 1, 2], 1), ([0, -1, -1], 1), ([1, 0, -1], 1), ([-1, 0, 1], 1) })
        {
            Assert.Equal(wrong, CheckOfRow(database, source, chunk, 3, was =>
            {
                Assert.Equal([0, 1, -1], was);
                return row;
            }).Wrong);
        }
    }

    /// <summary>More than any check looks at are as good as one another.</summary>
    [Fact]
    public void Among_equals_any_neighbors_are_right_in_any_order_and_each_once()
    {
        // Of all documents the first chunk is the same: the end-of-text token and seven characters.
        using ChunkDatabase database = _databases.Build(Enumerable.Range(0, 14).Select(i => TestDatabases.Document($"d{i}", $"at once, {(char)('a' + i)}")));
        DenseNeighborSource source = DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), new() { Engine = VectorEngine.Exact });
        NeighborTable.Build(database, source, 4).Dispose();
        Assert.Equal(0, Wrong(9, 7, 13, 8));
        Assert.Equal(0, Wrong(4, 3, 2, 1));
        Assert.Equal(1, Wrong(9, 7, 13, 9));
        Assert.Equal(1, Wrong(9, 7, 0, 8));

        long Wrong(params int[] documents)
            => CheckOfRow(database, source, 0, 4, _ => [.. documents.Select(document => database.Documents[document].FirstChunk)]).Wrong;
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
        JsonElement[] lines = [.. File.ReadLines(file).Select(line => JsonDocument.Parse(line).RootElement)];
        Assert.Equal(
            database.Documents.Select(entry => Enumerable.Range(0, entry.ChunkCount).Select(i => entry.FirstChunk + i)),
            lines.Select(line => line.GetProperty("chunks").EnumerateArray().Select(chunk => chunk.GetProperty("chunk").GetInt64())));
        Assert.Equal(documents.Select(document => document.Location), lines.Select(line => line.GetProperty("location").GetString()));
    }

    [Fact]
    public void An_export_of_texts_that_no_reader_made_builds_the_same_database()
    {
        Document[] documents = [new("a", "A", "a\r\nb", ""), new("b", "B", "\n\n  x ", ""), new("c", "C", "\uFEFFy", ""), new("d", "D", "clean", "")];
        Retro.Tokenizers.RetroTokenizer tokenizer = Retro.Tokenizers.BpeTrainer.Train(["words of letters alone"], 260, _databases.Folder("tokenizer"));
        ChunkDatabaseOptions options = new() { ChunkLength = 8 };
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_databases.Folder(), documents, tokenizer, options);
        string file = Path.Combine(_databases.Folder(), "..", "export.jsonl");
        DatabaseExport.WriteJsonLines(database, tokenizer, file);
        Document[] read = [.. Corpus.Open(file).Documents()];
        Assert.Equal(documents.Select(document => document.Text), read.Select(document => document.Text));
        using ChunkDatabase again = ChunkDatabaseBuilder.Build(_databases.Folder("again"), read, tokenizer, options);
        Assert.Equal(database.Manifest.TokensHash, again.Manifest.TokensHash);
        Assert.Equal([true, true, true, false], File.ReadLines(file).Select(line => line.Contains("\"textAsItIs\":true", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(1000)]
    public void Long_texts_are_exported_in_pieces_with_the_bytes_of_one(int pieceLength)
    {
        foreach (string text in new[] { "", "a", "Vögel \"flögen\" \\ über <&'+> Brücken,\r\n\t日本語の文字 😀😀\u2028\0 \ud834\udd1e" })
        {
            Assert.Equal(Written(json => json.WriteStringValue(text)), Written(json => DatabaseExport.WriteText(json, text, pieceLength)));
        }

        static byte[] Written(Action<Utf8JsonWriter> write)
        {
            using MemoryStream stream = new();
            using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            {
                json.WriteStartObject();
                json.WriteNumber("before", 1);
                json.WritePropertyName("text");
                write(json);
                json.WriteNumber("behind", 2);
                json.WriteEndObject();
            }

            return stream.ToArray();
        }
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

    /// <summary>What a check says of a database's one table where a row is another, which is whole by its checksum.</summary>
    private static StageCheck CheckOfRow(ChunkDatabase database, INeighborSource source, long chunk, int count, Func<long[], long[]> change)
    {
        string name = database.Files.Single(file => file.Name.StartsWith("neighbors-", StringComparison.Ordinal)).Name;
        string path = Path.Combine(database.Folder, name);
        byte[] whole = File.ReadAllBytes(path), changed = [.. whole];
        Span<long> row = MemoryMarshal.Cast<byte, long>(changed.AsSpan(NeighborTableHeader.Size)).Slice((int)chunk * count, count);
        change(row.ToArray()).CopyTo(row);
        SHA256.HashData([.. changed[..NeighborTableHeader.HashAt], .. changed[NeighborTableHeader.Size..]]).CopyTo(changed, NeighborTableHeader.HashAt);
        File.WriteAllBytes(path, changed);
        StageCheck found = DatabaseVerification.Recompute(database, [source], share: 1).Single(check => check.Stage == name);
        File.WriteAllBytes(path, whole);
        return found;
    }

    /// <summary>Keys of small numbers.</summary>
    private static TestKeyer SmallKeyer() => new(
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
}
