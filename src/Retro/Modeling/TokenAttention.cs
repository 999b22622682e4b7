using System.Buffers;
using TorchSharp;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Attention of one query a sequence, which is what decoding a token takes, on the processor: each key and each value is read once, where it lies, for all
/// heads that share it. It is computed in float32, whatever the states are stored as.
/// </summary>
internal static class TokenAttention
{
    /// <summary>Bytes of keys and values from which another thread is worth its while.</summary>
    private const long BytesOfThread = 1 << 17;

    // So few that they are still in the nearest cache when the next head reads them.
    private const int KeysOfBlock = 64;

    /// <summary>Whether it can be computed here.</summary>
    public static bool Takes(Tensor q, Tensor k, Tensor v, Tensor? mask)
        => !is_grad_enabled() && q.size(2) == 1 && q.device_type == DeviceType.CPU && q.dtype is ScalarType.Float32 or ScalarType.BFloat16
            && k.dtype == q.dtype && v.dtype == q.dtype && k.stride(3) == 1 && v.stride(3) == 1
            && (mask is null || (mask.dim() == 4 && mask.size(0) == 1 && mask.size(2) == 1));

    /// <summary>Attends.</summary>
    /// <param name="q">[H, N, 1, S].</param>
    /// <param name="k">[G, N, L, S], G a divisor of H.</param>
    /// <param name="v">[G, N, L, S'].</param>
    /// <param name="mask">Added to the logits, [1, N or 1, 1, L]; null for none.</param>
    /// <param name="positions">Added to the logits, of H·N·L values in their order; null for none.</param>
    /// <returns>[N, 1, H·S'].</returns>
    public static Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? positions) => q.dtype == ScalarType.Float32
        ? Attend<float, Float32Format>(q, k, v, mask, positions)
        : Attend<ushort, BFloat16Format>(q, k, v, mask, positions);

    private static Tensor Attend<T, TFormat>(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? positions)
        where T : unmanaged
        where TFormat : IRowFormat<T>
    {
        using DisposeScope scope = NewDisposeScope();
        q = q.contiguous();
        positions = positions?.to_type(ScalarType.Float32).contiguous();
        mask = mask?.to_type(ScalarType.Float32).contiguous();
        int heads = (int)q.size(0), rows = (int)q.size(1), size = (int)q.size(3);
        int groups = (int)k.size(0), keys = (int)k.size(2), valueSize = (int)v.size(3), shared = heads / groups;
        long rowsOfMask = mask?.size(1) ?? 0;
        (long Group, long Row) ofKeys = (k.stride(0), k.stride(1)), ofValues = (v.stride(0), v.stride(1));
        int keyStride = (int)k.stride(2), valueStride = (int)v.stride(2);
        TensorNumbers<T> ofQ = new(q), ofK = new(k), ofV = new(v);
        TensorNumbers<float> ofMask = mask is null ? default : new(mask), ofPositions = positions is null ? default : new(positions);
        float scale = (float)(1 / Math.Sqrt(size));
        Tensor attended = empty([rows, 1, heads * valueSize], q.dtype);
        TensorNumbers<T> ofAttended = new(attended);
        long bytes = (long)groups * rows * keys * (size + valueSize) * q.dtype.ElementSize();
        int blocks = groups * rows, threads = (int)Math.Clamp(Math.Min(bytes / BytesOfThread, blocks), 1, get_num_threads());
        WorkerTeam.Shared.Run(blocks, threads, OfBlock);
        GC.KeepAlive(k);
        GC.KeepAlive(v);
        return attended.MoveToOuterDisposeScope();

        // One sequence's queries of the heads that share keys.
        void OfBlock(int block)
        {
            (int group, int row) = Math.DivRem(block, rows);
            float[] buffer = ArrayPool<float>.Shared.Rent(shared * (size + keys + valueSize));
            Span<float> queries = buffer.AsSpan(0, shared * size), weights = buffer.AsSpan(shared * size, shared * keys);
            Span<float> sums = buffer.AsSpan(shared * (size + keys), shared * valueSize);
            for (int i = 0; i < shared; i++)
            {
                StoredRows<T, TFormat>.Load(ofQ.Slice(((((long)group * shared) + i) * rows + row) * size, size), scale, queries.Slice(i * size, size));
            }

            long first = (group * ofKeys.Group) + (row * ofKeys.Row);
            for (int key = 0; key < keys; key += KeysOfBlock)
            {
                int count = Math.Min(KeysOfBlock, keys - key);
                ReadOnlySpan<T> some = ofK.Slice(first + ((long)key * keyStride), ((count - 1) * keyStride) + size);
                for (int i = 0; i < shared; i++)
                {
                    StoredRows<T, TFormat>.Dot(some, keyStride, queries.Slice(i * size, size), weights.Slice((i * keys) + key, count));
                }
            }

            for (int i = 0; i < shared; i++)
            {
                Span<float> logits = weights.Slice(i * keys, keys);
                if (positions is not null)
                {
                    int head = (group * shared) + i;
                    TensorPrimitives.Add(logits, ofPositions.Slice((((long)head * rows) + row) * keys, keys), logits);
                }

                if (mask is not null)
                {
                    TensorPrimitives.Add(logits, ofMask.Slice(rowsOfMask == 1 ? 0 : (long)row * keys, keys), logits);
                }

                TensorPrimitives.Subtract(logits, TensorPrimitives.Max<float>(logits), logits);
                TensorPrimitives.Exp(logits, logits);
                TensorPrimitives.Divide(logits, TensorPrimitives.Sum<float>(logits), logits);
            }

            sums.Clear();
            first = (group * ofValues.Group) + (row * ofValues.Row);
            for (int key = 0; key < keys; key += KeysOfBlock)
            {
                int count = Math.Min(KeysOfBlock, keys - key);
                ReadOnlySpan<T> some = ofV.Slice(first + ((long)key * valueStride), ((count - 1) * valueStride) + valueSize);
                for (int i = 0; i < shared; i++)
                {
                    StoredRows<T, TFormat>.Add(some, valueStride, weights.Slice((i * keys) + key, count), sums.Slice(i * valueSize, valueSize));
                }
            }

            for (int i = 0; i < shared; i++)
            {
                long written = ((long)row * heads) + (group * shared) + i;
                StoredRows<T, TFormat>.Store(sums.Slice(i * valueSize, valueSize), ofAttended.Slice(written * valueSize, valueSize));
            }

            ArrayPool<float>.Shared.Return(buffer);
        }
    }
}
