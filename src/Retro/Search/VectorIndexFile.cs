using System.Globalization;
using Retro.Database;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>
/// The vector index of a database's keys: the file <c>index.faiss</c> of its folder, whichever engine made it; <c>index-all.faiss</c> where it is that of all
/// segments of a database that documents were added to or removed from.
/// </summary>
internal static class VectorIndexFile
{
    private const int AddBlock = 16_384;
    private const string FactoryDetail = "factory";
    private const string ExactFactory = "exact";
    private const string MetricDetail = "metric";
    private const string ParametersDetail = "parameters";
    private const string TrainingDetail = "trainingVectors";
    private const string RecallParameters = "recall";

    /// <summary>
    /// Makes the index and opens it: with FAISS, or with the exact managed index where its library is missing, which is said in a message of the progress.
    /// The manifest records which under "factory": FAISS's text or "exact".
    /// </summary>
    /// <param name="database">The database, with keys.</param>
    /// <param name="options">How; by size where null.</param>
    /// <param name="progress">Receives the number of keys done.</param>
    /// <param name="cancellationToken">Stops between blocks, though not FAISS in the middle of training; the next run starts over.</param>
    /// <returns>The index; dispose it.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">There are no keys, or the file cannot be written.</exception>
    /// <exception cref="FaissException">FAISS refuses the factory text, the options ask for what only FAISS can do and its library is missing, or the keys are
    /// too few to train such an index.</exception>
    public static VectorIndex Build(
        ChunkDatabase database, DenseNeighborOptions? options = null, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        options = (options ?? new()).Validate();
        using (ChunkKeys keys = ChunkKeys.Open(database))
        {
            // An index is chosen and trained by the keys that it will hold. Of how many that is one that is there tells, and otherwise all of them.
            if (KeyedBy(database, keys) is { } keyed)
            {
                using Recipe recipe = new(options, keys, keyed);
                if (OpenMade(database, keys, recipe, options, progress, cancellationToken) is { } made)
                {
                    return made;
                }
            }

            List<long> unkeyed = Unkeyed(keys, progress, cancellationToken);
            using (Recipe recipe = new(options, keys, keys.Count - unkeyed.Count))
            {
                if (recipe.Engine != options.Engine && recipe.Engine == VectorEngine.Exact)
                {
                    string message = "FAISS's library libfaiss_c cannot be loaded here, so the vector index is the exact managed one, which compares every "
                        + $"query with all {keys.Count} keys.";
                    progress?.Report(new("fill vector index", 0, keys.Count, message));
                }

                Dictionary<string, string> details = new(recipe.Details) { [ParametersDetail] = recipe.Parameters };
                using WriterLock writing = database.Write("make the vector index");
                Fill(recipe.Index, keys, unkeyed, recipe.Plan.TrainingVectors, progress, cancellationToken);
                if (recipe.IsMeasured)
                {
                    foreach ((string name, string value) in IndexRecall.Measure(
                        database, recipe.Index, keys, unkeyed, recipe.Plan.Factory, recipe.Recall, progress, cancellationToken))
                    {
                        details[name] = value;
                    }
                }

                database.Forget(writing, NameOf(database));
                KeyedChunks.Write(database, writing, unkeyed, keys.Identity);
                recipe.Index.Save(database.PathOf(NameOf(database)));
                database.Enter(writing, NameOf(database), details, progress, cancellationToken);
            }
        }

        return Open(database, options, verify: false, made: true, progress, cancellationToken); // the checksum was taken just now
    }

    /// <summary>Opens the index, with its search parameters set.</summary>
    /// <param name="database">The database.</param>
    /// <param name="options">Those that it has to have been made with, as far as they say, and how it is searched; null for whatever there is.</param>
    /// <param name="progress">Receives the number of bytes checked.</param>
    /// <param name="cancellationToken">Stops the checking.</param>
    /// <returns>The index; dispose it.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">There is none, it is damaged, it does not belong to these keys, or it was made with other options.</exception>
    /// <exception cref="FaissException">The index was made by FAISS, whose library is missing.</exception>
    public static VectorIndex Open(
        ChunkDatabase database, DenseNeighborOptions? options = null, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        return Open(database, options, verify: options?.MemoryMapped != true, made: false, progress, cancellationToken);
    }

    private static VectorIndex Open(
        ChunkDatabase database,
        DenseNeighborOptions? options,
        bool verify,
        bool made,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        DenseNeighborOptions given = (options ?? new()).Validate();
        (string path, DatabaseFile entry) = StageFile.Require(database, NameOf(database));
        string? Detail(string name) => entry.Details.GetValueOrDefault(name);
        if (database.Manifest.Find(StageNames.Keys)?.Details.GetValueOrDefault(KeyFile.KeyerDetail) is { } keyer && keyer != Detail(KeyFile.KeyerDetail))
        {
            throw new DatabaseException(
                $"The vector index {path} was made from keys of {Detail(KeyFile.KeyerDetail)} and the database now has keys of {keyer}: make the index again.");
        }

        // FAISS believes the sizes in its files and allocates what they say, so a changed file must not reach it.
        if (verify && FileHash.Sha256(path, progress, cancellationToken) is var found && found != entry.Sha256)
        {
            throw new DatabaseException($"The vector index {path} has checksum {found} and the manifest says {entry.Sha256}: it was changed; make it again.");
        }

        bool trusted = made || given.TrustIndexFile || given.Factory is not null;
        string remedy = $"where you know who made it, name its factory text ({Detail(FactoryDetail)}) or set "
            + $"{nameof(DenseNeighborOptions.TrustIndexFile)}; otherwise make the index again";
        VectorIndex index = VectorIndex.Open(path, given.MemoryMapped, given.Parameters ?? ParametersOf(entry), given.Threads, trusted, remedy);
        try
        {
            if (KeyedChunks.Open(database).Missing is var missing && index.Count != database.ChunkCount - missing)
            {
                throw new DatabaseException(
                    $"The vector index {path} holds {index.Count} keys and the database has {database.ChunkCount} chunks, {missing} of them "
                        + "without a key: make it again.");
            }

            if (options is not null)
            {
                Require(path, "metric", index.Metric.ToString(), given.Metric.ToString());
                Require(path, "engine", index.Engine.ToString(), given.Engine == VectorEngine.Auto ? null : given.Engine.ToString());
                Require(path, "factory text", Detail(FactoryDetail) == ExactFactory ? VectorIndexPlan.Exact : Detail(FactoryDetail), given.Factory);
            }

            return index;
        }
        catch
        {
            index.Dispose();
            throw;
        }
    }

    /// <summary>The name of a database's index.</summary>
    public static string NameOf(ChunkDatabase database) => database.IsChanged ? StageNames.AllIndex : StageNames.Index;

    /// <summary>What the manifest says of the index that an engine makes by a plan: FAISS's factory text, or "exact".</summary>
    public static string FactoryOf(VectorIndexPlan plan, VectorEngine engine) => engine == VectorEngine.Exact ? ExactFactory : plan.Factory;

    /// <summary>FAISS's factory text of a segment's index, or "exact"; null where there is none.</summary>
    public static string? FactoryOf(ChunkDatabase segment) => segment.Manifest.Find(NameOf(segment))?.Details.GetValueOrDefault(FactoryDetail);

    /// <summary>
    /// Whether other parameters (null: those that a recall takes) can be set on the index that is there: they name all that is set in it, so that nothing of
    /// before stays, and nothing that says how a graph is made.
    /// </summary>
    private static bool CanBeSet(DatabaseFile entry, string? parameters)
    {
        HashSet<string> asked = parameters is null ? ["nprobe", "efSearch"] : Names(parameters);
        return Names(ParametersOf(entry)).IsSubsetOf(asked) && !asked.Contains("efConstruction");

        static HashSet<string> Names(string text)
            => [.. text.Split([',', ' '], StringSplitOptions.RemoveEmptyEntries).Select(parameter => parameter.Split('=')[0])];
    }

    /// <summary>How many chunks have a key, by the index of these keys that is there; null where there is none.</summary>
    private static long? KeyedBy(ChunkDatabase database, ChunkKeys keys)
    {
        if (database.Refresh().Find(NameOf(database))?.Details.GetValueOrDefault(KeyFile.KeyerDetail) != keys.Identity)
        {
            return null;
        }

        try
        {
            return keys.Count - KeyedChunks.Open(database).Missing;
        }
        catch (DatabaseException)
        {
            return null; // its list is damaged, and it is made anew
        }
    }

    /// <summary>The index that is there, where it is whole and made in this way; null where it has to be made.</summary>
    private static VectorIndex? OpenMade(
        ChunkDatabase database,
        ChunkKeys keys,
        Recipe recipe,
        DenseNeighborOptions options,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (StageFile.FindMade(database, NameOf(database), recipe.Details, [ParametersDetail, .. IndexRecall.Details]) is not { } entry)
        {
            return null;
        }

        try
        {
            return entry.Details.GetValueOrDefault(ParametersDetail) == recipe.Parameters ? Open(database, options, progress, cancellationToken)
                : recipe.IsMeasured && CanBeSet(entry, options.Parameters)
                    ? MeasureAnew(database, keys, recipe, options, progress, cancellationToken)
                : null;
        }
        catch (DatabaseException)
        {
            return null; // it is damaged: building replaces it, which is what the message would ask for
        }
    }

    /// <summary>
    /// Opens an index that is there and looks as far into it as another recall takes, or is said, which is no reason to train and fill it anew.
    /// </summary>
    private static VectorIndex MeasureAnew(
        ChunkDatabase database,
        ChunkKeys keys,
        Recipe recipe,
        DenseNeighborOptions options,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        using WriterLock writing = database.Write("measure the vector index");
        VectorIndex index = Open(database, options, progress, cancellationToken);
        try
        {
            (_, DatabaseFile entry) = StageFile.Require(database, NameOf(database));
            Dictionary<string, string> details = new(entry.Details) { [ParametersDetail] = recipe.Parameters };
            foreach ((string name, string value) in IndexRecall.Measure(
                database, index, keys, [.. KeyedChunks.Open(database).Unkeyed], recipe.Plan.Factory, recipe.Recall, progress, cancellationToken))
            {
                details[name] = value;
            }

            database.Enter(writing, NameOf(database), details, entry.Sha256);
            return index;
        }
        catch
        {
            index.Dispose();
            throw;
        }
    }

    /// <summary>How far the index looks: what was measured to be enough, or what was said.</summary>
    private static string ParametersOf(DatabaseFile entry)
    {
        string said = entry.Details.GetValueOrDefault(ParametersDetail) ?? "";
        return entry.Details.GetValueOrDefault(IndexRecall.ParametersDetail) ?? (said.StartsWith(RecallParameters, StringComparison.Ordinal) ? "" : said);
    }

    /// <summary>The chunks that have no key, and so no row in the index, ascending.</summary>
    private static List<long> Unkeyed(ChunkKeys keys, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        List<long> unkeyed = [];
        foreach ((long first, int count) in Blocks(keys, "count keys", progress, cancellationToken))
        {
            ReadOnlySpan<float> rows = keys.Rows(first, count);
            for (int row = 0; row < count; row++)
            {
                if (KeyedChunks.IsNone(rows.Slice(row * keys.Dimensions, keys.Dimensions)))
                {
                    unkeyed.Add(first + row);
                }
            }
        }

        return unkeyed;
    }

    /// <summary>Trains an index, and fills it with the keys of all chunks but some.</summary>
    private static void Fill(
        VectorIndex index,
        ChunkKeys keys,
        List<long> unkeyed,
        int trainingVectors,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (!index.IsTrained)
        {
            cancellationToken.ThrowIfCancellationRequested();
            float[] sample = Sample(keys, unkeyed, trainingVectors);
            long count = sample.Length / keys.Dimensions;
            progress?.Report(new("train vector index", 0, count));
            if (count == 0)
            {
                throw new DatabaseException("No chunk has a key, since none holds a word: there is nothing to train a vector index on.");
            }

            index.Train(sample);
            progress?.Report(new("train vector index", count, count));
        }

        int passed = 0; // chunks without a key
        foreach ((long first, int count) in Blocks(keys, "fill vector index", progress, cancellationToken))
        {
            ReadOnlySpan<float> rows = keys.Rows(first, count);
            int begin = 0; // of the rows that are not added yet
            for (; passed < unkeyed.Count && unkeyed[passed] < first + count; passed++)
            {
                int none = (int)(unkeyed[passed] - first);
                index.Add(rows[(begin * keys.Dimensions)..(none * keys.Dimensions)]);
                begin = none + 1;
            }

            index.Add(rows[(begin * keys.Dimensions)..]);
        }
    }

    private static IEnumerable<(long First, int Count)> Blocks(
        ChunkKeys keys, string stage, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        for (long first = 0; first < keys.Count; first += AddBlock)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new(stage, first, keys.Count));
            yield return (first, (int)Math.Min(AddBlock, keys.Count - first));
        }

        progress?.Report(new(stage, keys.Count, keys.Count));
    }

    /// <summary>Keys evenly spread over those of the database, as many as are asked for and fit an array.</summary>
    private static float[] Sample(ChunkKeys keys, List<long> unkeyed, int count)
    {
        KeyedChunks keyed = KeyedChunks.Without(unkeyed);
        count = Math.Min(count, Array.MaxLength / keys.Dimensions);
        float[] sample = new float[count * keys.Dimensions];
        for (int i = 0; i < count; i++)
        {
            keys.Row(keyed.ChunkOf(i * (keys.Count - unkeyed.Count) / count)).CopyTo(sample.AsSpan(i * keys.Dimensions));
        }

        return sample;
    }

    private static void Require(string path, string what, string? made, string? asked)
    {
        if (asked is not null && asked != made)
        {
            throw new DatabaseException($"The vector index {path} has the {what} {made}, and {asked} is asked for: leave that out, or build the index again.");
        }
    }

    /// <summary>How an index is made: what the options come to for so many keys.</summary>
    private sealed class Recipe : IDisposable
    {
        /// <param name="options">The options.</param>
        /// <param name="keys">The keys.</param>
        /// <param name="keyed">How many of them are none of zeros.</param>
        public Recipe(DenseNeighborOptions options, ChunkKeys keys, long keyed)
        {
            Plan = options.Plan(keyed, keys.Dimensions);
            Engine = VectorIndex.Choose(options.Engine);
            IsMeasured = Engine == VectorEngine.Faiss && Plan.Factory != VectorIndexPlan.Exact; // what compares with everything finds everything
            Recall = options.Parameters is null ? options.Recall : null;
            Parameters = options.Parameters
                ?? (IsMeasured ? string.Create(CultureInfo.InvariantCulture, $"{RecallParameters}>={options.Recall}") : "");

            // Made before asking whether there is anything to do, so that what the engine refuses is refused either way.
            Index = VectorIndex.Create(keys.Dimensions, Plan.Factory, options.Metric, Engine, Plan.Parameters, options.Threads);
            Dictionary<string, string> details = new()
            {
                [KeyFile.KeyerDetail] = keys.Identity,
                [FactoryDetail] = FactoryOf(Plan, Engine),
                [MetricDetail] = options.Metric.ToString(),
            };
            if (!Index.IsTrained)
            {
                details[TrainingDetail] = Plan.TrainingVectors.ToString(CultureInfo.InvariantCulture);
            }

            Details = details;
        }

        public VectorIndexPlan Plan { get; }

        public VectorEngine Engine { get; }

        /// <summary>Whether it may miss what is near, and so is measured.</summary>
        public bool IsMeasured { get; }

        /// <summary>What it has to find; null where it is said how far it looks.</summary>
        public double? Recall { get; }

        /// <summary>How far it looks, as the manifest says it.</summary>
        public string Parameters { get; }

        /// <summary>The index, empty.</summary>
        public VectorIndex Index { get; }

        /// <summary>What the manifest says of how it is made.</summary>
        public IReadOnlyDictionary<string, string> Details { get; }

        public void Dispose() => Index.Dispose();
    }
}
