using System.Diagnostics;
using System.Globalization;
using Retro.Distributed;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// A training step of one process with two threads beside one of two processes with one thread each, of the same batches, how fast sums are, and how much of
/// them backward hides; by mpirun of this program, which then does one part and prints numbers.
/// </summary>
internal static class DistributedBenchmark
{
    private const string PartVariable = "RETRO_BENCHMARK_PART";
    private const string Mark = "measured "; // a terminal's control characters may stand before it
    private const int Pairs = 5, StepsEach = 5, LinkSteps = 11, Length = 512;

    private static readonly RetroConfig s_config = RetroConfig.Mini;

    private static readonly RetroConfig s_wide = s_config with
    {
        Width = 256,
        Heads = 8,
        FeedForwardSize = 1024,
        Retrieval = s_config.Retrieval! with { Encoder = s_config.Retrieval!.Encoder with { Width = 256, Heads = 8, FeedForwardSize = 1024 } },
    };

    private static readonly (string Name, string[] Arguments)[] s_transports =
    [
        ("as it comes", []),
        ("shared memory alone", ["--mca", "pml", "ob1", "--mca", "btl", "self,vader"]),
        ("shared memory, two copies", ["--mca", "pml", "ob1", "--mca", "btl", "self,vader", "--mca", "btl_vader_single_copy_mechanism", "none"]),
        ("TCP on the loopback", ["--mca", "pml", "ob1", "--mca", "btl", "self,tcp", "--mca", "btl_tcp_if_include", "lo"]),
    ];

    private static MpiExchange? s_joined; // a process joins once

    public static void Run()
    {
        switch (Environment.GetEnvironmentVariable(PartVariable))
        {
            case "sum":
                Sums();
                return;
            case "step":
            case "sharded":
                Step(Environment.GetEnvironmentVariable(PartVariable) == "sharded");
                return;
            case "link":
                Links("Mini", s_config);
                Links("4 layers of width 256", s_wide);
                return;
        }

        Console.WriteLine($"{Environment.ProcessorCount} processors, libtorch {__version__}, {DateTime.UtcNow:yyyy-MM-dd}");
        long bytes = s_config.Parameters().Sum(parameter => parameter.Count) * sizeof(float);
        Measuring.Head("Sums over two processes", "transport", "bytes", "milliseconds", "GB/s of the buffer");
        foreach ((string name, string[] arguments) in s_transports)
        {
            foreach (string line in Part("sum", 2, 1, arguments))
            {
                string[] fields = line.Split(' ');
                double size = double.Parse(fields[0], CultureInfo.InvariantCulture), seconds = double.Parse(fields[1], CultureInfo.InvariantCulture);
                Measuring.Row($"{name}", $"{size:#,0}", $"{1000 * seconds:0.00}", $"{size / seconds / 1e9:0.00}");
            }
        }

        string[] together = s_transports[1].Arguments;
        (string Name, Func<double> Take)[] ways =
        [
            ("1 process, 1 thread", () => Seconds(Part("step", 1, 1, together))),
            ("1 process, 2 threads", () => Seconds(Part("step", 1, 2, together))),
            ("2 processes, 1 thread each", () => Seconds(Part("step", 2, 1, together))),
            ("2 processes, 1 thread each, optimizer shared out", () => Seconds(Part("sharded", 2, 1, together))),
        ];
        double[][] taken = [.. ways.Select(_ => new double[Pairs])];
        for (int pair = 0; pair < Pairs; pair++)
        {
            for (int way = 0; way < ways.Length; way++)
            {
                taken[way][pair] = ways[way].Take();
            }
        }

        Measuring.Head(
            $"A step of Mini ({bytes:#,0} bytes of gradients), 2 batches of a window of {Length} tokens",
            "way",
            "seconds, median of the runs",
            "least",
            "most",
            "speed against 1 process, 2 threads: median of the pairs");
        for (int way = 0; way < ways.Length; way++)
        {
            double[] ratios = [.. taken[1].Zip(taken[way], (first, other) => first / other).Order()];
            double[] seconds = [.. taken[way].Order()];
            Measuring.Row($"{ways[way].Name}", $"{seconds[Pairs / 2]:0.000}", $"{seconds[0]:0.000}", $"{seconds[^1]:0.000}", $"{ratios[Pairs / 2]:0.00}");
        }

        Measuring.Head(
            "Two processes, 1 thread each, where each sum is waited for as long as a link would take, the processor free; steps in turn",
            "model",
            "link, Gbit/s",
            "waits of a step, s",
            "seconds of a step, median",
            "without link",
            "hidden: median of the pairs");
        foreach (string line in Part("link", 2, 1, together))
        {
            string[] fields = line.Split('|');
            Measuring.Row($"{fields[0]}", $"{fields[1]}", $"{fields[2]}", $"{fields[3]}", $"{fields[4]}", $"{fields[5]}");
        }
    }

    private static double Seconds(string[] lines) => double.Parse(lines[^1], CultureInfo.InvariantCulture);

    /// <summary>What the first of some processes printed.</summary>
    private static string[] Part(string part, int processes, int threads, string[] arguments)
    {
        ProcessStartInfo start = new(
            "mpirun",
            ["--oversubscribe", "--allow-run-as-root", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", .. arguments, "-n",
                processes.ToString(CultureInfo.InvariantCulture), "dotnet", Path.Combine(AppContext.BaseDirectory, "Retro.Benchmarks.dll"), "distributed"])
        {
            RedirectStandardOutput = true,
        };
        start.Environment[PartVariable] = part;
        start.Environment["OMP_NUM_THREADS"] = threads.ToString(CultureInfo.InvariantCulture);
        using Process process = Process.Start(start)!;
        string[] lines = process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        process.WaitForExit();
        return process.ExitCode == 0
            ? [.. lines.Where(line => line.Contains(Mark, StringComparison.Ordinal)).Select(line => line.Split(Mark)[1])]
            : throw new InvalidOperationException($"mpirun ended with {process.ExitCode}: {string.Join('\n', lines)}");
    }

    private static void Sums()
    {
        using MpiExchange exchange = MpiExchange.Start();
        foreach (long bytes in (long[])[1 << 10, 1 << 16, 1 << 20, 1 << 22, 1 << 24, 1 << 26])
        {
            using Tensor values = ones(bytes / sizeof(float));
            double seconds = Measuring.Median(11, () => exchange.Sum(values));
            if (exchange.Rank == 0)
            {
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Mark}{bytes} {seconds:R}"));
            }
        }
    }

    private static TrainingBatch Batch(RetroConfig config) => new(
        randint(config.VocabularySize, [1, Length], ScalarType.Int64),
        randint(
            config.VocabularySize,
            [1, Length / config.Retrieval!.ChunkLength, config.Retrieval!.Neighbors, config.Retrieval!.RetrievedLength],
            ScalarType.Int64));

    private static void Links(string name, RetroConfig config)
    {
        s_joined ??= MpiExchange.Start();
        Link link = new(s_joined);
        manual_seed(1);
        using RetroModel model = new(config);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Accumulation = 2 }, exchange: link);
        using TrainingBatch batch = Batch(config);
        double?[] rates = [null, 1, 0.25];
        List<(double Seconds, double Waited)>[] taken = [.. rates.Select(_ => new List<(double, double)>())];
        for (int step = 0; step <= LinkSteps; step++)
        {
            for (int i = 0; i < rates.Length; i++)
            {
                (link.BytesPerSecond, link.Waited) = (rates[i] * 1e9 / 8, 0);
                link.Gather(""); // together
                long start = Stopwatch.GetTimestamp();
                trainer.Step([batch]);
                double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
                if (step > 0)
                {
                    taken[i].Add((seconds, link.Waited));
                }
            }
        }

        for (int i = 1; i < rates.Length && link.Rank == 0; i++)
        {
            double hidden = Middle(taken[i].Zip(taken[0], (with, without) => 1 - ((with.Seconds - without.Seconds) / with.Waited)));
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{Mark}{name}|{rates[i]}|{Middle(taken[i].Select(one => one.Waited)):0.000}|{Middle(taken[i].Select(one => one.Seconds)):0.000}|"
                    + $"{Middle(taken[0].Select(one => one.Seconds)):0.000}|{100 * hidden:0} %"));
        }

        static double Middle(IEnumerable<double> values) => values.Order().ElementAt(LinkSteps / 2);
    }

    private static void Step(bool sharded)
    {
        using MpiExchange exchange = MpiExchange.Start();
        manual_seed(1);
        using RetroModel model = new(s_config);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Accumulation = 2, ShardOptimizer = sharded }, exchange: exchange);
        using TrainingBatch batch = Batch(s_config);
        double seconds = Measuring.Median(StepsEach, () => trainer.Step([.. Enumerable.Repeat(batch, 2 / exchange.Size)]));
        if (exchange.Rank == 0)
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Mark}{seconds:R}"));
        }
    }

    /// <summary>Processes that a link connects: sums of floats take the time of their bytes besides, in which the processor is free.</summary>
    private sealed class Link(MpiExchange inner) : IGradientExchange
    {
        public double? BytesPerSecond { get; set; }

        /// <summary>Seconds that were waited.</summary>
        public double Waited { get; set; }

        public int Rank => inner.Rank;

        public int Size => inner.Size;

        public string Place => inner.Place;

        public void Sum(Tensor values, int? onlyTo = null)
        {
            inner.Sum(values, onlyTo);
            if (BytesPerSecond is { } rate && values.dtype == ScalarType.Float32)
            {
                // Of a ring, each process sends 2 (P - 1) / P of the bytes.
                long start = Stopwatch.GetTimestamp();
                Thread.Sleep(TimeSpan.FromSeconds(2.0 * (Size - 1) / Size * values.numel() * sizeof(float) / rate));
                Waited += Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
        }

        public void Broadcast(Tensor values, int from) => inner.Broadcast(values, from);

        public IReadOnlyList<string> Gather(string text) => inner.Gather(text);

        public void Abort(string reason) => inner.Abort(reason);
    }
}
