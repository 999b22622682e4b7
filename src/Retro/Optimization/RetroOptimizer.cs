using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>AdamW, or Muon for the matrices of the layers and AdamW for the rest, with clipping by the global norm.</summary>
/// <remarks>
/// <para>AdamW: m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²; w ← w - lr·decay·w - lr·(m/(1-β₁ᵗ))/(√(v/(1-β₂ᵗ)) + ε) (Loshchilov and Hutter, arXiv 1711.05101).</para>
/// <para>Muon: m ← µm + (1-µ)g; u = orthogonalize((1-µ)g + µm); w ← w - lr·√max(1, rows/columns)·u (Keller Jordan, kellerjordan.github.io/posts/muon).</para>
/// <para>Parameters that are frozen (requires_grad false) when the optimizer is made are not in it. A parameter without a gradient, such as
/// chunked cross-attention in a batch without neighbors, is left as it is in that step.</para>
/// <para>Of a parameter in bfloat16, whose eight bits swallow every step below a 256th of a weight, the optimizer keeps a float32 copy: gradients are summed
/// and averaged in float32, the step moves the copy, and the parameter becomes the copy rounded (Micikevicius et al., arXiv 1710.03740). Muon's products alone
/// are in bfloat16, as they are for large matrices in float32 where the device multiplies them faster.</para>
/// </remarks>
public sealed class RetroOptimizer : ITrainingOptimizer
{
    private readonly List<OptimizerSlot> _slots = [];
    private readonly IGradientExchange? _exchange;
    private readonly int[]? _owners;
    private bool? _multipliesBFloat16;
    private bool _isDisposed;

    /// <summary>Creates the optimizer over the parameters of a module.</summary>
    /// <remarks>
    /// Muon moves the matrices of a <see cref="RetroModel"/>'s branches; of custom branches and of any other module, what has two dimensions and is
    /// neither an embedding nor a bias.
    /// </remarks>
    /// <param name="module">The module; it stays the caller's.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    /// <exception cref="TrainingException">Every parameter is frozen, or one that is not is of a type that cannot be trained, such as float16.</exception>
    /// <exception cref="ObjectDisposedException">The module is a <see cref="RetroModel"/> that was disposed.</exception>
    public RetroOptimizer(nn.Module module, RetroOptimizerOptions? options = null)
        : this(module, options, null)
    {
    }

    /// <summary>The same, with the float32 values of bfloat16 parameters where they are known; they are copied.</summary>
    internal RetroOptimizer(nn.Module module, RetroOptimizerOptions? options, IReadOnlyDictionary<string, Tensor>? masters)
        : this(ParameterKinds.Of((module as RetroModel)?.Undisposed ?? module), options, masters)
    {
    }

    /// <summary>The same over parameters of any kind.</summary>
    /// <param name="parameters">The parameters.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="masters">The float32 values of bfloat16 parameters where they are known; they are copied.</param>
    /// <param name="exchange">Processes that move the same parameters; null: this one is alone.</param>
    /// <param name="shares">
    /// Whether each of them remembers and moves a share of the parameters and gives them to the others (stage 1 of ZeRO; Rajbhandari et al., arXiv 1910.02054).
    /// </param>
    internal RetroOptimizer(
        IEnumerable<(string Name, Parameter Parameter, ParameterKind Kind)> parameters,
        RetroOptimizerOptions? options = null,
        IReadOnlyDictionary<string, Tensor>? masters = null,
        IGradientExchange? exchange = null,
        bool shares = false)
    {
        Options = (options ?? new RetroOptimizerOptions()).Validate();
        HashSet<nint> seen = [];
        // Tied tensors are one parameter with two names.
        (string Name, Parameter Parameter, ParameterKind Kind)[] trained = [.. parameters
            .Where(one => one.Parameter.requires_grad && seen.Add(one.Parameter.Handle))];
        _exchange = exchange;
        _owners = exchange is null || !shares ? null : Share([.. trained.Select(one => one.Parameter.numel())], exchange.Size);
        for (int i = 0; i < trained.Length; i++)
        {
            (string name, Parameter parameter, ParameterKind kind) = trained[i];
            TrainedParameters.RequireType(name, parameter.dtype);
            // The rows of an embedding and of the head are looked up one by one: they are lists of vectors, no maps.
            bool muon = Options.Kind == OptimizerKind.Muon && kind == ParameterKind.Matrix && parameter.dim() == 2;
            _slots.Add(new(name, parameter, kind, muon, masters?.GetValueOrDefault(name), _owners is null || _owners[i] == exchange!.Rank));
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

    /// <summary>
    /// Whether this process multiplies bfloat16 faster than float32. Of several processes all have to: they would move the same matrices by other products.
    /// Null: its device says so.
    /// </summary>
    internal bool? MultipliesBFloat16 { get; init; }

    /// <summary>The names of the parameters in the optimizer.</summary>
    public IEnumerable<string> ParameterNames => _slots.Select(slot => slot.Name);

    /// <summary>The parameters that Muon moves.</summary>
    internal IEnumerable<string> MuonNames => _slots.Where(slot => slot.IsMuon).Select(slot => slot.Name);

    /// <summary>
    /// Takes the gradients of bfloat16 parameters over into float32 sums, so that the next batch's are not added to them in bfloat16. To be called after each
    /// backward pass of a step, the last of which <see cref="Step"/> takes care of; gradients of other parameters stay where they are, and libtorch adds to
    /// them.
    /// </summary>
    /// <exception cref="InvalidOperationException">The module was cast or moved after the optimizer was made.</exception>
    public void Accumulate()
    {
        RequireParameters();
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        foreach (OptimizerSlot slot in _slots.Where(slot => slot.SumsApart))
        {
            slot.Accumulate();
        }
    }

    /// <summary>Moves every parameter that has a gradient, and clears the gradients.</summary>
    /// <param name="rate">AdamW's learning rate.</param>
    /// <param name="muonRate">Muon's learning rate; not read without Muon, and required with it.</param>
    /// <returns>The norm of all gradients together before clipping. Where it is not finite, no parameter has been moved.</returns>
    /// <exception cref="ArgumentException">There is no rate for what Muon moves.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A rate is negative or not finite.</exception>
    /// <exception cref="InvalidOperationException">The module was cast or moved after the optimizer was made.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer was disposed.</exception>
    public double Step(double rate, double? muonRate = null) => StepWith(rate, muonRate, null).Norm;

    (double Norm, double Loss) ITrainingOptimizer.Step(double rate, double muonRate, Tensor loss) => StepWith(rate, muonRate, loss);

    /// <summary>The same, which reads the step's loss with the norm, so that an accelerator is waited for once.</summary>
    internal (double Norm, double Loss) StepWith(double rate, double? muonRate, Tensor? loss)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        RequireParameters();
        RequireRate(rate, nameof(rate));
        if (_slots.Any(slot => slot.IsMuon))
        {
            RequireRate(
                muonRate ?? throw new ArgumentException("Muon moves the matrices of the layers and has a learning rate of its own; give it.", nameof(muonRate)),
                nameof(muonRate));
        }

        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        try
        {
            List<(OptimizerSlot Slot, Tensor Gradient)> present = [];
            foreach (OptimizerSlot slot in _slots)
            {
                if (slot.SumsApart)
                {
                    slot.Accumulate();
                }

                if (slot.Gradient is { } gradient)
                {
                    present.Add((slot, gradient));
                }
            }

            (double norm, double value) = Gradients.Read(Norms(present), loss, _exchange);
            if (double.IsFinite(norm))
            {
                double clip = Gradients.Clip(norm, Options.ClipNorm);
                new AdamW(Options, FusedAdamW).Move(present.Where(pair => pair.Slot is { IsOwn: true, IsMuon: false }), rate, clip);
                if (present.Exists(pair => pair.Slot.IsMuon))
                {
                    bool bfloat16IsFaster = _multipliesBFloat16 ??= AllMultiplyBFloat16();
                    Muon.Move([.. present.Where(pair => pair.Slot is { IsOwn: true, IsMuon: true })], Options, muonRate ?? 0, clip, bfloat16IsFaster);
                }

                foreach ((OptimizerSlot slot, _) in present)
                {
                    slot.Round();
                    slot.Steps += slot.IsOwn ? 0 : 1; // its owner has moved it
                }

                if (_owners is not null)
                {
                    new ExchangeBuckets(_exchange!).Broadcast(_slots.Zip(_owners)
                        .Where(pair => pair.First.Gradient is not null)
                        .Select(pair => ((Tensor)pair.First.Parameter, (int?)pair.Second)));
                }
            }

            return (norm, value);
        }
        finally
        {
            ClearGradients(); // where a step throws, too: the next one's would be added to them
        }
    }

    private void RequireParameters() => TrainedParameters.RequireThere(_slots.Select(slot => slot.Parameter), "optimizer");

    private static void RequireRate(double rate, string name)
    {
        if (!double.IsFinite(rate) || rate < 0)
        {
            throw new ArgumentOutOfRangeException(name, rate, "A learning rate is finite and not below 0.");
        }
    }

    /// <summary>The norm of each gradient. Other processes have the norms of those that they sum; zeros alone are added to each, so the bits stay.</summary>
    private Tensor[] Norms(List<(OptimizerSlot Slot, Tensor Gradient)> present)
    {
        Tensor[] own = [.. present.Select(pair => pair.Slot.IsOwn ? pair.Gradient.norm() : zeros([], pair.Gradient.dtype, pair.Gradient.device))];
        if (_owners is null || own.Length == 0)
        {
            return own;
        }

        Tensor norms = stack(own);
        _exchange!.Sum(norms);
        return norms.unbind();
    }

    private bool AllMultiplyBFloat16()
    {
        bool own = MultipliesBFloat16 ?? Precision.MultipliesBFloat16(_slots[0].Parameter.device);
        if (_exchange is null)
        {
            return own;
        }

        using Tensor others = tensor([own ? 0L : 1L], device: CPU);
        _exchange.Sum(others);
        return others.item<long>() == 0;
    }

    /// <summary>Shares parameters out so that each process has about as many numbers: the largest first, each to whoever has the least.</summary>
    private static int[] Share(long[] sizes, int processes)
    {
        long[] held = new long[processes];
        int[] owners = new int[sizes.Length];
        foreach (int i in Enumerable.Range(0, sizes.Length).OrderByDescending(i => sizes[i]))
        {
            owners[i] = Array.IndexOf(held, held.Min());
            held[owners[i]] += sizes[i];
        }

        return owners;
    }

    /// <summary>The parameters in the optimizer, in the order of <see cref="ParameterNames"/>.</summary>
    IList<Tensor> ITrainingOptimizer.Parameters => [.. _slots.Select(slot => slot.Parameter)];

    /// <inheritdoc/>
    IEnumerable<Tensor> ITrainingOptimizer.Moved => _slots.Select(slot => _owners is null ? slot.Target : slot.Parameter);

    /// <inheritdoc/>
    IList<Tensor?> ITrainingOptimizer.GradientSums => [.. _slots.Select(slot => slot.Gradient)];

    /// <inheritdoc/>
    IReadOnlyList<int>? ITrainingOptimizer.Owners => _owners;

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

            if (_slots[i].SumsApart)
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

    /// <inheritdoc/>
    void ITrainingOptimizer.ClearGradient(int parameter) => _slots[parameter].ClearGradient();

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
    /// <exception cref="ObjectDisposedException">The optimizer was disposed.</exception>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        Dictionary<string, Tensor> own = Own();
        if (_owners is null)
        {
            return own;
        }

        Dictionary<string, Tensor> state = [];
        foreach ((OptimizerSlot slot, int owner) in _slots.Zip(_owners))
        {
            foreach (string name in Names(slot))
            {
                // Only the first process keeps what it gets, and no longer than its caller's scope.
                Tensor tensor = slot.IsOwn ? own[name] : zeros(slot.Parameter.shape, StateType(slot), slot.Parameter.device);
                _exchange!.Broadcast(tensor, owner);
                if (_exchange.Rank == 0)
                {
                    // In the processor's memory: all together need not fit an accelerator's, which is what shares are for.
                    state.Add(name, slot.IsOwn || tensor.device_type == DeviceType.CPU ? tensor : tensor.cpu());
                }

                if (!slot.IsOwn && !(_exchange.Rank == 0 && tensor.device_type == DeviceType.CPU))
                {
                    tensor.Dispose();
                }
            }
        }

        return state;
    }

    private static ScalarType StateType(OptimizerSlot slot) => slot.SumsApart ? ScalarType.Float32 : slot.Parameter.dtype;

    /// <summary>What is remembered of a parameter, whoever does.</summary>
    private static IEnumerable<string> Names(OptimizerSlot slot)
    {
        yield return slot.Name + "/mean";
        if (!slot.IsMuon)
        {
            yield return slot.Name + "/square";
        }

        if (slot.SumsApart)
        {
            yield return slot.Name + "/master";
        }
    }

    private Dictionary<string, Tensor> Own()
    {
        Dictionary<string, Tensor> own = [];
        foreach (OptimizerSlot slot in _slots.Where(slot => slot.IsOwn))
        {
            own.Add(slot.Name + "/mean", slot.First);
            if (slot.Second is not null)
            {
                own.Add(slot.Name + "/square", slot.Second);
            }

            if (slot.Master is not null)
            {
                own.Add(slot.Name + "/master", slot.Master);
            }
        }

        return own;
    }

    /// <summary>How many times each parameter has been moved, for a checkpoint.</summary>
    /// <returns>Steps by parameter name.</returns>
    public IReadOnlyDictionary<string, long> StepCounts() => _slots.ToDictionary(slot => slot.Name, slot => slot.Steps);

    /// <summary>
    /// Takes over the memory of an optimizer over the same parameters. Bfloat16 parameters become their float32 copies rounded; others stay as they are.
    /// </summary>
    /// <param name="state">What <see cref="State"/> gave; copied.</param>
    /// <param name="steps">What <see cref="StepCounts"/> gave.</param>
    /// <exception cref="CheckpointException">The state is of other parameters or of another kind of optimizer, or counts below zero.</exception>
    /// <exception cref="InvalidOperationException">The module was cast or moved after the optimizer was made.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer was disposed.</exception>
    public void LoadState(IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps) => Loading(state, steps)();

    /// <inheritdoc/>
    Action ITrainingOptimizer.Loading(IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps) => Loading(state, steps);

    private Action Loading(IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(steps);
        RequireParameters();
        HashSet<string> expected = [.. _slots.SelectMany(Names)];
        string[] missing = [
            .. expected.Where(name => !state.ContainsKey(name)), .. StepCounts().Keys.Where(name => !steps.ContainsKey(name)).Select(name => name + " (steps)")
        ];
        string[] surplus = [.. state.Keys.Where(name => !expected.Contains(name))];
        if (missing.Length > 0 || surplus.Length > 0)
        {
            throw new CheckpointException(
                $"The optimizer state is of another model or optimizer: {missing.Length} tensors are missing ({Some(missing)}), {surplus.Length} are "
                    + $"surplus ({Some(surplus)}). Resume with the options of the first run.");
        }

        if (steps.FirstOrDefault(pair => pair.Value < 0) is { Key: { } below })
        {
            throw new CheckpointException($"The optimizer state has {below} moved {steps[below]} times; use another checkpoint.");
        }

        Dictionary<string, Tensor> own = Own();
        foreach ((string name, Tensor tensor) in own)
        {
            if (!tensor.shape.SequenceEqual(state[name].shape) || tensor.dtype != state[name].dtype)
            {
                throw new CheckpointException(
                    $"The optimizer state {name} is {state[name].dtype} [{string.Join(", ", state[name].shape)}]; expected {tensor.dtype} "
                        + $"[{string.Join(", ", tensor.shape)}].");
            }
        }

        return () =>
        {
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
        };
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _isDisposed = true;
        foreach (OptimizerSlot slot in _slots)
        {
            slot.Dispose();
        }
    }

    private static string Some(string[] names) => names.Length == 0 ? "none" : string.Join(", ", names.Take(3)) + (names.Length > 3 ? ", ..." : "");
}
