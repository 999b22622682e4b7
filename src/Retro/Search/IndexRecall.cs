using System.Diagnostics;
using System.Globalization;
using Retro.Database;

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

    /// <summary>The names of these.</summary>
    public static readonly string[] Details = [RecallDetail, ParametersDetail, RateDetail];

    /// <summary>K of recall@K.</summary>
    public const int Neighbors = 8;

    private const int MostProbes = 256, LeastProbes = 32;

    /// <summary>Most vectors that a search of a graph keeps in view: beyond it is no faster than comparing with everything.</summary>
    private const long MostSeen = 4096;

    /// <summary>Products that the comparison with everything may cost: minutes, where the index itself took hours.</summary>
    private const double MostProducts = 1e13;

    /// <summary>Measures an index that was just filled.</summary>
    /// <param name="segment">The database whose keys it holds.</param>
    /// <param name="index">The index; where it has lists and a recall is wanted, it is left with as many looked into as that takes.</param>
    /// <param name="keys">The keys, checked.</param>
    /// <param name="unkeyed">The chunks that have none.</param>
    /// <param name="factory">FAISS's factory text of the index.</param>
    /// <param name="wanted">The recall to reach; null: how far the index looks is said already.</param>
    /// <param name="progress">Told the probes, and in a message what was reached.</param>
    /// <param name="cancellationToken">Stops between searches.</param>
    /// <returns>What the manifest says.</returns>
    public static Dictionary<string, string> Measure(
        ChunkDatabase segment,
        VectorIndex index,
        KeyFile keys,
        IReadOnlyList<long> unkeyed,
        string factory,
        double? wanted,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        const string Stage = "measure the vector index";
        int dimensions = keys.Dimensions, neighbors = (int)Math.Min(Neighbors, index.Count - 1);
        if (neighbors < 1)
        {
            return [];
        }

        // --- the truth ---
        KeyedChunks keyed = KeyedChunks.Without(unkeyed);
        int probes = (int)Math.Min(index.Count, Math.Clamp(MostProducts / ((double)keys.Count * dimensions), LeastProbes, MostProbes));
        progress?.Report(new(Stage, 0, probes));
        ChunkRange[][] own = [.. Enumerable.Range(0, probes).Select(i => new[] { new ChunkRange(keyed.ChunkOf(i * index.Count / probes), 1) })];
        float[] queries = new float[probes * dimensions];
        for (int i = 0; i < probes; i++)
        {
            keys.Row(own[i][0].First).CopyTo(queries.AsSpan(i * dimensions));
        }

        (long[] nearest, double[] worst) = (new long[probes * (neighbors + 1)], new double[probes]);
        keys.Nearest(queries, index.Metric, index.Threads, unkeyed, nearest);
        cancellationToken.ThrowIfCancellationRequested();
        for (int i = 0; i < probes; i++)
        {
            // Itself, or another of the same key, is among them.
            ReadOnlySpan<float> query = queries.AsSpan(i * dimensions, dimensions);
            List<double> scores = [];
            foreach (long chunk in nearest.AsSpan(i * (neighbors + 1), neighbors + 1))
            {
                if (chunk != own[i][0].First)
                {
                    scores.Add(DenseIndex.Score(index.Metric, query, keys.Row(chunk)));
                }
            }

            worst[i] = scores.OrderDescending().ElementAt(neighbors - 1);
        }

        // --- what is found ---
        DenseIndex searched = new(segment, index, dimensions, keyed, keys, factory); // owns nothing here: index and keys are the caller's
        ChunkSet?[] visible = new ChunkSet?[probes];
        (long[] found, float[] scored) = (new long[probes * neighbors], new float[probes * neighbors]);
        double Recall()
        {
            cancellationToken.ThrowIfCancellationRequested();
            searched.Find(queries, own, visible, neighbors, found, scored, cancellationToken);
            long hits = 0;
            for (int i = 0; i < found.Length; i++)
            {
                double least = worst[i / neighbors];
                hits += found[i] >= 0 && scored[i] >= least - (1e-5 * Math.Max(Math.Abs(least), 1e-5)) ? 1 : 0;
            }

            return (double)hits / found.Length;
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
        double rate = probes / clock.Elapsed.TotalSeconds;
        string what = index.Parameters.Length > 0 ? $"{factory} with {index.Parameters}" : factory;
        string message = string.Create(
            CultureInfo.InvariantCulture, $"{what} finds {100 * recall:0.0} % of the {neighbors} nearest, {rate:#,0} queries a second");
        progress?.Report(new(Stage, probes, probes, message));
        return new()
        {
            [RecallDetail] = recall.ToString("0.0000", CultureInfo.InvariantCulture),
            [ParametersDetail] = index.Parameters,
            [RateDetail] = rate.ToString("0", CultureInfo.InvariantCulture),
        };
    }
}
