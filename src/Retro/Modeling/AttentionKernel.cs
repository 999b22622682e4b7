using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// softmax(q kᵀ / sqrt(S) + mask + positions) v, by libtorch's fused kernels where it has them (from version 2 on), else by the cheapest explicit form:
/// mask and product in one baddbmm, softmax, bmm. Heads come first, so that the position term needs no broadcast over the batch and every product is one batched matrix product.
/// </summary>
internal static class AttentionKernel
{
    /// <summary>Whether libtorch has scaled_dot_product_attention.</summary>
    public static bool IsFused { get; } =
        int.TryParse(__version__.Split('.')[0], NumberStyles.None, CultureInfo.InvariantCulture, out int major) && major >= 2;

    /// <summary>Brings a mask of [1, N or 1, A or 1, L] into the shape that <see cref="Attend"/> wants, once for all layers.</summary>
    public static Tensor Mask(Tensor mask, long heads)
    {
        if (IsFused)
        {
            return mask.alias();
        }

        long batch = mask.shape[1], queries = mask.shape[2], keys = mask.shape[3];
        return batch == 1 ? mask.view(1, queries, keys) : mask.expand(heads, batch, queries, keys).reshape(heads * batch, queries, keys);
    }

    /// <summary>Attends.</summary>
    /// <param name="q">[H, N, A, S].</param>
    /// <param name="k">[G, N, L, S], G a divisor of H.</param>
    /// <param name="v">[G, N, L, S].</param>
    /// <param name="mask">From <see cref="Mask"/>; null for none.</param>
    /// <param name="causal">Whether queries see keys up to their place alone; only where <see cref="IsFused"/>, A = L and H = G.</param>
    /// <param name="positions">Position term, divided by sqrt(S); broadcastable to <paramref name="positionShape"/>; null for none.</param>
    /// <param name="positionShape">A shape of as many values as the logits [H, N, A, L] have, in their order.</param>
    /// <returns>[N, A, H·S].</returns>
    public static Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? mask, bool causal, Tensor? positions, long[]? positionShape)
    {
        long heads = q.shape[0], batch = q.shape[1], queries = q.shape[2], size = q.shape[3], groups = k.shape[0], keys = k.shape[2];
        long shared = heads / groups, rows = shared * queries;
        if (shared > 1)
        {
            // Heads that share keys become further queries of the same keys, so that keys and values are never copied.
            q = q.view(groups, shared, batch, queries, size).permute(0, 2, 1, 3, 4).reshape(groups, batch, rows, size);
            if (positions is not null)
            {
                positions = positions.expand(positionShape!).reshape(groups, shared, batch, queries, keys).permute(0, 2, 1, 3, 4).reshape(groups * batch, rows, keys);
                positionShape = [groups * batch, rows, keys];
            }
        }

        Tensor attended = IsFused
            ? Fused(q, k, v, mask, causal, positions, positionShape)
            : Explicit(q.reshape(groups * batch, rows, size), k.reshape(groups * batch, keys, size), v.reshape(groups * batch, keys, size), mask, positions, positionShape);
        return attended.view(groups, batch, shared, queries, size).permute(1, 3, 0, 2, 4).reshape(batch, queries, heads * size);
    }

    private static Tensor Fused(Tensor q, Tensor k, Tensor v, Tensor? mask, bool causal, Tensor? positions, long[]? positionShape)
    {
        if (positions is not null)
        {
            positions = positions.expand(positionShape!).reshape(q.shape[0], q.shape[1], q.shape[2], k.shape[2]);
            mask = mask is null ? positions : positions + mask;
        }

        return nn.functional.scaled_dot_product_attention(q, k, v, mask!, 0, causal).contiguous();
    }

    private static Tensor Explicit(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? positions, long[]? positionShape)
    {
        // baddbmm's own factor is a float, too coarse for float64, and the queries are the smallest thing to multiply.
        Tensor scaled = q * (1 / Math.Sqrt(q.shape[^1]));
        Tensor logits = mask is null ? scaled.bmm(k.transpose(1, 2)) : mask.baddbmm(scaled, k.transpose(1, 2));
        if (positions is not null)
        {
            logits = (logits.view(positionShape!) + positions).view(logits.shape);
        }

        return logits.softmax(-1).bmm(v);
    }
}
