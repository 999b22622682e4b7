using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// The position term of Transformer-XL (arXiv 1901.02860, appendix B; specification 1.10): sinusoids of every distance, one row each, and the view that hands
/// query a and key b the row of their distance. Distances are laid out falling, so that a query's keys are a window of the rows, and the window of the next
/// query begins one row earlier: the table of all pairs is then a view of [.., A, W] without any copy.
/// </summary>
internal static class RelativePositions
{
    private const double Base = 10_000;

    /// <summary>Sinusoids of distances first, first − 1, ..., first − count + 1: all sines, then all cosines. [count, width].</summary>
    public static Tensor Sinusoids(long first, long count, int width, ScalarType dtype, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor distances = KeptScalars.Range(first, first - count, -1, ScalarType.Float64, device).unsqueeze(-1);
        double[] frequencies = RotaryTable.Frequencies(width, Base);
        Tensor angles = distances * KeptScalars.Numbers(frequencies, device);
        return cat([angles.sin(), angles.cos()], -1).to_type(dtype).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// How many distances <see cref="Align"/> needs for queries at consecutive positions, the last of which stands at the last key (causal) or anywhere.
    /// </summary>
    public static long Count(long queries, long keys, bool causal) => causal ? keys + 1 : queries + keys;

    /// <summary>Hands each query the scores of its keys' distances. Row W starts with the distance of the last query to the first key.</summary>
    /// <param name="scores">[N, A, W], contiguous: a score for each query and distance.</param>
    /// <param name="keys">L, below W.</param>
    /// <returns>[N, A, L]: scores[n, a, A − 1 − a + b]; a view.</returns>
    public static Tensor Align(Tensor scores, long keys)
    {
        long rows = scores.shape[0], queries = scores.shape[1], width = scores.shape[2];
        return scores.view(rows, queries * width)
            .narrow(1, queries - 1, queries * (width - 1))
            .view(rows, queries, width - 1)
            .narrow(2, 0, keys);
    }
}
