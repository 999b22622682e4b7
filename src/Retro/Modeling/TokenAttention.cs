using System.Buffers;
using System.Runtime.CompilerServices;
using TorchSharp;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Keys or values on the processor as they lie in memory: [G, N, L, S] of which each row has its L, or the places of a cache, [G, P, S].</summary>
/// <typeparam name="T">What a number is stored as.</typeparam>
/// <param name="states">Them, the last dimension contiguous; they have to stay alive meanwhile.</param>
/// <param name="pass">Which of a cache's places each row has.</param>
internal readonly struct TokenStates<T>(Tensor states, DecodingPass? pass)
    where T : unmanaged
{
    private readonly TensorNumbers<T> _numbers = new(states);
    private readonly long _ofGroup = states.stride(0), _ofRow = states.stride(1);

    public int Groups { get; } = (int)states.size(0);

    public int Rows { get; } = pass?.Counts.Count ?? (int)states.size(1);

    /// <summary>Of the row that has the most.</summary>
    public int Longest { get; } = pass?.KeyCount ?? (int)states.size(2);

    public int Size { get; } = (int)states.size(-1);

    /// <summary>From one key to the next.</summary>
    public int Stride { get; } = (int)states.stride(-2);

    /// <summary>How many a row has.</summary>
    public int Count(int row) => pass?.Counts[row] ?? Longest;

    /// <summary>Some of a row's.</summary>
    public ReadOnlySpan<T> Some(int group, int row, int first, int some) => _numbers.Slice(
        (group * _ofGroup) + ((pass?.Begin(row) ?? row) * _ofRow) + ((long)first * Stride), ((some - 1) * Stride) + Size);
}

/// <summary>What is added to the logits of single queries.</summary>
/// <param name="Mask">[N or 1, L]; empty: nothing.</param>
/// <param name="Positions">[H, N, L], L of the row that has the most keys; empty: nothing.</param>
/// <param name="Away">[H], logits of one more key, whose value is zero; empty: there is none.</param>
internal readonly record struct TokenLogits(ReadOnlyMemory<float> Mask, ReadOnlyMemory<float> Positions, ReadOnlyMemory<float> Away);

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
            && k.dtype == q.dtype && v.dtype == q.dtype && k.stride(-1) == 1 && v.stride(-1) == 1
            && (mask is null || (mask.dim() == 4 && mask.size(0) == 1 && mask.size(2) == 1));

    /// <summary>Attends.</summary>
    /// <param name="q">[H, N, 1, S].</param>
    /// <param name="k">[G, N, L, S], or of all places of a cache [G, P, S]; G a divisor of H.</param>
    /// <param name="v">[G, N, L, S'], or [G, P, S'].</param>
    /// <param name="mask">Added to the logits, [1, N or 1, 1, L]; null for none.</param>
    /// <param name="positions">Added to the logits, of H·N·L values in their order; null for none.</param>
    /// <param name="pass">Which of a cache's places each row sees; null: all of its L.</param>
    /// <returns>[N, 1, H·S'].</returns>
    public static Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? positions, DecodingPass? pass = null) => q.dtype == ScalarType.Float32
        ? OfTensors<float, Float32Format>(q, k, v, mask, positions, pass)
        : OfTensors<ushort, BFloat16Format>(q, k, v, mask, positions, pass);

    /// <summary>Attends.</summary>
    /// <param name="queries">[N, H, S], H a multiple of G.</param>
    /// <param name="keys">Of N rows and G heads.</param>
    /// <param name="values">As many.</param>
    /// <param name="added">What is added to the logits.</param>
    /// <param name="attended">[N, H, S'], what comes out.</param>
    public static void Attend<T, TFormat>(Memory<float> queries, TokenStates<T> keys, TokenStates<T> values, TokenLogits added, Memory<float> attended)
        where T : unmanaged
        where TFormat : IRowFormat<T>
    {
        int rows = keys.Rows, longest = keys.Longest, size = keys.Size, heads = queries.Length / (rows * size), shared = heads / keys.Groups;
        bool oneMask = added.Mask.Length == longest;
        float scale = (float)(1 / Math.Sqrt(size));
        long all = 0;
        for (int row = 0; row < rows; row++)
        {
            all += keys.Count(row);
        }

        long bytes = keys.Groups * all * (size + values.Size) * Unsafe.SizeOf<T>();
        int blocks = keys.Groups * rows, threads = (int)Math.Clamp(Math.Min(bytes / BytesOfThread, blocks), 1, get_num_threads());
        WorkerTeam.Shared.Run(blocks, threads, OfBlock);

        // One sequence's queries of the heads that share keys.
        void OfBlock(int block)
        {
            (int group, int row) = Math.DivRem(block, rows);
            int count = keys.Count(row);
            float[] buffer = ArrayPool<float>.Shared.Rent(shared * (size + count));
            Span<float> asking = buffer.AsSpan(0, shared * size), weights = buffer.AsSpan(shared * size, shared * count);
            int first = (row * heads) + (group * shared);
            for (int i = 0; i < shared; i++)
            {
                StoredRows<T, TFormat>.Arrange(queries.Span.Slice((first + i) * size, size), scale, asking.Slice(i * size, size));
            }

            for (int key = 0; key < count; key += KeysOfBlock)
            {
                int some = Math.Min(KeysOfBlock, count - key);
                ReadOnlySpan<T> read = keys.Some(group, row, key, some);
                for (int i = 0; i < shared; i++)
                {
                    StoredRows<T, TFormat>.Dot(read, keys.Stride, asking.Slice(i * size, size), weights.Slice((i * count) + key, some));
                }
            }

            for (int i = 0; i < shared; i++)
            {
                int head = (group * shared) + i;
                Span<float> logits = weights.Slice(i * count, count);
                if (!added.Positions.IsEmpty)
                {
                    TensorPrimitives.Add(logits, added.Positions.Span.Slice(((head * rows) + row) * longest, count), logits);
                }

                if (!added.Mask.IsEmpty)
                {
                    TensorPrimitives.Add(logits, added.Mask.Span.Slice(oneMask ? 0 : row * longest, count), logits);
                }

                float most = TensorPrimitives.Max<float>(logits), rest = 0;
                if (!added.Away.IsEmpty)
                {
                    float away = added.Away.Span[head];
                    most = Math.Max(most, away);
                    rest = MathF.Exp(away - most);
                }

                TensorPrimitives.Subtract(logits, most, logits);
                TensorPrimitives.Exp(logits, logits);
                TensorPrimitives.Multiply(logits, 1 / (TensorPrimitives.Sum<float>(logits) + rest), logits);
            }

            Span<float> sums = attended.Span.Slice(first * values.Size, shared * values.Size);
            sums.Clear();
            for (int key = 0; key < count; key += KeysOfBlock)
            {
                int some = Math.Min(KeysOfBlock, count - key);
                ReadOnlySpan<T> read = values.Some(group, row, key, some);
                for (int i = 0; i < shared; i++)
                {
                    StoredRows<T, TFormat>.Add(read, values.Stride, weights.Slice((i * count) + key, some), sums.Slice(i * values.Size, values.Size));
                }
            }

            for (int i = 0; i < shared; i++)
            {
                StoredRows<T, TFormat>.Restore(sums.Slice(i * values.Size, values.Size));
            }

            ArrayPool<float>.Shared.Return(buffer);
        }
    }

    private static Tensor OfTensors<T, TFormat>(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? positions, DecodingPass? pass)
        where T : unmanaged
        where TFormat : IRowFormat<T>
    {
        using DisposeScope scope = NewDisposeScope();
        long heads = q.size(0), rows = q.size(1);
        float[] queries = Numbers(q.squeeze(2).transpose(0, 1))!, attended = new float[rows * heads * v.size(-1)];
        Attend<T, TFormat>(queries, new(k, pass), new(v, pass), new(Numbers(mask), Numbers(positions), default), attended);
        GC.KeepAlive(k);
        GC.KeepAlive(v);
        Tensor result = empty([rows, 1, heads * v.size(-1)], q.dtype, CPU);
        TFormat.Write(attended, new TensorNumbers<T>(result).Slice(0, attended.Length));
        return result.MoveToOuterDisposeScope();

        static float[]? Numbers(Tensor? tensor) => tensor?.to_type(ScalarType.Float32).contiguous().data<float>().ToArray();
    }
}
