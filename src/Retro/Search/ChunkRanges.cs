namespace Retro.Search;

/// <summary>Sets of chunks as sorted ranges that do not touch.</summary>
internal static class ChunkRanges
{
    /// <summary>Sorts and joins ranges in place and drops empty ones; gives how many remain.</summary>
    public static int Normalize(Span<ChunkRange> ranges)
    {
        ranges.Sort(static (a, b) => a.First.CompareTo(b.First));
        int count = 0;
        foreach (ChunkRange range in ranges)
        {
            if (range.Count <= 0)
            {
                continue;
            }

            if (count > 0 && range.First <= ranges[count - 1].End)
            {
                long first = ranges[count - 1].First;
                ranges[count - 1] = new(first, Math.Max(ranges[count - 1].End, range.End) - first);
            }
            else
            {
                ranges[count++] = range;
            }
        }

        return count;
    }

    /// <summary>Whether normalized ranges hold a chunk.</summary>
    public static bool Contains(ReadOnlySpan<ChunkRange> ranges, long chunk)
    {
        int low = 0, high = ranges.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (chunk < ranges[middle].First)
            {
                high = middle - 1;
            }
            else if (chunk >= ranges[middle].End)
            {
                low = middle + 1;
            }
            else
            {
                return true;
            }
        }

        return false;
    }
}
