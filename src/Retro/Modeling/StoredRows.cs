using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>How rows of numbers are stored that <see cref="StoredRows{T, TFormat}"/> computes with.</summary>
/// <typeparam name="T">What a number is stored as.</typeparam>
internal interface IRowFormat<T>
    where T : unmanaged
{
    /// <summary>32 numbers of a row in float32, in two halves of 16, in whatever order is made in the fewest steps.</summary>
    static abstract void Halves(ref T row, nuint at, out Vector512<float> first, out Vector512<float> second);

    /// <summary>The other way: the nearest numbers that can be stored.</summary>
    static abstract void StoreHalves(Vector512<float> first, Vector512<float> second, ref T row, nuint at);

    /// <summary>Where among the two halves a number of the 32 stands.</summary>
    static abstract int Place(int number);

    /// <summary>A number.</summary>
    static abstract float Read(T stored);

    /// <summary>The nearest number that can be stored.</summary>
    static abstract T Nearest(float number);
}

/// <summary>Float32, in its own order.</summary>
internal readonly struct Float32Format : IRowFormat<float>
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Halves(ref float row, nuint at, out Vector512<float> first, out Vector512<float> second)
    {
        first = Vector512.LoadUnsafe(ref row, at);
        second = Vector512.LoadUnsafe(ref row, at + 16);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreHalves(Vector512<float> first, Vector512<float> second, ref float row, nuint at)
    {
        first.StoreUnsafe(ref row, at);
        second.StoreUnsafe(ref row, at + 16);
    }

    /// <inheritdoc/>
    public static int Place(int number) => number;

    /// <inheritdoc/>
    public static float Read(float stored) => stored;

    /// <inheritdoc/>
    public static float Nearest(float number) => number;
}

/// <summary>
/// Bfloat16, the upper half of a float32. Those at even places come first: as one of a pair, each number is a shift or a mask away from its float32.
/// </summary>
internal readonly struct BFloat16Format : IRowFormat<ushort>
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Halves(ref ushort row, nuint at, out Vector512<float> first, out Vector512<float> second)
    {
        Vector512<uint> pairs = Vector512.LoadUnsafe(ref row, at).AsUInt32();
        first = (pairs << 16).AsSingle();
        second = (pairs & Vector512.Create(0xFFFF0000u)).AsSingle();
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreHalves(Vector512<float> first, Vector512<float> second, ref ushort row, nuint at)
        => ((Rounded(first) >> 16) | (Rounded(second) & Vector512.Create(0xFFFF0000u))).AsUInt16().StoreUnsafe(ref row, at);

    /// <inheritdoc/>
    public static int Place(int number) => (number % 2 * 16) + (number / 2);

    /// <inheritdoc/>
    public static float Read(ushort stored) => BitConverter.UInt32BitsToSingle((uint)stored << 16);

    /// <summary>The nearest bfloat16; of two that are as near, the one whose last bit is 0, as libtorch rounds.</summary>
    public static ushort Nearest(float number)
    {
        uint bits = BitConverter.SingleToUInt32Bits(number);
        return float.IsNaN(number) ? (ushort)0x7FC0 : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    // As Nearest; the upper half of each is what is stored.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rounded(Vector512<float> numbers)
    {
        Vector512<uint> bits = numbers.AsUInt32();
        Vector512<uint> rounded = bits + Vector512.Create(0x7FFFu) + ((bits >> 16) & Vector512<uint>.One);
        return Vector512.ConditionalSelect(Vector512.Equals(numbers, numbers).AsUInt32(), rounded, Vector512.Create(0x7FC00000u));
    }
}

/// <summary>
/// Products with rows of numbers as they lie in memory, each read once: what decoding a token takes. They are computed in float32. What a row is multiplied
/// with and added to has the format's order, which <see cref="Load"/> makes and <see cref="Store"/> takes back.
/// </summary>
/// <typeparam name="T">What a number is stored as.</typeparam>
/// <typeparam name="TFormat">How.</typeparam>
internal static class StoredRows<T, TFormat>
    where T : unmanaged
    where TFormat : IRowFormat<T>
{
    private const int Block = 32, Half = Block / 2;

    /// <summary>A row's numbers times a factor, in the format's order.</summary>
    public static void Load(ReadOnlySpan<T> row, float factor, Span<float> numbers)
    {
        for (int i = 0; i < row.Length; i++)
        {
            numbers[Place(i, row.Length)] = TFormat.Read(row[i]) * factor;
        }
    }

    /// <summary>A row of what stands in the format's order.</summary>
    public static void Store(ReadOnlySpan<float> numbers, Span<T> row)
    {
        for (int i = 0; i < row.Length; i++)
        {
            row[i] = TFormat.Nearest(numbers[Place(i, row.Length)]);
        }
    }

    /// <summary>The product of each row with numbers in the format's order; it is the same to the bit whatever other rows there are.</summary>
    /// <param name="rows">From the first row on.</param>
    /// <param name="stride">From a row's beginning to the next one's.</param>
    /// <param name="numbers">What each row is multiplied with, as many as a row has.</param>
    /// <param name="products">One for each row.</param>
    public static void Dot(ReadOnlySpan<T> rows, int stride, ReadOnlySpan<float> numbers, Span<float> products)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows.Length, ((products.Length - 1) * stride) + numbers.Length, nameof(rows));

        // Four rows at a time, so that a number is loaded once for them, and far from one another: the processor fetches four streams ahead, where it finds no
        // order in four rows of one page. What is left over is done with the last row more than once.
        int quarter = products.Length / 4, last = products.Length - 1, whole = numbers.Length / Block * Block;
        for (int row = 0; row < quarter; row++)
        {
            Four(rows, stride, numbers[..whole], products, row, row + quarter, row + (2 * quarter), row + (3 * quarter));
        }

        if (4 * quarter <= last)
        {
            Four(rows, stride, numbers[..whole], products, 4 * quarter, Math.Min((4 * quarter) + 1, last), Math.Min((4 * quarter) + 2, last), last);
        }

        for (int row = 0; whole < numbers.Length && row < products.Length; row++)
        {
            for (int i = whole; i < numbers.Length; i++)
            {
                products[row] += TFormat.Read(rows[(row * stride) + i]) * numbers[i];
            }
        }
    }

    /// <summary>Adds rows, each times its factor, to numbers in the format's order.</summary>
    /// <param name="rows">From the first row on.</param>
    /// <param name="stride">From a row's beginning to the next one's.</param>
    /// <param name="factors">One for each row.</param>
    /// <param name="numbers">What is added to, as many as a row has.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add(ReadOnlySpan<T> rows, int stride, ReadOnlySpan<float> factors, Span<float> numbers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows.Length, ((factors.Length - 1) * stride) + numbers.Length, nameof(rows));
        ref T first = ref MemoryMarshal.GetReference(rows);
        ref float x = ref MemoryMarshal.GetReference(numbers);
        int whole = numbers.Length / Block * Block;
        for (nuint i = 0; i < (nuint)whole; i += Block)
        {
            // A block of all rows, so that its sums stay in registers.
            Vector512<float> x0 = Vector512.LoadUnsafe(ref x, i), x1 = Vector512.LoadUnsafe(ref x, i + Half);
            for (int row = 0; row < factors.Length; row++)
            {
                Vector512<float> times = Vector512.Create(factors[row]);
                TFormat.Halves(ref Unsafe.Add(ref first, (nint)row * stride), i, out Vector512<float> one, out Vector512<float> other);
                (x0, x1) = (Vector512.FusedMultiplyAdd(one, times, x0), Vector512.FusedMultiplyAdd(other, times, x1));
            }

            x0.StoreUnsafe(ref x, i);
            x1.StoreUnsafe(ref x, i + Half);
        }

        for (int i = whole; i < numbers.Length; i++)
        {
            for (int row = 0; row < factors.Length; row++)
            {
                numbers[i] += TFormat.Read(rows[(row * stride) + i]) * factors[row];
            }
        }
    }

    // Compiled for good at once: the first tokens of a text have no time to wait for it.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four(
        ReadOnlySpan<T> rows, int stride, ReadOnlySpan<float> numbers, Span<float> products, int row0, int row1, int row2, int row3)
    {
        ref T first = ref MemoryMarshal.GetReference(rows);
        ref T r0 = ref Unsafe.Add(ref first, (nint)row0 * stride), r1 = ref Unsafe.Add(ref first, (nint)row1 * stride);
        ref T r2 = ref Unsafe.Add(ref first, (nint)row2 * stride), r3 = ref Unsafe.Add(ref first, (nint)row3 * stride);
        ref float x = ref MemoryMarshal.GetReference(numbers);
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (nuint i = 0; i < (nuint)numbers.Length; i += Block)
        {
            Vector512<float> x0 = Vector512.LoadUnsafe(ref x, i), x1 = Vector512.LoadUnsafe(ref x, i + Half);
            TFormat.Halves(ref r0, i, out Vector512<float> one, out Vector512<float> other);
            (a0, b0) = (Vector512.FusedMultiplyAdd(one, x0, a0), Vector512.FusedMultiplyAdd(other, x1, b0));
            TFormat.Halves(ref r1, i, out one, out other);
            (a1, b1) = (Vector512.FusedMultiplyAdd(one, x0, a1), Vector512.FusedMultiplyAdd(other, x1, b1));
            TFormat.Halves(ref r2, i, out one, out other);
            (a2, b2) = (Vector512.FusedMultiplyAdd(one, x0, a2), Vector512.FusedMultiplyAdd(other, x1, b2));
            TFormat.Halves(ref r3, i, out one, out other);
            (a3, b3) = (Vector512.FusedMultiplyAdd(one, x0, a3), Vector512.FusedMultiplyAdd(other, x1, b3));
        }

        (products[row0], products[row1]) = (Vector512.Sum(a0 + b0), Vector512.Sum(a1 + b1));
        (products[row2], products[row3]) = (Vector512.Sum(a2 + b2), Vector512.Sum(a3 + b3));
    }

    // What is left over of the last block stays where it is.
    private static int Place(int i, int length) => i >= length / Block * Block ? i : (i / Block * Block) + TFormat.Place(i % Block);
}

/// <summary>
/// The numbers of a tensor on the processor, from its first to its last, in the order of memory: what its strides leave out is among them. They are the
/// tensor's own, which has to stay alive meanwhile.
/// </summary>
/// <typeparam name="T">What a number is stored as.</typeparam>
internal readonly unsafe struct TensorNumbers<T>
    where T : unmanaged
{
    private readonly T* _first;
    private readonly long _count;

    /// <summary>Finds them.</summary>
    /// <param name="tensor">The tensor, of numbers of as many bytes.</param>
    public TensorNumbers(Tensor tensor)
    {
        bool contiguous = tensor.is_contiguous();
        _count = contiguous ? tensor.numel() : 1;
        for (int i = 0; !contiguous && i < tensor.dim(); i++)
        {
            _count += (tensor.size(i) - 1) * tensor.stride(i);
        }

        // A span has no room for more, but the first one is at its beginning.
        using Tensor? first = _count * sizeof(T) > int.MaxValue || !contiguous ? tensor.as_strided([1], [1], tensor.storage_offset()) : null;
        _first = (T*)Unsafe.AsPointer(ref MemoryMarshal.GetReference((first ?? tensor).bytes)); // native memory, which stays where it is
    }

    /// <summary>Some of them.</summary>
    public Span<T> Slice(long start, long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start + count, _count);
        return new(_first + start, checked((int)count));
    }
}
