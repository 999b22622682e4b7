using System.Globalization;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Search;
using Retro.Vectors;

namespace Retro.Tests.Database;

/// <summary>
/// The memory of every stage, in a process of its own: what it takes at 20,000 and at 100,000 chunks, and in a straight line on at a million, is no more than
/// the index that it makes and one gibibyte.
/// </summary>
public sealed class DatabaseMemoryTests(ITestOutputHelper output) : IDisposable
{
    private const string Folder = "RETRO_TEST_MEMORY";
    private const string Results = "peaks";
    private const long Budget = 1L << 30;
    private const double Million = 1e6;
    private const int ChunkLength = 64, ChunksOfADocument = 100;

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    [Trait("Category", "Long")]
    public void Every_stage_keeps_to_a_gibibyte_beside_its_index_up_to_a_million_chunks()
    {
        string folder = Directory.CreateDirectory(_databases.Folder("memory")).FullName;
        if (Private() == 0)
        {
            NotCompared.Add("the memory of a database's stages");
            Assert.Skip("The system does not tell the memory of a process.");
        }

        ChildProcess.Outcome outcome = ChildTest.Run(Makes_every_stage, new() { [Folder] = folder });
        Assert.True(outcome.ExitCode == 0, outcome.Output + outcome.Errors);
        List<(int Chunks, string Stage, long Peak, long Index)> rows =
        [
            .. File.ReadLines(Path.Combine(folder, Results)).Select(line => line.Split(';')).Select(cells =>
                (int.Parse(cells[0], CultureInfo.InvariantCulture), cells[1], long.Parse(cells[2], CultureInfo.InvariantCulture),
                    long.Parse(cells[3], CultureInfo.InvariantCulture)))
        ];
        foreach (IGrouping<string, (int Chunks, string Stage, long Peak, long Index)> stage in rows.GroupBy(row => row.Stage))
        {
            var (small, large) = (stage.First(), stage.Last());
            Assert.True(large.Chunks > small.Chunks);
            double chunk = Math.Max(0, (double)(large.Peak - small.Peak) / (large.Chunks - small.Chunks));
            double million = large.Peak + chunk * (Million - large.Chunks), index = large.Index * Million / large.Chunks;
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{stage.Key}: {small.Peak / 1e6:0} MB at {small.Chunks:#,0} chunks, {large.Peak / 1e6:0} MB at {large.Chunks:#,0}, {million / 1e6:0} MB at a "
                    + $"million, of which its index {index / 1e6:0} MB"));
            Assert.True(large.Peak - large.Index <= Budget, $"{stage.Key} takes {large.Peak} bytes at {large.Chunks} chunks.");
            Assert.True(million - index <= Budget, $"{stage.Key} takes {chunk:0} more bytes for a chunk: {million:0} at a million.");
        }

        Assert.Equal(2 * 6, rows.Count);
    }

    /// <summary>What the process does.</summary>
    [Fact(Explicit = true)]
    public void Makes_every_stage()
    {
        string root = ChildTest.Given(Folder);
        foreach (int documents in new[] { 200, 1000 })
        {
            string folder = Path.Combine(root, $"{documents}");
            int chunks = documents * ChunksOfADocument;
            Measure("read and cut", () => 0, () => ChunkDatabaseBuilder.Build(
                folder, Documents(documents), TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = ChunkLength }).Dispose());
            using (ChunkDatabase database = ChunkDatabase.Open(folder))
            {
                Assert.Equal(chunks, database.ChunkCount);
                Measure("index words", () => SizeOf("bm25.bin"), () => KeywordNeighborSource.Build(database).Dispose());

                // Inverted lists are trained, and their recall is measured; without FAISS there is the managed index.
                DenseNeighborOptions options = new() { Factory = VectorIndex.Choose(VectorEngine.Auto) == VectorEngine.Faiss ? "IVF64,Flat" : null };
                Measure(
                    "keys and vector index",
                    () => SizeOf("index.faiss"),
                    () => DenseNeighborSource.Build(database, SearchDatabase.AnyKeyer(), options).Dispose());
                Measure("find neighbors", () => 0, () => NeighborTable.Build(database, new RandomNeighborSource(database, 1)).Dispose());
            }

            Measure("change", () => 0, () => ChunkDatabaseUpdate.Apply(folder, Documents(1, "new"), ["0"], TestDatabases.Bytes).Database.Dispose());
            Measure("compact", () => 0, () => DatabaseCompaction.Compact(folder).Dispose());

            long SizeOf(string name) => new FileInfo(Path.Combine(folder, name)).Length;

            void Measure(string stage, Func<long> index, Action work)
            {
                GC.Collect();
                long before = Private(), most = before;
                using (CancellationTokenSource ended = new())
                {
                    Thread watch = new(() =>
                    {
                        while (!ended.Token.WaitHandle.WaitOne(1))
                        {
                            most = Math.Max(most, Private());
                        }
                    });
                    watch.Start();
                    work();
                    ended.Cancel();
                    watch.Join();
                }

                File.AppendAllText(
                    Path.Combine(root, Results), string.Create(CultureInfo.InvariantCulture, $"{chunks};{stage};{most - before};{index()}\n"));
            }
        }
    }

    /// <summary>The process's own memory in bytes, without the pages of files that it has mapped, which the system takes back when it needs them.</summary>
    private static long Private()
    {
        const string Status = "/proc/self/status";
        string? line = File.Exists(Status) ? File.ReadLines(Status).FirstOrDefault(one => one.StartsWith("RssAnon:", StringComparison.Ordinal)) : null;
        return line is null ? 0 : 1024 * long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }

    /// <summary>Documents of 100 chunks each, made one by one.</summary>
    private static IEnumerable<Document> Documents(int count, string prefix = "")
    {
        for (int i = 0; i < count; i++)
        {
            Random random = new(i);

            // With the tokens that bound it.
            string text = string.Create(ChunkLength * ChunksOfADocument - 2, random, (span, from) =>
            {
                foreach (ref char letter in span)
                {
                    letter = (char)('a' + from.Next(26));
                }
            });
            yield return new($"{prefix}{i}", "", text, "");
        }
    }
}
