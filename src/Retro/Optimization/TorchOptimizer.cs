using System.Reflection;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>An optimizer of TorchSharp, or one written on its base, in the trainer.</summary>
/// <remarks>
/// TorchSharp's own writing of an optimizer's state forgets device and type of some of its tensors. What is stored here are all fields of each
/// parameter's state, which hold everything in every optimizer of TorchSharp 0.107 that derives from <see cref="OptimizerHelper"/>; another one trains as well,
/// but its training cannot be resumed.
/// </remarks>
internal sealed class TorchOptimizer : ITrainingOptimizer
{
    private readonly optim.Optimizer _optimizer;
    private readonly Dictionary<nint, string> _names;
    private readonly (string Name, Parameter Parameter)[] _parameters;
    private readonly double _peak, _clipNorm;
    private readonly IGradientExchange? _exchange;
    private readonly double[] _rates;
    private readonly HashSet<string> _late = []; // tensors that its state holds once they are used, such as SGD's momentum

    /// <summary>Takes over an optimizer.</summary>
    /// <param name="optimizer">The optimizer; disposed with this.</param>
    /// <param name="parameters">What there is to move; it may hold some of them alone.</param>
    /// <param name="peak">The highest learning rate of the schedule, at which every group of parameters has the rate it was made with; null: a scheduler sets
    /// the rates.</param>
    /// <param name="clipNorm">Largest norm of all gradients together.</param>
    /// <param name="exchange">Processes that move the same parameters; null: this one is alone.</param>
    /// <exception cref="ArgumentException">It holds a parameter that is not among them.</exception>
    public TorchOptimizer(
        optim.Optimizer optimizer,
        IEnumerable<(string Name, Parameter Parameter)> parameters,
        double? peak,
        double clipNorm,
        IGradientExchange? exchange = null)
    {
        _exchange = exchange;
        _optimizer = optimizer;
        _parameters = [.. parameters];
        _names = _parameters.ToDictionary(pair => pair.Parameter.Handle, pair => pair.Name);
        if (optimizer is OptimizerHelper helper)
        {
            HashSet<nint> held = [.. helper.parameters().Select(parameter => parameter.Handle)];
            if (held.Count == 0 || !held.All(_names.ContainsKey))
            {
                throw new ArgumentException(
                    "The optimizer holds no parameter, or one that is not the model's or is frozen; make it over parameters that the factory is given.",
                    nameof(optimizer));
            }

            _parameters = Array.FindAll(_parameters, pair => held.Contains(pair.Parameter.Handle));
            try
            {
                _late = [.. States().SelectMany(state => AllFields(state.State)
                    .Where(field => field.FieldType == typeof(Tensor) && field.GetValue(state.State) is null)
                    .Select(field => $"{state.Name}/{field.Name}"))];
            }
            catch (CheckpointException)
            {
                // It trains all the same, and is told when it is to be stored.
            }
        }

        _peak = peak ?? 0;
        _clipNorm = clipNorm;
        _rates = peak is null ? [] : [.. optimizer.ParamGroups.Select(group => group.LearningRate)];
    }

    /// <inheritdoc/>
    public IEnumerable<string> ParameterNames => _parameters.Select(pair => pair.Name);

    /// <inheritdoc/>
    public IList<Tensor> Parameters => [.. _parameters.Select(pair => pair.Parameter)];

    /// <inheritdoc/>
    public IEnumerable<Tensor> Moved => Parameters;

    /// <inheritdoc/>
    public IList<Tensor?> GradientSums => [.. _parameters.Select(pair => pair.Parameter.grad)];

    /// <inheritdoc/>
    public IReadOnlyList<int>? Owners => null;

    /// <summary>The learning rate of the first group.</summary>
    public double Rate => _optimizer.ParamGroups.First().LearningRate;

    /// <summary>The optimizer.</summary>
    public optim.Optimizer Optimizer => _optimizer;

    /// <inheritdoc/>
    public void Accumulate()
    {
        // libtorch adds the gradients up.
    }

    /// <inheritdoc/>
    public void AddGradients(IList<Tensor?> gradients)
    {
        using IDisposable noGradients = no_grad();
        for (int i = 0; i < _parameters.Length; i++)
        {
            if (gradients[i] is { IsInvalid: false } gradient)
            {
                Gradients.Add(_parameters[i].Parameter, gradient);
                gradient.Dispose();
            }
        }
    }

    /// <inheritdoc/>
    public void ClearGradient(int parameter) => _parameters[parameter].Parameter.grad = null;

    /// <inheritdoc/>
    public void ClearGradients()
    {
        foreach ((_, Parameter parameter) in _parameters)
        {
            parameter.grad = null;
        }
    }

    /// <inheritdoc/>
    public (double Norm, double Loss) Step(double rate, double muonRate, Tensor loss)
    {
        using DisposeScope scope = NewDisposeScope();
        try
        {
            Tensor[] gradients = [.. _parameters.Select(pair => pair.Parameter.grad).OfType<Tensor>()];
            (double norm, double value) = Gradients.Read(Array.ConvertAll(gradients, gradient => gradient.norm()), loss, _exchange);
            if (double.IsFinite(norm))
            {
                double clip = Gradients.Clip(norm, _clipNorm);
                if (clip < 1)
                {
                    using Scalar factor = clip.ToScalar();
                    foreach (Tensor gradient in gradients)
                    {
                        gradient.mul_(factor);
                    }
                }

                foreach ((optim.ILearningRateController group, double own) in _optimizer.ParamGroups.Zip(_rates))
                {
                    group.LearningRate = own * rate / _peak;
                }

#pragma warning disable RS0030 // The trainer holds the finalizer gate around a step of it.
                _ = _optimizer.step();
#pragma warning restore RS0030
            }

            return (norm, value);
        }
        finally
        {
            ClearGradients();
        }
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        Dictionary<string, Tensor> state = [];
        foreach ((string name, OptimizerState memory) in States())
        {
            foreach (FieldInfo field in Fields(memory))
            {
                switch (field.GetValue(memory))
                {
                    case Tensor tensor:
                        state.Add($"{name}/{field.Name}", tensor);
                        break;
                    case long whole:
                        state.Add($"{name}/{field.Name}", torch.tensor(whole, device: torch.CPU));
                        break;
                    case double number:
                        state.Add($"{name}/{field.Name}", torch.tensor(number, ScalarType.Float64, torch.CPU));
                        break;
                }
            }
        }

        return state;
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, long> StepCounts() => new Dictionary<string, long>();

    /// <inheritdoc/>
    public Action Loading(IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps)
    {
        HashSet<string> read = [];
        List<Action> changes = [];
        Dictionary<string, Parameter> parameters = _parameters.ToDictionary(pair => pair.Name, pair => pair.Parameter);
        foreach ((string name, OptimizerState memory) in States())
        {
            foreach (FieldInfo field in Fields(memory))
            {
                string key = $"{name}/{field.Name}";
                bool holdsTensor = field.FieldType == typeof(Tensor);
                Tensor? own = field.GetValue(memory) as Tensor;
                if (!state.TryGetValue(key, out Tensor? stored))
                {
                    if (!holdsTensor || (own is not null && !_late.Contains(key)))
                    {
                        throw new CheckpointException($"The optimizer state {key} is missing; resume with the optimizer of the first run.");
                    }

                    changes.Add(() =>
                    {
                        own?.Dispose(); // it was made since
                        field.SetValue(memory, null);
                    });
                    continue;
                }

                read.Add(key);
                ScalarType type = holdsTensor ? own?.dtype ?? stored.dtype : field.FieldType == typeof(long) ? ScalarType.Int64 : ScalarType.Float64;
                long[] shape = holdsTensor ? own?.shape ?? parameters[name].shape : [];
                if (stored.dtype != type || !stored.shape.SequenceEqual(shape))
                {
                    throw new CheckpointException(
                        $"The optimizer state {key} is {stored.dtype} [{string.Join(", ", stored.shape)}]; expected {type} [{string.Join(", ", shape)}].");
                }

                changes.Add(() =>
                {
                    if (!holdsTensor)
                    {
                        field.SetValue(memory, field.FieldType == typeof(long) ? (object)stored.item<long>() : stored.item<double>());
                        return;
                    }

                    own?.Dispose();
                    field.SetValue(memory, stored.to(parameters[name].device, copy: true).DetachFromDisposeScope());
                });
            }
        }

        string[] surplus = [.. state.Keys.Where(key => !read.Contains(key)).Take(3)];
        if (surplus.Length > 0)
        {
            throw new CheckpointException(
                $"The optimizer state is of another model or optimizer: {string.Join(", ", surplus)} is not in it. Resume with the optimizer of "
                    + "the first run.");
        }

        return () =>
        {
            using IDisposable noGradients = no_grad();
            changes.ForEach(change => change());
        };
    }

    /// <inheritdoc/>
    public void Dispose() => _optimizer.Dispose();

    // Every parameter's state, by the parameter's name.
    private IEnumerable<(string Name, OptimizerState State)> States()
    {
        try
        {
            return _optimizer is OptimizerHelper helper
                ? helper.parameters().Select(parameter => _names[parameter.Handle]).Zip(helper.state_dict().State)
                : throw Unknown(null);
        }
        catch (KeyNotFoundException fault)
        {
            throw Unknown(fault); // it keeps nothing of a parameter
        }

        CheckpointException Unknown(Exception? fault) => new(
            $"What {_optimizer.GetType().Name} remembers of its steps cannot be stored, so that its training cannot be resumed; train in one go, or "
                + $"with an optimizer that derives from {nameof(OptimizerHelper)} and keeps a state of each parameter.",
            fault);
    }

    private FieldInfo[] Fields(OptimizerState state)
    {
        List<FieldInfo> fields = AllFields(state);
        if (fields.Find(field => field.FieldType != typeof(Tensor) && field.FieldType != typeof(long) && field.FieldType != typeof(double)) is { } other)
        {
            throw new CheckpointException(
                $"{_optimizer.GetType().Name} remembers {other.Name}, a {other.FieldType.Name}, which cannot be stored, so that its training cannot be "
                    + "resumed; train in one go, or with another optimizer.");
        }

        return [.. fields.OrderBy(field => field.Name, StringComparer.Ordinal)];
    }

    private static List<FieldInfo> AllFields(OptimizerState state)
    {
        List<FieldInfo> fields = [];
        for (Type type = state.GetType(); type != typeof(OptimizerState); type = type.BaseType!)
        {
            fields.AddRange(type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly));
        }

        return fields;
    }
}
