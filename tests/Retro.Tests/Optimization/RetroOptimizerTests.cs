using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Optimization;

public class RetroOptimizerTests
{
    [Fact]
    public void What_was_disposed_is_named()
    {
        RetroModel model = new(SmallModel.Config);
        RetroOptimizer optimizer = new(model);
        IReadOnlyDictionary<string, Tensor> state = optimizer.State();
        optimizer.Dispose();
        foreach (Action act in new Action[] { () => optimizer.Step(1), () => optimizer.State(), () => optimizer.LoadState(state, optimizer.StepCounts()) })
        {
            Assert.Equal(typeof(RetroOptimizer).FullName, Assert.Throws<ObjectDisposedException>(act).ObjectName);
        }

        model.Dispose();
        Assert.Equal(typeof(RetroModel).FullName, Assert.Throws<ObjectDisposedException>(() => new RetroOptimizer(model)).ObjectName);
    }

    [Fact]
    public void A_model_that_was_cast_or_is_of_a_type_that_cannot_be_trained_is_named()
    {
        using RetroModel model = new(SmallModel.Config);
        using RetroOptimizer optimizer = new(model);
        IReadOnlyDictionary<string, Tensor> state = optimizer.State();
        model.half();
        foreach (Action act in new Action[] { () => optimizer.Step(1), optimizer.Accumulate, () => optimizer.LoadState(state, optimizer.StepCounts()) })
        {
            Assert.Contains(
                "cast or moved after the optimizer was made", Assert.Throws<InvalidOperationException>(act).Message, StringComparison.Ordinal);
        }

        string message = Assert.Throws<TrainingException>(() => new RetroOptimizer(model)).Message;
        Assert.StartsWith("embedding.weight is of type Float16.", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Biases_do_not_decay_whatever_their_shape()
    {
        Parameter bias = new(ones(2, 3)), matrix = new(ones(2, 3));
        using RetroOptimizer optimizer = new(
            Kinds([("decoder.1.attn.content_bias", bias), ("decoder.1.attn.q.weight", matrix)]), new() { Kind = OptimizerKind.AdamW, WeightDecay = 0.5 });
        bias.grad = zeros(2, 3);
        matrix.grad = zeros(2, 3);

        optimizer.Step(0.1);

        Assert.Equal(1, bias.min().item<float>());
        Assert.Equal(0.95f, matrix.max().item<float>(), 1e-6);
    }

    [Fact]
    public void AdamW_follows_its_definition_and_decays_matrices_only()
    {
        using DisposeScope scope = NewDisposeScope();
        double[] matrix = [0.5, -0.25, 1, 2, -1, 0.125];
        double[] vector = [1, -2];
        Parameter w = new(tensor(matrix, [2, 3]));
        Parameter b = new(tensor(vector, [2]));
        using RetroOptimizer optimizer = new(Kinds([("a.weight", w), ("a.norm", b)]), new RetroOptimizerOptions { ClipNorm = double.PositiveInfinity });
        double[] values = [.. matrix, .. vector];
        double[] first = new double[8], second = new double[8];
        Random random = new(1);

        for (int step = 1; step <= 5; step++)
        {
            double[] gradient = [.. Enumerable.Range(0, 8).Select(_ => random.NextDouble() - 0.5)];
            SetGradient(w, gradient[..6]);
            SetGradient(b, gradient[6..]);
            double rate = 0.01 * step;
            double norm = optimizer.Step(rate);

            Assert.Equal(Math.Sqrt(gradient.Sum(g => g * g)), norm, 12);
            for (int i = 0; i < 8; i++)
            {
                first[i] = 0.9 * first[i] + 0.1 * gradient[i];
                second[i] = 0.95 * second[i] + 0.05 * gradient[i] * gradient[i];
                double decay = i < 6 ? 0.1 : 0;
                values[i] -= rate * decay * values[i];
                values[i] -= rate * (first[i] / (1 - Math.Pow(0.9, step))) / (Math.Sqrt(second[i] / (1 - Math.Pow(0.95, step))) + 1e-8);
            }

            Assert.Equal(values[..6], Values(w), (x, y) => Math.Abs(x - y) < 1e-12);
            Assert.Equal(values[6..], Values(b), (x, y) => Math.Abs(x - y) < 1e-12);
        }
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void AdamW_gives_the_same_all_at_once_and_by_single_operators_and_each_takes_up_the_state_of_the_other(ScalarType dtype)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(5);
        long[][] shapes = [[8, 6], [6], [4, 3], [7, 2]];
        Tensor[] start = [.. shapes.Select(shape => shape[^1] == 2 ? randn([2, 7], dtype).t() : randn(shape, dtype))];
        (string Name, Parameter Parameter)[] together = Parameters(), single = Parameters();
        AtenOperator missing = new("aten::relu", 1, () => [ones(1)], "no_library_of_this_name");
        RetroOptimizerOptions options = new() { ClipNorm = 1 };
        using RetroOptimizer one = new(Kinds(together), options), other = new(Kinds(single), options) { FusedAdamW = missing };
        Assert.True(one.FusedAdamW.IsAvailable);

        for (int step = 0; step < 6; step++)
        {
            if (step == 3)
            {
                Dictionary<string, Tensor> state = one.State().ToDictionary(pair => pair.Key, pair => pair.Value.clone());
                one.LoadState(other.State(), other.StepCounts());
                other.LoadState(state, other.StepCounts());
            }

            for (int i = 0; i < shapes.Length; i++)
            {
                // The first gradients are small enough not to be clipped; one lies in memory as its transpose does, and so does another parameter, which has
                // none in half of the steps.
                Tensor gradient = (i == 2 ? randn([3, 4]).t() : randn(shapes[i])).to_type(dtype) * (step == 0 ? 0.01 : 1);
                together[i].Parameter.grad = i == 3 && step % 2 == 1 ? null : gradient.clone();
                single[i].Parameter.grad = i == 3 && step % 2 == 1 ? null : gradient.clone();
            }

            Assert.Equal(one.Step(0.01), other.Step(0.01));
        }

        Assert.Equal(other.StepCounts(), one.StepCounts());
        Assert.Equal(3, one.StepCounts()["3"]);
        (string, Tensor)[] values = [.. one.State().Select(pair => (pair.Key, pair.Value)), .. together.Select(pair => (pair.Name, pair.Parameter.detach()))];
        Tensor[] expected = [.. other.State().Values, .. single.Select(pair => pair.Parameter.detach())];
        Assert.All(
            values.Zip(expected),
            pair =>
                Assert.True(
                    pair.First.Item2.allclose(pair.Second, rtol: pair.Second.dtype == ScalarType.BFloat16 ? 1.0 / 256 : 1e-6, atol: 1e-7), pair.First.Item1));

        (string, Parameter)[] Parameters()
            => [.. start.Select((tensor, i) => (i.ToString(System.Globalization.CultureInfo.InvariantCulture), new Parameter(tensor.clone())))];
    }

    /// <summary>
    /// What has had no gradient in the first steps, as retrieval's parameters while neighbors are left out, has made fewer steps than others.
    /// </summary>
    [Fact]
    public void AdamW_moves_a_parameter_that_begins_later_as_if_it_were_alone()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(6);
        Tensor start = randn(4, 3);
        Parameter early = new(start.clone()), late = new(start.clone()), alone = new(start.clone());
        RetroOptimizerOptions options = new() { ClipNorm = double.PositiveInfinity };
        using RetroOptimizer together = new(Kinds([("a.weight", early), ("b.weight", late)]), options), single = new(Kinds([("b.weight", alone)]), options);
        for (int step = 0; step < 5; step++)
        {
            Tensor gradient = randn(4, 3);
            early.grad = gradient.clone();
            late.grad = step < 2 ? null : gradient.clone();
            alone.grad = step < 2 ? null : gradient.clone();
            together.Step(0.01);
            single.Step(0.01);
        }

        Assert.Equal((5, 3), (together.StepCounts()["a.weight"], together.StepCounts()["b.weight"]));
        Assert.True(late.allclose(alone, rtol: 1e-6, atol: 1e-7));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.1)]
    public void Muon_follows_the_literal_rule(double decay)
    {
        using DisposeScope scope = NewDisposeScope();
        Random random = new(3);
        // Two matrices of one shape and one of the transposed shape: all three are orthogonalized in one stack.
        (int Rows, int Columns)[] shapes = [(3, 5), (3, 5), (5, 3), (4, 4)];
        double[][,] weights = [.. shapes.Select(shape => MuonTests.RandomMatrix(random, shape.Rows, shape.Columns))];
        double[][,] means = [.. shapes.Select(shape => new double[shape.Rows, shape.Columns])];
        Parameter[] parameters = [.. weights.Select(weight => new Parameter(Matrix(weight)))];
        using RetroOptimizer optimizer = new(
            Kinds(parameters.Select((parameter, index) => ($"decoder.{index}.weight", parameter))),
            new RetroOptimizerOptions { Kind = OptimizerKind.Muon, ClipNorm = 1, MuonWeightDecay = decay });

        for (int step = 0; step < 4; step++)
        {
            double[][,] gradients = [.. shapes.Select(shape => MuonTests.RandomMatrix(random, shape.Rows, shape.Columns))];
            for (int i = 0; i < parameters.Length; i++)
            {
                parameters[i].grad = Matrix(gradients[i]);
            }

            double norm = optimizer.Step(rate: 100, muonRate: 0.02);

            double clip = 1 / (norm + 1e-6);
            Assert.True(clip < 1);
            for (int i = 0; i < parameters.Length; i++)
            {
                double[,] direction = (double[,])means[i].Clone();
                Each(direction, (row, column) => means[i][row, column] = 0.95 * means[i][row, column] + 0.05 * clip * gradients[i][row, column]);
                Each(direction, (row, column) => direction[row, column] = 0.05 * clip * gradients[i][row, column] + 0.95 * means[i][row, column]);
                double[,] unit = MuonTests.LiteralOrthogonalize(direction);
                double scale = Math.Sqrt(Math.Max(1.0, (double)shapes[i].Rows / shapes[i].Columns));
                Each(
                    direction,
                    (row, column) => weights[i][row, column] = ((1 - (0.02 * decay)) * weights[i][row, column]) - (0.02 * scale * unit[row, column]));
                Assert.Equal(weights[i].Cast<double>(), Values(parameters[i]), (x, y) => Math.Abs(x - y) < 1e-6);
            }
        }
    }

    [Fact]
    public void Muons_decay_is_of_its_own_matrices()
    {
        using DisposeScope scope = NewDisposeScope();
        Parameter[] parameters = [new(ones(3, 4)), new(ones(3, 4)), new(ones(4))];
        using RetroOptimizer optimizer = new(
            [
                ("matrix", parameters[0], ParameterKind.Matrix), ("embedding", parameters[1], ParameterKind.Embedding),
                ("bias", parameters[2], ParameterKind.Bias),
            ],
            new() { Kind = OptimizerKind.Muon, WeightDecay = 0, MuonWeightDecay = 0.5 });
        Assert.Equal(["matrix"], optimizer.MuonNames);
        Array.ForEach(parameters, parameter => parameter.grad = zeros_like(parameter));

        optimizer.Step(rate: 0.1, muonRate: 0.2);

        Assert.Equal(0.9f, parameters[0].min().item<float>(), 1e-6);
        Assert.All(parameters[1..], parameter => Assert.Equal((1, 1), (parameter.min().item<float>(), parameter.max().item<float>())));
    }

    [Fact]
    public void Gradients_are_scaled_to_the_global_norm_and_cleared()
    {
        using DisposeScope scope = NewDisposeScope();
        Parameter one = new(tensor(new double[] { 0, 0 }, [2]));
        Parameter other = new(tensor(new double[] { 0 }, [1]));
        using RetroOptimizer optimizer = new(Kinds([("one", one), ("other", other)]), new RetroOptimizerOptions { ClipNorm = 1 });
        SetGradient(one, [3, 0]);
        SetGradient(other, [4]);

        Assert.Equal(5, optimizer.Step(0.1), 12);

        Assert.Null(one.grad);
        Assert.Null(other.grad);
        IReadOnlyDictionary<string, Tensor> state = optimizer.State();
        Assert.Equal(0.1 * 3 / 5, state["one/mean"].data<double>().ToArray()[0], 6);
        Assert.Equal(0.1 * 4 / 5, state["other/mean"].data<double>().ToArray()[0], 6);
        Assert.Equal(0.05 * 16 / 25, state["other/square"].data<double>().ToArray()[0], 6);
    }

    [Theory]
    [InlineData(OptimizerKind.AdamW, double.NaN)]
    [InlineData(OptimizerKind.AdamW, double.PositiveInfinity)]
    [InlineData(OptimizerKind.Muon, double.NaN)]
    [InlineData(OptimizerKind.Muon, double.NegativeInfinity)]
    public void A_gradient_that_is_not_finite_moves_nothing(OptimizerKind kind, double bad)
    {
        using DisposeScope scope = NewDisposeScope();
        Parameter one = new(tensor(new double[] { 1, 2, 3, 4 }, [2, 2]));
        using RetroOptimizer optimizer = new(Kinds([("one.weight", one)]), new RetroOptimizerOptions { Kind = kind });
        SetGradient(one, [1, 1, bad, 1]);

        Assert.False(double.IsFinite(optimizer.Step(0.1, 0.1)));

        Assert.Equal([1, 2, 3, 4], Values(one));
        Assert.All(optimizer.State().Values, tensor => Assert.All(tensor.data<double>().ToArray(), value => Assert.Equal(0, value)));
        Assert.All(optimizer.StepCounts().Values, count => Assert.Equal(0, count));
        Assert.Null(one.grad);
    }

    [Fact]
    public void Frozen_parameters_are_absent_and_those_without_gradient_stay_as_they_are()
    {
        using DisposeScope scope = NewDisposeScope();
        Parameter frozen = new(tensor(new double[] { 1, 2, 3, 4 }, [2, 2]), requires_grad: false);
        Parameter idle = new(tensor(new double[] { 1, 2, 3, 4 }, [2, 2]));
        Parameter moved = new(tensor(new double[] { 1, 2, 3, 4 }, [2, 2]));
        using RetroOptimizer optimizer = new(Kinds([("frozen.weight", frozen), ("idle.weight", idle), ("moved.weight", moved), ("tied.weight", moved)]));
        SetGradient(moved, [1, -1, 1, -1]);
        optimizer.Step(0.1);

        Assert.Equal(["idle.weight", "moved.weight"], optimizer.ParameterNames);
        Assert.Equal([1, 2, 3, 4], Values(frozen));
        Assert.Equal([1, 2, 3, 4], Values(idle));
        Assert.All(Values(moved).Zip([1.0, 2, 3, 4]), pair => Assert.NotEqual(pair.Second, pair.First));
        Assert.Throws<TrainingException>(() => new RetroOptimizer(Kinds([("frozen", frozen)])));
    }

    [Theory]
    [InlineData(OptimizerKind.AdamW)]
    [InlineData(OptimizerKind.Muon)]
    public void State_carries_over_and_foreign_state_is_refused(OptimizerKind kind)
    {
        using DisposeScope scope = NewDisposeScope();
        RetroOptimizerOptions options = new() { Kind = kind };
        Parameter one = new(tensor(new double[] { 1, 2, 3, 4, 5, 6 }, [2, 3]));
        using RetroOptimizer optimizer = new(Kinds([("one.weight", one)]), options);
        SetGradient(one, [1, -1, 0.5, 0.25, 2, -2]);
        optimizer.Step(0.1, 0.1);
        Parameter copy = new(one.detach().clone());
        using RetroOptimizer other = new(Kinds([("one.weight", copy)]), options);
        other.LoadState(optimizer.State(), optimizer.StepCounts());
        SetGradient(one, [0.5, 1, 0, 1, 0, 1]);
        SetGradient(copy, [0.5, 1, 0, 1, 0, 1]);
        optimizer.Step(0.1, 0.1);
        other.Step(0.1, 0.1);

        Assert.Equal(Values(one), Values(copy));
        double[] moved = Values(copy);
        Dictionary<string, long> below = new() { ["one.weight"] = -1 };
        Assert.Contains("-1 times", Assert.Throws<CheckpointException>(() => other.LoadState(optimizer.State(), below)).Message, StringComparison.Ordinal);
        Assert.Equal(moved, Values(copy));
        using RetroOptimizer foreign = new(Kinds([("two.weight", new Parameter(zeros(2, 3, dtype: ScalarType.Float64)))]), options);
        Assert.Contains(
            "two.weight",
            Assert.Throws<CheckpointException>(() => foreign.LoadState(optimizer.State(), optimizer.StepCounts())).Message,
            StringComparison.Ordinal);
        using RetroOptimizer larger = new(Kinds([("one.weight", new Parameter(zeros(2, 4, dtype: ScalarType.Float64)))]), options);
        Assert.Contains(
            "[2, 4]", Assert.Throws<CheckpointException>(() => larger.LoadState(optimizer.State(), optimizer.StepCounts())).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(OptimizerKind.AdamW)]
    [InlineData(OptimizerKind.Muon)]
    public void Bfloat16_parameters_move_as_their_float32_copies_do_rounded(OptimizerKind kind)
    {
        using DisposeScope scope = NewDisposeScope();
        RetroOptimizerOptions options = new() { Kind = kind, WeightDecay = 0.1, ClipNorm = 1 };
        double[] start = [1, -2, 0.5, 0.25, 3, -0.125];
        Parameter exact = new(tensor(start, [2, 3], ScalarType.Float32)), coarse = new(tensor(start, [2, 3], ScalarType.BFloat16));
        using RetroOptimizer one = new(Kinds([("a.weight", exact)]), options), other = new(Kinds([("a.weight", coarse)]), options);
        Random random = new(2);
        for (int step = 0; step < 20; step++)
        {
            // Sums of a few 64ths are exact in bfloat16, so that both see the same gradient.
            double[] gradient = [.. start.Select(_ => random.Next(-64, 64) / 64.0)];
            exact.grad = tensor(gradient, [2, 3], ScalarType.Float32);
            coarse.grad = tensor(gradient, [2, 3], ScalarType.BFloat16);
            Assert.Equal(one.Step(1e-4, 1e-4), other.Step(1e-4, 1e-4));
        }

        // Muon's products are in the parameter's type; what they lose is a twentieth of the way of 20 steps.
        Tensor master = other.State()["a.weight/master"];
        double tolerance = kind == OptimizerKind.Muon ? 1e-4 : 0;
        Assert.Equal(Values(exact.to_type(ScalarType.Float64)), Values(master.to_type(ScalarType.Float64)), (x, y) => Math.Abs(x - y) <= tolerance);
        Assert.Equal(Values(master.to_type(ScalarType.BFloat16).to_type(ScalarType.Float64)), Values(coarse.to_type(ScalarType.Float64)));
        Assert.Equal(ScalarType.BFloat16, coarse.dtype);
        Assert.All(other.State().Values, tensor => Assert.Equal(ScalarType.Float32, tensor.dtype));
    }

    [Fact]
    public void Steps_below_the_resolution_of_bfloat16_are_not_lost()
    {
        using DisposeScope scope = NewDisposeScope();
        Parameter parameter = new(tensor(new double[] { 1, 1 }, [2], ScalarType.BFloat16));
        using RetroOptimizer optimizer = new(Kinds([("a", parameter)]));

        // AdamW moves by the rate where the gradient is always the same. Below 1, neighbors in bfloat16 are 2^-8 apart: a single step of 1e-4 rounds to
        // nothing.
        for (int step = 1; step <= 100; step++)
        {
            parameter.grad = tensor(new double[] { 1, -1 }, [2], ScalarType.BFloat16);
            optimizer.Step(1e-4);
            if (step == 1)
            {
                Assert.Equal([1, 1], Values(parameter.to_type(ScalarType.Float64)));
            }
        }

        Assert.Equal([0.99, 1.01], Values(optimizer.State()["a/master"].to_type(ScalarType.Float64)), (x, y) => Math.Abs(x - y) < 1e-5);
        Assert.Equal([0.98828125, 1.0078125], Values(parameter.to_type(ScalarType.Float64)));
    }

    [Fact]
    public void Gradients_of_many_batches_are_summed_in_float32()
    {
        using DisposeScope scope = NewDisposeScope();
        Parameter parameter = new(tensor(new double[] { 1 }, [1], ScalarType.BFloat16));
        using RetroOptimizer optimizer = new(Kinds([("a", parameter)]), new RetroOptimizerOptions { ClipNorm = double.PositiveInfinity });

        // In bfloat16, 256 + 1 is 256.
        parameter.grad = tensor(new double[] { 256 }, [1], ScalarType.BFloat16);
        optimizer.Accumulate();
        for (int batch = 0; batch < 100; batch++)
        {
            Assert.Null(parameter.grad);
            parameter.grad = tensor(new double[] { 1 }, [1], ScalarType.BFloat16);
            optimizer.Accumulate();
        }

        Assert.Equal(356, optimizer.Step(1e-3));
        Assert.Equal(0, optimizer.Step(1e-3));
    }

    [Fact]
    public void Every_fault_of_the_options_is_named()
    {
        using DisposeScope scope = NewDisposeScope();
        Parameter one = new(zeros(2, 3));
        RetroOptimizerOptions options = new() { Beta1 = 1, Epsilon = -1, ClipNorm = 0, WeightDecay = double.NaN };
        string message = Assert.Throws<RetroOptionsException>(() => new RetroOptimizer(Kinds([("one", one)]), options)).Message;
        Assert.All(["Beta1", "Epsilon", "ClipNorm", "WeightDecay"], name => Assert.Contains(name, message, StringComparison.Ordinal));
        Assert.Throws<RetroOptionsException>(() => new RetroOptimizerOptions { Epsilon = 0 }.Validate());
    }

    [Fact]
    public void A_rate_that_is_missing_or_none_is_refused()
    {
        using DisposeScope scope = NewDisposeScope();
        Parameter one = new(ones(2, 3));
        using RetroOptimizer optimizer = new(Kinds([("one", one)])), muon = new(Kinds([("one", one)]), new() { Kind = OptimizerKind.Muon });
        one.sum().backward();
        Assert.Throws<ArgumentException>(() => muon.Step(0.1));
        Assert.All([double.NaN, double.PositiveInfinity, -1], rate =>
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => optimizer.Step(rate));
            Assert.Throws<ArgumentOutOfRangeException>(() => muon.Step(0.1, rate));
        });
        Assert.Equal(6, one.sum().item<float>());
    }

    /// <summary>Parameters with their kinds: matrices by their dimensions.</summary>
    private static IEnumerable<(string Name, Parameter Parameter, ParameterKind Kind)> Kinds(IEnumerable<(string Name, Parameter Parameter)> parameters)
        => parameters.Select(pair =>
            (pair.Name, pair.Parameter, pair.Parameter.dim() >= 2 && !pair.Name.EndsWith("bias", StringComparison.Ordinal)
                ? ParameterKind.Matrix
                : ParameterKind.Bias));

    private static void SetGradient(Parameter parameter, double[] values) => parameter.grad = tensor(values, parameter.shape);

    private static double[] Values(Tensor parameter) => parameter.detach().contiguous().data<double>().ToArray();

    private static Tensor Matrix(double[,] values) => tensor(values.Cast<double>().ToArray(), [values.GetLength(0), values.GetLength(1)]);

    private static void Each(double[,] matrix, Action<int, int> action)
    {
        for (int row = 0; row < matrix.GetLength(0); row++)
        {
            for (int column = 0; column < matrix.GetLength(1); column++)
            {
                action(row, column);
            }
        }
    }
}
