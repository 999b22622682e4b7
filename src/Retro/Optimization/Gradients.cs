using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>What every optimizer does with gradients before it moves anything.</summary>
internal static class Gradients
{
    // torch.nn.utils.clip_grad_norm_ divides by the norm plus this.
    private const double ClipEpsilon = 1e-6;

    /// <summary>
    /// Has gradients recorded on this thread until what is returned is disposed, whatever the caller has switched off: without a graph most weights would stay
    /// as they are, without a word.
    /// </summary>
    /// <exception cref="InvalidOperationException">Inference mode is on, in which nothing can be recorded.</exception>
    public static IDisposable Recorded()
        => is_inference_mode_enabled()
            ? throw new InvalidOperationException("Nothing is learned in inference mode; train outside of torch.inference_mode().")
            : enable_grad();

    /// <summary>The numbers of those parameters that a gradient can be asked of: some may have been frozen since the optimizer was made.</summary>
    /// <remarks>TorchSharp's grad ends the process where it is asked of another, as wherever libtorch throws in it.</remarks>
    public static int[] Asked(IList<Tensor> parameters) => [.. Enumerable.Range(0, parameters.Count).Where(i => parameters[i].requires_grad)];

    /// <summary>Reads the norm of all gradients together, and a loss beside it, so that an accelerator is waited for once.</summary>
    /// <param name="norms">The norm of each gradient.</param>
    /// <param name="loss">The loss, on the gradients' device; null: there is none to be read.</param>
    /// <param name="exchange">Processes that have the same, all of which get the first one's: what processors round differently would move their parameters
    /// apart. Null: there are none.</param>
    /// <returns>Both; 0 for what there is none of.</returns>
    public static (double Norm, double Loss) Read(IReadOnlyCollection<Tensor> norms, Tensor? loss, IGradientExchange? exchange = null)
    {
        Tensor? norm = norms.Count == 0 ? null : stack(norms).norm();
        Tensor[] present = [.. new[] { norm, loss }.OfType<Tensor>().Select(one => one.to_type(ScalarType.Float64))];
        if (present.Length == 0)
        {
            return (0, 0);
        }

        Tensor both = stack(present);
        exchange?.Broadcast(both, 0);
        double[] values = both.Doubles();
        return (norm is null ? 0 : values[0], loss is null ? 0 : values[^1]);
    }

    /// <summary>What gradients of a norm are multiplied by, so that it is at most the largest.</summary>
    public static double Clip(double norm, double largest) => Math.Min(1, largest / (norm + ClipEpsilon));

    /// <summary>Adds to a parameter's gradient; where it has none, the tensor is shared, and may be disposed.</summary>
    public static void Add(Parameter parameter, Tensor gradient)
    {
        if (parameter.grad is { } sum)
        {
            sum.add_(gradient, KeptScalars.One);
            sum.Dispose();
        }
        else
        {
            parameter.grad = gradient;
        }
    }
}
