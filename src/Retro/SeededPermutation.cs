using System.Numerics;

namespace Retro;

/// <summary>
/// A random order of the numbers below a count, computed place by place without a table: a Feistel network over the next even number of bits,
/// walked until it falls below the count (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
/// </summary>
internal readonly struct SeededPermutation
{
    private const int Rounds = 6;

    private readonly ulong _count;
    private readonly int _halfBits;
    private readonly ulong _key;

    public SeededPermutation(long count, long seed, Purpose purpose, long place)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        _count = (ulong)count;
        _halfBits = Math.Max(1, (BitOperations.Log2(_count) + 2) / 2);
        _key = SeededRandom.Mix(SeededRandom.Mix(SeededRandom.Mix(unchecked((ulong)seed)) + (ulong)purpose) + unchecked((ulong)place));
    }

    /// <summary>The number at a place of the order.</summary>
    public long At(long place)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(place);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)place, _count, nameof(place));
        ulong mask = (1UL << _halfBits) - 1;
        ulong value = (ulong)place;
        do
        {
            ulong left = value >> _halfBits, right = value & mask;
            for (ulong round = 0; round < Rounds; round++)
            {
                (left, right) = (right, left ^ (SeededRandom.Mix(right + SeededRandom.Mix(_key + round)) & mask));
            }

            value = (left << _halfBits) | right;
        }
        while (value >= _count);
        return (long)value;
    }
}
