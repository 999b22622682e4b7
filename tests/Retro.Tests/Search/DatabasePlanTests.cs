using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tokenizers;
using Retro.Vectors;

namespace Retro.Tests.Search;

public sealed class DatabasePlanTests : IDisposable
{
    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    public void A_plan_comes_near_to_what_is_then_made()
    {
        List<Document> documents = [.. SearchDatabase.Documents(400, seed: 1, maximumLength: 400).Select(document => document with { Labels = ["a"] })];
        RetroTokenizer tokenizer = BpeTrainer.Train(documents.Select(document => document.Text), 300, _databases.Folder("tokenizer"));
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_databases.Folder(), documents, tokenizer, new ChunkDatabaseOptions { ChunkLength = 16 });
        KeywordNeighborSource.Build(database).Dispose();
        DatabasePlan plan = DatabasePlan.For(documents, tokenizer, chunkLength: 16);
        Assert.Equal((documents.Count, database.Manifest.ByteCount), (plan.Documents, plan.TextBytes));
        Near(database.Manifest.TokenCount, plan.Tokens);
        Near(database.ChunkCount, plan.Chunks);
        Near(database.Files.Sum(file => file.Bytes), plan.DiskBytes);
        Assert.Null(plan.Index);

        TestKeyer keyer = new((_, keys, _) => keys.Fill(1), 32, "ones");
        DenseNeighborSource.Build(database, keyer, new() { Engine = VectorEngine.Exact }).Dispose();
        plan = DatabasePlan.For(documents, tokenizer, keyer, chunkLength: 16, options: new() { Engine = VectorEngine.Exact });
        Near(database.Files.Sum(file => file.Bytes), plan.DiskBytes);
        Assert.Equal(database.Manifest.Find(StageNames.Index)!.Details["factory"], plan.Index);
        Assert.Contains("every key is compared", plan.ToString(), StringComparison.Ordinal);
        Assert.True(plan.Time > TimeSpan.Zero);

        static void Near(long made, long planned) => Assert.InRange((double)planned / made, 0.9, 1.1);
    }

    /// <summary>The plan is of the index that building with the same options makes.</summary>
    [Theory]
    [InlineData(VectorEngine.Exact, null, null, "exact", "every key is compared, without FAISS")]
    [InlineData(VectorEngine.Faiss, null, null, "Flat", "up to 100,000 chunks every key is compared")]
    [InlineData(VectorEngine.Faiss, "IVF2,PQ8np", null, "IVF2,PQ8np", "as is asked for")]
    [InlineData(VectorEngine.Faiss, null, 1L, "IVF1024,PQ2np", "as finding 99.5 % takes; codes, so that it fits 1 byte")]
    public void The_index_is_that_of_the_options(VectorEngine engine, string? factory, long? memory, string index, string why)
    {
        string text = string.Concat(Enumerable.Repeat("a bridge ", memory is null ? 100 : 12_000));
        RetroTokenizer tokenizer = BpeTrainer.Train(["a bridge"], 257, _databases.Folder("tokenizer"));
        TestKeyer keyer = new((_, keys, _) => keys.Fill(1), 32, "ones");
        DenseNeighborOptions options = new() { Engine = engine, Factory = factory, Recall = 0.995, IndexMemory = memory ?? VectorIndexPlan.DefaultMemory };
        DatabasePlan plan = DatabasePlan.For([new Document("a", "a", text, "")], tokenizer, keyer, chunkLength: 1, options: options);
        Assert.Equal(index, plan.Index);
        Assert.Contains(why, plan.Why, StringComparison.Ordinal);
        Assert.Throws<RetroOptionsException>(() => DatabasePlan.For([new Document("a", "a", text, "")], tokenizer, keyer, options: new() { Recall = 2 }));
    }

    [Fact]
    public void A_document_takes_memory_that_goes_with_its_length()
    {
        string text = string.Concat(Enumerable.Repeat("a bridge ", 20_000));
        DatabasePlan plan = DatabasePlan.For([new Document("a", "a", text, "")], BpeTrainer.Train([text], 260, _databases.Folder("tokenizer")));
        Assert.InRange(plan.MemoryBytes, 3_600_000, 3_700_000);
    }

    [Fact]
    public void A_small_plan_says_its_sizes_and_its_time()
    {
        DatabasePlan plan = new()
        {
            Documents = 1, TextBytes = 36_240, Tokens = 9000, Chunks = 141, DiskBytes = 84_000, MemoryBytes = 950, Time = TimeSpan.FromMilliseconds(240),
        };
        const string Expected = "1 document, 36.2 KB of text; about 9,000 tokens, 141 chunks\nabout 84.0 KB on the disk, 950 bytes of memory, 0.2 seconds";
        Assert.Equal(Expected, plan.ToString());
    }

    /// <summary>A build goes on with them, and does not write them a second time.</summary>
    [Theory]
    [InlineData("building")]
    [InlineData("shares")]
    public void What_a_build_has_begun_is_room_for_it(string what)
    {
        using MountedDisk disk = new("1m");
        string folder = disk["db"];
        List<Document> documents = SearchDatabase.Documents(50, seed: 2);
        ChunkDatabaseOptions options = new() { ChunkLength = 8, BlockCharacters = 500 };
        using CancellationTokenSource stop = new();
        SynchronousProgress<StageProgress> progress = new(_ => stop.Cancel());
        Assert.ThrowsAny<OperationCanceledException>(() =>
        {
            if (what == "building")
            {
                ChunkDatabaseBuilder.Build(folder, documents, TestDatabases.Bytes, options, progress, stop.Token);
            }
            else
            {
                ChunkDatabaseBuilder.BuildShare(folder, documents, TestDatabases.Bytes, new WorkShare(1, 2), options, cancellationToken: default);
                ChunkDatabaseBuilder.BuildShare(folder, documents, TestDatabases.Bytes, new WorkShare(2, 2), options, progress, stop.Token);
            }
        });
        long begun = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Where(file => Path.GetExtension(file) is ".bin" or ".part" or ".jsonl")
            .Sum(file => new FileInfo(file).Length);
        Assert.True(begun > 500);
        DatabasePlan plan = new()
        {
            Documents = 1, TextBytes = 1, Tokens = 1, Chunks = 1, MemoryBytes = 1, Time = default,
            DiskBytes = begun + new DriveInfo(disk.Path).AvailableFreeSpace,
        };
        plan.Require(folder);
        Assert.Throws<DatabaseException>(() => (plan with { DiskBytes = plan.DiskBytes + 1 }).Require(folder));
    }

    [Fact]
    public void What_the_machine_cannot_do_is_refused_with_the_numbers()
    {
        DatabasePlan plan = new()
        {
            Documents = 1, TextBytes = 1, Tokens = 1, Chunks = 1000, DiskBytes = 3_000_000_000, MemoryBytes = 2_000_000_000, Time = default,
        };
        plan.Require("work", 3_000_000_000, 2_000_000_000);
        Refused("takes about 3.00 GB, and 2.99 GB are free for 'work'", 2_990_000_000, long.MaxValue);
        Refused("takes about 2.00 GB of memory, and this machine has 1.50 GB", long.MaxValue, 1_500_000_000);
        (plan with { DiskBytes = 1, MemoryBytes = 1 }).Require(_databases.Folder("not/there/yet"));
        Assert.Throws<DatabaseException>(() => (plan with { DiskBytes = long.MaxValue }).Require(_databases.Folder()));
        Assert.Throws<CorpusException>(() => DatabasePlan.For([], BpeTrainer.Train(["abc abc"], 260, _databases.Folder("tokenizer"))));

        void Refused(string why, long disk, long memory)
            => Assert.Contains(why, Assert.Throws<DatabaseException>(() => plan.Require("work", disk, memory)).Message, StringComparison.Ordinal);
    }
}
