using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;

namespace Retro.Tests.Search;

/// <summary>A keyword index that several machines make a share of each, or one machine in blocks.</summary>
public sealed class KeywordSharesTests : IDisposable
{
    private static readonly List<Document> s_documents = TestDatabases.Documents(30, seed: 8, maximumLength: 3000);

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    public void Shares_made_in_any_order_give_the_file_of_an_index_that_is_made_at_once(int n)
    {
        using ChunkDatabase plain = Build("plain"), shared = Build("shared");
        KeywordNeighborOptions options = new() { K1 = 0.9, B = 0.4 };
        KeywordNeighborSource.Build(plain, options).Dispose();
        WorkShare[] shares = [.. Enumerable.Range(1, n).Select(index => new WorkShare(index, n))];
        new Random(n).Shuffle(shares);
        foreach (WorkShare share in shares)
        {
            KeywordNeighborSource.BuildShare(shared, share, options);
            string own = Path.Combine(shared.Folder, $"bm25.{share.Index}-of-{n}.bin");
            DateTime made = File.GetLastWriteTimeUtc(own);
            KeywordNeighborSource.BuildShare(shared, share, options with { Threads = 1 }); // it is there
            Assert.Equal(made, File.GetLastWriteTimeUtc(own));
        }

        KeywordNeighborSource.Build(shared, options).Dispose();
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(shared.Folder));
        KeywordNeighborSource.BuildShare(shared, shares[0], options);
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(shared.Folder));
    }

    /// <summary>Terms that are frequent here and not there, or stand 255 times and more in a document; documents and parts that are empty.</summary>
    [Theory]
    [InlineData(5)]
    [InlineData(300)]
    public void Parts_of_any_lengths_are_joined_to_the_bytes_of_the_whole(int vocabulary)
    {
        Random random = new(vocabulary);
        int[][] documents = [.. Enumerable.Range(0, 3000).Select(i => Enumerable.Range(0, random.Next(i % 100 == 0 ? 900 : 12))
            .Select(_ => (i / 1000 * 7) + (int)(vocabulary * Math.Pow(random.NextDouble(), i % 50 == 0 ? 40 : 2))).ToArray())];
        Assert.Contains(documents, terms => terms.CountBy(term => term).Any(pair => pair.Value > 300));
        string path = _databases.Folder("whole");
        using Bm25Index whole = Bm25Index.Build(documents.Length, document => documents[document], new() { K1 = 1.5, B = 0.6 });
        whole.Save(path);
        byte[] part = new byte[Bm25Image.PartBytes];
        foreach (int[] ends in new int[][] { [3000], [0, 1, 1, 1000, 1001, 2999, 3000], [.. Enumerable.Range(1, 60).Select(i => i * 50)] })
        {
            List<Bm25Image> parts = [];
            foreach ((int first, int end) in ends.Prepend(0).Zip(ends))
            {
                parts.Add(Bm25Image.Build(end - first, document => documents[first + document], 0, 0, part, 2, null, default));
            }

            using MemoryStream merged = new();
            Bm25Image.Merge(merged, parts, 1.5, 0.6, null, default);
            Assert.Equal(File.ReadAllBytes(path), merged.ToArray());
            parts.ForEach(one => one.Dispose());
        }
    }

    [Fact]
    public void What_is_too_large_for_the_memory_is_made_in_blocks_and_goes_on_with_them_after_a_stop()
    {
        using ChunkDatabase plain = Build("plain"), blocks = Build("blocks");
        KeywordNeighborSource.Build(plain).Dispose();
        KeywordNeighborOptions little = new() { Memory = 100_000 };
        List<string> seen = [];
        using CancellationTokenSource stop = new();
        Assert.ThrowsAny<OperationCanceledException>(() => KeywordNeighborSource.Build(
            blocks,
            little,
            new Reports<StageProgress>(_ =>
            {
                seen = Files(blocks);
                if (seen.Count >= 2)
                {
                    stop.Cancel();
                }
            }),
            stop.Token));
        int count = int.Parse(seen[0].Split('.', '-')[3], System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal([$"bm25.1-of-{count}.bin", $"bm25.2-of-{count}.bin"], Files(blocks));
        Assert.InRange(count, 3, 20);
        DateTime made = File.GetLastWriteTimeUtc(Path.Combine(blocks.Folder, seen[0]));

        // What other memory was meant for is not taken for these.
        Assert.Contains(
            $"3/{count}",
            Assert.Throws<DatabaseException>(() => KeywordNeighborSource.Build(blocks, little with { Memory = 1 << 30 })).Message,
            StringComparison.Ordinal);
        Assert.Equal(made, File.GetLastWriteTimeUtc(Path.Combine(blocks.Folder, seen[0])));
        KeywordNeighborSource.Build(blocks, little).Dispose();
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(blocks.Folder));

        // By two machines of so little memory: as many files each.
        File.Delete(Path.Combine(blocks.Folder, "bm25.bin"));
        KeywordNeighborSource.BuildShare(blocks, new(2, 2), little);
        Assert.InRange(Files(blocks).Count, 2, count);
        KeywordNeighborSource.BuildShare(blocks, new(1, 2), little);
        KeywordNeighborSource.Build(blocks, new() { Memory = 1 << 30 }).Dispose();
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(blocks.Folder));
    }

    [Fact]
    public void A_share_that_is_missing_or_damaged_is_named_and_one_of_other_chunks_goes()
    {
        using ChunkDatabase database = Build("db");
        KeywordNeighborSource.BuildShare(database, new(1, 3));
        KeywordNeighborSource.BuildShare(database, new(3, 3));
        Assert.Contains("bm25.bin' is to be joined of 3 shares, of which 2/3 is not finished", Refused(), StringComparison.Ordinal);
        KeywordNeighborSource.BuildShare(database, new(1, 2));
        Assert.Contains("shares that do not fit together, of 2 and of 3", Refused(), StringComparison.Ordinal);
        File.Delete(Path.Combine(database.Folder, "bm25.1-of-2.bin"));
        string second = Path.Combine(database.Folder, "bm25.2-of-3.bin");
        File.Copy(Path.Combine(database.Folder, "bm25.1-of-3.bin"), second);
        Assert.Contains("2/3 is not finished", Refused(), StringComparison.Ordinal);
        Assert.False(File.Exists(second));
        using (ChunkDatabase other = _databases.Build(s_documents[..20], chunkLength: 4, "other"))
        {
            KeywordNeighborSource.BuildShare(other, new(2, 3));
            File.Copy(Path.Combine(other.Folder, "bm25.2-of-3.bin"), second);
            File.Copy(second, Path.Combine(database.Folder, "bm25.5-of-7.bin")); // another number of them would not fit
        }

        Assert.Contains("2/3 is not finished", Refused(), StringComparison.Ordinal);
        Assert.Equal(["bm25.1-of-3.bin", "bm25.3-of-3.bin"], Files(database));
        KeywordNeighborSource.BuildShare(database, new(2, 3));
        byte[] content = File.ReadAllBytes(second);
        Random random = new(6);
        for (int i = 0; i < 30; i++)
        {
            byte[] damaged = [.. content];
            int at = random.Next(content.Length);
            damaged[at] ^= (byte)(1 + random.Next(255));
            File.WriteAllBytes(second, i % 3 == 0 ? damaged[..at] : damaged);
            Assert.Contains("bm25.2-of-3.bin", Refused(), StringComparison.Ordinal);
        }

        KeywordNeighborSource.BuildShare(database, new(2, 3));
        Assert.Equal(content, File.ReadAllBytes(second));
        KeywordNeighborSource.Build(database).Dispose();
        Assert.Equal(["bm25.bin"], Files(database));

        string Refused() => Assert.Throws<DatabaseException>(() => KeywordNeighborSource.Build(database)).Message;
    }

    [Fact]
    public void Each_segment_of_a_changed_database_has_its_shares_and_who_makes_one_keeps_others_out()
    {
        string[] folders = [_databases.Folder("plain"), _databases.Folder("shared")];
        foreach (string folder in folders)
        {
            Build(Path.GetFileName(folder)).Dispose();
            ChunkDatabaseUpdate.Apply(folder, [new("new", "", new string('n', 8300 * 4), "")], [s_documents[2].Id], TestDatabases.Bytes).Database.Dispose();
        }

        using ChunkDatabase plain = ChunkDatabase.Open(folders[0]), shared = ChunkDatabase.Open(folders[1]);
        KeywordNeighborSource.Build(plain).Dispose();
        Exception? told = null;
        KeywordNeighborSource.BuildShare(
            shared,
            new(2, 2),
            progress: new Reports<StageProgress>(_ => told ??= Record.Exception(() => KeywordNeighborSource.BuildShare(shared, new(2, 2)))));
        Assert.Contains("bm25.2-of-2.bin is being made by another process", Assert.IsType<DatabaseException>(told).Message, StringComparison.Ordinal);
        KeywordNeighborSource.BuildShare(shared, new(1, 2));
        Assert.Equal(4, Directory.GetFiles(folders[1], "bm25.*-of-2.bin", SearchOption.AllDirectories).Length);
        KeywordNeighborSource.Build(shared).Dispose();
        Assert.Equal(TestDatabases.Contents(folders[0]), TestDatabases.Contents(folders[1]));
    }

    /// <summary>The words of what was removed would stay there, where nobody looks for them again.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_share_of_what_is_gone_when_it_is_made_is_not_left_behind(bool compacts)
    {
        string folder = _databases.Folder(), segment = Path.Combine(folder, "segments", "1");
        Build("db").Dispose();
        ChunkDatabaseUpdate.Apply(folder, [new("new", "", new string('n', 200), "")], [], TestDatabases.Bytes).Database.Dispose();
        using ChunkDatabase database = ChunkDatabase.Open(folder);
        bool gone = false;
        Assert.Throws<DatabaseException>(() => KeywordNeighborSource.BuildShare(database, new(1, 2), progress: new Reports<StageProgress>(_ =>
        {
            if (!gone && (compacts || Files(database).Count > 0)) // the share of the first segment is there, and that of the second is being made
            {
                gone = true;
                (compacts ? DatabaseCompaction.Compact(folder) : ChunkDatabaseUpdate.Apply(folder, [], ["new"], TestDatabases.Bytes).Database).Dispose();
            }
        })));
        Assert.True(gone);
        Assert.Equal(compacts ? [] : ["bm25.1-of-2.bin"], Files(database));
        Assert.False(Directory.Exists(segment));
    }

    [Fact]
    public void Who_opens_the_index_that_is_there_leaves_the_shares_of_one_with_other_constants()
    {
        using ChunkDatabase plain = Build("plain"), shared = Build("shared");
        KeywordNeighborOptions others = new() { K1 = 0.9 };
        KeywordNeighborSource.Build(plain, others).Dispose();
        KeywordNeighborSource.Build(shared).Dispose();
        KeywordNeighborSource.BuildShare(shared, new(1, 2), others);
        KeywordNeighborSource.Build(shared).Dispose();
        KeywordNeighborSource.BuildShare(shared, new(2, 2), others);
        KeywordNeighborSource.Build(shared, others).Dispose();
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(shared.Folder));
    }

    /// <summary>Once the manifest has it, nobody looks for them any more.</summary>
    [Fact]
    public void Shares_go_before_the_manifest_has_the_index_that_is_made_of_them()
    {
        using ChunkDatabase plain = Build("plain"), shared = Build("shared");
        KeywordNeighborSource.Build(plain).Dispose();
        KeywordNeighborSource.BuildShare(shared, new(1, 2));
        KeywordNeighborSource.BuildShare(shared, new(2, 2));
        string manifest = Path.Combine(shared.Folder, DatabaseManifest.FileName), away = manifest + ".away";
        Assert.Throws<DatabaseException>(() => KeywordNeighborSource.Build(shared, progress: new Reports<StageProgress>(report =>
        {
            if (report.Stage == "check bm25.bin" && !File.Exists(away)) // the file is whole, and the manifest is to have it next
            {
                Assert.Equal(["bm25.1-of-2.bin", "bm25.2-of-2.bin", "bm25.bin"], Files(shared));
                File.Move(manifest, away);
            }
        })));
        Assert.Equal(["bm25.bin"], Files(shared));
        File.Move(away, manifest);
        KeywordNeighborSource.Build(shared).Dispose();
        Assert.Equal(TestDatabases.Contents(plain.Folder), TestDatabases.Contents(shared.Folder));
    }

    [Fact]
    public void An_index_that_another_has_made_meanwhile_is_not_made_again()
    {
        using ChunkDatabase database = Build("db"), other = ChunkDatabase.Open(database.Folder);
        KeywordNeighborSource.BuildShare(other, new(5, 7));
        string path = Path.Combine(database.Folder, "bm25.bin"), share = Path.Combine(database.Folder, "bm25.5-of-7.bin");
        File.Move(share, Path.Combine(database.Folder, "bm25.4-of-7.bin")); // of other chunks: it is removed, which is told
        DateTime made = default;
        KeywordNeighborSource.Build(database, progress: new Reports<StageProgress>(report =>
        {
            if (report.Message is not null && made == default)
            {
                KeywordNeighborSource.Build(other).Dispose();
                made = File.GetLastWriteTimeUtc(path);
            }
        })).Dispose();
        Assert.NotEqual(default, made);
        Assert.Equal(made, File.GetLastWriteTimeUtc(path));
    }

    [Fact]
    public void A_damaged_index_that_another_has_made_anew_while_it_was_checked_is_not_made_again()
    {
        using ChunkDatabase database = Build("db"), other = ChunkDatabase.Open(database.Folder);
        KeywordNeighborSource.Build(database).Dispose();
        string path = Path.Combine(database.Folder, "bm25.bin");
        byte[] changed = File.ReadAllBytes(path);
        changed[^1] ^= 1;
        File.WriteAllBytes(path, changed);
        DateTime made = default;
        KeywordNeighborSource.Build(database, progress: new Reports<StageProgress>(report =>
        {
            if (report.Stage == "check keyword index" && made == default)
            {
                made = DateTime.MaxValue;
                KeywordNeighborSource.Build(other).Dispose();
                made = File.GetLastWriteTimeUtc(path);
            }
        })).Dispose();
        Assert.NotEqual(default, made);
        Assert.Equal(made, File.GetLastWriteTimeUtc(path));
    }

    private static List<string> Files(ChunkDatabase database)
        => [.. Directory.GetFiles(database.Folder, "bm25*.bin").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    private ChunkDatabase Build(string name) => _databases.Build(s_documents, chunkLength: 4, name);
}
