using System.Numerics;
using System.Runtime.InteropServices;

namespace Retro;

/// <summary>Some of a number of chunks, as a bit for each, with how many come before any of them. It does not change once it is made.</summary>
internal sealed class ChunkSet
{
    private const int Bits = 64;

    private readonly ulong[] _words;

    // Members before each word.
    private readonly long[] _before;

    /// <param name="size">How many chunks there are.</param>
    /// <param name="members">Those in the set: the first of some that follow one another, and how many they are.</param>
    public ChunkSet(long size, IEnumerable<(long First, long Count)> members)
    {
        Size = size;
        _words = new ulong[(size + Bits - 1) / Bits];
        foreach ((long first, long count) in members)
        {
            for (long chunk = first; chunk < first + count; chunk++)
            {
                _words[chunk / Bits] |= 1UL << (int)(chunk % Bits);
            }
        }

        _before = new long[_words.Length];
        for (int word = 0; word < _words.Length; word++)
        {
            _before[word] = Count;
            Count += BitOperations.PopCount(_words[word]);
        }
    }

    /// <summary>How many chunks there are, those that are no members among them.</summary>
    public long Size { get; }

    /// <summary>How many are in the set.</summary>
    public long Count { get; }

    /// <summary>The bits, lowest first: that of chunk c is bit c % 8 of byte c / 8.</summary>
    public ReadOnlySpan<byte> Bytes => MemoryMarshal.AsBytes<ulong>(_words);

    /// <summary>Whether a chunk is in the set.</summary>
    public bool Contains(long chunk) => (_words[chunk / Bits] >> (int)(chunk % Bits) & 1) != 0;

    /// <summary>The members, in their order.</summary>
    public IEnumerable<long> Members() => Members(0, Count);

    /// <summary>Some of the members that follow one another.</summary>
    /// <param name="place">How many come before the first.</param>
    /// <param name="count">How many there are.</param>
    public IEnumerable<long> Members(long place, long count)
    {
        long left = count, first = left == 0 ? 0 : Select(place);
        ulong word = left == 0 ? 0 : _words[first / Bits] & (ulong.MaxValue << (int)(first % Bits));
        for (long at = first / Bits; left > 0; word = _words[++at])
        {
            for (; word != 0 && left > 0; word &= word - 1, left--)
            {
                yield return (at * Bits) + BitOperations.TrailingZeroCount(word);
            }

            if (left == 0)
            {
                yield break;
            }
        }
    }

    /// <summary>How many members come before a chunk; the chunk may be the one after the last.</summary>
    public long Rank(long chunk)
        => chunk >= Size ? Count : _before[chunk / Bits] + BitOperations.PopCount(_words[chunk / Bits] & ((1UL << (int)(chunk % Bits)) - 1));

    /// <summary>The member before which so many others come.</summary>
    public long Select(long place)
    {
        int last = Ascending.LastAtMost<long>(_before, place); // the last word with no more members before it
        ulong word = _words[last];
        for (long left = place - _before[last]; left > 0; left--)
        {
            word &= word - 1;
        }

        return (long)last * Bits + BitOperations.TrailingZeroCount(word);
    }
}
