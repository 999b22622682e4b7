using Retro.Database;
using Retro.Embedders;

namespace Retro.Search;

/// <summary>
/// The chunks with the nearest keys, which is the retrieval of RETRO (section 2.3). The score is minus the squared distance, or the inner product.
/// It asks the index for more than are wanted, since the excluded documents fall out afterwards, and for more and more until there are enough or the index has
/// no more; an index with inverted lists is then looked into more of them.
/// </summary>
/// <remarks>
/// It owns the index that <see cref="Build"/> or <see cref="Open"/> opened, which is closed with the database at the latest; database and keyer stay the
/// caller's.
/// </remarks>
public sealed class DenseNeighborSource : INeighborSource, IDisposable
{
    /// <summary>Queries searched in one go: enough for matrix products, few enough for the wide rows of a widened search.</summary>
    private const int Block = 512;

    private readonly VectorIndex _index;
    private readonly IChunkKeyer _keyer;
    private readonly bool _ownsIndex;

    /// <summary>Creates the source.</summary>
    /// <param name="database">The database.</param>
    /// <param name="index">The index of its chunks' keys, numbered as the chunks.</param>
    /// <param name="keyer">The function that made those keys.</param>
    /// <param name="ownsIndex">Whether the index is disposed with the source.</param>
    /// <exception cref="DatabaseException">The index holds another number of keys, or keys of another size.</exception>
    internal DenseNeighborSource(ChunkDatabase database, VectorIndex index, IChunkKeyer keyer, bool ownsIndex = false)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(keyer.Identity);
        if (index.Count != database.ChunkCount)
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
        try
        {
            return database.Opened(new DenseNeighborSource(database, index, keyer, ownsIndex: true));
        }
        catch
        {
            index.Dispose();
            throw;
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
        long total = Math.Min(_index.Count, 1 << 28); // a row of more could not be held
        long lists = _index.ListCount;
        long probed = _index.ProbedLists;
        ChunkRange[][] excluded = new ChunkRange[queries.Length][];
        for (int i = 0; i < queries.Length; i++)
        {
            excluded[i] = NeighborQueries.Excluded(Database, queries[i]);
        }

        int[] open = [.. Enumerable.Range(0, queries.Length)];

        // Most neighbors of a chunk stand in its own document, so some more than are wanted are asked for from the start.
        long width = Math.Min(total, count + Math.Min(excluded.Max(ranges => ranges.Sum(range => range.Count)), count + 16));
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            List<int> unmet = [];
            bool exhausted = true;

            // Rows grow as the search widens; the number searched at once shrinks, so that the room stays about the same.
            int group = (int)Math.Clamp((1 << 20) / Math.Max(1, width), 1, open.Length);
            for (int start = 0; start < open.Length; start += group)
            {
                int[] some = open[start..Math.Min(open.Length, start + group)];
                (long[] ids, float[] distances) = Search(some, vectors, (int)width);
                for (int i = 0; i < some.Length; i++)
                {
                    int q = some[i];
                    bool ended = ids.AsSpan(i * (int)width, (int)width).Contains(-1L);
                    int found = Take(
                        ids.AsSpan(i * (int)width, (int)width),
                        distances.AsSpan(i * (int)width, (int)width),
                        excluded[q],
                        chunks.Slice(q * count, count),
                        scores.Slice(q * count, count));
                    if (found < count)
                    {
                        unmet.Add(q);
                        exhausted &= ended;
                    }
                }
            }

            if (unmet.Count == 0 || (width == total && probed == lists))
            {
                return;
            }

            if (probed < lists && (exhausted || width == total))
            {
                probed = Math.Min(lists, 2 * probed);
            }
            else
            {
                width = Math.Min(total, 4 * width);
            }

            open = [.. unmet];
        }

        (long[] Ids, float[] Distances) Search(int[] some, float[] from, int wide)
        {
            float[] asked = new float[some.Length * dimensions];
            for (int i = 0; i < some.Length; i++)
            {
                from.AsSpan(some[i] * dimensions, dimensions).CopyTo(asked.AsSpan(i * dimensions));
            }

            long[] ids = new long[some.Length * wide];
            float[] distances = new float[ids.Length];
            _index.Search(asked, wide, ids, distances, lists > 0 ? probed : null);
            return (ids, distances);
        }
    }

    /// <summary>Takes the best that are not excluded, ties by number; gives how many there are.</summary>
    private int Take(ReadOnlySpan<long> ids, ReadOnlySpan<float> distances, ReadOnlySpan<ChunkRange> excluded, Span<long> chunks, Span<float> scores)
    {
        Span<double> exact = chunks.Length <= 64 ? stackalloc double[chunks.Length] : new double[chunks.Length];
        Ranking best = new(chunks, exact);
        for (int i = 0; i < ids.Length; i++)
        {
            if (ids[i] < 0)
            {
                continue;
            }

            if (ids[i] >= Database.ChunkCount)
            {
                throw new DatabaseException(
                    $"The vector index names chunk {ids[i]} of a database of {Database.ChunkCount}: it is damaged or belongs to another database; "
                        + "build it again.");
            }

            if (!ChunkRanges.Contains(excluded, ids[i]))
            {
                best.Offer(ids[i], _index.Metric == VectorMetric.SquaredL2 ? -distances[i] : distances[i]);
            }
        }

        int found = best.Sort();
        chunks[found..].Fill(-1);
        for (int i = 0; i < scores.Length; i++)
        {
            scores[i] = i < found ? (float)exact[i] : float.NaN;
        }

        return found;
    }
}
