using System.Diagnostics;
using Retro.Corpora;
using Retro.Database;

namespace Retro.Tests.Database;

/// <summary>Documents that several machines encode a share of each.</summary>
public sealed class TokenSharesTests : IDisposable
{
    private const string Work = "RETRO_TEST_TOKEN_SHARE", Folder = "RETRO_TEST_TOKEN_SHARE_FOLDER";

    // Some of them empty.
    private static readonly List<Document> s_documents = TestDatabases.Documents(200, seed: 9, maximumLength: 300);

    private static readonly ChunkDatabaseOptions s_options = new() { ChunkLength = 8, BlockCharacters = 2000 };

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    [InlineData(250)]
    public void Shares_made_in_any_order_give_the_files_of_a_build_without_them(int n)
    {
        string plain = _databases.Folder("plain"), shared = _databases.Folder("shared");
        ChunkDatabaseBuilder.Build(plain, s_documents, TestDatabases.Bytes, s_options).Dispose();
        int encoded = 0;
        WorkShare[] shares = [.. Enumerable.Range(1, n).Select(index => new WorkShare(index, n))];
        new Random(n).Shuffle(shares);
        foreach (WorkShare share in shares)
        {
            ChunkDatabaseBuilder.BuildShare(shared, s_documents, Counting(() => Interlocked.Increment(ref encoded)), share, s_options);
        }

        Assert.Equal(s_documents.Count, encoded);
        Assert.False(File.Exists(Path.Combine(shared, DatabaseManifest.FileName)));
        ChunkDatabaseBuilder.Build(shared, s_documents, Never(), s_options with { BlockCharacters = 777 }).Dispose();
        Assert.Equal(TestDatabases.Contents(plain), TestDatabases.Contents(shared));

        // What is whole is not shared again.
        ChunkDatabaseBuilder.BuildShare(shared, s_documents, Never(), shares[0], s_options);
        Assert.Equal(TestDatabases.Contents(plain), TestDatabases.Contents(shared));
    }

    [Fact]
    public void A_share_that_is_missing_unfinished_or_of_another_number_is_named()
    {
        string folder = _databases.Folder();
        Make(folder, "1/4");
        Make(folder, "3/4");
        File.WriteAllText(Path.Combine(folder, "tokens.4-of-4.bin.part"), "begun");
        Assert.Contains("tokens.bin' is to be joined of 4 shares, of which 2/4, 4/4 are not finished", Refused(folder), StringComparison.Ordinal);
        Make(folder, "4/4");
        Assert.Contains("of which 2/4 is not finished: make it", Refused(folder), StringComparison.Ordinal);
        Make(folder, "2/4");
        Make(folder, "1/2");
        Assert.Contains("shares that do not fit together, of 2 and of 4", Refused(folder), StringComparison.Ordinal);
        File.Delete(Path.Combine(folder, "tokens.1-of-2.bin"));
        ChunkDatabaseBuilder.Build(folder, s_documents, Never(), s_options).Dispose();
    }

    [Fact]
    public void A_share_of_another_tokenizer_or_of_other_settings_is_named_with_what_differs()
    {
        string folder = _databases.Folder();
        Make(folder, "1/2");
        ChunkDatabaseBuilder.BuildShare(folder, s_documents, TestDatabases.Bytes with { Hash = new string('b', 64) }, new(2, 2), s_options);
        string refused = Refused(folder);
        Assert.Contains("tokens.2-of-2.bin' does not fit (tokenizer hash bbbb", refused, StringComparison.Ordinal);
        Assert.Contains($" there, {new string('a', 64)} asked", refused, StringComparison.Ordinal);
        ChunkDatabaseBuilder.BuildShare(folder, s_documents, TestDatabases.Bytes, new(2, 2), s_options with { ChunkLength = 16 });
        Assert.Contains("chunk length 16 there, 8 asked", Refused(folder), StringComparison.Ordinal);

        // Another share by its name, and what is none.
        File.Copy(Path.Combine(folder, "tokens.1-of-2.bin"), Path.Combine(folder, "tokens.2-of-2.bin"), overwrite: true);
        Assert.Contains("tokens.2-of-2.bin' does not fit (it is none of ours", Refused(folder), StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(folder, "tokens.2-of-2.bin"), "RETROTSH");
        Assert.Contains("tokens.2-of-2.bin' does not fit (it is none of ours", Refused(folder), StringComparison.Ordinal);

        // Made again, it fits.
        Make(folder, "2/2");
        ChunkDatabaseBuilder.Build(folder, s_documents, Never(), s_options).Dispose();
    }

    [Fact]
    public void A_share_of_other_texts_is_named_and_made_again_it_encodes_what_changed()
    {
        string folder = _databases.Folder();
        Make(folder, "1/2");
        Make(folder, "2/2");
        List<Document> changed = [.. s_documents];
        changed[151] = changed[151] with { Text = "another text" };
        Assert.Contains(
            "tokens.2-of-2.bin' was made of another corpus: document 151 of this one, 'd151', has a text", Refused(folder, changed), StringComparison.Ordinal);
        Assert.Contains(
            "tokens.1-of-2.bin' was made of another corpus: document 200 of this one, 'more'",
            Refused(folder, [.. s_documents, new("more", "", "of it", "")], name: "longer"),
            StringComparison.Ordinal);
        Assert.Contains(
            "tokens.1-of-2.bin' was made of another corpus: this one ends after 198 documents",
            Refused(folder, s_documents[..198], name: "shorter"),
            StringComparison.Ordinal);

        // Ids, titles and labels are none of a share's business.
        Document other = s_documents[3] with { Id = "other", Labels = ["staff"] };
        List<Document> named = [.. s_documents[..3], other, .. s_documents[4..]];
        string same = _databases.Folder("same"), plain = _databases.Folder("plain");
        TestDatabases.Copy(folder, same);
        DeleteBuilding(same);
        ChunkDatabaseBuilder.Build(same, named, Never(), s_options).Dispose();
        ChunkDatabaseBuilder.Build(plain, named, TestDatabases.Bytes, s_options).Dispose();
        Assert.Equal(TestDatabases.Contents(plain), TestDatabases.Contents(same));

        int encoded = 0;
        ChunkDatabaseBuilder.BuildShare(folder, changed, Counting(() => Interlocked.Increment(ref encoded)), new(1, 2), s_options);
        Assert.Equal(0, encoded);
        ChunkDatabaseBuilder.BuildShare(folder, changed, Counting(() => Interlocked.Increment(ref encoded)), new(2, 2), s_options);
        Assert.Equal(100, encoded);
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(folder, changed, Never(), s_options with { StartOver = true });
        Assert.Equal("another text", string.Concat(database.TextOf(database.Documents.Single(document => document.Id == "d151")).Select(id => (char)id)));
    }

    [Fact]
    public void A_share_that_is_changed_or_cut_anywhere_is_a_fault_that_names_it_or_is_as_good_as_before()
    {
        string whole = _databases.Folder("whole");
        Make(whole, "1/2");
        Make(whole, "2/2");
        byte[] content = File.ReadAllBytes(Path.Combine(whole, "tokens.2-of-2.bin"));
        Random random = new(4);
        for (int i = 0; i < 60; i++)
        {
            string folder = _databases.Folder($"damaged{i}");
            TestDatabases.Copy(whole, folder);
            byte[] damaged = [.. content];
            int at = random.Next(content.Length);
            if (i % 3 == 0)
            {
                damaged = damaged[..at];
            }
            else
            {
                damaged[at] ^= (byte)(1 + random.Next(255));
            }

            File.WriteAllBytes(Path.Combine(folder, "tokens.2-of-2.bin"), damaged);
            string message = Assert.Throws<DatabaseException>(() => ChunkDatabaseBuilder.Build(folder, s_documents, Never(), s_options)).Message;
            Assert.Contains("tokens.2-of-2.bin", message, StringComparison.Ordinal);
            Make(folder, "2/2");
            Assert.Equal(content, File.ReadAllBytes(Path.Combine(folder, "tokens.2-of-2.bin")));
        }
    }

    [Fact]
    public void A_share_that_was_stopped_goes_on_and_so_does_the_build_that_joins()
    {
        string plain = _databases.Folder("plain"), shared = _databases.Folder("shared");
        ChunkDatabaseBuilder.Build(plain, s_documents, TestDatabases.Bytes, s_options).Dispose();
        Make(shared, "1/2");
        using CancellationTokenSource stop = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ChunkDatabaseBuilder.BuildShare(
            shared, s_documents, TestDatabases.Bytes, new(2, 2), s_options, new Reports<StageProgress>(report => Stop(report.Done > 30, stop)), stop.Token));
        string begun = Path.Combine(shared, "tokens.2-of-2.bin.part");

        // A last block that was cut off by the kill.
        File.WriteAllBytes(begun, [.. File.ReadAllBytes(begun), .. new byte[50]]);
        int encoded = 0;
        ChunkDatabaseBuilder.BuildShare(shared, s_documents, Counting(() => Interlocked.Increment(ref encoded)), new(2, 2), s_options);
        Assert.InRange(encoded, 30, 70);

        using CancellationTokenSource stopped = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ChunkDatabaseBuilder.Build(
            shared, s_documents, Never(), s_options, new Reports<StageProgress>(report => Stop(report.Done > 50, stopped)), stopped.Token));
        ChunkDatabaseBuilder.Build(shared, s_documents, Never(), s_options).Dispose();
        Assert.Equal(TestDatabases.Contents(plain), TestDatabases.Contents(shared));

        static void Stop(bool now, CancellationTokenSource stop)
        {
            if (now)
            {
                stop.Cancel();
            }
        }
    }

    [Fact]
    public void A_build_that_ended_while_it_removed_the_shares_needs_them_no_more()
    {
        string plain = _databases.Folder("plain"), shared = _databases.Folder("shared");
        ChunkDatabaseBuilder.Build(plain, s_documents, TestDatabases.Bytes, s_options).Dispose();
        Make(shared, "1/2");
        Make(shared, "2/2");
        using CancellationTokenSource stop = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ChunkDatabaseBuilder.Build(
            shared,
            s_documents,
            Never(),
            s_options,
            new Reports<StageProgress>(report =>
            {
                if (report.Stage == "write documents")
                {
                    stop.Cancel();
                }
            }),
            stop.Token));
        Assert.Empty(Directory.GetFiles(shared, "tokens.*"));
        Make(_databases.Folder("again"), "1/2");
        File.Copy(Path.Combine(_databases.Folder("again"), "tokens.1-of-2.bin"), Path.Combine(shared, "tokens.1-of-2.bin"));
        ChunkDatabaseBuilder.Build(shared, s_documents, Never(), s_options).Dispose();
        Assert.Equal(TestDatabases.Contents(plain), TestDatabases.Contents(shared));
    }

    [Fact]
    public void A_database_that_is_to_be_replaced_stays_until_the_shares_are_joined()
    {
        string folder = _databases.Folder();
        _databases.Build(TestDatabases.Documents(5)).Dispose();
        Dictionary<string, string> before = TestDatabases.Contents(folder);
        Assert.Contains("holds another database", Assert.Throws<DatabaseException>(() => Make(folder, "1/2")).Message, StringComparison.Ordinal);
        ChunkDatabaseOptions over = s_options with { StartOver = true };
        ChunkDatabaseBuilder.BuildShare(folder, s_documents, TestDatabases.Bytes, new(1, 2), over);
        ChunkDatabaseBuilder.BuildShare(folder, s_documents, TestDatabases.Bytes, new(2, 2), over);
        Assert.All(before, file => Assert.Equal(file.Value, TestDatabases.Contents(folder)[file.Key]));
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(folder, s_documents, Never(), over);
        Assert.Equal(s_documents.Count(document => document.Text.Length > 0), database.Documents.Count);
        Assert.Equal(["tokens-1.bin"], Directory.GetFiles(folder, "tokens*").Select(Path.GetFileName));
    }

    [Fact]
    public async Task Two_processes_at_once_one_of_which_is_killed_and_runs_again_give_the_same_bytes()
    {
        string plain = _databases.Folder("plain"), shared = _databases.Folder("shared"), begun = Path.Combine(shared, "tokens.1-of-2.bin.part");
        ChunkDatabaseBuilder.Build(plain, s_documents, TestDatabases.Bytes, s_options).Dispose();
        Task<ChildProcess.Outcome> second = Task.Run(() => Run("2/2", null));
        bool killed = false;
        string? held = null;
        Run("1/2 stops", process =>
        {
            while (!process.HasExited && (!File.Exists(begun) || new FileInfo(begun).Length < 10_000))
            {
                Thread.Sleep(1);
            }

            held = Record.Exception(() => Make(shared, "1/2"))?.Message;
            killed = !process.HasExited;
            process.Kill();
        });
        Assert.True(killed);
        Assert.Contains("tokens.1-of-2.bin is being made by another process", held, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(shared, "tokens.1-of-2.bin")));
        Assert.Equal(0, (await second).ExitCode);
        Assert.Contains("1/2 is not finished", Refused(shared), StringComparison.Ordinal);
        Assert.Equal(0, Run("1/2", null).ExitCode);
        ChunkDatabaseBuilder.Build(shared, s_documents, Never(), s_options).Dispose();
        Assert.Equal(TestDatabases.Contents(plain), TestDatabases.Contents(shared));

        ChildProcess.Outcome Run(string work, Action<Process>? meanwhile)
            => ChildTest.Run(Makes_a_share, new() { [Work] = work, [Folder] = shared }, meanwhile);
    }

    /// <summary>What the processes do.</summary>
    [Fact(Explicit = true)]
    public void Makes_a_share()
    {
        string[] work = ChildTest.Given(Work).Split(' ');
        Make(ChildTest.Given(Folder), work[0], work.Length > 1 ? Endless(s_documents) : s_documents);

        // Stops before the end, for whoever ends the process there.
        static IEnumerable<Document> Endless(List<Document> documents)
        {
            foreach (Document document in documents[..^20])
            {
                yield return document;
            }

            Thread.Sleep(Timeout.Infinite);
        }
    }

    private static void Make(string folder, string share, IEnumerable<Document>? documents = null)
        => ChunkDatabaseBuilder.BuildShare(folder, documents ?? s_documents, TestDatabases.Bytes, WorkShare.Parse(share), s_options);

    private static TokenizerFacts Counting(Action told) => TestDatabases.Bytes with
    {
        Encode = text =>
        {
            told();
            return TestDatabases.Bytes.Encode(text);
        },
    };

    private static TokenizerFacts Never() => TestDatabases.Bytes with { Encode = _ => throw new InvalidOperationException("A document is encoded again.") };

    private static void DeleteBuilding(string folder) => Directory.Delete(Path.Combine(folder, "building"), recursive: true);

    /// <summary>What a build says that does not join the shares of a copy of a folder.</summary>
    private string Refused(string folder, IEnumerable<Document>? documents = null, string name = "")
    {
        if (name.Length > 0)
        {
            string copy = _databases.Folder(name);
            TestDatabases.Copy(folder, copy);
            DeleteBuilding(copy);
            folder = copy;
        }

        return Assert.Throws<DatabaseException>(() => ChunkDatabaseBuilder.Build(folder, documents ?? s_documents, Never(), s_options)).Message;
    }
}
