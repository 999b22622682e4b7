using System.Diagnostics;
using System.Globalization;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Vectors;

namespace Retro.Benchmarks;

/// <summary>What the kinds of vector index cost over one set of keys, and what they find: whole vectors, bytes, product codes.</summary>
internal static class VectorIndexBenchmark
{
    private const int Queries = 512, Dimensions = 128;

    /// <summary>Runs it; RETRO_CHUNKS names another number of chunks, RETRO_FACTORIES other indexes, such as "IVF2048,PQ32np OPQ32,IVF2048,PQ32np".</summary>
    public static void Run()
    {
        long size = long.Parse(Environment.GetEnvironmentVariable("RETRO_CHUNKS") ?? "1000000", CultureInfo.InvariantCulture);
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-benchmark");
        string At(string name) => Path.Combine(folder.FullName, name);
        try
        {
            (RetroTokenizer tokenizer, int documents) = DatabaseBenchmark.Corpus(size, At("tokenizer"));
            using ChunkDatabase database = ChunkDatabaseBuilder.Build(At("database"), DatabaseBenchmark.Documents(documents, 2), tokenizer);
            ChunkKeyer keyer = new(tokenizer, new HashingEmbedder(Dimensions));
            KeyFile.Build(database, keyer);
            VectorIndexPlan plan = VectorIndexPlan.For(database.ChunkCount, Dimensions);
            string lists = plan.Factory.Split(',')[0];
            string[] factories = Environment.GetEnvironmentVariable("RETRO_FACTORIES")?.Split(' ')
                ?? [$"{lists},Flat", $"{lists},SQ8", $"{lists},PQ32np", $"OPQ32,{lists},PQ32np"];
            NeighborQuery[] queries = [.. Enumerable.Range(0, Queries).Select(i =>
            {
                long chunk = i * database.ChunkCount / Queries;
                return new NeighborQuery(database.Tokens(chunk)[..database.TokenCount(chunk)].ToArray(), [database.DocumentOf(chunk)]);
            })];
            Console.WriteLine(
                $"{DateTime.UtcNow:yyyy-MM-dd}, {ReportBenchmark.Processor()}, {Environment.ProcessorCount} threads; {database.ChunkCount:#,0} chunks, keys of "
                + $"{Dimensions} numbers by hashing, {plan.TrainingVectors:#,0} of them to train on.");
            Measuring.Head(
                $"Vector indexes of {database.ChunkCount:#,0} keys",
                "index",
                "train, s",
                "of it, s of one processor",
                "fill and measure, s",
                "file, MB",
                "memory at its peak, MB",
                "lists looked into",
                "recall",
                "a query, ms");
            foreach (string factory in factories)
            {
                double trained = 0, all = 0;
                DenseNeighborOptions options = new() { Factory = factory, TrainingVectors = plan.TrainingVectors > 0 ? plan.TrainingVectors : 65_536 };
                DenseNeighborSource source = null!;
                Watch progress = new();
                long before = Measuring.Private();
                long most = Measuring.MostPrivate(() =>
                {
                    long start = Stopwatch.GetTimestamp();
                    source = DenseNeighborSource.Build(database, keyer, options, progress);
                    all = Stopwatch.GetElapsedTime(start).TotalSeconds;
                    trained = progress.Trained;
                });
                long[] found = new long[Queries * 8];
                float[] scores = new float[found.Length];
                double milliseconds = 1e3 * Measuring.Median(1, () => source.Find(queries, 8, found, scores)) / Queries;
                DatabaseFile file = database.Files.Single(one => one.Name == StageNames.Index);
                source.Dispose();
                string looked = file.Details.GetValueOrDefault(IndexRecall.ParametersDetail) ?? "";
                string recall = file.Details.GetValueOrDefault(IndexRecall.RecallDetail) ?? "1";
                Measuring.Row(
                    $"{factory}",
                    $"{trained:0.0}",
                    $"{progress.Spent.TotalSeconds:0.0}",
                    $"{all - trained:0.0}",
                    $"{file.Bytes / 1e6:0.0}",
                    $"{(most - before) / 1e6:0}",
                    $"{looked}",
                    $"{recall}",
                    $"{milliseconds:0.00}");
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>Takes the time that training takes, which reports its begin and its end.</summary>
    private sealed class Watch : IProgress<StageProgress>
    {
        private long _start;
        private TimeSpan _before;

        public double Trained { get; private set; }

        public TimeSpan Spent { get; private set; }

        public void Report(StageProgress value)
        {
            if (value is { Stage: "train vector index", Done: 0 })
            {
                (_start, _before) = (Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime);
            }
            else if (value.Stage == "train vector index")
            {
                (Trained, Spent) = (Stopwatch.GetElapsedTime(_start).TotalSeconds, Environment.CpuUsage.TotalTime - _before);
            }
        }
    }
}
