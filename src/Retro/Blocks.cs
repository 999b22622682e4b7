namespace Retro;

/// <summary>Gathers things into blocks that are worked on at once.</summary>
internal static class Blocks
{
    /// <summary>The most things of a block.</summary>
    public const int Count = 1024;

    /// <summary>What a block may hold before it is full, in characters of text.</summary>
    public const long Characters = 4_000_000;

    /// <summary>Things in order, so many in each block, and fewer where they are large: a block is full with the thing that fills it.</summary>
    /// <param name="things">The things, enumerated once.</param>
    /// <param name="sizeOf">What a thing takes of <see cref="Characters"/>, each of 2 bytes.</param>
    public static IEnumerable<T[]> Of<T>(IEnumerable<T> things, Func<T, long> sizeOf)
    {
        List<T> block = [];
        long size = 0;
        foreach (T thing in things)
        {
            block.Add(thing);
            size += sizeOf(thing);
            if (block.Count == Count || size >= Characters)
            {
                T[] full = [.. block];
                block.Clear(); // so that who asks for the next block holds none of this
                size = 0;
                yield return full;
            }
        }

        if (block.Count > 0)
        {
            yield return [.. block];
        }
    }
}
