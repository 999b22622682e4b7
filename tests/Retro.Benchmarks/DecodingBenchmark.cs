using System.Diagnostics;
using System.Globalization;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>Time of one more token after a context: with caches, and by running the whole sequence again.</summary>
internal static class DecodingBenchmark
{
    private const int CachedTokens = 64;
    private const int RecomputedTokens = 3;

    public static void Run()
    {
        foreach ((string name, RetroConfig config) in new[]
        {
            ("Mini, rotary", RetroConfig.Mini),
            ("Mini, Transformer-XL", RetroConfig.Mini with { Positions = PositionKind.TransformerXl }),
        })
        {
            manual_seed(1);
            using RetroModel model = new(config);
            model.eval();
            Console.WriteLine();
            Console.WriteLine($"**{name}**: {config.Layers} layers of width {config.Width}, {config.Neighbors} neighbors a chunk, {config.CountParameters().Total / 1e6:F1}M parameters; batch 1, {get_num_threads()} threads, libtorch {__version__}");
            Console.WriteLine();
            Console.WriteLine("| tokens of context | cached, ms a token | recomputed, ms a token | ratio | cache, KB |");
            Console.WriteLine("|---|---|---|---|---|");
            foreach (int context in new[] { 128, 512, 2048 })
            {
                Console.WriteLine(Row(model, context));
            }
        }
    }

    private static string Row(RetroModel model, int context)
    {
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        RetroConfig config = model.Config;
        int length = context + CachedTokens;
        Tensor tokens = randint(config.VocabularySize, [1, length], ScalarType.Int64);
        Tensor neighbors = randint(config.VocabularySize, [1, length / config.ChunkLength, config.Neighbors, config.RetrievedLength], ScalarType.Int64);

        // The recomputed pass first warms up what both share.
        List<double> recomputed = [];
        for (int i = -1; i < RecomputedTokens; i++)
        {
            int now = context + 1 + Math.Max(i, 0);
            long start = Stopwatch.GetTimestamp();
            model.call(tokens.narrow(1, 0, now), neighbors.narrow(1, 0, now / config.ChunkLength), null).Dispose();
            if (i >= 0)
            {
                recomputed.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            }
        }

        // 64 tokens complete one chunk, so its encoding is in the mean.
        using DecodingCache cache = model.NewCache(1, length);
        model.Prefill(cache, tokens.narrow(1, 0, context), null, neighbors.narrow(1, 0, context / config.ChunkLength));
        long begin = Stopwatch.GetTimestamp();
        for (int t = context; t < length; t++)
        {
            using DisposeScope step = NewDisposeScope();
            Tensor? given = cache.CompletesChunk(0) ? neighbors.select(1, ((t + 1) / config.ChunkLength) - 1) : null;
            model.Step(cache, tokens.select(1, t), given);
        }

        double cached = Stopwatch.GetElapsedTime(begin).TotalMilliseconds / CachedTokens, full = recomputed.Order().ElementAt(recomputed.Count / 2);
        return string.Create(CultureInfo.InvariantCulture, $"| {context} | {cached:F2} | {full:F1} | {full / cached:F0} | {cache.ByteLength / 1024} |");
    }
}
