using System.Numerics;
using System.Runtime.CompilerServices;
using Retro.Database;
using Retro.Embedders;

namespace Retro.Search;

/// <summary>
/// The chunks with the nearest keys, which is the retrieval of RETRO (section 2.3). The score is minus the squared distance, or the inner product.
/// What a query's labels hide is passed over by the index while it compares, where its kind can (FAISS's exact one and those with inverted lists, and the
/// managed one). It asks the index for more than are wanted, since the excluded documents fall out afterwards, and for more and more until there are enough or
/// the index has no more; an index with inverted lists is then looked into more of them. Chunks without a key (zero: they hold no word) are never found, and a
/// query without one finds nothing. What a query finds does not depend on those asked at once with it.
/// </summary>
/// <remarks>
/// It owns the index that <see cref="Build"/> or <see cref="Open"/> opened, which is closed with the database at the latest; database and keyer stay the
/// caller's.
/// </remarks>
public sealed class DenseNeighborSource : INeighborSource, IDisposable
{
    /// <summary>Queries searched in one go: enough for matrix products, few enough for the wide rows of a widened search.</summary>
    private const int Block = 512;

    /// <summary>
    /// Queries that go to FAISS at once where its scores are taken as they are: below 20 it compares each query by itself, and above all by one product of
    /// matrices, whose rounding depends on their number.
    /// </summary>
    private const int EachByItself = 16;

    private readonly VectorIndex _index;
    private readonly IChunkKeyer _keyer;
    private readonly KeyedChunks _keyed;

    // The keys that FAISS's exact index was made of, to score anew what it finds; null for other indexes, or where they are not there any more.
    private readonly KeyFile? _keys;
    private readonly int _together;
    private readonly bool _ownsIndex;

    // The rows of the index that stand for some chunks.
    private readonly ConditionalWeakTable<ChunkSet, ChunkSet> _rows = [];

    /// <summary>Creates the source.</summary>
    /// <param name="database">The database.</param>
    /// <param name="index">The index of its chunks' keys, numbered as the chunks.</param>
    /// <param name="keyer">The function that made those keys.</param>
    /// <param name="keyed">Which chunks are in the index; all where null.</param>
    /// <param name="keys">The keys of the chunks, to score anew what FAISS's exact index finds; null to take its scores. Disposed with the source.</param>
    /// <param name="ownsIndex">Whether the index is disposed with the source.</param>
    /// <exception cref="DatabaseException">The index holds another number of keys, or keys of another size.</exception>
    internal DenseNeighborSource(
        ChunkDatabase database, VectorIndex index, IChunkKeyer keyer, KeyedChunks? keyed = null, KeyFile? keys = null, bool ownsIndex = false)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(keyer.Identity);
        _keyed = keyed ?? KeyedChunks.All;
        if (index.Count != database.ChunkCount - _keyed.Missing)
        {
            throw new DatabaseException(
                $"The vector index holds {index.Count} keys and the database in {database.Folder} has {database.ChunkCount} chunks: build the index again.");
        }

        if (index.Dimensions != keyer.Dimensions)
        {
            throw new DatabaseException(
                $"The vector index holds keys of {index.Dimensions} numbers and the embedder makes {keyer.Dimensions}: use the embedder the database was "
                    + "made with, or build keys and index again.");
        }

        Database = database;
        _index = index;
        _keyer = keyer;
        _keys = keys;
        _together = index.Engine == VectorEngine.Faiss && keys is null ? EachByItself : Block;
        _ownsIndex = ownsIndex;
        string? file = database.Manifest.Find(VectorIndexFile.FileName)?.Sha256;
        Identity = NeighborQueries.Identity(
            [Name, database.Manifest.TokensHash, KeyIdentity, index.Engine, index.Metric, index.ListCount, index.ProbedLists, index.Parameters, file]);
    }

    /// <inheritdoc/>
    public string Name => "dense";

    /// <inheritdoc/>
    public ChunkDatabase Database { get; }

    /// <inheritdoc/>
    public string KeyIdentity => _keyer.Identity;

    /// <inheritdoc/>
    public string Identity { get; }

    /// <summary>Numbers in a key.</summary>
    internal int Dimensions => _index.Dimensions;

    /// <summary>How keys are compared.</summary>
    internal VectorMetric Metric => _index.Metric;

    /// <summary>
    /// Makes the key of every chunk (<c>keys.bin</c> in the database's folder; in blocks, resumable) and an index of them (<c>index.faiss</c>), and opens the
    /// source. What is there, whole and made of the same things is not made again.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="options">How the keys are indexed and searched; by size where null.</param>
    /// <param name="progress">Told the chunks done; a message says where the exact managed index takes FAISS's place.</param>
    /// <param name="cancellationToken">Stops between blocks, though not FAISS in the middle of training; the next run goes on with the keys there.</param>
    /// <returns>The source; dispose it, or the database.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">A file cannot be written.</exception>
    /// <exception cref="FaissException">FAISS refuses the options, they ask for what only FAISS can do and its library is missing, or the chunks are too few to
    /// train such an index.</exception>
    public static DenseNeighborSource Build(
        ChunkDatabase database,
        IChunkKeyer keyer,
        DenseNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(keyer);
        options = (options ?? new()).Validate();
        KeyFile.Build(database, keyer, !options.MemoryMapped, progress, cancellationToken);
        return From(database, VectorIndexFile.Build(database, options, progress, cancellationToken), keyer);
    }

    /// <summary>Opens the source from what <see cref="Build"/> made; makes nothing.</summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="options">Those that the index has to have been made with, as far as they say, and how it is searched; null for whatever there is.</param>
    /// <param name="progress">Told the bytes checked.</param>
    /// <param name="cancellationToken">Stops the checking.</param>
    /// <returns>The source; dispose it, or the database.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">There is no index, it is damaged, or it was made with another function or other options: both are named.</exception>
    /// <exception cref="FaissException">The index was made by FAISS, whose library is missing.</exception>
    public static DenseNeighborSource Open(
        ChunkDatabase database,
        IChunkKeyer keyer,
        DenseNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(keyer);
        (_, DatabaseFile entry) = StageFile.Require(database, VectorIndexFile.FileName);
        if (entry.Details.GetValueOrDefault(KeyFile.KeyerDetail) is { } made && made != keyer.Identity)
        {
            throw new DatabaseException(
                $"The vector index in {database.Folder} was made with the embedder and tokenizer {made}, and those in use are {keyer.Identity}: use the "
                    + "former, or make keys and index again.");
        }

        return From(database, VectorIndexFile.Open(database, options, progress, cancellationToken), keyer);
    }

    /// <summary>Closes the index that <see cref="Build"/> or <see cref="Open"/> opened.</summary>
    public void Dispose()
    {
        if (_ownsIndex)
        {
            Database.Closed(this);
            _index.Dispose();
            _keys?.Dispose();
        }
    }

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        for (int start = 0; start < queries.Count; start += Block)
        {
            NeighborQuery[] block = new NeighborQuery[Math.Min(Block, queries.Count - start)];
            for (int i = 0; i < block.Length; i++)
            {
                block[i] = queries[start + i];
            }

            float[] vectors = KeysOf(block, cancellationToken);
            FindBlock(
                block, vectors, count, chunks.Slice(start * count, block.Length * count), scores.Slice(start * count, block.Length * count), cancellationToken);
        }
    }

    private static DenseNeighborSource From(ChunkDatabase database, VectorIndex index, IChunkKeyer keyer)
    {
        KeyFile? keys = null;
        try
        {
            keys = KeysOf(database, index, keyer);
            return database.Opened(new DenseNeighborSource(database, index, keyer, KeyedChunks.Open(database), keys, ownsIndex: true));
        }
        catch
        {
            keys?.Dispose();
            index.Dispose();
            throw;
        }
    }

    /// <summary>The keys of FAISS's exact index, where they are there.</summary>
    private static KeyFile? KeysOf(ChunkDatabase database, VectorIndex index, IChunkKeyer keyer)
    {
        if (index.Engine != VectorEngine.Faiss
            || database.Manifest.Find(VectorIndexFile.FileName)?.Details.GetValueOrDefault(VectorIndexFile.FactoryDetail) != VectorIndexPlan.Exact
            || database.Manifest.Find(KeyFile.FileName)?.Details.GetValueOrDefault(KeyFile.KeyerDetail) != keyer.Identity)
        {
            return null;
        }

        try
        {
            return KeyFile.Open(database);
        }
        catch (DatabaseException)
        {
            return null; // the index alone answers as well, more slowly
        }
    }

    /// <summary>The keys of queries: those that came along, the others made in one go.</summary>
    private float[] KeysOf(NeighborQuery[] queries, CancellationToken cancellationToken)
    {
        int dimensions = _index.Dimensions;
        float[] vectors = new float[queries.Length * dimensions];
        List<ReadOnlyMemory<int>> missing = [];
        foreach (ref readonly NeighborQuery query in queries.AsSpan())
        {
            if (query.Key.IsEmpty)
            {
                missing.Add(query.Tokens);
            }
            else if (query.Key.Length != dimensions)
            {
                throw new ArgumentException($"Expected keys of {dimensions} numbers, got one of {query.Key.Length}.", nameof(queries));
            }
        }

        float[] made = new float[missing.Count * dimensions];
        if (missing.Count > 0)
        {
            _keyer.Keys(missing, made, cancellationToken);
        }

        int next = 0;
        for (int i = 0; i < queries.Length; i++)
        {
            ReadOnlySpan<float> key = queries[i].Key.IsEmpty ? made.AsSpan(next++ * dimensions, dimensions) : queries[i].Key.Span;
            key.CopyTo(vectors.AsSpan(i * dimensions));
        }

        return vectors;
    }

    private void FindBlock(NeighborQuery[] queries, float[] vectors, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken)
    {
        int dimensions = _index.Dimensions;
        bool inside = _index.SearchesAmong;
        long lists = _index.ListCount;
        ChunkRange[][] excluded = new ChunkRange[queries.Length][];

        // What a query gets does not depend on the others: each widens its search by itself, and those that look equally far are searched together.
        (long Width, long Probed, ChunkSet? Among)[] efforts = new (long, long, ChunkSet?)[queries.Length];
        ChunkSet?[] visible = new ChunkSet?[queries.Length];
        List<int> open = [];
        chunks.Fill(-1);
        scores.Fill(float.NaN);
        for (int q = 0; q < queries.Length; q++)
        {
            if (!KeyedChunks.IsNone(vectors.AsSpan(q * dimensions, dimensions)))
            {
                excluded[q] = NeighborQueries.Excluded(Database, queries[q]);
                visible[q] = NeighborQueries.Visible(Database, queries[q]);
                ChunkSet? among = inside && visible[q] is { } set ? _rows.GetValue(set, RowsOf) : null;
                if (TotalOf(among) == 0)
                {
                    continue;
                }

                // Most neighbors of a chunk stand in its own document, so some more than are wanted are asked for from the start.
                long more = Math.Min(excluded[q].Sum(range => range.Count), count + 16) + (_keys is null ? 0 : 8);
                long width = (long)BitOperations.RoundUpToPowerOf2((ulong)(count + more));
                efforts[q] = (Math.Min(TotalOf(among), width), _index.ProbedLists, among);
                open.Add(q);
            }
        }

        while (open.Count > 0)
        {
            List<int> unmet = [];
            foreach (IGrouping<(long Width, long Probed, ChunkSet? Among), int> alike in open.GroupBy(q => efforts[q]))
            {
                (long width, long probed, ChunkSet? among) = alike.Key;
                long total = TotalOf(among);

                // Rows grow as a search widens; the number searched at once shrinks, so that the room stays about the same.
                foreach (int[] some in alike.Chunk((int)Math.Clamp((1 << 20) / width, 1, _together)))
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    (long[] ids, float[] distances) = Search(some, (int)width, probed, among);
                    for (int i = 0; i < some.Length; i++)
                    {
                        int q = some[i];
                        ReadOnlySpan<long> row = ids.AsSpan(i * (int)width, (int)width);
                        bool ended = row.Contains(-1L);
                        bool met = Take(
                            row,
                            distances.AsSpan(i * (int)width, (int)width),
                            vectors.AsSpan(q * dimensions, dimensions),
                            ended || width == total,
                            excluded[q],
                            visible[q],
                            chunks.Slice(q * count, count),
                            scores.Slice(q * count, count));
                        if (!met && (width < total || probed < lists))
                        {
                            unmet.Add(q);
                            efforts[q] = probed < lists && (ended || width == total)
                                ? (width, Math.Min(lists, 2 * probed), among)
                                : (Math.Min(total, 4 * width), probed, among);
                        }
                    }
                }
            }

            open = unmet;
        }

        (long[] Ids, float[] Distances) Search(int[] some, int wide, long probed, ChunkSet? among)
        {
            float[] asked = new float[some.Length * dimensions];
            for (int i = 0; i < some.Length; i++)
            {
                vectors.AsSpan(some[i] * dimensions, dimensions).CopyTo(asked.AsSpan(i * dimensions));
            }

            long[] ids = new long[some.Length * wide];
            float[] distances = new float[ids.Length];
            _index.Search(asked, wide, ids, distances, lists > 0 ? probed : null, among);
            return (ids, distances);
        }

        long TotalOf(ChunkSet? among) => Math.Min(among?.Count ?? _index.Count, 1 << 28); // a row of more could not be held
    }

    /// <summary>The rows of the index that stand for some chunks.</summary>
    private ChunkSet RowsOf(ChunkSet chunks)
        => _keyed.Missing == 0
            ? chunks
            : new(_index.Count, Rows(_index.Count).Where(row => chunks.Contains(_keyed.ChunkOf(row))).Select(row => (row, 1L)));

    private static IEnumerable<long> Rows(long count)
    {
        for (long row = 0; row < count; row++)
        {
            yield return row;
        }
    }

    /// <summary>
    /// Takes the best that may come, ties by number, and says whether there are enough. Where the keys are at hand they are scored anew, in one way
    /// whatever was asked beside them; then there have to be so many that what the index left out, by its own rounding, cannot belong to them.
    /// </summary>
    private bool Take(
        ReadOnlySpan<long> rows,
        ReadOnlySpan<float> distances,
        ReadOnlySpan<float> query,
        bool all,
        ReadOnlySpan<ChunkRange> excluded,
        ChunkSet? visible,
        Span<long> chunks,
        Span<float> scores)
    {
        Span<double> exact = chunks.Length <= 64 ? stackalloc double[chunks.Length] : new double[chunks.Length];
        Ranking best = new(chunks, exact);
        double last = double.PositiveInfinity;
        for (int i = 0; i < rows.Length; i++)
        {
            if (rows[i] < 0)
            {
                continue;
            }

            long chunk = _keyed.ChunkOf(rows[i]);
            if (chunk >= Database.ChunkCount)
            {
                throw new DatabaseException(
                    $"The vector index names chunk {chunk} of a database of {Database.ChunkCount}: it is damaged or belongs to another database; "
                        + "build it again.");
            }

            double score = _index.Metric == VectorMetric.SquaredL2 ? -distances[i] : distances[i];
            last = Math.Min(last, score);
            if (visible?.Contains(chunk) != false && !ChunkRanges.Contains(excluded, chunk))
            {
                best.Offer(chunk, _keys is null ? score : Score(query, _keys.Row(chunk)));
            }
        }

        int found = best.Sort();
        chunks[found..].Fill(-1);
        for (int i = 0; i < scores.Length; i++)
        {
            scores[i] = i < found ? (float)exact[i] : float.NaN;
        }

        return found == chunks.Length && (all || _keys is null || last < exact[^1] - Tolerance(query, _keys.Row(chunks[^1])));
    }

    /// <summary>The score of a key, in double precision and in the order of its numbers.</summary>
    private double Score(ReadOnlySpan<float> query, ReadOnlySpan<float> key)
    {
        double sum = 0;
        if (_index.Metric == VectorMetric.InnerProduct)
        {
            for (int j = 0; j < query.Length; j++)
            {
                sum += (double)query[j] * key[j];
            }

            return sum;
        }

        for (int j = 0; j < query.Length; j++)
        {
            double difference = (double)query[j] - key[j];
            sum -= difference * difference;
        }

        return sum;
    }

    /// <summary>How far the index's score of a key may be off: it computes in single precision, squares of lengths and products apart.</summary>
    private static double Tolerance(ReadOnlySpan<float> query, ReadOnlySpan<float> key)
    {
        double squares = 0;
        for (int j = 0; j < query.Length; j++)
        {
            squares += (double)query[j] * query[j] + (double)key[j] * key[j];
        }

        return 1e-5 * squares;
    }
}
