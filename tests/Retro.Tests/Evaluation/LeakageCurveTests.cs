using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tokenizers;

namespace Retro.Tests.Evaluation;

public sealed class LeakageCurveTests : IDisposable
{
    private const int M = 8;

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void P29_the_longest_common_run_is_that_of_a_search_through_all_runs()
    {
        Random random = new(4);
        CommonRun common = new();
        for (int round = 0; round < 3000; round++)
        {
            int[] chunk = [.. Enumerable.Range(0, random.Next(1, 20)).Select(_ => random.Next(1 + round % 4))];
            common.Begin(chunk);
            for (int again = 0; again < 3; again++)
            {
                long[] retrieved = [.. Enumerable.Range(0, random.Next(1, 30)).Select(_ => (long)random.Next(5))];
                bool[] valid = [.. retrieved.Select(_ => random.Next(8) > 0)];
                int longest = 0;
                for (int i = 0; i < chunk.Length; i++)
                {
                    for (int j = 0; j < retrieved.Length; j++)
                    {
                        int run = 0;
                        while (i + run < chunk.Length && j + run < retrieved.Length && valid[j + run] && chunk[i + run] == retrieved[j + run])
                        {
                            run++;
                        }

                        longest = Math.Max(longest, run);
                    }
                }

                Assert.Equal(longest, common.Longest(retrieved, valid));
            }
        }
    }

    [Fact]
    public void P29_a_bound_takes_the_chunks_below_it_and_one_takes_all()
    {
        string shared = "abcdefghijklmnopqrstuvwxyz";
        using ChunkDatabase retrieval = _databases.Build([TestDatabases.Document("r", shared)], M, "retrieval");
        using ChunkDatabase heldOut = _databases.Build(
            [TestDatabases.Document("copy", "0" + shared[..12] + "1"), TestDatabases.Document("other", "ABCDEFGHIJKLM01")], M, "held-out");
        GivenNeighborSource source = new(retrieval, [0, 1, 2, 3]);
        using NeighborTable table = NeighborTable.Build(Path.Combine(_folder.Path, "table"), heldOut, source, 4, excludeOwnDocument: false);
        double[] bytes = [7, 7, 7, 8, 0];
        List<StageProgress> told = [];
        LeakageCurve curve = LeakageCurve.Compute(heldOut, table, bytes, progress: new Reports<StageProgress>(told.Add));

        // The copy's chunks are (end, 0, a to f) and (g to l, 1, end): six in common each.
        // The other's share the end of text alone, which is all of its last chunk.
        Assert.Equal([0.75, 0.75, 0.125, 0, 1], curve.Overlaps);
        Assert.Equal([8.0 / 33, 16.0 / 33, 1], [curve.TokenShare(0), curve.TokenShare(0.125), curve.TokenShare(1)]);
        Assert.Equal((0, 5), (told[0].Done, told[^1].Done));
        BitsPerByteResult result = Result(heldOut, [10, 20, 30, 40, 5], [14, 15]);
        Assert.Equal(result.Value, curve.At(result, 1).Value, 12);
        Assert.Equal(result.DocumentSums.Bits, curve.At(result, 1).Bits);
        Assert.Equal(result.DocumentSums.Bytes, curve.At(result, 1).Bytes);
        Assert.Equal(70.0 / 15, curve.At(result, 0.5).Value, 12);
        Assert.Equal([0.0, 70], curve.At(result, 0.5).Bits);
        Assert.Equal(40.0 / 8, curve.At(result, 0).Value, 12);
        Assert.True(double.IsNaN(curve.At(result, -1).Value));
        Assert.Throws<ArgumentException>(() => curve.At(result with { ChunkBits = [1] }, 1));
        Assert.Throws<ArgumentException>(() => curve.At(result with { HeldOutHash = "another" }, 1));
        Assert.Throws<ArgumentException>(() => LeakageCurve.Compute(heldOut, table, [1]));
        using CancellationTokenSource cancel = new();
        Assert.Throws<OperationCanceledException>(() => LeakageCurve.Compute(
            heldOut, table, bytes, progress: new Reports<StageProgress>(_ => cancel.Cancel()), cancellationToken: cancel.Token));
    }

    [Fact]
    public void What_was_read_while_a_chunk_was_predicted_counts_too()
    {
        using ChunkDatabase retrieval = _databases.Build([TestDatabases.Document("r", "abcdefghijklmno")], M, "retrieval");
        using ChunkDatabase heldOut = _databases.Build([TestDatabases.Document("h", "ABCDEFGhijklmno")], M, "held-out");

        // The first chunk has found what continues as the document does; the second has found nothing.
        int number = 0;
        GivenNeighborSource source = new(retrieval, _ => number++ == 0 ? [0] : []);
        using NeighborTable table = NeighborTable.Build(Path.Combine(_folder.Path, "table"), heldOut, source, 1, excludeOwnDocument: false);
        LeakageCurve curve = LeakageCurve.Compute(heldOut, table, [7, 8, 0]);
        Assert.Equal([0.125, 1, 0], curve.Overlaps);
    }

    [Fact]
    public void Neighbors_behind_those_that_are_read_do_not_count()
    {
        using ChunkDatabase retrieval = _databases.Build([TestDatabases.Document("r", "abcdefghijklmno")], M, "retrieval");
        using ChunkDatabase heldOut = _databases.Build([TestDatabases.Document("h", "ABCDEFGhijklmno")], M, "held-out");

        // First the end of the text alone, then what the second chunk is.
        using NeighborTable table = NeighborTable.Build(
            Path.Combine(_folder.Path, "table"), heldOut, new GivenNeighborSource(retrieval, [2, 1]), 2, excludeOwnDocument: false);
        Assert.Equal([0.125, 0, 1], LeakageCurve.Compute(heldOut, table, [7, 8, 0], neighbors: 1).Overlaps);
        Assert.Equal([0.125, 1, 1], LeakageCurve.Compute(heldOut, table, [7, 8, 0], neighbors: 2).Overlaps);
    }

    [Fact]
    public void Bytes_of_chunks_add_up_to_those_of_the_text_whatever_the_tokens_stand_for()
    {
        string[] texts = ["Ünïcode text of some length, ÄÖÜ", "", "plain text", "\u2603\u2603"];
        BpeTrainer.Train(texts, 280, Path.Combine(_folder.Path, "lossless"));
        RetroTokenizer lossless = RetroTokenizer.Load(Path.Combine(_folder.Path, "lossless")),
            lossy = RetroTokenizer.Load(Path.Combine(Fixtures.Own, "pretrained", "bert"));
        foreach (RetroTokenizer tokenizer in new[] { lossless, lossy })
        {
            using ChunkDatabase database = ChunkDatabaseBuilder.Build(
                Path.Combine(_folder.Path, $"database {tokenizer.Hash}"), texts.Select((text, i) => TestDatabases.Document($"{i}", text)), tokenizer,
                    new() { ChunkLength = M });
            double[] bytes = LeakageCurve.ChunkBytes(database, tokenizer);
            Assert.All(database.Documents, document =>
                Assert.Equal(document.ByteCount, bytes[(int)document.FirstChunk..((int)document.FirstChunk + document.ChunkCount)].Sum(), 1e-9));
            Assert.Equal(37 + 0 + 10 + 6, bytes.Sum(), 1e-9);
            if (tokenizer == lossless)
            {
                Assert.All(bytes, one => Assert.Equal(Math.Round(one), one));
            }
        }
    }

    private static BitsPerByteResult Result(ChunkDatabase heldOut, double[] chunkBits, double[] documentBytes)
    {
        double[] bits = [.. heldOut.Documents.Select(document => chunkBits[(int)document.FirstChunk..((int)document.FirstChunk + document.ChunkCount)].Sum())];
        return new BitsPerByteResult("a", "given", 2, 30, new DocumentSums(bits, documentBytes), chunkBits, 0, 0, heldOut.Manifest.TokensHash)
        {
            WindowLength = 16, Stride = 8,
        };
    }
}
