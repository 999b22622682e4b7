using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Search;
using Retro.Tests.Database;

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
    public void The_longest_common_run_is_that_of_a_search_through_all_runs()
    {
        Random random = new(4);
        for (int round = 0; round < 200; round++)
        {
            int[] chunk = [.. Enumerable.Range(0, random.Next(1, 9)).Select(_ => random.Next(3))];
            long[] retrieved = [.. Enumerable.Range(0, random.Next(1, 17)).Select(_ => (long)random.Next(3))];
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

            Assert.Equal(longest, LeakageCurve.LongestCommonRun(chunk, retrieved, valid));
        }
    }

    [Fact]
    public void A_bound_takes_the_chunks_below_it_and_one_takes_all()
    {
        string shared = "abcdefghijklmnopqrstuvwxyz";
        using ChunkDatabase retrieval = _databases.Build([TestDatabases.Document("r", shared)], M, "retrieval");
        using ChunkDatabase heldOut = _databases.Build([TestDatabases.Document("copy", "0" + shared[..12] + "1"), TestDatabases.Document("other", "ABCDEFGHIJKL")], M, "held-out");
        GivenNeighborSource source = new(retrieval, [0, 1, 2, 3]);
        using NeighborTable table = NeighborTable.Build(Path.Combine(_folder.Path, "table"), heldOut, source, 4, excludeOwnDocument: false);
        long[] bytes = [.. Enumerable.Range(0, (int)heldOut.ChunkCount).Select(chunk => (long)heldOut.Tokens(chunk)[..heldOut.TokenCount(chunk)].ToArray().Count(token => token != TestDatabases.EndOfText))];
        LeakageCurve curve = new(heldOut, table, retrieval, bytes);

        // The copy's chunks are (end, 0, a to f) and (g to l, 1, end): six in common each. The other's share the end of text alone.
        Assert.Equal([0.75, 0.75, 0.125, 0.125], curve.Overlaps);
        BitsPerByteResult result = new("given", 100, bytes.Sum(), 30, 2, [10, 20, 30, 40]);
        Assert.Equal(result.Value, curve.Value(result, 1), 12);
        Assert.Equal(70.0 / (bytes[2] + bytes[3]), curve.Value(result, 0.5), 12);
        Assert.True(double.IsNaN(curve.Value(result, 0)));
        Assert.Throws<ArgumentException>(() => curve.Value(result with { ChunkBits = [1] }, 1));
        Assert.Throws<ArgumentException>(() => new LeakageCurve(heldOut, table, retrieval, [1]));
    }
}
