using System.Globalization;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// Two ways to compute the same thing, in turn in one process. It is processor time on one thread, which other work on the machine does not stretch as it does
/// the clock's; the ratio is the median of those of the rounds.
/// </summary>
internal static class OperatorBenchmark
{
    private const int Rounds = 11;
    private const double MillisecondsATurn = 30;

    // Never there, so that the composition behind an operator is taken.
    private static readonly AtenOperator s_missing = new("aten::relu", 1, () => [ones(1)], "no_library_of_this_name");
    private static readonly AtenOperator s_rmsNorm = new(
        "aten::_fused_rms_norm", 2, () => [ones(2), (long[])[2], AtenArgument.Some(ones(2)), AtenArgument.Some(1e-5)]);

    public static void Run()
    {
        set_num_threads(1);
        Console.WriteLine(
            $"Processor time on one thread, libtorch {__version__}; forward and backward where nothing else is said; the median of {Rounds} rounds, each "
                + "way in turn.");
        Console.WriteLine();
        Console.WriteLine("| what | A | B | A, ms | B, ms | B / A |");
        Console.WriteLine("|---|---|---|---|---|---|");
        if (Measuring.Types().Contains(ScalarType.BFloat16))
        {
            Orthogonalize(4, 512, 512);
            Orthogonalize(4, 512, 1365);
            Orthogonalize(4, 128, 384);
        }

        foreach (ScalarType dtype in Measuring.Types())
        {
            Step(dtype, OptimizerKind.AdamW);
            Step(dtype, OptimizerKind.Muon);
            Attention("decoder, causal", dtype, 8, 2, 512, 512, 64, causal: true);
            Attention("encoder", dtype, 8, 32, 128, 128, 64);
            Attention("encoder", dtype, 4, 32, 128, 128, 32);
            Attention("chunked cross-attention", dtype, 8, 16, 64, 256, 64);
            Attention("one decoded token, forward", dtype, 8, 1, 1, 512, 64);
            OneRow(dtype, 512, 2048);
            Causal(dtype, 8, 2, 512, 64);
            Causal(dtype, 8, 2, 2048, 64);
            Causal(dtype, 8, 8, 2048, 64);
            Causal(dtype, 8, 2, 4096, 64, window: 512);
            Gelu(dtype, 4096, 2048);
            Norm(dtype, 2, 512, 512);
            Norm(dtype, 2, 512, 128);
            Norm(dtype, 1, 1, 512);
        }
    }

    private static void Step(ScalarType dtype, OptimizerKind kind)
    {
        RetroConfig config = RetroConfig.Mini with { Width = 256, VocabularySize = 8192 };
        using RetroModel model = new(config, dtype);
        using RetroOptimizer single = new(model, new() { Kind = kind }) { FusedAdamW = s_missing }, fused = new(model, new() { Kind = kind });
        using DisposeScope scope = NewDisposeScope();
        Tensor[] gradients = [.. model.parameters().Select(parameter => randn(parameter.shape, parameter.dtype))];
        Pair(
            string.Create(
                CultureInfo.InvariantCulture,
                $"optimizer step, {kind}, {config.CountParameters().Total / 1e6:F1}M parameters in {gradients.Length} tensors, {dtype}"),
            "single operators",
            "_fused_adamw_",
            () => Move(single),
            () => Move(fused));

        void Move(RetroOptimizer optimizer)
        {
            foreach ((Parameter parameter, Tensor gradient) in model.parameters().Zip(gradients))
            {
                parameter.grad = gradient.alias();
            }

            optimizer.Step(1e-4, 1e-4);
        }
    }

    private static void Attention(string what, ScalarType dtype, long heads, long batch, long queries, long keys, long size, bool causal = false)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor[] leaves = [.. new[] { queries, keys, keys }.Select(length => randn([heads, batch, length, size], dtype).requires_grad_(queries > 1))];
        Tensor direction = randn([heads, batch, queries, size], dtype);
        Tensor? mask = causal ? (ones(queries, keys).triu(1) * -1e9).to_type(dtype).view(1, 1, queries, keys) : null;
        Pair(
            $"attention, {what}, [{heads}, {batch}, {queries} x {keys}, {size}], {dtype}",
            "single operators",
            "scaled_dot_product_attention",
            () => Pass(AttentionKernel.Explicit(leaves[0], leaves[1], leaves[2], mask, null, null), direction, leaves),
            () => Pass(AttentionKernel.Fused(leaves[0], leaves[1], leaves[2], null, causal, null, null), direction, leaves));
    }

    /// <summary>So many matrices that none is in the processor's caches when it is its turn, as in a model.</summary>
    private static void OneRow(ScalarType dtype, long input, long output)
    {
        const int Matrices = 40;
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        Tensor[] weights = [.. Enumerable.Range(0, Matrices).Select(_ => randn([output, input], dtype))];
        Tensor row = randn([1, input], dtype);
        Pair(
            $"{Matrices} products of one row and [{output}, {input}], {dtype}",
            "linear",
            "LinearLayer's own",
            () => Array.ForEach(weights, weight => nn.functional.linear(row, weight)),
            () => Array.ForEach(weights, weight => LinearLayer.Product(row, weight)));
    }

    private static void Causal(ScalarType dtype, long heads, long groups, long tokens, long size, long? window = null)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor[] leaves = [.. new[] { heads, groups, groups }.Select(count => randn([count, 1, tokens, size], dtype).requires_grad_())];
        Tensor direction = randn([1, tokens, heads * size], dtype);
        Tensor mask = AttentionPlan.BandMask(tokens, 0, window, dtype, CPU).repeat(1, 1, heads / groups, 1);
        Pair(
            $"causal attention, {heads} heads of {size}, {groups} of keys, {tokens} tokens{(window is null ? "" : $", a window of {window}")}, {dtype}",
            "the whole mask",
            "what a query does not see left out",
            () => Pass(AttentionKernel.Attend(leaves[0], leaves[1], leaves[2], mask, false, null, null), direction, leaves),
            () => Pass(AttentionKernel.Attend(leaves[0], leaves[1], leaves[2], null, true, null, null, window), direction, leaves));
    }

    private static void Norm(ScalarType dtype, params long[] shape)
    {
        using DisposeScope scope = NewDisposeScope();
        using Normalization norm = new(NormKind.RmsNorm, (int)shape[^1], 1e-5, dtype);
        Parameter weight = norm.get_parameter("weight")!;
        weight.requires_grad = shape[1] > 1;
        Tensor input = randn(shape, dtype).requires_grad_(shape[1] > 1), direction = randn(shape, dtype);
        long[] width = [shape[^1]];
        Pair(
            $"RMS norm, [{string.Join(", ", shape)}]{(shape[1] > 1 ? "" : ", forward")}, {dtype}",
            "single operators",
            "_fused_rms_norm",
            () => Pass(norm.call(input), direction, input, weight),
            () => Pass(s_rmsNorm.Call(input, width, AtenArgument.Some(weight), AtenArgument.Some(1e-5))[0], direction, input, weight));
    }

    private static void Gelu(ScalarType dtype, params long[] shape)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor input = randn(shape, dtype).requires_grad_(true), direction = randn(shape, dtype);
        Pair(
            $"GELU by tanh, [{string.Join(", ", shape)}], {dtype}",
            "single operators",
            "gelu",
            () => Pass(input * 0.5 * (((input + (input.pow(3) * 0.044715)) * Math.Sqrt(2 / Math.PI)).tanh() + 1), direction, input),
            () => Pass(nn.functional.gelu(input, GELU.Approximate.tanh, false), direction, input));
    }

    private static void Orthogonalize(params long[] shape)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor matrices = randn(shape);
        Pair(
            $"orthogonalization for Muon, [{string.Join(", ", shape)}]",
            "products in Float32",
            "products in BFloat16",
            () => Muon.Orthogonalize(matrices, ScalarType.Float32),
            () => Muon.Orthogonalize(matrices, ScalarType.BFloat16));
    }

    private static void Pass(Tensor output, Tensor direction, params Tensor[] leaves)
    {
        if (!output.requires_grad)
        {
            return;
        }

        output.backward([direction]);
        foreach (Tensor leaf in leaves)
        {
            leaf.grad = null;
        }
    }

    private static void Pair(string what, string first, string second, Action one, Action other)
    {
        Time(one, 2);
        Time(other, 2);
        int ones = Times(one), others = Times(other);
        double[] a = new double[Rounds], b = new double[Rounds];
        for (int i = 0; i < Rounds; i++)
        {
            a[i] = Time(one, ones);
            b[i] = Time(other, others);
        }

        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {what} | {first} | {second} | {Median(a):0.000} | {Median(b):0.000} | {Median(a.Zip(b, (x, y) => y / x)):0.00} |"));
    }

    private static int Times(Action work) => (int)Math.Clamp(MillisecondsATurn / Math.Max(Time(work, 3), 1e-3), 1, 5000);

    private static double Time(Action work, int times)
    {
        double start = Environment.CpuUsage.TotalTime.TotalMilliseconds;
        for (int i = 0; i < times; i++)
        {
            using DisposeScope scope = NewDisposeScope();
            work();
        }

        return (Environment.CpuUsage.TotalTime.TotalMilliseconds - start) / times;
    }

    private static double Median(IEnumerable<double> values) => values.Order().ElementAt(Rounds / 2);
}
