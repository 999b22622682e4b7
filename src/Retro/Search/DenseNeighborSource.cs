using Retro.Database;
using Retro.Embedders;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>
/// The chunks with the nearest keys, which is the retrieval of RETRO (section 2.3). The score is minus the squared distance, or the inner product.
/// What a query's labels hide is passed over by the index while it compares, where its kind can (FAISS's exact one and those with inverted lists, and the
/// managed one). An exact index passes over the excluded documents likewise, and ties come by number. Any other is asked for more than are wanted, since the
/// excluded documents fall out afterwards, and for more and more until there are enough or the index has no more; an index with inverted lists is then looked
/// into more of them. Chunks without a key (zero: they hold no word) are never found, and a
/// query without one finds nothing. What a query finds does not depend on those asked at once with it.
/// </summary>
/// <remarks>
/// It owns the index that <see cref="Build"/> or <see cref="Open"/> opened, which is closed with the database at the latest; database and keyer stay the
/// caller's.
/// </remarks>
public sealed class DenseNeighborSource : INeighborSource, IDisposable
{
    private readonly IChunkKeyer _keyer;

    private readonly Part[] _parts;
    private readonly bool _ownsIndex;

    /// <summary>Creates the source.</summary>
    /// <param name="database">The database.</param>
    /// <param name="index">The index of its chunks' keys, numbered as the chunks.</param>
    /// <param name="keyer">The function that made those keys.</param>
    /// <param name="keyed">Which chunks are in the index; all where null.</param>
    /// <param name="ownsIndex">Whether the index is disposed with the source.</param>
    /// <exception cref="DatabaseException">The index holds another number of keys, or keys of another size.</exception>
    internal DenseNeighborSource(ChunkDatabase database, VectorIndex index, IChunkKeyer keyer, KeyedChunks? keyed = null, bool ownsIndex = false)
        : this(database, [new(new DenseIndex(database, index, keyer.Dimensions, keyed), null, database, 0)], keyer, ownsIndex)
    {
    }

    private DenseNeighborSource(ChunkDatabase database, Part[] parts, IChunkKeyer keyer, bool ownsIndex)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(keyer.Identity);
        Database = database;
        _parts = parts;
        _keyer = keyer;
        _ownsIndex = ownsIndex;
        if (Array.Find(parts, part => part.Index.Metric != Metric) is { } other)
        {
            throw new DatabaseException(
                $"The vector indexes of the database compare by {Metric} and by {other.Index.Metric}, whose scores cannot be ranked together: build them "
                    + "with one metric.");
        }

        Identity = NeighborQueries.Identity([Name, database.Manifest.TokensHash, KeyIdentity, .. parts.SelectMany(part => part.Index.Identity)]);
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
    internal int Dimensions => _parts[0].Index.Dimensions;

    /// <summary>How keys are compared.</summary>
    internal VectorMetric Metric => _parts[0].Index.Metric;

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
        DenseNeighborSource source = From(database, keyer, Made, options);
        bool isMeasured = database.IsChanged && database.HasFolder && options.Parameters is null
            && !source._parts.All(part => part.Segment is null || part.Index.ComparesAll);
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
        return From(database, keyer, Made, options, joined: true);

        VectorIndex Made(ChunkDatabase of, DenseNeighborOptions? some)
        {
            foreach (ChunkDatabase segment in of.Segments)
            {
                KeyFile.Build(segment, keyer, !options.MemoryMapped, database.ToJoin ?? database, progress, cancellationToken);
            }

            return VectorIndexFile.Build(of, some!, progress, cancellationToken);
        }
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
            Array.ForEach(_parts, part => part.Index.Dispose());
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
            long[][] found = new long[_parts.Length][];
            float[][] values = new float[_parts.Length][];
            for (int number = 0; number < found.Length; number++)
            {
                Part part = _parts[number];
                int most = NeighborQueries.Most(part.Segment is { } segment ? Database.Segments[segment] : part.Of, count);
                (found[number], values[number]) = (new long[block.Length * most], new float[block.Length * most]);
                part.Index.Find(
                    vectors,
                    part.Excluded(Database, block),
                    Array.ConvertAll(block, query => part.Visible(Database, query)),
                    most,
                    found[number],
                    values[number],
                    cancellationToken);
            }

            SegmentResults.Merge(
                (number, chunk) => _parts[number].Number(Database, chunk),
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

    private static bool Verifies(DenseNeighborOptions? options) => options?.MemoryMapped != true;

    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="indexOf">Gives the index of a segment, or of all segments of a changed database.</param>
    /// <param name="options">Of the indexes.</param>
    /// <param name="joined">Whether one of all segments is to be there, whether it is or not.</param>
    private static DenseNeighborSource From(
        ChunkDatabase database,
        IChunkKeyer keyer,
        Func<ChunkDatabase, DenseNeighborOptions?, VectorIndex> indexOf,
        DenseNeighborOptions? options,
        bool joined = false)
    {
        List<Part> parts = [];
        try
        {
            int segments = 0;
            long chunks = 0;
            foreach (ChunkDatabase one in database.Parts)
            {
                if (joined || HasJoint(one))
                {
                    parts.Add(new(Index(one), null, one, chunks));
                }
                else
                {
                    parts.AddRange(one.Segments.Select((segment, number) => new Part(Index(segment), segments + number, one, chunks)));
                }

                segments += one.Segments.Count;
                chunks += one.ChunkCount;
            }

            return database.Opened(new DenseNeighborSource(database, [.. parts], keyer, ownsIndex: true));
        }
        catch
        {
            parts.ForEach(part => part.Index.Dispose());
            throw;
        }

        // Where the database was changed once more, the folder's manifest tells of none for this state; its segments' own indexes are still there.
        static bool HasJoint(ChunkDatabase one)
        {
            try
            {
                return one.IsChanged && one.Refresh().Find(VectorIndexFile.NameOf(one)) is not null;
            }
            catch (DatabaseException) when (one.IsReplaced())
            {
                return false;
            }
        }

        DenseIndex Index(ChunkDatabase of)
        {
            // What was chosen for a whole database seldom fits the few documents that were added to it.
            DenseNeighborOptions? some = of.IsFirstSegment ? options : options is null ? null : options with { Factory = null, Parameters = null };
            return DenseIndex.Open(of, indexOf(of, some), keyer, Verifies(options));
        }
    }

    /// <summary>An index, and the chunks of the database that it holds.</summary>
    /// <param name="Index">The index.</param>
    /// <param name="Segment">The number of its segment among those of the source's database; null: it is of all segments of <paramref name="Of"/>.</param>
    /// <param name="Of">The database that it lies in: the source's, or one of those that this is.</param>
    /// <param name="First">The number of that one's first chunk.</param>
    private sealed record Part(DenseIndex Index, int? Segment, ChunkDatabase Of, long First)
    {
        /// <summary>The chunks that each of some queries excludes, numbered as in the index.</summary>
        public ExcludedChunks[] Excluded(ChunkDatabase database, NeighborQuery[] queries)
        {
            ExcludedChunks[] excluded = NeighborQueries.Excluded(database, queries, Segment);
            return Segment is null && Of != database ? Array.ConvertAll(excluded, chunks => chunks.Within(First, Of.ChunkCount)) : excluded;
        }

        /// <summary>Those that a query may see; null: every one.</summary>
        public ChunkSet? Visible(ChunkDatabase database, in NeighborQuery query)
            => Segment is { } segment ? NeighborQueries.Among(database, segment, query) : NeighborQueries.Visible(Of, query);

        /// <summary>The number that a chunk of the index has in the database.</summary>
        public long Number(ChunkDatabase database, long chunk) => Segment is { } segment ? database.Number(segment, chunk) : First + chunk;
    }
}
