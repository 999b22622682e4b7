using System.Globalization;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// Where the time of a training step goes: the whole step, and each of its parts computed by itself, in its shapes and as often as in the step. It is
/// processor time on one thread, which other work on the machine stretches less than the clock's.
/// </summary>
internal static class StepBenchmark
{
    private const int Length = 512, Neighbors = 2, Rows = 2, Rounds = 5;

    public static void Run()
    {
        set_num_threads(1);

        // "Mini Float32 Muon 20": one line about the whole step, which two builds print in turn.
        if (Environment.GetEnvironmentVariable("RETRO_STEP") is { Length: > 0 } which)
        {
            string[] words = which.Split(' ');
            int steps = int.Parse(words[3], CultureInfo.InvariantCulture);
            (double step, double loss) = Whole(Config(words[0]), Enum.Parse<ScalarType>(words[1]), Enum.Parse<OptimizerKind>(words[2]), steps);
            double memory = Measuring.PeakMemory() / 1e9;
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{which}: {step * 1e3:0.0} ms a step, the last loss {loss:R}, the process's most memory {memory:0.00} GB"));
            return;
        }

        foreach ((string name, ScalarType type, OptimizerKind kind) in new[]
        {
            ("Middle", ScalarType.Float32, OptimizerKind.AdamW), ("Middle", ScalarType.Float32, OptimizerKind.Muon),
            ("Middle", ScalarType.BFloat16, OptimizerKind.AdamW), ("Mini", ScalarType.Float32, OptimizerKind.Muon),
            ("Mini", ScalarType.BFloat16, OptimizerKind.Muon),
        }.Where(one => Measuring.Types().Contains(one.Item2)))
        {
            Parts(name, Config(name), type, kind);
        }
    }

    /// <summary>Loss and gradient with the logits of all tokens at once, and of some at a time, in turn.</summary>
    public static void LargeVocabulary()
    {
        RetroConfig config = RetroConfig.Mini with { VocabularySize = 152_000, Retrieval = null };
        Measuring.Head(
            $"Mini, Float32, vocabulary {config.VocabularySize:#,0}: gradient of one window of {Length} tokens, without neighbors",
            "logits", "ms", "memory beyond the model's, MB");
        using RetroModel model = new(config);
        using RetroOptimizer optimizer = new(model);
        using TrainingBatch batch = new(randint(config.VocabularySize, [1, Length], ScalarType.Int64));
        StepGradients sliced = new(model, optimizer, new(), 0);
        Parameter[] parameters = [.. model.parameters()];
        (string Name, Action Work)[] ways = [("of all tokens at once", AtOnce), ("of some tokens at a time", InSlices)];
        double[][] seconds = [.. ways.Select(_ => new double[Rounds])];
        long[] bytes = new long[ways.Length];
        for (int round = -1; round < Rounds; round++)
        {
            for (int way = 0; way < ways.Length; way++)
            {
                long before = Measuring.Private();
                double took = 0;
                long most = Measuring.MostPrivate(() => took = Seconds(ways[way].Work)) - before;
                if (round >= 0)
                {
                    (seconds[way][round], bytes[way]) = (took, Math.Max(bytes[way], most));
                }
            }
        }

        for (int way = 0; way < ways.Length; way++)
        {
            Measuring.Row($"{ways[way].Name}", $"{seconds[way].Order().ElementAt(Rounds / 2) * 1e3:0}", $"{bytes[way] / 1e6:0}");
        }

        void AtOnce()
        {
            using DisposeScope scope = NewDisposeScope();
            autograd.grad([LogLikelihood.MeanLoss(model.call(batch.Tokens, null, null), LogLikelihood.Targets(batch.Tokens))], parameters);
        }

        void InSlices()
        {
            sliced.Add([StepBatch.Of(model, batch)], 0, hasOwn: false);
            optimizer.ClearGradients();
        }
    }

    /// <summary>Steps over windows of short documents, each beginning with a chunk of its own, with their padding computed and left out, in turn.</summary>
    public static void Padding()
    {
        set_num_threads(1);
        Measuring.Head(
            $"Documents of 20 to 140 tokens in chunks of 64: {Rows} windows of {Length} tokens, {Neighbors} neighbors, AdamW, one thread",
            "model", "padding, %", "ms, padding computed", "ms, left out", "of the time, median [range]");
        foreach ((string name, ScalarType type) in new[]
        {
            ("Mini", ScalarType.Float32), ("Mini", ScalarType.BFloat16), ("Middle", ScalarType.Float32), ("Middle", ScalarType.BFloat16),
        }.Where(one => Measuring.Types().Contains(one.Item2)))
        {
            manual_seed(1);
            RetroConfig config = Config(name);
            using RetroModel model = new(config);
            using Trainer trainer = new(model, TrainingOptions.SmallModel with { LearningRate = 1e-3, Dtype = type, Optimizer = new() });
            using DisposeScope scope = NewDisposeScope();
            TrainingBatch[] padded = [.. Enumerable.Range(0, Rows).Select(row => ShortDocuments(config, row))];
            TrainingBatch[] computed = [.. padded.Select(batch => batch with { Padding = null })];
            List<(double Computed, double LeftOut)> rounds = [];
            for (int round = -2; round < Rounds; round++)
            {
                double before = Seconds(() => trainer.Step(computed)), after = Seconds(() => trainer.Step(padded));
                if (round >= 0)
                {
                    rounds.Add((before, after));
                }
            }

            double[] ratios = [.. rounds.Select(one => one.LeftOut / one.Computed).Order()];
            double share = padded.Average(batch => batch.Padding!.to_type(ScalarType.Float32).mean().item<float>());
            Measuring.Row(
                $"{name}, {type}",
                $"{share * 100:0}",
                $"{rounds.Select(one => one.Computed).Order().ElementAt(Rounds / 2) * 1e3:0}",
                $"{rounds.Select(one => one.LeftOut).Order().ElementAt(Rounds / 2) * 1e3:0}",
                $"{ratios[Rounds / 2]:0.00} [{ratios[0]:0.00}, {ratios[^1]:0.00}]");
        }
    }

    /// <summary>A window of documents of 20 to 140 tokens; a chunk has neighbors where its document goes on.</summary>
    private static TrainingBatch ShortDocuments(RetroConfig config, int row)
    {
        const int Chunk = 64;
        SeededRandom random = new(1, (Purpose)2, row);
        bool[] padding = new bool[Length], counts = [.. Enumerable.Repeat(true, Length)], goesOn = new bool[Length / Chunk];
        for (int start = 0; start < Length;)
        {
            int end = Math.Min(Length, start + 20 + random.Below(121)), next = Math.Min(Length, (end + Chunk - 1) / Chunk * Chunk);
            Array.Fill(padding, true, end, next - end);
            Array.Fill(counts, false, end, next - end);
            counts[start] = false;
            Array.Fill(goesOn, true, start / Chunk, ((next - start) / Chunk) - 1);
            start = next;
        }

        TrainingBatch batch = Batch(config);
        Tensor valid = batch.Valid!.logical_and(tensor(goesOn[..^1], [1, goesOn.Length - 1, 1, 1]));
        return batch with { Valid = valid, LossMask = tensor(counts, [1, Length]), Padding = tensor(padding, [1, Length]) };
    }

    private static RetroConfig Config(string name) => name == "Mini" ? RetroConfig.Mini : ReportBenchmark.Middle;

    private static (double Seconds, double Loss) Whole(RetroConfig config, ScalarType type, OptimizerKind kind, int steps)
    {
        manual_seed(1);
        using RetroModel model = new(config);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { LearningRate = 1e-3, Dtype = type, Optimizer = new() { Kind = kind } });
        using TrainingBatch one = Batch(config), other = Batch(config);
        double loss = 0;
        double[] seconds = [.. Enumerable.Range(0, steps + 2).Select(_ => Seconds(() => loss = trainer.Step([one, other]).Loss)).Skip(2)];
        return (seconds.Order().ElementAt(seconds.Length / 2), loss);
    }

    private static TrainingBatch Batch(RetroConfig config) => ReportBenchmark.Batch(config, 1, Length, Neighbors, CPU);

    private static void Parts(string name, RetroConfig config, ScalarType type, OptimizerKind kind)
    {
        RetrievalConfig retrieval = config.Retrieval!;
        EncoderConfig encoder = retrieval.Encoder;
        int chunks = (Length / retrieval.ChunkLength) - 1, asking = chunks * retrieval.ChunkLength, read = chunks * Neighbors * retrieval.RetrievedLength;
        manual_seed(1);
        using TrainingBatch batch = Batch(config);
        int valid = (int)batch.Valid!.sum().item<long>();
        int crossing = retrieval.CrossAttentionLayers.Count, encoderCrossing = encoder.CrossAttentionLayers.Count, inner = config.Heads * config.HeadSize;
        int encoderInner = encoder.Heads * encoder.HeadSize;
        Measuring.Head(
            $"{name}, {type}, {kind}: {Rows} windows of {Length} tokens, {Neighbors} neighbors a chunk, {100.0 * valid / read:0} % of their tokens",
            "part", "ms", "share of the step", "GFLOP/s");
        (double whole, _) = Whole(config, type, kind, Rounds);
        List<(string Name, double Seconds, double Work)> parts = [];

        // --- products with weights: forward, and the gradients of both ---
        (int Rows, int Input, int Output, int Count)[] products =
        [
            (Length, config.Width, inner, 4 * config.Layers),
            (Length, config.Width, config.FeedForwardSize, config.Layers),
            (Length, config.FeedForwardSize, config.Width, config.Layers),
            (asking, config.Width, inner, 2 * crossing),
            (valid, encoder.Width, inner, 2 * crossing),
            (valid, encoder.Width, encoderInner, (4 * encoder.Layers) + (2 * encoderCrossing)),
            (asking, config.Width, encoderInner, 2 * encoderCrossing),
            (valid, encoder.Width, encoder.FeedForwardSize, encoder.Layers),
            (valid, encoder.FeedForwardSize, encoder.Width, encoder.Layers),
            (Length, config.Width, config.VocabularySize, 1),
        ];
        double work = 0, seconds = 0;
        foreach ((int rows, int input, int output, int count) in products)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor x = randn(rows, input, dtype: type, requires_grad: true), w = randn(output, input, dtype: type, requires_grad: true);
            seconds += Rows * count * Pass(() => nn.functional.linear(x, w), x, w);
            work += 3.0 * Rows * count * 2 * rows * input * output;
        }

        parts.Add(("products with weights", seconds, work));

        // --- attention ---
        (int Heads, int Blocks, int Queries, int Keys, int Size, int Count, bool Masked)[] attentions =
        [
            (config.Heads, 1, Length, Length, config.HeadSize, config.Layers, false),
            (config.Heads, chunks, retrieval.ChunkLength, Neighbors * retrieval.RetrievedLength, config.HeadSize, crossing, true),
            (encoder.Heads, chunks * Neighbors, retrieval.RetrievedLength, retrieval.RetrievedLength, encoder.HeadSize, encoder.Layers, true),
            (encoder.Heads, chunks, Neighbors * retrieval.RetrievedLength, retrieval.ChunkLength, encoder.HeadSize, encoderCrossing, false),
        ];
        (work, seconds, double rotations) = (0, 0, 0);
        foreach ((int heads, int blocks, int queries, int keys, int size, int count, bool masked) in attentions)
        {
            using DisposeScope scope = NewDisposeScope();
            bool causal = blocks == 1;
            Tensor q = randn([heads, blocks, queries, size], type, requires_grad: true), k = randn([heads, blocks, keys, size], type, requires_grad: true);
            Tensor v = randn([heads, blocks, keys, size], type, requires_grad: true);
            Tensor? mask = masked ? zeros([1, blocks, 1, keys], type) : null;
            seconds += Rows * count * Pass(() => AttentionKernel.Attend(q, k, v, mask, causal, null, null), q, k, v);
            work += 3.0 * Rows * count * 4 * heads * blocks * queries * keys * size / (causal ? 2 : 1);
            foreach (Tensor turned in new[] { q, k })
            {
                RotaryTable table = RotaryTable.Create(arange(turned.shape[2], ScalarType.Float64), RotaryTable.Frequencies(size, 1e4), type);
                rotations += Rows * count * Pass(() => table.Rotate(turned), turned);
            }
        }

        parts.Add(("attention", seconds, work));
        parts.Add(("rotations", rotations, 0));

        // --- what is done value by value ---
        parts.Add(("norms", Norms(Length, config.Width, (2 * config.Layers) + 1) + Norms(asking, config.Width, crossing)
            + Norms(valid, encoder.Width, (2 * encoder.Layers) + encoderCrossing + (encoder.FinalNorm ? 1 : 0)), 0));
        parts.Add(("activations", Activations(Length, config.FeedForwardSize, config.Layers)
            + Activations(valid, encoder.FeedForwardSize, encoder.Layers), 0));
        using (NewDisposeScope())
        {
            Tensor logits = randn([1, Length, config.VocabularySize], type, requires_grad: true);
            Tensor targets = randint(config.VocabularySize, [1, Length], ScalarType.Int64);
            parts.Add(("loss", Rows * Pass(() => LogLikelihood.MeanLoss(logits, targets), logits), 0));
        }

        parts.Add(($"optimizer, {kind}", Optimizer(config, type, kind), 0));
        parts.Add(("the rest: residuals, heads to and fro, packing, embedding, memory, the graph", whole - parts.Sum(part => part.Seconds), 0));
        foreach ((string part, double time, double operations) in parts)
        {
            string rate = operations == 0 ? "" : $"{operations / time / 1e9:0}";
            Measuring.Row($"{part}", $"{time * 1e3:0}", $"{time / whole:P0}", $"{rate}");
        }

        double all = parts.Sum(part => part.Work);
        Measuring.Row($"the step", $"{whole * 1e3:0}", $"{1:P0}", $"{all / whole / 1e9:0}");

        double Norms(int rows, int width, int count)
        {
            using DisposeScope scope = NewDisposeScope();
            using Normalization norm = new(NormKind.RmsNorm, width, 1e-5, type);
            Tensor x = randn([1, rows, width], type, requires_grad: true);
            return Rows * count * Pass(() => norm.call(x), x, norm.get_parameter("weight")!);
        }

        double Activations(int rows, int width, int count)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor x = randn([rows, width], type, requires_grad: true);
            return Rows * count * Pass(() => nn.functional.gelu(x), x);
        }
    }

    private static double Optimizer(RetroConfig config, ScalarType type, OptimizerKind kind)
    {
        using RetroModel model = new(config, type);
        using RetroOptimizer optimizer = new(model, new() { Kind = kind });
        using DisposeScope scope = NewDisposeScope();
        Tensor[] gradients = [.. model.parameters().Select(parameter => randn(parameter.shape, parameter.dtype))];
        return Median(() =>
        {
            foreach ((Parameter parameter, Tensor gradient) in model.parameters().Zip(gradients))
            {
                parameter.grad = gradient.alias();
            }

            optimizer.Step(1e-4, 1e-4);
        });
    }

    // Forward and backward, as often as makes tens of milliseconds.
    private static double Pass(Func<Tensor> forward, params Tensor[] leaves)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor direction = forward().detach().clone();
        int times = (int)Math.Clamp(0.03 / Math.Max(Seconds(Once), 1e-5), 1, 1000);
        return Median(() =>
        {
            for (int i = 0; i < times; i++)
            {
                Once();
            }
        }) / times;

        void Once()
        {
            using DisposeScope inner = NewDisposeScope();
            autograd.grad([forward()], leaves, [direction]);
        }
    }

    private static double Median(Action work)
    {
        work();
        return Enumerable.Range(0, Rounds).Select(_ => Seconds(work)).Order().ElementAt(Rounds / 2);
    }

    private static double Seconds(Action work)
    {
        TimeSpan start = Environment.CpuUsage.UserTime;
        work();
        return (Environment.CpuUsage.UserTime - start).TotalSeconds;
    }
}
