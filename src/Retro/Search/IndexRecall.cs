using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Retro.Database;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>
/// How much of what is nearest an index that does not compare with everything finds, measured when it is made: some of the database's own keys are asked for
/// their neighbors, and the answers compared with those of a comparison with all keys. An index with inverted lists is told to look into as many as a wanted
/// recall takes, a graph to keep as many vectors in view.
/// </summary>
internal static class IndexRecall
{
    /// <summary>What the manifest says of it: the share that was found, with how many lists, and the queries a second.</summary>
    public const string RecallDetail = "recall", ParametersDetail = "searchParameters", RateDetail = "queriesPerSecond";

    /// <summary>The file that says what was measured over all segments of a changed database.</summary>
    public const string FileName = StageNames.Recall;

    /// <summary>The names of these.</summary>
    public static readonly string[] Details = [RecallDetail, ParametersDetail, RateDetail];

    /// <summary>K of recall@K.</summary>
    public const int Neighbors = 8;

    private const string Stage = "measure the vector index", IndexesDetail = "indexes";
    private const int MostProbes = 256, LeastProbes = 32;

    /// <summary>Most vectors that a search of a graph keeps in view: beyond it is no faster than comparing with everything.</summary>
    private const long MostSeen = 4096;

    /// <summary>Products that the comparison with everything may cost: minutes, where the index itself took hours.</summary>
    private const double MostProducts = 1e13;

    /// <summary>Measures an index that was just filled.</summary>
    /// <param name="database">The database whose keys it holds.</param>
    /// <param name="index">The index; where it has lists and a recall is wanted, it is left with as many looked into as that takes.</param>
    /// <param name="keys">The keys, checked.</param>
    /// <param name="unkeyed">The chunks that have none.</param>
    /// <param name="factory">FAISS's factory text of the index.</param>
    /// <param name="wanted">The recall to reach; null: how far the index looks is said already.</param>
    /// <param name="progress">Told the probes, and in a message what was reached.</param>
    /// <param name="cancellationToken">Stops between searches.</param>
    /// <returns>What the manifest says.</returns>
    public static Dictionary<string, string> Measure(
        ChunkDatabase database,
        VectorIndex index,
        ChunkKeys keys,
        IReadOnlyList<long> unkeyed,
        string factory,
        double? wanted,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        KeyedChunks keyed = KeyedChunks.Without(unkeyed);
        if (Probes.Of(keys, keyed, index.Metric, index.Threads, progress, cancellationToken) is not { } probes)
        {
            return [];
        }

        int neighbors = probes.Neighbors;
        DenseIndex searched = new(database, index, keys.Dimensions, keyed, keys, factory); // owns nothing here: index and keys are the caller's
        ExcludedChunks[] own = Array.ConvertAll(probes.Chunks, chunk => new ExcludedChunks(new ChunkRange(chunk, 1)));
        ChunkSet?[] visible = new ChunkSet?[own.Length];
        (long[] found, float[] scored) = (new long[own.Length * neighbors], new float[own.Length * neighbors]);
        double Recall()
        {
            cancellationToken.ThrowIfCancellationRequested();
            searched.Find(probes.Queries, own, visible, neighbors, found, scored, cancellationToken);
            return probes.Recall(found, scored);
        }

        bool graph = index.ListCount == 0 && factory.Contains("HNSW", StringComparison.Ordinal);
        if (wanted is { } target && (index.ListCount > 0 || graph))
        {
            // Doubled until it is enough, then the fewest between.
            (string effort, long most) = graph ? ("efSearch", Math.Min(index.Count, MostSeen)) : ("nprobe", index.ListCount);
            long enough = 1, few = 0;
            while (!Reaches(enough) && enough < most)
            {
                (few, enough) = (enough, Math.Min(most, 2 * enough));
            }

            while (enough - few > 1)
            {
                long middle = (few + enough) / 2;
                (few, enough) = Reaches(middle) ? (few, middle) : (middle, enough);
            }

            Look(enough);

            bool Reaches(long far)
            {
                Look(far);
                return Recall() >= target;
            }

            void Look(long far) => index.Use(string.Create(CultureInfo.InvariantCulture, $"{effort}={far}"));
        }

        Stopwatch clock = Stopwatch.StartNew();
        double recall = Recall();
        double rate = own.Length / clock.Elapsed.TotalSeconds;
        string what = index.Parameters.Length > 0 ? $"{factory} with {index.Parameters}" : factory;
        string message = string.Create(
            CultureInfo.InvariantCulture, $"{what} finds {100 * recall:0.0} % of the {neighbors} nearest, {rate:#,0} queries a second");
        progress?.Report(new(Stage, own.Length, own.Length, message));
        return new()
        {
            [RecallDetail] = Text(recall),
            [ParametersDetail] = index.Parameters,
            [RateDetail] = rate.ToString("0", CultureInfo.InvariantCulture),
        };
    }

    /// <summary>
    /// Whether the indexes of a changed database find enough together. Each was measured on chunks of its own segment when it was made; what was added since
    /// may lie where it does not look. What was measured stands in the file <c>recall.json</c> beside the manifest until the next change. A change that is too
    /// small for a probe to fall into is not measured.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="source">The source over all segments.</param>
    /// <param name="wanted">The recall that is enough.</param>
    /// <param name="threads">Threads that compare.</param>
    /// <param name="progress">Told the probes, and in a message what is to be done about too little.</param>
    /// <param name="cancellationToken">Stops between searches.</param>
    /// <exception cref="DatabaseException">There are no keys, or the file cannot be written.</exception>
    public static bool IsEnough(
        ChunkDatabase database,
        DenseNeighborSource source,
        double wanted,
        int threads,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        ChunkDatabase first = database.Segments[0];
        long removed = database.Removed[0].Sum(document => first.ChunksOf(document).Count), added = database.ChunkCount - (first.ChunkCount - removed);
        Dictionary<string, string> details = new() { [IndexesDetail] = source.Identity };
        if ((added + removed) * MostProbes < database.ChunkCount)
        {
            return true;
        }

        double recall = 1;
        bool isKnown = StageFile.IsMade(database, FileName, details, RecallDetail)
            && double.TryParse(database.Manifest.Find(FileName)!.Details[RecallDetail], NumberStyles.Float, CultureInfo.InvariantCulture, out recall);
        if (!isKnown)
        {
            recall = 1;
            using ChunkKeys keys = ChunkKeys.Open(database);
            if (Probes.Of(keys, KeyedChunks.OfSegments(database), source.Metric, threads, progress, cancellationToken) is { } probes)
            {
                (long[] found, float[] scored) = Ask(source, keys, probes, cancellationToken);
                recall = probes.Recall(found, scored);
            }

            details[RecallDetail] = Text(recall);
            using WriterLock writing = database.Write("measure the vector index");
            AtomicFile.WriteText(
                database.PathOf(FileName),
                JsonSerializer.Serialize(new SortedDictionary<string, string>(details)) + "\n",
                DatabaseException.Of);
            database.Enter(writing, FileName, details, progress, cancellationToken);
        }

        if (!isKnown || recall < wanted)
        {
            string found = string.Create(CultureInfo.InvariantCulture, $"over all segments {100 * recall:0.0} % of the {Neighbors} nearest are found");
            string remedy = string.Create(CultureInfo.InvariantCulture, $", and {100 * wanted:0.0} % are wanted: an index of all chunks is trained");
            progress?.Report(new(Stage, 1, 1, recall < wanted ? found + remedy : found));
        }

        return recall >= wanted;
    }

    private static string Text(double recall) => recall.ToString("0.0000", CultureInfo.InvariantCulture);

    /// <summary>How many of the nearest of some chunks a source does not find.</summary>
    /// <param name="database">The database.</param>
    /// <param name="source">The source over it.</param>
    /// <param name="keys">The keys, checked.</param>
    /// <param name="chunks">The chunks; those without a key are passed over.</param>
    /// <param name="cancellationToken">Stops between searches.</param>
    public static StageCheck Check(
        ChunkDatabase database, DenseNeighborSource source, ChunkKeys keys, IEnumerable<long> chunks, CancellationToken cancellationToken)
    {
        string stage = $"recall@{Neighbors} of {VectorIndexFile.FileName}";
        long[] asked = [.. chunks.Where(chunk => !KeyedChunks.IsNone(keys.Row(chunk)))];
        if (Probes.Of(keys, KeyedChunks.OfSegments(database), asked, source.Metric, Environment.ProcessorCount, cancellationToken) is not { } probes)
        {
            return new(stage, 0, 0, null, IsRecall: true);
        }

        (long[] found, float[] scored) = Ask(source, keys, probes, cancellationToken);
        int[] hits = [.. asked.Select((_, i) => probes.HitsOf(i, found, scored))];
        int poor = Array.FindIndex(hits, good => good < probes.Neighbors);
        string? example = poor < 0 ? null : $"chunk {asked[poor]}: {hits[poor]} of its {probes.Neighbors} nearest are found";
        return new(stage, found.Length, found.Length - hits.Sum(), example, IsRecall: true);
    }

    /// <summary>What a source finds for probes, without the probe itself, which is nearest to itself; scored by the keys, as the true nearest are.</summary>
    private static (long[] Found, float[] Scores) Ask(DenseNeighborSource source, ChunkKeys keys, Probes probes, CancellationToken cancellationToken)
    {
        int count = probes.Neighbors + 1, dimensions = source.Dimensions;
        NeighborQuery[] queries =
            [.. probes.Chunks.Select((_, i) => new NeighborQuery(default, []) { Key = probes.Queries.AsMemory(i * dimensions, dimensions) })];
        long[] found = new long[queries.Length * count];
        source.Find(queries, count, found, new float[found.Length], cancellationToken);
        List<long> others = [];
        List<float> scores = [];
        for (int i = 0; i < queries.Length; i++)
        {
            int self = Math.Max(0, found.AsSpan(i * count, count).IndexOf(probes.Chunks[i]));
            self = found[(i * count) + self] == probes.Chunks[i] ? self : count - 1;
            for (int j = 0; j < count; j++)
            {
                if (j != self)
                {
                    long other = found[(i * count) + j];
                    others.Add(other);
                    scores.Add(other < 0 ? float.NaN : (float)DenseIndex.Score(source.Metric, queries[i].Key.Span, keys.Row(other)));
                }
            }
        }

        return ([.. others], [.. scores]);
    }

    /// <summary>Some of a database's own chunks as queries, and how near the last of the true nearest is.</summary>
    /// <param name="Chunks">Their numbers.</param>
    /// <param name="Queries"><c>[n, D]</c>: their keys.</param>
    /// <param name="Worst">Of each, the score of the K-th nearest, itself left out.</param>
    /// <param name="Neighbors">K.</param>
    private sealed record Probes(long[] Chunks, float[] Queries, double[] Worst, int Neighbors)
    {
        /// <summary>Chooses them evenly, and compares them with all; null where there are too few chunks.</summary>
        public static Probes? Of(
            ChunkKeys keys, KeyedChunks keyed, VectorMetric metric, int threads, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
        {
            long rows = keys.Count - keyed.Missing;
            int count = (int)Math.Min(rows, Math.Clamp(MostProducts / ((double)keys.Count * keys.Dimensions), LeastProbes, MostProbes));
            progress?.Report(new(Stage, 0, count));
            return Of(keys, keyed, [.. Enumerable.Range(0, count).Select(i => keyed.ChunkOf(i * rows / count))], metric, threads, cancellationToken);
        }

        /// <summary>Compares some chunks with all; null where there are too few.</summary>
        public static Probes? Of(
            ChunkKeys keys, KeyedChunks keyed, long[] chunks, VectorMetric metric, int threads, CancellationToken cancellationToken)
        {
            int count = chunks.Length, dimensions = keys.Dimensions, neighbors = (int)Math.Min(IndexRecall.Neighbors, keys.Count - keyed.Missing - 1);
            if (count < 1 || neighbors < 1)
            {
                return null;
            }

            float[] queries = new float[count * dimensions];
            for (int i = 0; i < count; i++)
            {
                keys.Row(chunks[i]).CopyTo(queries.AsSpan(i * dimensions));
            }

            (long[] nearest, double[] worst) = (new long[count * (neighbors + 1)], new double[count]);
            keys.Nearest(queries, metric, threads, [.. keyed.Unkeyed], nearest);
            cancellationToken.ThrowIfCancellationRequested();
            for (int i = 0; i < count; i++)
            {
                // Itself, or another of the same key, is among them.
                ReadOnlySpan<float> query = queries.AsSpan(i * dimensions, dimensions);
                List<double> scores = [];
                foreach (long chunk in nearest.AsSpan(i * (neighbors + 1), neighbors + 1))
                {
                    if (chunk != chunks[i])
                    {
                        scores.Add(DenseIndex.Score(metric, query, keys.Row(chunk)));
                    }
                }

                worst[i] = scores.OrderDescending().ElementAt(neighbors - 1);
            }

            return new(chunks, queries, worst, neighbors);
        }

        /// <summary>The share of the nearest that was found; one that is as near as the last of them is as good.</summary>
        /// <param name="found"><c>[n, K]</c>, -1 where there are no more.</param>
        /// <param name="scores"><c>[n, K]</c>.</param>
        public double Recall(long[] found, float[] scores) => (double)Chunks.Select((_, i) => HitsOf(i, found, scores)).Sum() / found.Length;

        /// <summary>How many of the nearest of a probe were found.</summary>
        public int HitsOf(int probe, long[] found, float[] scores)
        {
            double least = Worst[probe] - (1e-5 * Math.Max(Math.Abs(Worst[probe]), 1e-5));
            return Enumerable.Range(probe * Neighbors, Neighbors).Count(i => found[i] >= 0 && scores[i] >= least);
        }
    }
}
