using System.Diagnostics;
using System.Globalization;
using Retro.Modeling;
using Retro.Search;
using Retro.Vectors;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// How OpenMP's threads wait for the next loop: what it is worth to passes of a model and to searches, each way in processes of its own, by turns.
/// </summary>
internal static class WaitingBenchmark
{
    private const int Turns = 3, Times = 15;

    private static readonly (string Name, string? Count)[] s_ways =
        [("asleep at once", "0"), ("as Retro sets it", null), ("10,000 looks", "10000"), ("libgomp's own, 300,000", "300000")];

    public static void Run()
    {
        Console.WriteLine("# How OpenMP's threads wait");
        Console.WriteLine();
        Console.WriteLine(
            $"{DateTime.UtcNow:yyyy-MM-dd}, {ReportBenchmark.Processor()}, {get_num_threads()} threads; milliseconds, medians of {Turns} processes of {Times} times each, by turns.");
        foreach (bool busy in new[] { false, true })
        {
            Dictionary<string, List<double>[]> rows = [];
            using CancellationTokenSource over = new();
            Thread[] others = [.. Enumerable.Range(0, busy ? Environment.ProcessorCount : 0).Select(_ => new Thread(() =>
            {
                while (!over.IsCancellationRequested)
                {
                    // Nothing, as busily as can be.
                }
            }))];
            Array.ForEach(others, thread => thread.Start());
            for (int turn = 0; turn < Turns; turn++)
            {
                for (int way = 0; way < s_ways.Length; way++)
                {
                    foreach ((string what, double milliseconds) in InProcess(s_ways[way].Count))
                    {
                        rows.TryAdd(what, [.. s_ways.Select(_ => new List<double>())]);
                        rows[what][way].Add(milliseconds);
                    }
                }
            }

            over.Cancel();
            Array.ForEach(others, thread => thread.Join());
            Measuring.Head(busy ? "Beside a busy thread on each core" : "On an idle machine", ["what", .. s_ways.Select(way => way.Name)]);
            foreach ((string what, List<double>[] ways) in rows)
            {
                Measuring.Row([$"{what}", .. ways.Select(all => (FormattableString)$"{all.Order().ElementAt(all.Count / 2):0.00}")]);
            }
        }
    }

    /// <summary>What each of the processes does.</summary>
    public static void Work()
    {
        manual_seed(1);
        foreach (ScalarType dtype in Measuring.Types())
        {
            using RetroModel model = new(RetroConfig.Mini, dtype);
            using DisposeScope scope = NewDisposeScope();
            Tensor tokens = randint(model.Config.VocabularySize, [1, 512], ScalarType.Int64);
            Tensor neighbors = randint(model.Config.VocabularySize, [1, 8, 2, 128], ScalarType.Int64);
            Print($"Mini, {dtype}: forward and backward over 512 tokens", () => model.call(tokens, null, null).logsumexp(-1).mean().backward());
            Print($"Mini, {dtype}: the same with neighbors, k = 2", () => model.call(tokens, neighbors, null).logsumexp(-1).mean().backward());
            model.eval();
            Print($"Mini, {dtype}: reading a prompt of 128 tokens, k = 2", () =>
            {
                using DecodingCache cache = model.NewCache(1, 128);
                model.Prefill(cache, tokens.narrow(1, 0, 128), null, neighbors.narrow(1, 0, 2));
            });
        }

        SeededRandom random = new(1, (Purpose)2, 3);
        const int Count = 100_000, Dimensions = 128, Most = 256;
        float[] vectors = [.. Enumerable.Range(0, Count * Dimensions).Select(_ => (float)random.NextDouble())];
        long[] ids = new long[8 * Most];
        float[] distances = new float[8 * Most];
        foreach ((string factory, int count, int queries) in new[] { ("Flat", 10_000, 256), ("Flat", Count, 256), ("IVF256,Flat", Count, 16) })
        {
            using VectorIndex index = VectorIndex.Create(Dimensions, factory, engine: VectorEngine.Faiss);
            index.Train(vectors.AsSpan(0, 10_000 * Dimensions));
            index.Add(vectors.AsSpan(0, count * Dimensions));
            Print(
                $"FAISS, {queries} queries among {count:#,0} vectors, {factory}",
                () => index.Search(vectors.AsSpan(0, queries * Dimensions), 8, ids.AsSpan(0, 8 * queries), distances.AsSpan(0, 8 * queries)));
        }

        static void Print(FormattableString what, Action work)
        {
            double seconds = Measuring.Median(Times, () =>
            {
                using DisposeScope scope = NewDisposeScope();
                work();
            });
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what.ToString(CultureInfo.InvariantCulture)}\t{seconds * 1000}"));
        }
    }

    private static List<(string What, double Milliseconds)> InProcess(string? count)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!, ["waiting", "work"]) { RedirectStandardOutput = true };
        if (count is not null)
        {
            start.Environment["OMP_WAIT_POLICY"] = "passive";
            start.Environment["GOMP_SPINCOUNT"] = count;
        }

        using Process process = Process.Start(start)!;
        List<(string, double)> told = [];
        while (process.StandardOutput.ReadLine() is { } line)
        {
            string[] parts = line.Split('\t');
            told.Add((parts[0], double.Parse(parts[1], CultureInfo.InvariantCulture)));
        }

        process.WaitForExit();
        return process.ExitCode == 0
            ? told
            : throw new InvalidOperationException($"A process that waits in one of the ways ended with {process.ExitCode}.");
    }
}
