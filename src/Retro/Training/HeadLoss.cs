using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>
/// The loss of a batch and its gradients, from the logits of its targets alone and of some of them at a time: their gradient, softmax minus the target, takes
/// their place at once. Autograd would keep several tensors as large as all logits.
/// </summary>
internal static class HeadLoss
{
    // Most bytes of logits at a time, in float32; those of one target are made in any case. On a processor slices that are soon read again are the fastest; an
    // accelerator's products want many rows, and each slice of a trained head costs a pass over its gradient.
    private const long MostBytes = 64 << 20, MostBytesOfAccelerator = 1 << 30;

    /// <summary>Computes it.</summary>
    /// <param name="model">The model.</param>
    /// <param name="normed">[B, T, D], the last states, normed.</param>
    /// <param name="targets">The batch's targets, one at least.</param>
    /// <param name="share">What the gradients are multiplied with.</param>
    /// <param name="mostBytes">Most bytes of logits at a time; null: what suits the device.</param>
    /// <returns>The mean loss of the targets, a scalar of float64; and of what it depends on, the states and the head's matrix where it is trained, each with
    /// its gradient, for <see cref="autograd.grad"/>. They are the current scope's.</returns>
    public static (Tensor Loss, (Tensor Output, Tensor Gradient)[] Outputs) Of(
        RetroModel model, Tensor normed, BatchTargets targets, double share, long? mostBytes = null)
    {
        if (model.IsHeadHooked)
        {
            return ByAutograd(model, normed, targets, share);
        }

        long most = mostBytes ?? (normed.device_type == DeviceType.CPU ? MostBytes : MostBytesOfAccelerator);
        (Tensor loss, Tensor ofStates, Tensor? ofHead) = Gradients(model, normed, targets, share, most);
        return (loss, ofHead is null ? [(normed, ofStates)] : [(normed, ofStates), (model.HeadWeight.alias(), ofHead)]);
    }

    // A hook on the head has a derivative of its own.
    private static (Tensor Loss, (Tensor Output, Tensor Gradient)[] Outputs) ByAutograd(RetroModel model, Tensor normed, BatchTargets targets, double share)
    {
        Tensor states = normed.reshape(-1, normed.shape[^1]).index_select(0, targets.Places);
        Tensor sum = nn.functional.cross_entropy(Precision.AtLeastFloat32(model.Head(states)), targets.Tokens, reduction: nn.Reduction.Sum);
        Tensor gradient = zeros_like(sum).Plus(share / targets.Count);
        return (sum.detach().to_type(ScalarType.Float64).Times(1.0 / targets.Count), [(sum, gradient)]);
    }

    private static (Tensor Loss, Tensor OfStates, Tensor? OfHead) Gradients(
        RetroModel model, Tensor normed, BatchTargets targets, double share, long mostBytes)
    {
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        Tensor head = model.HeadWeight, all = normed.detach().reshape(-1, normed.shape[^1]);
        Tensor states = all.index_select(0, targets.Places); // [N, D]
        long slice = Math.Min(targets.Count, model.HeadSlice(mostBytes));
        // One for all slices: memory of this size comes as fresh pages whenever it is asked for, which may take longer than the products.
        Tensor buffer = empty([slice, head.shape[0]], states.dtype, states.device);
        Tensor? ofHead = null;
        List<Tensor> ofStates = [];
        Tensor sum = zeros([], ScalarType.Float64, states.device);
        for (long start = 0; start < targets.Count; start += slice)
        {
            using DisposeScope inner = NewDisposeScope();
            long size = Math.Min(slice, targets.Count - start);
            Tensor read = states.narrow(0, start, size), logits = buffer.narrow(0, 0, size).addmm_(read, head.t(), beta: 0, alpha: 1); // [n, V]
            (Tensor loss, Tensor gradient) = SoftmaxGradient.Of(logits, targets.Tokens.narrow(0, start, size), share / targets.Count);
            sum.AddInPlace(loss);
            ofStates.Add(gradient.mm(head).MoveToOuterDisposeScope());
            if (!head.requires_grad)
            {
                continue;
            }

            // Of one slice as it comes; of several, summed in float32, as batches are.
            if (ofHead is not null && ofHead.dtype == gradient.dtype)
            {
                ofHead.addmm_(gradient.t(), read, beta: 1, alpha: 1);
                continue;
            }

            Tensor more = gradient.t().mm(read);
            ofHead = slice == targets.Count ? more.MoveToOuterDisposeScope()
                : ofHead?.AddInPlace(Precision.AtLeastFloat32(more)) ?? Precision.AtLeastFloat32(more).MoveToOuterDisposeScope();
        }

        Tensor given = zeros_like(all).index_copy_(0, targets.Places, ofStates.Count == 1 ? ofStates[0] : cat(ofStates));
        return (
            sum.Times(1.0 / targets.Count).MoveToOuterDisposeScope(),
            given.view(normed.shape).MoveToOuterDisposeScope(),
            ofHead?.to_type(head.dtype).MoveToOuterDisposeScope());
    }
}
