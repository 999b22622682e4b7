using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// softmax(q kᵀ / sqrt(S) + mask + positions) v, by libtorch's fused kernel or by the cheapest explicit form: product, mask added in place, softmax, product;
/// where queries see what stands before them alone, of some queries at a time, with the keys up to the last of them.
/// Heads come first, so that the position term needs no broadcast over the batch and every product is one batched matrix product.
/// </summary>
internal static class AttentionKernel
{
    // Queries that are computed together: the fewer, the less lies after them, and the more calls.
    private const long LeastQueries = 128, MostQueries = 512, LeastBlocks = 8;

    // CUDA's kernels want each part of a mask to begin at a multiple of so many values.
    private const long Aligned = 8;

    // A dimension of a CUDA grid: its fused kernels take a block for each sequence there (https://github.com/pytorch/pytorch/issues/142228).
    private const long MostSequences = 65_535;

    /// <summary>The processor's fused kernel, which tells with what it gives the logarithm of the sum of each query's exponentials.</summary>
    internal static readonly AtenOperator FlashOfProcessor = new("aten::_scaled_dot_product_flash_attention_for_cpu", 2, () =>
        [zeros(1, 1, 1, 1), zeros(1, 1, 1, 1), zeros(1, 1, 1, 1), 0.0, true, AtenArgument.None, AtenArgument.None]);

    /// <summary>Whether the fused kernel is the faster one.</summary>
    /// <remarks>
    /// On the processor in bfloat16 it takes 2 to 5 times as long as the explicit form, whose products come from oneDNN, forward and backward together as for a
    /// decoded token. In float32 it is a little faster, and saves the memory of the weights (tests/Retro.Benchmarks/results/operators.md).
    /// </remarks>
    public static bool IsFused(ScalarType dtype, Device device) => device.type != DeviceType.CPU || dtype != ScalarType.BFloat16;

    /// <summary>Attends.</summary>
    /// <param name="q">[H, N, A, S].</param>
    /// <param name="k">[G, N, L, S], G a divisor of H.</param>
    /// <param name="v">[G, N, L, S].</param>
    /// <param name="mask">Added to the logits, broadcastable to [G, N, H/G·A, L]; null for none.</param>
    /// <param name="causal">Whether queries, which are those of the last A keys, see keys up to their place alone; without mask and positions.</param>
    /// <param name="positions">Position term, divided by sqrt(S); broadcastable to <paramref name="positionShape"/>; null for none.</param>
    /// <param name="positionShape">A shape of as many values as the logits [H, N, A, L] have, in their order.</param>
    /// <param name="window">How many keys a causal query sees at most, that at its own place included; null: all.</param>
    /// <returns>[N, A, H·S].</returns>
    public static Tensor Attend(
        Tensor q, Tensor k, Tensor v, Tensor? mask, bool causal, Tensor? positions, long[]? positionShape, long? window = null)
    {
        long heads = q.shape[0], batch = q.shape[1], queries = q.shape[2], size = q.shape[3], groups = k.shape[0], keys = k.shape[2];
        if (queries == 1 && window < keys)
        {
            long seen = window.Value;
            (k, v, keys, window) = (k.narrow(2, keys - seen, seen), v.narrow(2, keys - seen, seen), seen, null);
        }

        if (TokenAttention.Takes(q, k, v, mask))
        {
            return TokenAttention.Attend(q, k, v, mask, positions?.expand(positionShape!));
        }

        long shared = heads / groups, rows = shared * queries;
        if (causal && keys > queries && window is null && TryInTwoParts(q, k, v) is { } both)
        {
            return both.permute(1, 2, 0, 3).reshape(batch, queries, heads * size);
        }

        if (shared > 1 && causal)
        {
            // Copies of keys cost less than what lies after the query, which further queries of the same keys would compute.
            (k, v, groups, shared, rows) = (Repeated(k, shared), Repeated(v, shared), heads, 1, queries);
        }
        else if (shared > 1)
        {
            // Heads that share keys become further queries of the same keys, so that keys and values are never copied.
            q = Folded(q, groups);
            if (positions is not null)
            {
                positions = positions.expand(positionShape!)
                    .reshape(groups, shared, batch, queries, keys)
                    .permute(0, 2, 1, 3, 4)
                    .reshape(groups * batch, rows, keys);
                positionShape = [groups * batch, rows, keys];
            }
        }

        bool fused = IsFused(q.dtype, q.device) && (q.device_type == DeviceType.CPU || batch <= MostSequences);
        Tensor attended = causal && (!fused || window is not null || keys > queries) ? CausalBlocks(q, k, v, window, fused)
            : fused ? Fused(q, k, v, mask, causal, positions, positionShape)
            : Explicit(q, k, v, mask, positions, positionShape);
        return batch * queries == 1
            ? attended.view(1, 1, heads * size)
            : attended.view(groups, batch, shared, queries, size).permute(1, 3, 0, 2, 4).reshape(batch, queries, heads * size);
    }

    /// <summary>Attends by scaled_dot_product_attention. q, k and v have the same number of heads.</summary>
    internal static Tensor Fused(Tensor q, Tensor k, Tensor v, Tensor? mask, bool causal, Tensor? positions, long[]? positionShape)
    {
        if (positions is not null)
        {
            positions = positions.expand(positionShape!).reshape(q.shape[0], q.shape[1], q.shape[2], k.shape[2]);
            mask = mask is null ? positions : positions.Plus(mask);
        }

        return nn.functional.scaled_dot_product_attention(q, k, v, mask!, 0, causal).contiguous();
    }

    /// <summary>Attends by single operators. q, k and v have the same number of heads.</summary>
    internal static Tensor Explicit(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? positions, long[]? positionShape)
    {
        // The queries are the smallest thing to multiply. baddbmm, which would add the mask on the way, takes no less time, wants the mask once per head,
        // and takes its operands in another order in TorchSharp than in PyTorch.
        Tensor logits = q.Times(1 / Math.Sqrt(q.shape[^1])).matmul(k.transpose(-2, -1));
        if (mask is not null)
        {
            logits.AddInPlace(mask);
        }

        if (positions is not null)
        {
            logits = logits.view(positionShape!).Plus(positions).view(logits.shape);
        }

        return logits.softmax(-1).matmul(v);
    }

    /// <summary>
    /// Attends to the last keys up to each query's place, of some queries at a time, so that no key is computed with that none of them sees. q, k and v have
    /// the same number of heads, and the queries are those of the last keys.
    /// </summary>
    internal static Tensor CausalBlocks(Tensor q, Tensor k, Tensor v, long? window, bool fused)
    {
        long queries = q.shape[2], earlier = k.shape[2] - queries;
        long block = Math.Min(queries, Math.Clamp(queries / LeastBlocks / Aligned * Aligned, LeastQueries, MostQueries));
        // With a window the keys before a block are hidden from some of its queries, too; without one, from none. The fused kernel takes a mask of all keys.
        long before = Math.Min(earlier + queries, window ?? (fused ? long.MaxValue : 1)) - 1;
        before += (((earlier - before) % Aligned) + Aligned) % Aligned;
        Tensor asking = fused ? q : q.Times(1 / Math.Sqrt(q.shape[3])), hidden = AttentionPlan.BandMask(block, before, window, q.dtype, q.device);
        List<Tensor> attended = [];
        for (long start = 0; start < queries; start += block)
        {
            long count = Math.Min(block, queries - start), place = earlier + start, masked = Math.Max(0, place - before), first = window is null ? 0 : masked;
            Tensor mask = hidden.narrow(2, 0, count).narrow(3, masked - (place - before), place + count - masked);
            Tensor some = asking.narrow(2, start, count), keys = k.narrow(2, first, place + count - first), values = v.narrow(2, first, place + count - first);
            attended.Add(fused ? Fused(some, keys, values, mask, false, null, null) : Explicit(some, keys, values, masked - first, mask));
        }

        return attended.Count == 1 ? attended[0] : cat(attended, 2);

        static Tensor Explicit(Tensor q, Tensor keys, Tensor values, long seenByAll, Tensor mask)
        {
            Tensor logits = q.matmul(keys.transpose(-2, -1));
            using (no_grad())
            {
                // A constant: the gradient passes as if nothing were added, and nothing has kept the logits yet.
                logits.narrow(3, seenByAll, mask.shape[3]).AddInPlace(mask);
            }

            return logits.softmax(-1).matmul(values);
        }
    }

    /// <summary>
    /// Attends to the last keys up to each query's place: to those before all queries, which each of them sees, and to the queries' own, which the fused kernel
    /// compares without those that lie after a query, and neither needs a mask. A query's share of either part is that of the sum of its exponentials
    /// (M. Milakov and N. Gimelshein, arXiv 1805.02867). No gradients pass.
    /// </summary>
    /// <returns>[H, N, A, S]; null where libtorch does not give these sums.</returns>
    private static Tensor? TryInTwoParts(Tensor q, Tensor k, Tensor v)
    {
        long heads = q.shape[0], batch = q.shape[1], queries = q.shape[2], groups = k.shape[0], shared = heads / groups, earlier = k.shape[2] - queries;
        bool fits = q.device_type == DeviceType.CPU && q.dtype is ScalarType.Float32 or ScalarType.Float64 && new[] { q, k, v }.All(x => x.stride(-1) == 1);
        if (!fits || is_grad_enabled() || !FlashOfProcessor.IsAvailable)
        {
            return null;
        }

        Tensor OwnOf(Tensor x) => shared > 1 ? Repeated(x.narrow(2, earlier, queries), shared) : x.narrow(2, earlier, queries);
        (Tensor before, Tensor beforeSum) = Flash(shared > 1 ? Folded(q, groups) : q, k.narrow(2, 0, earlier), v.narrow(2, 0, earlier), false);
        (Tensor own, Tensor ownSum) = Flash(q, OwnOf(k), OwnOf(v), true);
        return own.lerp(Unfolded(before), Unfolded(beforeSum.unsqueeze(-1)).sub(ownSum.unsqueeze(-1)).sigmoid());

        static (Tensor Attended, Tensor LogSums) Flash(Tensor q, Tensor k, Tensor v, bool causal)
        {
            Tensor[] results = FlashOfProcessor.Call(q, k, v, 0.0, causal, AtenArgument.None, AtenArgument.None);
            return (results[0], results[1]);
        }

        // [G, N, H/G·A, ..] to [H, N, A, ..].
        Tensor Unfolded(Tensor x)
            => shared == 1 ? x : x.view(groups, batch, shared, queries, -1).permute(0, 2, 1, 3, 4).reshape(heads, batch, queries, -1);
    }

    // [H, N, A, S] to [G, N, H/G·A, S]: the queries of the heads that share keys one after another.
    private static Tensor Folded(Tensor q, long groups)
    {
        (long shared, long batch, long queries, long size) = (q.shape[0] / groups, q.shape[1], q.shape[2], q.shape[3]);
        return q.view(groups, shared, batch, queries, size).permute(0, 2, 1, 3, 4).reshape(groups, batch, shared * queries, size);
    }

    // [G, N, L, S] to [H, N, L, S]: each head's keys beside those of the others that share them.
    private static Tensor Repeated(Tensor x, long times)
    {
        long[] shape = x.shape;
        return x.unsqueeze(1).expand(shape[0], times, shape[1], shape[2], shape[3]).reshape(shape[0] * times, shape[1], shape[2], shape[3]);
    }
}
