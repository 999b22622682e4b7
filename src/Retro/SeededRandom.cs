namespace Retro;

/// <summary>
/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a small generator that is the same on every machine and version, started from a seed and the
/// place where the numbers are used. Nothing but the seed and that place has to be stored to go on exactly.
/// </summary>
internal struct SeededRandom
{
    private const ulong Gamma = 0x9E3779B97F4A7C15;

    private ulong _state;

    public SeededRandom(long seed, Purpose purpose, long place)
        => _state = Beginning(seed, purpose, place);

    /// <summary>The bits that the numbers begin with: the seed is mixed by itself first, so that no seed's are a neighboring one's at another place.</summary>
    public static ulong Beginning(long seed, Purpose purpose, long place)
        => Mix(Mix(Mix(unchecked((ulong)seed) + Gamma) + (ulong)purpose) + unchecked((ulong)place));

    /// <summary>A number of [0, 1).</summary>
    public double NextDouble() => (Next() >> 11) * (1.0 / (1L << 53));

    /// <summary>A number of [0, count).</summary>
    public int Below(int count) => (int)Math.BigMul(Next() >> 32, (ulong)count << 32, out _);

    /// <summary>
    /// A seed for <see cref="Random"/>: the seed itself where it is of 31 bits. It takes one below 0 for that above, and the greatest for 0.
    /// </summary>
    public static int Fold(long seed) => seed is >= 0 and < int.MaxValue ? (int)seed : unchecked((int)Mix((ulong)seed));

    /// <summary>Thoroughly mixed bits of a value.</summary>
    public static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }

    private ulong Next()
    {
        _state += Gamma;
        return Mix(_state);
    }
}
