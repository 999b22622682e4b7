using System.Reflection;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Standins.TorchSharp;

/// <summary>The gradient of every operator of the stand-in against central differences in float64: every overload, found by reflection.</summary>
public sealed class OperatorGradientTests
{
    private const double Step = 1e-6;
    private const double Tolerance = 2e-6;

    /// <summary>Operators whose result has no gradient: whole numbers, truth values, new values that do not depend on the old.</summary>
    private static readonly HashSet<string> WithoutGradient = new(
        """
        eq ne lt le gt ge equal greater greater_equal less less_equal not_equal
        logical_and logical_not logical_or isnan isinf isfinite isclose op_Equality op_Inequality op_LessThan op_LessThanOrEqual op_GreaterThan op_GreaterThanOrEqual
        argmax argmin argsort all any nonzero argwhere count_nonzero detach detach_ bool byte char short int long
        zeros_like ones_like empty_like full_like rand_like randn_like new_empty new_zeros new_ones new_full multinomial
        """.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries));

    /// <summary>
    /// What moves or keeps a tensor, makes one without reading any, or takes whole numbers and truth values alone; and eigvalsh, which
    /// reads half of its matrix, so that differences see half of its gradient. Their values are tested in TensorTests.
    /// </summary>
    private static readonly HashSet<string> NotOperators = new(
        """
        UnsafeCreateTensor DetachFromDisposeScope DetatchFromDisposeScope MoveToOuterDisposeScope MoveToOtherDisposeScope cuda WrappedTensorDisposeScope requires_grad_ with_requires_grad
        zeros ones empty full rand randn randint randint_like randperm arange linspace eye tensor from_array normal empty_strided tril_indices triu_indices get_rng_state op_Implicit
        half bfloat16 float
        bitwise_and bitwise_and_ bitwise_or bitwise_or_ bitwise_xor bitwise_xor_ bitwise_not bitwise_not_ op_BitwiseAnd op_BitwiseOr op_ExclusiveOr op_OnesComplement
        logical_and_ logical_or_ logical_not_ floor_divide floor_divide_ one_hot searchsorted eigvalsh
        """.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries));

    /// <summary>Arguments, the tensor itself first, where the parameters' types and names do not say enough.</summary>
    private static readonly Dictionary<string, Func<MethodBase, object?[]>> Special = new()
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
        ["trace"] = _ => [Values(3, 3)],
        ["acos"] = _ => [Values(3, 4)],
        ["t"] = _ => [Values(3, 4)],
        ["diag"] = method => Filled(method, Values(3, 3)),
        ["prelu"] = _ => [Values(3, 4).sub(0.5), Values(1)],
        ["masked_select"] = _ => [Values(3, 4), Mask()],
        ["broadcast_to"] = _ => [Values(3, 4), new long[] { 2, 3, 4 }],
        ["expand"] = method => method.GetParameters()[^1].ParameterType == typeof(bool) ? [Values(3, 4), Sizes(method, 2, 3, 4), false] : [Values(3, 4), new long[] { 2, 3, 4 }],
        ["expand_as"] = _ => [Values(3, 4), Constant(2, 3, 4)],
        ["view"] = _ => [Values(3, 4), new long[] { 2, 6 }],
        ["view_as"] = _ => [Values(3, 4), Constant(2, 6)],
        ["reshape"] = _ => [Values(3, 4), new long[] { 2, 6 }],
        ["unflatten"] = method => [Values(3, 4), 1L, method.GetParameters()[^1].ParameterType == typeof(Size) ? new Size([2, 2]) : (object)new long[] { 2, 2 }],
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
        ["take_along_dim"] = method => method.GetParameters()[^1].Name == "dim" ? [Values(3, 4), Places(), 1L] : [Values(3, 4), torch.tensor(new long[] { 3, 0, 11, 3 })],
        ["where"] = method => method.IsStatic ? [Mask(), Values(3, 4), Values(3, 4)] : [Values(3, 4), Mask(), Values(3, 4)],
        ["split"] = method => method.GetParameters().First(parameter => parameter.Name is not "tensor").ParameterType == typeof(long) ? [Values(3, 4), 2L, 1] : method.GetParameters()[^1].ParameterType == typeof(long[]) ? [Values(3, 4), new long[] { 1, 2 }] : [Values(3, 4), new long[] { 1, 3 }, 1L],
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
        ["linear"] = _ => [Values(3, 4), Values(2, 4), Values(2)],
        ["layer_norm"] = _ => [Values(3, 4), new long[] { 4 }, Values(4), Values(4), 1e-5],
        ["group_norm"] = _ => [Values(2, 4, 3), 2L, Values(4), Values(4), 1e-5],
        ["cross_entropy"] = _ => [Values(3, 4), torch.tensor(new long[] { 1, -100, 3 }), null, -100L, nn.Reduction.Mean, 0.1],
        ["nll_loss"] = _ => [Values(3, 4), torch.tensor(new long[] { 1, 0, 3 }), null, nn.Reduction.Sum],
        ["kl_div"] = _ => [Values(3, 4), Values(3, 4), true, nn.Reduction.Mean],
        ["smooth_l1_loss"] = _ => [Values(3, 4), Values(3, 4), nn.Reduction.Mean, 0.25],
        ["binary_cross_entropy"] = _ => [Values(3, 4), Constant(3, 4), null, nn.Reduction.Mean],
        ["binary_cross_entropy_with_logits"] = _ => [Values(3, 4), Values(3, 4), null, nn.Reduction.Mean, null],
        ["pad"] = method => [Values(3, 4), Padding(method), PaddingModes.Constant, 0.5],
        ["scaled_dot_product_attention"] = _ => [Values(2, 3, 4), Values(2, 5, 4), Values(2, 5, 2), null, 0.0, false],
        ["dropout"] = method => Filled(method, Values(3, 4)),
        ["softmax"] = method => [Values(3, 4), method.GetParameters().First(parameter => parameter.Name == "dim").ParameterType == typeof(int) ? 1 : (object)1L, null],
        ["einsum"] = _ => ["ij,jk->ik", new[] { Values(3, 4), Values(4, 2) }],
        ["cat"] = _ => [new[] { Values(3, 4), Values(2, 4) }, 0L],
        ["concat"] = _ => [new[] { Values(3, 4), Values(2, 4) }, 0L],
        ["stack"] = _ => [new[] { Values(3, 4), Values(3, 4) }, 1L],
        ["vstack"] = _ => [new[] { Values(3, 4), Values(2, 4) }],
        ["hstack"] = _ => [new[] { Values(3, 4), Values(3, 2) }],
        ["broadcast_tensors"] = _ => [new[] { Values(3, 1), Values(1, 4) }],
        ["meshgrid"] = _ => [new[] { Values(3), Values(4) }, "ij"],
        ["sum"] = Sums,
        ["mean"] = Sums,
        ["amax"] = _ => [Values(3, 4), new long[] { 1 }],
        ["amin"] = _ => [Values(3, 4), new long[] { 1 }],
        ["norm"] = method => method.DeclaringType != typeof(linalg) ? [Values(3, 4)] : method.GetParameters()[1].ParameterType switch
        {
            Type type when type == typeof(int) => [Values(3, 4), 1, new long[] { 1 }],
            Type type when type == typeof(double) => [Values(3, 4), 3.0, new long[] { 1 }],
            _ => [Values(3, 4)],
        },
        ["svdvals"] = _ => [Values(3, 4)],
        ["inv"] = _ => [WellConditioned()],
        ["det"] = _ => [WellConditioned()],
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
        Assert.SkipUnless(LoadedLibraries.TorchIsStandin, "The loaded TorchSharp is the original.");
        using DisposeScope scope = NewDisposeScope();
        MethodBase method = Operators().First(one => ApiSignatures.Of(one) == line);
        object?[] arguments = Arguments(method);
        Tensor[] inputs = [.. arguments.SelectMany(Tensors).Where(tensor => tensor.requires_grad)];
        Tensor[] outputs = Outputs(method, arguments);
        if (WithoutGradient.Contains(method.Name))
        {
            Assert.DoesNotContain(outputs, output => output.requires_grad);
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
            double[] given = gradients[i].IsInvalid ? new double[inputs[i].numel()] : [.. gradients[i].data<double>()];
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
                Assert.True(Math.Abs(expected - given[at]) <= Tolerance * (1 + Math.Abs(expected)), $"{line}: input {i}, element {at}: gradient {given[at]}, differences give {expected}");
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
            .Where(method => method.ReturnType == typeof(Tensor) || method.ReturnType == typeof(Tensor[]) || method.ReturnType == typeof(IList<Tensor>) || method.ReturnType.Name.StartsWith("ValueTuple`", StringComparison.Ordinal))
            // A span cannot be handed over by reflection; the overloads that take one call the same operator as those that take an array.
            .Where(method => !IsSpan(method) && !(method.Name == "where" && method.ReturnType == typeof(Tensor[])))
            .Where(method => !NotOperators.Contains(method.Name) && (!method.IsSpecialName || method.Name.StartsWith("op_", StringComparison.Ordinal)) && !method.IsGenericMethod);
    }

    private static object?[] Arguments(MethodBase method)
    {
        torch.manual_seed(7);
        object?[] given = Special.TryGetValue(method.Name, out Func<MethodBase, object?[]>? special) ? special(method) : method.IsStatic ? [] : [Values(3, 4)];
        return Filled(method, given);
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

    private static object Sizes(MethodBase method, params long[] sizes) => method.GetParameters().Any(parameter => parameter.ParameterType == typeof(Size)) ? (object)new Size(sizes) : sizes;

    private static object Padding(MethodBase method) => method.GetParameters()[1].ParameterType switch
    {
        Type type when type == typeof((long, long)) => (1L, 2L),
        Type type when type == typeof((long, long, long, long)) => (1L, 2L, 0L, 1L),
        _ => new long[] { 1, 2 },
    };

    private static object?[] Rolled(MethodBase method)
    {
        ParameterInfo[] parameters = [.. method.GetParameters().Where(parameter => parameter.Name != "input")];
        return parameters[0].ParameterType == typeof(long) ? [Values(3, 4), 1L, 1L] : parameters.Length == 1 ? [Values(12), new long[] { 5 }] : [Values(3, 4), new long[] { 1 }, new long[] { 1 }];
    }

    private static object?[] Put(MethodBase method)
    {
        ParameterInfo[] parameters = method.GetParameters();
        object places = parameters[1].ParameterType == typeof(TensorIndex[]) ? new[] { TensorIndex.Slice(0, 2), TensorIndex.Tensor(Permutation()) } : new[] { Mask() };
        object value = parameters[0].ParameterType == typeof(Scalar) ? (object)(Scalar)0.7 : places is Tensor[] ? Values(1) : Values(2, 4);
        return parameters.Length == 3 ? [Values(3, 4), value, places, true] : [Values(3, 4), value, places];
    }

    private static object?[] Converted(MethodBase method)
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

    private static object?[] Deviations(MethodBase method)
    {
        ParameterInfo[] parameters = [.. method.GetParameters().Where(parameter => parameter.Name != "input")];
        return parameters[0].ParameterType == typeof(bool) ? [Values(3, 4), true]
            : parameters[0].ParameterType == typeof(long) ? [Values(3, 4), 1L, true, false, null] : [Values(3, 4), new long[] { 1 }, true, false, null];
    }

    private static object?[] Sums(MethodBase method)
    {
        List<object?> arguments = [];
        if (!method.IsStatic)
        {
            arguments.Add(Values(3, 4, 2));
        }

        long dim = 0;
        foreach (ParameterInfo parameter in method.GetParameters())
        {
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
