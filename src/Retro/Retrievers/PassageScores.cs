using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>What every objective does with its arguments: which passages there are, and the distribution that scores make over them, in logarithms.</summary>
internal static class PassageScores
{
    /// <summary>The passages that are missing: those that are not present, and those with a score of −∞, to which a softmax gives nothing.</summary>
    /// <param name="scores">[B, K].</param>
    /// <param name="present">bool [B, K]; null: all.</param>
    /// <returns>bool [B, K].</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="TrainingException">A score that counts is +∞ or not a number, or a row has no passage.</exception>
    public static Tensor Absent(Tensor scores, Tensor? present)
    {
        Guard.Shape(scores, "[B, K]", [null, null]);
        if (present is not null)
        {
            Guard.Shape(present, "[B, K]", [scores.shape[0], scores.shape[1]]);
        }

        using DisposeScope scope = NewDisposeScope();
        Tensor values = scores.detach(), absent = isneginf(values);
        absent = present is null ? absent : absent.logical_or(present.logical_not());
        Tensor faulty = isnan(values).logical_or(isposinf(values)).logical_and(absent.logical_not());
        RequireNone(
            faulty.any(1),
            "has a passage whose score is +∞ or not a number; expected finite scores, and −∞ for what is to be left out. Look at the retriever and at "
                + "the temperature.");
        RequireNone(
            absent.all(1),
            "has no passage, so that no distribution over passages can be; leave such rows out, or give them a null document.");
        return absent.MoveToOuterDisposeScope();
    }

    /// <summary>The logarithm of the softmax over the passages that there are; −∞ at the others, and no gradient to them.</summary>
    /// <returns>[B, K], in float32 at least.</returns>
    public static Tensor LogSoftmax(Tensor scores, Tensor absent)
    {
        using DisposeScope scope = NewDisposeScope();
        return Precision.AtLeastFloat32(scores).FilledWhere(absent, double.NegativeInfinity).log_softmax(1).MoveToOuterDisposeScope();
    }

    /// <summary>Checks the shape of log-likelihoods, and gives 0 for missing passages, whatever stood there.</summary>
    /// <param name="likelihoods">[B, K], or [B, K, T] where <paramref name="perToken"/> allows it.</param>
    /// <param name="absent">bool [B, K].</param>
    /// <param name="perToken">Whether there may be one for each token.</param>
    public static Tensor Likelihoods(Tensor likelihoods, Tensor absent, bool perToken = false)
    {
        ArgumentNullException.ThrowIfNull(likelihoods);
        bool tokens = perToken && likelihoods.dim() == 3;
        Guard.Shape(
            likelihoods,
            tokens ? "[B, K, T]" : "[B, K]",
            tokens ? [absent.shape[0], absent.shape[1], null] : [absent.shape[0], absent.shape[1]]);
        using DisposeScope scope = NewDisposeScope();
        return Precision.AtLeastFloat32(likelihoods).FilledWhere(tokens ? absent.unsqueeze(2) : absent, 0).MoveToOuterDisposeScope();
    }

    /// <summary>Refuses a loss that is no number.</summary>
    /// <param name="loss">[B].</param>
    /// <returns>The loss.</returns>
    /// <exception cref="TrainingException">It is not finite.</exception>
    public static Tensor RequireFinite(Tensor loss)
    {
        using DisposeScope scope = NewDisposeScope();
        RequireNone(
            loss.detach().isfinite().logical_not(),
            "has no finite loss: the reader gives its target no probability, or log-likelihoods that are not numbers, with the passages that count. Leave the "
                + "row out, or look at the reader.");
        return loss;
    }

    private static void RequireNone(Tensor rows, string fault)
    {
        using Tensor faulty = rows.nonzero(); // [n, 1]
        if (faulty.shape[0] > 0)
        {
            using Tensor first = faulty.select(0, 0).select(0, 0).cpu();
            throw new TrainingException($"Row {first.item<long>()} of {rows.shape[0]} {fault}");
        }
    }
}
