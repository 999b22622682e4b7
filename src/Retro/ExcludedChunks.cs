namespace Retro;

/// <summary>Chunks that must not come.</summary>
internal readonly struct ExcludedChunks
{
    private readonly ChunkRange[]? _ranges;

    /// <param name="ranges">Them, in any order; they may overlap or be empty.</param>
    public ExcludedChunks(params ReadOnlySpan<ChunkRange> ranges)
    {
        ChunkRange[] sorted = ranges.ToArray();
        Array.Sort(sorted, static (a, b) => a.First.CompareTo(b.First));
        int count = 0;
        foreach (ChunkRange range in sorted)
        {
            if (range.Count <= 0)
            {
                continue;
            }

            if (count > 0 && range.First <= sorted[count - 1].End)
            {
                long first = sorted[count - 1].First;
                sorted[count - 1] = new(first, Math.Max(sorted[count - 1].End, range.End) - first);
            }
            else
            {
                sorted[count++] = range;
            }
        }

        _ranges = sorted[..count];
    }

    /// <summary>Them as ranges, in their order, that do not touch.</summary>
    public ChunkRange[] Ranges => _ranges ?? [];

    /// <summary>How many they are.</summary>
    public long Count => Ranges.Sum(range => range.Count);

    /// <summary>Those among some chunks, numbered from the first of these.</summary>
    /// <param name="first">The first.</param>
    /// <param name="count">How many.</param>
    public ExcludedChunks Within(long first, long count) => new(Array.ConvertAll(Ranges, range =>
    {
        long begin = Math.Max(range.First, first);
        return new ChunkRange(begin - first, Math.Min(range.End, first + count) - begin);
    }));

    /// <summary>Whether a chunk may come: it is none of these, and can be seen.</summary>
    /// <param name="chunk">The chunk.</param>
    /// <param name="visible">Those that can be seen; null: all.</param>
    public bool Admits(long chunk, ChunkSet? visible) => visible?.Contains(chunk) != false && !Contains(chunk);

    private bool Contains(long chunk)
    {
        ReadOnlySpan<ChunkRange> ranges = _ranges;
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
