using System.Globalization;
using Retro.Corpora;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Tokenizers;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// Chunks embedded and tokens trained in a second by the quickstart's two models, beside the rate of a large matrix product, which bounds both.
/// </summary>
internal static class ThroughputBenchmark
{
    public static void Run()
    {
        Console.WriteLine($"{get_num_threads()} threads, libtorch {__version__}");
        Console.WriteLine();
        Console.WriteLine("| what | rate | multiply-adds, 10^9/s |");
        Console.WriteLine("|---|---|---|");
        MatrixProduct();
        Embedding();
        RetroConfig config = RetroConfig.Mini with { Retrieval = RetroConfig.Mini.Retrieval! with
        {
            ShiftedKeys = true,
            Encoder = RetroConfig.Mini.Retrieval!.Encoder with { Layers = 1 }
        } };
        Training(config, rows: 2, batches: 1);
        Training(config, rows: 1, batches: 2);
        Training(
            config with
            {
                Heads = 2,
                HeadSize = 64,
                Retrieval = config.Retrieval! with { Encoder = config.Retrieval!.Encoder with { Heads = 2, HeadSize = 64 } }
            },
            rows: 1,
            batches: 2);
        MatrixProduct();
    }

    private static void MatrixProduct()
    {
        const int N = 1024;
        using DisposeScope scope = NewDisposeScope();
        Tensor a = randn(N, N), b = randn(N, N);
        double seconds = Measuring.Median(9, () => a.mm(b).Dispose());
        Print("1024 x 1024 x 1024 matrix product", 1 / seconds, "products/s", (double)N * N * N / seconds);
    }

    /// <summary>Real chunks, through everything between their tokens and their keys.</summary>
    private static void Embedding()
    {
        const int Chunks = 1024, ChunkLength = 64;
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-benchmark");
        try
        {
            string[] texts = [.. Corpus.DotNetReferencePacks().Documents().Take(1500).Select(document => document.Text)];
            BpeTrainer.Train(texts, 2048, folder.FullName);
            RetroTokenizer tokenizer = RetroTokenizer.Load(folder.FullName);
            ReadOnlyMemory<int>[] chunks = [.. texts.SelectMany(text => tokenizer.Encode(text).Chunk(ChunkLength))
                .Take(Chunks)
                .Select(chunk => chunk.AsMemory())];
            TextEncoderConfig config = TextEncoderConfig.Small(tokenizer.VocabularySize);
            using TextEmbedder embedder = new(new TextEncoder(config), tokenizer);
            ChunkKeyer keyer = new(tokenizer, embedder);
            float[] keys = new float[chunks.Length * keyer.Dimensions];
            double seconds = Measuring.Median(5, () => keyer.Keys(chunks, keys));
            long tokens = chunks.Sum(chunk => (long)chunk.Length + 2);
            long perToken = config.Layers
                * ((4L * config.Width * config.Width) + (2L * config.Width * config.FeedForwardSize) + (2L * ChunkLength * config.Width));
            Print(
                $"keys of {chunks.Length} chunks of {ChunkLength} tokens, {config.Layers} layers of width {config.Width}",
                chunks.Length / seconds,
                "chunks/s",
                perToken * tokens / seconds);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static void Training(RetroConfig config, int rows, int batches)
    {
        const int Length = 512;
        using RetroModel model = new(config);
        using Trainer trainer = new(model, TrainingOptions.SmallModel);
        int chunks = Length / config.Retrieval!.ChunkLength;
        using TrainingBatch batch = new(
            randint(config.VocabularySize, [rows, Length], ScalarType.Int64),
            randint(config.VocabularySize, [rows, chunks, config.Retrieval!.Neighbors, config.Retrieval!.RetrievedLength], ScalarType.Int64));
        double seconds = Measuring.Median(7, () => trainer.Step([.. Enumerable.Repeat(batch, batches)]));

        // Forward passes of every matrix over the tokens it sees, three times for forward and backward; attention products and the optimizer are left out.
        long decoder = (config.Layers * ((4L * config.Width * config.Heads * config.HeadSize) + (2L * config.Width * config.FeedForwardSize)))
            + ((long)config.Width * config.VocabularySize);
        long crossing = config.Retrieval!.CrossAttentionLayers.Count * 2L * config.Width * config.Heads * config.HeadSize;
        long encoder = config.Retrieval!.Encoder.Layers
            * ((4L * config.Retrieval!.Encoder.Width * config.Retrieval!.Encoder.Heads * config.Retrieval!.Encoder.HeadSize)
                + (2L * config.Retrieval!.Encoder.Width * config.Retrieval!.Encoder.FeedForwardSize));
        long keysAndValues = config.Retrieval!.CrossAttentionLayers.Count * 2L * config.Retrieval!.Encoder.Width * config.Heads * config.HeadSize;
        long tokens = (long)batches
            * rows
            * Length, retrieved = (long)batches * rows * chunks * config.Retrieval!.Neighbors * config.Retrieval!.RetrievedLength;
        Print(
            $"training, {config.Layers} layers of width {config.Width}, {config.Heads} heads, {batches} batches of {rows} windows of {Length} tokens, "
                + $"{retrieved} retrieved",
            tokens / seconds,
            "tokens/s",
            3 * (((decoder + crossing) * tokens) + ((encoder + keysAndValues) * retrieved)) / seconds);
    }

    private static void Print(string what, double rate, string unit, double multiplyAdds)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {what} | {rate:#,0} {unit} | {multiplyAdds / 1e9:0.0} |"));
    }
}
