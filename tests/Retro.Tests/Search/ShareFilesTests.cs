using System.Diagnostics;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;

namespace Retro.Tests.Search;

/// <summary>Stages that several machines make a share of each.</summary>
public sealed class ShareFilesTests : IDisposable
{
    private const string Work = "RETRO_TEST_SHARE", Folder = "RETRO_TEST_SHARE_FOLDER";
    private const int K = 3;

    private static readonly DenseNeighborOptions s_exact = new() { Engine = VectorEngine.Exact };

    // Five blocks of keys and ten of neighbors, the last ones not full.
    private static readonly List<Document> s_documents
        = [.. TestDatabases.Documents(30, seed: 8, maximumLength: 3000).Select(document => document with { Text = document.Text + "end" })];

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    public void Shares_made_in_any_order_give_the_files_of_a_build_without_them(int n)
    {
        using ChunkDatabase plain = Build("plain"), shared = Build("shared");
        Assert.InRange(plain.ChunkCount, 4 * KeyFileLayout.BlockRows + 1, 5 * KeyFileLayout.BlockRows - 1);
        int made = 0;
        DenseNeighborSource.Build(plain, SearchDatabase.AnyKeyer(), s_exact).Dispose();
        NeighborTable.Build(plain, new RandomNeighborSource(plain, 5), K).Dispose();
        WorkShare[] shares = [.. Enumerable.Range(1, n).Select(index => new WorkShare(index, n))];
        new Random(n).Shuffle(shares);
        foreach (WorkShare share in shares)
        {
            DenseNeighborSource.BuildShare(shared, SearchDatabase.AnyKeyer(count => made += count), share);
        }

        Assert.Equal(shared.ChunkCount, made);
        DenseNeighborSource.Build(shared, SearchDatabase.AnyKeyer(_ => Assert.Fail("A key is made again.")), s_exact).Dispose();
        new Random(n + 1).Shuffle(shares);
        RecordingSource source = new(new RandomNeighborSource(shared, 5));
        foreach (WorkShare share in shares)
        {
            NeighborTable.BuildShare(shared, source, share, K);
        }

        NeighborTable.Build(shared, source, K).Dispose();
        Assert.Equal(shared.ChunkCount, source.Queries.Count);
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(shared.Folder));

        // What is whole is not shared again.
        DenseNeighborSource.BuildShare(shared, SearchDatabase.AnyKeyer(count => made += count), shares[0]);
        NeighborTable.BuildShare(shared, source, shares[0], K);
        Assert.Equal((shared.ChunkCount, shared.ChunkCount), (made, source.Queries.Count));
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(shared.Folder));
    }

    [Fact]
    public void A_missing_share_is_made_and_a_damaged_or_foreign_one_is_not_used()
    {
        using ChunkDatabase plain = Build("plain"), shared = Build("shared");
        DenseNeighborSource.Build(plain, SearchDatabase.AnyKeyer(), s_exact).Dispose();
        foreach (WorkShare share in new WorkShare[] { new(1, 3), new(3, 3) })
        {
            DenseNeighborSource.BuildShare(shared, SearchDatabase.AnyKeyer(), share); // one block and two; the second share, of two, is missing
        }

        string damaged = Path.Combine(shared.Folder, "keys.3-of-3.bin"), foreign = Path.Combine(shared.Folder, "keys.1-of-2.bin");
        Change(damaged, 256 + 4 * SearchDatabase.Dimensions);
        TestKeyer other = new((_, keys, _) => keys.Fill(7), SearchDatabase.Dimensions, "another");
        DenseNeighborSource.BuildShare(shared, other, new(1, 2));
        DenseNeighborSource.BuildShare(shared, SearchDatabase.AnyKeyer(), new(6, 6));
        string cut = Path.Combine(shared.Folder, "keys.6-of-6.bin");
        File.WriteAllBytes(cut, File.ReadAllBytes(cut)[..^5]);
        File.WriteAllText(Path.Combine(shared.Folder, "keys.2-of-9.bin"), "");

        // Begun and never finished.
        File.WriteAllText(Path.Combine(shared.Folder, "keys.4-of-9.bin.part"), "");
        List<string> told = [];
        List<int> made = [];
        DenseNeighborSource.Build(
            shared, SearchDatabase.AnyKeyer(made.Add), s_exact, new Reports<StageProgress>(report => told.AddRange(report.Message is { } said ? [said] : [])))
            .Dispose();

        // The second share's two blocks, and one damaged block of the third.
        Assert.Equal([KeyFileLayout.BlockRows, KeyFileLayout.BlockRows, KeyFileLayout.BlockRows], made);
        Assert.Equal(
            [$"The share {Path.Combine(shared.Folder, "keys.1-of-2.bin")} is not used", $"The share {cut} is not used", $"The share {damaged} is damaged"],
            told.Where(said => said.StartsWith("The share", StringComparison.Ordinal) && !said.Contains("of-9", StringComparison.Ordinal))
                .Select(said => said.Split(':')[0]));
        Assert.Contains(told, said => said.Contains("keys.2-of-9.bin is not used", StringComparison.Ordinal));
        foreach (string file in plain.Manifest.Files.Select(file => file.Name))
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(plain.Folder, file)), File.ReadAllBytes(Path.Combine(shared.Folder, file)));
        }

        // Another's share is not ours to remove.
        Assert.Equal(
            ["keys.1-of-2.bin", "keys.2-of-9.bin", "keys.4-of-9.bin.part", "keys.bin"],
            Directory.GetFiles(shared.Folder, "keys*").Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.True(File.Exists(foreign));
    }

    [Fact]
    public void A_table_is_not_made_of_the_rows_of_other_settings_or_of_a_damaged_share()
    {
        using ChunkDatabase database = Build("db");
        RandomNeighborSource one = new(database, 1);
        using NeighborTable plain = NeighborTable.Build(Path.Combine(database.Folder, "plain.bin"), database, one, K, excludeOwnDocument: true);
        foreach (INeighborSource source in new INeighborSource[] { one, new RandomNeighborSource(database, 2) })
        {
            NeighborTable.BuildShare(database, source, new(1, 2), K);
        }

        string[] shares = Directory.GetFiles(database.Folder, "neighbors-*.1-of-2.bin");
        Assert.Equal(2, shares.Length);
        Array.ForEach(shares, share => Change(share, 256 + NeighborTable.BlockRows * K * sizeof(long) + 3)); // in the second block
        RecordingSource asked = new(one);
        using NeighborTable table = NeighborTable.Build(database, asked, K);
        Assert.All(Enumerable.Range(0, (int)plain.Rows), chunk => Assert.Equal(plain.Row(chunk), table.Row(chunk)));
        long blocks = (plain.Rows + NeighborTable.BlockRows - 1) / NeighborTable.BlockRows, missing = plain.Rows - blocks / 2 * NeighborTable.BlockRows;
        Assert.Equal(missing + NeighborTable.BlockRows, asked.Queries.Count);
        Assert.Single(Directory.GetFiles(database.Folder, "neighbors-*.1-of-2.bin"));
    }

    [Fact]
    public void Each_segment_of_a_changed_database_has_its_shares()
    {
        string[] folders = [_databases.Folder("plain"), _databases.Folder("shared")];
        foreach (string folder in folders)
        {
            Build(Path.GetFileName(folder)).Dispose();
            ChunkDatabaseUpdate.Apply(
                folder, [new("new", "", new string('n', 8300 * 4), "")], [s_documents[2].Id, s_documents[9].Id], TestDatabases.Bytes).Database.Dispose();
        }

        using ChunkDatabase plain = ChunkDatabase.Open(folders[0]), shared = ChunkDatabase.Open(folders[1]);
        Assert.Equal(2, shared.SegmentCount);
        DenseNeighborSource.Build(plain, SearchDatabase.AnyKeyer(), s_exact).Dispose();
        NeighborTable.Build(plain, new RandomNeighborSource(plain, 5), K).Dispose();
        for (int index = 3; index > 0; index--)
        {
            DenseNeighborSource.BuildShare(shared, SearchDatabase.AnyKeyer(), new(index, 3));
        }

        Assert.Equal(6, Directory.GetFiles(folders[1], "keys.*-of-3.bin", SearchOption.AllDirectories).Length);
        DenseNeighborSource.Build(shared, SearchDatabase.AnyKeyer(_ => Assert.Fail("A key is made again.")), s_exact).Dispose();
        RecordingSource source = new(new RandomNeighborSource(shared, 5));
        NeighborTable.BuildShare(shared, source, new(2, 2), K);
        NeighborTable.BuildShare(shared, source, new(1, 2), K);
        NeighborTable.Build(shared, source, K).Dispose();
        Assert.Equal(shared.ChunkCount, source.Queries.Count);
        Assert.Equal(TestDatabases.Contents(folders[0]), TestDatabases.Contents(folders[1]));
    }

    [Fact]
    public void A_share_that_was_stopped_goes_on_and_ends_with_the_same_bytes()
    {
        using ChunkDatabase plain = Build("plain"), shared = Build("shared");
        DenseNeighborSource.BuildShare(plain, SearchDatabase.AnyKeyer(), new(1, 1));
        using CancellationTokenSource stop = new();
        int blocks = 0;
        Assert.ThrowsAny<OperationCanceledException>(() => DenseNeighborSource.BuildShare(shared, SearchDatabase.AnyKeyer(_ =>
        {
            if (++blocks == 3)
            {
                stop.Cancel();
            }
        }), new(1, 1), cancellationToken: stop.Token));
        Assert.False(File.Exists(Path.Combine(shared.Folder, "keys.1-of-1.bin")));

        List<int> made = [];
        DenseNeighborSource.BuildShare(shared, SearchDatabase.AnyKeyer(made.Add), new(1, 1));
        Assert.Equal(shared.ChunkCount - 2 * KeyFileLayout.BlockRows, made.Sum()); // the last block that was written is made again
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(shared.Folder));
    }

    [Fact]
    public void Who_makes_a_share_that_is_being_made_is_told()
    {
        using ChunkDatabase database = Build("db");
        Exception? told = null;
        DenseNeighborSource.BuildShare(
            database,
            SearchDatabase.AnyKeyer(_ => told ??= Record.Exception(() => DenseNeighborSource.BuildShare(database, SearchDatabase.AnyKeyer(), new(2, 2)))),
            new(2, 2));
        Assert.Contains("keys.2-of-2.bin is being made by another process", Assert.IsType<DatabaseException>(told).Message, StringComparison.Ordinal);

        // A share that was done in the meantime, and one whose maker still has it, when the whole is made.
        DenseNeighborSource.BuildShare(
            database,
            SearchDatabase.AnyKeyer(_ =>
            {
                using ChunkDatabase other = ChunkDatabase.Open(database.Folder);
                DenseNeighborSource.Build(other, SearchDatabase.AnyKeyer(), s_exact).Dispose();
            }),
            new(1, 2));
        Assert.Equal(["keys.bin"], Directory.GetFiles(database.Folder, "keys*").Select(Path.GetFileName));
    }

    /// <summary>Stopped between the new manifest and the removal of what it does without: that is done before a share has a name of what goes.</summary>
    [Fact]
    public void Shares_outlive_what_a_stopped_change_has_left()
    {
        using ChunkDatabase database = Build("db");
        File.WriteAllText(Path.Combine(database.Folder, "keys.bin"), "of the database before");
        (DatabaseManifest.Load(database.Folder) with { Leaving = ["keys.bin"] }).Save(database.Folder);
        DenseNeighborSource.BuildShare(database, SearchDatabase.AnyKeyer(), new(1, 2));
        DenseNeighborSource.BuildShare(database, SearchDatabase.AnyKeyer(), new(2, 2));
        DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(_ => Assert.Fail("A key is made again.")), s_exact).Dispose();
    }

    /// <summary>On a system where what a reader has open cannot be deleted, it is tried again and again; what was begun of it goes once.</summary>
    [Fact]
    public void Shares_outlive_a_file_that_cannot_be_removed()
    {
        using ChunkDatabase database = Build("db");
        string share = Path.Combine(database.Folder, "keys.1-of-2.bin");
        File.WriteAllText(share, "of the database before");
        DatabaseManifest manifest = DatabaseManifest.Load(database.Folder) with { Leaving = ["keys.bin", "gone.bin"] };
        Stay("keys.bin");
        manifest.Save(database.Folder);
        DatabaseFolder.Clean(database.Folder, manifest);
        Assert.False(File.Exists(share));

        // As that leaves it where only one of the two can be removed.
        (manifest with { Leaving = ["keys.bin"], Remaining = ["keys.bin"] }).Save(database.Folder);
        Stay("keys.bin");
        DenseNeighborSource.BuildShare(database, SearchDatabase.AnyKeyer(), new(1, 2));
        Assert.False(File.Exists(Path.Combine(database.Folder, "keys.bin")));
        (manifest with { Leaving = ["keys.bin"], Remaining = ["keys.bin"] }).Save(database.Folder);
        Stay("keys.bin");
        DenseNeighborSource.BuildShare(database, SearchDatabase.AnyKeyer(), new(2, 2));
        Assert.True(File.Exists(share));
        Assert.Null(DatabaseManifest.Load(database.Folder).Remaining);

        void Stay(string name) => File.WriteAllText(Path.Combine(database.Folder, name), "of the database before");
    }

    /// <summary>Its finished share has the name of the one that was being made in the folder before.</summary>
    [Fact]
    public void A_share_of_the_database_that_was_put_in_the_place_of_another_stays()
    {
        using ChunkDatabase database = Build("db");
        string share = Path.Combine(database.Folder, "keys.1-of-1.bin");
        bool moved = false;
        Assert.NotNull(Record.Exception(() => DenseNeighborSource.BuildShare(
            database,
            SearchDatabase.AnyKeyer(_ =>
            {
                if (!moved)
                {
                    moved = true;
                    Directory.Move(database.Folder, database.Folder + "-before");
                    using ChunkDatabase other = ChunkDatabaseBuilder.Build(
                        database.Folder, s_documents[5..], TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 4 });
                    DenseNeighborSource.BuildShare(other, SearchDatabase.AnyKeyer(), new(1, 1));
                    Assert.True(File.Exists(share));
                }
            }),
            new(1, 1))));
        Assert.True(moved);
        Assert.True(File.Exists(share));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_share_of_a_database_that_is_another_by_now_is_not_left_behind(bool stops)
    {
        using ChunkDatabase database = Build("db");
        using CancellationTokenSource stop = new();
        bool again = false;
        Exception? fault = Record.Exception(() => DenseNeighborSource.BuildShare(
            database,
            SearchDatabase.AnyKeyer(_ =>
            {
                if (!again)
                {
                    again = true;
                    ChunkDatabaseOptions options = new() { ChunkLength = 4, StartOver = true };
                    ChunkDatabaseBuilder.Build(database.Folder, s_documents[5..], TestDatabases.Bytes, options).Dispose();
                }
                else if (stops)
                {
                    stop.Cancel();
                }
            }),
            new(1, 1),
            cancellationToken: stop.Token));
        Assert.True(stops ? fault is OperationCanceledException : fault is DatabaseException, $"{fault}");
        Assert.Empty(Directory.GetFiles(database.Folder, "keys*"));
    }

    [Fact]
    public async Task Two_processes_at_once_one_of_which_is_killed_and_runs_again_give_the_same_bytes()
    {
        using ChunkDatabase plain = Build("plain");
        DenseNeighborSource.Build(plain, SearchDatabase.AnyKeyer(), s_exact).Dispose();
        NeighborTable.Build(plain, new RandomNeighborSource(plain, 5), K).Dispose();
        string folder = _databases.Folder("shared");
        Build("shared").Dispose();
        string begun = Path.Combine(folder, "keys.1-of-2.bin.part");
        bool killed = false;
        Task<ChildProcess.Outcome> second = Task.Run(() => Run("2/2", null));
        Run("1/2 stops", process =>
        {
            // Into the second of its two blocks.
            const int Block = KeyFileLayout.BlockRows * SearchDatabase.Dimensions * sizeof(float);
            while (!process.HasExited && (!File.Exists(begun) || new FileInfo(begun).Length < Block))
            {
                Thread.Sleep(1);
            }

            killed = !process.HasExited;
            process.Kill();
        });
        Assert.True(killed);
        Assert.False(File.Exists(Path.Combine(folder, "keys.1-of-2.bin")));
        Assert.Equal(0, Run("1/2", null).ExitCode);
        Assert.Equal(0, (await second).ExitCode);
        using ChunkDatabase shared = ChunkDatabase.Open(folder);
        DenseNeighborSource.Build(shared, SearchDatabase.AnyKeyer(_ => Assert.Fail("A key is made again.")), s_exact).Dispose();
        RecordingSource source = new(new RandomNeighborSource(shared, 5));
        NeighborTable.Build(shared, source, K).Dispose();
        Assert.Empty(source.Queries);
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(folder));

        ChildProcess.Outcome Run(string work, Action<Process>? meanwhile)
            => ChildTest.Run(Makes_a_share, new() { [Work] = work, [Folder] = folder }, meanwhile);
    }

    /// <summary>What the processes do.</summary>
    [Fact(Explicit = true)]
    public void Makes_a_share()
    {
        string[] work = ChildTest.Given(Work).Split(' ');
        using ChunkDatabase database = ChunkDatabase.Open(ChildTest.Given(Folder));
        int blocks = 0;
        DenseNeighborSource.BuildShare(database, SearchDatabase.AnyKeyer(_ => StopAt(++blocks)), WorkShare.Parse(work[0]));
        NeighborTable.BuildShare(database, new RandomNeighborSource(database, 5), WorkShare.Parse(work[0]), K);
    }

    /// <summary>Waits in the second block, where it is wanted, for whoever ends the process there.</summary>
    private static void StopAt(int block)
    {
        if (block == 2 && ChildTest.Given(Work).EndsWith("stops", StringComparison.Ordinal))
        {
            Thread.Sleep(Timeout.Infinite);
        }
    }

    private static void Change(string file, int at)
    {
        byte[] content = File.ReadAllBytes(file);
        content[at] ^= 1;
        File.WriteAllBytes(file, content);
    }

    private ChunkDatabase Build(string name) => _databases.Build(s_documents, chunkLength: 4, name);
}
