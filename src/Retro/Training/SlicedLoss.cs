using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>
/// The loss of a batch and its gradients where the logits of all tokens would take much memory: those of some tokens at a time, whose gradient, softmax minus
/// the target, takes their place at once.
/// </summary>
internal static class SlicedLoss
{
    /// <summary>Most bytes of logits at a time, in float32; those of one token are made in any case.</summary>
    private const long MostBytes = 64 << 20;

    /// <summary>Whether a batch of tokens has more logits than are made at a time.</summary>
    public static bool IsNeeded(RetroModel model, Tensor tokens) => tokens.numel() > model.HeadSlice(MostBytes);

    /// <summary>Computes it.</summary>
    /// <param name="model">The model.</param>
    /// <param name="normed">[B, T, D], the last states, normed.</param>
    /// <param name="targets">[B, T] of int64, such as <see cref="LogLikelihood.Targets"/> gives.</param>
    /// <param name="share">What the gradients are multiplied with.</param>
    /// <param name="mostBytes">Most bytes of logits at a time.</param>
    /// <returns>The mean loss of the targets; its gradient of <paramref name="normed"/>; and of the head's matrix, null where it is frozen.</returns>
    public static (double Loss, Tensor OfStates, Tensor? OfHead) Of(
        RetroModel model, Tensor normed, Tensor targets, double share, long mostBytes = MostBytes)
    {
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        Tensor head = model.HeadWeight, states = normed.detach().reshape(-1, normed.shape[^1]), wanted = targets.reshape(-1);
        Tensor counted = wanted.ne(KeptScalars.NoTarget);
        long tokens = states.shape[0], slice = model.HeadSlice(mostBytes);
        double count = counted.sum(ScalarType.Int64).item<long>();
        Tensor? ofHead = null;
        List<Tensor> ofStates = [];
        Tensor sum = zeros([], ScalarType.Float64, states.device);
        for (long start = 0; start < tokens; start += slice)
        {
            using DisposeScope inner = NewDisposeScope();
            long size = Math.Min(slice, tokens - start);
            Tensor read = states.narrow(0, start, size), counts = counted.narrow(0, start, size).unsqueeze(-1);
            Tensor logits = Precision.AtLeastFloat32(model.Head(read)); // [n, V]
            Tensor target = wanted.narrow(0, start, size).unsqueeze(-1).clamp_min(KeptScalars.Zero), normalizer = logits.logsumexp(-1, keepdim: true);
            sum.AddInPlace((normalizer - logits.gather(1, target)).mul(counts).sum(ScalarType.Float64));

            // In place, so that there is one tensor of this size and no more.
            Tensor gradient = logits.sub_(normalizer).exp_();
            gradient.scatter_add_(1, target, ones_like(target, gradient.dtype).neg());
            gradient.mul_(counts.to_type(gradient.dtype).Times(share / count));
            gradient = gradient.to_type(head.dtype);
            ofStates.Add(gradient.mm(head).MoveToOuterDisposeScope());
            if (head.requires_grad)
            {
                Tensor more = Precision.AtLeastFloat32(gradient.t().mm(read)); // summed in float32, as batches are
                ofHead = ofHead?.AddInPlace(more) ?? more.MoveToOuterDisposeScope();
            }
        }

        return (
            sum.item<double>() / count,
            cat(ofStates).view(normed.shape).MoveToOuterDisposeScope(),
            ofHead?.to_type(head.dtype).MoveToOuterDisposeScope());
    }

    /// <summary>What <see cref="Of"/> gave, for <see cref="autograd.grad"/>.</summary>
    public static (Tensor Output, Tensor Gradient)[] Outputs(RetroModel model, Tensor normed, Tensor ofStates, Tensor? ofHead)
        => ofHead is null ? [(normed, ofStates)] : [(normed, ofStates), (model.HeadWeight.alias(), ofHead)];
}
