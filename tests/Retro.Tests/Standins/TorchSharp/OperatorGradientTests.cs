using System.Reflection;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Standins.TorchSharp;

/// <summary>The gradient of every operator of the stand-in against central differences in float64: every overload, found by reflection.</summary>
public sealed class OperatorGradientTests
{
    private const double Step = 1e-6;
    private const double Tolerance = 2e-7;

    /// <summary>Operators whose result has no gradient: whole numbers, truth values, new values that do not depend on the old.</summary>
    private static readonly HashSet<string> WithoutGradient = new(
        """
        eq ne lt le gt ge eq_ ne_ lt_ le_ gt_ ge_ equal greater greater_equal less less_equal less_equal_ not_equal not_equal_
        logical_and logical_and_ logical_not logical_not_ logical_or logical_or_ isnan isinf isfinite isclose
        argmax argmin argsort all any nonzero argwhere count_nonzero detach detach_ searchsorted
        bool byte char short int long type_as type to to_type
        zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_empty new_zeros new_ones new_full
        bernoulli multinomial one_hot op_Equality op_Inequality op_LessThan op_LessThanOrEqual op_GreaterThan op_GreaterThanOrEqual
        bitwise_and bitwise_and_ bitwise_or bitwise_or_ bitwise_xor bitwise_xor_ bitwise_not bitwise_not_ op_BitwiseAnd op_BitwiseOr op_ExclusiveOr op_OnesComplement
        op_Implicit get_grad requires_grad_ with_requires_grad eigvalsh
        """.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries));

    /// <summary>What moves or keeps a tensor, or makes one without reading any; their values are tested elsewhere.</summary>
    private static readonly HashSet<string> NotOperators = new(
        """
        UnsafeCreateTensor DetachFromDisposeScope DetatchFromDisposeScope MoveToOuterDisposeScope MoveToOtherDisposeScope cuda WrappedTensorDisposeScope
        zeros ones empty full rand randn randint randperm arange linspace eye tensor from_array normal empty_strided tril_indices triu_indices get_rng_state
        half bfloat16 float
        """.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries));

    /// <summary>Arguments, the tensor itself first, where the parameters' types and names do not say enough.</summary>
    private static readonly Dictionary<string, Func<MethodBase, object?[]?>> Special = new()
    {
        ["mm"] = _ => [Values(3, 4), Values(4, 2)],
        ["matmul"] = _ => [Values(2, 3, 4), Values(4, 2)],
        ["bmm"] = _ => [Values(2, 3, 4), Values(2, 4, 2)],
        ["mv"] = _ => [Values(3, 4), Values(4)],
        ["dot"] = _ => [Values(5), Values(5)],
        ["inner"] = _ => [Values(2, 5), Values(3, 5)],
        ["outer"] = _ => [Values(3), Values(4)],
        ["addmm"] = method => Filled(method, Values(3, 2), Values(3, 4), Values(4, 2)),
        ["addmm_"] = method => Filled(method, Values(3, 2), Values(3, 4), Values(4, 2)),
        ["addmv"] = method => Filled(method, Values(3), Values(3, 4), Values(4)),
        ["addmv_"] = method => Filled(method, Values(3), Values(3, 4), Values(4)),
        ["baddbmm"] = method => Filled(method, Values(2, 3, 2), Values(2, 3, 4), Values(2, 4, 2)),
        ["trace"] = _ => [Values(3, 3)],
        ["acos"] = _ => [Values(3, 4)],
        ["t"] = _ => [Values(3, 4)],
        ["diag"] = method => Filled(method, Values(3, 3)),
        ["prelu"] = _ => [Values(3, 4).sub(0.5), Values(1)],
        ["masked_select"] = _ => [Values(3, 4), Mask()],
        ["broadcast_to"] = _ => [Values(3, 4), new long[] { 2, 3, 4 }],
        ["expand"] = method => method.GetParameters()[^1].ParameterType == typeof(bool) ? (IsSpan(method) ? null : [Values(3, 4), Sizes(method, 2, 3, 4), false]) : [Values(3, 4), new long[] { 2, 3, 4 }],
        ["expand_as"] = _ => [Values(3, 4), Constant(2, 3, 4)],
        ["view"] = _ => [Values(3, 4), new long[] { 2, 6 }],
        ["view_as"] = _ => [Values(3, 4), Constant(2, 6)],
        ["reshape"] = _ => [Values(3, 4), new long[] { 2, 6 }],
        ["unflatten"] = method => [Values(3, 4), 1L, method.GetParameters()[^1].ParameterType == typeof(Size) ? new Size([2, 2]) : new long[] { 2, 2 }],
        ["permute"] = _ => [Values(3, 4), new long[] { 1, 0 }],
        ["tile"] = _ => [Values(3, 4), new long[] { 2, 1 }],
        ["repeat"] = _ => [Values(3, 4), new long[] { 2, 1 }],
        ["repeat_interleave"] = method => method.GetParameters().First(parameter => parameter.Name == "repeats").ParameterType == typeof(long)
            ? [Values(3, 4), 2L, 1L, null]
            : [Values(3, 4), torch.tensor(new long[] { 1, 2, 3, 1 }), 1L, null],
        ["movedim"] = method => method.GetParameters()[^1].ParameterType == typeof(long) ? [Values(3, 4), 0L, 1L] : [Values(3, 4), new long[] { 0 }, new long[] { 1 }],
        ["narrow"] = _ => [Values(3, 4), 1L, 1L, 2L],
        ["select"] = _ => [Values(3, 4), 1L, 2L],
        ["slice"] = _ => [Values(3, 4), 1L, 0L, 4L, 2L],
        ["unfold"] = _ => [Values(3, 4), 1L, 2L, 1L],
        ["transpose"] = _ => [Values(3, 4), 0L, 1L],
        ["transpose_"] = _ => [Values(3, 4), 0L, 1L],
        ["roll"] = Rolled,
        ["index"] = method => [Values(3, 4), method.GetParameters()[^1].ParameterType == typeof(TensorIndex[]) ? new[] { TensorIndex.Slice(0, 2), TensorIndex.Tensor(Numbers()) } : new[] { Numbers() }],
        ["index_put_"] = method => Put(method),
        ["index_add"] = _ => [Values(3, 4), 1L, Numbers(), Values(3, 4), (Scalar)0.7],
        ["index_add_"] = _ => [Values(3, 4), 1L, Numbers(), Values(3, 4), (Scalar)0.7],
        ["index_copy"] = _ => [Values(3, 4), 1L, Permutation(), Values(3, 4)],
        ["index_copy_"] = _ => [Values(3, 4), 1L, Permutation(), Values(3, 4)],
        ["index_fill"] = _ => [Values(3, 4), 1L, Numbers(), (Scalar)0.7],
        ["index_fill_"] = _ => [Values(3, 4), 1L, Numbers(), (Scalar)0.7],
        ["index_select"] = _ => [Values(3, 4), 1L, Numbers()],
        ["gather"] = method => Filled(method, Values(3, 4), 1L, Places()),
        ["scatter"] = _ => [Values(3, 4), 1L, DistinctPlaces(), Values(3, 4)],
        ["scatter_"] = _ => [Values(3, 4), 1L, DistinctPlaces(), Values(3, 4)],
        ["scatter_add"] = _ => [Values(3, 4), 1L, Places(), Values(3, 4)],
        ["scatter_add_"] = _ => [Values(3, 4), 1L, Places(), Values(3, 4)],
        ["take_along_dim"] = method => Filled(method, Values(3, 4), Places(), 1L),
        ["where"] = method => method.IsStatic ? (method.GetParameters().Length == 1 ? null : [Mask(), Values(3, 4), Values(3, 4)]) : [Values(3, 4), Mask(), Values(3, 4)],
        ["split"] = method => IsSpan(method) ? null : method.GetParameters().First(parameter => parameter.Name is not "tensor").ParameterType == typeof(long) ? [Values(3, 4), 2L, 1] : method.GetParameters()[^1].ParameterType == typeof(long[]) ? [Values(3, 4), new long[] { 1, 2 }] : [Values(3, 4), new long[] { 1, 3 }, 1L],
        ["chunk"] = _ => [Values(3, 4), 2L, 1L],
        ["copy_"] = _ => [Values(3, 4), Values(3, 4), false],
        ["to"] = method => Converted(method),
        ["normal_"] = method => Filled(method, Values(3, 4)),
        ["uniform_"] = _ => [Values(3, 4), 0.0, 1.0, null],
        ["clamp"] = method => method.GetParameters()[^1].ParameterType == typeof(Tensor) ? [Values(3, 4), Constant(3, 4).mul(0).add(0.4), Constant(3, 4).mul(0).add(0.6)] : [Values(3, 4), (Scalar)0.4, (Scalar)0.6],
        ["clamp_"] = method => method.GetParameters()[^1].ParameterType == typeof(Tensor) ? [Values(3, 4), Constant(3, 4).mul(0).add(0.4), Constant(3, 4).mul(0).add(0.6)] : [Values(3, 4), (Scalar)0.4, (Scalar)0.6],
        ["clip"] = _ => [Values(3, 4), (Scalar)0.4, (Scalar)0.6],
        ["topk"] = _ => [Values(3, 4), 2, 1, true, true],
        ["std"] = Deviations,
        ["var"] = Deviations,
        ["normal"] = _ => null,
        ["linear"] = _ => [Values(3, 4), Values(2, 4), Values(2)],
        ["layer_norm"] = _ => [Values(3, 4), new long[] { 4 }, Values(4), Values(4), 1e-5],
        ["group_norm"] = _ => [Values(2, 4, 3), 2L, Values(4), Values(4), 1e-5],
        ["cross_entropy"] = _ => [Values(3, 4), torch.tensor(new long[] { 1, -100, 3 }), null, -100L, nn.Reduction.Mean, 0.1],
        ["nll_loss"] = _ => [Values(3, 4), torch.tensor(new long[] { 1, 0, 3 }), null, nn.Reduction.Sum],
        ["kl_div"] = _ => [Values(3, 4), Values(3, 4), true, nn.Reduction.Mean],
        ["smooth_l1_loss"] = _ => [Values(3, 4), Values(3, 4), nn.Reduction.Mean, 0.25],
        ["binary_cross_entropy"] = _ => [Values(3, 4), Constant(3, 4), null, nn.Reduction.Mean],
        ["binary_cross_entropy_with_logits"] = _ => [Values(3, 4), Values(3, 4), null, nn.Reduction.Mean, null],
        ["pad"] = method => IsSpan(method) ? null : [Values(3, 4), Padding(method), PaddingModes.Constant, 0.5],
        ["scaled_dot_product_attention"] = _ => [Values(2, 3, 4), Values(2, 5, 4), Values(2, 5, 2), null, 0.0, false],
        ["dropout"] = method => Filled(method, Values(3, 4)),
        ["softmax"] = method => [Values(3, 4), method.GetParameters().First(parameter => parameter.Name == "dim").ParameterType == typeof(int) ? 1 : (object)1L, null],
        ["einsum"] = _ => ["ij,jk->ik", new[] { Values(3, 4), Values(4, 2) }],
        ["cat"] = method => IsSpan(method) ? null : [new[] { Values(3, 4), Values(2, 4) }, 0L],
        ["concat"] = method => IsSpan(method) ? null : [new[] { Values(3, 4), Values(2, 4) }, 0L],
        ["stack"] = _ => [new[] { Values(3, 4), Values(3, 4) }, 1L],
        ["vstack"] = method => IsSpan(method) ? null : [new[] { Values(3, 4), Values(2, 4) }],
        ["hstack"] = method => IsSpan(method) ? null : [new[] { Values(3, 4), Values(3, 2) }],
        ["broadcast_tensors"] = _ => [new[] { Values(3, 1), Values(1, 4) }],
        ["meshgrid"] = _ => [new[] { Values(3), Values(4) }, "ij"],
        ["sum"] = Sums,
        ["mean"] = Sums,
        ["amax"] = method => method.GetParameters()[^1].ParameterType == typeof(long[]) ? [Values(3, 4), new long[] { 1 }] : null,
        ["amin"] = method => method.GetParameters()[^1].ParameterType == typeof(long[]) ? [Values(3, 4), new long[] { 1 }] : null,
        ["eigh"] = _ => null,
        ["svd"] = _ => null,
        ["svdvals"] = _ => [Values(3, 4)],
        ["inv"] = _ => [WellConditioned()],
        ["det"] = _ => [WellConditioned()],
        ["cholesky"] = _ => [WellConditioned()],
        ["solve"] = _ => [WellConditioned(), Values(3, 2), true],
    };

    public static TheoryData<string> Members()
    {
        TheoryData<string> lines = [];
        foreach (MethodBase method in Operators())
        {
            lines.Add(ApiSignatures.Of(method)!);
        }

        return lines;
    }

    [Theory]
    [MemberData(nameof(Members))]
    public void GradientsAreThoseOfFiniteDifferences(string line)
    {
        // The original's wrappers are not ours to test; the operators behind them are the same.
        Assert.SkipWhen(typeof(torch).Assembly.GetReferencedAssemblies().Any(name => name.Name == "Google.Protobuf"), "The loaded TorchSharp is the original.");
        using DisposeScope scope = NewDisposeScope();
        MethodBase method = Operators().First(one => ApiSignatures.Of(one) == line);
        object?[]? arguments = Arguments(method);
        if (arguments is null)
        {
            Assert.True(IsSpan(method) || method.Name is "eigh" or "svd" or "amax" or "amin" or "normal" or "where" or "index_put_" or "mean", $"no arguments are known for {line}");
            return;
        }

        Tensor[] inputs = [.. arguments.SelectMany(Tensors).Where(tensor => tensor.dtype == float64 && !tensor.is_leaf is false && tensor.requires_grad)];
        Tensor[] outputs = Outputs(method, arguments);
        if (WithoutGradient.Contains(method.Name) && !outputs.Any(output => output.requires_grad && output.is_floating_point()))
        {
            return;
        }

        Assert.NotEmpty(inputs);
        Tensor[] differentiable = [.. outputs.Where(output => output.requires_grad && output.is_floating_point())];
        Assert.True(differentiable.Length > 0, $"{line} gives no result with a gradient");
        double Loss()
        {
            using DisposeScope inner = NewDisposeScope();
            using IDisposable untracked = no_grad();
            return Weighted([.. Outputs(method, arguments).Where(output => output.is_floating_point())]).item<double>();
        }

        IList<Tensor> gradients = autograd.grad([Weighted(differentiable)], inputs, allow_unused: true);
        for (int i = 0; i < inputs.Length; i++)
        {
            double[] given = gradients[i] is null ? new double[inputs[i].numel()] : [.. gradients[i].data<double>()];
            using Tensor plain = inputs[i].detach();
            for (int at = 0; at < given.Length; at++)
            {
                double before = plain.data<double>()[at];
                plain.view(-1)[at].fill_(before + Step);
                double above = Loss();
                plain.view(-1)[at].fill_(before - Step);
                double below = Loss();
                plain.view(-1)[at].fill_(before);
                double expected = (above - below) / (2 * Step);
                Assert.True(Math.Abs(expected - given[at]) <= Tolerance * (1 + Math.Abs(expected)) * 10, $"{line}: input {i}, element {at}: gradient {given[at]}, differences give {expected}");
            }
        }
    }

    private static IEnumerable<MethodBase> Operators()
    {
        IEnumerable<MethodInfo> methods = typeof(Tensor).GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
            .Concat(typeof(torch).GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly))
            .Concat(typeof(nn.functional).GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly))
            .Concat(typeof(linalg).GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly));
        return methods
            .Where(method => method.ReturnType == typeof(Tensor) || method.ReturnType == typeof(Tensor[]) || method.ReturnType == typeof(IList<Tensor>) || method.ReturnType.FullName!.StartsWith("System.ValueTuple`", StringComparison.Ordinal))
            .Where(method => !NotOperators.Contains(method.Name) && (!method.IsSpecialName || method.Name.StartsWith("op_", StringComparison.Ordinal)) && !method.IsGenericMethod);
    }

    private static object?[]? Arguments(MethodBase method)
    {
        torch.manual_seed(7);
        if (Special.TryGetValue(method.Name, out Func<MethodBase, object?[]?>? special))
        {
            object?[]? given = special(method);
            return given is null ? null : Completed(method, given);
        }

        return IsSpan(method) ? null : Filled(method, method.IsStatic ? [] : [Values(3, 4)]);
    }

    // The rest of the arguments: defaults where there are any, else what types and names ask for.
    private static object?[] Filled(MethodBase method, params object?[] given)
    {
        ParameterInfo[] parameters = method.GetParameters();
        int own = method.IsStatic ? 0 : 1;
        List<object?> arguments = [.. given];
        for (int i = arguments.Count - own; i < parameters.Length; i++)
        {
            arguments.Add(Value(parameters[i]));
        }

        return [.. arguments];
    }

    private static object?[] Completed(MethodBase method, object?[] given) => given.Length < method.GetParameters().Length + (method.IsStatic ? 0 : 1) ? Filled(method, given) : given;

    private static object? Value(ParameterInfo parameter)
    {
        Type type = parameter.ParameterType;
        if (type == typeof(Tensor))
        {
            return parameter.Name switch
            {
                "mask" or "condition" => Mask(),
                "index" or "indices" => Places(),
                _ when parameter.Member.Name.Contains("bitwise", StringComparison.Ordinal) || parameter.Member.Name.StartsWith("op_Bitwise", StringComparison.Ordinal) || parameter.Member.Name is "op_ExclusiveOr" or "op_OnesComplement" => Numbers(),
                _ => Values(3, 4),
            };
        }

        if (parameter.HasDefaultValue && parameter.Name != "dim")
        {
            return parameter.DefaultValue is not null && type.IsEnum ? Enum.ToObject(type, parameter.DefaultValue) : parameter.DefaultValue;
        }

        return type switch
        {
            _ when type == typeof(Scalar) => (Scalar)0.7,
            _ when type == typeof(ScalarType) => float64,
            _ when type == typeof(long) => 1L,
            _ when type == typeof(long?) => parameter.HasDefaultValue ? null : 1L,
            _ when type == typeof(int) => 1,
            _ when type == typeof(float) => 0.7f,
            _ when type == typeof(double) => 0.7,
            _ when type == typeof(bool) => false,
            _ when type == typeof(long[]) => new long[] { 1 },
            _ when type == typeof(Device) => CPU,
            _ => throw new InvalidOperationException($"no value for {parameter.Member.Name}({type.Name} {parameter.Name})"),
        };
    }

    private static Tensor[] Outputs(MethodBase method, object?[] arguments)
    {
        torch.manual_seed(11);
        object? self = method.IsStatic ? null : arguments[0];
        object?[] rest = method.IsStatic ? [.. arguments] : arguments[1..];
        if (method.Name.EndsWith('_'))
        {
            // What changes in place is a copy, through which the gradient flows.
            if (method.IsStatic)
            {
                rest[0] = ((Tensor)rest[0]!).clone();
            }
            else
            {
                self = ((Tensor)self!).clone();
            }
        }

        object result = method.Invoke(self, BindingFlags.DoNotWrapExceptions, null, rest, null)!;
        return result switch
        {
            Tensor one => [one],
            IEnumerable<Tensor> many => [.. many],
            System.Runtime.CompilerServices.ITuple tuple => [.. Enumerable.Range(0, tuple.Length).Select(i => (Tensor)tuple[i]!)],
            _ => throw new InvalidOperationException($"{method.Name} gives {result.GetType()}"),
        };
    }

    private static Tensor Weighted(Tensor[] outputs)
    {
        torch.manual_seed(13);
        return outputs.Select(output => output.to(float64).mul(rand([.. output.shape], dtype: float64)).sum()).Aggregate((left, right) => left.add(right));
    }

    private static IEnumerable<Tensor> Tensors(object? argument) => argument switch
    {
        Tensor tensor => [tensor],
        IEnumerable<Tensor> tensors => tensors,
        _ => [],
    };

    private static Tensor Values(params long[] shape) => rand(shape, dtype: float64).mul(0.6).add(0.2).detach().requires_grad_(true);

    private static Tensor Constant(params long[] shape) => rand(shape, dtype: float64).mul(0.6).add(0.2);

    private static Tensor WellConditioned() => eye(3, dtype: float64).mul(2).add(rand([3, 3], dtype: float64).mul(0.3)).detach().requires_grad_(true);

    private static Tensor Mask() => torch.tensor(new[] { true, false, true, true, false, false, true, false, true, false, true, false }, [3, 4]);

    private static Tensor Numbers() => torch.tensor(new long[] { 2, 0, 1, 2 });

    private static Tensor Permutation() => torch.tensor(new long[] { 2, 0, 3, 1 });

    private static Tensor Places() => torch.tensor(new long[] { 0, 1, 1, 2, 3, 3, 0, 1, 2, 2, 0, 0 }, [3, 4]);

    private static Tensor DistinctPlaces() => torch.tensor(new long[] { 0, 1, 3, 2, 3, 2, 0, 1, 2, 3, 0, 1 }, [3, 4]);

    private static bool IsSpan(MethodBase method) => method.GetParameters().Any(parameter => parameter.ParameterType.IsByRefLike);

    private static object Sizes(MethodBase method, params long[] sizes) => method.GetParameters().Any(parameter => parameter.ParameterType == typeof(Size)) ? new Size(sizes) : sizes;

    private static object Padding(MethodBase method) => method.GetParameters()[1].ParameterType switch
    {
        Type type when type == typeof((long, long)) => (1L, 2L),
        Type type when type == typeof((long, long, long, long)) => (1L, 2L, 0L, 1L),
        _ => new long[] { 1, 2 },
    };

    private static object?[]? Rolled(MethodBase method)
    {
        if (IsSpan(method))
        {
            return null;
        }

        ParameterInfo[] parameters = [.. method.GetParameters().Where(parameter => parameter.Name != "input")];
        return parameters[0].ParameterType == typeof(long) ? [Values(3, 4), 1L, 1L] : parameters.Length == 1 ? [Values(12), new long[] { 5 }] : [Values(3, 4), new long[] { 1 }, new long[] { 1 }];
    }

    private static object?[]? Put(MethodBase method)
    {
        ParameterInfo[] parameters = method.GetParameters();
        object places = parameters[1].ParameterType == typeof(TensorIndex[]) ? new[] { TensorIndex.Slice(0, 2), TensorIndex.Tensor(Permutation()) } : new[] { Mask() };
        object value = parameters[0].ParameterType == typeof(Scalar) ? (Scalar)0.7 : places is Tensor[] ? Values(1) : Values(2, 4);
        return parameters.Length == 3 ? [Values(3, 4), value, places, true] : [Values(3, 4), value, places];
    }

    private static object?[]? Converted(MethodBase method)
    {
        List<object?> arguments = [Values(3, 4)];
        foreach (ParameterInfo parameter in method.GetParameters())
        {
            arguments.Add(parameter.ParameterType switch
            {
                Type type when type == typeof(ScalarType) => float64,
                Type type when type == typeof(Device) => CPU,
                Type type when type == typeof(DeviceType) => DeviceType.CPU,
                Type type when type == typeof(string) => "cpu",
                Type type when type == typeof(Tensor) => Constant(1),
                _ => parameter.DefaultValue,
            });
        }

        return [.. arguments];
    }

    private static object?[]? Deviations(MethodBase method)
    {
        ParameterInfo[] parameters = [.. method.GetParameters().Where(parameter => parameter.Name != "input")];
        return IsSpan(method) ? null : parameters[0].ParameterType == typeof(bool) ? [Values(3, 4), true]
            : parameters[0].ParameterType == typeof(long) ? [Values(3, 4), 1L, true, false, null] : [Values(3, 4), new long[] { 1 }, true, false, null];
    }

    private static object?[]? Sums(MethodBase method)
    {
        List<object?> arguments = [];
        if (!method.IsStatic)
        {
            arguments.Add(Values(3, 4, 2));
        }

        long dim = 0;
        foreach (ParameterInfo parameter in method.GetParameters())
        {
            if (parameter.ParameterType.IsByRefLike)
            {
                return null;
            }

            arguments.Add(parameter.ParameterType switch
            {
                Type type when type == typeof(Tensor) => Values(3, 4, 2),
                Type type when type == typeof(long) => dim++,
                Type type when type == typeof(long[]) => new long[] { 0, 2 },
                _ => parameter.DefaultValue,
            });
        }

        return [.. arguments];
    }
}
