using System.Globalization;
using System.Numerics;

namespace Retro.Vectors;

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
    private const int TrainingVectorsPerList = 64, LeastTrainingVectorsPerList = 39;

    /// <summary>Bytes that the vectors to train on should not take more than.</summary>
    private const long TrainingMemory = 1L << 30;

    /// <summary>Memory that an index may take unless it is said.</summary>
    public const long DefaultMemory = 4L << 30;

    /// <summary>Bytes of a vector beside its numbers: its id.</summary>
    private const int IdBytes = sizeof(long);

    /// <summary>What a factory text says of product codes that FAISS need not make polysemous.</summary>
    private const string NotPolysemous = "np";

    private const int LeastDimensionsOfACode = 2, MostDimensionsOfACode = 16;

    /// <summary>Whether the vectors are kept by fewer bytes than they have, so that what is found has to be compared anew.</summary>
    public bool IsCoded => HasCodes(Factory);

    /// <summary>
    /// Chooses by size and memory: exact up to <see cref="ExactLimit"/> vectors; beyond that inverted lists, a power of two between 2·√count and 4·√count of
    /// them (the order FAISS's own guidelines name, https://github.com/facebookresearch/faiss/wiki/Guidelines-to-choose-an-index). The vectors in them are
    /// whole where they fit the memory, of one byte a number where those do, else product codes of a byte for 2 to 16 numbers. The codes are not polysemous
    /// ("np"): nothing here compares them by their bits, and FAISS anneals for seconds for each of their bytes to make them so. A rotation before them (OPQ)
    /// takes FAISS several times as long to train as the codes, in one piece that nothing can stop, and so has to be asked for. Of the
    /// lists one in sixteen is looked into, until the recall is measured.
    /// </summary>
    /// <param name="count">Vectors the index will hold.</param>
    /// <param name="dimensions">Numbers in a vector.</param>
    /// <param name="memory">Bytes that it should not take more than, where it need not.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is negative, or the dimension or the memory is not positive.</exception>
    public static VectorIndexPlan For(long count, int dimensions, long memory = DefaultMemory)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimensions);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(memory);
        if (count <= ExactLimit)
        {
            return new(Exact, 0, "");
        }

        int lists = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Min(2 * Math.Sqrt(count), 1 << 17));
        long fits = TrainingMemory / (dimensions * (long)sizeof(float));
        int training = (int)Math.Min(count, Math.Clamp(fits, (long)lists * LeastTrainingVectorsPerList, (long)lists * TrainingVectorsPerList));
        long perVector = (memory / count) - IdBytes;
        string factory = perVector >= dimensions * sizeof(float) ? $"IVF{lists},Flat"
            : perVector >= dimensions || CodeBytes(dimensions, perVector) is not { } code ? $"IVF{lists},SQ8"
            : $"IVF{lists},PQ{code}{NotPolysemous}";
        return new(factory, training, string.Create(CultureInfo.InvariantCulture, $"nprobe={Math.Max(1, lists / 16)}"));
    }

    /// <summary>Bytes that an index takes, with what it is trained on; of a kind that is not made by size as many as its vectors take whole.</summary>
    /// <param name="count">Vectors.</param>
    /// <param name="dimensions">Numbers in a vector.</param>
    public long Bytes(long count, int dimensions)
    {
        int code = Factory.LastIndexOf("PQ", StringComparison.Ordinal);
        long vector = Factory.EndsWith("SQ8", StringComparison.Ordinal) ? dimensions
            : code >= 0 && int.TryParse(Factory.AsSpan(code + 2).TrimEnd(NotPolysemous), CultureInfo.InvariantCulture, out int bytes) ? bytes
            : dimensions * sizeof(float);
        return (count * (vector + (Factory == Exact ? 0 : IdBytes))) + ((long)TrainingVectors * dimensions * sizeof(float));
    }

    /// <summary>Whether an index of a factory text keeps vectors by fewer bytes than they have.</summary>
    public static bool HasCodes(string factory) => factory.Contains("PQ", StringComparison.Ordinal) || factory.Contains("SQ", StringComparison.Ordinal);

    /// <summary>
    /// Whether an index of a factory text compares the vectors as they are, and finds each where it looks far enough: codes lose digits, and the links of a
    /// graph do not lead everywhere.
    /// </summary>
    public static bool HoldsWhole(string? factory)
        => factory == Exact
            || (factory?.StartsWith("IVF", StringComparison.Ordinal) == true && factory.EndsWith("," + Exact, StringComparison.Ordinal));

    /// <summary>The most bytes of a product code that fit; where none does, the fewest; null where the numbers cannot be divided so.</summary>
    private static int? CodeBytes(int dimensions, long most)
    {
        int[] codes = [.. Enumerable.Range(1, dimensions)
            .Where(code => dimensions % code == 0 && dimensions / code is >= LeastDimensionsOfACode and <= MostDimensionsOfACode)];
        return codes.Length == 0 ? null : codes.Where(code => code <= most).DefaultIfEmpty(codes[0]).Max();
    }
}
