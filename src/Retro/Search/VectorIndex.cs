namespace Retro.Search;

/// <summary>
/// Vectors to search among, kept by FAISS (through the names of the FAISS C API, library <c>faiss_c</c>).
/// Searching from several threads at once is safe; training, adding, setting parameters and disposing are not, beside anything else.
/// </summary>
public sealed class VectorIndex : IDisposable
{
    private readonly FaissIndexHandle handle;
    private int threads = Environment.ProcessorCount;

    private VectorIndex(FaissIndexHandle handle)
    {
        this.handle = handle;
        Dimensions = FaissNative.Dimensions(handle);
        Metric = (VectorMetric)FaissNative.Metric(handle);
    }

    /// <summary>Numbers in a vector.</summary>
    public int Dimensions { get; }

    /// <summary>How vectors are compared.</summary>
    public VectorMetric Metric { get; }

    /// <summary>Vectors held.</summary>
    public long Count => FaissNative.Count(Open());

    /// <summary>Whether the index can take vectors: an exact index always, one with inverted lists or codes after <see cref="Train"/>.</summary>
    public bool IsTrained => FaissNative.IsTrained(Open()) != 0;

    /// <summary>
    /// Threads used by training, adding and searching; every processor by default. It is set on the calling thread around every call and
    /// put back, since OpenMP keeps the count per thread and libtorch changes it as well.
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
    public long ListCount
    {
        get
        {
            long count = 0;
            WithLists(lists => count = (long)FaissNative.ListCount(lists));
            return count;
        }
    }

    /// <summary>How many of the inverted lists a search looks into; 0 where the index has none.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The number set is not positive.</exception>
    /// <exception cref="InvalidOperationException">Set on an index without inverted lists.</exception>
    public long ProbedLists
    {
        get
        {
            long count = 0;
            WithLists(lists => count = (long)FaissNative.ProbedLists(lists));
            return count;
        }

        set
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(value);
            if (!WithLists(lists => FaissNative.SetProbedLists(lists, (nuint)value)))
            {
                throw new InvalidOperationException("The index has no inverted lists, so there is no number of probed lists to set.");
            }
        }
    }

    /// <summary>Makes an empty index.</summary>
    /// <param name="dimensions">Numbers in a vector.</param>
    /// <param name="factory">FAISS's factory text, such as "Flat", "IVF256,Flat" or "HNSW32"; <see cref="VectorIndexPlan.For"/> chooses one by size.</param>
    /// <param name="metric">How vectors are compared.</param>
    /// <exception cref="ArgumentOutOfRangeException">The dimension is not positive or the metric unknown.</exception>
    /// <exception cref="FaissException">FAISS does not know the factory text, or its library is missing.</exception>
    public static VectorIndex Create(int dimensions, string factory = "Flat", VectorMetric metric = VectorMetric.SquaredL2)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimensions);
        ArgumentException.ThrowIfNullOrWhiteSpace(factory);
        if (!Enum.IsDefined(metric))
        {
            throw new ArgumentOutOfRangeException(nameof(metric), metric, "A metric is inner product or squared L2.");
        }

        FaissNative.Require();
        FaissNative.Check(
            FaissNative.Factory(out FaissIndexHandle handle, dimensions, factory, (int)metric),
            $"No index \"{factory}\" can be made for vectors of {dimensions} numbers");
        return new(handle);
    }

    /// <summary>Opens an index file, written by <see cref="Save"/> or by any other user of FAISS.</summary>
    /// <param name="path">The file.</param>
    /// <param name="memoryMapped">
    /// Leaves the inverted lists in the file and maps them (exact and graph indexes have none and are loaded whole). The file has to stay as it is while the index is open.
    /// </param>
    /// <exception cref="DatabaseException">The file is missing, cut short, or no index that this FAISS can read.</exception>
    /// <exception cref="FaissException">FAISS's library is missing.</exception>
    public static VectorIndex Open(string path, bool memoryMapped = false)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        FaissNative.Require();
        if (!File.Exists(path))
        {
            throw new DatabaseException($"The vector index {path} does not exist: build it first.");
        }

        try
        {
            FaissNative.Check(FaissNative.Read(path, memoryMapped ? FaissNative.MemoryMap : 0, out FaissIndexHandle handle), $"The vector index {path} cannot be read");
            return new(handle);
        }
        catch (FaissException fault)
        {
            throw new DatabaseException($"{fault.Message} The file is damaged, cut short or no FAISS index: build it again.", fault);
        }
    }

    /// <summary>Lets an index with inverted lists or codes learn from vectors what they look like. An exact index needs no training and ignores it.</summary>
    /// <param name="vectors">Vectors one after the other, <c>[n, Dimensions]</c>.</param>
    /// <exception cref="ArgumentException">The length is no multiple of the dimension, there is none, or a number is not finite.</exception>
    /// <exception cref="FaissException">FAISS refuses: there are fewer vectors than the index has lists, for instance.</exception>
    public unsafe void Train(ReadOnlySpan<float> vectors)
    {
        long n = Rows(vectors, nameof(vectors));
        if (n == 0)
        {
            throw new ArgumentException("There are no vectors to train the index on.", nameof(vectors));
        }

        FaissIndexHandle index = Open();
        fixed (float* x = vectors)
        {
            int former = FaissNative.ExchangeThreads(threads);
            try
            {
                FaissNative.Check(FaissNative.Train(index, n, x), $"The index cannot be trained on {n} vectors");
            }
            finally
            {
                _ = FaissNative.ExchangeThreads(former);
            }
        }
    }

    /// <summary>Adds vectors; they get the numbers <see cref="Count"/>, <see cref="Count"/> + 1 and so on.</summary>
    /// <param name="vectors">Vectors one after the other, <c>[n, Dimensions]</c>.</param>
    /// <exception cref="ArgumentException">The length is no multiple of the dimension, or a number is not finite.</exception>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    public void Add(ReadOnlySpan<float> vectors) => Add(vectors, []);

    /// <summary>Adds vectors under numbers of their own. An exact index takes them only as "IDMap,Flat".</summary>
    /// <param name="vectors">Vectors one after the other, <c>[n, Dimensions]</c>.</param>
    /// <param name="ids">A number for every vector, none negative; empty to number them on.</param>
    /// <exception cref="ArgumentException">The lengths do not fit, a number of a vector is not finite, or an id is negative.</exception>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    public unsafe void Add(ReadOnlySpan<float> vectors, ReadOnlySpan<long> ids)
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

        if (n == 0)
        {
            return;
        }

        FaissIndexHandle index = Open();
        if (!IsTrained)
        {
            throw new FaissException("The index takes no vectors before it has been trained: call Train first.");
        }

        fixed (float* x = vectors)
        fixed (long* numbers = ids)
        {
            int former = FaissNative.ExchangeThreads(threads);
            try
            {
                FaissNative.Check(numbers == null ? FaissNative.Add(index, n, x) : FaissNative.AddWithIds(index, n, x, numbers), $"The index cannot take {n} vectors");
            }
            finally
            {
                _ = FaissNative.ExchangeThreads(former);
            }
        }
    }

    /// <summary>Finds the nearest vectors of every query.</summary>
    /// <param name="queries">Queries one after the other, <c>[n, Dimensions]</c>.</param>
    /// <param name="count">Vectors wanted for each query.</param>
    /// <param name="ids"><c>[n, count]</c>: their numbers, nearest first; -1 where the index finds no more.</param>
    /// <param name="distances"><c>[n, count]</c>: squared distances or inner products, NaN beside -1.</param>
    /// <exception cref="ArgumentException">A length does not fit or a number is not finite.</exception>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    public unsafe void Search(ReadOnlySpan<float> queries, int count, Span<long> ids, Span<float> distances)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        long n = Rows(queries, nameof(queries));
        if (ids.Length != n * count || distances.Length != n * count)
        {
            throw new ArgumentException($"Expected room for {n} rows of {count} ids and distances, got {ids.Length} and {distances.Length}.", nameof(ids));
        }

        FaissIndexHandle index = Open();
        if (n == 0)
        {
            return;
        }

        if (Count == 0)
        {
            ids.Fill(-1);
            distances.Fill(float.NaN);
            return;
        }

        fixed (float* x = queries)
        fixed (long* labels = ids)
        fixed (float* found = distances)
        {
            int former = FaissNative.ExchangeThreads(threads);
            try
            {
                FaissNative.Check(FaissNative.Search(index, n, x, count, found, labels), $"The index cannot be searched for {count} neighbors of {n} queries");
            }
            finally
            {
                _ = FaissNative.ExchangeThreads(former);
            }
        }

        for (int i = 0; i < ids.Length; i++)
        {
            if (ids[i] < 0)
            {
                ids[i] = -1;
                distances[i] = float.NaN;
            }
        }
    }

    /// <summary>Reads a vector back; an index that keeps codes gives what the code stands for.</summary>
    /// <param name="id">The vector's number.</param>
    /// <param name="vector">Room for <see cref="Dimensions"/> numbers.</param>
    /// <exception cref="ArgumentException">The room has another size, or the number lies outside of the index.</exception>
    /// <exception cref="FaissException">FAISS cannot read vectors back from this kind of index.</exception>
    public unsafe void Reconstruct(long id, Span<float> vector)
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

        fixed (float* x = vector)
        {
            FaissNative.Check(FaissNative.Reconstruct(Open(), id, x), $"Vector {id} cannot be read back");
        }
    }

    /// <summary>Removes every vector; what was learned by training stays.</summary>
    /// <exception cref="FaissException">FAISS refuses.</exception>
    public void Reset() => FaissNative.Check(FaissNative.Reset(Open()), "The index cannot be emptied");

    /// <summary>Sets one search parameter of FAISS's, such as "nprobe" (lists looked into) or "efSearch" (candidates of a graph).</summary>
    /// <param name="name">The parameter.</param>
    /// <param name="value">Its value.</param>
    /// <exception cref="FaissException">The index has no such parameter.</exception>
    public void SetParameter(string name, double value)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        WithParameterSpace(space => FaissNative.SetParameter(space, Open(), name, value), $"Parameter {name} cannot be set");
    }

    /// <summary>Sets search parameters from a text such as "nprobe=8" or "nprobe=8,ht=24".</summary>
    /// <param name="text">Names and values; empty changes nothing.</param>
    /// <exception cref="FaissException">The text is badly formed, or the index has no such parameter.</exception>
    public void SetParameters(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.Length > 0)
        {
            WithParameterSpace(space => FaissNative.SetParameters(space, Open(), text), $"The parameters {text} cannot be set");
        }
    }

    /// <summary>Writes the index in FAISS's own format, beside the file first, so that a whole file is never replaced by half a one.</summary>
    /// <param name="path">The file; its folder has to exist.</param>
    /// <exception cref="DatabaseException">The file cannot be written: the folder is missing or the disk full, for instance.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        FaissIndexHandle index = Open();
        string beside = path + ".new";
        try
        {
            FaissNative.Check(FaissNative.Write(index, beside), $"The vector index {path} cannot be written");
            // FAISS's own writer (1.7.3) does not report what fails when the file is closed.
            Open(beside, memoryMapped: true).Dispose();
            File.Move(beside, path, overwrite: true);
        }
        catch (Exception fault) when (fault is FaissException or DatabaseException or IOException or UnauthorizedAccessException)
        {
            TryDelete(beside);
            throw new DatabaseException($"{(fault is FaissException ? fault.Message : $"The vector index {path} cannot be written: {fault.Message}")} Check that its folder exists, can be written and has room.", fault);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();

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

    private static void WithParameterSpace(Func<nint, int> use, string action)
    {
        FaissNative.Check(FaissNative.ParameterSpaceNew(out nint space), action);
        try
        {
            FaissNative.Check(use(space), action);
        }
        finally
        {
            FaissNative.ParameterSpaceFree(space);
        }
    }

    private FaissIndexHandle Open()
    {
        ObjectDisposedException.ThrowIf(handle.IsClosed, this);
        return handle;
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

    /// <summary>Calls back with the inverted-list index inside of id maps and transforms, and says whether there is one.</summary>
    private bool WithLists(Action<nint> use)
    {
        bool held = false;
        FaissIndexHandle index = Open();
        try
        {
            index.DangerousAddRef(ref held);
            nint inner = index.DangerousGetHandle();
            while (true)
            {
                if (FaissNative.AsInvertedLists(inner) is var lists and not 0)
                {
                    use(lists);
                    return true;
                }

                if (FaissNative.AsPreTransform(inner) is var transform and not 0)
                {
                    inner = FaissNative.PreTransformed(transform);
                }
                else if (FaissNative.AsIdMap(inner) is var map and not 0)
                {
                    inner = FaissNative.IdMapped(map);
                }
                else
                {
                    return false;
                }
            }
        }
        finally
        {
            if (held)
            {
                index.DangerousRelease();
            }
        }
    }
}
