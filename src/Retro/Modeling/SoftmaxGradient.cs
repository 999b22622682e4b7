using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Cross entropy and its gradient of logits, softmax minus the target, which takes their place. On the processor in three passes over a row in the cache, in
/// float32; libtorch's takes about ten over tensors of all rows, four of which it keeps.
/// </summary>
internal static class SoftmaxGradient
{
    /// <summary>Logits that are worth a second thread.</summary>
    private const long LogitsOfThread = 1 << 17;

    private const int Block = 32;

    /// <summary>Computes them.</summary>
    /// <param name="logits">[N, V]; their numbers are used up.</param>
    /// <param name="targets">[N] of int64.</param>
    /// <param name="scale">What the gradient is multiplied with.</param>
    /// <returns>The sum of the rows' cross entropies, a scalar of float64; and the gradient, [N, V] in the type of the logits.</returns>
    public static (Tensor Loss, Tensor Gradient) Of(Tensor logits, Tensor targets, double scale)
    {
        bool plain = logits.device_type == DeviceType.CPU && logits.is_contiguous();
        if (plain && logits.dtype == ScalarType.Float32)
        {
            return (tensor(InPlace<float, Float32Format>(logits, targets, (float)scale), device: CPU), logits);
        }

        return plain && logits.dtype == ScalarType.BFloat16
            ? (tensor(InPlace<ushort, BFloat16Format>(logits, targets, (float)scale), device: CPU), logits)
            : ByOperators(logits, targets, scale);
    }

    /// <summary>By libtorch's operators, on any device and in any type.</summary>
    internal static (Tensor Loss, Tensor Gradient) ByOperators(Tensor logits, Tensor targets, double scale)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = Precision.AtLeastFloat32(logits), target = targets.unsqueeze(-1), normalizer = x.logsumexp(-1, keepdim: true);
        Tensor loss = (normalizer - x.gather(1, target)).sum(ScalarType.Float64);
        Tensor gradient = x.sub_(normalizer).exp_();
        gradient.scatter_add_(1, target, ones_like(target, gradient.dtype).neg());
        return (loss.MoveToOuterDisposeScope(), gradient.Times(scale).to_type(logits.dtype).MoveToOuterDisposeScope());
    }

    private static double InPlace<T, TFormat>(Tensor logits, Tensor targets, float scale)
        where T : unmanaged
        where TFormat : IRowFormat<T>
    {
        int rows = (int)logits.size(0), width = (int)logits.size(1), threads = get_num_threads();
        TensorNumbers<T> numbers = new(logits);
        long[] wanted = targets.data<long>().ToArray();
        double[] losses = new double[rows];
        int parts = (int)Math.Clamp((long)rows * width / LogitsOfThread, 1, Math.Min(4 * threads, rows));
        WorkerTeam.Shared.Run(parts, threads, part =>
        {
            float[] buffer = ArrayPool<float>.Shared.Rent(width);
            for (int row = (int)((long)rows * part / parts); row < (int)((long)rows * (part + 1) / parts); row++)
            {
                losses[row] = OfRow<T, TFormat>(numbers.Slice((long)row * width, width), (int)wanted[row], scale, buffer.AsSpan(0, width));
            }

            ArrayPool<float>.Shared.Return(buffer);
        });
        GC.KeepAlive(logits);
        return losses.Sum();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double OfRow<T, TFormat>(Span<T> row, int target, float scale, Span<float> buffer)
        where T : unmanaged
        where TFormat : IRowFormat<T>
    {
        ref T stored = ref MemoryMarshal.GetReference(row);
        ref float x = ref MemoryMarshal.GetReference(buffer);
        int whole = row.Length / Block * Block;
        float wanted = TFormat.Read(row[target]), most = float.NegativeInfinity;
        Vector512<float> most0 = Vector512.Create(most), most1 = most0;
        for (nuint i = 0; i < (nuint)whole; i += Block)
        {
            TFormat.Halves(ref stored, i, out Vector512<float> first, out Vector512<float> second);
            first.StoreUnsafe(ref x, i);
            second.StoreUnsafe(ref x, i + (Block / 2));
            (most0, most1) = (Vector512.Max(most0, first), Vector512.Max(most1, second)); // of what is no number, no number
        }

        most0 = Vector512.Max(most0, most1);
        for (int i = 0; i < Vector512<float>.Count; i++)
        {
            most = Math.Max(most, most0[i]);
        }

        for (int i = whole; i < row.Length; i++)
        {
            buffer[i] = TFormat.Read(row[i]);
            most = Math.Max(most, buffer[i]);
        }

        Vector512<float> highest = Vector512.Create(most), sum0 = default, sum1 = default;
        for (nuint i = 0; i < (nuint)whole; i += Block)
        {
            Vector512<float> first = Vector512.Exp(Vector512.LoadUnsafe(ref x, i) - highest);
            Vector512<float> second = Vector512.Exp(Vector512.LoadUnsafe(ref x, i + (Block / 2)) - highest);
            first.StoreUnsafe(ref x, i);
            second.StoreUnsafe(ref x, i + (Block / 2));
            (sum0, sum1) = (sum0 + first, sum1 + second);
        }

        double sum = Vector512.Sum(sum0 + sum1);
        for (int i = whole; i < row.Length; i++)
        {
            buffer[i] = MathF.Exp(buffer[i] - most);
            sum += buffer[i];
        }

        float factor = (float)(scale / sum);
        int place = target >= whole ? target : (target / Block * Block) + TFormat.Place(target % Block);
        buffer[place] -= (float)sum;
        Vector512<float> factors = Vector512.Create(factor);
        for (nuint i = 0; i < (nuint)whole; i += Block)
        {
            TFormat.StoreHalves(Vector512.LoadUnsafe(ref x, i) * factors, Vector512.LoadUnsafe(ref x, i + (Block / 2)) * factors, ref stored, i);
        }

        for (int i = whole; i < row.Length; i++)
        {
            row[i] = TFormat.Nearest(buffer[i] * factor);
        }

        return Math.Log(sum) + most - wanted;
    }
}
