using System.Diagnostics;
using System.Globalization;
using System.Text;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Search;
using Retro.Vectors;

namespace Retro.Tests.Database;

/// <summary>
/// A process that builds, rebuilds and runs the later stages is really killed. What the moments of a kill leave is tested without processes in
/// ChunkDatabaseBuilderTests and StageFileTests.
/// </summary>
public sealed class KilledWriterTests : IDisposable
{
    private const string Folder = "RETRO_TEST_KILLED_WRITER", StopAt = "RETRO_TEST_KILLED_WRITER_AT";
    private const string Started = "started";

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    [Trait("Category", "Long")]
    public void Killed_at_200_random_moments_a_writer_never_leaves_a_database_that_does_not_open_or_does_not_go_on()
    {
        string folder = _databases.Folder();
        Dictionary<string, string>[] whole = [.. Enumerable.Range(0, 2).Select(Made)];
        string[] hashes = [.. Enumerable.Range(0, 2).Select(corpus => DatabaseManifest.Load(_databases.Folder($"whole{corpus}")).TokensHash)];
        Make(folder, 0);
        Random random = new(7);
        int[] seen = new int[2];
        for (int kill = 0; kill < 200; kill++)
        {
            Kill(folder, Writes_until_it_is_killed, _ => Thread.Sleep(random.Next(400)));
            DatabaseManifest manifest = DatabaseManifest.Load(folder);
            using (ChunkDatabase database = ChunkDatabase.Open(folder, verify: true))
            {
                seen[Array.IndexOf(hashes, database.Manifest.TokensHash)]++;

                // Nothing that the manifest names was replaced or removed.
                Assert.Equal(manifest.Files.Select(file => file.Name), database.Manifest.Files.Select(file => file.Name));
            }

            if (kill % 10 == 9)
            {
                Make(folder, kill / 10 % 2);
                Assert.Equal(whole[kill / 10 % 2], Plain(folder));
            }
        }

        Assert.All(seen, count => Assert.NotEqual(0, count));

        Dictionary<string, string> Made(int corpus)
        {
            Make(_databases.Folder($"whole{corpus}"), corpus);
            return Plain(_databases.Folder($"whole{corpus}"));
        }
    }

    [Fact]
    [Trait("Category", "Long")]
    public void A_second_process_is_told_which_one_writes_and_goes_on_when_that_one_was_killed()
    {
        string folder = _databases.Folder();
        Make(folder, 0);
        Kill(folder, Writes_until_it_is_killed, writer =>
        {
            // Between two stages the folder is free for a moment.
            string told = "";
            while (!told.Contains("is being changed by", StringComparison.Ordinal) && !writer.HasExited)
            {
                told = Record.Exception(() => Make(folder, 0))?.Message ?? "";
            }

            Assert.Contains($"process {writer.Id} ", told, StringComparison.Ordinal);
        });
        Make(folder, 0);
    }

    [Fact]
    [Trait("Category", "Long")]
    public void Killed_at_200_random_moments_who_changes_and_compacts_leaves_a_state_before_or_after_a_change()
    {
        string folder = _databases.Folder();
        ChunkDatabaseBuilder.Build(folder, State(0), TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8 }).Dispose();
        Random random = new(8);
        HashSet<int> seen = [];
        for (int kill = 0; kill < 200; kill++)
        {
            // Long enough for a change, its keys and its words now and then, also on a machine that is busy.
            Kill(folder, Changes_until_it_is_killed, _ => Thread.Sleep(random.Next(1200)));
            using ChunkDatabase database = ChunkDatabase.Open(folder, verify: true);
            int state = StateOf(database);
            ChunkDatabaseUpdateTests.AssertReadsAs(State(state), database);
            seen.Add(state);
        }

        // It went on, and was caught in more than the few first changes.
        Assert.InRange(seen.Count, 20, 200);
        DatabaseCompaction.Compact(folder).Dispose();
        using ChunkDatabase compacted = ChunkDatabase.Open(folder, verify: true);
        using ChunkDatabase built = _databases.Build(State(StateOf(compacted)), name: "built");
        Assert.Equal(built.Manifest.TokensHash, compacted.Manifest.TokensHash);
        Assert.Equal(built.Manifest.CorpusHash, compacted.Manifest.CorpusHash);
    }

    [Fact]
    public void A_compaction_that_is_killed_and_run_again_ends_with_the_bytes_of_one_that_was_left_alone()
    {
        (int before, int between) = KillCompactions(null);
        Assert.InRange(before, 2, 3);
        Assert.InRange(between, 1, before);
    }

    [Fact]
    [Trait("Category", "Long")]
    public void Killed_at_200_random_moments_a_compaction_that_is_run_again_ends_with_the_bytes_of_one_that_was_left_alone()
    {
        (int before, int between) = KillCompactions(200);
        Assert.InRange(before, 1, 199);
        Assert.InRange(between, 1, before);
    }

    /// <summary>Says how many of the kills left the state before the compaction, and how many of these in the middle of it.</summary>
    /// <param name="random">How many, at random moments; null: three, at the first, the middle and the last thing that it reports.</param>
    private (int Before, int Between) KillCompactions(int? random)
    {
        string changed = _databases.Folder("changed"), whole = _databases.Folder("whole");
        ChunkDatabaseBuilder.Build(changed, State(0), TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8 }).Dispose();
        for (int change = 0; change < 5; change++)
        {
            (_, Document[] add, string[] remove) = Step(State(change), change);
            using ChunkDatabase database = ChunkDatabaseUpdate.Apply(changed, add, remove, TestDatabases.Bytes).Database;
            DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), new() { Engine = VectorEngine.Exact }).Dispose();
        }

        TestDatabases.Copy(changed, whole);
        int reports = 0;
        Stopwatch clock = Stopwatch.StartNew();
        DatabaseCompaction.Compact(whole, progress: new Reports<StageProgress>(_ =>
        {
            Thread.Sleep(2); // as the process does that is killed, which has to come to its end now and then on a busy machine, too
            reports++;
        })).Dispose();
        int longest = Math.Max(300, 4 * (int)clock.ElapsedMilliseconds);
        Dictionary<string, string> expected = TestDatabases.Contents(whole);
        int[] places = random is { } kills ? [.. Enumerable.Repeat(0, kills)] : [1, reports / 2, reports];
        Random moments = new(9);
        int before = 0, between = 0;
        for (int kill = 0; kill < places.Length; kill++)
        {
            string folder = _databases.Folder($"kill{kill}");
            TestDatabases.Copy(changed, folder);
            Kill(folder, Compacts_until_it_is_killed, _ => Thread.Sleep(places[kill] == 0 ? moments.Next(longest) : 0), places[kill]);
            using (ChunkDatabase database = ChunkDatabase.Open(folder, verify: true))
            {
                ChunkDatabaseUpdateTests.AssertReadsAs(State(5), database);
                if (database.SegmentCount > 1)
                {
                    before++;
                    between += TestDatabases.Contents(folder).Count > TestDatabases.Contents(changed).Count ? 1 : 0;
                }
            }

            DatabaseCompaction.Compact(folder).Dispose();
            Assert.Equal(expected, TestDatabases.Contents(folder));
            Directory.Delete(folder, recursive: true);
        }

        return (before, between);
    }

    /// <summary>What the process does that is killed.</summary>
    [Fact(Explicit = true)]
    public void Compacts_until_it_is_killed()
    {
        string folder = ChildTest.Given(Folder);
        int stop = int.Parse(ChildTest.Given(StopAt), CultureInfo.InvariantCulture), reports = 0;
        StartAt(0);
        DatabaseCompaction.Compact(folder, progress: new Reports<StageProgress>(_ =>
        {
            Thread.Sleep(2);
            StartAt(++reports);
        })).Dispose();
        Thread.Sleep(Timeout.Infinite);

        // Where it is to be met at a place it waits there.
        void StartAt(int place)
        {
            if (place == stop)
            {
                File.WriteAllText(Path.Combine(folder, "..", Started), "");
                Thread.Sleep(stop == 0 ? 0 : Timeout.Infinite);
            }
        }
    }

    /// <summary>What the process does that is killed.</summary>
    [Fact(Explicit = true)]
    public void Changes_until_it_is_killed()
    {
        string folder = ChildTest.Given(Folder);
        File.WriteAllText(Path.Combine(folder, "..", Started), "");
        while (true)
        {
            using ChunkDatabase database = ChunkDatabase.Open(folder);
            int state = StateOf(database);
            (_, Document[] add, string[] remove) = Step(State(state), state);
            using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, add, remove, TestDatabases.Bytes).Database)
            using (DenseNeighborSource dense = DenseNeighborSource.Build(changed, SearchDatabase.AnyKeyer(), new() { Engine = VectorEngine.Exact }))
            {
                KeywordNeighborSource.Build(changed).Dispose();
            }

            if (state % 4 == 3)
            {
                DatabaseCompaction.Compact(folder).Dispose();
            }
        }
    }

    /// <summary>The documents after so many changes; one of them says how many.</summary>
    private static List<Document> State(int changes)
    {
        List<Document> documents = [.. SearchDatabase.Documents(20, seed: 90), Counter(0)];
        for (int change = 0; change < changes; change++)
        {
            documents = Step(documents, change).There;
        }

        return documents;
    }

    private static (List<Document> There, Document[] Add, string[] Remove) Step(List<Document> documents, int change)
    {
        List<Document> others = [.. documents.Where(document => document.Id != "counter")];
        (List<Document> there, Document[] add, string[] remove) = ChunkDatabaseUpdateTests.Changed(others, new Random(change), change);
        return ([.. there, Counter(change + 1)], [.. add, Counter(change + 1)], remove);
    }

    private static Document Counter(int changes) => new("counter", "", changes.ToString(CultureInfo.InvariantCulture), "");

    private static int StateOf(ChunkDatabase database)
        => int.Parse(
            Encoding.UTF8.GetString(Array.ConvertAll(database.TextOf(database.Documents.Single(document => document.Id == "counter")), token => (byte)token)),
            CultureInfo.InvariantCulture);

    /// <summary>What the process does that is killed.</summary>
    [Fact(Explicit = true)]
    public void Writes_until_it_is_killed()
    {
        string folder = ChildTest.Given(Folder);
        File.WriteAllText(Path.Combine(folder, "..", Started), "");
        for (int corpus = 1; ; corpus = 1 - corpus)
        {
            Make(folder, corpus);
        }
    }

    /// <summary>Starts the writer, and kills it after something else was done while it writes.</summary>
    private static void Kill(string folder, Action writer, Action<Process> before, int stopAt = 0)
    {
        string started = Path.Combine(folder, "..", Started);
        File.Delete(started);
        bool killed = false;
        ChildProcess.Outcome outcome = ChildTest.Run(writer, new() { [Folder] = folder, [StopAt] = $"{stopAt}" }, process =>
        {
            while (!process.HasExited && !File.Exists(started))
            {
                Thread.Sleep(1);
            }

            before(process);
            killed = !process.HasExited;
            process.Kill();
        });
        Assert.True(killed, $"The writer ended by itself: {outcome.Output}{outcome.Errors}");
    }

    /// <summary>Makes one of two corpora into a database with every later stage.</summary>
    private static void Make(string folder, int corpus)
    {
        List<Document> documents = SearchDatabase.Documents(60, seed: 70 + corpus);
        ChunkDatabaseOptions options = new() { ChunkLength = 8, BlockCharacters = 200, StartOver = true };
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(folder, documents, TestDatabases.Bytes, options);
        using DenseNeighborSource dense = DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), new() { Engine = VectorEngine.Exact });
        using KeywordNeighborSource keywords = KeywordNeighborSource.Build(database);
        NeighborTable.Build(database, keywords, 3).Dispose();
    }

    /// <summary>The files that the manifest names, by the hash of their content, whatever the version.</summary>
    private static Dictionary<string, string> Plain(string folder)
    {
        Dictionary<string, string> contents = TestDatabases.Contents(folder);
        DatabaseManifest manifest = DatabaseManifest.Load(folder);
        return manifest.Files.ToDictionary(
            file => file.Name == manifest.TokensFile ? "tokens" : file.Name == manifest.DocumentsFile ? "documents" : file.Name, file => contents[file.Name]);
    }
}
