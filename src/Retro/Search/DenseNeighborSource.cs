using Retro.Database;
using Retro.Embedders;
using Retro.Vectors;

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
    private readonly IChunkKeyer _keyer;

    // One for each segment of the database, or one for all chunks as the database numbers them.
    private readonly DenseIndex[] _indexes;
    private readonly bool _bySegment;
    private readonly bool _ownsIndex;

    /// <summary>Creates the source.</summary>
    /// <param name="database">The database.</param>
    /// <param name="index">The index of its chunks' keys, numbered as the chunks.</param>
    /// <param name="keyer">The function that made those keys.</param>
    /// <param name="keyed">Which chunks are in the index; all where null.</param>
    /// <param name="ownsIndex">Whether the index is disposed with the source.</param>
    /// <exception cref="DatabaseException">The index holds another number of keys, or keys of another size.</exception>
    internal DenseNeighborSource(ChunkDatabase database, VectorIndex index, IChunkKeyer keyer, KeyedChunks? keyed = null, bool ownsIndex = false)
        : this(database, [new DenseIndex(database, index, keyer.Dimensions, keyed)], keyer, bySegment: false, ownsIndex)
    {
    }

    private DenseNeighborSource(ChunkDatabase database, DenseIndex[] indexes, IChunkKeyer keyer, bool bySegment, bool ownsIndex)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(keyer.Identity);
        Database = database;
        _indexes = indexes;
        _keyer = keyer;
        _bySegment = bySegment;
        _ownsIndex = ownsIndex;
        if (Array.Find(indexes, index => index.Metric != indexes[0].Metric) is { } other)
        {
            throw new DatabaseException(
                $"The vector indexes of the database compare by {indexes[0].Metric} and by {other.Metric}, whose scores cannot be ranked together: build them "
                    + "with one metric.");
        }

        Identity = NeighborQueries.Identity([Name, database.Manifest.TokensHash, KeyIdentity, .. indexes.SelectMany(index => index.Identity)]);
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
    internal int Dimensions => _indexes[0].Dimensions;

    /// <summary>How keys are compared.</summary>
    internal VectorMetric Metric => _indexes[0].Metric;

    /// <summary>
    /// Makes the key of every chunk (<c>keys.bin</c> in the database's folder; in blocks, resumable) and an index of them (<c>index.faiss</c>), and opens the
    /// source. What is there, whole and made of the same things is not made again; keys that a share holds (<see cref="BuildShare"/>) are taken from there.
    /// <para>Of a database that documents were added to or removed from each segment has an index of its own. Where these do not find
    /// <see cref="DenseNeighborOptions.Recall"/> of what is nearest over all segments, measured on chunks of all of them, one index of all chunks is trained in
    /// their place (<c>index-all.faiss</c>), which is good until the next change; a message of the progress says so.</para>
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="options">How the keys are indexed and searched; by size where null.</param>
    /// <param name="progress">Receives the number of chunks done; a message says where the exact managed index takes FAISS's place.</param>
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
        bool isJoined = database.IsChanged && database.Refresh().Find(VectorIndexFile.NameOf(database)) is not null;
        if (!isJoined)
        {
            DenseNeighborSource source = From(database, keyer, (segment, some) =>
            {
                KeyFile.Build(segment, keyer, !options.MemoryMapped, database, progress, cancellationToken);
                return VectorIndexFile.Build(segment, some!, progress, cancellationToken);
            }, options);
            bool isMeasured = database.IsChanged && database.HasFolder && options.Parameters is null && !source._indexes.All(index => index.ComparesAll);
            try
            {
                if (!isMeasured || IndexRecall.IsEnough(database, source, options.Recall, options.Threads, progress, cancellationToken))
                {
                    return source;
                }
            }
            catch
            {
                source.Dispose();
                throw;
            }

            source.Dispose();
        }

        foreach (ChunkDatabase segment in database.Segments)
        {
            KeyFile.Build(segment, keyer, !options.MemoryMapped, database, progress, cancellationToken);
        }

        return OfAll(database, keyer, VectorIndexFile.Build(database, options, progress, cancellationToken), options);
    }

    /// <summary>
    /// Makes the keys of a share of the chunks, for several machines or processes at once on one storage: a file of its own beside <c>keys.bin</c>
    /// (<c>keys.3-of-8.bin</c>), in blocks, resumable. <see cref="Build"/> then takes the keys from the shares that are there, whatever they are a share of,
    /// makes what is missing, and removes them; its files are those of a build without shares, byte for byte where all machines compute alike.
    /// </summary>
    /// <param name="database">The database, which may be changed by nobody meanwhile.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="share">The share.</param>
    /// <param name="progress">Receives the number of chunks of the share done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="DatabaseException">Another process makes the same share, or its file cannot be written.</exception>
    public static void BuildShare(
        ChunkDatabase database,
        IChunkKeyer keyer,
        WorkShare share,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        foreach (ChunkDatabase segment in database.Segments)
        {
            KeyFile.BuildShare(segment, keyer, share, progress, cancellationToken);
        }
    }

    /// <summary>Opens the source from what <see cref="Build"/> made; makes nothing.</summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="options">Those that the index has to have been made with, as far as they say, and how it is searched; null for whatever there is.</param>
    /// <param name="progress">Receives the number of bytes checked.</param>
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
        if (database.IsChanged && database.Refresh().Find(VectorIndexFile.NameOf(database)) is not null)
        {
            return OfAll(database, keyer, Opened(database, options), options);
        }

        return From(database, keyer, Opened, options);

        VectorIndex Opened(ChunkDatabase segment, DenseNeighborOptions? some)
        {
            (_, DatabaseFile entry) = StageFile.Require(segment, VectorIndexFile.NameOf(segment));
            return entry.Details.GetValueOrDefault(KeyFile.KeyerDetail) is { } made && made != keyer.Identity
                ? throw new DatabaseException(
                    $"The vector index in {segment.Folder} was made with the embedder and tokenizer {made}, and those in use are {keyer.Identity}: use the "
                        + "former, or make keys and index again.")
                : VectorIndexFile.Open(segment, some, progress, cancellationToken);
        }
    }

    /// <summary>Closes the index that <see cref="Build"/> or <see cref="Open"/> opened.</summary>
    public void Dispose()
    {
        if (_ownsIndex)
        {
            Database.Closed(this);
            Array.ForEach(_indexes, index => index.Dispose());
        }
    }

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        for (int start = 0; start < queries.Count; start += DenseIndex.Block)
        {
            NeighborQuery[] block = new NeighborQuery[Math.Min(DenseIndex.Block, queries.Count - start)];
            for (int i = 0; i < block.Length; i++)
            {
                block[i] = queries[start + i];
            }

            float[] vectors = KnownKeys.Of(_keyer, block, cancellationToken);
            long[][] found = new long[_indexes.Length][];
            float[][] values = new float[_indexes.Length][];
            for (int segment = 0; segment < found.Length; segment++)
            {
                int of = segment;
                (found[segment], values[segment]) = (new long[block.Length * count], new float[block.Length * count]);
                _indexes[segment].Find(
                    vectors,
                    NeighborQueries.Excluded(Database, block, _bySegment ? of : null),
                    Array.ConvertAll(block, query => _bySegment ? NeighborQueries.Among(Database, of, query) : NeighborQueries.Visible(Database, query)),
                    count,
                    found[segment],
                    values[segment],
                    cancellationToken);
            }

            SegmentResults.Merge(
                _bySegment ? Database.Number : (_, chunk) => chunk,
                found,
                values,
                count,
                chunks.Slice(start * count, block.Length * count),
                scores.Slice(start * count, block.Length * count));
        }
    }

    /// <summary>How a chunk's stored key differs from the one that is made now; null: not at all, up to the rounding of another batch.</summary>
    internal string? FaultOf(ChunkKeys keys, long chunk, CancellationToken cancellationToken)
    {
        float[] made = new float[keys.Dimensions];
        _keyer.Keys([Database.OwnTokens(chunk).ToArray()], made, cancellationToken);
        ReadOnlySpan<float> stored = keys.Row(chunk);
        float largest = 0, difference = 0;
        for (int i = 0; i < made.Length; i++)
        {
            largest = Math.Max(largest, Math.Abs(made[i]));
            difference = Math.Max(difference, Math.Abs(made[i] - stored[i]));
        }

        return difference <= 1e-3f * Math.Max(largest, 1e-6f) ? null : $"its key is off by {difference:g3}, of numbers up to {largest:g3}";
    }

    /// <summary>The source over one index of all segments.</summary>
    private static DenseNeighborSource OfAll(ChunkDatabase database, IChunkKeyer keyer, VectorIndex index, DenseNeighborOptions? options)
        => database.Opened(
            new DenseNeighborSource(database, [DenseIndex.Open(database, index, keyer, Verifies(options))], keyer, bySegment: false, ownsIndex: true));

    private static bool Verifies(DenseNeighborOptions? options) => options?.MemoryMapped != true;

    private static DenseNeighborSource From(
        ChunkDatabase database, IChunkKeyer keyer, Func<ChunkDatabase, DenseNeighborOptions?, VectorIndex> indexOf, DenseNeighborOptions? options)
    {
        List<DenseIndex> indexes = [];
        try
        {
            foreach (ChunkDatabase segment in database.Segments)
            {
                // What was chosen for a whole database seldom fits the few documents that were added to it.
                DenseNeighborOptions? some = segment.IsFirstSegment ? options : options is null ? null : options with { Factory = null, Parameters = null };
                indexes.Add(DenseIndex.Open(segment, indexOf(segment, some), keyer, Verifies(options)));
            }

            return database.Opened(new DenseNeighborSource(database, [.. indexes], keyer, bySegment: true, ownsIndex: true));
        }
        catch
        {
            indexes.ForEach(index => index.Dispose());
            throw;
        }
    }
}
