using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <remarks>
/// The objectives with a second tower, the posterior q(z|x,y), which has read the target too. Both distributions are over the same passages: the union of what
/// the two towers found.
/// </remarks>
public static partial class RetrieverObjectives
{
    /// <summary>
    /// VRAG: minus the evidence lower bound, −Σ_z q(z|x,y) log p(y|x,z) + w·KL(q(z|x,y) || p(z|x)), the expectation exact and over the union of both towers'
    /// passages, where it bounds <see cref="Marginal"/> from above for w = 1 (Mishra et al., "Variational learning for unsupervised knowledge grounded
    /// dialogs", IJCAI 2022; the vrag mode of arXiv 2508.18168's code, which takes the expectation over the posterior's passages alone).
    /// </summary>
    /// <param name="likelihoods">[B, K].</param>
    /// <param name="scores">Of the prior, [B, K].</param>
    /// <param name="posteriorScores">Of the posterior, [B, K].</param>
    /// <param name="present">bool [B, K]; null: all.</param>
    /// <param name="weight">w, at least 0.</param>
    /// <returns>[B].</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="TrainingException">A row has no passage or no finite loss.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative.</exception>
    public static Tensor Variational(Tensor likelihoods, Tensor scores, Tensor posteriorScores, Tensor? present = null, double weight = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(weight);
        using DisposeScope scope = NewDisposeScope();
        (Tensor absent, Tensor prior, Tensor posterior) = Both(scores, posteriorScores, present);
        Tensor reader = PassageScores.Likelihoods(likelihoods, absent), share = posterior.exp().FilledWhere(absent, 0); // [B, K]
        Tensor gain = reader - Difference(posterior, prior, absent).Times(weight);
        return PassageScores.RequireFinite((share * gain).sum(1).neg()).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// JSA: −Σ_z f(z) [log p(y|x,z) + log p(z|x) + log q(z|x,y)], f being how often a Metropolis independence sampler of the true posterior p(z|x,y) visited z
    /// (section 3.2): in the mean over its stationary runs the gradient of −log p(y|x) for reader and prior, and that of the inclusive
    /// KL(p(z|x,y) || q(z|x,y)) for the posterior tower (Cao et al., arXiv 2508.18168, section 3).
    /// </summary>
    /// <param name="likelihoods">[B, K]; of a passage that was not visited any number.</param>
    /// <param name="scores">Of the prior, [B, K].</param>
    /// <param name="posteriorScores">Of the posterior tower, [B, K].</param>
    /// <param name="frequencies">f, [B, K], at least 0 and 1 in sum, 0 for a missing passage; no gradient goes to it.</param>
    /// <param name="present">bool [B, K]; null: all.</param>
    /// <returns>[B].</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="TrainingException">A row has no passage or no finite loss.</exception>
    public static Tensor JointStochastic(Tensor likelihoods, Tensor scores, Tensor posteriorScores, Tensor frequencies, Tensor? present = null)
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor absent, Tensor prior, Tensor posterior) = Both(scores, posteriorScores, present);
        Guard.Shape(frequencies, "[B, K]", [scores.shape[0], scores.shape[1]]);
        Tensor share = Precision.AtLeastFloat32(frequencies.detach()), unvisited = share.eq(KeptScalars.Zero).logical_or(absent);
        Tensor all = PassageScores.Likelihoods(likelihoods, unvisited).Plus(prior.FilledWhere(unvisited, 0)).Plus(posterior.FilledWhere(unvisited, 0));
        return PassageScores.RequireFinite((share.FilledWhere(absent, 0) * all).sum(1).neg()).MoveToOuterDisposeScope();
    }

    private static (Tensor Absent, Tensor Prior, Tensor Posterior) Both(Tensor scores, Tensor posteriorScores, Tensor? present)
    {
        Guard.Shape(scores, "[B, K]", [null, null]);
        Guard.Shape(posteriorScores, "[B, K]", [scores.shape[0], scores.shape[1]]);

        // A passage that one of the two leaves out is none of both, else the KL would be infinite.
        Tensor counted = PassageScores.Absent(scores, present).logical_not();
        Tensor absent = PassageScores.Absent(posteriorScores, counted);
        return (absent, PassageScores.LogSoftmax(scores, absent), PassageScores.LogSoftmax(posteriorScores, absent));
    }

    /// <summary>log q − log p where there is a passage, 0 elsewhere.</summary>
    private static Tensor Difference(Tensor posterior, Tensor prior, Tensor absent)
        => posterior.FilledWhere(absent, 0) - prior.FilledWhere(absent, 0);
}
