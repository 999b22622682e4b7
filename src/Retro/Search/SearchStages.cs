using System.Globalization;
using Retro.Database;
using Retro.Embedders;

namespace Retro.Search;

/// <summary>
/// The stages that make a database searchable, each a function on a database that leaves a file in its folder and registers it in the manifest: keys, vector index, keyword
/// index, neighbor table. A stage whose file is there and made from the same things does nothing; one that was interrupted goes on where it stopped, if it works in blocks.
/// </summary>
public static class SearchStages
{
    /// <summary>The keys' file name.</summary>
    public const string KeysFile = "keys.bin";

    /// <summary>The vector index's file name, whichever engine made it.</summary>
    public const string VectorIndexFile = "index.faiss";

    /// <summary>The keyword index's file name.</summary>
    public const string KeywordIndexFile = "bm25.bin";

    private const int KeyBlock = 2048;
    private const int AddBlock = 16_384;
    private const string FactoryDetail = "factory";
    private const string ExactFactory = "exact";
    private const string MetricDetail = "metric";
    private const string ParametersDetail = "parameters";
    private const string K1Detail = "k1";
    private const string BDetail = "b";

    /// <summary>Makes the key of every chunk (<see cref="KeysFile"/>), in blocks, resumable.</summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="progress">Told the chunks done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static void BuildKeys(ChunkDatabase database, ChunkKeyer keyer, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(keyer);
        BuildKeys(database, keyer.Keys, keyer.Dimensions, keyer.Identity, progress, cancellationToken);
    }

    /// <summary>Makes the key of every chunk (<see cref="KeysFile"/>) with any function, in blocks, resumable.</summary>
    /// <param name="database">The database.</param>
    /// <param name="keys">The function from chunks to keys.</param>
    /// <param name="dimensions">Numbers in a key.</param>
    /// <param name="keyIdentity">Names the function; another function has another name.</param>
    /// <param name="progress">Told the chunks done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static void BuildKeys(ChunkDatabase database, ChunkKeys keys, int dimensions, string keyIdentity, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimensions);
        ArgumentException.ThrowIfNullOrWhiteSpace(keyIdentity);
        Dictionary<string, string> details = new()
        {
            [KeyFile.KeyerDetail] = keyIdentity,
            [KeyFile.DimensionsDetail] = dimensions.ToString(CultureInfo.InvariantCulture),
        };
        if (IsMade(database, KeysFile, details))
        {
            return;
        }

        Forget(database, KeysFile);

        KeyFile.Write(Path.Combine(database.Folder, KeysFile), database, keys, dimensions, keyIdentity, KeyBlock, progress, cancellationToken);
        database.Register(KeysFile, details, progress, cancellationToken);
    }

    /// <summary>
    /// Makes the vector index (<see cref="VectorIndexFile"/>) of the keys: with FAISS, or with the exact managed index where its library is missing, which is said in a message of the progress.
    /// The manifest records which under "factory": FAISS's text or "exact".
    /// </summary>
    /// <param name="database">The database, with keys.</param>
    /// <param name="options">How; by size where null.</param>
    /// <param name="progress">Told the keys done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run starts over.</param>
    /// <exception cref="DatabaseException">There are no keys, or the file cannot be written.</exception>
    /// <exception cref="FaissException">FAISS refuses the factory text, the options ask for what only FAISS can do and its library is missing, or the keys are too few to train such an index.</exception>
    public static void BuildVectorIndex(ChunkDatabase database, VectorIndexOptions? options = null, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        options ??= new();
        using KeyFile keys = KeyFile.Open(database);
        VectorIndexPlan plan = options.Plan(keys.Count, keys.Dimensions);
        VectorEngine engine = VectorIndex.Choose(options.Engine);
        Dictionary<string, string> details = new()
        {
            [KeyFile.KeyerDetail] = keys.Identity,
            [FactoryDetail] = engine == VectorEngine.Exact ? ExactFactory : plan.Factory,
            [ParametersDetail] = plan.Parameters,
            [MetricDetail] = options.Metric.ToString(),
        };

        // Made before asking whether there is anything to do, so that what the engine refuses is refused either way.
        using VectorIndex index = VectorIndex.Create(keys.Dimensions, plan.Factory, options.Metric, engine);
        index.SetParameters(plan.Parameters);
        if (IsMade(database, VectorIndexFile, details))
        {
            return;
        }

        if (engine != options.Engine && engine == VectorEngine.Exact)
        {
            progress?.Report(new("fill vector index", 0, keys.Count, $"FAISS's library libfaiss_c cannot be loaded here, so the vector index is the exact managed one, which compares every query with all {keys.Count} keys."));
        }

        if (!index.IsTrained)
        {
            progress?.Report(new("train vector index", 0, plan.TrainingVectors));
            index.Train(Sample(keys, plan.TrainingVectors));
            progress?.Report(new("train vector index", plan.TrainingVectors, plan.TrainingVectors));
        }

        for (long first = 0; first < keys.Count; first += AddBlock)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new("fill vector index", first, keys.Count));
            index.Add(keys.Rows(first, (int)Math.Min(AddBlock, keys.Count - first)));
        }

        Forget(database, VectorIndexFile);
        index.Save(Path.Combine(database.Folder, VectorIndexFile));
        database.Register(VectorIndexFile, details, progress, cancellationToken);
        progress?.Report(new("fill vector index", keys.Count, keys.Count));
    }

    /// <summary>Opens the vector index of a database, with its search parameters set.</summary>
    /// <param name="database">The database.</param>
    /// <param name="memoryMapped">Leaves inverted lists, or the vectors of an exact managed index, in the file, and does not compare the checksum, which would read the whole file.</param>
    /// <exception cref="DatabaseException">There is none, it is damaged, or it does not belong to these keys.</exception>
    /// <exception cref="FaissException">The index was made by FAISS, whose library is missing.</exception>
    public static VectorIndex OpenVectorIndex(ChunkDatabase database, bool memoryMapped = false)
    {
        ArgumentNullException.ThrowIfNull(database);
        string path = database.RequireFile(VectorIndexFile);
        DatabaseFile entry = database.Manifest.Find(VectorIndexFile)!;

        if (database.Manifest.Find(KeysFile)?.Details.GetValueOrDefault(KeyFile.KeyerDetail) is { } keyer && keyer != entry.Details.GetValueOrDefault(KeyFile.KeyerDetail))
        {
            throw new DatabaseException($"The vector index {path} was made from keys of {entry.Details.GetValueOrDefault(KeyFile.KeyerDetail)} and the database now has keys of {keyer}: make the index again.");
        }

        // FAISS believes the sizes in its files and allocates what they say, so a changed file must not reach it.
        if (!memoryMapped && FileHash.Sha256(path) is var found && found != entry.Sha256)
        {
            throw new DatabaseException($"The vector index {path} has checksum {found} and the manifest says {entry.Sha256}: it was changed; make it again.");
        }

        VectorIndex index = VectorIndex.Open(path, memoryMapped);
        try
        {
            index.SetParameters(entry.Details.GetValueOrDefault(ParametersDetail, ""));
            if (index.Count != database.ChunkCount)
            {
                throw new DatabaseException($"The vector index {path} holds {index.Count} keys and the database has {database.ChunkCount} chunks: make it again.");
            }

            return index;
        }
        catch
        {
            index.Dispose();
            throw;
        }
    }

    /// <summary>Opens the dense source of a database.</summary>
    /// <param name="database">The database, with a vector index.</param>
    /// <param name="index">Its index, from <see cref="OpenVectorIndex"/>.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <exception cref="DatabaseException">The index was made with another function: both identities are named.</exception>
    public static DenseNeighborSource OpenDense(ChunkDatabase database, VectorIndex index, ChunkKeyer keyer)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(keyer);
        string? made = database.Manifest.Find(VectorIndexFile)?.Details.GetValueOrDefault(KeyFile.KeyerDetail);
        if (made is not null && made != keyer.Identity)
        {
            throw new DatabaseException($"The vector index in {database.Folder} was made with the embedder and tokenizer {made}, and those in use are {keyer.Identity}: use the former, or make keys and index again.");
        }

        return new(database, index, keyer);
    }

    /// <summary>Makes the keyword index (<see cref="KeywordIndexFile"/>) of the chunks' tokens.</summary>
    /// <param name="database">The database.</param>
    /// <param name="options">The constants of BM25.</param>
    /// <param name="progress">Told the work done.</param>
    /// <param name="cancellationToken">Stops the work; the next run starts over.</param>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static void BuildKeywordIndex(ChunkDatabase database, Bm25Options? options = null, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        options ??= new();
        Dictionary<string, string> details = new()
        {
            [K1Detail] = options.K1.ToString(CultureInfo.InvariantCulture),
            [BDetail] = options.B.ToString(CultureInfo.InvariantCulture),
        };
        if (IsMade(database, KeywordIndexFile, details))
        {
            return;
        }

        using Bm25Index index = Bm25Index.Build(database.ChunkCount, chunk => KeywordNeighborSource.TermsOf(database, chunk), options, progress, cancellationToken);
        Forget(database, KeywordIndexFile);
        index.Save(Path.Combine(database.Folder, KeywordIndexFile));
        database.Register(KeywordIndexFile, details, progress, cancellationToken);
    }

    /// <summary>Opens the keyword index of a database, memory-mapped.</summary>
    /// <param name="database">The database.</param>
    /// <param name="verify">Compares the index's own checksum as well.</param>
    /// <exception cref="DatabaseException">There is none, or it is damaged.</exception>
    public static Bm25Index OpenKeywordIndex(ChunkDatabase database, bool verify = true)
    {
        ArgumentNullException.ThrowIfNull(database);
        return Bm25Index.Open(database.RequireFile(KeywordIndexFile), verify);
    }

    /// <summary>The file name of the neighbor table that a source gives.</summary>
    /// <param name="sourceName">The source's name.</param>
    public static string NeighborsFile(string sourceName) => $"neighbors-{sourceName}.bin";

    /// <summary>Makes the neighbor table of a database's chunks in its folder (<see cref="NeighborsFile"/>) and opens it.</summary>
    /// <param name="queries">The database whose chunks get neighbors.</param>
    /// <param name="source">Finds them, in the same database or another.</param>
    /// <param name="count">Neighbors for each chunk: more than are used, so that the filter of windows leaves enough.</param>
    /// <param name="excludeOwnDocument">Whether to leave out a chunk's own document.</param>
    /// <param name="progress">Told the chunks done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <returns>The table; dispose it.</returns>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static NeighborTable BuildNeighbors(ChunkDatabase queries, INeighborSource source, int count = 8, bool excludeOwnDocument = true, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(source);
        string name = NeighborsFile(source.Name);
        Dictionary<string, string> details = new()
        {
            ["source"] = source.Identity,
            ["count"] = count.ToString(CultureInfo.InvariantCulture),
            ["excludeOwnDocument"] = excludeOwnDocument ? "true" : "false",
            ["database"] = source.Database?.Manifest.TokensHash ?? "",
        };
        if (!IsMade(queries, name, details))
        {
            Forget(queries, name);
        }

        NeighborTable table = NeighborTable.Build(Path.Combine(queries.Folder, name), queries, source, count, excludeOwnDocument, progress, cancellationToken);
        try
        {
            if (!IsMade(queries, name, details))
            {
                queries.Register(name, details, progress, cancellationToken);
            }

            return table;
        }
        catch
        {
            table.Dispose();
            throw;
        }
    }

    /// <summary>Opens the neighbor table that a source has given for a database's chunks.</summary>
    /// <param name="queries">The database whose chunks have neighbors.</param>
    /// <param name="retrieval">The database of the neighbors.</param>
    /// <param name="sourceName">The source's name.</param>
    /// <exception cref="DatabaseException">There is none, it is damaged, or it was made for other databases.</exception>
    public static NeighborTable OpenNeighbors(ChunkDatabase queries, ChunkDatabase retrieval, string sourceName)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(retrieval);
        return NeighborTable.Open(queries.RequireFile(NeighborsFile(sourceName)), queries, retrieval);
    }

    /// <summary>Whether the manifest lists a file that was made in this way and that is still there.</summary>
    private static bool IsMade(ChunkDatabase database, string name, Dictionary<string, string> details)
    {
        FileInfo file = new(Path.Combine(database.Folder, name));
        return database.Manifest.Find(name) is { } entry
            && file.Exists && file.Length == entry.Bytes
            && entry.Details.Count == details.Count
            && details.All(detail => entry.Details.TryGetValue(detail.Key, out string? value) && value == detail.Value);
    }

    /// <summary>
    /// Takes a file out of the manifest before it is replaced by one of other settings: were the process killed between the two, the database would not open any more,
    /// because the size in the manifest is not that of the file.
    /// </summary>
    private static void Forget(ChunkDatabase database, string name)
    {
        DatabaseManifest manifest = DatabaseManifest.Load(database.Folder);
        if (manifest.Find(name) is not null)
        {
            manifest.WithoutFile(name).Save(database.Folder);
        }
    }

    /// <summary>Keys evenly spread over the database.</summary>
    private static float[] Sample(KeyFile keys, int count)
    {
        float[] sample = new float[(long)count * keys.Dimensions];
        for (int i = 0; i < count; i++)
        {
            keys.Row(i * keys.Count / count).CopyTo(sample.AsSpan(i * keys.Dimensions));
        }

        return sample;
    }
}
