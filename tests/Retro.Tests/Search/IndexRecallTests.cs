using System.Globalization;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Vectors;

namespace Retro.Tests.Search;

/// <summary>An index with inverted lists looks as far as a wanted recall takes, and says what was reached.</summary>
public class IndexRecallTests
{
    [Theory]
    [InlineData("IVF32,Flat", VectorMetric.SquaredL2)]
    [InlineData("IVF32,Flat", VectorMetric.InnerProduct)]
    [InlineData("IVF32,SQ8", VectorMetric.SquaredL2)]
    [InlineData("OPQ6,IVF32,PQ6np", VectorMetric.SquaredL2)]
    public void As_few_lists_as_the_recall_takes_are_looked_into_and_what_was_measured_is_true(string factory, VectorMetric metric)
    {
        using SearchDatabase data = new(SearchDatabase.Documents(700, seed: 81));
        Dictionary<double, long> lists = [];
        foreach (double wanted in new[] { 0.5, 0.9 })
        {
            DenseNeighborOptions options = new() { Factory = factory, Recall = wanted, Metric = metric, Threads = 2 };
            using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, data.Keyer(), options);
            Dictionary<string, string> measured = new(data.Database.Files.Single(file => file.Name == "index.faiss").Details);
            double said = double.Parse(measured["recall"], CultureInfo.InvariantCulture);
            Assert.InRange(said, wanted, 1);
            Assert.True(double.Parse(measured["queriesPerSecond"], CultureInfo.InvariantCulture) > 0);
            lists[wanted] = long.Parse(measured["searchParameters"].Split('=')[1], CultureInfo.InvariantCulture);

            // The same by hand: a sample of chunks, each without its own document.
            int count = data.Chunks.Count, probes = Math.Min(count, 256), hits = 0;
            for (int i = 0; i < probes; i++)
            {
                int chunk = (int)((long)i * count / probes);
                double[] scores = [.. Enumerable.Range(0, count).Select(other => Score(chunk, other))];
                int own = data.Database.DocumentOf(chunk);
                double worst = scores.Where((_, other) => data.Database.DocumentOf(other) != own).OrderDescending().ElementAt(7);
                (long[] found, _) = source.Ask([new NeighborQuery(data.Chunks[chunk], [own])], 8);
                hits += found.Count(other => scores[other] >= worst - 1e-5);
            }

            Assert.Equal(said, hits / (8.0 * probes), 0.02);

            // Asked again for the same, nothing is made; the index is opened with what was found.
            string before = data.Database.Files.Single(file => file.Name == "index.faiss").Sha256;
            using DenseNeighborSource again = DenseNeighborSource.Build(data.Database, data.Keyer(), options), opened = DenseNeighborSource.Open(
                data.Database, data.Keyer(), options);
            Assert.Equal(source.Identity, again.Identity);
            Assert.Equal(source.Identity, opened.Identity);
            Assert.Equal(before, data.Database.Files.Single(file => file.Name == "index.faiss").Sha256);
            if (lists[wanted] > 1)
            {
                Assert.True(RecallWith(data, options with { Parameters = $"nprobe={lists[wanted] - 1}" }) < wanted, $"{lists[wanted] - 1} lists are enough");
            }
        }

        Assert.True(lists[0.5] < lists[0.9], $"{lists[0.5]} and {lists[0.9]}");
        Assert.InRange(lists[0.9], 2, 32);

        double Score(int chunk, int other)
        {
            double sum = 0;
            for (int j = 0; j < SearchDatabase.Dimensions; j++)
            {
                double a = data.AllKeys[(chunk * SearchDatabase.Dimensions) + j], b = data.AllKeys[(other * SearchDatabase.Dimensions) + j];
                sum += metric == VectorMetric.InnerProduct ? a * b : -(a - b) * (a - b);
            }

            return sum;
        }
    }

    /// <summary>What resembles a chunk most stands in its own document, which is near it in the index as well.</summary>
    [Fact]
    public void Measured_is_what_neighbor_tables_ask_for()
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        Random random = new(7);
        using SearchDatabase data = new(Enumerable.Range(0, 200).Select(i =>
        {
            char[] letters = [.. Enumerable.Range(0, 3).Select(_ => (char)random.Next('a', 'z' + 1))];
            return new Document($"d{i}", "", string.Concat(Enumerable.Range(0, 120).Select(_ => letters[random.Next(3)])), "");
        }));
        using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, data.Keyer(), new() { Factory = "IVF64,Flat", Recall = 0.9 });
        double said = double.Parse(data.Database.Refresh().Find("index.faiss")!.Details["recall"], CultureInfo.InvariantCulture);
        int hits = 0, probes = 256;
        for (int i = 0; i < probes; i++)
        {
            int chunk = (int)((long)i * data.Chunks.Count / probes), own = data.Database.DocumentOf(chunk);
            (_, float[] scores) = source.Ask([new NeighborQuery(data.Chunks[chunk], [own])], 8);
            double worst = Score(data.Nearest(data.Chunks[chunk], 8, own)[7]);
            hits += scores.Count(score => score >= worst - 1e-5);

            double Score(long other)
                => DenseIndex.Score(
                    VectorMetric.SquaredL2,
                    SearchDatabase.KeyOf(data.Chunks[chunk]),
                    data.AllKeys.AsSpan((int)other * SearchDatabase.Dimensions, SearchDatabase.Dimensions));
        }

        Assert.InRange(said, 0.9, 1);
        Assert.Equal(said, hits / (8.0 * probes), 0.01);

        // The same in a check, and where there is no other document, the chunk alone is left out.
        StageCheck check = DatabaseVerification.Recompute(data.Database, [source], share: 1).Single(stage => stage.IsRecall);
        Assert.Equal(said, 1 - ((double)check.Wrong / check.Checked), 0.05);
        using SearchDatabase one = new([new Document("d", "", string.Concat(Enumerable.Range(0, 4000).Select(_ => (char)random.Next('a', 'z' + 1))), "")]);
        DenseNeighborSource.Build(one.Database, one.Keyer(), new() { Factory = "IVF16,Flat", Recall = 0.9 }).Dispose();
        IReadOnlyDictionary<string, string> details = one.Database.Refresh().Find("index.faiss")!.Details;
        Assert.InRange(double.Parse(details["recall"], CultureInfo.InvariantCulture), 0.9, 1);
        Assert.NotEqual("nprobe=1", details["searchParameters"]);
    }

    [Fact]
    public void A_graph_keeps_as_many_in_view_as_the_recall_takes()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(700, seed: 84));
        const double Wanted = 0.99;
        DenseNeighborOptions options = new() { Factory = "HNSW4", Recall = Wanted, Threads = 1 }; // several would make another graph each time
        using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, data.Keyer(), options);
        IReadOnlyDictionary<string, string> details = data.Database.Files.Single(file => file.Name == "index.faiss").Details;
        Assert.StartsWith("efSearch=", details["searchParameters"], StringComparison.Ordinal);
        Assert.InRange(double.Parse(details["recall"], CultureInfo.InvariantCulture), Wanted, 1);
        long seen = long.Parse(details["searchParameters"].Split('=')[1], CultureInfo.InvariantCulture);
        Assert.InRange(seen, 2, data.Chunks.Count - 1);
        Assert.True(RecallWith(data, options with { Parameters = $"efSearch={seen - 1}" }) < Wanted, $"{seen - 1} are enough");
    }

    [Fact]
    public void Where_codes_lose_what_is_wanted_it_looks_as_far_as_helps_and_says_so()
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c.");
        using SearchDatabase data = new(SearchDatabase.Documents(2500, seed: 86));
        List<string> messages = [];
        DenseNeighborOptions options = new() { Factory = "IVF64,PQ1x2np", Recall = 0.999, Threads = 2 };
        DenseNeighborSource.Build(data.Database, data.Keyer(), options, new Messages(messages)).Dispose();
        IReadOnlyDictionary<string, string> details = data.Database.Refresh().Find("index.faiss")!.Details;
        long lists = long.Parse(details["searchParameters"].Split('=')[1], CultureInfo.InvariantCulture);
        Assert.InRange(lists, 2, 63);
        Assert.Single(messages, message => message.Contains("; 99.9 % are wanted, and ", StringComparison.Ordinal));
        double said = double.Parse(details["recall"], CultureInfo.InvariantCulture), most = RecallWith(data, options with { Parameters = "nprobe=64" });
        Assert.InRange(most, 0.1, 0.998);
        Assert.InRange(said, 0.99 * most, 1);
    }

    [Fact]
    public void Another_recall_is_measured_on_the_index_that_is_there_and_other_training_makes_it_anew()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(300, seed: 84));
        DenseNeighborOptions options = new() { Factory = "IVF16,Flat", Recall = 0.5, TrainingVectors = 600 };
        DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
        (string sha, int few) = Made();
        using (DenseNeighborSource more = DenseNeighborSource.Build(data.Database, data.Keyer(), options with { Recall = 1 }))
        {
            Assert.Equal(sha, Made().Sha256);
            Assert.True(Made().Probed > few);
        }

        DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
        Assert.Equal((sha, few), Made());
        DenseNeighborSource.Build(data.Database, data.Keyer(), options with { TrainingVectors = 700 }).Dispose();
        Assert.NotEqual(sha, Made().Sha256);

        // As does what does not say on how many it was trained.
        DatabaseFile entry = Entry();
        data.Database.Register("index.faiss", entry.Details.Where(detail => detail.Key != "trainingVectors").ToDictionary());
        DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
        Assert.NotEqual(entry.Sha256, Made().Sha256);
        Assert.Equal("600", Entry().Details["trainingVectors"]);

        (string Sha256, int Probed) Made()
            => (Entry().Sha256, int.Parse(Entry().Details["searchParameters"].Split('=')[1], CultureInfo.InvariantCulture));

        DatabaseFile Entry() => data.Database.Refresh().Find("index.faiss")!;
    }

    [Fact]
    public void Other_parameters_are_set_and_measured_on_the_index_that_is_there()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(300, seed: 85));
        DenseNeighborOptions options = new() { Factory = "IVF16,Flat", Recall = 0.9 };
        DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
        DatabaseFile first = Entry();
        foreach (string parameters in new[] { "nprobe=16", "nprobe=1" })
        {
            using DenseNeighborSource said = DenseNeighborSource.Build(data.Database, data.Keyer(), options with { Parameters = parameters });
            Assert.Equal((first.Sha256, parameters, parameters), (Entry().Sha256, Entry().Details["parameters"], Entry().Details["searchParameters"]));
            Assert.Equal(parameters == "nprobe=1", Recall(Entry()) < Recall(first));
            using DenseNeighborSource opened = DenseNeighborSource.Open(data.Database, data.Keyer());
            Assert.Equal(opened.Identity, said.Identity);
        }

        DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
        Assert.Equal((first.Sha256, first.Details["searchParameters"]), (Entry().Sha256, Entry().Details["searchParameters"]));

        // What the new ones do not name would stay.
        DenseNeighborSource.Build(data.Database, data.Keyer(), options with { Parameters = "nprobe=16,max_codes=1" }).Dispose();
        Assert.True(Recall(Entry()) < 0.9);
        DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
        Assert.True(Recall(Entry()) >= 0.9);
        Assert.DoesNotContain("max_codes", Entry().Details["searchParameters"], StringComparison.Ordinal);

        // How a graph is made is another matter.
        DenseNeighborOptions graph = new() { Factory = "HNSW4", Threads = 1, Parameters = "efSearch=4" };
        DenseNeighborSource.Build(data.Database, data.Keyer(), graph).Dispose();
        string made = Entry().Sha256;
        DenseNeighborSource.Build(data.Database, data.Keyer(), graph with { Parameters = "efConstruction=4" }).Dispose();
        Assert.NotEqual(made, Entry().Sha256);

        DatabaseFile Entry() => data.Database.Refresh().Find("index.faiss")!;

        static double Recall(DatabaseFile entry) => double.Parse(entry.Details["recall"], CultureInfo.InvariantCulture);
    }

    private static double RecallWith(SearchDatabase data, DenseNeighborOptions options)
    {
        DenseNeighborSource.Build(data.Database, data.Keyer(), options).Dispose();
        return double.Parse(data.Database.Files.Single(file => file.Name == "index.faiss").Details["recall"], CultureInfo.InvariantCulture);
    }

    [Fact]
    public void What_codes_find_is_scored_anew_by_the_keys()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(700, seed: 82));
        using DenseNeighborSource source = DenseNeighborSource.Build(data.Database, data.Keyer(), new() { Factory = "IVF16,PQ3np" });
        foreach (int chunk in new[] { 3, 200, 411 })
        {
            (long[] found, float[] scores) = source.Ask([new(data.Chunks[chunk], [])], 8);
            for (int i = 0; i < found.Length; i++)
            {
                ReadOnlySpan<float> key = data.AllKeys.AsSpan((int)found[i] * SearchDatabase.Dimensions, SearchDatabase.Dimensions);
                double expected = DenseIndex.Score(VectorMetric.SquaredL2, SearchDatabase.KeyOf(data.Chunks[chunk]), key);
                Assert.Equal(expected, scores[i], 1e-6);
            }

            Assert.Equal(scores.OrderDescending(), scores);
        }
    }

    [Fact]
    public void Said_parameters_stay_and_are_measured_all_the_same()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(200, seed: 83));
        List<string> messages = [];
        using DenseNeighborSource source = DenseNeighborSource.Build(
            data.Database, data.Keyer(), new() { Factory = "IVF16,Flat", Parameters = "nprobe=1" }, new Messages(messages));
        IReadOnlyDictionary<string, string> details = data.Database.Files.Single(file => file.Name == "index.faiss").Details;
        Assert.Equal("nprobe=1", details["searchParameters"]);
        Assert.InRange(double.Parse(details["recall"], CultureInfo.InvariantCulture), 0.05, 0.999);
        Assert.Contains(messages, message => message.StartsWith("IVF16,Flat with nprobe=1 finds", StringComparison.Ordinal));
        Assert.Contains(
            "Recall is 1.5; expected more than 0 and at most 1",
            Assert.Throws<RetroOptionsException>(() => new DenseNeighborOptions { Recall = 1.5 }.Validate()).Message,
            StringComparison.Ordinal);
    }

    private sealed class Messages(List<string> into) : IProgress<StageProgress>
    {
        public void Report(StageProgress value)
        {
            if (value.Message is { } message)
            {
                into.Add(message);
            }
        }
    }
}
