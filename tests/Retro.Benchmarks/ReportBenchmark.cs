using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Generation;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using Retro.Vectors;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// One report of everything that takes time: the machine's limits first, then each path as a share of the limit that bounds it, and how costs grow.
/// </summary>
internal static class ReportBenchmark
{
    /// <summary>A program that was started to be timed ends here: libtorch is loaded, and a tensor made.</summary>
    public static void Start()
    {
        using Tensor one = ones(1);
        Console.WriteLine(one.item<float>());
    }

    public static void Run()
    {
        Device device = Environment.GetEnvironmentVariable("RETRO_DEVICE") is { Length: > 0 } name ? torch.device(name) : CPU;
        Console.WriteLine("# What everything costs");
        Console.WriteLine();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{DateTime.UtcNow:yyyy-MM-dd}, {Processor()}, {Environment.ProcessorCount} cores, {get_num_threads()} threads, device {device.type}, libtorch {__version__}, .NET {Environment.Version}; medians of the clock. `tests/Retro.Benchmarks/run.sh` makes this report."));
        MachineLimits limits = MachineLimits.Measure(device);
        Training(limits, device);
        Decoding(limits, device);
        Sampling(limits);
        Growth(limits, device);
        Storing(limits);
        Text(limits);
        StartUp();
    }

    internal static RetroConfig Middle => RetroConfig.Small with
    {
        Layers = 6,
        Retrieval = RetroConfig.Small.Retrieval! with { Encoder = RetroConfig.Small.Retrieval.Encoder with { Layers = 2 } },
    };

    private static void Training(MachineLimits limits, Device device)
    {
        Measuring.Head("Training", "model, two windows of 512 tokens", "type", "tokens/s", "GFLOP/s", "share of the products'", "peak memory, GB");
        RetroConfig reading = RetroConfig.Mini with { Retrieval = RetrievalConfig.Matching(RetroConfig.Mini) };
        foreach ((string name, RetroConfig config, int neighbors, OptimizerKind kind) in new[]
        {
            ("Mini, decoder alone, Muon", RetroConfig.Mini, 0, OptimizerKind.Muon),
            ("Mini, the paper's retrieval, k = 2, Muon", RetroConfig.Mini, 2, OptimizerKind.Muon),
            ("Mini, matching, k = 8, Muon", reading, 8, OptimizerKind.Muon),
            ("6 layers of width 512, cross-attention in 3 and 6, encoder of 2 layers, k = 2, AdamW", Middle, 2, OptimizerKind.AdamW),
            ("the same, Muon, whose own products are not counted", Middle, 2, OptimizerKind.Muon),
        })
        {
            foreach (ScalarType dtype in Measuring.Types(device))
            {
                Measuring.PeakMemory();
                double seconds = Step(limits, config, neighbors, 512, dtype, device, kind: kind), work = new ModelWork(config).Step(2, 512, neighbors);
                long memory = Measuring.PeakMemory();
                double share = work / seconds / limits.Operations(dtype);
                Measuring.Row($"{name}", $"{dtype}", $"{1024 / seconds:#,0}", $"{work / seconds / 1e9:#,0}", $"{share:P0}", $"{memory / 1e9:0.0}");
            }
        }
    }

    private static void Growth(MachineLimits limits, Device device)
    {
        RetroConfig config = RetroConfig.Mini;
        Measuring.Head("How a training step grows", "Mini, float32, two windows", "ms", "µs a token", "share of the products'");
        foreach (int length in new[] { 256, 512, 1024, 2048, 4096 })
        {
            Grown($"{length} tokens, k = 2", config, 2, length);
        }

        foreach (int neighbors in new[] { 0, 1, 2, 4, 8 })
        {
            Grown($"512 tokens, k = {neighbors}", config, neighbors, 512);
        }

        foreach (int vocabulary in new[] { 2048, 8192, 32_000, 152_000 })
        {
            Grown($"512 tokens, k = 0, vocabulary {vocabulary:#,0}", config with { VocabularySize = vocabulary }, 0, 512);
        }

        void Grown(string what, RetroConfig grown, int neighbors, int length)
        {
            double seconds = Step(limits, grown, neighbors, length, ScalarType.Float32, device, times: 3);
            Measuring.Row(
                $"{what}",
                $"{seconds * 1e3:#,0}",
                $"{seconds * 1e6 / (2 * length):#,0}",
                $"{new ModelWork(grown).Step(2, length, neighbors) / seconds / limits.Operations(ScalarType.Float32):P0}");
        }
    }

    private static double Step(
        MachineLimits limits,
        RetroConfig config,
        int neighbors,
        int length,
        ScalarType dtype,
        Device device,
        int times = 5,
        OptimizerKind kind = OptimizerKind.Muon)
    {
        manual_seed(1);
        using RetroModel model = new(neighbors == 0 ? config with { Retrieval = null } : config, device: device);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Dtype = dtype, Optimizer = new() { Kind = kind } });

        // As trainings on a processor do: a window for each core, and their gradients added.
        int rows = device.type == DeviceType.CPU ? 1 : 2;
        using TrainingBatch batch = Batch(config, rows, length, neighbors, device);
        return limits.Time(() => trainer.Step([.. Enumerable.Repeat(batch, 2 / rows)]), times);
    }

    /// <summary>A batch as trainings have it: some neighbors are missing, and some are short.</summary>
    internal static TrainingBatch Batch(RetroConfig config, int rows, int length, int neighbors, Device device)
    {
        Tensor tokens = randint(config.VocabularySize, [rows, length], ScalarType.Int64, device);
        if (neighbors == 0)
        {
            return new(tokens);
        }

        long retrieved = config.Retrieval!.RetrievedLength, chunks = length / config.Retrieval.ChunkLength;
        using DisposeScope scope = NewDisposeScope();
        Tensor filled = randint(retrieved + 1, [rows, chunks - 1, neighbors, 1], ScalarType.Int64, device).mul(2).clamp_max(retrieved);
        Tensor valid = arange(retrieved, ScalarType.Int64, device).lt(filled).MoveToOuterDisposeScope();
        return new(
            tokens,
            randint(config.VocabularySize, [rows, chunks - 1, neighbors, retrieved], ScalarType.Int64, device).MoveToOuterDisposeScope(),
            valid);
    }

    private static void Decoding(MachineLimits limits, Device device)
    {
        Measuring.Head("Decoding, batch 1, float32", "model", "what", "ms", "limit", "share of it");
        foreach ((string name, RetroConfig config) in new[] { ("Mini", RetroConfig.Mini), ("Small", RetroConfig.Small) })
        {
            using IDisposable inference = inference_mode();
            using DisposeScope scope = NewDisposeScope();
            manual_seed(1);
            using RetroModel model = new(config, device: device);
            model.eval();
            ModelWork work = new(config);
            int m = config.Retrieval!.ChunkLength, k = config.Retrieval.Neighbors;
            Tensor neighbors = randint(config.VocabularySize, [1, 1, k, config.Retrieval.RetrievedLength], ScalarType.Int64, device);
            Tensor states = randn(1, m, config.Width, device: device);
            double encoding = limits.Time(() => model.Encoder!.call(neighbors, states, null).Dispose());
            using (DecodingCache warmed = model.NewCache(1, 4096))
            {
                // Until the runtime has compiled a step for good, as it has after the first tokens of a text.
                model.Prefill(warmed, zeros(1, 1, ScalarType.Int64, device));
                for (Stopwatch warm = Stopwatch.StartNew(); warm.Elapsed < TimeSpan.FromSeconds(2) && warmed.Lengths[0] < 4000;)
                {
                    using DisposeScope inner = NewDisposeScope();
                    model.Step(warmed, zeros(1, ScalarType.Int64, device));
                }
            }

            Limited($"encoding {k} neighbors", encoding, work.Encoding(1, 1, k) / limits.Operations(ScalarType.Float32), "products");
            foreach (int context in new[] { 128, 512, 2048 })
            {
                Tensor tokens = randint(config.VocabularySize, [1, context + 16], ScalarType.Int64, device);
                Tensor given = randint(
                    config.VocabularySize, [1, context / m, k, config.Retrieval.RetrievedLength], ScalarType.Int64, device);
                double prefill = limits.Time(
                    () =>
                    {
                        using DisposeScope inner = NewDisposeScope();
                        using DecodingCache fresh = model.NewCache(1, context);
                        model.Prefill(fresh, tokens.narrow(1, 0, context), null, given);
                    },
                    3);
                Limited($"reading {context} tokens", prefill, work.Forward(1, context, k) / limits.Operations(ScalarType.Float32), "products");
                using DecodingCache cache = model.NewCache(1, context + 16);
                model.Prefill(cache, tokens.narrow(1, 0, context), null, given);
                int at = context;
                double step = limits.Time(
                    () =>
                    {
                        using DisposeScope inner = NewDisposeScope();
                        model.Step(cache, tokens.select(1, at++));
                    },
                    13);
                Limited($"one token after {context}", step, work.DecodedBytes(context) / limits.ReadBytes, "memory");
            }

            void Limited(string what, double seconds, double least, string limit)
                => Measuring.Row($"{name}", $"{what}", $"{seconds * 1e3:0.00}", $"{limit}, {least * 1e3:0.00} ms", $"{least / seconds:P0}");
        }
    }

    public static void Sampling() => Sampling(MachineLimits.Measure(CPU));

    private static void Sampling(MachineLimits limits)
    {
        Measuring.Head("Choosing a token", "vocabulary", "settings", "µs", "beside a step of Small without retrieval after 512 tokens");
        foreach (int vocabulary in new[] { 2048, 32_000, 152_000 })
        {
            double step = DecodingStep(limits, RetroConfig.Small with { VocabularySize = vocabulary, Retrieval = null });
            SeededRandom random = new(1, (Purpose)1, 1);
            float[] drawn = [.. Enumerable.Range(0, vocabulary).Select(_ => (float)(8 * random.NextDouble()))], logits = new float[vocabulary];
            foreach ((string name, GenerationOptions options) in new (string, GenerationOptions)[]
            {
                ("greedy", new() { Temperature = 0 }),
                ("temperature 1", new() { Temperature = 1, TopP = 1 }),
                ("top 40", new() { Temperature = 1, TopK = 40, TopP = 1 }),
                ("top 90 %", new() { Temperature = 1, TopP = 0.9 }),
            })
            {
                TokenSampler sampler = new(options);
                void Draw()
                {
                    drawn.CopyTo(logits, 0);
                    sampler.Next(logits);
                }

                // Until the runtime has compiled it for good, as it has after the first tokens of a text.
                for (Stopwatch warm = Stopwatch.StartNew(); warm.Elapsed < TimeSpan.FromSeconds(0.5);)
                {
                    Draw();
                }

                double seconds = Measuring.Median(51, Draw);
                Measuring.Row($"{vocabulary:#,0}", $"{name}", $"{seconds * 1e6:#,0}", $"{seconds / step:P1}");
            }
        }
    }

    private static double DecodingStep(MachineLimits limits, RetroConfig config)
    {
        using IDisposable inference = inference_mode();
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = new(config);
        model.eval();
        using DecodingCache cache = model.NewCache(1, 528);
        model.Prefill(cache, randint(config.VocabularySize, [1, 512], ScalarType.Int64));
        Tensor token = tensor([1L]);
        return limits.Time(
            () =>
            {
                using DisposeScope inner = NewDisposeScope();
                model.Step(cache, token);
            },
            13);
    }

    private static void Storing(MachineLimits limits)
    {
        Measuring.Head("Checkpoints, Small in float32", "what", "MB/s", "share of a copy's");
        using RetroModel model = new(RetroConfig.Small);
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-benchmark");
        try
        {
            double bytes = sizeof(float) * (double)model.parameters().Sum(parameter => parameter.numel());
            double save = Measuring.Median(5, () => Checkpoint.Save(folder.FullName, model));
            double load = Measuring.Median(5, () => Checkpoint.Load(folder.FullName).Dispose());
            Measuring.Row($"save, flushed to the disk", $"{bytes / save / 1e6:#,0}", $"{2 * bytes / save / limits.CopiedBytes:P0}");
            Measuring.Row($"load, from the page cache", $"{bytes / load / 1e6:#,0}", $"{2 * bytes / load / limits.CopiedBytes:P0}");
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>The documentation of the .NET reference packs: what every machine that can build this has.</summary>
    private static void Text(MachineLimits limits)
    {
        Document[] documents = [.. Corpus.DotNetReferencePacks().Documents().Take(2000)];
        double bytes = documents.Sum(document => (double)System.Text.Encoding.UTF8.GetByteCount(document.Text));
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-benchmark");
        string At(string name) => Path.Combine(folder.FullName, name);
        try
        {
            Measuring.Head("Text and search", "what", "rate");
            long start = Stopwatch.GetTimestamp();
            RetroTokenizer tokenizer = BpeTrainer.Train(documents.Select(document => document.Text), 2048, At("tokenizer"));
            Measuring.Row($"train a tokenizer of 2,048 tokens", $"{bytes / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e6:0.0} MB/s");
            double encoding = Measuring.Median(3, () =>
            {
                foreach (Document document in documents)
                {
                    tokenizer.Encode(document.Text);
                }
            });
            Measuring.Row($"tokenize, one thread", $"{bytes / encoding / 1e6:0.0} MB/s");
            start = Stopwatch.GetTimestamp();
            using ChunkDatabase database = ChunkDatabaseBuilder.Build(At("database"), documents, tokenizer);
            Measuring.Row($"build a database of {database.ChunkCount:#,0} chunks", $"{bytes / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e6:0.0} MB/s");
            start = Stopwatch.GetTimestamp();
            using KeywordNeighborSource keyword = KeywordNeighborSource.Build(database);
            Measuring.Row($"index its words", $"{database.ChunkCount / Stopwatch.GetElapsedTime(start).TotalSeconds:#,0} chunks/s");
            int some = (int)Math.Min(512, database.ChunkCount);
            ReadOnlyMemory<int>[] chunks = [.. Enumerable.Range(0, some).Select(i => (ReadOnlyMemory<int>)database.Tokens(i).ToArray())];
            foreach (TextEncoderConfig config in new[] { TextEncoderConfig.Small(tokenizer.VocabularySize), PeerBenchmark.MiniLm(tokenizer.VocabularySize) })
            {
                using TextEmbedder embedder = new(new TextEncoder(config), tokenizer);
                ChunkKeyer keyer = new(tokenizer, embedder);
                float[] keys = new float[chunks.Length * keyer.Dimensions];
                double seconds = Measuring.Median(3, () => keyer.Keys(chunks, keys));
                double work = ModelWork.Embedding(config, Enumerable.Range(0, some)
                    .Select(i => embedder.Tokens(tokenizer.Decode(database.Tokens(i)[..database.TokenCount(i)])).Length));
                Measuring.Row(
                    $"embed chunks, {config.Layers} layers of width {config.Width}",
                    $"{some / seconds:#,0} chunks/s, {work / seconds / 1e9:0} GFLOP/s, {work / seconds / limits.Operations(ScalarType.Float32):P0} of the products'");
            }

            NeighborQuery[] queries = [.. chunks.Take(256).Select((chunk, i) => new NeighborQuery(chunk.ToArray(), [database.DocumentOf(i)]))];
            long[] found = new long[queries.Length * 8];
            float[] scores = new float[found.Length];
            Measuring.Row(
                $"BM25, 8 neighbors of whole chunks among {database.ChunkCount:#,0}",
                $"{queries.Length / Measuring.Median(5, () => keyword.Find(queries, 8, found, scores)):#,0} queries/s");
            foreach (int count in new[] { 10_000, 100_000 })
            {
                const int Dimensions = 128, Queries = 256;
                SeededRandom random = new(1, (Purpose)2, count);
                float[] vectors = [.. Enumerable.Range(0, count * Dimensions).Select(_ => (float)random.NextDouble())];
                long[] ids = new long[Queries * 8];
                float[] distances = new float[ids.Length];
                foreach (VectorEngine engine in new[] { VectorEngine.Exact, VectorEngine.Faiss })
                {
                    using VectorIndex index = VectorIndex.Create(Dimensions, metric: VectorMetric.InnerProduct, engine: engine);
                    index.Add(vectors);
                    double seconds = Measuring.Median(3, () => index.Search(vectors.AsSpan(0, Queries * Dimensions), 8, ids, distances));
                    Measuring.Row(
                        $"{engine}, all of {count:#,0} vectors of {Dimensions} numbers, {Queries} queries at once", $"{Queries / seconds:#,0} queries/s");
                }
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static void StartUp()
    {
        Measuring.Head("Start", "what", "ms");
        string program = Environment.ProcessPath!, assembly = typeof(ReportBenchmark).Assembly.Location;
        string[] command = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [assembly, "start"] : ["start"];
        double seconds = Measuring.Median(5, () =>
        {
            using Process process = Process.Start(new ProcessStartInfo(program, command) { RedirectStandardOutput = true })!;
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
        });
        Measuring.Row($"a process that loads libtorch and makes a tensor", $"{seconds * 1e3:0}");
    }

    internal static string Processor()
    {
        const string File = "/proc/cpuinfo";
        string? line = System.IO.File.Exists(File)
            ? System.IO.File.ReadLines(File).FirstOrDefault(one => one.StartsWith("model name", StringComparison.Ordinal))
            : null;
        return line?[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString();
    }
}
