using Retro.Vectors;

namespace Retro.Search;

/// <summary>One answer from those of a database's segments.</summary>
internal static class SegmentResults
{
    /// <summary>Takes the best of all segments, ties by number.</summary>
    /// <param name="numberOf">The database's number of a segment's chunk.</param>
    /// <param name="found">Of each segment, <c>[n, K]</c> chunk numbers as there, -1 where there are no more; a segment's K may be a smaller one.</param>
    /// <param name="values">Of each segment, as many scores.</param>
    /// <param name="count">K.</param>
    /// <param name="chunks"><c>[n, K]</c> chunk numbers of the database to fill.</param>
    /// <param name="scores"><c>[n, K]</c> scores to fill, NaN where there is no chunk.</param>
    public static void Merge<T>(
        Func<int, long, long> numberOf, IReadOnlyList<long[]> found, IReadOnlyList<T[]> values, int count, Span<long> chunks, Span<float> scores)
        where T : struct, System.Numerics.IBinaryFloatingPointIeee754<T>
    {
        double[] exact = new double[count];
        int rows = chunks.Length / count;
        for (int row = 0; row < rows; row++)
        {
            Ranking best = new(chunks.Slice(row * count, count), exact);
            for (int segment = 0; segment < found.Count; segment++)
            {
                int width = found[segment].Length / rows, first = row * width;
                for (int i = first; i < first + width && found[segment][i] >= 0; i++)
                {
                    best.Offer(numberOf(segment, found[segment][i]), double.CreateChecked(values[segment][i]));
                }
            }

            best.Finish(scores.Slice(row * count, count));
        }
    }
}
