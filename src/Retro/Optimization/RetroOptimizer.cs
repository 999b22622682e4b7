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
/// <para>Of a parameter in bfloat16, whose eight bits swallow every step below a 256th of a weight, the optimizer keeps a float32 copy: gradients are summed
/// and averaged in float32, the step moves the copy, and the parameter becomes the copy rounded (Micikevicius et al., arXiv 1710.03740). Muon's products alone
/// are in bfloat16.</para>
/// </remarks>
public sealed class RetroOptimizer : ITrainingOptimizer
{
    private readonly List<OptimizerSlot> _slots = [];

    /// <summary>Creates the optimizer over the parameters of a module.</summary>
    /// <remarks>
    /// Muon moves the matrices of a <see cref="RetroModel"/>'s branches; of branches of one's own and of any other module, what has two dimensions and is
    /// neither an embedding nor a bias.
    /// </remarks>
    /// <param name="module">The module; it stays the caller's.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    /// <exception cref="TrainingException">No parameter can be trained.</exception>
    public RetroOptimizer(nn.Module module, RetroOptimizerOptions? options = null)
        : this(module, options, null)
    {
    }

    /// <summary>The same, with the float32 values of bfloat16 parameters where they are known; they are copied.</summary>
    internal RetroOptimizer(nn.Module module, RetroOptimizerOptions? options, IReadOnlyDictionary<string, Tensor>? masters)
        : this(ParameterKinds.Of(module), options, masters)
    {
    }

    internal RetroOptimizer(
        IEnumerable<(string Name, Parameter Parameter, ParameterKind Kind)> parameters,
        RetroOptimizerOptions? options = null,
        IReadOnlyDictionary<string, Tensor>? masters = null,
        Func<Parameter, OptimizerKind>? kinds = null)
    {
        Options = (options ?? new RetroOptimizerOptions()).Validate();
        HashSet<nint> seen = [];
        foreach ((string name, Parameter parameter, ParameterKind kind) in parameters)
        {
            // Tied tensors are one parameter with two names.
            if (parameter.requires_grad && seen.Add(parameter.Handle))
            {
                // The rows of an embedding and of the head are looked up one by one: they are lists of vectors, no maps.
                bool muon = (kinds?.Invoke(parameter) ?? Options.Kind) == OptimizerKind.Muon && kind == ParameterKind.Matrix && parameter.dim() == 2;
                _slots.Add(new(name, parameter, kind, muon, masters?.GetValueOrDefault(name)));
            }
        }

        if (_slots.Count == 0)
        {
            throw new TrainingException("Every parameter is frozen, so there is nothing to train; set requires_grad on those to be trained.");
        }
    }

    /// <summary>The settings.</summary>
    public RetroOptimizerOptions Options { get; }

    /// <summary>
    /// The operator that moves the parameters in float32 by AdamW, all at once; where it is not available, and for other types and layouts, single operators
    /// do.
    /// </summary>
    internal AtenOperator FusedAdamW { get; init; } = AdamW.Fused;

    /// <summary>The names of the parameters in the optimizer.</summary>
    public IEnumerable<string> ParameterNames => _slots.Select(slot => slot.Name);

    /// <summary>The parameters that Muon moves.</summary>
    public IEnumerable<string> MuonNames => _slots.Where(slot => slot.Second is null).Select(slot => slot.Name);

    /// <summary>
    /// Takes the gradients of bfloat16 parameters over into float32 sums, so that the next batch's are not added to them in bfloat16. To be called after each
    /// backward pass of a step, the last of which <see cref="Step"/> takes care of; gradients of other parameters stay where they are, and libtorch adds to
    /// them.
    /// </summary>
    public void Accumulate()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        foreach (OptimizerSlot slot in _slots.Where(slot => slot.Master is not null))
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
        List<(OptimizerSlot Slot, Tensor Gradient)> present = [];
        foreach (OptimizerSlot slot in _slots)
        {
            if (slot.Master is not null)
            {
                slot.Accumulate();
            }

            if (slot.Gradient is { } gradient)
            {
                present.Add((slot, gradient));
            }
        }

        double norm = Gradients.Norm([.. present.Select(pair => pair.Gradient)]);
        if (double.IsFinite(norm))
        {
            double clip = Gradients.Clip(norm, Options.ClipNorm);
            new AdamW(Options, FusedAdamW).Move(present.Where(pair => pair.Slot.Second is not null), rate, clip);
            Muon.Move([.. present.Where(pair => pair.Slot.Second is null)], Options, muonRate, clip);
            foreach ((OptimizerSlot slot, _) in present)
            {
                slot.Round();
            }
        }

        ClearGradients();
        return norm;
    }

    /// <summary>The parameters in the optimizer, in the order of <see cref="ParameterNames"/>.</summary>
    IList<Tensor> ITrainingOptimizer.Parameters => [.. _slots.Select(slot => slot.Parameter)];

    /// <summary>Adds to each parameter's gradient, or to its float32 sum.</summary>
    /// <param name="gradients">One per parameter; an invalid one adds nothing. They are taken over.</param>
    void ITrainingOptimizer.AddGradients(IList<Tensor?> gradients)
    {
        using IDisposable noGradients = no_grad();
        for (int i = 0; i < _slots.Count; i++)
        {
            if (gradients[i] is not { IsInvalid: false } gradient)
            {
                continue;
            }

            if (_slots[i].Master is not null)
            {
                _slots[i].Add(gradient);
            }
            else
            {
                Gradients.Add(_slots[i].Parameter, gradient);
            }

            gradient.Dispose();
        }
    }

    /// <summary>Clears the gradients.</summary>
    public void ClearGradients()
    {
        foreach (OptimizerSlot slot in _slots)
        {
            slot.ClearGradient();
        }
    }

    /// <summary>Sets which part of the learning rate some parameters take.</summary>
    /// <param name="which">Tells the parameters.</param>
    /// <param name="share">The part, above 0.</param>
    internal void SetRateShare(Func<Parameter, bool> which, double share)
    {
        foreach (OptimizerSlot slot in _slots.Where(slot => which(slot.Parameter)))
        {
            slot.RateShare = share;
        }
    }

    /// <summary>The optimizer's memory, for a checkpoint.</summary>
    /// <returns>Tensors by "NAME/mean", for AdamW "NAME/square", and for bfloat16 parameters "NAME/master", the float32 copy. They stay the optimizer's
    /// own.</returns>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        Dictionary<string, Tensor> state = [];
        foreach (OptimizerSlot slot in _slots)
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

    /// <summary>
    /// Takes over the memory of an optimizer over the same parameters. Bfloat16 parameters become their float32 copies rounded; others stay as they are.
    /// </summary>
    /// <param name="state">What <see cref="State"/> gave; copied.</param>
    /// <param name="steps">What <see cref="StepCounts"/> gave.</param>
    /// <exception cref="CheckpointException">The state is of other parameters or of another kind of optimizer.</exception>
    public void LoadState(IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(steps);
        IReadOnlyDictionary<string, Tensor> own = State();
        string[] missing = [
            .. own.Keys.Where(name => !state.ContainsKey(name)), .. StepCounts().Keys.Where(name => !steps.ContainsKey(name)).Select(name => name + " (steps)")
        ];
        string[] surplus = [.. state.Keys.Where(name => !own.ContainsKey(name))];
        if (missing.Length > 0 || surplus.Length > 0)
        {
            throw new CheckpointException(
                $"The optimizer state is of another model or optimizer: {missing.Length} tensors are missing ({Some(missing)}), {surplus.Length} are "
                    + $"surplus ({Some(surplus)}). Resume with the options of the first run.");
        }

        foreach ((string name, Tensor tensor) in own)
        {
            if (!tensor.shape.SequenceEqual(state[name].shape) || tensor.dtype != state[name].dtype)
            {
                throw new CheckpointException(
                    $"The optimizer state {name} is {state[name].dtype} [{string.Join(", ", state[name].shape)}]; expected {tensor.dtype} "
                        + $"[{string.Join(", ", tensor.shape)}].");
            }
        }

        using IDisposable noGradients = no_grad();
        foreach ((string name, Tensor tensor) in own)
        {
            tensor.copy_(state[name]);
        }

        foreach (OptimizerSlot slot in _slots)
        {
            slot.Steps = steps[slot.Name];
            slot.Round();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (OptimizerSlot slot in _slots)
        {
            slot.Dispose();
        }
    }

    private static string Some(string[] names) => names.Length == 0 ? "none" : string.Join(", ", names.Take(3)) + (names.Length > 3 ? ", ..." : "");
}
