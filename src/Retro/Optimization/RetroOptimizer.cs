using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>AdamW, or Muon for the matrices of the layers and AdamW for the rest, with clipping by the global norm.</summary>
/// <remarks>
/// <para>AdamW: m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²; w ← w - lr·decay·w - lr·(m/(1-β₁ᵗ))/(√(v/(1-β₂ᵗ)) + ε) (Loshchilov and Hutter, arXiv 1711.05101).</para>
/// <para>Muon: m ← µm + (1-µ)g; u = orthogonalize((1-µ)g + µm); w ← w - lr·√max(1, rows/columns)·u (see <see cref="Muon"/>).</para>
/// <para>Parameters that are frozen (requires_grad false) when the optimizer is made are not in it. A parameter without a gradient, such as
/// chunked cross-attention in a batch without neighbors, is left as it is in that step.</para>
/// <para>Of a parameter in bfloat16, whose eight bits swallow every step below a 256th of a weight, the optimizer keeps a float32 copy: gradients are summed and averaged in float32,
/// the step moves the copy, and the parameter becomes the copy rounded (Micikevicius et al., arXiv 1710.03740). Muon's products alone are in bfloat16.</para>
/// </remarks>
public sealed class RetroOptimizer : IDisposable
{
    // torch.nn.utils.clip_grad_norm_ divides by the norm plus this.
    private const double ClipEpsilon = 1e-6;

    // One pass over each tensor instead of eight: about half of the time (tests/Retro.Benchmarks/results/operators.md).
    private static readonly AtenOperator s_fusedAdamW = new("aten::_fused_adamw_", 0, () =>
        [(Tensor[])[ones(1)], (Tensor[])[ones(1)], (Tensor[])[zeros(1)], (Tensor[])[zeros(1)], (Tensor[])[], (Tensor[])[ones(1)], 1e-3, 0.9, 0.99, 0.1, 1e-8, false, false, AtenArgument.Some(ones(1)), AtenArgument.None]);

    private readonly List<Slot> _slots = [];

    /// <summary>Creates the optimizer.</summary>
    /// <param name="parameters">Named parameters, as a module's named_parameters() gives them.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    /// <exception cref="TrainingException">No parameter can be trained.</exception>
    public RetroOptimizer(IEnumerable<(string name, Parameter parameter)> parameters, RetroOptimizerOptions? options = null)
        : this(parameters, options, null)
    {
    }

    /// <summary>The same, with the float32 values of bfloat16 parameters where they are known; they are copied.</summary>
    internal RetroOptimizer(IEnumerable<(string name, Parameter parameter)> parameters, RetroOptimizerOptions? options, IReadOnlyDictionary<string, Tensor>? masters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        Options = (options ?? new RetroOptimizerOptions()).Validate();
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

    /// <summary>The operator that moves the parameters in float32 by AdamW, all at once; where it is not available, and for other types and layouts, single operators do.</summary>
    internal AtenOperator FusedAdamW { get; init; } = s_fusedAdamW;

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
            foreach (IGrouping<(bool Decays, bool Fused), (Slot Slot, Tensor Gradient)> group in present.Where(pair => pair.Slot.Second is not null)
                .GroupBy(pair => (pair.Slot.Decays, MovesTogether(pair.Slot))))
            {
                double decay = group.Key.Decays ? Options.WeightDecay : 0;
                if (group.Key.Fused)
                {
                    MoveTogetherByAdamW([.. group], rate, decay, clip);
                    continue;
                }

                foreach ((Slot slot, Tensor gradient) in group)
                {
                    MoveByAdamW(slot, gradient, rate, decay, clip);
                }
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
                sum.add_(gradients[i], KeptScalars.One);
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

    private bool MovesTogether(Slot slot) => slot.Target.dtype == ScalarType.Float32 && slot.Target.is_contiguous() && FusedAdamW.IsAvailable;

    private void MoveTogetherByAdamW((Slot Slot, Tensor Gradient)[] group, double rate, double decay, double clip)
    {
        foreach ((Slot slot, _) in group)
        {
            slot.Steps++;
        }

        // The operator reads all values in the order in which they lie. It divides gradients by their scale, in place; they are not read again.
        Device device = group[0].Gradient.device;
        Dictionary<long, Tensor> steps = group.Select(pair => pair.Slot.Steps).Distinct().ToDictionary(count => count, count => tensor((float)count, device: device));
        FusedAdamW.Call(
            Array.ConvertAll(group, pair => pair.Slot.Target),
            Array.ConvertAll(group, pair => pair.Gradient.contiguous()),
            Array.ConvertAll(group, pair => pair.Slot.First),
            Array.ConvertAll(group, pair => pair.Slot.Second!),
            (Tensor[])[],
            Array.ConvertAll(group, pair => steps[pair.Slot.Steps]),
            rate,
            Options.Beta1,
            Options.Beta2,
            decay,
            Options.Epsilon,
            false, // amsgrad
            false, // maximize
            clip < 1 ? AtenArgument.Some(tensor((float)(1 / clip), device: device)) : AtenArgument.None,
            AtenArgument.None);
    }

    private void MoveByAdamW(Slot slot, Tensor gradient, double rate, double decay, double clip)
    {
        slot.Steps++;
        double firstCorrection = 1 - Math.Pow(Options.Beta1, slot.Steps), secondCorrection = 1 - Math.Pow(Options.Beta2, slot.Steps);
        using Scalar keepFirst = Options.Beta1.ToScalar(), keepSecond = Options.Beta2.ToScalar(), kept = (1 - (rate * decay)).ToScalar(),
            // The clipping factor goes into the two averages, which saves a pass over the gradients.
            addFirst = ((1 - Options.Beta1) * clip).ToScalar(), addSecond = ((1 - Options.Beta2) * clip * clip).ToScalar(),
            root = Math.Sqrt(secondCorrection).ToScalar(), epsilon = Options.Epsilon.ToScalar(), move = (-rate / firstCorrection).ToScalar();
        slot.First.mul_(keepFirst).add_(gradient, addFirst);
        slot.Second!.mul_(keepSecond).addcmul_(gradient, gradient, addSecond);
        if (decay != 0)
        {
            slot.Target.mul_(kept);
        }

        Tensor denominator = slot.Second.sqrt().div_(root).add_(epsilon, KeptScalars.One);
        slot.Target.addcdiv_(slot.First, denominator, move);
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
        (Slot, Tensor)[][] stacks = [.. matrices.GroupBy(pair => (pair.Slot.Shape, pair.Slot.Parameter.dtype)).SelectMany(group => group.Chunk((group.Count() + parts - 1) / parts))];
        TorchThreads.Run(stacks.Length, device, i => MoveStackByMuon(stacks[i], rate, clip));
    }

    private void MoveStackByMuon(IReadOnlyList<(Slot Slot, Tensor Gradient)> group, double rate, double clip)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        double momentum = Options.MuonMomentum;
        using Scalar keep = momentum.ToScalar(), add = ((1 - momentum) * clip).ToScalar(), decayed = (1 - (rate * Options.MuonWeightDecay)).ToScalar();
        List<Tensor> directions = [];
        foreach ((Slot slot, Tensor gradient) in group)
        {
            slot.Steps++;
            slot.First.mul_(keep).add_(gradient, add);
            Tensor direction = slot.First.mul(keep).add_(gradient, add);
            directions.Add(slot.Tall ? direction.transpose(0, 1) : direction);
        }

        // A model in bfloat16 is orthogonalized in its own type: where a batch is small, these products are most of a step.
        Tensor steps = Muon.Orthogonalize(stack(directions), group[0].Slot.Parameter.dtype);
        for (int index = 0; index < group.Count; index++)
        {
            Slot slot = group[index].Slot;
            Tensor step = steps.select(0, index);
            if (Options.MuonWeightDecay != 0)
            {
                slot.Target.mul_(decayed);
            }

            using Scalar move = (-rate * Math.Sqrt(Math.Max(1, (double)slot.Target.shape[0] / slot.Target.shape[1]))).ToScalar();
            slot.Target.add_(slot.Tall ? step.transpose(0, 1) : step, move);
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

        /// <summary>Whether AdamW lets it decay: matrices and tables, but no bias, of whatever shape (those of Transformer-XL are [heads, size]).</summary>
        public bool Decays => Target.dim() >= 2 && !Name.EndsWith("bias", StringComparison.Ordinal);

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
                Sum.add_(gradient, KeptScalars.One);
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
