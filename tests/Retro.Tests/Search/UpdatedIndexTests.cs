using System.Globalization;
using System.Text;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Vectors;
using Retro.Vectors;

namespace Retro.Tests.Search;

/// <summary>
/// What the vector indexes of a changed database find together: where it is too little, an index of all chunks takes their place. Documents of one chunk say
/// where their keys lie: "3 1 -1 17" in the narrow cluster at that corner of the third square, "3 0 0 17" as far from its four corners, and far from others.
/// </summary>
public sealed class UpdatedIndexTests : IDisposable
{
    private const int Dimensions = 64, Squares = 6, K = 8, Few = 1200;
    private const double Wanted = 0.95;

    private static readonly float[] s_squares = TestVectors.Random(Squares, Dimensions, seed: 71), s_noise = TestVectors.Random(4 * Few, Dimensions, seed: 72);
    private static readonly DenseNeighborOptions s_options = new() { Factory = "IVF96,Flat", Recall = Wanted, Threads = 2 };

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    public void Documents_from_elsewhere_are_found_by_an_index_of_all_chunks_until_the_next_change()
    {
        string folder = _databases.Folder();
        using (ChunkDatabase built = Build())
        {
            DenseNeighborSource.Build(built, Keyer(), s_options).Dispose();
            Assert.InRange(Recall(built, "index.faiss"), Wanted, 1);
        }

        // Between four clusters each, where the lists of one are looked into.
        Document[] between = [.. Enumerable.Range(0, Few).Select(i => Document($"new{i}", i, 0, 0, Few + i))];
        List<string> said = [];
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, between, [], TestDatabases.Bytes).Database)
        {
            double before = TrueRecall(changed, DenseNeighborSource.Build(changed, Keyer(), s_options with { Parameters = "nprobe=4" }));
            Assert.InRange(before, 0.3, Wanted - 0.05);
            Assert.DoesNotContain(changed.Files, file => file.Name is "index-all.faiss" or "recall.json"); // who says how far to look is not asked
        }

        using (ChunkDatabase changed = ChunkDatabase.Open(folder))
        {
            using DenseNeighborSource source = DenseNeighborSource.Build(
                changed, Keyer(), s_options, new Reports<StageProgress>(report => said.AddRange(report.Message is { } message ? [message] : [])));
            string measured = Assert.Single(said, message => message.StartsWith("over all segments", StringComparison.Ordinal));
            Assert.Matches(@"^over all segments \d\d\.\d % of the 8 nearest are found, and 95\.0 % are wanted: an index of all chunks is trained$", measured);
            Assert.True(Recall(changed, "recall.json") < Wanted);
            Assert.InRange(Recall(changed, "index-all.faiss"), Wanted, 1);
            Assert.InRange(TrueRecall(changed, source), Wanted - 0.04, 1);

            // It is there: nothing is measured or made again, here or where it is opened.
            string identity = source.Identity, sha = changed.Files.Single(file => file.Name == "index-all.faiss").Sha256;
            using ChunkDatabase again = ChunkDatabase.Open(folder);
            using DenseNeighborSource built = DenseNeighborSource.Build(again, Keyer(), s_options);
            using DenseNeighborSource opened = DenseNeighborSource.Open(again, Keyer(), s_options);
            Assert.Equal((identity, identity), (built.Identity, opened.Identity));
            Assert.Equal(sha, again.Files.Single(file => file.Name == "index-all.faiss").Sha256);
            Filters(again, opened);
        }

        // After the next change there is one kind alone again.
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, [], between.Select(document => document.Id), TestDatabases.Bytes).Database)
        {
            Assert.Empty(Directory.GetFiles(folder, "*-all*"));
            DenseNeighborSource.Build(changed, Keyer(), s_options).Dispose();
            Assert.DoesNotContain(changed.Files, file => file.Name is "index-all.faiss" or "recall.json");
        }

        using (ChunkDatabase compacted = DatabaseCompaction.Compact(folder))
        {
            DenseNeighborSource.Build(compacted, Keyer(), s_options).Dispose();
            Assert.InRange(Recall(compacted, "index.faiss"), Wanted, 1);
            Assert.DoesNotContain(compacted.Files, file => file.Name.EndsWith("recall.json", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Beside_others_a_database_is_searched_by_its_index_of_all_chunks_as_alone()
    {
        string folder = _databases.Folder(), other = _databases.Folder("other");
        using (ChunkDatabase built = Build())
        {
            DenseNeighborSource.Build(built, Keyer(), s_options).Dispose();
        }

        double alone;
        Document[] between = [.. Enumerable.Range(0, Few).Select(i => Document($"new{i}", i, 0, 0, Few + i))];
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, between, [], TestDatabases.Bytes).Database)
        {
            double before = TrueRecall(changed, DenseNeighborSource.Build(changed, Keyer(), s_options with { Parameters = "nprobe=4" }));
            alone = TrueRecall(changed, DenseNeighborSource.Build(changed, Keyer(), s_options));
            Assert.InRange(alone, before + 0.04, 1);
            Assert.Contains(changed.Files, file => file.Name == "index-all.faiss");
        }

        _databases.Build(Enumerable.Range(0, 200).Select(i => Clustered($"other{i}", i, (2 * Few) + i)), chunkLength: 32, name: "other").Dispose();
        using (ChunkDatabase built = ChunkDatabaseUpdate.Apply(other, [], ["other5"], TestDatabases.Bytes).Database)
        {
            DenseNeighborSource.Build(built, Keyer(), s_options).Dispose();
        }

        foreach (string[] order in new[] { new[] { folder, other }, [other, folder] })
        {
            using ShardedNeighborSource opened = ShardedNeighborSource.Open(order, database => DenseNeighborSource.Open(database, Keyer()));
            Filters(opened.Database, opened);
            using ShardedNeighborSource made = ShardedNeighborSource.Open(order, database => DenseNeighborSource.Build(database, Keyer(), s_options));
            Assert.Equal(opened.Identity, made.Identity);
            Assert.InRange(TrueRecall(opened.Database, opened), alone - 0.005, 1);
        }
    }

    [Fact]
    public void More_of_the_same_is_found_by_the_indexes_that_are_there()
    {
        string folder = _databases.Folder();
        string sha;
        using (ChunkDatabase built = Build())
        {
            DenseNeighborSource.Build(built, Keyer(), s_options).Dispose();
            sha = built.Files.Single(file => file.Name == "index.faiss").Sha256;
        }

        // Too little for one probe in 256 to be of it.
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, [Clustered("one", 1, 2 * Few)], [], TestDatabases.Bytes).Database)
        {
            DenseNeighborSource.Build(changed, Keyer(), s_options).Dispose();
            Assert.DoesNotContain(changed.Files, file => file.Name == "recall.json");
        }

        Document[] same = [.. Enumerable.Range(0, Few).Select(i => Clustered($"new{i}", i, Few + i))];
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, same, ["d3", "d4"], TestDatabases.Bytes).Database)
        {
            using DenseNeighborSource source = DenseNeighborSource.Build(changed, Keyer(), s_options);
            Assert.InRange(TrueRecall(changed, source), Wanted, 1);
            Assert.InRange(Recall(changed, "recall.json"), Wanted, 1);
            Assert.DoesNotContain(changed.Files, file => file.Name == "index-all.faiss");
            Assert.Equal(sha, changed.Files.Single(file => file.Name == "index.faiss").Sha256);

            // Measured once; and the exact index needs no measuring.
            DateTime measured = File.GetLastWriteTimeUtc(Path.Combine(folder, "recall.json"));
            DenseNeighborSource.Build(changed, Keyer(), s_options).Dispose();
            Assert.Equal(measured, File.GetLastWriteTimeUtc(Path.Combine(folder, "recall.json")));

            // What says no number is measured again.
            string manifest = Path.Combine(folder, "manifest.json"), said = File.ReadAllText(manifest);
            string recall = changed.Files.Single(file => file.Name == "recall.json").Details["recall"];
            File.WriteAllText(manifest, said.Replace($"\"recall\": \"{recall}\"", "\"recall\": \"much\"", StringComparison.Ordinal));
            using ChunkDatabase again = ChunkDatabase.Open(folder);
            Assert.Equal("much", again.Files.Single(file => file.Name == "recall.json").Details["recall"]);
            DenseNeighborSource.Build(again, Keyer(), s_options).Dispose();
            Assert.Equal(said, File.ReadAllText(manifest));
        }

        using ChunkDatabase exact = ChunkDatabaseUpdate.Apply(folder, [], ["d5"], TestDatabases.Bytes).Database;
        DenseNeighborSource.Build(exact, Keyer(), new() { Engine = VectorEngine.Exact }).Dispose();
        Assert.DoesNotContain(exact.Files, file => file.Name == "recall.json");
    }

    /// <summary>As where somebody else writes, or nobody may: everything to search with is there.</summary>
    [Fact]
    public void What_was_measured_and_cannot_be_kept_keeps_nobody_from_searching()
    {
        string folder = _databases.Folder();
        using (ChunkDatabase built = Build())
        {
            DenseNeighborSource.Build(built, Keyer(), s_options).Dispose();
        }

        Document[] same = [.. Enumerable.Range(0, Few).Select(i => Clustered($"new{i}", i, Few + i))];
        using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(
            folder, same, [], TestDatabases.Bytes, prepare: segment => DenseNeighborSource.Build(segment, Keyer(), s_options).Dispose()).Database;
        List<string> said = [];
        using (WriterLock.Take(folder, "hold it"))
        {
            using DenseNeighborSource source = DenseNeighborSource.Build(
                changed, Keyer(), s_options, new Reports<StageProgress>(report => said.AddRange(report.Message is { } message ? [message] : [])));
            Assert.InRange(TrueRecall(changed, source), Wanted, 1);
        }

        Assert.Single(said, message => message.StartsWith("The recall is not kept", StringComparison.Ordinal));
        Assert.DoesNotContain(changed.Files, file => file.Name == "recall.json");
        DenseNeighborSource.Build(changed, Keyer(), s_options).Dispose();
        Assert.InRange(Recall(changed, "recall.json"), Wanted, 1);
    }

    /// <summary>Another index of the same kind would lose as much, and cost hours after every change.</summary>
    [Fact]
    public void What_an_index_cannot_reach_by_itself_is_no_reason_to_train_one_of_all_chunks()
    {
        string folder = _databases.Folder();
        using (ChunkDatabase built = Build())
        {
            DenseNeighborSource.Build(built, Keyer(), s_options).Dispose();
            DatabaseFile made = built.Files.Single(file => file.Name == "index.faiss");
            built.Register("index.faiss", new Dictionary<string, string>(made.Details) { ["recall"] = "0.1000" });
        }

        Document[] between = [.. Enumerable.Range(0, Few).Select(i => Document($"new{i}", i, 0, 0, Few + i))];
        using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, between, [], TestDatabases.Bytes).Database;
        DenseNeighborSource.Build(changed, Keyer(), s_options).Dispose();
        Assert.InRange(Recall(changed, "recall.json"), 0.099, Wanted - 0.001);
        Assert.DoesNotContain(changed.Files, file => file.Name == "index-all.faiss");
    }

    [Fact]
    public void The_nearest_keys_over_all_segments_are_those_of_one_database_of_the_same_documents()
    {
        string folder = _databases.Folder();
        using (ChunkDatabase built = Build())
        {
            KeyFile.Build(built, Keyer());
        }

        Document[] add = [.. Enumerable.Range(0, 50).Select(i => Document($"new{i}", i, 0, 0, Few + i))];
        using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(folder, add, ["d0", "d7", "d1199"], TestDatabases.Bytes).Database;
        DenseNeighborSource.Build(changed, Keyer(), new() { Engine = VectorEngine.Exact }).Dispose();
        using ChunkKeys keys = ChunkKeys.Open(changed);
        float[] queries = keys.Rows(1150, 60).ToArray();
        Assert.Equal(Enumerable.Range(1150, 60).SelectMany(chunk => keys.Row(chunk).ToArray()), queries);
        long[] without = [2, 1160, 1200], nearest = new long[60 * 5];
        keys.Nearest(queries, VectorMetric.SquaredL2, 2, without, nearest);
        float[] all = keys.Rows(0, (int)keys.Count).ToArray();
        for (int i = 0; i < 60; i++)
        {
            IEnumerable<long> expected = TestVectors.Nearest(all, queries.AsSpan(i * Dimensions, Dimensions).ToArray(), (int)keys.Count)
                .Select(pair => pair.Id)
                .Where(chunk => !without.Contains(chunk))
                .Take(5);
            Assert.Equal(expected, nearest.Skip(i * 5).Take(5));
        }
    }

    /// <summary>Neither what was removed, nor the own document, nor what labels hide; and as many as there are.</summary>
    private static void Filters(ChunkDatabase database, INeighborSource source)
    {
        for (int chunk = 0; chunk < database.ChunkCount; chunk += 37)
        {
            NeighborQuery query = new(TestDatabases.Text(database, chunk), [database.DocumentOf(chunk)]);
            long[] found = source.Ask([query], K).Chunks, seen = source.Ask([query with { Labels = [] }], K).Chunks;
            Assert.DoesNotContain(-1, found);
            Assert.DoesNotContain(-1, seen);
            Assert.DoesNotContain(found, other => database.DocumentOf(other) == database.DocumentOf(chunk));
            Assert.All(seen, other => Assert.Empty(database.Documents[database.DocumentOf(other)].Labels));
        }
    }

    private static double Recall(ChunkDatabase database, string file)
        => double.Parse(database.Manifest.Find(file)!.Details["recall"], CultureInfo.InvariantCulture);

    /// <summary>By comparing chunks of all kinds with all others.</summary>
    private static double TrueRecall<T>(ChunkDatabase database, T source)
        where T : INeighborSource, IDisposable
    {
        using (source)
        {
            int[][] texts = [.. Enumerable.Range(0, (int)database.ChunkCount).Select(chunk => TestDatabases.Text(database, chunk))];
            float[] keys = [.. texts.SelectMany(KeyOf)];
            int hits = 0, asked = 0;
            for (int chunk = 0; chunk < texts.Length; chunk += 11)
            {
                double worst = TestVectors.Nearest(keys, KeyOf(texts[chunk]), texts.Length).Where(pair => pair.Id != chunk).ElementAt(K - 1).Distance;
                (long[] found, float[] scores) = source.Ask([new(texts[chunk], [database.DocumentOf(chunk)])], K);
                hits += scores.Count(score => -score <= worst + 1e-5);
                asked += K;
            }

            return (double)hits / asked;
        }
    }

    private static Document Document(string id, int square, int x, int y, int noise)
        => new(id, "", $"{square % Squares} {x} {y} {noise}", "") { Labels = noise % 5 == 0 ? ["staff"] : [] };

    private static Document Clustered(string id, int number, int noise)
        => Document(id, number, (number / Squares % 2 * 2) - 1, (number / Squares / 2 % 2 * 2) - 1, noise);

    private static float[] KeyOf(int[] tokens)
    {
        string[] said = Encoding.ASCII.GetString([.. tokens.Where(token => token < 256).Select(token => (byte)token)]).Split(' ');
        int[] numbers = Array.ConvertAll(said, text => int.Parse(text, CultureInfo.InvariantCulture));
        (int square, int x, int y, int noise) = (numbers[0], numbers[1], numbers[2], numbers[3]);
        float[] key = new float[Dimensions];
        for (int j = 0; j < Dimensions; j++)
        {
            // Of the first two numbers the corner, of the others which square; what lies in the middle goes its own way there, farther than the corners are.
            float own = s_noise[(noise * Dimensions) + j];
            key[j] = j < 2
                ? (0.5f * (j == 0 ? x : y)) + (x == 0 ? 0 : 0.02f * own)
                : (20 * s_squares[(square * Dimensions) + j]) + ((x == 0 ? 0.5f : 0.02f) * own);
        }

        return key;
    }

    private static TestKeyer Keyer() => new(
        (chunks, keys, _) =>
        {
            for (int i = 0; i < chunks.Count; i++)
            {
                KeyOf(chunks[i].ToArray()).CopyTo(keys[(i * Dimensions)..]);
            }
        },
        Dimensions,
        "centers");

    /// <summary>Documents of a chunk each, in narrow clusters.</summary>
    private ChunkDatabase Build() => _databases.Build(Enumerable.Range(0, Few).Select(i => Clustered($"d{i}", i, i)), chunkLength: 32);
}
