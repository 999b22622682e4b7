using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>AdamW, or Muon for the matrices of the layers and AdamW for the rest, with clipping by the global norm.</summary>
/// <remarks>
/// <para>AdamW: m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²; w ← w - lr·decay·w - lr·(m/(1-β₁ᵗ))/(√(v/(1-β₂ᵗ)) + ε) (Loshchilov and Hutter, arXiv 1711.05101).</para>
/// <para>Muon: m ← µm + (1-µ)g; u = orthogonalize((1-µ)g + µm); w ← w - lr·√max(1, rows/columns)·u (see <see cref="Muon"/>).</para>
/// <para>Parameters that are frozen (requires_grad false) when the optimizer is made are not in it. A parameter without a gradient, such as
/// chunked cross-attention in a batch without neighbors, is left as it is in that step.</para>
/// <para>Of a parameter in bfloat16, whose eight bits swallow every step below a 256th of a weight, the optimizer keeps a float32 copy: gradients are summed and averaged in float32,
/// the step moves the copy, and the parameter becomes the copy rounded (Micikevicius et al., arXiv 1710.03740).</para>
/// </remarks>
public sealed class RetroOptimizer : IDisposable
{
    // torch.nn.utils.clip_grad_norm_ divides by the norm plus this.
    private const double ClipEpsilon = 1e-6;

    private readonly List<Slot> _slots = [];

    /// <summary>Creates the optimizer.</summary>
    /// <param name="parameters">Named parameters, as a module's named_parameters() gives them.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <exception cref="TrainingException">A setting is outside its range, or no parameter can be trained.</exception>
    public RetroOptimizer(IEnumerable<(string name, Parameter parameter)> parameters, RetroOptimizerOptions? options = null)
        : this(parameters, options, null)
    {
    }

    /// <summary>The same, with the float32 values of bfloat16 parameters where they are known; they are copied.</summary>
    internal RetroOptimizer(IEnumerable<(string name, Parameter parameter)> parameters, RetroOptimizerOptions? options, IReadOnlyDictionary<string, Tensor>? masters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        Options = options ?? new RetroOptimizerOptions();
        string[] faults = [.. Options.Faults()];
        if (faults.Length > 0)
        {
            throw new TrainingException(string.Join(Environment.NewLine, faults));
        }

        HashSet<nint> seen = [];
        foreach ((string name, Parameter parameter) in parameters)
        {
            // Tied tensors are one parameter with two names.
            if (parameter.requires_grad && seen.Add(parameter.Handle))
            {
                _slots.Add(new Slot(name, parameter, Options.Kind == OptimizerKind.Muon && Muon.Applies(name, parameter), masters?.GetValueOrDefault(name)));
            }
        }

        if (_slots.Count == 0)
        {
            throw new TrainingException("Every parameter is frozen, so there is nothing to train; set requires_grad on those to be trained.");
        }
    }

    /// <summary>The settings.</summary>
    public RetroOptimizerOptions Options { get; }

    /// <summary>The names of the parameters in the optimizer.</summary>
    public IEnumerable<string> ParameterNames => _slots.Select(slot => slot.Name);

    /// <summary>The parameters that Muon moves.</summary>
    public IEnumerable<string> MuonNames => _slots.Where(slot => slot.Second is null).Select(slot => slot.Name);

    /// <summary>
    /// Takes the gradients of bfloat16 parameters over into float32 sums, so that the next batch's are not added to them in bfloat16. To be called after each backward pass of
    /// a step, the last of which <see cref="Step"/> takes care of; gradients of other parameters stay where they are, and libtorch adds to them.
    /// </summary>
    public void Accumulate()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        foreach (Slot slot in _slots.Where(slot => slot.Master is not null))
        {
            slot.Accumulate();
        }
    }

    /// <summary>Moves every parameter that has a gradient, and clears the gradients.</summary>
    /// <param name="rate">AdamW's learning rate.</param>
    /// <param name="muonRate">Muon's learning rate; not read without Muon.</param>
    /// <returns>The norm of all gradients together before clipping. Where it is not finite, no parameter has been moved.</returns>
    public double Step(double rate, double muonRate = 0)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        List<(Slot Slot, Tensor Gradient)> present = [];
        foreach (Slot slot in _slots)
        {
            if (slot.Master is not null)
            {
                slot.Accumulate();
            }

            if ((slot.Sum ?? slot.Parameter.grad) is { } gradient)
            {
                present.Add((slot, gradient));
            }
        }

        double norm = present.Count == 0 ? 0 : stack(present.Select(pair => pair.Gradient.norm())).norm().Value();
        if (double.IsFinite(norm))
        {
            double clip = Math.Min(1, Options.ClipNorm / (norm + ClipEpsilon));
            foreach ((Slot slot, Tensor gradient) in present.Where(pair => pair.Slot.Second is not null))
            {
                MoveByAdamW(slot, gradient, rate, clip);
            }

            MoveByMuon([.. present.Where(pair => pair.Slot.Second is null)], muonRate, clip);

            foreach ((Slot slot, _) in present)
            {
                slot.Round();
            }
        }

        ClearGradients();
        return norm;
    }

    /// <summary>The parameters in the optimizer, in the order of <see cref="ParameterNames"/>.</summary>
    internal IList<Tensor> Parameters => [.. _slots.Select(slot => slot.Parameter)];

    /// <summary>Adds to each parameter's gradient, or to its float32 sum.</summary>
    /// <param name="gradients">One per parameter; an invalid one adds nothing. They are taken over.</param>
    internal void AddGradients(IList<Tensor> gradients)
    {
        using IDisposable noGradients = no_grad();
        for (int i = 0; i < _slots.Count; i++)
        {
            if (gradients[i].IsInvalid)
            {
                continue;
            }

            if (_slots[i].Master is not null)
            {
                _slots[i].Add(gradients[i]);
            }
            else if (_slots[i].Parameter.grad is { } sum)
            {
                sum.AddInPlace(gradients[i]);
                sum.Dispose();
            }
            else
            {
                _slots[i].Parameter.grad = gradients[i];
            }

            gradients[i].Dispose();
        }
    }

    /// <summary>Clears the gradients.</summary>
    public void ClearGradients()
    {
        foreach (Slot slot in _slots)
        {
            slot.Parameter.grad = null;
            slot.Sum?.Dispose();
            slot.Sum = null;
        }
    }

    /// <summary>The optimizer's memory, for a checkpoint.</summary>
    /// <returns>Tensors by "NAME/mean", for AdamW "NAME/square", and for bfloat16 parameters "NAME/master", the float32 copy. They stay the optimizer's own.</returns>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        Dictionary<string, Tensor> state = [];
        foreach (Slot slot in _slots)
        {
            state.Add(slot.Name + "/mean", slot.First);
            if (slot.Second is not null)
            {
                state.Add(slot.Name + "/square", slot.Second);
            }

            if (slot.Master is not null)
            {
                state.Add(slot.Name + "/master", slot.Master);
            }
        }

        return state;
    }

    /// <summary>How many times each parameter has been moved, for a checkpoint.</summary>
    /// <returns>Steps by parameter name.</returns>
    public IReadOnlyDictionary<string, long> StepCounts() => _slots.ToDictionary(slot => slot.Name, slot => slot.Steps);

    /// <summary>Takes over the memory of an optimizer over the same parameters. Bfloat16 parameters become their float32 copies rounded; others stay as they are.</summary>
    /// <param name="state">What <see cref="State"/> gave; copied.</param>
    /// <param name="steps">What <see cref="StepCounts"/> gave.</param>
    /// <exception cref="CheckpointException">The state is of other parameters or of another kind of optimizer.</exception>
    public void LoadState(IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(steps);
        IReadOnlyDictionary<string, Tensor> own = State();
        string[] missing = [.. own.Keys.Where(name => !state.ContainsKey(name)), .. StepCounts().Keys.Where(name => !steps.ContainsKey(name)).Select(name => name + " (steps)")];
        string[] surplus = [.. state.Keys.Where(name => !own.ContainsKey(name))];
        if (missing.Length > 0 || surplus.Length > 0)
        {
            throw new CheckpointException(
                $"The optimizer state is of another model or optimizer: {missing.Length} tensors are missing ({Some(missing)}), {surplus.Length} are surplus ({Some(surplus)}). Resume with the options of the first run.");
        }

        foreach ((string name, Tensor tensor) in own)
        {
            if (!tensor.shape.SequenceEqual(state[name].shape) || tensor.dtype != state[name].dtype)
            {
                throw new CheckpointException(
                    $"The optimizer state {name} is {state[name].dtype} [{string.Join(", ", state[name].shape)}]; expected {tensor.dtype} [{string.Join(", ", tensor.shape)}].");
            }
        }

        using IDisposable noGradients = no_grad();
        foreach ((string name, Tensor tensor) in own)
        {
            tensor.copy_(state[name]);
        }

        foreach (Slot slot in _slots)
        {
            slot.Steps = steps[slot.Name];
            slot.Round();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Slot slot in _slots)
        {
            slot.First.Dispose();
            slot.Second?.Dispose();
            slot.Master?.Dispose();
            slot.Sum?.Dispose();
        }
    }

    private static string Some(string[] names) => names.Length == 0 ? "none" : string.Join(", ", names.Take(3)) + (names.Length > 3 ? ", ..." : "");

    private void MoveByAdamW(Slot slot, Tensor gradient, double rate, double clip)
    {
        slot.Steps++;
        // The clipping factor goes into the two averages, which saves a pass over the gradients.
        slot.First.TimesInPlace(Options.Beta1).AddInPlace(gradient, (1 - Options.Beta1) * clip);
        slot.Second!.TimesInPlace(Options.Beta2).AddProductInPlace(gradient, gradient, (1 - Options.Beta2) * clip * clip);
        if (slot.Target.dim() >= 2 && Options.WeightDecay != 0)
        {
            slot.Target.TimesInPlace(1 - rate * Options.WeightDecay);
        }

        double firstCorrection = 1 - Math.Pow(Options.Beta1, slot.Steps);
        double secondCorrection = 1 - Math.Pow(Options.Beta2, slot.Steps);
        Tensor denominator = slot.Second!.sqrt().OverInPlace(Math.Sqrt(secondCorrection)).AddInPlace(Options.Epsilon);
        slot.Target.AddQuotientInPlace(slot.First, denominator, -rate / firstCorrection);
    }

    // Matrices of one shape, or of its transpose, are orthogonalized together, few large products instead of many small calls; each thread takes a part of them.
    private void MoveByMuon(IReadOnlyList<(Slot Slot, Tensor Gradient)> matrices, double rate, double clip)
    {
        if (matrices.Count == 0)
        {
            return;
        }

        Device device = matrices[0].Gradient.device;
        int parts = TorchThreads.Workers(matrices.Count, device);
        (Slot, Tensor)[][] stacks = [.. matrices.GroupBy(pair => pair.Slot.Shape).SelectMany(group => group.Chunk((group.Count() + parts - 1) / parts))];
        TorchThreads.Run(stacks.Length, device, i => MoveStackByMuon(stacks[i], rate, clip));
    }

    private void MoveStackByMuon(IReadOnlyList<(Slot Slot, Tensor Gradient)> group, double rate, double clip)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        double momentum = Options.MuonMomentum;
        List<Tensor> directions = [];
        foreach ((Slot slot, Tensor gradient) in group)
        {
            slot.Steps++;
            slot.First.TimesInPlace(momentum).AddInPlace(gradient, (1 - momentum) * clip);
            Tensor direction = slot.First.Times(momentum).AddInPlace(gradient, (1 - momentum) * clip);
            directions.Add(slot.Tall ? direction.transpose(0, 1) : direction);
        }

        Tensor steps = Muon.Orthogonalize(stack(directions));
        for (int index = 0; index < group.Count; index++)
        {
            Slot slot = group[index].Slot;
            Tensor step = steps.select(0, index);
            if (Options.MuonWeightDecay != 0)
            {
                slot.Target.TimesInPlace(1 - rate * Options.MuonWeightDecay);
            }

            double scale = Math.Sqrt(Math.Max(1, (double)slot.Target.shape[0] / slot.Target.shape[1]));
            slot.Target.AddInPlace(slot.Tall ? step.transpose(0, 1) : step, -rate * scale);
        }
    }

    private sealed class Slot
    {
        public Slot(string name, Parameter parameter, bool muon, Tensor? master)
        {
            Name = name;
            Parameter = parameter;
            using IDisposable noGradients = no_grad();
            if (parameter.dtype == ScalarType.BFloat16)
            {
                Master = (master ?? parameter).detach().to_type(ScalarType.Float32, copy: true).DetachFromDisposeScope();
            }

            First = zeros_like(Target).DetachFromDisposeScope();
            Second = muon ? null : zeros_like(Target).DetachFromDisposeScope();
            if (muon)
            {
                Tall = parameter.shape[0] > parameter.shape[1];
                Shape = Tall ? (parameter.shape[1], parameter.shape[0]) : (parameter.shape[0], parameter.shape[1]);
            }
        }

        public string Name { get; }

        public Parameter Parameter { get; }

        /// <summary>The float32 copy of a bfloat16 parameter; null where the parameter is exact enough itself.</summary>
        public Tensor? Master { get; }

        /// <summary>What the step moves.</summary>
        public Tensor Target => Master ?? Parameter;

        /// <summary>The sum of gradients in float32; null where there is none, or no copy.</summary>
        public Tensor? Sum { get; set; }

        /// <summary>The averaged gradient.</summary>
        public Tensor First { get; }

        /// <summary>The averaged squared gradient; null where Muon moves the parameter.</summary>
        public Tensor? Second { get; }

        public bool Tall { get; }

        public (long Short, long Long) Shape { get; }

        public long Steps { get; set; }

        /// <summary>Adds to the float32 sum.</summary>
        public void Add(Tensor gradient)
        {
            if (Sum is null)
            {
                Sum = gradient.to_type(ScalarType.Float32).DetachFromDisposeScope();
            }
            else
            {
                Sum.AddInPlace(gradient);
            }
        }

        /// <summary>Takes the parameter's gradient over into the float32 sum.</summary>
        public void Accumulate()
        {
            if (Parameter.grad is { } gradient)
            {
                Add(gradient);
                Parameter.grad = null;
            }
        }

        /// <summary>Makes the parameter its float32 copy rounded.</summary>
        public void Round()
        {
            if (Master is not null)
            {
                Parameter.copy_(Master);
            }
        }
    }
}
