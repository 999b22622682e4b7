using System.Diagnostics;
using System.Globalization;
using Retro.Corpora;
using Retro.Embedders;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>Chunks that a pretrained embedder takes in a second, from tokens to keys, beside the rate of a large matrix product, which bounds it.</summary>
/// <remarks>
/// The embedder's folder is RETRO_EMBEDDER, the text a .jsonl or folder at RETRO_CORPUS; chunks are cut of GPT-2's kind of tokens, 64 each, as a database has
/// them.
/// </remarks>
internal static class EmbeddingBenchmark
{
    private const int Chunks = 512;
    private const int ChunkLength = 64;
    private const int Vocabulary = 2048;

    public static void Run()
    {
        string folder = Setting("RETRO_EMBEDDER"), path = Setting("RETRO_CORPUS");
        string[] texts = [.. Corpus.Open(path).Documents().Select(document => document.Text).Take(400)];
        string target = Directory.CreateTempSubdirectory().FullName;
        BpeTrainer.Train(texts, Vocabulary, target);
        RetroTokenizer tokenizer = RetroTokenizer.Load(target);
        Directory.Delete(target, recursive: true);
        ReadOnlyMemory<int>[] chunks = [.. texts.SelectMany(text => tokenizer.Encode(text).Chunk(ChunkLength))
            .Take(Chunks)
            .Select(chunk => (ReadOnlyMemory<int>)chunk)];
        using TextEmbedder embedder = TextEmbedder.Load(folder);
        ChunkKeyer keyer = new(tokenizer, embedder);
        TextEncoderConfig config = embedder.Encoder.Config;
        long work = chunks.Sum(chunk =>
        {
            long length = embedder.Tokens(tokenizer.Decode(chunk.Span)).Length;
            return config.Layers * length * ((4L * config.Width * config.Width) + (2L * config.Width * config.FeedForwardSize) + (2L * length * config.Width));
        });
        float[] keys = new float[chunks.Length * keyer.Dimensions];
        keyer.Keys([.. chunks.Take(8)], keys.AsSpan(0, 8 * keyer.Dimensions));

        Console.WriteLine(
            $"{get_num_threads()} threads, libtorch {__version__}; {config.Layers} layers of width {config.Width}, {chunks.Length} chunks of {ChunkLength} "
                + $"tokens ({chunks.Average(chunk => embedder.Tokens(tokenizer.Decode(chunk.Span)).Length):0.0} of the embedder's)");
        Console.WriteLine();
        Console.WriteLine("| what | rate | multiply-adds, 10^9/s | share of the product's |");
        Console.WriteLine("|---|---|---|---|");
        double before = Product();
        long start = Stopwatch.GetTimestamp();
        keyer.Keys(chunks, keys);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds, limit = (before + Product()) / 2;
        Print("1024 x 1024 x 1024 matrix product", limit / Math.Pow(1024, 3), "products/s", limit, limit);
        Print("chunks to keys", chunks.Length / seconds, "chunks/s", work / seconds, limit);
    }

    /// <summary>Multiply-adds of a large matrix product in a second.</summary>
    private static double Product()
    {
        const int N = 1024, Times = 20;
        using DisposeScope scope = NewDisposeScope();
        Tensor a = randn(N, N), b = randn(N, N);
        a.mm(b).Dispose();
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < Times; i++)
        {
            a.mm(b).Dispose();
        }

        return Times * Math.Pow(N, 3) / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static string Setting(string name)
        => Environment.GetEnvironmentVariable(name)
            ?? throw new InvalidOperationException($"Set {name}: RETRO_EMBEDDER names the folder of an embedder, RETRO_CORPUS a corpus.");

    private static void Print(string what, double rate, string unit, double multiplyAdds, double limit)
        => Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"| {what} | {rate:#,0} {unit} | {multiplyAdds / 1e9:0.0} | {multiplyAdds / limit:P0} |"));
}
