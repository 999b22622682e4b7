using Retro.Corpora;
using Retro.Database;
using Retro.Search;

namespace Retro.Tests.Database;

/// <summary>
/// A process that builds a database and its table is killed, as the system or an outage kills it, and what goes on from what it left ends with the bytes of a
/// build that was left alone.
/// </summary>
public sealed class KilledBuildTests : IDisposable
{
    private const string FolderVariable = "RETRO_TEST_KILLED";
    private const string StageVariable = "RETRO_TEST_KILLED_STAGE";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void P27_a_build_whose_process_is_killed_ends_with_the_same_bytes() => Kill([("db/building/tokens.bin", 2000)]);

    [Fact]
    [Trait("Category", "Long")]
    public void P27_a_build_whose_process_is_killed_again_and_again_ends_with_the_same_bytes()
        => Kill([
            ("db/building/tokens.bin", 1), ("db/building/journal.jsonl", 100), ("db/building/tokens.bin", 10_000), ("db/building/tokens.bin", 30_000),
            ("table.bin.part", 1), ("table.bin.part", 60_000)
        ]);

    /// <summary>What the process does that is killed.</summary>
    [Fact(Explicit = true)]
    public void Builds_until_it_is_killed()
        => BuildAll(ChildTest.Given(FolderVariable), ChildTest.Given(StageVariable));

    /// <summary>Kills a build where a file has so many bytes, one after the other in one folder, then lets it end.</summary>
    private void Kill((string File, long Bytes)[] places)
    {
        BuildAll(_folder["whole"], null);
        string folder = Directory.CreateDirectory(_folder["killed"]).FullName;
        foreach ((string file, long bytes) in places)
        {
            string path = Path.Combine(folder, file), stage = file.StartsWith("db", StringComparison.Ordinal) ? "db" : "table";
            bool killed = false;
            ChildProcess.Outcome outcome = ChildTest.Run(Builds_until_it_is_killed, new() { [FolderVariable] = folder, [StageVariable] = stage }, process =>
            {
                while (!process.HasExited)
                {
                    // Its length is looked up in the folder, so that a file which is being replaced is no fault.
                    if (new FileInfo(path) is { Exists: true } found && found.Length >= bytes)
                    {
                        process.Kill();
                        killed = true;
                        return;
                    }

                    Thread.Sleep(1);
                }
            });
            Assert.True(killed, $"The build ended before {file} had {bytes} bytes: {outcome.Output}{outcome.Errors}");
            Assert.NotEqual(0, outcome.ExitCode);
            Assert.False(File.Exists(stage == "db" ? Path.Combine(folder, "db", DatabaseManifest.FileName) : Path.Combine(folder, "table.bin")));
        }

        BuildAll(folder, null);

        Assert.Equal(TestDatabases.Contents(_folder["whole"]), TestDatabases.Contents(folder));
    }

    /// <summary>
    /// Builds a database and a table of its neighbors. The stage in which it is to be killed goes slowly, so that a kill can meet it anywhere, and never ends,
    /// so that it is met however late the kill comes.
    /// </summary>
    private static void BuildAll(string folder, string? slowly)
    {
        IEnumerable<Document> Documents()
        {
            List<Document> documents = TestDatabases.Documents(1500, seed: 6);
            for (int number = 0; number < documents.Count; number++)
            {
                if (slowly == "db")
                {
                    Thread.Sleep(number < documents.Count - 1 ? 2 : Timeout.Infinite);
                }

                yield return documents[number];
            }
        }

        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            Path.Combine(folder, "db"), Documents(), TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8, BlockCharacters = 2000 });
        Assert.NotEqual(0, database.ChunkCount % NeighborTable.BlockRows);
        NeighborTable.Build(
            Path.Combine(folder, "table.bin"),
            database,
            new Slow(new RandomNeighborSource(database, 3), slowly == "table"),
            4,
            excludeOwnDocument: true).Dispose();
    }

    /// <summary>A source that takes its time, and never answers for the last block, which is not full; to the outside no other than the one it wraps.</summary>
    private sealed class Slow(INeighborSource source, bool slowly) : INeighborSource
    {
        public string Name => source.Name;

        public ChunkDatabase? Database => source.Database;

        public string Identity => source.Identity;

        public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            if (slowly)
            {
                Thread.Sleep(queries.Count < NeighborTable.BlockRows ? Timeout.Infinite : 200);
            }

            source.Find(queries, count, chunks, scores, cancellationToken);
        }
    }
}
