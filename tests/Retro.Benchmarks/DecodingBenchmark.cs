using System.Diagnostics;
using System.Globalization;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// Time of one more token after a context: with caches, by running the whole sequence again, and against the time that reading weights and caches from memory
/// takes. It is processor time on one thread, which other work on the machine does not stretch as it does the clock's.
/// </summary>
internal static class DecodingBenchmark
{
    private const int CachedTokens = 64;

    private static readonly int[] s_contexts = [128, 512, 2048];

    public static void Run()
    {
        set_num_threads(1);
        double bandwidth = Bandwidth();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Batch 1, processor time on one thread, libtorch {__version__}; memory is read at {bandwidth / 1e9:F1} GB/s (a sum of 256 MB)."));
        foreach ((string name, RetroConfig config, ScalarType dtype, int recomputedTokens) in new[]
        {
            ("Mini, rotary", RetroConfig.Mini, ScalarType.Float32, 3),
            ("Mini, rotary", RetroConfig.Mini, ScalarType.BFloat16, 3),
            ("Mini, Transformer-XL", RetroConfig.Mini with { Positions = PositionKind.TransformerXl }, ScalarType.Float32, 3),
            ("Small, rotary", RetroConfig.Small, ScalarType.Float32, 1),
            ("Small, rotary", RetroConfig.Small, ScalarType.BFloat16, 1),
        }.Where(one => Measuring.Types().Contains(one.Item3)))
        {
            manual_seed(1);
            using RetroModel model = new(config, dtype);
            model.eval();
            Console.WriteLine();
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"**{name}, {dtype}**: {config.Layers} layers of width {config.Width}, {config.Retrieval!.Neighbors} neighbors a chunk, {config.CountParameters().Total / 1e6:F1}M parameters"));
            Console.WriteLine();
            Console.WriteLine(
                "| tokens of context | cached, ms a token | recomputed, ms a token | recomputed / cached | a step that completes no chunk, ms | share of "
                    + "it that memory needs | cache, KB |");
            Console.WriteLine("|---|---|---|---|---|---|---|");
            for (Stopwatch warm = Stopwatch.StartNew(); warm.Elapsed < TimeSpan.FromSeconds(3);)
            {
                Row(model, s_contexts[0], 1, bandwidth); // until the runtime has compiled it for good
            }

            foreach (int context in s_contexts)
            {
                Console.WriteLine(Row(model, context, recomputedTokens, bandwidth));
            }
        }
    }

    private static string Row(RetroModel model, int context, int recomputedTokens, double bandwidth)
    {
        using IDisposable noGrad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        RetroConfig config = model.Config;
        int length = context + CachedTokens;
        Tensor tokens = randint(config.VocabularySize, [1, length], ScalarType.Int64);
        Tensor neighbors = randint(
            config.VocabularySize,
            [1, length / config.Retrieval!.ChunkLength, config.Retrieval!.Neighbors, config.Retrieval!.RetrievedLength],
            ScalarType.Int64);

        // The first pass over the shortest context warms up what all share.
        List<double> recomputed = [];
        for (int i = context == s_contexts[0] ? -1 : 0; i < recomputedTokens; i++)
        {
            int now = context + 1 + Math.Max(i, 0);
            double start = Now();
            model.call(tokens.narrow(1, 0, now), neighbors.narrow(1, 0, now / config.Retrieval!.ChunkLength), null).Dispose();
            if (i >= 0)
            {
                recomputed.Add(Now() - start);
            }
        }

        // 64 tokens complete one chunk, so its encoding is in the mean.
        using DecodingCache cache = model.NewCache(1, length);
        model.Prefill(cache, tokens.narrow(1, 0, context), null, neighbors.narrow(1, 0, context / config.Retrieval!.ChunkLength));
        List<double> plain = [];
        double all = 0;
        for (int t = context; t < length; t++)
        {
            using DisposeScope step = NewDisposeScope();
            bool completes = cache.CompletesChunk(0);
            Tensor? given = completes ? neighbors.select(1, ((t + 1) / config.Retrieval!.ChunkLength) - 1) : null;
            double begin = Now();
            model.Step(cache, tokens.select(1, t), given);
            double took = Now() - begin;
            all += took;
            if (!completes)
            {
                plain.Add(took);
            }
        }

        double cached = all / CachedTokens, full = Median(recomputed), one = Median(plain);
        double needed = new ModelWork(config).DecodedBytes(context + (CachedTokens / 2), model.Dtype) / bandwidth * 1000;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"| {context} | {cached:F2} | {full:F0} | {full / cached:F0} | {one:F2} | {100 * needed / one:F0} % | {cache.ByteLength / 1024} |");
    }

    private static double Bandwidth()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor large = zeros(64L << 20);
        double best = double.PositiveInfinity;
        for (int i = 0; i < 5; i++)
        {
            double start = Now();
            large.sum();
            best = Math.Min(best, (Now() - start) / 1000);
        }

        return large.numel() * sizeof(float) / best;
    }

    private static double Now() => Environment.CpuUsage.TotalTime.TotalMilliseconds;

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }
}
