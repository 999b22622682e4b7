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
}
