using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Retro.Database;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>
/// How much of what is nearest an index that does not compare with everything finds, measured when it is made: some of the database's own keys are asked for
/// their neighbors outside of their own documents, as neighbor tables do, and the answers compared with those of a comparison with all keys. An index with
/// inverted lists is told to look into as many as a wanted recall takes, a graph to keep as many vectors in view.
/// </summary>
internal static class IndexRecall
{
    /// <summary>What the manifest says of it: the share that was found, with how many lists, and the queries a second.</summary>
    public const string RecallDetail = "recall", ParametersDetail = "searchParameters", RateDetail = "queriesPerSecond";

    /// <summary>The names of these.</summary>
    public static readonly string[] Details = [RecallDetail, ParametersDetail, RateDetail];

    /// <summary>K of recall@K.</summary>
    public const int Neighbors = 8;

    private const string Stage = "measure the vector index", IndexesDetail = "indexes";
    private const int MostProbes = 256, LeastProbes = 32;

    /// <summary>Most vectors that a search of a graph keeps in view: beyond it is no faster than comparing with everything.</summary>
    private const long MostSeen = 4096;

    /// <summary>
    /// The part of what an index finds at most that is enough where that is less than is wanted: for the last hundredth it would look many times as far.
    /// </summary>
    private const double OfMost = 0.99;

    /// <summary>Products that the comparison with everything may cost: minutes, where the index itself took hours.</summary>
    private const double MostProducts = 1e13;

    /// <summary>Measures an index that was just filled.</summary>
    /// <param name="database">The database whose keys it holds.</param>
    /// <param name="index">The index; where it has lists and a recall is wanted, it is left with as many looked into as that takes.</param>
    /// <param name="keys">The keys, checked.</param>
    /// <param name="unkeyed">The chunks that have none.</param>
    /// <param name="factory">FAISS's factory text of the index.</param>
    /// <param name="wanted">The recall to reach; null: how far the index looks is said already.</param>
    /// <param name="progress">Receives the number of probes, and in a message what was reached.</param>
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
        if (Probes.Of(database, keys, keyed, index.Metric, index.Threads, progress, cancellationToken) is not { } probes)
        {
            return [];
        }

        int neighbors = probes.Neighbors;
        DenseIndex searched = new(database, index, keys.Dimensions, keyed, keys, factory); // owns nothing here: index and keys are the caller's
        ExcludedChunks[] own = Array.ConvertAll(probes.Own, range => new ExcludedChunks(range));
        ChunkSet?[] visible = new ChunkSet?[own.Length];
        (long[] found, float[] scored) = (new long[own.Length * neighbors], new float[own.Length * neighbors]);
        double Recall()
        {
            cancellationToken.ThrowIfCancellationRequested();
            searched.Find(probes.Queries, own, visible, neighbors, found, scored, cancellationToken);
            return probes.Recall(found, scored);
        }

        bool graph = index.ListCount == 0 && factory.Contains("HNSW", StringComparison.Ordinal);
        string beyond = "";
        if (wanted is { } target && (index.ListCount > 0 || graph))
        {
            (string effort, long most) = graph ? ("efSearch", Math.Min(index.Count, MostSeen)) : ("nprobe", index.ListCount);
            Dictionary<long, double> known = [];
            long enough = Fewest(target);
            if (RecallAt(enough) < target)
            {
                // Codes, or the links of a graph, lose what no effort brings back.
                double ceiling = RecallAt(most);
                enough = Fewest(OfMost * ceiling);
                beyond = string.Create(
                    CultureInfo.InvariantCulture,
                    $"; {100 * target:0.0} % are wanted, and {100 * ceiling:0.0} % is all that it finds however far it looks: keep more of the vectors");
            }

            Look(enough);

            // Doubled until it is enough, then the fewest between; the most where nothing is.
            long Fewest(double goal)
            {
                long far = 1, few = 0;
                while (RecallAt(far) < goal && far < most)
                {
                    (few, far) = (far, Math.Min(most, 2 * far));
                }

                while (far - few > 1 && RecallAt(far) >= goal)
                {
                    long middle = (few + far) / 2;
                    (few, far) = RecallAt(middle) >= goal ? (few, middle) : (middle, far);
                }

                return far;
            }

            double RecallAt(long far)
            {
                if (!known.TryGetValue(far, out double recall))
                {
                    Look(far);
                    known.Add(far, recall = Recall());
                }

                return recall;
            }

            void Look(long far) => index.Use(string.Create(CultureInfo.InvariantCulture, $"{effort}={far}"));
        }

        Stopwatch clock = Stopwatch.StartNew();
        double recall = Recall();
        double rate = own.Length / clock.Elapsed.TotalSeconds;
        string what = index.Parameters.Length > 0 ? $"{factory} with {index.Parameters}" : factory;
        string message = string.Create(
            CultureInfo.InvariantCulture, $"{what} finds {100 * recall:0.0} % of the {neighbors} nearest, {rate:#,0} queries a second{beyond}");
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
    /// may lie where it does not look. Where the first of them, the most of the database, does not reach what is wanted by itself, another of its kind would
    /// not either, and what it reached is enough. What was measured stands in the file <c>recall.json</c> beside the manifest until the next change,
    /// where it can be written; nothing is lacking but that where it cannot. A change that is too small for a probe to fall into is not measured.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="source">The source over all segments.</param>
    /// <param name="wanted">The recall that is enough.</param>
    /// <param name="threads">Threads that compare.</param>
    /// <param name="progress">Receives the number of probes, and in a message what is to be done about too little.</param>
    /// <param name="cancellationToken">Stops between searches.</param>
    /// <exception cref="DatabaseException">There are no keys.</exception>
    public static bool IsEnough(
        ChunkDatabase database,
        DenseNeighborSource source,
        double wanted,
        int threads,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        ChunkDatabase first = database.Segments[0];
        string? alone = first.Manifest.Find(VectorIndexFile.NameOf(first))?.Details.GetValueOrDefault(RecallDetail);
        if (double.TryParse(alone, NumberStyles.Float, CultureInfo.InvariantCulture, out double reached) && reached < wanted)
        {
            wanted = OfMost * reached;
        }

        long removed = database.Removed[0].Sum(document => first.ChunksOf(document).Count), added = database.ChunkCount - (first.ChunkCount - removed);
        Dictionary<string, string> details = new() { [IndexesDetail] = source.Identity };
        if ((added + removed) * MostProbes < database.ChunkCount)
        {
            return true;
        }

        string? known = StageFile.FindMade(database, StageNames.Recall, details, RecallDetail)?.Details.GetValueOrDefault(RecallDetail);
        bool isKnown = double.TryParse(known, NumberStyles.Float, CultureInfo.InvariantCulture, out double recall);
        if (!isKnown)
        {
            recall = 1;
            using ChunkKeys keys = ChunkKeys.Open(database);
            if (Probes.Of(database, keys, KeyedChunks.OfSegments(database), source.Metric, threads, progress, cancellationToken) is { } probes)
            {
                (long[] found, float[] scored) = Ask(database, source, keys, probes, cancellationToken);
                recall = probes.Recall(found, scored);
            }

            details[RecallDetail] = Text(recall);
            Keep(database, details, progress, cancellationToken);
        }

        if (!isKnown || recall < wanted)
        {
            string found = string.Create(CultureInfo.InvariantCulture, $"over all segments {100 * recall:0.0} % of the {Neighbors} nearest are found");
            string remedy = string.Create(CultureInfo.InvariantCulture, $", and {100 * wanted:0.0} % are wanted: an index of all chunks is trained");
            progress?.Report(new(Stage, 1, 1, recall < wanted ? found + remedy : found));
        }

        return recall >= wanted;
    }

    /// <summary>Keeps what was measured with the database, where that can be done: it is a saving alone.</summary>
    private static void Keep(
        ChunkDatabase database, Dictionary<string, string> details, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        try
        {
            using WriterLock writing = database.Write(Stage);
            AtomicFile.WriteText(
                database.PathOf(StageNames.Recall),
                JsonSerializer.Serialize(new SortedDictionary<string, string>(details)) + "\n",
                DatabaseException.Of);
            database.Enter(writing, StageNames.Recall, details, progress, cancellationToken);
        }
        catch (DatabaseException fault)
        {
            progress?.Report(new(Stage, 1, 1, $"The recall is not kept, and is measured again the next time. {fault.Message}"));
        }
    }

    /// <summary>By how much scores may differ from one that rounding alone tells from it, however small the numbers of the keys are.</summary>
    /// <param name="score">The score.</param>
    public static double RoundingOf(double score) => 1e-5 * Math.Max(Math.Abs(score), 1e-5);

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
        string stage = $"recall@{Neighbors} of {StageNames.Index}";
        long[] asked = [.. chunks.Where(chunk => !KeyedChunks.IsNone(keys.Row(chunk)))];
        KeyedChunks keyed = KeyedChunks.OfSegments(database);
        if (Probes.Of(database, keys, keyed, asked, source.Metric, Environment.ProcessorCount, cancellationToken) is not { } probes)
        {
            return new(stage, 0, 0, null, IsRecall: true);
        }

        (long[] found, float[] scored) = Ask(database, source, keys, probes, cancellationToken);
        int[] hits = [.. asked.Select((_, i) => probes.HitsOf(i, found, scored))];
        int poor = Array.FindIndex(hits, good => good < probes.Neighbors);
        string? example = poor < 0 ? null : $"chunk {asked[poor]}: {hits[poor]} of its {probes.Neighbors} nearest are found";
        return new(stage, found.Length, found.Length - hits.Sum(), example, IsRecall: true);
    }

    /// <summary>What a source finds for probes, without what is left out of the true nearest; scored by the keys, as those are.</summary>
    private static (long[] Found, float[] Scores) Ask(
        ChunkDatabase database, DenseNeighborSource source, ChunkKeys keys, Probes probes, CancellationToken cancellationToken)
    {
        int count = probes.Neighbors + 1, dimensions = source.Dimensions;
        NeighborQuery[] queries =
        [
            .. probes.Chunks.Select((chunk, i) => new NeighborQuery(default, probes.Own[i].Count > 1 ? [database.DocumentOf(chunk)] : [])
            {
                Key = probes.Queries.AsMemory(i * dimensions, dimensions),
            }),
        ];
        long[] found = new long[queries.Length * count];
        source.Find(queries, count, found, new float[found.Length], cancellationToken);
        List<long> others = [];
        List<float> scores = [];
        for (int i = 0; i < queries.Length; i++)
        {
            // Where its document is not left out, the probe itself is the nearest.
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
    /// <param name="Own">
    /// Of each, what is left out of the true nearest: the chunks of its document, as in neighbor tables; the chunk alone where fewer than K are in others.
    /// </param>
    /// <param name="Worst">Of each, the score of the K-th nearest of the others.</param>
    /// <param name="Neighbors">K.</param>
    private sealed record Probes(long[] Chunks, float[] Queries, ChunkRange[] Own, double[] Worst, int Neighbors)
    {
        /// <summary>Chunks of a document that are looked for beside the neighbors, to be left out then; a longer one is left out by itself.</summary>
        private const int MostOwn = 4096;

        /// <summary>Chooses them evenly, and compares them with all; null where there are too few chunks.</summary>
        public static Probes? Of(
            ChunkDatabase database,
            ChunkKeys keys,
            KeyedChunks keyed,
            VectorMetric metric,
            int threads,
            IProgress<StageProgress>? progress,
            CancellationToken cancellationToken)
        {
            long rows = keys.Count - keyed.Missing;
            int count = (int)Math.Min(rows, Math.Clamp(MostProducts / ((double)keys.Count * keys.Dimensions), LeastProbes, MostProbes));
            progress?.Report(new(Stage, 0, count));
            long[] chunks = [.. Enumerable.Range(0, count).Select(i => keyed.ChunkOf(i * rows / count))];
            return Of(database, keys, keyed, chunks, metric, threads, cancellationToken);
        }

        /// <summary>Compares some chunks with all; null where there are too few.</summary>
        public static Probes? Of(
            ChunkDatabase database,
            ChunkKeys keys,
            KeyedChunks keyed,
            long[] chunks,
            VectorMetric metric,
            int threads,
            CancellationToken cancellationToken)
        {
            long rows = keys.Count - keyed.Missing;
            int count = chunks.Length, dimensions = keys.Dimensions, neighbors = (int)Math.Min(IndexRecall.Neighbors, rows - 1);
            if (count < 1 || neighbors < 1)
            {
                return null;
            }

            float[] queries = Keys([.. Enumerable.Range(0, count)]);
            double[] worst = new double[count];
            ChunkRange[] own = Array.ConvertAll(chunks, OwnOf);

            // Those of long documents are asked apart, a document at a time.
            foreach (IGrouping<long, int> alike in Enumerable.Range(0, count).GroupBy(i => own[i].Count > MostOwn ? own[i].First : -1))
            {
                cancellationToken.ThrowIfCancellationRequested();
                int[] some = [.. alike];
                IEnumerable<long> hidden = alike.Key < 0 ? [] : database.ChunkNumbersOf(database.DocumentOf(alike.Key));
                int width = neighbors + (alike.Key < 0 ? (int)some.Max(i => own[i].Count) : 0);
                long[] nearest = new long[some.Length * width];
                keys.Nearest(Keys(some), metric, threads, [.. keyed.Unkeyed.Union(hidden).Order()], nearest);
                for (int at = 0; at < some.Length; at++)
                {
                    int i = some[at];
                    List<double> scores = [];
                    foreach (long chunk in nearest.AsSpan(at * width, width))
                    {
                        if (chunk >= 0 && (chunk < own[i].First || chunk >= own[i].End))
                        {
                            scores.Add(DenseIndex.Score(metric, queries.AsSpan(i * dimensions, dimensions), keys.Row(chunk)));
                        }
                    }

                    worst[i] = scores.OrderDescending().ElementAt(neighbors - 1);
                }
            }

            return new(chunks, queries, own, worst, neighbors);

            float[] Keys(int[] some)
            {
                float[] gathered = new float[some.Length * dimensions];
                for (int at = 0; at < some.Length; at++)
                {
                    keys.Row(chunks[some[at]]).CopyTo(gathered.AsSpan(at * dimensions));
                }

                return gathered;
            }

            ChunkRange OwnOf(long chunk)
            {
                (long first, long length) = database.ChunksOf(database.DocumentOf(chunk));
                return rows - length >= neighbors ? new(first, length) : new(chunk, 1);
            }
        }

        /// <summary>The share of the nearest that was found; one that is as near as the last of them is as good.</summary>
        /// <param name="found"><c>[n, K]</c>, -1 where there are no more.</param>
        /// <param name="scores"><c>[n, K]</c>.</param>
        public double Recall(long[] found, float[] scores) => (double)Chunks.Select((_, i) => HitsOf(i, found, scores)).Sum() / found.Length;

        /// <summary>How many of the nearest of a probe were found.</summary>
        public int HitsOf(int probe, long[] found, float[] scores)
        {
            double least = Worst[probe] - RoundingOf(Worst[probe]);
            return Enumerable.Range(probe * Neighbors, Neighbors).Count(i => found[i] >= 0 && scores[i] >= least);
        }
    }
}
