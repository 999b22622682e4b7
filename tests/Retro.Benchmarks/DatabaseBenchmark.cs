using System.Diagnostics;
using System.Globalization;
using System.Text;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Benchmarks;

/// <summary>
/// What a database costs as it grows: made text from its documents to neighbors, each stage at ten thousand, a hundred thousand and a million chunks, with the
/// exponent of the growth, the memory at its peak, and what opening and adding to it take.
/// </summary>
internal static class DatabaseBenchmark
{
    private const int Words = 30_000, WordsOfADocument = 1_500, Queries = 512, Dimensions = 128;

    /// <summary>Runs it; RETRO_CHUNKS names other sizes, such as "1000 5000".</summary>
    public static void Run()
    {
        long[] sizes = [.. (Environment.GetEnvironmentVariable("RETRO_CHUNKS") ?? "10000 100000 1000000").Split(' ').Select(long.Parse)];
        Console.WriteLine("# What a database costs as it grows");
        Console.WriteLine();
        Console.WriteLine(
            $"{DateTime.UtcNow:yyyy-MM-dd}, {ReportBenchmark.Processor()}, {Environment.ProcessorCount} threads; made text: {Words:#,0} words by Zipf's law, documents "
            + $"of about {WordsOfADocument:#,0}; keys of {Dimensions} numbers by hashing. `dotnet run -c Release --project tests/Retro.Benchmarks -- database`.");
        List<Dictionary<string, double>> all = [];
        foreach (long size in sizes)
        {
            all.Add(Measure(size));
        }

        Measuring.Head("Stages", ["what", .. sizes.Select(size => $"{size:#,0} chunks"), "exponent of the growth"]);
        foreach (string what in all[^1].Keys)
        {
            double[] values = [.. all.Select(one => one.GetValueOrDefault(what, double.NaN))]; // small ones are not indexed in blocks
            string growth = values.Length > 1 && values[0] > 0
                ? (Math.Log(values[^1] / values[0]) / Math.Log(all[^1]["chunks"] / all[0]["chunks"])).ToString("0.00", CultureInfo.InvariantCulture)
                : "";
            Console.WriteLine($"| {what} | {string.Join(" | ", values.Select(Text))} | {growth} |");
        }

        static string Text(double value)
            => double.IsNaN(value) ? "" : value.ToString(value >= 100 ? "#,0" : value >= 1 ? "0.0" : "0.####", CultureInfo.InvariantCulture);
    }

    /// <summary>What a search takes in a database to which documents were added one by one, each a segment, and once these are joined.</summary>
    public static void Segments()
    {
        const int Chunks = 10_000, Most = 101;
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-benchmark");
        string At(string name) => Path.Combine(folder.FullName, name);
        try
        {
            (RetroTokenizer tokenizer, int documents) = Corpus(Chunks, At("tokenizer"));
            ChunkKeyer keyer = new(tokenizer, new HashingEmbedder(Dimensions));
            ChunkDatabaseBuilder.Build(At("database"), Documents(documents, 2), tokenizer).Dispose();
            Document one = Documents(1, 3).Single();
            Measuring.Head("Segments", "segments", "chunks", "BM25, 8 neighbors of a whole chunk, ms", "dense, ms");
            for (int segments = 1; segments <= Most; segments++)
            {
                if (segments is 1 or 21 or 51 or Most)
                {
                    Tell();
                }

                ChunkDatabaseUpdate.Apply(At("database"), [one with { Id = $"new {segments}" }], [], tokenizer).Database.Dispose();
            }

            DatabaseCompaction.Compact(At("database")).Dispose();
            Tell();

            void Tell()
            {
                using ChunkDatabase database = ChunkDatabase.Open(At("database"));
                using KeywordNeighborSource keyword = KeywordNeighborSource.Build(database);
                using DenseNeighborSource dense = DenseNeighborSource.Build(database, keyer);
                NeighborQuery[] queries = [.. Enumerable.Range(0, Queries).Select(i =>
                {
                    long chunk = i * database.ChunkCount / Queries;
                    return new NeighborQuery(database.OwnTokens(chunk).ToArray(), [database.DocumentOf(chunk)]);
                })];
                long[] found = new long[8];
                float[] scores = new float[8];
                double Alone(INeighborSource source)
                    => 1e3 / Queries * Measuring.Median(3, () => Array.ForEach(queries, query => source.Find([query], 8, found, scores)));
                Measuring.Row($"{database.SegmentCount}", $"{database.ChunkCount:N0}", $"{Alone(keyword):0.00}", $"{Alone(dense):0.00}");
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static Dictionary<string, double> Measure(long size)
    {
        Dictionary<string, double> row = [];
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-benchmark");
        string At(string name) => Path.Combine(folder.FullName, name);
        try
        {
            (RetroTokenizer tokenizer, int documents) = Corpus(size, At("tokenizer"));
            Measuring.PeakMemory();
            double Seconds(string what, Action work)
            {
                double seconds = 0;
                long most = Measuring.MostPrivate(() => seconds = Time(work));
                row[$"{what}, s"] = seconds;
                Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{size:#,0} chunks, {what}: {seconds:0.0} s"));
                row[$"{what}, peak memory, MB"] = Measuring.PeakMemory() / 1e6;
                row[$"{what}, of it not pages of files, MB"] = most / 1e6;
                return seconds;
            }

            ChunkDatabase database = null!;
            KeywordNeighborSource keyword = null!;
            DenseNeighborSource dense = null!;
            row["chunks"] = 0;
            Seconds("read, tokenize and cut", () => database = ChunkDatabaseBuilder.Build(At("database"), Documents(documents, 2), tokenizer));
            row["chunks"] = database.ChunkCount;
            Seconds("index words", () => keyword = KeywordNeighborSource.Build(database));
            if (database.ChunkCount >= 100_000)
            {
                keyword.Dispose();
                File.Delete(Path.Combine(At("database"), "bm25.bin"));
                Seconds("index words in blocks of 64 MB", () => keyword = KeywordNeighborSource.Build(database, new() { Memory = 64 << 20 }));
            }

            NeighborQuery[] queries = [.. Enumerable.Range(0, Queries).Select(i =>
            {
                long chunk = i * database.ChunkCount / Queries;
                return new NeighborQuery(database.Tokens(chunk)[..database.TokenCount(chunk)].ToArray(), [database.DocumentOf(chunk)]);
            })];
            long[] found = new long[Queries * 8];
            float[] scores = new float[found.Length];
            TimeSpan spent = TimeSpan.Zero;
            row["BM25, 8 neighbors of a whole chunk, ms"] = 1e3 / Queries * Measuring.Median(1, () =>
            {
                TimeSpan before = Environment.CpuUsage.TotalTime;
                keyword.Find(queries, 8, found, scores);
                spent = Environment.CpuUsage.TotalTime - before;
            });
            row["BM25, ms of one processor"] = spent.TotalMilliseconds / Queries;
            ChunkKeyer keyer = new(tokenizer, new HashingEmbedder(Dimensions));
            Measuring.PeakMemory();
            Seconds("make keys and the vector index chosen by size", () => dense = DenseNeighborSource.Build(database, keyer));
            row["dense, 8 neighbors of a whole chunk, ms"] = 1e3 * Measuring.Median(1, () => dense.Find(queries, 8, found, scores)) / Queries;
            row["its recall"] = Recall();
            dense.Dispose();
            keyword.Dispose();
            database.Dispose();
            GC.Collect();
            long before = Measuring.Private();
            row["open, ms"] = 1e3 * Measuring.Median(5, () => ChunkDatabase.Open(At("database")).Dispose());
            using (ChunkDatabase open = ChunkDatabase.Open(At("database")))
            {
                row["open, private memory, MB"] = Math.Max(0, Measuring.Private() - before) / 1e6;
            }

            Document one = Documents(1, 3).Single() with { Id = "new" };
            row["add a document, ms"] = 1e3 * Time(() => ChunkDatabaseUpdate.Apply(At("database"), [one], [], tokenizer).Database.Dispose());
            row["bytes on the disk of a chunk"] = folder.EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => (double)file.Length) / row["chunks"];
            return row;

            // What the manifest says; an exact index finds all.
            double Recall() => database.Files.Single(file => file.Name == "index.faiss").Details.TryGetValue("recall", out string? said)
                ? double.Parse(said, CultureInfo.InvariantCulture)
                : 1;
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        static double Time(Action work)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            return Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
    }

    /// <summary>A tokenizer of the made text, and how many documents have about so many chunks.</summary>
    public static (RetroTokenizer Tokenizer, int Documents) Corpus(long chunks, string folder)
    {
        // About 4.2 bytes a word with its space, 2.4 a token of so small a vocabulary.
        RetroTokenizer tokenizer = BpeTrainer.Train(Documents(200, 1).Select(document => document.Text), 2048, folder);
        double tokensOfADocument = Documents(20, 1).Average(document => (double)tokenizer.Encode(document.Text).Length);
        return (tokenizer, (int)Math.Max(1, Math.Round(chunks * 64 / (tokensOfADocument + 32))));
    }

    /// <summary>The made text.</summary>
    public static IEnumerable<Document> Documents(int count, long seed)
    {
        string[] words = new string[Words];
        for (int i = 0; i < words.Length; i++)
        {
            SeededRandom random = new(1, (Purpose)5, i);
            words[i] = string.Concat(Enumerable.Range(0, 2 + random.Below(7)).Select(_ => (char)('a' + random.Below(26))));
        }

        for (int i = 0; i < count; i++)
        {
            SeededRandom random = new(seed, (Purpose)6, i);
            StringBuilder text = new();
            for (int word = 0; word < WordsOfADocument; word++)
            {
                text.Append(words[(int)(Math.Pow(Words, random.NextDouble()) - 1)]).Append(word % 12 == 11 ? ".\n" : " "); // ranks with a density of 1/rank
            }

            yield return new Document($"{seed}-{i}", "", text.ToString(), "made");
        }
    }
}
