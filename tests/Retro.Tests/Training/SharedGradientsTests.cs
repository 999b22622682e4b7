using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Modeling;
using Retro.Tests.Optimization;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Gradients that are summed over processes while others are computed. Those that mpirun starts are in Retro.Distributed.Tests.</summary>
public class SharedGradientsTests
{
    private const int Steps = 3, BatchesEach = 4;

    private static readonly RetroConfig s_wide = SmallModel.Wide;

    private static readonly TrainingOptions s_options = new() { Steps = Steps, WarmupSteps = 1, Accumulation = BatchesEach, LearningRate = 1e-3 };

    private static readonly Dictionary<string, (RetroConfig Config, TrainingOptions Options, Func<string, bool> Trained, bool Neighbors)> s_cases = new()
    {
        ["everything"] = (s_wide, s_options, _ => true, true),
        ["tied and shared"] = (
            s_wide with
            {
                TieEmbeddings = true,
                Retrieval = s_wide.Retrieval! with { Encoder = s_wide.Retrieval!.Encoder with { Width = 32, ShareEmbedding = true } },
            },
            s_options,
            _ => true,
            true),
        ["retrieval alone"] = (
            s_wide,
            s_options,
            name => name.StartsWith("encoder", StringComparison.Ordinal) || name.Contains("cca", StringComparison.Ordinal),
            true),
        ["the last layer"] = (s_wide, s_options, name => name.StartsWith("decoder.4", StringComparison.Ordinal), true),
        ["without neighbors"] = (s_wide, s_options, _ => true, false),
        ["closed book"] = (s_wide, s_options with { ClosedBook = 0.5 }, _ => true, true),
        ["recomputed"] = (s_wide, s_options with { RecomputeActivations = true }, _ => true, true),
        ["dropout"] = (s_wide with { Dropout = 0.2 }, s_options, _ => true, true),
        ["shared out"] = (s_wide, s_options with { ShardOptimizer = true }, _ => true, true),
    };

    public static IEnumerable<TheoryDataRow<int, string>> Cases
        => s_cases.Keys.SelectMany(name => new[] { 2, 3 }.Select(processes => new TheoryDataRow<int, string>(processes, name)));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Several_processes_come_to_the_weights_of_one_whatever_each_has(int processes, string name)
    {
        // With two threads of torch each, batches are side by side; how many a thread has is then decided by what others begin meanwhile, and with it the bits.
        byte[][] beside = Train(processes, name, 2, out _), came = Train(processes, name, 1, out InProcessExchange[] exchanges);
        byte[][] again = Train(processes, name, 1, out _);
        double[] expected = Values(Train(1, name, 1, out _)[0]);
        for (int rank = 0; rank < processes; rank++)
        {
            Assert.InRange(Values(came[rank]).Zip(expected).Max(pair => Math.Abs(pair.First - pair.Second)), 0, 1e-9);
            Assert.InRange(Values(beside[rank]).Zip(expected).Max(pair => Math.Abs(pair.First - pair.Second)), 0, 1e-9);
            Assert.Equal(came[rank], again[rank]);

            // The gradients on a thread of their own in each step, and in pieces where several layers are trained.
            (long Count, ScalarType Type, Thread Thread)[] sums = [.. exchanges[rank].Sums];
            Thread training = sums[0].Thread;
            long aside = sums.Count(one => one.Thread != training);
            Assert.InRange(aside, name is "the last layer" or "retrieval alone" ? Steps : 2 * Steps, int.MaxValue);
            Assert.Equal(Steps, sums.Where(one => one.Thread != training).Select(one => one.Thread).Distinct().Count());
        }
    }

    [Fact]
    public void The_sums_of_a_layer_begin_before_the_backward_of_those_below_it()
    {
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(s_wide);
        using RetroOptimizer optimizer = new(model);
        ITrainingOptimizer holding = optimizer;
        using SemaphoreSlim begun = new(0);
        InProcessExchange exchange = InProcessExchange.WithASilentOne();
        exchange.Before = _ => begun.Release();
        int[] places = [.. SegmentedGradients.Places(model, holding.Parameters).Select(place => place.Segment)];
        using SharedGradients shared = new(exchange, holding, [.. places.Select(place => (int?)place)], 1);
        List<int> segments = [];
        TrainingBatch batch = Batch(s_wide, 0, true);
        SegmentedGradients gradients = new(model, holding.Parameters, null, (segment, some) =>
        {
            shared.Add(0, segment, some);
            segments.Add(segment);
            if (segment is > 0 and < 5)
            {
                Assert.True(begun.Wait(TimeSpan.FromMinutes(2), CancellationToken.None), $"Nothing was summed after segment {segment}.");
            }
        });
        (_, Tensor?[] left) = gradients.Of(StepBatch.Of(model, batch), 1);
        Assert.Equal([0, 1, 2, 3, 4, 5], segments);
        Assert.All(left, Assert.Null);
        shared.Finish();
        Assert.All(holding.GradientSums, Assert.NotNull);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Batches_side_by_side_hand_over_what_all_of_them_have_in_their_order(bool firstFirst)
    {
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(s_wide);
        using RetroOptimizer optimizer = new(model);
        ITrainingOptimizer holding = optimizer;
        IList<Tensor> parameters = holding.Parameters;
        InProcessExchange exchange = InProcessExchange.WithASilentOne();
        int?[] places = [.. SegmentedGradients.Places(model, parameters).Select(place => (int?)place.Segment)];
        using SharedGradients shared = new(exchange, holding, places, 2);
        double[] numbers = [0.1, 0.7];
        Tensor?[][] batches = [.. numbers.Select(number => parameters.Select(parameter => full_like(parameter, number)).ToArray())];
        int first = firstFirst ? 0 : 1;
        for (int segment = 0; segment <= 5; segment++)
        {
            shared.Add(first, segment, batches[first]);
        }

        Assert.Empty(exchange.Sums);
        Assert.All(holding.GradientSums, Assert.Null);
        shared.Add(1 - first, 5, batches[1 - first]);
        shared.Finish();
        Assert.Equal(places.Length, holding.GradientSums.Count(gradient => gradient!.eq(0.1 + 0.7).all().ToBoolean()));
        Assert.InRange(exchange.Sums.Count, 4, 100);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public void What_fails_in_the_sums_comes_out_of_the_step_and_leaves_nothing_behind(int after)
    {
        MemoryInUse.Require();
        using RetroModel model = ModelCase.Model(s_wide);
        using TrainingBatch batch = Batch(s_wide, 0, true);
        Fail();
        long before = MemoryInUse.Now();
        for (int i = 0; i < 8; i++)
        {
            Fail();
        }

        long gradients = sizeof(double) * model.parameters().Sum(parameter => parameter.numel());
        Assert.InRange(MemoryInUse.Now() - before, long.MinValue, gradients);

        void Fail()
        {
            InProcessExchange exchange = InProcessExchange.WithASilentOne();
            Thread? failed = null;
            exchange.Before = values =>
            {
                Thread training = exchange.Sums.First().Thread;
                if (exchange.Sums.Count(one => one.Thread != training) > after)
                {
                    failed = Thread.CurrentThread;
                    throw new InvalidDataException("The cable is gone.");
                }
            };
            using Trainer trainer = new(model, s_options, exchange: exchange);
            Assert.Equal("The cable is gone.", Assert.Throws<InvalidDataException>(() => trainer.Step([batch])).Message);
            Assert.Contains("The cable is gone.", exchange.Aborted, StringComparison.Ordinal);
            Assert.NotEqual(Thread.CurrentThread, failed);
            Assert.False(failed!.IsAlive);
            Assert.All(model.parameters(), parameter => Assert.Null(parameter.grad));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Within_one_machine_all_is_summed_by_the_thread_that_trains(bool remote)
    {
        using RetroModel model = Model(s_wide, _ => true);
        InProcessExchange exchange = InProcessExchange.WithASilentOne();
        exchange.IsRemote = remote;
        using Trainer trainer = new(model, s_options, exchange: exchange);
        using TrainingBatch batch = Batch(s_wide, 0, true);

        trainer.Step([batch]);

        Assert.Equal(remote, exchange.Sums.Any(one => one.Thread != Thread.CurrentThread));
    }

    [Fact]
    public void A_process_that_fails_in_its_step_ends_the_one_that_waits_in_a_sum()
    {
        InProcessExchange[] exchanges = InProcessExchange.Of(2);
        Exception?[] thrown = InProcessExchange.Run(exchanges, exchange =>
        {
            using RetroModel model = Model(s_wide, _ => true);
            using Trainer trainer = new(model, s_options, exchange: exchange);
            using TrainingBatch batch = Batch(s_wide, 0, true);
            using Tensor wrong = full_like(batch.Tokens, s_wide.VocabularySize);
            trainer.Step([exchange.Rank == 0 ? batch : batch with { Tokens = wrong }]);
        });
        Assert.IsType<ArgumentException>(thrown[1]);
        Assert.IsAssignableFrom<OperationCanceledException>(thrown[0]);
        Assert.All(exchanges, exchange => Assert.NotNull(exchange.Aborted));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Parameters_are_frozen_later_in_all_processes_or_in_none(bool inAll)
    {
        InProcessExchange[] exchanges = InProcessExchange.Of(3);
        byte[][] came = new byte[3][];
        bool[] stayed = new bool[3];
        Exception?[] thrown = InProcessExchange.Run(exchanges, exchange =>
        {
            using RetroModel model = Model(s_wide, _ => true);
            using Trainer trainer = new(model, s_options, exchange: exchange);
            using TrainingBatch batch = Batch(s_wide, exchange.Rank, true);
            trainer.Step([batch]);
            Parameter frozen = model.parameters().Last();
            using Tensor before = frozen.detach().clone();
            frozen.requires_grad_(!inAll && exchange.Rank != 1);
            try
            {
                trainer.Step([batch]);
            }
            finally
            {
                stayed[exchange.Rank] = frozen.equal(before).all().ToBoolean();
                came[exchange.Rank] = Bytes(model);
            }
        });
        Assert.Equal([true, true, true], stayed);
        Assert.All(came, weights => Assert.Equal(came[0], weights));
        Assert.All(exchanges, exchange => Assert.Null(exchange.Aborted));
        foreach (Exception? one in thrown)
        {
            if (inAll)
            {
                Assert.Null(one);
                continue;
            }

            Assert.Contains("trained parameters: ", Assert.IsType<TrainingException>(one).Message, StringComparison.Ordinal);
            Assert.Contains(" in thread 1 of 3", one.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Sums_that_have_not_begun_are_left_where_the_step_fails()
    {
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(s_wide);
        using RetroOptimizer optimizer = new(model);
        ITrainingOptimizer holding = optimizer;
        InProcessExchange exchange = InProcessExchange.WithASilentOne();
        using ManualResetEventSlim begun = new(), go = new();
        exchange.Before = _ =>
        {
            begun.Set();
            go.Wait();
        };
        SharedGradients shared = new(exchange, holding, [.. SegmentedGradients.Places(model, holding.Parameters).Select(place => (int?)place.Segment)], 1);
        shared.Add(0, 5, [.. holding.Parameters.Select(parameter => ones_like(parameter))]);
        begun.Wait(TestContext.Current.CancellationToken);
        Thread ending = new(shared.Dispose);
        ending.Start();
        Assert.False(ending.Join(50), "Gradients are given up under a sum.");
        go.Set();
        ending.Join();

        // Of the first piece at most: its tensors are a bucket or two.
        Assert.InRange(exchange.Sums.Sum(one => one.Count), 1, holding.Parameters.Sum(parameter => parameter.numel()) / 2);
    }

    [Fact]
    public void One_process_has_the_bits_of_none_and_is_asked_for_no_sum()
    {
        InProcessExchange one = InProcessExchange.Of(1)[0];
        Assert.Equal(TrainOne("everything", null), TrainOne("everything", one));
        Assert.Empty(one.Sums);
    }

    [Fact]
    public void A_branch_of_ones_own_in_one_process_is_reason_enough_for_all_to_sum_after_backward()
    {
        InProcessExchange[] exchanges = InProcessExchange.Of(2);
        byte[][] came = new byte[2][];
        Exception?[] thrown = InProcessExchange.Run(exchanges, exchange =>
        {
            LayerFactory own = new() { FeedForward = (config, dtype, device) => new OwnFeedForward(config, dtype, device) };
            using RetroModel model = Model(s_wide, _ => true, exchange.Rank == 0 ? own : null);
            came[exchange.Rank] = Stepped(model, s_options, exchange, true);
        });
        Assert.All(thrown, Assert.Null);
        Assert.All(exchanges, exchange => Assert.Single(exchange.Sums.Select(one => one.Thread).Distinct()));
        Assert.Equal(came[0], came[1]);
        Assert.InRange(Values(came[0]).Zip(Values(TrainOne("everything", null))).Max(pair => Math.Abs(pair.First - pair.Second)), 0, 1e-9);
    }

    /// <summary>Each moves its parameters itself: what one rounds otherwise has it clip and skip as the first does.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Every_process_takes_the_norm_of_the_first(bool own)
    {
        double[] norms = new double[2];
        Exception?[] thrown = InProcessExchange.Run(InProcessExchange.Of(2), exchange =>
        {
            using DisposeScope scope = NewDisposeScope();
            Parameter one = new(zeros(4, 4));
            using optim.Optimizer sgd = optim.SGD([one], 0.1);
            using ITrainingOptimizer optimizer = own
                ? new RetroOptimizer([("one", one, ParameterKind.Matrix)], exchange: exchange)
                : new TorchOptimizer(sgd, [("one", one)], 0.1, 1, exchange);
            one.grad = full(4, 4, 2 + (1e-3 * exchange.Rank));
            norms[exchange.Rank] = optimizer.Step(0.1, 0.1, zeros([], ScalarType.Float64)).Norm;
        });
        Assert.All(thrown, Assert.Null);
        Assert.Equal([8, 8], norms);
    }

    /// <summary>Weights that processors of several kinds have rounded differently are no reason to refuse a second run.</summary>
    [Theory]
    [InlineData(false, ScalarType.Float32)]
    [InlineData(true, ScalarType.Float32)]
    [InlineData(false, ScalarType.BFloat16)]
    public void A_later_run_begins_with_the_weights_and_the_memory_of_the_first_process(bool ofTorch, ScalarType dtype)
    {
        InProcessExchange[] exchanges = InProcessExchange.Of(2);
        byte[][] came = new byte[2][];
        Exception?[] thrown = InProcessExchange.Run(exchanges, exchange =>
        {
            using RetroModel model = Model(s_wide, _ => true, dtype: dtype);
            TrainingOptions options = s_options with { Optimizer = new() { Kind = OptimizerKind.Muon } };
            using Trainer trainer = new(
                model, options, optimizer: ofTorch ? parameters => optim.SGD(parameters.Select(pair => pair.parameter), 1e-3) : null, exchange: exchange);
            CopyingData data = new(s_wide, rows: 1, chunks: 3, seed: 1);
            using CancellationTokenSource cancel = new();
            Assert.Throws<OperationCanceledException>(() => trainer.Run(data, new Reports<TrainingProgress>(_ => cancel.Cancel()), cancel.Token));
            using (no_grad())
            {
                Parameter rounded = model.parameters().First();
                rounded.mul_(1 + (1e-2 * exchange.Rank));
            }

            trainer.Run(data, cancellationToken: TestContext.Current.CancellationToken);
            came[exchange.Rank] = Bytes(model);
        });
        Assert.All(thrown, Assert.Null);
        Assert.Equal(came[0], came[1]);
    }

    /// <summary>So that another trainer may begin with them, or with their average, and whatever measures the model measures the same.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(0.9)]
    public void All_processes_leave_a_run_with_the_weights_of_the_first(double? averageDecay)
    {
        byte[][] came = new byte[2][];
        Exception?[] thrown = InProcessExchange.Run(InProcessExchange.Of(2), exchange =>
        {
            using RetroModel model = Model(s_wide, _ => true);
            CopyingData data = new(s_wide, rows: 1, chunks: 3, seed: 1);
            using Trainer trainer = new(model, s_options with { AverageDecay = averageDecay }, exchange: exchange);
            using Trainer another = new(model, s_options, exchange: exchange);
            trainer.Run(data, new Reports<TrainingProgress>(_ =>
            {
                using IDisposable noGradients = no_grad();
                Parameter rounded = model.parameters().First();
                rounded.mul_(1 + (1e-2 * exchange.Rank));
            }));
            using IDisposable? averaged = trainer.Averaged();
            came[exchange.Rank] = Bytes(model);
            another.Run(data);
        });
        Assert.All(thrown, Assert.Null);
        Assert.Equal(came[0], came[1]);
    }

    [Theory]
    [InlineData(false, ScalarType.Float64)]
    [InlineData(true, ScalarType.Float64)]
    [InlineData(true, ScalarType.BFloat16)]
    public void A_parameter_that_is_not_contiguous_is_shared_out_and_saved(bool shards, ScalarType dtype)
    {
        using TemporaryFolder folder = new();
        InProcessExchange[] exchanges = InProcessExchange.Of(2);
        byte[][] came = new byte[2][];
        Exception?[] thrown = InProcessExchange.Run(exchanges, exchange =>
        {
            LayerFactory turned = new() { FeedForward = (config, dtype, device) => new TurnedFeedForward(config, dtype, device) };
            using RetroModel model = Model(s_wide, _ => true, turned, dtype);
            TrainingOptions options = s_options with { ShardOptimizer = shards };
            using Trainer trainer = new(model, options, exchange: exchange);
            using TrainingBatch batch = Batch(s_wide, exchange.Rank, true);
            trainer.Step([batch]);
            trainer.Save(folder.Path);
            using Trainer again = new(model, options, exchange: exchange);
            again.Load(folder.Path);
            again.Step([batch]);
            came[exchange.Rank] = Bytes(model);
        });
        Assert.All(thrown, Assert.Null);
        Assert.Equal(came[0], came[1]);
    }

    private static byte[][] Train(int processes, string name, int threads, out InProcessExchange[] exchanges)
    {
        exchanges = InProcessExchange.Of(processes);
        byte[][] weights = new byte[processes][];
        using ThreadCount set = new(threads);
        Exception?[] thrown = InProcessExchange.Run(exchanges, exchange => weights[exchange.Rank] = TrainOne(name, exchange));
        Assert.All(thrown, Assert.Null);

        return weights;
    }

    private static byte[] TrainOne(string name, InProcessExchange? exchange)
    {
        (RetroConfig config, TrainingOptions options, Func<string, bool> trained, bool neighbors) = s_cases[name];
        using RetroModel model = Model(config, trained);
        return Stepped(model, options, exchange, neighbors);
    }

    private static byte[] Stepped(RetroModel model, TrainingOptions options, InProcessExchange? exchange, bool neighbors)
    {
        using Trainer trainer = new(model, options, exchange: exchange);
        for (int step = 0; step < Steps; step++)
        {
            TrainingBatch[] batches = [.. Enumerable.Range(0, BatchesEach)
                .Where(i => i % (exchange?.Size ?? 1) == (exchange?.Rank ?? 0))
                .Select(i => Batch(model.Config, (step * BatchesEach) + i, neighbors))];
            trainer.Step(batches);
            Array.ForEach(batches, batch => batch.Dispose());
        }

        return Bytes(model);
    }

    private static byte[] Bytes(RetroModel model) => [.. model.parameters().SelectMany(parameter => parameter.detach().contiguous().bytes.ToArray())];

    private static double[] Values(byte[] bytes) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, double>(bytes).ToArray();

    /// <summary>The same in every thread, whose draws may come between.</summary>
    private static RetroModel Model(RetroConfig config, Func<string, bool> trained, LayerFactory? layers = null, ScalarType dtype = ScalarType.Float64)
    {
        using IDisposable noGradients = no_grad();
        using Generator generator = new(11);
        RetroModel model = new(config, dtype, layers: layers);
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            using Tensor drawn = randn(parameter.shape, ScalarType.Float64, generator: generator);
            parameter.copy_(drawn.mul_(0.1));
            parameter.requires_grad_(trained(name));
        }

        return model;
    }

    /// <summary>Of four batches, two have neighbors, one has none, and one has no target.</summary>
    private static TrainingBatch Batch(RetroConfig config, int number, bool neighbors)
    {
        using DisposeScope scope = NewDisposeScope();
        Random random = new(number);
        int m = (int)config.Retrieval!.ChunkLength, length = 3 * m;
        Tensor tokens = tensor([.. Enumerable.Range(0, length).Select(_ => random.NextInt64(config.VocabularySize))]).view(1, length);
        long[] shape = [1, 3, 1, config.Retrieval!.RetrievedLength];
        Tensor read = tensor([.. Enumerable.Range(0, (int)(shape[1] * shape[3])).Select(_ => random.NextInt64(config.VocabularySize))]).view(shape);
        Tensor mask = tensor([.. Enumerable.Range(0, length).Select(_ => number % 4 != 2 && random.Next(4) < 1 + number)]).view(1, length);
        return new(
            tokens.MoveToOuterDisposeScope(),
            neighbors && number % 4 != 1 ? read.MoveToOuterDisposeScope() : null,
            null,
            mask.MoveToOuterDisposeScope());
    }

    private sealed class OwnFeedForward(RetroConfig config, ScalarType dtype, Device? device) : FeedForward(config, false, dtype, device);

    private sealed class TurnedFeedForward : FeedForward
    {
        private readonly Parameter _turned;

        public TurnedFeedForward(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, false, dtype, device)
        {
            _turned = new(zeros(config.Width, config.Width + 1, dtype, device).t());
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => base.forward(x).Plus(x.matmul(_turned[1..].t()));
    }
}
