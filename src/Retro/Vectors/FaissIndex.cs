using System.Globalization;
using System.Text.RegularExpressions;

namespace Retro.Vectors;

/// <summary>Vectors kept by FAISS, through the names of the FAISS C API (library <c>faiss_c</c>).</summary>
internal sealed partial class FaissIndex : VectorIndex
{
    /// <summary>
    /// Queries from which on FAISS compares with all vectors by products of matrices (distance_compute_blas_threshold). Fewer it compares one by one, each of
    /// which goes over all vectors again.
    /// </summary>
    private const int LeastProducts = 20;

    /// <summary>
    /// Queries that FAISS gets at once where what one finds is not to depend on the others: so few it compares each by itself, and above all by one product of
    /// matrices, whose rounding depends on their number.
    /// </summary>
    public const int EachByItself = 16;

    /// <summary>
    /// Vectors, or inverted lists, that a graph of NSG is built of at least. FAISS (1.7.3) ends the process where it divides by how many there are beyond 100,
    /// and where ten that it draws for one of them are all among its 64 nearest, since it looks no farther than those then: of 512 once in two million.
    /// </summary>
    private const int LeastOfNsg = 512;

    /// <summary>Queries that are compared with the centroids together: each time those come from memory, they are used for so many.</summary>
    private const int Group = 64;

    private readonly FaissIndexHandle _handle;

    private readonly Lazy<bool> _searchesAmong, _takesLists, _comparesAll;

    // The number of probed lists belongs to the native index: where FAISS does not take it with the search, searches take turns.
    private readonly Lock _gate = new();

    // How many vectors of the inverted lists a query is compared with, 0 for all; the C API sets it and does not tell it.
    private ulong _mostCodes;

    // Vectors that the index takes at once at least.
    private int _least;

    private FaissIndex(FaissIndexHandle handle, int threads)
        : base(FaissNative.Dimensions(handle), (VectorMetric)FaissNative.Metric(handle), threads)
    {
        _handle = handle;
        (_searchesAmong, _takesLists, _comparesAll) = (new(TrySearchAmong), new(TryTakeLists), new(IsExact));
    }

    public override VectorEngine Engine => VectorEngine.Faiss;

    public override long Count => FaissNative.Count(Handle());

    public override bool IsTrained => FaissNative.IsTrained(Handle()) != 0;

    public override long ListCount
    {
        get
        {
            long count = 0;
            WithLists(lists => count = (long)FaissNative.ListCount(lists));
            return count;
        }
    }

    public override long ProbedLists
    {
        get
        {
            lock (_gate)
            {
                return Probed();
            }
        }
    }

    /// <summary>Makes an empty index of a factory text.</summary>
    public static FaissIndex Make(int dimensions, string factory, VectorMetric metric, int threads)
    {
        FaissNative.Require();
        if (Deadly().Match(factory) is { Success: true } deadly)
        {
            // FAISS ends the process where such an index is trained or filled.
            throw new FaissException(
                $"No index \"{factory}\" can be made: of {deadly.Value} FAISS makes nothing; numbers are 1 at least, of a graph's links 2 (HNSW2), and codes "
                    + "have 24 bits at most.");
        }

        MatchCollection lists = NsgOfLists().Matches(factory);
        if (lists.FirstOrDefault(few => !long.TryParse(few.Groups[1].Value, CultureInfo.InvariantCulture, out long count) || count < LeastOfNsg) is { } graph)
        {
            throw new FaissException(
                $"No index \"{factory}\" can be made: of fewer than {LeastOfNsg} lists FAISS builds no graph of NSG; take one of HNSW "
                    + $"(IVF{graph.Groups[1].Value}_HNSW32), or none (IVF{graph.Groups[1].Value}).");
        }

        FaissNative.Check(
            FaissNative.Factory(out FaissIndexHandle handle, dimensions, factory, (int)metric),
            $"No index \"{factory}\" can be made for vectors of {dimensions} numbers");
        return new(handle, threads) { _least = Nsg().Count(factory) > lists.Count ? LeastOfNsg : 0 };
    }

    /// <summary>Reads a file; the caller has seen that it exists and that FAISS is there.</summary>
    public static FaissIndex Read(string path, bool memoryMapped, int threads)
    {
        try
        {
            FaissNative.Check(
                FaissNative.Read(path, memoryMapped ? FaissNative.MemoryMap : 0, out FaissIndexHandle handle), $"The vector index {path} cannot be read");
            return new(handle, threads);
        }
        catch (FaissException fault)
        {
            throw new DatabaseException($"{fault.Message} The file is damaged, cut short or no FAISS index: build it again.", fault);
        }
    }

    public override void Dispose() => _handle.Dispose();

    public override bool SearchesAmong => _searchesAmong.Value;

    public override bool ComparesAll => _comparesAll.Value;

    public override bool AnswersEachByItself => ListCount > 0 && SearchesAmong;

    private protected override bool IsDisposed => _handle.IsDisposed;

    private protected override unsafe void TrainOn(long n, ReadOnlySpan<float> vectors)
    {
        FaissIndexHandle index = Handle();
        fixed (float* x = vectors)
        {
            using FaissNative.ThreadCount own = new(Threads);
            FaissNative.Check(FaissNative.Train(index, n, x), $"The index cannot be trained on {n} vectors");
        }
    }

    private protected override unsafe void Take(long n, ReadOnlySpan<float> vectors)
    {
        FaissIndexHandle index = Handle();
        if (!IsTrained)
        {
            throw new FaissException("The index takes no vectors before it has been trained: call Train first.");
        }

        if (n < _least)
        {
            throw new FaissException(
                $"The index cannot take {n} vectors: of fewer than {_least} at once FAISS builds no graph of NSG; take one of HNSW (HNSW32), or "
                    + $"\"{VectorIndexPlan.Exact}\".");
        }

        fixed (float* x = vectors)
        {
            using FaissNative.ThreadCount own = new(Threads);
            FaissNative.Check(FaissNative.Add(index, n, x), $"The index cannot take {n} vectors");
        }
    }

    private protected override void Find(
        long n,
        ReadOnlySpan<float> queries,
        int count,
        Span<long> ids,
        Span<float> distances,
        long? probedLists,
        ChunkSet? among,
        ExcludedChunks[]? excluded)
    {
        bool hasLists = ListCount > 0;
        if (hasLists && SearchesAmong)
        {
            FindInLists(n, queries, count, ids, distances, probedLists ?? ProbedLists, among);
            return;
        }

        if (among is not null || excluded is not null)
        {
            if (!TryFindByProducts(n, queries, count, ids, distances, among, excluded))
            {
                FindByParameters(n, queries, count, ids, distances, 0, among, Threads);
            }

            return;
        }

        if (!hasLists)
        {
            if (n >= LeastProducts || !TryFindByProducts(n, queries, count, ids, distances, null))
            {
                Find(n, queries, count, ids, distances);
            }

            return;
        }

        lock (_gate)
        {
            long former = Probed();
            Probe(probedLists ?? former);
            try
            {
                Find(n, queries, count, ids, distances);
            }
            finally
            {
                Probe(former);
            }
        }
    }

    private protected override void Write(string path)
    {
        FaissNative.Check(FaissNative.Write(Handle(), path), $"The vector index {path} cannot be written");
        // FAISS's own writer (1.7.3) does not report what fails when the file is closed: what is cut off then shows in the length that the file says. Kinds of
        // which that is not known are read again, which takes their memory a second time.
        if (FaissFile.FaultOf(path) is not null)
        {
            FaissNative.Check(
                FaissNative.Read(path, FaissNative.MemoryMap, out FaissIndexHandle written), $"The vector index {path} was written and cannot be read again");
            written.Dispose();
        }
    }

    private protected override void Set(string parameters)
    {
        string action = $"The parameters {parameters} cannot be set";
        FaissNative.Check(FaissNative.ParameterSpaceNew(out nint space), action);
        try
        {
            FaissNative.Check(FaissNative.SetParameters(space, Handle(), parameters), action);
            foreach (Match most in MostCodes().Matches(parameters))
            {
                _mostCodes = double.TryParse(most.Groups[1].Value, CultureInfo.InvariantCulture, out double count) && count is >= 1 and < long.MaxValue
                    ? (ulong)count
                    : 0;
            }

            if (ListCount > 0 && ProbedLists < 1)
            {
                throw new FaissException($"{action}: a search looks into 1 of the inverted lists at least (nprobe=1).");
            }
        }
        finally
        {
            FaissNative.ParameterSpaceFree(space);
        }
    }

    private unsafe void Find(long n, ReadOnlySpan<float> queries, int count, Span<long> ids, Span<float> distances)
    {
        fixed (float* x = queries)
        fixed (long* labels = ids)
        fixed (float* found = distances)
        {
            using FaissNative.ThreadCount own = new(Threads);
            FaissNative.Check(
                FaissNative.Search(Handle(), n, x, count, found, labels), $"The index cannot be searched for {count} neighbors of {n} queries");
        }

        Clean(ids, distances);
    }

    /// <summary>
    /// Compares queries with all vectors of FAISS's exact index by this library's own search, where FAISS would go over them for each query anew, as it does
    /// for few queries and for any number that may see only some of the vectors: among 100,000 that is a tenth to a seventh of the time for 16 queries.
    /// </summary>
    /// <returns>Whether it was done: not with another kind of index.</returns>
    private unsafe bool TryFindByProducts(
        long n, ReadOnlySpan<float> queries, int count, Span<long> ids, Span<float> distances, ChunkSet? among, ExcludedChunks[]? excluded = null)
    {
        using SharedHandle.Held held = Handle().Hold();
        return TryFindByProducts(held.Address, n, queries, count, ids, distances, among, Threads, excluded);
    }

    private unsafe bool TryFindByProducts(
        nint index,
        long n,
        ReadOnlySpan<float> queries,
        int count,
        Span<long> ids,
        Span<float> distances,
        ChunkSet? among,
        int threads,
        ExcludedChunks[]? excluded = null)
    {
        if (!IsExact(index))
        {
            return false;
        }

        FaissNative.ExactVectors(FaissNative.AsExact(index), out float* vectors, out nuint numbers);
        fixed (float* x = queries)
        fixed (long* found = ids)
        fixed (float* values = distances)
        {
            VectorMetric metric = (VectorMetric)FaissNative.Metric(index);
            new ExactSearch(vectors, (long)numbers / Dimensions, Dimensions, metric, threads, among, excluded).Find(x, (int)n, count, found, values);
        }

        return true;
    }

    private bool IsExact()
    {
        using SharedHandle.Held held = Handle().Hold();
        return IsExact(held.Address);
    }

    private static bool IsExact(nint index) => FaissNative.AsExact(index) != 0 && Enum.IsDefined((VectorMetric)FaissNative.Metric(index));

    /// <summary>
    /// Looks into inverted lists for groups of queries, each on a thread of its own: so few at once FAISS would leave the other threads idle. Which lists, this
    /// library's own search says where it can: FAISS would compare queries that are not to depend on each other with the centroids one by one.
    /// </summary>
    private unsafe void FindInLists(long n, ReadOnlySpan<float> queries, int count, Span<long> ids, Span<float> distances, long lists, ChunkSet? among)
    {
        bool alone = n <= EachByItself;
        int size = alone ? (int)n : (int)Math.Min((n + Threads - 1) / Threads, _takesLists.Value ? Group : EachByItself), dimensions = Dimensions;
        int threads = alone ? Threads : 1, probed = (int)Math.Min(lists, ListCount);
        fixed (float* x = queries)
        fixed (long* labels = ids)
        fixed (float* found = distances)
        {
            (nint asked, nint numbers, nint values) = ((nint)x, (nint)labels, (nint)found);
            ParallelLoop.For((int)((n + size - 1) / size), FindGroup, Threads);
            void FindGroup(int group)
            {
                long first = (long)group * size;
                int some = (int)Math.Min(size, n - first);
                ReadOnlySpan<float> vectors = new((float*)asked + (first * dimensions), some * dimensions);
                (long[] nearest, float[] near) = _takesLists.Value ? Nearest(some, vectors, probed, threads) : ([], []);
                FindByParameters(
                    some,
                    vectors,
                    count,
                    new((long*)numbers + (first * count), some * count),
                    new((float*)values + (first * count), some * count),
                    probed,
                    among,
                    threads,
                    nearest,
                    near);
            }
        }
    }

    /// <summary>The lists whose centroids are nearest, <c>[n, lists]</c>, and how near they are.</summary>
    private (long[] Lists, float[] Distances) Nearest(int n, ReadOnlySpan<float> queries, int lists, int threads)
    {
        (long[] nearest, float[] distances) = (new long[n * lists], new float[n * lists]);
        using SharedHandle.Held held = Handle().Hold();
        TryFindByProducts(
            FaissNative.Quantizer(FaissNative.AsInvertedLists(held.Address)), n, queries, lists, nearest, distances, null, threads);
        return (nearest, distances);
    }

    /// <summary>
    /// Searches with parameters of the search's own, which stand for all that the index has: how many lists are looked into, 0 where there are none, how many
    /// of their vectors, and which ids count. FAISS passes over those whose bits are not set while it compares.
    /// </summary>
    private unsafe void FindByParameters(
        long n,
        ReadOnlySpan<float> queries,
        int count,
        Span<long> ids,
        Span<float> distances,
        long lists,
        ChunkSet? among,
        int threads,
        ReadOnlySpan<long> given = default,
        ReadOnlySpan<float> centroidDistances = default)
    {
        using SharedHandle.Held held = Handle().Hold();
        nint selector = 0, parameters = 0;
        fixed (float* x = queries)
        fixed (long* labels = ids)
        fixed (float* found = distances)
        fixed (byte* bits = among is null ? [] : among.Bytes)
        fixed (long* nearest = given)
        fixed (float* near = centroidDistances)
        {
            using FaissNative.ThreadCount own = new(threads);
            try
            {
                string action = $"The index cannot be searched for {count} neighbors of {n} queries among {among?.Count ?? Count} vectors";
                if (among is not null)
                {
                    FaissNative.Check(FaissNative.BitmapNew(out selector, (nuint)among.Bytes.Length, bits), action);
                }

                FaissNative.Check(
                    lists > 0
                        ? FaissNative.SearchParametersNewForLists(out parameters, selector, (nuint)lists, (nuint)_mostCodes)
                        : FaissNative.SearchParametersNew(out parameters, selector),
                    action);
                FaissNative.Check(
                    given.IsEmpty
                        ? FaissNative.SearchWith(_handle, n, x, count, parameters, found, labels)
                        : FaissNative.SearchGivenLists(
                            FaissNative.AsInvertedLists(held.Address), n, x, count, nearest, near, parameters, found, labels),
                    action);
            }
            finally
            {
                FaissNative.SearchParametersFree(parameters);
                FaissNative.SelectorFree(selector);
            }
        }

        Clean(ids, distances);
    }

    private static void Clean(Span<long> ids, Span<float> distances)
    {
        for (int i = 0; i < ids.Length; i++)
        {
            if (ids[i] < 0)
            {
                ids[i] = -1;
                distances[i] = float.NaN;
            }
        }
    }

    /// <summary>
    /// Exact indexes can, and of those with inverted lists the ones that our library knows to; graphs refuse in FAISS 1.7.3, and so do additive codes, but
    /// from inside a parallel region.
    /// </summary>
    private bool TrySearchAmong()
    {
        if (!FaissNative.SearchesAmong)
        {
            return false;
        }

        try
        {
            // Kinds that would pass the selection over without a word find something among nothing. (Where one neighbor is wanted, FAISS's exact index finds
            // the first among nothing, too.)
            long[] found = [-1, -1];
            FindByParameters(1, new float[Dimensions], 2, found, new float[2], ListCount > 0 ? ProbedLists : 0, new ChunkSet(Count, []), Threads);
            return found[0] < 0;
        }
        catch (FaissException)
        {
            return false;
        }
    }

    /// <summary>Whether it takes the lists that are to be looked into: not where vectors are transformed first, and centroids in no exact index.</summary>
    private bool TryTakeLists()
    {
        using SharedHandle.Held held = Handle().Hold();
        nint lists = FaissNative.SearchesGivenLists ? FaissNative.AsInvertedLists(held.Address) : 0;
        float[] query = new float[Dimensions], distances = new float[1];
        long[] nearest = new long[1];
        try
        {
            if (lists == 0 || !TryFindByProducts(FaissNative.Quantizer(lists), 1, query, 1, nearest, distances, null, 1))
            {
                return false;
            }

            FindByParameters(1, query, 1, new long[1], new float[1], 1, null, 1, nearest, distances);
            return true;
        }
        catch (FaissException)
        {
            return false; // as those that scan fast
        }
    }

    private long Probed()
    {
        long count = 0;
        WithLists(lists => count = (long)FaissNative.ProbedLists(lists));
        return count;
    }

    private void Probe(long count) => WithLists(lists => FaissNative.SetProbedLists(lists, (nuint)count));

    private FaissIndexHandle Handle()
    {
        ObjectDisposedException.ThrowIf(_handle.IsDisposed, this);
        return _handle;
    }

    /// <summary>Calls back with the inverted-list index inside of id maps and transforms, and says whether there is one.</summary>
    private bool WithLists(Action<nint> use)
    {
        using SharedHandle.Held held = Handle().Hold();
        nint inner = held.Address;
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

    [GeneratedRegex(@"(?<![^, ])max_codes=([^, ]*)")]
    private static partial Regex MostCodes();

    [GeneratedRegex("(?<![A-Za-z])NSG")]
    private static partial Regex Nsg();

    // The graph that leads to the inverted lists (IVF256_NSG16, IVF256(NSG16)), and how many lists these are.
    [GeneratedRegex(@"IVF(\d+)(?:_|\((?:(?!IVF)[^()])*?)(?<![A-Za-z])NSG\d*")]
    private static partial Regex NsgOfLists();

    // A number that is 0, of a graph's links 1, and more than 24 bits of a code (PQ4x64).
    [GeneratedRegex(@"(?<![\d.])0+(?![\d.])|\bHNSW0*1(?!\d)|(?<=_)HNSW0*1(?!\d)|(?<!Lattice\d+)x0*(?:2[5-9]|[3-9]\d|[1-9]\d{2,})(?!\d)")]
    private static partial Regex Deadly();
}
