using System.Diagnostics;
using System.Globalization;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Distributed.Worker;

/// <summary>What the tests have several processes do. Each trains to a checkpoint, or writes what it was told, below the folder.</summary>
/// <param name="folder">Where results go.</param>
/// <param name="mpi">The processes; null: this one trains alone.</param>
internal sealed class Scenarios(string folder, MpiExchange? mpi)
{
    // Four are taken for processes of as many machines, and two for those of one, which sum gradients at other times.
    private readonly IGradientExchange? _exchange = mpi is { Size: 4 } ? new Elsewhere(mpi) : mpi;

    // AdamW's first step divides a gradient by its size: one that is nearly 0 is all rounding, which an epsilon below it blows up to a whole learning rate.
    private static readonly TrainingOptions s_options = new()
    {
        Steps = 8,
        WarmupSteps = 2,
        Accumulation = 4,
        LearningRate = 1e-3,
        Optimizer = new() { Epsilon = 1e-6 },
    };

    private static readonly RetroOptimizerOptions s_muon = new() { Kind = OptimizerKind.Muon };

    private int Rank => _exchange?.Rank ?? 0;

    private int Size => _exchange?.Size ?? 1;

    /// <summary>The READMEs' lines.</summary>
    public static void Readme(string folder)
    {
        using RetroModel model = Model(SmallModel.Config);
        TrainingOptions options = s_options with { Steps = 2 };
        WorkerData data = new(SmallModel.Config);
        // <distributed>
        using MpiExchange exchange = MpiExchange.Start(); // one of the processes that mpirun started
        using Trainer trainer = new(model, options, exchange: exchange);
        trainer.Run(data); // of a step's batches, process r of n takes r, r + n, r + 2n, ...
        // </distributed>
        File.WriteAllText(Path.Combine(folder, "readme-0.txt"), exchange.Place);
    }

    /// <summary>As a program whose Main awaits: what it throws is caught until all it uses is disposed.</summary>
    public static async Task LeaveAsync(bool nccl)
    {
        using MpiExchange exchange = MpiExchange.Start();
        using NcclExchange? gpus = nccl ? NcclExchange.Start(exchange, () => 1) : null;
        await Task.Yield();
        if (exchange.Rank == 1)
        {
            throw new IOException("The disk of this process is gone.");
        }

        exchange.Gather("going on");
    }

    /// <summary>Runs one.</summary>
    public void Run(string name, string value)
    {
        switch (name)
        {
            case "plain":
                Train(name, s_options);
                break;
            case "sharded":
                Train(name, s_options with { ShardOptimizer = true });
                break;
            case "muon":
                Train(name, s_options with { Optimizer = s_muon });
                break;
            case "muon-sharded":
                Train(name, s_options with { Optimizer = s_muon, ShardOptimizer = true });
                break;
            case "dropout":
                Train(name, s_options with { AverageDecay = 0.9, Seed = 7 }, Dropping());
                break;
            case "recomputed":
                Train(name, s_options with { RecomputeActivations = true });
                break;
            case "closed-book":
                Train(name, s_options with { ClosedBook = 0.5 });
                break;
            case "bfloat16":
                Train(name, s_options with { Dtype = ScalarType.BFloat16 });
                break;
            case "bfloat16-sharded":
                Train(name, s_options with { Dtype = ScalarType.BFloat16, ShardOptimizer = true });
                break;
            case "wide":
                Train(name, s_options, SmallModel.Wide);
                break;
            case "wide-sharded":
                Train(name, s_options with { ShardOptimizer = true }, SmallModel.Wide);
                break;
            case "wide-recomputed":
                Train(name, s_options with { RecomputeActivations = true }, SmallModel.Wide);
                break;
            case "six":
                Train(name, s_options with { Accumulation = 6 }); // more for some processes than for others
                break;
            case "until":
                Until(int.Parse(value, CultureInfo.InvariantCulture), s_options);
                break;
            case "until-sharded":
                Until(int.Parse(value, CultureInfo.InvariantCulture), s_options with { ShardOptimizer = true });
                break;
            case "measured":
                Measured();
                break;
            case "by-first":
                ByFirst();
                break;
            case "other-options":
                Refused(name, s_options with { LearningRate = Rank == 1 ? 2e-3 : 1e-3 }, SmallModel.Config, "random");
                break;
            case "other-config":
                Refused(name, s_options, SmallModel.Config with { FeedForwardSize = Rank == 1 ? 48 : 32 }, "random");
                break;
            case "other-data":
                Refused(name, s_options, SmallModel.Config, Rank == 1 ? "other" : "random");
                break;
            case "other-weights":
                Refused(name, s_options, SmallModel.Config, "random", seed: Rank);
                break;
            case "crowded":
                Refused(name, s_options with { Accumulation = Size - 1 }, SmallModel.Config, "random");
                break;
            case "diverged":
                Refused(name, s_options with { MaximumSkippedSteps = 2 }, SmallModel.Config, "random", weight: float.NaN);
                break;
            case "unwritable":
                File.WriteAllText(Path.Combine(folder, "file"), "");
                Refused(name, s_options with { CheckpointFolder = Path.Combine(folder, "file", "checkpoint") }, SmallModel.Config, "random");
                break;
            case "other-folder":
                Refused(name, s_options with { CheckpointFolder = Rank == 0 ? Path.Combine(folder, name) : null }, SmallModel.Config, "random");
                break;
            case "other-measure":
                Refused(name, s_options, SmallModel.Config, "random", measure: Rank == 0 ? _ => 1 : null);
                break;
            case "other-parameters":
                Refused(name, s_options, SmallModel.Config, "random", frozen: Rank);
                break;
            case "stepped":
                Stepped();
                break;
            case "exchange":
                Exchange(_exchange!, CPU);
                break;
            case "again":
                Say(name, () => MpiExchange.Start().Dispose());
                break;
            case "nccl":
                Say(name, () => NcclExchange.Start(mpi!).Dispose());
                break;
            case "placed":
                File.WriteAllText(Path.Combine(folder, $"placed-{Rank}.txt"), $"{mpi!.LocalRank} of its machine, several machines: {mpi.IsRemote}");
                break;
            case "threads":
                File.WriteAllText(Path.Combine(folder, $"threads-{Rank}.txt"), $"{get_num_threads()}");
                break;
            case "twice":
                Twice();
                break;
            case "waited":
                Waited();
                break;
            case "too-few-gpus":
                Environment.SetEnvironmentVariable("CUDA_VISIBLE_DEVICES", "4,5");
                Say(name, () => NcclExchange.Start(mpi!).Dispose());
                Environment.SetEnvironmentVariable("CUDA_VISIBLE_DEVICES", null);
                break;
            case "gpus":
                Gpus();
                break;
            case "nccl-left-by-all":
                NcclExchange.Start(mpi!, () => 1).Dispose();
                File.WriteAllText(Path.Combine(folder, $"{name}-{Rank}.txt"), "left");
                break;
            case "nccl-no-gpu":
                Say(name, () => NcclExchange.Start(mpi!, () => 1 - Rank).Dispose());
                break;
            case "nccl-joins":
                Say(name, () => NcclExchange.Start(mpi!, () => 1).Dispose());
                break;
            case "nccl-link":
                using (NcclExchange.Start(mpi!, () => 1))
                {
                    Thread.Sleep(TimeSpan.FromMinutes(5)); // as in a sum that never comes
                }

                break;
            case "failing":
                Ending(() => throw new InvalidDataException("The disk of this process is gone."));
                break;
            case "caught": // by the program itself, as a program should not
                try
                {
                    Ending(() => throw new InvalidDataException("The disk of this process is gone."));
                }
                catch (InvalidDataException)
                {
                }

                break;
            case "killed":
                Ending(() => Process.GetCurrentProcess().Kill());
                break;
            default:
                throw new ArgumentException($"There is no scenario {name}.");
        }
    }

    /// <summary>How often a process gives its core away by itself while it waits for another, a second long each.</summary>
    private void Waited()
    {
        using Tensor number = zeros(1);
        List<string> lines = [];
        foreach ((string name, Action wait) in new (string, Action)[]
        {
            ("gather", () => _exchange!.Gather("")),
            ("broadcast", () => _exchange!.Broadcast(number, 0)),
            ("sum", () => _exchange!.Sum(number)),
        })
        {
            wait();
            if (Rank == 0)
            {
                Thread.Sleep(1000);
            }

            long before = Sleeps();
            wait();
            lines.Add(string.Create(CultureInfo.InvariantCulture, $"{name} {Sleeps() - before}"));
        }

        File.WriteAllLines(Path.Combine(folder, $"waited-{Rank}.txt"), lines);

        static long Sleeps() => long.Parse(
            File.ReadLines("/proc/thread-self/status").Single(line => line.StartsWith("voluntary_ctxt_switches:", StringComparison.Ordinal)).Split('\t')[1],
            CultureInfo.InvariantCulture);
    }

    private static RetroConfig Dropping()
    {
        RetrievalConfig retrieval = SmallModel.Config.Retrieval!;
        return SmallModel.Config with { Dropout = 0.1, Retrieval = retrieval with { Encoder = retrieval.Encoder with { Dropout = 0.1 } } };
    }

    private static RetroModel Model(RetroConfig config, long seed = 0, Device? device = null)
    {
        manual_seed(5 + seed);
        return new(config, device: device);
    }

    private void Train(string name, TrainingOptions options, RetroConfig? config = null) => Train(name, options, _exchange, config);

    private void Train(string name, TrainingOptions options, IGradientExchange? among, RetroConfig? config = null, Device? device = null)
    {
        using RetroModel model = Model(config ?? SmallModel.Config, device: device);
        using Trainer trainer = new(model, options with { CheckpointFolder = Path.Combine(folder, name) }, exchange: among);
        List<string> lines = [];
        trainer.Run(
            new WorkerData(SmallModel.Config),
            new Reports<TrainingProgress>(done => lines.Add(
                string.Create(CultureInfo.InvariantCulture, $"{done.Step} {done.Tokens} {done.Loss:0.00000} {done.GradientNorm:0.0000}"))));
        File.WriteAllLines(Path.Combine(folder, $"{name}-{Rank}.txt"), lines);
    }

    /// <summary>Goes on, if there is anything to go on from, to a step and no further: one process alone is told to stop.</summary>
    private void Until(int step, TrainingOptions options)
    {
        string checkpoint = Path.Combine(folder, "until");
        using RetroModel model = Model(SmallModel.Config, seed: 40);
        using Trainer trainer = new(model, options with { CheckpointFolder = checkpoint }, exchange: _exchange);
        if (Directory.Exists(checkpoint))
        {
            trainer.Load(checkpoint);
        }

        _exchange?.Gather(""); // before anyone writes
        using CancellationTokenSource stop = new();
        try
        {
            trainer.Run(
                new WorkerData(SmallModel.Config),
                new Reports<TrainingProgress>(done =>
                {
                    if (done.Step == step && Rank == Size - 1)
                    {
                        stop.Cancel();
                    }
                }),
                stop.Token);
        }
        catch (OperationCanceledException)
        {
        }

        Require(trainer.StepsDone == step, "the step that it was told to stop at");
    }

    /// <summary>Is stopped, and goes on with the same trainer and then with another.</summary>
    private void Twice()
    {
        // Even fresh weights are drawn by a processor's own instructions.
        string begun = Path.Combine(folder, "begun");
        if (Rank == 0)
        {
            using RetroModel fresh = Model(SmallModel.Wide);
            Checkpoint.Save(begun, fresh);
        }

        _exchange?.Gather("");
        using RetroModel model = Checkpoint.Load(begun);
        using Trainer trainer = new(
            model, s_options with { Optimizer = s_muon, CheckpointFolder = Path.Combine(folder, "twice") }, exchange: _exchange);
        using CancellationTokenSource stop = new();
        Reports<TrainingProgress> stopping = new(done =>
        {
            if (done.Step == 6)
            {
                stop.Cancel();
            }
        });
        try
        {
            trainer.Run(new WorkerData(SmallModel.Config), stopping, stop.Token);
        }
        catch (OperationCanceledException)
        {
        }

        string before = Hash();
        Say("twice", () => trainer.Run(new WorkerData(SmallModel.Config)));
        File.AppendAllText(Path.Combine(folder, $"twice-{Rank}.txt"), $", {trainer.StepsDone} steps, {before}");
        using Trainer another = new(model, s_options with { Steps = 2 }, exchange: _exchange);
        Say("another", () => another.Run(new WorkerData(SmallModel.Config)));

        string Hash() => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(
            [.. model.parameters().SelectMany(parameter => parameter.detach().bytes.ToArray())]));
    }

    /// <summary>What the first process makes late the others find made, and that it could not all are told.</summary>
    private void ByFirst()
    {
        string made = Path.Combine(folder, "made-by-first.txt");
        mpi!.ByFirst(() =>
        {
            Thread.Sleep(200);
            File.AppendAllText(made, "by the first");
        });
        Require(File.ReadAllText(made) == "by the first", "made once, before any goes on");
        Say("by-first", () => mpi!.ByFirst(() => throw new CheckpointException("There is no room.")));
    }

    private void Measured()
    {
        int asked = 0, watched = 0;
        using RetroModel model = Model(SmallModel.Config);
        using Trainer trainer = new(
            model,
            s_options with { MeasureEvery = 2, Patience = 2, CheckpointFolder = Path.Combine(folder, "measured") },
            exchange: _exchange)
        {
            Measure = _ => 1 + asked++, // no better ever
            Watch = _ =>
            {
                watched++;
                return new TrainingWatch(1, 1);
            },
        };
        trainer.Run(new WorkerData(SmallModel.Config));
        File.WriteAllText(
            Path.Combine(folder, $"measured-{Rank}.txt"),
            string.Create(CultureInfo.InvariantCulture, $"{trainer.StepsDone} steps, best {trainer.BestMeasure}, asked {asked}, watched {watched}"));
    }

    private void Refused(
        string name,
        TrainingOptions options,
        RetroConfig config,
        string data,
        long seed = 0,
        float? weight = null,
        Func<RetroModel, double>? measure = null,
        int? frozen = null)
    {
        using RetroModel model = Model(config, seed);
        if (weight is { } value)
        {
            using IDisposable noGradients = no_grad();
            model.named_parameters().First().parameter.fill_(value);
        }

        if (frozen is { } number)
        {
            model.named_parameters().ElementAt(number).parameter.requires_grad = false; // as many in each, and others
        }

        using Trainer trainer = new(model, options, exchange: _exchange) { Measure = measure };
        Say(name, () => trainer.Run(new WorkerData(config, data)));
    }

    /// <summary>Steps that the program does itself, with what it gives each process.</summary>
    private void Stepped()
    {
        using RetroModel model = Model(SmallModel.Config);
        using Trainer trainer = new(model, s_options with { CheckpointFolder = Path.Combine(folder, "stepped") }, exchange: _exchange);
        WorkerData data = new(SmallModel.Config);
        for (int step = 0; step < 8; step++)
        {
            TrainingBatch[] batches = [.. Enumerable.Range(0, 4).Where(i => i % Size == Rank).Select(i => data.Batch((4 * step) + i, 0).ToTensors())];
            trainer.Step(batches);
            Array.ForEach(batches, batch => batch.Dispose());
        }

        trainer.Save(Path.Combine(folder, "stepped"));
    }

    /// <summary>Trains on a GPU for each process, and alone on it for comparison.</summary>
    private void Gpus()
    {
        using NcclExchange gpus = NcclExchange.Start(mpi!);
        Exchange(gpus, CUDA);
        Exchange(gpus, CPU); // by MPI
        Train("gpus", s_options, gpus, device: CUDA);
        Train("gpus-sharded", s_options with { ShardOptimizer = true }, gpus, device: CUDA);
        Train("gpus-muon", s_options with { Optimizer = s_muon }, gpus, device: CUDA);
        Train("gpus-bfloat16", s_options with { Dtype = ScalarType.BFloat16 }, gpus, device: CUDA);
        if (Rank == 0)
        {
            Train("gpu", s_options, null, device: CUDA);
            Train("gpu-muon", s_options with { Optimizer = s_muon }, null, device: CUDA);
        }
    }

    private void Exchange(IGradientExchange among, Device device)
    {
        int last = Size - 1;
        using Tensor floats = arange(0, 1_500_000, ScalarType.Float32, device).mul_(Rank + 1);
        using Tensor doubles = ones(7, ScalarType.Float64, device).mul_(Rank + 0.5);
        using Tensor counts = tensor([(long)Rank + 1, 1L << 40], device: device), only = ones(5, device: device).mul_(Rank + 1);
        using Tensor flags = tensor([Rank == last, Rank != last], device: device);
        using Tensor scattered = zeros(4, 4, device: device).t(), small = ones(3, ScalarType.BFloat16, device);
        among.Sum(floats);
        among.Sum(doubles);
        among.Sum(counts);
        among.Sum(only, last);
        among.Broadcast(flags, last);
        double ranks = Size * (Size + 1) / 2;
        using Tensor expected = arange(0, 1_500_000, ScalarType.Float32, device).mul_(ranks);
        Require(floats.equal(expected).all().item<bool>(), "float32");
        Require(doubles[6].item<double>() == ranks - (Size / 2.0), "float64");
        Require(counts[0].item<long>() == (long)ranks && counts[1].item<long>() == Size * (1L << 40), "int64");
        Require(Rank != last || only[4].item<float>() == (float)ranks, "the sum for one");
        Require(flags[0].item<bool>() && !flags[1].item<bool>(), "broadcast");
        Require(among.Gather(Text(Rank)).SequenceEqual(Enumerable.Range(0, Size).Select(Text)), "texts");
        Say("not-contiguous", () => among.Sum(narrow(scattered, 0, 0, 2)));
        Say("not-summed", () => among.Sum(small));
        File.WriteAllText(Path.Combine(folder, $"exchange-{Rank}.txt"), among.Place);

        static string Text(int length) => string.Concat(Enumerable.Repeat("é", length));
    }

    private void Ending(Action end)
    {
        using RetroModel model = Model(SmallModel.Config);
        using Trainer trainer = new(
            model, s_options with { Steps = 1000, CheckpointEvery = 1, CheckpointFolder = Path.Combine(folder, "ending") }, exchange: _exchange);
        trainer.Run(new WorkerData(SmallModel.Config) { Before = number =>
        {
            if (number == (4 * 5) + 1 && Rank == 1)
            {
                end();
            }
        } });
    }

    /// <summary>Writes what an action throws, or that it throws nothing.</summary>
    private void Say(string name, Action action)
    {
        string said = "nothing";
        try
        {
            action();
        }
        catch (Exception exception) when (exception is RetroException)
        {
            said = $"{exception.GetType().Name}: {exception.Message}";
        }

        File.WriteAllText(Path.Combine(folder, $"{name}-{Rank}.txt"), said);
    }

    private static void Require(bool holds, string what)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"Wrong: {what}.");
        }
    }
}
