using System.Globalization;

namespace Retro.Search;

/// <summary>
/// Vectors to search among, kept by FAISS (through the names of the FAISS C API, library <c>faiss_c</c>), or by an exact index in managed code where that library is missing.
/// Searching from several threads at once is safe; training, adding, setting parameters and disposing are not, beside anything else.
/// </summary>
public abstract class VectorIndex : IDisposable
{
    private readonly SortedDictionary<string, string> parameters = new(StringComparer.Ordinal);
    private int threads = Environment.ProcessorCount;

    private protected VectorIndex(int dimensions, VectorMetric metric)
    {
        Dimensions = dimensions;
        Metric = metric;
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
    /// Threads used by training, adding and searching; every processor by default. OpenMP keeps its count per thread: for FAISS it is set on the calling
    /// thread around every call and put back, since the runtime is libtorch's as well where libtorch was loaded first.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The number is not positive.</exception>
    public int Threads
    {
        get => threads;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(value);
            threads = value;
        }
    }

    /// <summary>Inverted lists of the index, 0 where it has none (an exact or a graph index).</summary>
    public abstract long ListCount { get; }

    /// <summary>How many of the inverted lists a search looks into; 0 where the index has none.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The number set is not positive.</exception>
    /// <exception cref="InvalidOperationException">Set on an index without inverted lists.</exception>
    public abstract long ProbedLists { get; set; }

    /// <summary>Makes an empty index.</summary>
    /// <param name="dimensions">Numbers in a vector.</param>
    /// <param name="factory">FAISS's factory text, such as "Flat", "IVF256,Flat" or "HNSW32"; <see cref="VectorIndexPlan.For"/> chooses one by size.</param>
    /// <param name="metric">How vectors are compared.</param>
    /// <param name="engine">FAISS, the exact managed index, or whichever there is.</param>
    /// <exception cref="ArgumentOutOfRangeException">The dimension is not positive, or the metric or the engine unknown.</exception>
    /// <exception cref="FaissException">FAISS does not know the factory text; or another index than "Flat" is asked of the exact index, or of any while FAISS's library is missing.</exception>
    public static VectorIndex Create(int dimensions, string factory = VectorIndexPlan.Exact, VectorMetric metric = VectorMetric.SquaredL2, VectorEngine engine = VectorEngine.Auto)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimensions);
        ArgumentException.ThrowIfNullOrWhiteSpace(factory);
        if (!Enum.IsDefined(metric))
        {
            throw new ArgumentOutOfRangeException(nameof(metric), metric, "A metric is inner product or squared L2.");
        }

        if (Choose(engine) == VectorEngine.Faiss)
        {
            return FaissIndex.Make(dimensions, factory, metric);
        }

        return factory == VectorIndexPlan.Exact
            ? new ExactIndex(dimensions, metric)
            : throw new FaissException(
                $"The exact managed index is \"{VectorIndexPlan.Exact}\", and an index \"{factory}\" was asked for, which only FAISS can make: leave the factory text out, or {FaissNative.Remedy}.");
    }

    /// <summary>Opens an index file, written by <see cref="Save"/> or by any other user of FAISS. The file itself says which engine it belongs to.</summary>
    /// <param name="path">The file.</param>
    /// <param name="memoryMapped">
    /// Leaves the vectors of an exact managed index, or the inverted lists of FAISS, in the file and maps them (FAISS's exact and graph indexes are loaded whole).
    /// The file has to stay as it is while the index is open.
    /// </param>
    /// <exception cref="DatabaseException">The file is missing, cut short, or no index that this library or this FAISS can read.</exception>
    /// <exception cref="FaissException">It is an index of FAISS, whose library is missing.</exception>
    public static VectorIndex Open(string path, bool memoryMapped = false)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        if (!File.Exists(path))
        {
            throw new DatabaseException($"The vector index {path} does not exist: build it first.");
        }

        if (ExactIndex.IsOne(path))
        {
            return ExactIndex.Read(path, memoryMapped);
        }

        if (!FaissNative.IsLoaded)
        {
            throw new FaissException($"The vector index {path} was made by FAISS, whose library libfaiss_c cannot be loaded here: build the index again, which makes an exact one, or {FaissNative.Remedy}.");
        }

        return FaissIndex.Read(path, memoryMapped);
    }

    /// <summary>Lets an index with inverted lists or codes learn from vectors what they look like. An exact index needs no training and ignores it.</summary>
    /// <param name="vectors">Vectors one after the other, <c>[n, Dimensions]</c>.</param>
    /// <exception cref="ArgumentException">The length is no multiple of the dimension, there is none, or a number is not finite.</exception>
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
    /// <exception cref="ArgumentException">The length is no multiple of the dimension, or a number is not finite.</exception>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    public void Add(ReadOnlySpan<float> vectors) => Add(vectors, []);

    /// <summary>Adds vectors under numbers of their own. An exact index of FAISS takes them only as "IDMap,Flat", the managed one never.</summary>
    /// <param name="vectors">Vectors one after the other, <c>[n, Dimensions]</c>.</param>
    /// <param name="ids">A number for every vector, none negative; empty to number them on.</param>
    /// <exception cref="ArgumentException">The lengths do not fit, a number of a vector is not finite, or an id is negative.</exception>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    /// <exception cref="InvalidOperationException">The exact managed index got ids.</exception>
    internal void Add(ReadOnlySpan<float> vectors, ReadOnlySpan<long> ids)
    {
        long n = Rows(vectors, nameof(vectors));
        if (ids.Length != 0 && ids.Length != n)
        {
            throw new ArgumentException($"Expected an id for each of {n} vectors, got {ids.Length}.", nameof(ids));
        }

        foreach (long id in ids)
        {
            if (id < 0)
            {
                throw new ArgumentException($"An id must not be negative (FAISS says -1 where it finds nothing), got {id}.", nameof(ids));
            }
        }

        if (n > 0)
        {
            Take(n, vectors, ids);
        }
    }

    /// <summary>Finds the nearest vectors of every query.</summary>
    /// <param name="queries">Queries one after the other, <c>[n, Dimensions]</c>.</param>
    /// <param name="count">Vectors wanted for each query.</param>
    /// <param name="ids"><c>[n, count]</c>: their numbers, nearest first; -1 where the index finds no more.</param>
    /// <param name="distances"><c>[n, count]</c>: squared distances or inner products, NaN beside -1.</param>
    /// <exception cref="ArgumentException">A length does not fit or a number is not finite.</exception>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    public void Search(ReadOnlySpan<float> queries, int count, Span<long> ids, Span<float> distances)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
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
            Find(n, queries, count, ids, distances);
        }
    }

    /// <summary>Reads a vector back; an index that keeps codes gives what the code stands for.</summary>
    /// <param name="id">The vector's number.</param>
    /// <param name="vector">Room for <see cref="Dimensions"/> numbers.</param>
    /// <exception cref="ArgumentException">The room has another size, or the number lies outside of the index.</exception>
    /// <exception cref="FaissException">FAISS cannot read vectors back from this kind of index.</exception>
    internal void Reconstruct(long id, Span<float> vector)
    {
        // Some indexes of FAISS do not check the number at all and would read past their end.
        if (id < 0 || id >= Count)
        {
            throw new ArgumentOutOfRangeException(nameof(id), id, $"The index holds the vectors 0 to {Count - 1}.");
        }

        if (vector.Length != Dimensions)
        {
            throw new ArgumentException($"Expected room for {Dimensions} numbers, got {vector.Length}.", nameof(vector));
        }

        ReadBack(id, vector);
    }

    /// <summary>Removes every vector; what was learned by training stays.</summary>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    internal abstract void Reset();

    /// <summary>Sets one search parameter of FAISS's (the exact managed index has none), such as "nprobe" (lists looked into) or "efSearch" (candidates of a graph).</summary>
    /// <param name="name">The parameter.</param>
    /// <param name="value">Its value.</param>
    /// <exception cref="FaissException">The index has no such parameter.</exception>
    internal void SetParameter(string name, double value)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        Set(name, value);
        parameters[name] = value.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>Sets search parameters from a text such as "nprobe=8" or "nprobe=8,ht=24".</summary>
    /// <param name="text">Names and values; empty changes nothing.</param>
    /// <exception cref="FaissException">The text is badly formed, or the index has no such parameter.</exception>
    public void SetParameters(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.Length == 0)
        {
            return;
        }

        Set(text);
        foreach (string parameter in text.Split([',', ' '], StringSplitOptions.RemoveEmptyEntries))
        {
            string[] pair = parameter.Split('=', 2);
            parameters[pair[0]] = pair[^1];
        }
    }

    /// <summary>Writes the index in its engine's format: beside the file first and through to the disk, so that a whole file is never replaced by half a one.</summary>
    /// <param name="path">The file; its folder has to exist.</param>
    /// <exception cref="DatabaseException">The file cannot be written: the folder is missing or the disk full, for instance.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        string beside = path + ".new";
        try
        {
            Write(beside);
            using (FileStream written = new(beside, FileMode.Open, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0))
            {
                written.Flush(flushToDisk: true);
            }

            File.Move(beside, path, overwrite: true);
        }
        catch (Exception fault) when (fault is FaissException or DatabaseException or IOException or UnauthorizedAccessException)
        {
            TryDelete(beside);
            throw new DatabaseException($"{(fault is FaissException ? fault.Message : $"The vector index {path} cannot be written: {fault.Message}")} Check that its folder exists, can be written and has room.", fault);
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

    /// <summary>The search parameters that were set, by name: "efSearch=64,ht=24".</summary>
    internal string Parameters => string.Join(',', parameters.Select(parameter => $"{parameter.Key}={parameter.Value}"));

    private protected abstract bool IsDisposed { get; }

    private protected abstract void Set(string name, double value);

    private protected abstract void Set(string parameters);

    private protected abstract void TrainOn(long n, ReadOnlySpan<float> vectors);

    private protected abstract void Take(long n, ReadOnlySpan<float> vectors, ReadOnlySpan<long> ids);

    private protected abstract void Find(long n, ReadOnlySpan<float> queries, int count, Span<long> ids, Span<float> distances);

    private protected abstract void ReadBack(long id, Span<float> vector);

    private protected abstract void Write(string path);

    private protected static InvalidOperationException NoLists() => new("The index has no inverted lists, so there is no number of probed lists to set.");

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            // The fault being reported is the one that matters; the leftover bears a name that is never read.
        }
    }

    /// <summary>Number of vectors in a span; refuses what FAISS would take without a word and answer with nonsense.</summary>
    private long Rows(ReadOnlySpan<float> vectors, string parameter)
    {
        if (vectors.Length % Dimensions != 0)
        {
            throw new ArgumentException($"Expected vectors of {Dimensions} numbers each, got {vectors.Length} numbers in all, which is no multiple.", parameter);
        }

        for (int i = 0; i < vectors.Length; i++)
        {
            if (!float.IsFinite(vectors[i]))
            {
                throw new ArgumentException($"Vector {i / Dimensions} holds {vectors[i]} at place {i % Dimensions}: every number has to be finite.", parameter);
            }
        }

        return vectors.Length / Dimensions;
    }
}
