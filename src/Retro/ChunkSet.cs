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
    public IEnumerable<long> Members()
    {
        for (int at = 0; at < _words.Length; at++)
        {
            for (ulong word = _words[at]; word != 0; word &= word - 1)
            {
                yield return ((long)at * Bits) + BitOperations.TrailingZeroCount(word);
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
