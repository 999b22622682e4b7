using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Readers;
using static TorchSharp.torch;

namespace Retro.Tests.Evaluation;

/// <summary>The leakage curve of what a model was really measured to do, with neighbors that a real index found.</summary>
public sealed class LeakageOfAResultTests : IDisposable
{
    private const int M = TinyRetro.M, K = 3;

    private static readonly double[] s_bounds = [0, 0.25, 0.5, 0.75, 1];

    // Each token sees the one before it, so that what comes out does not depend on where a window began, as long as a few chunks stand before the token.
    private static readonly RetroConfig s_config = TinyRetro.Config with { SlidingWindow = 2 };

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void P29_the_curve_of_a_measurement_is_that_of_brute_force_whatever_the_batches_and_strides()
    {
        List<Document> known = TestDatabases.Documents(20, seed: 2, maximumLength: 90);
        Random random = new(4);
        // Held-out documents that quote the known ones, by runs of every length, between letters of their own.
        string Quote()
        {
            string from = known[random.Next(known.Count)].Text;
            int length = Math.Min(random.Next(1, 14), from.Length), start = random.Next(from.Length - length + 1);
            return $"{from.AsSpan(start, length)}{string.Concat(Enumerable.Range(0, random.Next(1, 6)).Select(_ => (char)random.Next('A', 'Z' + 1)))}";
        }

        Document[] held = [.. Enumerable.Range(0, 6)
            .Select(i => TestDatabases.Document($"h{i}", string.Concat(Enumerable.Range(0, 6 + i).Select(_ => Quote()))))];
        using ChunkDatabase retrieval = _databases.Build(known, M, "retrieval"), heldOut = _databases.Build(held, M, "held-out");
        using Bm25Index keywords = Bm25Index.Build(retrieval.ChunkCount, chunk => KeywordNeighborSource.TermsOf(retrieval, chunk));
        using NeighborTable table = NeighborTable.Build(
            Path.Combine(_folder.Path, "table"), heldOut, new KeywordNeighborSource(retrieval, keywords), K, excludeOwnDocument: false);
        double[] bytes = [.. Enumerable.Range(0, (int)heldOut.ChunkCount)
            .Select(chunk => (double)TestDatabases.Text(heldOut, chunk).Count(token => token != TestDatabases.EndOfText))];
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        BitsPerByteResult result = BitsPerByte.Measure(model, heldOut, table, new() { WindowLength = 32 });

        LeakageCurve curve = LeakageCurve.Compute(heldOut, table, bytes, neighbors: K, cancellationToken: TestContext.Current.CancellationToken);

        double[] overlaps = [.. Enumerable.Range(0, (int)heldOut.ChunkCount).Select(chunk => Overlap(heldOut, table, retrieval, chunk))];
        Assert.Equal(overlaps, curve.Overlaps);
        Assert.All(s_bounds.Zip(s_bounds.Skip(1)), pair => Assert.Contains(overlaps, overlap => overlap > pair.First && overlap <= pair.Second));
        foreach (double bound in s_bounds)
        {
            DocumentSums at = curve.At(result, bound);
            for (int document = 0; document < held.Length; document++)
            {
                int[] chunks = [.. Enumerable.Range(0, (int)heldOut.ChunkCount)
                    .Where(chunk => heldOut.DocumentOf(chunk) == document && overlaps[chunk] <= bound)];
                Assert.Equal(chunks.Sum(chunk => result.ChunkBits[chunk]), at.Bits[document], 9);
                Assert.Equal(chunks.Sum(chunk => bytes[chunk]), at.Bytes[document], 9);
            }
        }

        Assert.Equal(result.DocumentSums.Bits, curve.At(result, 1).Bits);
        Assert.Equal(result.DocumentSums.Bytes, curve.At(result, 1).Bytes);
        Assert.Equal(result.Value, curve.At(result, 1).Value, 12);
        Assert.NotEqual(curve.At(result, 0.5).Value, result.Value, 3);

        // The same bits to the same chunks, however windows are cut and batched.
        foreach ((int length, int stride, int rows) in new[] { (32, 16, 1), (32, 8, 5), (48, 16, 3), (64, 32, 64) })
        {
            BitsPerByteResult other = BitsPerByte.Measure(model, heldOut, table, new() { WindowLength = length, Stride = stride, BatchSize = rows });
            Assert.Equal(result.Tokens, other.Tokens);
            Assert.All(s_bounds, bound => Assert.Equal(curve.At(result, bound).Value, curve.At(other, bound).Value, 9));
        }
    }

    /// <summary>The longest run that a chunk shares with what its neighbors, or those of the chunk before it in its document, are and go on with.</summary>
    private static double Overlap(ChunkDatabase heldOut, NeighborTable table, ChunkDatabase retrieval, long chunk)
    {
        int[] own = TestDatabases.Text(heldOut, chunk);
        IEnumerable<long> found = table.Row(chunk).ToArray();
        if (chunk > 0 && heldOut.DocumentOf(chunk - 1) == heldOut.DocumentOf(chunk))
        {
            found = found.Concat(table.Row(chunk - 1).ToArray());
        }

        int longest = 0;
        foreach (long neighbor in found.Where(neighbor => neighbor >= 0))
        {
            List<int> text = [.. TestDatabases.Text(retrieval, neighbor)];
            if (retrieval.Continuation(neighbor) is >= 0 and long next)
            {
                text.AddRange(TestDatabases.Text(retrieval, next));
            }

            for (int i = 0; i < own.Length; i++)
            {
                for (int j = 0; j < text.Count; j++)
                {
                    int run = 0;
                    while (i + run < own.Length && j + run < text.Count && own[i + run] == text[j + run])
                    {
                        run++;
                    }

                    longest = Math.Max(longest, run);
                }
            }
        }

        return (double)longest / own.Length;
    }
}
