using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>What the trainer needs of whatever moves the parameters.</summary>
internal interface ITrainingOptimizer : IDisposable
{
    /// <summary>The names of the parameters in it.</summary>
    IEnumerable<string> ParameterNames { get; }

    /// <summary>The parameters, in the order of their names.</summary>
    IList<Tensor> Parameters { get; }

    /// <summary>What a step moves of each parameter: the float32 copy of which it is a rounding, where every process has all copies; else itself.</summary>
    IEnumerable<Tensor> Moved { get; }

    /// <summary>The gradient of each parameter as it is summed; null where it has none. Changes of the tensors count.</summary>
    IList<Tensor?> GradientSums { get; }

    /// <summary>The process that moves each parameter, where each process moves a share of them; null: this one moves all.</summary>
    IReadOnlyList<int>? Owners { get; }

    /// <summary>Takes over the gradients of one backward pass of several.</summary>
    void Accumulate();

    /// <summary>Adds gradients, one per parameter; null or an invalid one adds nothing. They are taken over.</summary>
    void AddGradients(IList<Tensor?> gradients);

    /// <summary>Forgets the gradient of one parameter.</summary>
    /// <param name="parameter">Its number in <see cref="Parameters"/>.</param>
    void ClearGradient(int parameter);

    /// <summary>Forgets the gradients.</summary>
    void ClearGradients();

    /// <summary>Moves every parameter that has a gradient, and clears the gradients.</summary>
    /// <param name="rate">The learning rate; Muon's own is <paramref name="muonRate"/>.</param>
    /// <param name="muonRate">Muon's learning rate.</param>
    /// <param name="loss">The step's loss, a scalar on the parameters' device, which is read with the norm.</param>
    /// <returns>The norm of all gradients before clipping, where which is not finite nothing was moved; and the loss.</returns>
    (double Norm, double Loss) Step(double rate, double muonRate, Tensor loss);

    /// <summary>
    /// Its memory, for a checkpoint; the tensors stay its own. Where each process has a share, all of them ask for it, and the first one gets it whole.
    /// </summary>
    /// <exception cref="CheckpointException">It has a memory that cannot be stored.</exception>
    IReadOnlyDictionary<string, Tensor> State();

    /// <summary>How often each parameter was moved, where that is no part of <see cref="State"/>.</summary>
    IReadOnlyDictionary<string, long> StepCounts();

    /// <summary>Makes sure that what <see cref="State"/> and <see cref="StepCounts"/> gave fits.</summary>
    /// <returns>Takes it over.</returns>
    /// <exception cref="CheckpointException">It is of other parameters or another optimizer.</exception>
    Action Loading(IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps);
}
