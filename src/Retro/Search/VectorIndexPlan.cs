using System.Globalization;
using System.Numerics;

namespace Retro.Search;

/// <summary>Which FAISS index fits a number of vectors: how it is made, how much it has to see first, and how far it looks.</summary>
/// <param name="Factory">FAISS's factory text, such as "Flat" or "IVF1024,Flat".</param>
/// <param name="TrainingVectors">How many vectors the index is trained on; 0 where it needs no training. Never more than there are.</param>
/// <param name="Parameters">Search parameters such as "nprobe=64"; empty where there is nothing to set.</param>
internal sealed record VectorIndexPlan(string Factory, int TrainingVectors, string Parameters)
{
    /// <summary>The factory text of an index that compares a query with every vector.</summary>
    public const string Exact = "Flat";

    /// <summary>Up to this many vectors the search is exact.</summary>
    public const int ExactLimit = 100_000;

    /// <summary>Vectors a cell of an inverted-list index is trained on: k-means of FAISS warns below 39 and samples down above 256.</summary>
    private const int TrainingVectorsPerList = 64;

    /// <summary>Above this size in bytes the vectors are kept as one byte a number.</summary>
    private const long FullPrecisionBytes = 4L << 30;

    /// <summary>
    /// Chooses by size: exact up to <see cref="ExactLimit"/> vectors; beyond that inverted lists, a power of two between 2·√count and 4·√count of them (the
    /// order FAISS's own guidelines name, https://github.com/facebookresearch/faiss/wiki/Guidelines-to-choose-an-index), of which one in
    /// sixteen is looked into; with one byte a number where the vectors would take more than 4 GiB.
    /// </summary>
    /// <param name="count">Vectors the index will hold.</param>
    /// <param name="dimensions">Numbers in a vector.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is negative or the dimension is not positive.</exception>
    public static VectorIndexPlan For(long count, int dimensions)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimensions);
        if (count <= ExactLimit)
        {
            return new(Exact, 0, "");
        }

        int lists = (int)Math.Min(BitOperations.RoundUpToPowerOf2((uint)Math.Min(2 * Math.Sqrt(count), 1 << 17)), 1 << 17);
        int training = (int)Math.Min(count, (long)lists * TrainingVectorsPerList);
        string storage = count * dimensions * sizeof(float) > FullPrecisionBytes ? "SQ8" : "Flat";
        return new(
            string.Create(CultureInfo.InvariantCulture, $"IVF{lists},{storage}"),
            training,
            string.Create(CultureInfo.InvariantCulture, $"nprobe={Math.Max(1, lists / 16)}"));
    }
}
