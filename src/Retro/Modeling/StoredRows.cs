using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
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

    /// <summary>32 numbers in the order in which <see cref="Halves"/> gives them.</summary>
    static abstract void Arrange(ref Vector512<float> first, ref Vector512<float> second);

    /// <summary>The other way.</summary>
    static abstract void Restore(ref Vector512<float> first, ref Vector512<float> second);

    /// <summary>Where among the two halves a number of the 32 stands.</summary>
    static abstract int Place(int number);

    /// <summary>A row's numbers in float32.</summary>
    static abstract void Read(ReadOnlySpan<T> row, Span<float> numbers);

    /// <summary>The other way: the nearest numbers that can be stored.</summary>
    static abstract void Write(ReadOnlySpan<float> numbers, Span<T> row);

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
    public static void Arrange(ref Vector512<float> first, ref Vector512<float> second)
    {
    }

    /// <inheritdoc/>
    public static void Restore(ref Vector512<float> first, ref Vector512<float> second)
    {
    }

    /// <inheritdoc/>
    public static int Place(int number) => number;

    /// <inheritdoc/>
    public static void Read(ReadOnlySpan<float> row, Span<float> numbers) => row.CopyTo(numbers);

    /// <inheritdoc/>
    public static void Write(ReadOnlySpan<float> numbers, Span<float> row) => numbers.CopyTo(row);

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
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Arrange(ref Vector512<float> first, ref Vector512<float> second)
    {
        Vector512<int> even = Vector512.Create(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14), odd = even + Vector512<int>.One;
        (first, second) = (
            Vector512.Create(Vector512.Shuffle(first, even).GetLower(), Vector512.Shuffle(second, even).GetLower()),
            Vector512.Create(Vector512.Shuffle(first, odd).GetLower(), Vector512.Shuffle(second, odd).GetLower()));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Restore(ref Vector512<float> first, ref Vector512<float> second)
    {
        Vector512<int> turns = Vector512.Create(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
        (first, second) = (
            Vector512.Shuffle(Vector512.Create(first.GetLower(), second.GetLower()), turns),
            Vector512.Shuffle(Vector512.Create(first.GetUpper(), second.GetUpper()), turns));
    }

    /// <inheritdoc/>
    public static int Place(int number) => (number % 2 * 16) + (number / 2);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Read(ReadOnlySpan<ushort> row, Span<float> numbers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(numbers.Length, row.Length, nameof(numbers));
        ref ushort stored = ref MemoryMarshal.GetReference(row);
        ref float x = ref MemoryMarshal.GetReference(numbers);
        int whole = row.Length / Vector512<ushort>.Count * Vector512<ushort>.Count;
        for (nuint i = 0; i < (nuint)whole; i += (nuint)Vector512<ushort>.Count)
        {
            (Vector512<uint> lower, Vector512<uint> upper) = Vector512.Widen(Vector512.LoadUnsafe(ref stored, i));
            (lower << 16).AsSingle().StoreUnsafe(ref x, i);
            (upper << 16).AsSingle().StoreUnsafe(ref x, i + (nuint)Vector512<uint>.Count);
        }

        for (int i = whole; i < row.Length; i++)
        {
            numbers[i] = Read(row[i]);
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Write(ReadOnlySpan<float> numbers, Span<ushort> row)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(row.Length, numbers.Length, nameof(row));
        ref float x = ref MemoryMarshal.GetReference(numbers);
        ref ushort stored = ref MemoryMarshal.GetReference(row);
        int whole = numbers.Length / Vector512<ushort>.Count * Vector512<ushort>.Count;
        for (nuint i = 0; i < (nuint)whole; i += (nuint)Vector512<ushort>.Count)
        {
            Vector512<uint> lower = Rounded(Vector512.LoadUnsafe(ref x, i)) >> 16;
            Vector512<uint> upper = Rounded(Vector512.LoadUnsafe(ref x, i + (nuint)Vector512<uint>.Count)) >> 16;
            Vector512.Narrow(lower, upper).StoreUnsafe(ref stored, i);
        }

        for (int i = whole; i < numbers.Length; i++)
        {
            row[i] = Nearest(numbers[i]);
        }
    }

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
/// with and added to has the format's order, which <see cref="Arrange"/> makes and <see cref="Restore"/> takes back; what
/// is left over of the last 32 numbers stands behind them, in its own.
/// </summary>
/// <typeparam name="T">What a number is stored as.</typeparam>
/// <typeparam name="TFormat">How.</typeparam>
internal static class StoredRows<T, TFormat>
    where T : unmanaged
    where TFormat : IRowFormat<T>
{
    private const int Block = 32, Half = Block / 2;

    // Rows so short that four of them are one stream; of longer ones the processor fetches each ahead by itself.
    private const int MostOfNextRows = 256;

    /// <summary>Numbers times a factor, in the format's order.</summary>
    public static void Arrange(ReadOnlySpan<float> numbers, float factor, Span<float> arranged)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(arranged.Length, numbers.Length, nameof(arranged));
        ref float x = ref MemoryMarshal.GetReference(numbers), y = ref MemoryMarshal.GetReference(arranged);
        int whole = numbers.Length / Block * Block;
        for (nuint i = 0; i < (nuint)whole; i += Block)
        {
            Vector512<float> first = Vector512.LoadUnsafe(ref x, i) * factor, second = Vector512.LoadUnsafe(ref x, i + Half) * factor;
            TFormat.Arrange(ref first, ref second);
            first.StoreUnsafe(ref y, i);
            second.StoreUnsafe(ref y, i + Half);
        }

        for (int i = whole; i < numbers.Length; i++)
        {
            arranged[i] = numbers[i] * factor;
        }
    }

    /// <summary>Puts what stands in the format's order back into its own.</summary>
    public static void Restore(Span<float> numbers)
    {
        ref float x = ref MemoryMarshal.GetReference(numbers);
        for (nuint i = 0; i + Block <= (nuint)numbers.Length; i += Block)
        {
            Vector512<float> first = Vector512.LoadUnsafe(ref x, i), second = Vector512.LoadUnsafe(ref x, i + Half);
            TFormat.Restore(ref first, ref second);
            first.StoreUnsafe(ref x, i);
            second.StoreUnsafe(ref x, i + Half);
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

        // Four rows at a time, so that a number is loaded once for them: of long rows far from one another, as the processor fetches four streams ahead, where
        // it finds no order in four rows of one page. What is left over is done with the last row more than once.
        int quarter = products.Length / 4, last = products.Length - 1, whole = numbers.Length / Block * Block;
        (int next, int apart) = numbers.Length <= MostOfNextRows ? (4, 1) : (1, quarter);
        for (int i = 0; i < quarter; i++)
        {
            int row = i * next;
            Four(rows, stride, numbers[..whole], products, row, row + apart, row + (2 * apart), row + (3 * apart));
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
    public static void Add(ReadOnlySpan<T> rows, int stride, ReadOnlySpan<float> factors, Span<float> numbers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows.Length, ((factors.Length - 1) * stride) + numbers.Length, nameof(rows));
        int whole = numbers.Length / Block * Block, i = 0;
        for (; i + (2 * Block) <= whole; i += 2 * Block)
        {
            AddTwo(rows[i..], stride, factors, numbers[i..]);
        }

        if (i < whole)
        {
            AddOne(rows[i..], stride, factors, numbers[i..]);
        }

        for (i = whole; i < numbers.Length; i++)
        {
            for (int row = 0; row < factors.Length; row++)
            {
                numbers[i] += TFormat.Read(rows[(row * stride) + i]) * factors[row];
            }
        }
    }

    // Two blocks of all rows, so that the sums stay in registers; every other row has sums of its own, for no sum to wait for the one before.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddTwo(ReadOnlySpan<T> rows, int stride, ReadOnlySpan<float> factors, Span<float> numbers)
    {
        ref T r = ref MemoryMarshal.GetReference(rows);
        ref float x = ref MemoryMarshal.GetReference(numbers);
        Vector512<float> a0 = Vector512.LoadUnsafe(ref x), a1 = Vector512.LoadUnsafe(ref x, Half);
        Vector512<float> a2 = Vector512.LoadUnsafe(ref x, Block), a3 = Vector512.LoadUnsafe(ref x, Block + Half);
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default;
        int row = 0;
        for (; row + 2 <= factors.Length; row += 2)
        {
            Vector512<float> times = Vector512.Create(factors[row]), others = Vector512.Create(factors[row + 1]);
            TFormat.Halves(ref r, 0, out Vector512<float> one, out Vector512<float> other);
            (a0, a1) = (Vector512.FusedMultiplyAdd(one, times, a0), Vector512.FusedMultiplyAdd(other, times, a1));
            TFormat.Halves(ref r, Block, out one, out other);
            (a2, a3) = (Vector512.FusedMultiplyAdd(one, times, a2), Vector512.FusedMultiplyAdd(other, times, a3));
            r = ref Unsafe.Add(ref r, stride);
            TFormat.Halves(ref r, 0, out one, out other);
            (b0, b1) = (Vector512.FusedMultiplyAdd(one, others, b0), Vector512.FusedMultiplyAdd(other, others, b1));
            TFormat.Halves(ref r, Block, out one, out other);
            (b2, b3) = (Vector512.FusedMultiplyAdd(one, others, b2), Vector512.FusedMultiplyAdd(other, others, b3));
            r = ref Unsafe.Add(ref r, stride);
        }

        if (row < factors.Length)
        {
            Vector512<float> times = Vector512.Create(factors[row]);
            TFormat.Halves(ref r, 0, out Vector512<float> one, out Vector512<float> other);
            (a0, a1) = (Vector512.FusedMultiplyAdd(one, times, a0), Vector512.FusedMultiplyAdd(other, times, a1));
            TFormat.Halves(ref r, Block, out one, out other);
            (a2, a3) = (Vector512.FusedMultiplyAdd(one, times, a2), Vector512.FusedMultiplyAdd(other, times, a3));
        }

        (a0 + b0).StoreUnsafe(ref x);
        (a1 + b1).StoreUnsafe(ref x, Half);
        (a2 + b2).StoreUnsafe(ref x, Block);
        (a3 + b3).StoreUnsafe(ref x, Block + Half);
    }

    // The same of one block, and of every fourth row.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddOne(ReadOnlySpan<T> rows, int stride, ReadOnlySpan<float> factors, Span<float> numbers)
    {
        ref T r = ref MemoryMarshal.GetReference(rows);
        ref float x = ref MemoryMarshal.GetReference(numbers);
        Vector512<float> a0 = Vector512.LoadUnsafe(ref x), a1 = Vector512.LoadUnsafe(ref x, Half);
        Vector512<float> b0 = default, b1 = default, c0 = default, c1 = default, d0 = default, d1 = default;
        int row = 0;
        for (; row + 4 <= factors.Length; row += 4)
        {
            TFormat.Halves(ref r, 0, out Vector512<float> one, out Vector512<float> other);
            Vector512<float> times = Vector512.Create(factors[row]);
            (a0, a1) = (Vector512.FusedMultiplyAdd(one, times, a0), Vector512.FusedMultiplyAdd(other, times, a1));
            TFormat.Halves(ref Unsafe.Add(ref r, stride), 0, out one, out other);
            times = Vector512.Create(factors[row + 1]);
            (b0, b1) = (Vector512.FusedMultiplyAdd(one, times, b0), Vector512.FusedMultiplyAdd(other, times, b1));
            TFormat.Halves(ref Unsafe.Add(ref r, 2 * stride), 0, out one, out other);
            times = Vector512.Create(factors[row + 2]);
            (c0, c1) = (Vector512.FusedMultiplyAdd(one, times, c0), Vector512.FusedMultiplyAdd(other, times, c1));
            TFormat.Halves(ref Unsafe.Add(ref r, 3 * stride), 0, out one, out other);
            times = Vector512.Create(factors[row + 3]);
            (d0, d1) = (Vector512.FusedMultiplyAdd(one, times, d0), Vector512.FusedMultiplyAdd(other, times, d1));
            r = ref Unsafe.Add(ref r, 4 * stride);
        }

        for (; row < factors.Length; row++)
        {
            TFormat.Halves(ref r, 0, out Vector512<float> one, out Vector512<float> other);
            Vector512<float> times = Vector512.Create(factors[row]);
            (a0, a1) = (Vector512.FusedMultiplyAdd(one, times, a0), Vector512.FusedMultiplyAdd(other, times, a1));
            r = ref Unsafe.Add(ref r, stride);
        }

        (a0 + b0 + (c0 + d0)).StoreUnsafe(ref x);
        (a1 + b1 + (c1 + d1)).StoreUnsafe(ref x, Half);
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

        Vector128<float> sums = Sums(a0 + b0, a1 + b1, a2 + b2, a3 + b3);
        (products[row0], products[row1], products[row2], products[row3]) = (sums[0], sums[1], sums[2], sums[3]);
    }

    // The sum of each of four, in fewer steps than one after the other.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Sums(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d)
    {
        if (!Sse.IsSupported)
        {
            return Vector128.Create(Vector512.Sum(a), Vector512.Sum(b), Vector512.Sum(c), Vector512.Sum(d));
        }

        Vector128<float> a4 = Folded(a), b4 = Folded(b), c4 = Folded(c), d4 = Folded(d);
        Vector128<float> ab = Sse.UnpackLow(a4, b4) + Sse.UnpackHigh(a4, b4), cd = Sse.UnpackLow(c4, d4) + Sse.UnpackHigh(c4, d4);
        return Sse.MoveLowToHigh(ab, cd) + Sse.MoveHighToLow(cd, ab);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Folded(Vector512<float> x)
    {
        Vector256<float> half = x.GetLower() + x.GetUpper();
        return half.GetLower() + half.GetUpper();
    }
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
