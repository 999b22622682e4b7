using System.Runtime.InteropServices;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;

namespace Retro.Tests.Search;

public class StageFileTests
{
    [Fact]
    public void The_stages_leave_files_that_the_manifest_knows_and_that_open_again()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(40, seed: 51));
        Build(data);
        using ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder, verify: true);
        using KeyFile keys = KeyFile.Open(database);

        Assert.Equal(data.AllKeys, keys.Rows(0, data.Chunks.Count).ToArray());
        Assert.Equal(SearchDatabase.KeyOf(data.Chunks[5]), keys.Row(5).ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => keys.Rows(keys.Count, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => keys.Row(-1).Length);
        foreach (INeighborSource source in new INeighborSource[]
        {
            DenseNeighborSource.Open(database, data.Keyer()),
            KeywordNeighborSource.Open(database),
        })
        {
            using NeighborTable built = NeighborTable.Build(database, source, 4);
            using NeighborTable opened = NeighborTable.Open(database, source, 4);
            Assert.Equal(built.Identity, opened.Identity);
            Assert.Equal(source.Ask(data.OwnQueries(), 4).Chunks, Enumerable.Range(0, data.Chunks.Count).SelectMany(chunk => opened.Row(chunk).ToArray()));
        }

        using ChunkDatabase again = ChunkDatabase.Open(database.Folder, verify: true);
        Assert.Collection(
            again.Manifest.Files.Select(file => file.Name).Where(name => name is not ("tokens.bin" or "documents.bin")).Order(StringComparer.Ordinal),
            name => Assert.Equal("bm25.bin", name),
            name => Assert.Equal("index.faiss", name),
            name => Assert.Equal("keys.bin", name),
            name => Assert.Matches("^neighbors-bm25-[0-9a-f]{12}.bin$", name),
            name => Assert.Matches("^neighbors-dense-[0-9a-f]{12}.bin$", name));
    }

    /// <summary>One key is read of each block, and a block is MBs: who leaves them in the file does not have them all read.</summary>
    [Fact]
    public void Keys_are_compared_with_their_checksums_unless_that_is_not_asked_for()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(40, seed: 59));
        DenseNeighborSource.Build(data.Database, data.Keyer()).Dispose();
        byte[] content = File.ReadAllBytes(data["keys.bin"]);
        content[KeyFileLayout.HeaderSize + 3] ^= 1;
        File.WriteAllBytes(data["keys.bin"], content);
        using (KeyFile keys = KeyFile.Open(data.Database), some = KeyFile.Open(data.Database, verify: false))
        {
            Assert.Throws<DatabaseException>(() => keys.Row(1).Length);
            Assert.Equal(data.AllKeys[SearchDatabase.Dimensions..], some.Rows(1, data.Chunks.Count - 1).ToArray());
        }

        using DenseNeighborSource mapped = DenseNeighborSource.Open(data.Database, data.Keyer(), new() { MemoryMapped = true });
        data.AssertNearest(data.Chunks[7], mapped.Ask([new(data.Chunks[7], [data.Database.DocumentOf(7)])], 4).Chunks, data.Database.DocumentOf(7));
    }

    [Fact]
    public void A_table_is_made_from_the_stored_keys_where_the_function_is_the_same()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(30, seed: 52));
        Build(data);
        int made = data.KeysMade;
        using VectorIndex index = VectorIndexFile.Open(data.Database);
        using NeighborTable table = NeighborTable.Build(data.Database, data.Dense(index), 3);
        Assert.Equal(made, data.KeysMade);
        data.AssertNearest(data.Chunks[0], table.Row(0), 0);

        using NeighborTable other = NeighborTable.Build(
            data["other.bin"], data.Database, new DenseNeighborSource(data.Database, index, data.Keyer("another")), 3, excludeOwnDocument: true);
        Assert.Equal(made + data.Chunks.Count, data.KeysMade);

        // Those that are damaged are made, as if they were not there.
        byte[] content = File.ReadAllBytes(data["keys.bin"]);
        content[KeyFileLayout.HeaderSize + 3] ^= 1;
        File.WriteAllBytes(data["keys.bin"], content);
        made = data.KeysMade;
        using NeighborTable again = NeighborTable.Build(data["again.bin"], data.Database, data.Dense(index), 3, excludeOwnDocument: true);
        Assert.Equal(made + data.Chunks.Count, data.KeysMade);
        Assert.All(Enumerable.Range(0, data.Chunks.Count), chunk => Assert.Equal(table.Row(chunk), again.Row(chunk)));
    }

    [Fact]
    public void A_stage_that_is_done_does_nothing_and_one_of_other_settings_is_done_again()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(30, seed: 53));
        Build(data);
        Dictionary<string, string> files = TestDatabases.Contents(data.Database.Folder);
        int made = data.KeysMade;
        Build(data);
        Assert.Equal(made, data.KeysMade);
        Assert.Equal(files, TestDatabases.Contents(data.Database.Folder));

        KeyFile.Build(data.Database, data.Keyer("another function"));
        Assert.Contains("another function", Assert.Throws<DatabaseException>(() => VectorIndexFile.Open(data.Database)).Message, StringComparison.Ordinal);
        VectorIndexFile.Build(data.Database, new() { Factory = "IVF4,Flat", Parameters = "nprobe=3" }).Dispose();
        Bm25Index.Build(data.Database, new() { K1 = 2 }).Dispose();
        Assert.Equal(2 * made, data.KeysMade);
        using VectorIndex index = VectorIndexFile.Open(data.Database, new() { MemoryMapped = true });
        using Bm25Index keywords = Bm25Index.Open(data.Database);
        Assert.Equal((4, 3, 2), (index.ListCount, index.ProbedLists, keywords.K1));
        Assert.Equal("another function", data.Database.Manifest.Find("index.faiss")!.Details["keyer"]);
    }

    [Fact]
    public void Killed_while_a_file_of_other_settings_replaces_one_the_database_still_opens()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 56));
        Build(data);
        void Killed(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken token) => throw new InvalidOperationException("killed");
        Assert.Throws<InvalidOperationException>(() => KeyFile.Build(data.Database, new TestKeyer(Killed, 3, "another function")));

        // As if the new file had got its name and the process had ended before it was registered.
        File.WriteAllBytes(data["keys.bin"], new byte[12]);
        using ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder);
        KeyFile.Build(database, data.Keyer());
        using KeyFile keys = KeyFile.Open(database);
        Assert.Equal(data.AllKeys, keys.Rows(0, data.Chunks.Count).ToArray());
    }

    [Fact]
    public void A_file_that_was_replaced_and_not_registered_is_not_taken_for_the_former_one()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 58));
        KeyFile.Build(data.Database, data.Keyer());
        static void Zeros(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken token) => keys.Clear();
        byte[] right = File.ReadAllBytes(data["keys.bin"]);

        Assert.Throws<InvalidOperationException>(() =>
            KeyFile.Build(data.Database, new TestKeyer(Zeros, SearchDatabase.Dimensions, "zeros"), progress: KilledWhenWritten()));
        Assert.NotEqual(right, File.ReadAllBytes(data["keys.bin"]));
        KeyFile.Build(data.Database, data.Keyer());
        Assert.Equal(right, File.ReadAllBytes(data["keys.bin"]));
    }

    [Fact]
    public void Keys_that_were_finished_and_not_registered_are_taken_as_they_are()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 58));
        Assert.Throws<InvalidOperationException>(() => KeyFile.Build(data.Database, data.Keyer(), progress: KilledWhenWritten()));
        Assert.Null(data.Database.Refresh().Find("keys.bin"));
        int made = data.KeysMade;
        using (ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder))
        {
            KeyFile.Build(database, data.Keyer());
            Assert.Equal(made, data.KeysMade);
            using KeyFile keys = KeyFile.Open(database);
            Assert.Equal(data.AllKeys, keys.Rows(0, data.Chunks.Count).ToArray());
        }

        using ChunkDatabase verified = ChunkDatabase.Open(data.Database.Folder, verify: true);
        Assert.NotNull(verified.Manifest.Find("keys.bin"));

        // But not one that a later fault of the disk has changed, wherever.
        byte[] whole = File.ReadAllBytes(data["keys.bin"]);
        for (int at = 3; at < whole.Length; at += 1 + whole.Length / 20)
        {
            byte[] changed = (byte[])whole.Clone();
            changed[at] ^= 4;
            File.WriteAllBytes(data["keys.bin"], changed);
            using (WriterLock writing = data.Database.Write("forget"))
            {
                data.Database.Forget(writing, "keys.bin");
            }

            KeyFile.Build(data.Database, data.Keyer());
            Assert.Equal(whole, File.ReadAllBytes(data["keys.bin"]));
        }
    }

    [Fact]
    public void A_changed_key_is_never_read_and_keys_without_checksums_are_made_again()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 61));
        KeyFile.Build(data.Database, data.Keyer());
        byte[] whole = File.ReadAllBytes(data["keys.bin"]);
        for (int at = 0; at < whole.Length; at += 1 + whole.Length / 50)
        {
            byte[] changed = (byte[])whole.Clone();
            changed[at] ^= 4;
            File.WriteAllBytes(data["keys.bin"], changed);
            Assert.Contains("keys.bin", Assert.Throws<DatabaseException>(() =>
            {
                using KeyFile keys = KeyFile.Open(data.Database);
                _ = keys.Row(0).Length;
            }).Message, StringComparison.Ordinal);
        }

        // Of which nobody could tell that they are damaged.
        File.WriteAllBytes(data["keys.bin"], System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(data.AllKeys).ToArray());
        data.Database.Register("keys.bin", data.Database.Manifest.Find("keys.bin")!.Details);
        using ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder, verify: true);
        Assert.Contains("makes it again", Assert.Throws<DatabaseException>(() => KeyFile.Open(database)).Message, StringComparison.Ordinal);
        KeyFile.Build(database, data.Keyer());
        Assert.Equal(whole, File.ReadAllBytes(data["keys.bin"]));
    }

    [Fact]
    public void What_another_has_registered_meanwhile_is_known()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 59));
        using (ChunkDatabase other = ChunkDatabase.Open(data.Database.Folder))
        {
            KeyFile.Build(other, data.Keyer());
            KeywordNeighborSource.Build(other).Dispose();
        }

        int made = data.KeysMade;
        KeyFile.Build(data.Database, data.Keyer());
        KeywordNeighborSource.Open(data.Database).Dispose();
        Assert.Equal(made, data.KeysMade);
    }

    [Fact]
    public void While_a_stage_writes_every_other_is_told_who_does_and_what_is_made_can_be_read()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 62));
        KeyFile.Build(data.Database, data.Keyer());
        NeighborTable.Build(data.Database, new NoNeighborSource(), 2).Dispose();
        using ChunkDatabase second = ChunkDatabase.Open(data.Database.Folder);
        List<string> told = [];
        Action[] stages =
        [
            () => KeyFile.Build(second, data.Keyer("a third function")),
            () => KeywordNeighborSource.Build(second).Dispose(),
            () => NeighborTable.Build(second, new NoNeighborSource(), 3).Dispose(),
            () => second.Register("mine.bin"),
            () =>
                ChunkDatabaseBuilder.Build(
                    second.Folder,
                    SearchDatabase.Documents(5, seed: 1),
                    TestDatabases.Bytes,
                    new ChunkDatabaseOptions { ChunkLength = 8, StartOver = true }).Dispose(),
        ];
        Action made = () => NeighborTable.Build(second, new NoNeighborSource(), 2).Dispose();
        void Asked(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken token)
        {
            DatabaseException[] refused = [.. stages.Select(stage => Assert.Throws<DatabaseException>(stage))];
            Assert.All(refused, fault => Assert.Contains(fault.Holder!, fault.Message, StringComparison.Ordinal));
            told.AddRange(refused.Select(fault => fault.Message));
            made(); // there is nothing to write
            data.Keys(chunks, keys, token);
        }

        File.WriteAllText(data["mine.bin"], "mine");
        KeyFile.Build(data.Database, new TestKeyer(Asked, SearchDatabase.Dimensions, "another function"));
        Assert.Equal(stages.Length, told.Count);
        Assert.All(told, message => Assert.Contains($"process {Environment.ProcessId} ", message, StringComparison.Ordinal));
        Assert.All(told, message => Assert.Contains("make keys", message, StringComparison.Ordinal));
        Assert.Equal("another function", second.Refresh().Find("keys.bin")!.Details["keyer"]);
        Assert.Equal(data.AllKeys, KeysOf(second));
        second.Register("mine.bin");

        static float[] KeysOf(ChunkDatabase database)
        {
            using KeyFile keys = KeyFile.Open(database);
            return keys.Rows(0, (int)keys.Count).ToArray();
        }
    }

    [Fact]
    public void Interrupted_keys_go_on_where_they_stopped_and_end_with_the_same_bytes()
    {
        using SearchDatabase data = new(
            [TestDatabases.Document("long", string.Concat(Enumerable.Range(0, 7000).Select(i => (char)('a' + i * i % 23 % 26))))], chunkLength: 1);
        using CancellationTokenSource stop = new();
        int calls = 0;
        void Stopping(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken token)
        {
            if (calls++ == 2)
            {
                stop.Cancel();
            }

            data.Keys(chunks, keys, token);
        }

        Assert.ThrowsAny<OperationCanceledException>(() =>
            KeyFile.Build(data.Database, new TestKeyer(Stopping, SearchDatabase.Dimensions, SearchDatabase.KeyIdentity), cancellationToken: stop.Token));
        Assert.Null(data.Database.Manifest.Find("keys.bin"));
        Assert.Contains("keys.bin", Assert.Throws<DatabaseException>(() => KeyFile.Open(data.Database)).Message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => VectorIndexFile.Build(data.Database));

        int before = data.KeysMade;
        KeyFile.Build(data.Database, data.Keyer());
        Assert.Equal(data.Chunks.Count - 2048, data.KeysMade - before);
        using KeyFile keys = KeyFile.Open(data.Database);
        Assert.Equal(data.AllKeys, keys.Rows(0, data.Chunks.Count).ToArray());
    }

    /// <summary>
    /// What a function of the caller's makes is looked at before it is kept: a mended function goes on, and what was kept before counts as damage.
    /// </summary>
    [Theory]
    [InlineData(float.NaN, "holds NaN at place 2")]
    [InlineData(1e20f, "is too long")]
    public void A_key_that_cannot_be_compared_is_refused_with_its_chunk_and_never_stored(float number, string fault)
    {
        using SearchDatabase data = new(
            [TestDatabases.Document("long", string.Concat(Enumerable.Range(0, 7000).Select(i => (char)('a' + i * i % 23 % 26))))], chunkLength: 1);
        int first = 0;
        TestKeyer broken = new(
            (chunks, keys, cancellationToken) =>
            {
                data.Keys(chunks, keys, cancellationToken);
                if (first <= 5000 && 5000 < first + chunks.Count)
                {
                    keys[((5000 - first) * SearchDatabase.Dimensions) + 2] = number;
                }

                first += chunks.Count;
            },
            SearchDatabase.Dimensions,
            SearchDatabase.KeyIdentity);
        string message = Assert.Throws<RetroException>(() => KeyFile.Build(data.Database, broken)).Message;
        Assert.Contains($"chunk 5000 {fault}", message, StringComparison.Ordinal);
        Assert.Null(data.Database.Refresh().Find("keys.bin"));

        int before = data.KeysMade;
        KeyFile.Build(data.Database, data.Keyer());
        Assert.Equal(data.Chunks.Count - 2048, data.KeysMade - before); // two blocks were written, the last of which is made again

        // Written by who did not look.
        KeyFileLayout layout = new(data.Database.Manifest.TokensHash, SearchDatabase.KeyIdentity, data.Database.ChunkCount, SearchDatabase.Dimensions);
        float[] stored = [.. data.AllKeys];
        stored[(3 * SearchDatabase.Dimensions) + 2] = number;
        string sha256 = layout.File.Write(
            data["keys.bin"],
            "unchecked",
            "write",
            (row, rows) => MemoryMarshal.AsBytes(stored.AsSpan()).Slice((int)(row * layout.File.RowBytes), rows.Length).CopyTo(rows),
            null,
            TestContext.Current.CancellationToken);
        Dictionary<string, string> details = new(data.Database.Manifest.Find("keys.bin")!.Details);
        using (WriterLock writing = data.Database.Write("write unchecked keys"))
        {
            data.Database.Enter(writing, "keys.bin", details, sha256);
        }

        using (KeyFile keys = KeyFile.Open(data.Database))
        {
            Assert.Contains($"key of chunk 3 in", Assert.Throws<DatabaseException>(() => keys.Row(0).Length).Message, StringComparison.Ordinal);
        }

        before = data.KeysMade;
        KeyFile.Build(data.Database, data.Keyer());
        Assert.Equal(1, data.KeysMade - before);
        using KeyFile mended = KeyFile.Open(data.Database);
        Assert.Equal(data.AllKeys, mended.Rows(0, data.Chunks.Count).ToArray());
    }

    [Fact]
    public void A_block_of_keys_is_compared_with_its_checksum_once_for_an_opened_database()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 57));
        KeyFile.Build(data.Database, data.Keyer());
        File.SetLastWriteTimeUtc(data["keys.bin"], DateTime.UtcNow.AddHours(-1));
        Assert.Equal(1, Checked(data.Database));
        Assert.Equal(0, Checked(data.Database));
        using ChunkDatabase other = ChunkDatabase.Open(data.Database.Folder);
        Assert.Equal(1, Checked(other));

        // Who reads the keys afterwards takes what is known, and a file that was changed is looked at again.
        byte[] changed = File.ReadAllBytes(data["keys.bin"]);
        changed[400] ^= 1;
        File.WriteAllBytes(data["keys.bin"], changed);
        Assert.Throws<DatabaseException>(() => Read(other));
        File.SetLastWriteTimeUtc(data["keys.bin"], DateTime.UtcNow.AddHours(-2));
        Assert.Throws<DatabaseException>(() => Read(other));
        Assert.Equal(1, Checked(other));
        Assert.Equal(data.AllKeys, Read(other));

        int Checked(ChunkDatabase database)
        {
            int reports = 0;
            KeyFile.Build(database, data.Keyer(), progress: new SynchronousProgress<StageProgress>(report => reports += report.Stage == "check keys" ? 1 : 0));
            return Math.Min(reports, 1);
        }

        static float[] Read(ChunkDatabase database)
        {
            using KeyFile keys = KeyFile.Open(database);
            return keys.Rows(0, (int)keys.Count).ToArray();
        }
    }

    [Fact]
    public void Changed_and_missing_files_are_refused_by_name()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(10, seed: 54));
        Assert.Contains("index.faiss", Assert.Throws<DatabaseException>(() => VectorIndexFile.Open(data.Database)).Message, StringComparison.Ordinal);
        Assert.Contains("bm25.bin", Assert.Throws<DatabaseException>(() => Bm25Index.Open(data.Database)).Message, StringComparison.Ordinal);
        Build(data);
        foreach ((string file, Action open) in new (string, Action)[]
        {
            ("index.faiss", () => VectorIndexFile.Open(data.Database).Dispose()),
            ("bm25.bin", () => Bm25Index.Open(data.Database).Dispose()),
        })
        {
            byte[] whole = File.ReadAllBytes(data[file]);
            for (int i = 0; i < whole.Length; i += 131)
            {
                byte[] changed = (byte[])whole.Clone();
                changed[i] ^= 0x80;
                File.WriteAllBytes(data[file], changed);
                Assert.Contains(file, Assert.Throws<DatabaseException>(open).Message, StringComparison.Ordinal);
            }
        }

        File.WriteAllBytes(data["keys.bin"], new byte[40]);
        Assert.Contains("keys.bin", Assert.Throws<DatabaseException>(() => KeyFile.Open(data.Database)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(0)]
    [InlineData(77)]
    public void Whatever_file_of_a_stage_is_missing_or_short_the_database_opens_and_the_stage_makes_it_again(int? length)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 60));
        void Make(ChunkDatabase database)
        {
            using DenseNeighborSource dense = DenseNeighborSource.Build(database, data.Keyer());
            using KeywordNeighborSource keywords = KeywordNeighborSource.Build(database);
            NeighborTable.Build(database, keywords, 3).Dispose();
        }

        Make(data.Database);
        Dictionary<string, string> whole = TestDatabases.Contents(data.Database.Folder);
        string[] stages = [.. data.Database.Manifest.Files.Where(file => file.MadeFrom is not null).Select(file => file.Name)];
        Assert.Equal(4, stages.Length);
        foreach (string name in stages)
        {
            File.Delete(data[name]);
            if (length is { } bytes)
            {
                File.WriteAllBytes(data[name], new byte[bytes]);
            }

            using ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder, verify: true);
            Assert.Contains(name, Assert.Throws<DatabaseException>(() => database.RequireFile(name)).Message, StringComparison.Ordinal);
            Make(database);
            Assert.Equal(whole, TestDatabases.Contents(database.Folder));
        }
    }

    [Fact]
    public void An_index_never_asks_for_more_training_keys_than_there_are()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(4, seed: 55));
        KeyFile.Build(data.Database, data.Keyer());
        VectorIndexFile.Build(data.Database, new() { Factory = "IVF2,Flat", TrainingVectors = 1_000_000 }).Dispose();
        using VectorIndex index = VectorIndexFile.Open(data.Database);
        Assert.Equal(data.Database.ChunkCount, index.Count);
        Assert.Throws<FaissException>(() => VectorIndexFile.Build(data.Database, new() { Factory = "IVF4096,Flat" }));
        Assert.Throws<RetroOptionsException>(() => VectorIndexFile.Build(data.Database, new() { TrainingVectors = 0 }));
    }

    [Fact]
    public void The_manifest_records_the_engine_and_each_opens_what_it_made()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 57));
        KeyFile.Build(data.Database, data.Keyer());
        List<string> messages = [];
        Reports<StageProgress> reports = new(report =>
        {
            if (report.Message is { } message)
            {
                messages.Add(message);
            }
        });
        List<long[]> found = [];
        foreach ((VectorEngine engine, string factory) in new[] { (VectorEngine.Exact, "exact"), (VectorEngine.Faiss, "Flat"), (VectorEngine.Exact, "exact") })
        {
            VectorIndexFile.Build(data.Database, new() { Engine = engine }, reports).Dispose();
            Assert.Equal(factory, data.Database.Manifest.Find("index.faiss")!.Details["factory"]);
            using ChunkDatabase database = ChunkDatabase.Open(data.Database.Folder, verify: true);
            foreach (bool memoryMapped in new[] { false, true })
            {
                using VectorIndex index = VectorIndexFile.Open(database, new() { Engine = engine, MemoryMapped = memoryMapped });
                Assert.Equal(engine, index.Engine);
                found.Add(data.Dense(index).Ask(data.OwnQueries()[..5], 4).Chunks);
            }
        }

        Assert.All(found, chunks => Assert.Equal(found[0], chunks));
        Assert.Empty(messages); // nothing was chosen that was not asked for
        byte[] changed = File.ReadAllBytes(data["index.faiss"]);
        changed[100] ^= 1;
        File.WriteAllBytes(data["index.faiss"], changed);
        Assert.Contains("checksum", Assert.Throws<DatabaseException>(() => VectorIndexFile.Open(data.Database)).Message, StringComparison.Ordinal);
        Assert.Throws<FaissException>(() => VectorIndexFile.Build(data.Database, new() { Engine = VectorEngine.Exact, Factory = "IVF2,Flat" }));
        Assert.Throws<FaissException>(() => VectorIndexFile.Build(data.Database, new() { Engine = VectorEngine.Exact, Parameters = "nprobe=2" }));
    }

    /// <summary>Another thread registers and takes out the file meanwhile, as who builds a source does over a database that others read.</summary>
    [Fact]
    public async Task A_file_that_comes_and_goes_is_given_with_what_the_manifest_says_of_it_or_refused()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(5, seed: 63));
        File.WriteAllText(data["mine.bin"], "mine");
        using CancellationTokenSource stop = new(TimeSpan.FromSeconds(1));
        Task changes = Task.Run(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                data.Database.Register("mine.bin");
                using WriterLock writing = data.Database.Write("forget");
                data.Database.Forget(writing, "mine.bin");
            }
        });
        while (!changes.IsCompleted)
        {
            try
            {
                Assert.NotNull(StageFile.Require(data.Database, "mine.bin").Entry);
            }
            catch (DatabaseException fault)
            {
                Assert.Contains("'mine.bin'", fault.Message, StringComparison.Ordinal);
            }
        }

        await changes;
    }

    /// <summary>Ends a stage when its keys have their name and the manifest does not know them yet.</summary>
    private static Reports<StageProgress> KilledWhenWritten() => new(report =>
    {
        if (report.Stage == "embed chunks" && report.Done == report.Total)
        {
            throw new InvalidOperationException("killed");
        }
    });

    private static void Build(SearchDatabase data)
    {
        KeyFile.Build(data.Database, data.Keyer());
        VectorIndexFile.Build(data.Database).Dispose();
        Bm25Index.Build(data.Database).Dispose();
    }
}
