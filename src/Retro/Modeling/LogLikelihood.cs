using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Log-likelihood, per token and in nats, of a target given its context and what was retrieved: what training, evaluation and the choice between readers are
/// written on. It is taken in float32 where the logits are narrower.
/// </summary>
public static class LogLikelihood
{
    /// <summary>The target that stands for none; no other number outside of the vocabulary does.</summary>
    public const long NoTarget = -100;

    /// <summary>What each position has to predict: the token after it.</summary>
    /// <param name="tokens">Token ids, int64 [B, T].</param>
    /// <param name="mask">Which tokens count as targets, bool [B, T]; null: all. The first token of a row never is one.</param>
    /// <returns>int64 [B, T]: at p the token at p + 1, <see cref="NoTarget"/> where that one does not count and at the row's end.</returns>
    /// <exception cref="ShapeException">The shapes do not fit, or rows have no tokens.</exception>
    /// <exception cref="ArgumentException">An argument has another type.</exception>
    public static Tensor Targets(Tensor tokens, Tensor? mask = null)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        Guard.Shape(tokens, "[B, T]", [null, null]);
        Guard.Type(tokens, nameof(tokens), ScalarType.Int64);
        if (tokens.shape[1] == 0)
        {
            throw new ShapeException(nameof(tokens), "[B, T] with at least one token", tokens.shape);
        }

        if (mask is not null)
        {
            Guard.Shape(mask, "[B, T]", [tokens.shape[0], tokens.shape[1]]);
            Guard.Type(mask, nameof(mask), ScalarType.Bool);
        }

        using DisposeScope scope = NewDisposeScope();
        using Scalar none = NoTarget.ToScalar();
        Tensor counted = mask is null ? tokens : tokens.masked_fill(mask.logical_not(), none);
        return cat(
            [counted.narrow(1, 1, tokens.shape[1] - 1), full([tokens.shape[0], 1], none, ScalarType.Int64, tokens.device)],
            1).MoveToOuterDisposeScope(); // [B, T]
    }

    /// <summary>The log-likelihood of each target.</summary>
    /// <param name="logits">[B, T, V].</param>
    /// <param name="targets">int64 [B, T], such as <see cref="Targets"/> gives; <see cref="NoTarget"/> for none.</param>
    /// <returns>[B, T], at most 0; 0 where there is no target.</returns>
    /// <remarks>
    /// Targets on the processor are looked at. Elsewhere they are not, as that would wait for the device: there one that is neither in the vocabulary nor
    /// <see cref="NoTarget"/> is a fault of the device, after which the process may not be able to use it any more.
    /// </remarks>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="ArgumentException">The targets have another type, or one of them, on the processor, is no id of the vocabulary.</exception>
    public static Tensor Of(Tensor logits, Tensor targets)
    {
        Check(logits, targets);
        using DisposeScope scope = NewDisposeScope();
        return CrossEntropy(logits, targets, nn.Reduction.None).neg().view(targets.shape).MoveToOuterDisposeScope(); // [B, T]
    }

    /// <summary>The log-likelihood of each token of a text under a model, given the tokens before it and what was retrieved for the chunks before.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokens">Token ids, int64 [B, T].</param>
    /// <param name="neighbors">Retrieved token ids, int64 [B, C, K, R]; null: retrieval off.</param>
    /// <param name="valid">Which retrieved tokens hold something, bool [B, C, K, R]; null: all.</param>
    /// <param name="mask">Which tokens count as targets, bool [B, T]; null: all. The first token of a row never is one.</param>
    /// <returns>[B, T]: at p the log-likelihood of the token at p + 1; 0 where that one does not count and at the row's end.</returns>
    public static Tensor Of(RetroModel model, Tensor tokens, Tensor? neighbors = null, Tensor? valid = null, Tensor? mask = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        using DisposeScope scope = NewDisposeScope();
        return Of(model.call(tokens, neighbors, valid), Targets(tokens, mask)).MoveToOuterDisposeScope();
    }

    /// <summary>The mean cross entropy of the targets: minus their mean log-likelihood, which is the loss of a language model.</summary>
    /// <param name="logits">[B, T, V].</param>
    /// <param name="targets">int64 [B, T], such as <see cref="Targets"/> gives; <see cref="NoTarget"/> for none.</param>
    /// <returns>A scalar; not a number where there is no target.</returns>
    /// <remarks>Of targets that are not on the processor holds what <see cref="Of(Tensor, Tensor)"/> says.</remarks>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="ArgumentException">The targets have another type, or one of them, on the processor, is no id of the vocabulary.</exception>
    public static Tensor MeanLoss(Tensor logits, Tensor targets)
    {
        Check(logits, targets);
        using DisposeScope scope = NewDisposeScope();
        return CrossEntropy(logits, targets, nn.Reduction.Mean).MoveToOuterDisposeScope();
    }

    private static void Check(Tensor logits, Tensor targets)
    {
        Guard.Shape(logits, "[B, T, V]", [null, null, null]);
        Guard.Shape(targets, "[B, T]", [logits.shape[0], logits.shape[1]]);
        Guard.Type(targets, nameof(targets), ScalarType.Int64);
        if (targets.device_type != DeviceType.CPU || targets.numel() == 0)
        {
            return;
        }

        using DisposeScope scope = NewDisposeScope();
        long vocabulary = logits.shape[2];
        foreach (long target in MemoryMarshal.Cast<byte, long>(targets.contiguous().bytes))
        {
            if ((target < 0 || target >= vocabulary) && target != NoTarget)
            {
                throw new ArgumentException(
                    $"Targets have to lie in [0, {vocabulary}), the vocabulary, or to be {NoTarget} where there is none; one of them is {target}.",
                    nameof(targets));
            }
        }
    }

    private static Tensor CrossEntropy(Tensor logits, Tensor targets, nn.Reduction reduction)
        => nn.functional.cross_entropy(
            Precision.AtLeastFloat32(logits.reshape(-1, logits.shape[2])), targets.reshape(-1), ignore_index: NoTarget, reduction: reduction);
}
