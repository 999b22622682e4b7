using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace Retro.Tests.Standins.TorchSharp;

/// <summary>Names, order and contents of modules, and optimizers on them, as TorchSharp has them.</summary>
public sealed class ModuleTests
{
    [Fact]
    public void StateIsNamedByFieldsInTheOriginalsOrder()
    {
        using Nested module = new();
        Assert.Equal(["own", "second.weight", "second.bias", "first.weight", "inner.scale", "inner.linear.weight", "list.0.weight", "list.0.bias", "list.1.weight", "list.1.bias", "table.left.weight", "renamed.weight", "counts", "inner.offset"], module.state_dict().Keys);
        Assert.Equal(["own", "second.weight", "second.bias", "first.weight", "inner.scale", "inner.linear.weight", "list.0.weight", "list.0.bias", "list.1.weight", "list.1.bias", "table.left.weight", "renamed.weight"], module.named_parameters().Select(pair => pair.name));
        Assert.Equal(["second", "first", "inner", "list", "table", "renamed"], module.named_children().Select(pair => pair.name));
        Assert.Equal(["second", "first", "inner", "list", "table", "renamed", "inner.linear", "list.0", "list.1", "table.left"], module.named_modules().Select(pair => pair.name));
        Assert.Equal(["counts", "inner.offset"], module.named_buffers().Select(pair => pair.name));
        Assert.Same(module.first.weight, module.state_dict()["first.weight"]);
        Assert.Equal("Nested", module.GetName());
    }

    [Fact]
    public void StateLoadsAndFaultsAreNamed()
    {
        using Nested module = new();
        using Nested other = new();
        using (no_grad())
        {
            foreach (Parameter parameter in other.parameters())
            {
                parameter.fill_(0.25);
            }
        }

        (IList<string> missing, IList<string> unexpected) = module.load_state_dict(other.state_dict());
        Assert.Empty(missing);
        Assert.Empty(unexpected);
        Assert.All(module.parameters(), parameter => Assert.Equal(0.25, parameter.mean().ToDouble(), 6));

        Dictionary<string, Tensor> changed = other.state_dict();
        changed.Remove("own");
        using Tensor extra = zeros(1);
        changed["extra"] = extra;
        Assert.Throws<InvalidOperationException>(() => module.load_state_dict(changed));
        (missing, unexpected) = module.load_state_dict(changed, strict: false);
        Assert.Equal(["own"], missing);
        Assert.Equal(["extra"], unexpected);
        (missing, unexpected) = module.load_state_dict(changed, skip: ["own", "extra"]);
        Assert.Empty(missing);

        using Tensor large = zeros(9);
        Dictionary<string, Tensor> wrong = other.state_dict();
        wrong["own"] = large;
        Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => module.load_state_dict(wrong));
    }

    [Fact]
    public void NamesAreCheckedWhenRegistered()
    {
        using Nested module = new();
        using Tensor data = zeros(1);
        Assert.Throws<ArgumentException>(() => module.register_module("a.b", nn.ReLU()));
        Assert.Throws<InvalidOperationException>(() => module.register_parameter("own", new Parameter(zeros(1))));
        module.register_module("7", nn.Linear(1, 1, hasBias: false));
        module.register_parameter("late", new Parameter(zeros(1)));
        module.register_buffer("passing", data.clone(), persistent: false);
        Assert.Contains("7.weight", module.state_dict().Keys);
        Assert.Contains("late", module.state_dict().Keys);
        Assert.DoesNotContain("passing", module.state_dict().Keys);
        Assert.True(module.has_parameter("inner.linear.weight"));
        Assert.Same(module.inner.linear.weight, module.get_parameter("inner.linear.weight"));
        Assert.False(module.has_parameter("inner.nothing"));
    }

    [Fact]
    public void ATiedParameterIsCountedOnceAndSavedTwice()
    {
        using Tied module = new();
        Assert.Single(module.parameters());
        Assert.Equal(["left.weight", "right.weight"], module.state_dict().Keys);
    }

    [Fact]
    public void ConvertingChangesFloatingPointAlone()
    {
        using Plain module = new();
        (Parameter before, Parameter weight) = (module.own, module.first.weight);
        module.call(ones(1, 2)).sum().backward();
        module.to(float64);
        Assert.All(module.parameters(), parameter => Assert.Equal(float64, parameter.dtype));
        Assert.Equal(int64, module.counts.dtype);
        Assert.Same(module.own, module.state_dict()["own"]);
        Assert.Equal(float64, module.first.weight.grad!.dtype);
        using Tensor result = module.call(zeros([1, 2], float64));
        Assert.Equal(float64, result.dtype);

        // As in the original, what changed is another object, and the old one is gone.
        Assert.True(before.IsInvalid);
        Assert.True(weight.IsInvalid);
        Parameter kept = module.own;
        module.to(float64).cpu();
        Assert.Same(kept, module.own);
    }

    [Fact]
    public void TrainingReachesEverySubmodule()
    {
        using Nested module = new();
        module.eval();
        Assert.All(module.modules(), submodule => Assert.False(submodule.training));
        module.train();
        Assert.True(module.inner.linear.training);
        List<string> visited = [];
        module.apply(submodule => visited.Add(submodule.GetName()));
        Assert.Equal(11, visited.Count);
        Assert.Equal("Nested", visited[^1]);
    }

    [Fact]
    public void ZeroGradTakesTheGradientsAway()
    {
        using Linear linear = nn.Linear(2, 2);
        linear.call(ones(1, 2)).sum().backward();
        Assert.NotNull(linear.weight.grad);
        linear.zero_grad();
        Assert.Null(linear.weight.grad);
    }

    [Fact]
    public void DisposingAModuleDisposesWhatItHolds()
    {
        Nested module = new();
        (Parameter own, Parameter inner) = (module.own, module.inner.linear.weight);
        module.Dispose();
        module.Dispose();
        Assert.True(own.IsInvalid);
        Assert.True(inner.IsInvalid);
    }

    [Fact]
    public void HooksRunAroundCall()
    {
        using Linear linear = nn.Linear(2, 2, hasBias: false);
        int runs = 0;
        var hook = linear.register_forward_hook((module, input, output) =>
        {
            runs++;
            return output.mul(0);
        });
        using Tensor ones = torch.ones(1, 2);
        using (Tensor hooked = linear.call(ones))
        {
            Assert.Equal(0, hooked.sum().item<float>());
        }

        _ = linear.forward(ones);
        hook.remove();
        _ = linear.call(ones);
        Assert.Equal(1, runs);
    }

    [Fact]
    public void LayersComputeTheirFormulas()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        Tensor input = randn([4, 6], float64);
        using Linear linear = nn.Linear(6, 3, dtype: float64);
        Assert.True(linear.call(input).allclose(input.mm(linear.weight.t()).add(linear.bias!)));
        Assert.True(linear.weight.abs().max().ToDouble() <= 1 / Math.Sqrt(6));
        using LayerNorm norm = nn.LayerNorm(6, dtype: float64);
        Tensor centered = input.sub(input.mean([1], keepdim: true));
        Assert.True(norm.call(input).allclose(centered.div(centered.pow(2).mean([1], keepdim: true).add(1e-5).sqrt())));
        using LayerNorm unbiased = nn.LayerNorm([6], bias: false);
        Assert.Equal(["weight"], unbiased.state_dict().Keys);
        using var embedding = nn.Embedding(5, 3, padding_idx: 1);
        Assert.Equal(0, embedding.call(torch.tensor(new long[] { 1 })).abs().sum().item<float>());
        using Dropout dropout = nn.Dropout(0.5);
        Assert.InRange(dropout.call(torch.ones(1000)).mean().item<float>(), 0.8f, 1.2f);
        dropout.eval();
        Assert.Equal(1000, dropout.call(torch.ones(1000)).sum().item<float>());
        Assert.True(nn.GELU().call(input).allclose(input.mul(0.5).mul(input.div(Math.Sqrt(2)).erf().add(1))));
        Assert.True(nn.SiLU().call(input).allclose(input.mul(input.sigmoid())));
    }

    [Fact]
    public void InitialValuesHaveTheirDistributions()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(8);
        Tensor weights = empty([400, 200], float64);
        nn.init.xavier_uniform_(weights);
        Assert.Equal(Math.Sqrt(6.0 / 600), weights.abs().max().item<double>(), 3);
        nn.init.xavier_normal_(weights);
        Assert.Equal(Math.Sqrt(2.0 / 600), weights.std().item<double>(), 3);
        nn.init.kaiming_uniform_(weights, nonlinearity: nn.init.NonlinearityType.ReLU);
        Assert.Equal(Math.Sqrt(6.0 / 200), weights.abs().max().item<double>(), 3);
        nn.init.normal_(weights, 1, 0.5);
        Assert.Equal(1, weights.mean().item<double>(), 2);
        nn.init.zeros_(weights);
        Assert.Equal(0, weights.abs().max().item<double>());
        Assert.ThrowsAny<Exception>(() => nn.init.xavier_uniform_(zeros(3)));
    }

    [Fact]
    public void AdamWFollowsItsFormula()
    {
        using DisposeScope scope = NewDisposeScope();
        const double Rate = 0.1, Beta1 = 0.9, Beta2 = 0.95, Epsilon = 1e-8, Decay = 0.1;
        double weight = 2, mean = 0, square = 0;
        using Parameter parameter = new(torch.tensor(new[] { weight }));
        OptimizerHelper optimizer = optim.AdamW([new AdamW.ParamGroup([parameter], new AdamW.Options { weight_decay = Decay })], Rate, Beta1, Beta2, Epsilon);
        for (int step = 1; step <= 5; step++)
        {
            optimizer.zero_grad();
            parameter.pow(3).sum().backward();
            optimizer.step();
            double gradient = 3 * weight * weight;
            weight *= 1 - (Rate * Decay);
            mean = (Beta1 * mean) + ((1 - Beta1) * gradient);
            square = (Beta2 * square) + ((1 - Beta2) * gradient * gradient);
            weight -= Rate * mean / (1 - Math.Pow(Beta1, step)) / (Math.Sqrt(square / (1 - Math.Pow(Beta2, step))) + Epsilon);
            Assert.Equal(weight, parameter.item<double>(), 12);
        }

        AdamW.State state = (AdamW.State)optimizer.state_dict().State[0];
        Assert.Equal(5, state.step);
        Assert.Equal(mean, state.exp_avg.item<double>(), 12);
    }

    [Fact]
    public void AdamWDecaysNothingByDefault()
    {
        using Parameter parameter = new(ones(1));
        parameter.grad = zeros(1);
        using OptimizerHelper optimizer = optim.AdamW([parameter]);
        optimizer.step();
        Assert.Equal(1, parameter.item<float>());
    }

    [Fact]
    public void AnOptimizersStateGoesThroughAFile()
    {
        using TemporaryFolder folder = new();
        string path = Path.Combine(folder.Path, "state");
        manual_seed(4);
        using Linear one = nn.Linear(3, 3);
        using Linear two = nn.Linear(3, 3);
        two.load_state_dict(one.state_dict());
        using OptimizerHelper first = optim.AdamW(one.parameters(), 0.01, amsgrad: true);
        Step(one, first);
        first.save_state_dict(path);
        two.load_state_dict(one.state_dict());
        using OptimizerHelper second = optim.AdamW(two.parameters(), 0.5, amsgrad: true);
        second.load_state_dict(path);
        Step(one, first);
        Step(two, second);
        Assert.True(one.weight.eq(two.weight).all().item<bool>());
        Assert.Equal(0.01, second.ParamGroups.Single().LearningRate);

        static void Step(Linear linear, OptimizerHelper optimizer)
        {
            using DisposeScope scope = NewDisposeScope();
            optimizer.zero_grad();
            linear.call(ones(1, 3)).pow(2).sum().backward();
            optimizer.step();
        }
    }

    [Fact]
    public void ClippingScalesToTheNormAndReturnsTheOldOne()
    {
        using Linear linear = nn.Linear(2, 2);
        linear.call(ones(1, 2)).mul(100).sum().backward();
        double expected = 100 * Math.Sqrt(6);
        Assert.Equal(expected, nn.utils.clip_grad_norm_(linear.parameters(), 1.0), 2);
        Assert.Equal(1.0, nn.utils.clip_grad_norm_(linear.parameters(), 10.0), 4);
    }

#pragma warning disable IDE1006, CA1051, SA1401 // Field names are the names in the state.
    private sealed class Nested : nn.Module<Tensor, Tensor>
    {
        public readonly Linear second;
        public readonly Linear first;
        public readonly Parameter own;
        public readonly Tensor counts;
        public readonly Inner inner;

        private readonly ModuleList<Linear> list;
        private readonly ModuleDict<Linear> table;

        [ComponentName(Name = "renamed")]
        private readonly Linear other;

        public Nested()
            : base(nameof(Nested))
        {
            second = nn.Linear(2, 2);
            first = nn.Linear(2, 2, hasBias: false);
            own = new Parameter(zeros(3));
            counts = zeros([1], int64);
            list = nn.ModuleList(nn.Linear(1, 1), nn.Linear(1, 1));
            table = nn.ModuleDict(("left", nn.Linear(1, 1, hasBias: false)));
            other = nn.Linear(1, 1, hasBias: false);
            inner = new Inner();
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => first.call(input);
    }

    private sealed class Inner : nn.Module<Tensor, Tensor>
    {
        public readonly Tensor offset;
        public readonly Linear linear;
        public readonly Parameter scale;

        public Inner()
            : base(nameof(Inner))
        {
            offset = zeros(1);
            linear = nn.Linear(1, 1, hasBias: false);
            scale = new Parameter(zeros(1));
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => linear.call(input).mul(scale).add(offset);
    }

    private sealed class Plain : nn.Module<Tensor, Tensor>
    {
        public readonly Linear first;
        public readonly Parameter own;
        public readonly Tensor counts;

        public Plain()
            : base(nameof(Plain))
        {
            first = nn.Linear(2, 2, hasBias: false);
            own = new Parameter(ones(2));
            counts = zeros([1], int64);
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => first.call(input).mul(own);
    }

    private sealed class Tied : nn.Module<Tensor, Tensor>
    {
        private readonly Linear left;
        private readonly Linear right;

        public Tied()
            : base(nameof(Tied))
        {
            left = nn.Linear(2, 2, hasBias: false);
            right = nn.Linear(2, 2, hasBias: false);
            right.weight = left.weight;
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => right.call(left.call(input));
    }
#pragma warning restore IDE1006, CA1051, SA1401
}
