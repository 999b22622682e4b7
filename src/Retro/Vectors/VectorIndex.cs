using System.Globalization;
using System.Numerics.Tensors;

namespace Retro.Vectors;

/// <summary>
/// Vectors to search among, kept by FAISS (through the names of the FAISS C API, library <c>faiss_c</c>), or by an exact index in managed code where that
/// library is missing. Searching from several threads at once is safe, and disposing beside it: what is searched then ends with its answer or says that it was
/// disposed. Training and adding are not safe beside anything else.
/// </summary>
internal abstract class VectorIndex : IDisposable
{
    // Of two vectors no longer than this, no product and no squared distance overflows.
    private const float MostSquaredLength = float.MaxValue / 4;

    private protected VectorIndex(int dimensions, VectorMetric metric, int threads)
    {
        Dimensions = dimensions;
        Metric = metric;
        Threads = ParallelLoop.ThreadsOf(threads);
    }

    /// <summary>Who keeps and compares the vectors: FAISS or the exact managed index.</summary>
    public abstract VectorEngine Engine { get; }

    /// <summary>Numbers in a vector.</summary>
    public int Dimensions { get; }

    /// <summary>How vectors are compared.</summary>
    public VectorMetric Metric { get; }

    /// <summary>Vectors held.</summary>
    public abstract long Count { get; }

    /// <summary>Whether the index can take vectors: an exact index always, one with inverted lists or codes after <see cref="Train"/>.</summary>
    public abstract bool IsTrained { get; }

    /// <summary>
    /// Threads used by training, adding and searching. OpenMP keeps its count per thread: for FAISS it is set on the calling thread around every call and put
    /// back, since the runtime is libtorch's as well where libtorch was loaded first.
    /// </summary>
    public int Threads { get; }

    /// <summary>The search parameters that were set, by name: "efSearch=64,ht=24".</summary>
    public string Parameters { get; private set; } = "";

    /// <summary>Inverted lists of the index, 0 where it has none (an exact or a graph index).</summary>
    public abstract long ListCount { get; }

    /// <summary>How many of the inverted lists a search looks into where it does not say otherwise; 0 where the index has none.</summary>
    public abstract long ProbedLists { get; }

    /// <summary>Whether a search can be limited to some of the vectors.</summary>
    public abstract bool SearchesAmong { get; }

    /// <summary>
    /// Whether every query is compared with all vectors by this library's own search: it leaves out others for each, ties come by number, and an answer depends
    /// on nothing that is asked at once.
    /// </summary>
    public abstract bool ComparesAll { get; }

    /// <summary>Whether what a query finds does not depend on the others, however many are asked at once.</summary>
    public abstract bool AnswersEachByItself { get; }

    /// <summary>Makes an empty index.</summary>
    /// <param name="dimensions">Numbers in a vector.</param>
    /// <param name="factory">FAISS's factory text, such as "Flat", "IVF256,Flat" or "HNSW32"; <see cref="VectorIndexPlan.For"/> chooses one by size.</param>
    /// <param name="metric">How vectors are compared.</param>
    /// <param name="engine">FAISS, the exact managed index, or whichever there is.</param>
    /// <param name="parameters">Search parameters of FAISS's, such as "nprobe=8,ht=24"; empty for none. The exact managed index has none.</param>
    /// <param name="threads">Threads of its work; 0 for one per processor.</param>
    /// <exception cref="ArgumentOutOfRangeException">
    /// The dimension is not positive, the number of threads negative, or the metric or the engine unknown.
    /// </exception>
    /// <exception cref="FaissException">FAISS does not know the factory text or a parameter; or another index than "Flat" is asked of the exact index, or of
    /// any while FAISS's library is missing.</exception>
    public static VectorIndex Create(
        int dimensions,
        string factory = VectorIndexPlan.Exact,
        VectorMetric metric = VectorMetric.SquaredL2,
        VectorEngine engine = VectorEngine.Auto,
        string parameters = "",
        int threads = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimensions);
        ArgumentException.ThrowIfNullOrWhiteSpace(factory);
        if (!Enum.IsDefined(metric))
        {
            throw new ArgumentOutOfRangeException(nameof(metric), metric, "A metric is inner product or squared L2.");
        }

        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        if (Choose(engine) == VectorEngine.Faiss)
        {
            return FaissIndex.Make(dimensions, factory, metric, threads).With(parameters);
        }

        return factory == VectorIndexPlan.Exact
            ? new ExactIndex(dimensions, metric, threads).With(parameters)
            : throw new FaissException(
                $"The exact managed index is \"{VectorIndexPlan.Exact}\", and an index \"{factory}\" was asked for, which only FAISS can make: leave the "
                    + $"factory text out, or {FaissNative.Remedy}.");
    }

    /// <summary>Opens an index file, written by <see cref="Save"/> or by any other user of FAISS. The file itself says which engine it belongs to.</summary>
    /// <param name="path">The file.</param>
    /// <param name="memoryMapped">
    /// Leaves the vectors of an exact managed index, or the inverted lists of FAISS, in the file and maps them (FAISS's exact and graph indexes are loaded
    /// whole). The file has to stay as it is while the index is open.
    /// </param>
    /// <param name="parameters">Search parameters of FAISS's, as in <see cref="Create"/>; empty for those in the file.</param>
    /// <param name="threads">Threads of its work; 0 for one per processor.</param>
    /// <param name="trusted">Gives a file to FAISS, which believes what it says, without a look at it: it may be of any kind then.</param>
    /// <param name="remedy">What to do about a file that is not trusted.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of threads is negative.</exception>
    /// <exception cref="DatabaseException">The file is missing, cut short, or no index that this library or this FAISS can read; or it is not trusted and none
    /// of those that are made by size.</exception>
    /// <exception cref="FaissException">It is an index of FAISS, whose library is missing, or it has no such parameter.</exception>
    public static VectorIndex Open(
        string path, bool memoryMapped = false, string parameters = "", int threads = 0, bool trusted = false, string remedy = "make the index again")
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        if (!File.Exists(path))
        {
            throw new DatabaseException($"The vector index {path} does not exist: build it first.");
        }

        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        if (ExactIndex.IsOne(path))
        {
            return ExactIndex.Read(path, memoryMapped, threads).With(parameters);
        }

        if (!FaissNative.IsLoaded)
        {
            throw new FaissException(
                $"The vector index {path} was made by FAISS, whose library libfaiss_c cannot be loaded here: build the index again, which makes an exact "
                    + $"one, or {FaissNative.Remedy}.");
        }

        if (!trusted && FaissFile.FaultOf(path) is { } fault)
        {
            throw new DatabaseException(
                $"The vector index {path} is none of those that are made by size: {fault}. FAISS trusts what its files say: {remedy}.");
        }

        return FaissIndex.Read(path, memoryMapped, threads).With(parameters);
    }

    /// <summary>Lets an index with inverted lists or codes learn from vectors what they look like. An exact index needs no training and ignores it.</summary>
    /// <param name="vectors">Vectors one after the other, <c>[n, Dimensions]</c>.</param>
    /// <exception cref="ArgumentException">The length is no multiple of the dimension, there is none, or a number is not finite or too large.</exception>
    /// <exception cref="FaissException">FAISS refuses: there are fewer vectors than the index has lists, for instance.</exception>
    public void Train(ReadOnlySpan<float> vectors)
    {
        long n = Rows(vectors, nameof(vectors));
        if (n == 0)
        {
            throw new ArgumentException("There are no vectors to train the index on.", nameof(vectors));
        }

        TrainOn(n, vectors);
    }

    /// <summary>Adds vectors; they get the numbers <see cref="Count"/>, <see cref="Count"/> + 1 and so on.</summary>
    /// <param name="vectors">Vectors one after the other, <c>[n, Dimensions]</c>.</param>
    /// <exception cref="ArgumentException">The length is no multiple of the dimension, or a number is not finite or too large.</exception>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    public void Add(ReadOnlySpan<float> vectors)
    {
        if (Rows(vectors, nameof(vectors)) is var n and > 0)
        {
            Take(n, vectors);
        }
    }

    /// <summary>Finds the nearest vectors of every query.</summary>
    /// <param name="queries">Queries one after the other, <c>[n, Dimensions]</c>.</param>
    /// <param name="count">Vectors wanted for each query.</param>
    /// <param name="ids"><c>[n, count]</c>: their numbers, nearest first; -1 where the index finds no more.</param>
    /// <param name="distances"><c>[n, count]</c>: squared distances or inner products, NaN beside -1.</param>
    /// <param name="probedLists">How many of the inverted lists this search looks into; null for <see cref="ProbedLists"/>.</param>
    /// <param name="among">The vectors that may come, where <see cref="SearchesAmong"/>; null: all.</param>
    /// <param name="excluded">Of each query, the vectors that must not come, where <see cref="ComparesAll"/>; null: none.</param>
    /// <exception cref="ArgumentException">A length does not fit, or a number is not finite or too large.</exception>
    /// <exception cref="InvalidOperationException">A number of lists was given, and the index has none.</exception>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    public void Search(
        ReadOnlySpan<float> queries,
        int count,
        Span<long> ids,
        Span<float> distances,
        long? probedLists = null,
        ChunkSet? among = null,
        ExcludedChunks[]? excluded = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        if (probedLists is { } lists)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lists, nameof(probedLists));
            if (ListCount == 0)
            {
                throw new InvalidOperationException("The index has no inverted lists, so there is no number of probed lists to set.");
            }
        }

        long n = Rows(queries, nameof(queries));
        if (ids.Length != n * count || distances.Length != n * count)
        {
            throw new ArgumentException($"Expected room for {n} rows of {count} ids and distances, got {ids.Length} and {distances.Length}.", nameof(ids));
        }

        if (Count == 0)
        {
            ids.Fill(-1);
            distances.Fill(float.NaN);
        }
        else if (n > 0)
        {
            Find(n, queries, count, ids, distances, probedLists, among, excluded);
        }
    }

    /// <summary>Refuses a number that a search gave and no vector has: FAISS gives what its lists hold, whatever that is.</summary>
    /// <param name="id">The number.</param>
    /// <exception cref="DatabaseException">There is no such vector.</exception>
    public void Require(long id)
    {
        if (id >= Count)
        {
            throw new DatabaseException($"The vector index names key {id} and has {Count}: it is damaged or belongs to another database; build it again.");
        }
    }

    /// <summary>What keeps a vector from being compared, as "holds NaN at place 3"; null where nothing does.</summary>
    public static string? FaultOf(ReadOnlySpan<float> vector)
    {
        // What is not finite makes the sum so, too.
        if (TensorPrimitives.SumOfSquares(vector) <= MostSquaredLength)
        {
            return null;
        }

        int place = 0;
        while (place < vector.Length && float.IsFinite(vector[place]))
        {
            place++;
        }

        return place < vector.Length
            ? string.Create(CultureInfo.InvariantCulture, $"holds {vector[place]} at place {place}: every number has to be finite")
            : string.Create(
                CultureInfo.InvariantCulture,
                $"is too long: the squares of its numbers add up to more than {MostSquaredLength:0.0e+0}, so distances overflow");
    }

    /// <summary>
    /// Writes the index in its engine's format: beside the file first and through to the disk, so that a whole file is never replaced by half a one.
    /// </summary>
    /// <param name="path">The file; its folder has to exist.</param>
    /// <exception cref="DatabaseException">The file cannot be written: the folder is missing or the disk full, for instance.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        try
        {
            AtomicFile.WriteByPath(path, Write, DatabaseException.Of);
        }
        catch (FaissException fault)
        {
            throw new DatabaseException($"{fault.Message} Check that its folder exists, can be written and has room.", fault);
        }
    }

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>The engine that an index will have: what was asked for, or what there is.</summary>
    internal static VectorEngine Choose(VectorEngine asked) => asked switch
    {
        VectorEngine.Auto => FaissNative.IsLoaded ? VectorEngine.Faiss : VectorEngine.Exact,
        VectorEngine.Faiss or VectorEngine.Exact => asked,
        _ => throw new ArgumentOutOfRangeException(nameof(asked), asked, "An engine is Auto, Faiss or Exact."),
    };

    private protected abstract bool IsDisposed { get; }

    private protected abstract void Set(string parameters);

    private protected abstract void TrainOn(long n, ReadOnlySpan<float> vectors);

    private protected abstract void Take(long n, ReadOnlySpan<float> vectors);

    private protected abstract void Find(
        long n,
        ReadOnlySpan<float> queries,
        int count,
        Span<long> ids,
        Span<float> distances,
        long? probedLists,
        ChunkSet? among,
        ExcludedChunks[]? excluded);

    private protected abstract void Write(string path);

    /// <summary>Sets search parameters; those that are not named stay.</summary>
    /// <param name="parameters">Such as "nprobe=16".</param>
    internal void Use(string parameters)
    {
        Set(parameters);
        IEnumerable<string> pairs = $"{Parameters},{parameters}".Split([',', ' '], StringSplitOptions.RemoveEmptyEntries);
        Parameters = string.Join(',', pairs.GroupBy(pair => pair.Split('=')[0]).Select(group => group.Last()).Order(StringComparer.Ordinal));
    }

    /// <summary>The index with its search parameters set; disposed where they are refused.</summary>
    private VectorIndex With(string parameters)
    {
        try
        {
            if (parameters.Length > 0)
            {
                Use(parameters);
            }

            return this;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Number of vectors in a span; refuses what FAISS would take without a word and answer with nonsense.</summary>
    private long Rows(ReadOnlySpan<float> vectors, string parameter)
    {
        if (vectors.Length % Dimensions != 0)
        {
            throw new ArgumentException(
                $"Expected vectors of {Dimensions} numbers each, got {vectors.Length} numbers in all, which is no multiple.", parameter);
        }

        for (int row = 0; row < vectors.Length / Dimensions; row++)
        {
            if (FaultOf(vectors.Slice(row * Dimensions, Dimensions)) is { } fault)
            {
                throw new ArgumentException($"Vector {row} {fault}.", parameter);
            }
        }

        return vectors.Length / Dimensions;
    }
}
