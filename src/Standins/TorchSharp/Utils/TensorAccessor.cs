using System.Collections;
using static TorchSharp.torch;

namespace TorchSharp.Utils;

/// <summary>The elements of a tensor in the CPU's memory, in the order of its dimensions whatever its strides.</summary>
public sealed unsafe class TensorAccessor<T> : IDisposable, IEnumerable<T>
    where T : unmanaged
{
    private readonly long[] sizes;
    private readonly long[] strides;
    private readonly bool contiguous;
    private readonly T* start;
    private Tensor? tensor;

    internal TensorAccessor(Tensor tensor)
    {
        // A wrapper of its own, so that the elements stay even when the tensor is disposed.
        this.tensor = tensor.alias().DetachFromDisposeScope();
        sizes = tensor.shape;
        strides = tensor.stride();
        contiguous = tensor.is_contiguous();
        Count = tensor.NumberOfElements;
        start = (T*)tensor.Data;
    }

    public long Count { get; }

    public bool IsReadOnly => false;

    public T this[params long[] indices]
    {
        get
        {
            T value = start[Offset(indices)];
            GC.KeepAlive(this);
            return value;
        }

        set
        {
            start[Offset(indices)] = value;
            GC.KeepAlive(this);
        }
    }

    public static bool operator ==(TensorAccessor<T> left, TensorAccessor<T> right) => left.Equals(right);

    public static bool operator !=(TensorAccessor<T> left, TensorAccessor<T> right) => !left.Equals(right);

    public T[] ToArray()
    {
        T[] array = new T[Count];
        CopyTo(array.AsSpan());
        return array;
    }

    public Array ToNDArray()
    {
        if (sizes.Length == 0)
        {
            return ToArray();
        }

        Array array = Array.CreateInstance(typeof(T), sizes);
        fixed (byte* target = &System.Runtime.InteropServices.MemoryMarshal.GetArrayDataReference(array))
        {
            CopyTo(new Span<T>(target, checked((int)Count)));
        }

        return array;
    }

    public void CopyTo(T[] array, int arrayIndex = 0, long tensorIndex = 0) => CopyTo(array.AsSpan(), arrayIndex, tensorIndex);

    public void CopyTo(Span<T> array, int arrayIndex = 0, long tensorIndex = 0)
    {
        Span<T> target = array[arrayIndex..];
        int count = checked((int)Math.Min(target.Length, Count - tensorIndex));
        if (contiguous)
        {
            new ReadOnlySpan<T>(Start + tensorIndex, count).CopyTo(target);
        }
        else
        {
            for (int i = 0; i < count; i++)
            {
                target[i] = Start[OffsetOf(tensorIndex + i)];
            }
        }

        GC.KeepAlive(this);
    }

    public void CopyFrom(T[] array, int arrayIndex = 0, long tensorIndex = 0) => CopyFrom(array.AsSpan(), arrayIndex, tensorIndex);

    public void CopyFrom(ReadOnlySpan<T> array, int arrayIndex = 0, long tensorIndex = 0)
    {
        ReadOnlySpan<T> source = array[arrayIndex..];
        int count = checked((int)Math.Min(source.Length, Count - tensorIndex));
        for (int i = 0; i < count; i++)
        {
            Start[contiguous ? tensorIndex + i : OffsetOf(tensorIndex + i)] = source[i];
        }

        GC.KeepAlive(this);
    }

    public IEnumerator<T> GetEnumerator()
    {
        for (long i = 0; i < Count; i++)
        {
            yield return At(i);
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override bool Equals(object? obj) => obj is TensorAccessor<T> other && Count == other.Count && this.SequenceEqual(other);

    public override int GetHashCode()
    {
        HashCode hash = default;
        foreach (T value in this)
        {
            hash.Add(value);
        }

        return hash.ToHashCode();
    }

    public void Dispose()
    {
        tensor?.Dispose();
        tensor = null;
    }

    private T* Start => tensor is not null ? start : throw new ObjectDisposedException(nameof(TensorAccessor<T>));

    private T At(long index) => Start[contiguous ? index : OffsetOf(index)];

    // One number alone counts elements in order, as the original's does.
    private long Offset(long[] indices)
    {
        if (tensor is null)
        {
            throw new ObjectDisposedException(nameof(TensorAccessor<T>));
        }

        if (indices.Length == 1)
        {
            return indices[0] >= 0 && indices[0] < Count
                ? (contiguous ? indices[0] : OffsetOf(indices[0]))
                : throw new IndexOutOfRangeException($"index {indices[0]} of {Count} elements");
        }

        if (indices.Length != sizes.Length)
        {
            throw new ArgumentException($"{indices.Length} indices for {sizes.Length} dimensions");
        }

        long offset = 0;
        for (int i = 0; i < indices.Length; i++)
        {
            if (indices[i] < 0 || indices[i] >= sizes[i])
            {
                throw new IndexOutOfRangeException($"index {indices[i]} of dimension {i}, which has {sizes[i]}");
            }

            offset += indices[i] * strides[i];
        }

        return offset;
    }

    private long OffsetOf(long index)
    {
        long offset = 0;
        for (int i = sizes.Length - 1; i >= 0; i--)
        {
            offset += index % sizes[i] * strides[i];
            index /= sizes[i];
        }

        return offset;
    }
}
