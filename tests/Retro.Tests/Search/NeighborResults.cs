using Retro.Search;

namespace Retro.Tests.Search;

internal static class NeighborResults
{
    /// <summary>Asks a source and checks what holds for every answer: the missing last, no chunk twice, scores falling and there where a chunk is.</summary>
    public static (long[] Chunks, float[] Scores) Ask(this INeighborSource source, IReadOnlyList<NeighborQuery> queries, int count)
    {
        long[] chunks = Enumerable.Repeat(-7L, queries.Count * count).ToArray();
        float[] scores = new float[chunks.Length];
        source.Find(queries, count, chunks, scores);
        for (int q = 0; q < queries.Count; q++)
        {
            long[] row = chunks[(q * count)..((q + 1) * count)];
            int found = row.TakeWhile(chunk => chunk >= 0).Count();
            Assert.All(row[found..], chunk => Assert.Equal(-1, chunk));
            Assert.Equal(found, row[..found].Distinct().Count());
            for (int i = 0; i < count; i++)
            {
                Assert.Equal(i >= found, float.IsNaN(scores[q * count + i]));
                Assert.True(i == 0 || i >= found || scores[q * count + i] <= scores[q * count + i - 1]);
            }
        }

        return (chunks, scores);
    }

    /// <summary>
    /// Checks that two searches found the same neighbors up to ties. Each rank holds a score within <paramref name="tolerance"/> (of the score's size, at least
    /// of 1) of the other search's; a neighbor that stands elsewhere there, or is not there, is within it of the score at that place, or of the last one. What
    /// is missing is missing in both.
    /// </summary>
    public static void AssertSame((long[] Ids, float[] Scores) expected, (long[] Ids, float[] Scores) came, int count, double tolerance = 1e-5)
    {
        Assert.Equal(expected.Ids.Length, came.Ids.Length);
        for (int i = 0; i < came.Ids.Length; i++)
        {
            int row = i / count * count;
            Assert.Equal(expected.Ids[i] < 0, came.Ids[i] < 0);
            if (came.Ids[i] >= 0)
            {
                int there = Array.IndexOf(expected.Ids, came.Ids[i], row, count);
                Near(expected.Scores[i]);
                Near(expected.Scores[there < 0 ? row + count - 1 : there]);
                Assert.Equal(i, Array.IndexOf(came.Ids, came.Ids[i], row, count));
            }

            void Near(float score) => Assert.True(
                Math.Abs(score - came.Scores[i]) <= tolerance * Math.Max(1, Math.Abs(score)),
                $"Row {i / count}, rank {i % count}: neighbor {came.Ids[i]} of score {came.Scores[i]:R}, where {expected.Ids[i]} of {expected.Scores[i]:R} "
                    + $"was expected; it is no tie with a score of {score:R}.");
        }
    }
}
