using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>
/// What a retriever is trained by, as functions of the reader's log-likelihoods and the retriever's scores: differentiable in both unless said otherwise, and
/// computed with logarithms throughout.
/// </summary>
/// <remarks>
/// <para>x is the context, y the target, z one of the K passages that were found for a row. Scores [B, K] are logits, any temperature divided out before: the
/// prior is p(z|x) = softmax over the row's passages. Log-likelihoods [B, K] are log p(y|x,z), sums over the target's tokens and no means: an average is
/// another model's likelihood. A passage is missing where <c>present</c> is false or its score −∞; whatever else stands there does not count, and gets no
/// gradient.</para>
/// <para>Results are [B], a loss for each row, to be averaged by the caller. With one passage (K = 1) a distribution over passages has nothing to choose: the
/// scores get a gradient of 0. Scores that are all equal are the uniform distribution. A row without a passage, a score of +∞ or that is no number, and a loss
/// that is not finite are refused with a <see cref="TrainingException"/> that names the row.</para>
/// </remarks>
public static partial class RetrieverObjectives
{
    /// <summary>
    /// Top-k marginalization, −log Σ_z p(z|x) p(y|x,z): RAG-Sequence for log-likelihoods of whole targets, and RAG-Token,
    /// −Σ_t log Σ_z p(z|x) p(y_t|x,z,y_&lt;t), for those of tokens (Lewis et al., arXiv 2005.11401, section 2.1).
    /// </summary>
    /// <param name="likelihoods">[B, K], or [B, K, T]; of a token that does not count 0, which adds nothing.</param>
    /// <param name="scores">[B, K].</param>
    /// <param name="present">bool [B, K]; null: all.</param>
    /// <returns>[B].</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="TrainingException">A row has no passage or no finite loss.</exception>
    public static Tensor Marginal(Tensor likelihoods, Tensor scores, Tensor? present = null)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor absent = PassageScores.Absent(scores, present), prior = PassageScores.LogSoftmax(scores, absent); // [B, K]
        Tensor reader = PassageScores.Likelihoods(likelihoods, absent, perToken: true);
        Tensor loss = reader.dim() == 2
            ? reader.Plus(prior).logsumexp(1).neg()
            : reader.Plus(prior.unsqueeze(2)).logsumexp(1).sum(1).neg(); // [B]
        return PassageScores.RequireFinite(loss).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// REALM's objective: <see cref="Marginal"/> over the passages and a null document, which stands for reading nothing, so that what does not help can be
    /// left (Guu et al., arXiv 2002.08909, sections 3.1 and 3.4). Its gradient for a score is −[p(y|x,z)/p(y|x) − 1] p(z|x): a passage rises if it beats the
    /// average.
    /// </summary>
    /// <param name="likelihoods">[B, K]; K may be 0, or every passage missing: then the null document has everything.</param>
    /// <param name="scores">[B, K].</param>
    /// <param name="nullLikelihoods">log p(y|x) of the reader without a passage, [B].</param>
    /// <param name="nullScores">The null document's scores, [B]; a learned number, or a fixed one.</param>
    /// <param name="present">bool [B, K]; null: all.</param>
    /// <returns>[B].</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="TrainingException">A row has no finite loss.</exception>
    public static Tensor Realm(Tensor likelihoods, Tensor scores, Tensor nullLikelihoods, Tensor nullScores, Tensor? present = null)
    {
        Guard.Shape(likelihoods, "[B, K]", [null, null]);
        Guard.Shape(scores, "[B, K]", [likelihoods.shape[0], likelihoods.shape[1]]);
        Guard.Shape(nullLikelihoods, "[B]", [scores.shape[0]]);
        Guard.Shape(nullScores, "[B]", [scores.shape[0]]);
        using DisposeScope scope = NewDisposeScope();
        Tensor? all = present is null
            ? null
            : cat([present, ones([present.shape[0], 1], ScalarType.Bool, present.device)], 1); // [B, K + 1]
        return Marginal(cat([likelihoods, nullLikelihoods.unsqueeze(1)], 1), cat([scores, nullScores.unsqueeze(1)], 1), all).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// REALM's retrieval utility: log p(y|x) − log p(y|x,null), what the retriever and its passages give beyond reading nothing. REALM keeps the checkpoint
    /// where it is greatest. No gradient is wanted of it.
    /// </summary>
    /// <inheritdoc cref="Realm"/>
    /// <returns>[B], in nats; 0 where the null document is all there is.</returns>
    public static Tensor RetrievalUtility(Tensor likelihoods, Tensor scores, Tensor nullLikelihoods, Tensor nullScores, Tensor? present = null)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        return (Realm(likelihoods, scores, nullLikelihoods, nullScores, present).neg() - nullLikelihoods).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// EMDR²: <see cref="Marginal"/> with the reader taken as given, so that the retriever alone learns from it, by the posterior of the passages (Singh et
    /// al., arXiv 2106.05346, section 2.3; per token in Atlas, arXiv 2208.03299, section 2.2, whose code also divides the reader's logits by a temperature,
    /// which is not done here).
    /// </summary>
    /// <param name="likelihoods">[B, K], or [B, K, T]; they get no gradient.</param>
    /// <param name="scores">[B, K].</param>
    /// <param name="present">bool [B, K]; null: all.</param>
    /// <returns>[B].</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="TrainingException">A row has no passage or no finite loss.</exception>
    public static Tensor Emdr2(Tensor likelihoods, Tensor scores, Tensor? present = null)
    {
        ArgumentNullException.ThrowIfNull(likelihoods);
        using DisposeScope scope = NewDisposeScope();
        return Marginal(likelihoods.detach(), scores, present).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Distillation of the reader: KL(t || p(z|x)) with t = softmax of what speaks for each passage, divided by a temperature. With log p(y|x,z) it is
    /// REPLUG's LSR (Shi et al., arXiv 2301.12652, section 4; temperature 0.1, as its own code takes it, and the KL that way round) and Atlas's perplexity
    /// distillation (PDist; Izacard et al., arXiv 2208.03299, section 2.2: the mean log-likelihood of a token; its code has 0.01).
    /// </summary>
    /// <param name="evidence">[B, K]; −∞ for what must get nothing, at least one finite in each row. No gradient goes to it.</param>
    /// <param name="scores">[B, K].</param>
    /// <param name="present">bool [B, K]; null: all.</param>
    /// <param name="temperature">Divides the evidence; near 0 the best passage alone is right.</param>
    /// <returns>[B], at least 0.</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="TrainingException">A row has no passage or no finite loss.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public static Tensor Distillation(Tensor evidence, Tensor scores, Tensor? present = null, double temperature = 1)
    {
        ArgumentNullException.ThrowIfNull(evidence);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        using DisposeScope scope = NewDisposeScope();
        Tensor absent = PassageScores.Absent(scores, present), prior = PassageScores.LogSoftmax(scores, absent); // [B, K]
        Tensor known = PassageScores.Likelihoods(evidence.detach(), absent);

        // The best first becomes 0: divided by a small temperature, evidence as it stands might be no number.
        known = known.FilledWhere(absent, double.NegativeInfinity);
        known = (known - known.amax([1L], keepdim: true)).Over(temperature);
        Tensor target = known.softmax(1), loss = (target.xlogy(target) - (target * prior.FilledWhere(absent, 0))).sum(1); // [B]
        return PassageScores.RequireFinite(loss).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Leave one out (Atlas's LOOP): <see cref="Distillation"/> where a passage has the more for it, the worse the reader gets without it: t = softmax of
    /// −log p(y|x, all but z) (Izacard et al., arXiv 2208.03299, section 2.2; means over tokens and temperature 0.01 there).
    /// </summary>
    /// <param name="withoutLikelihoods">The reader's log-likelihood with every passage of the row but one, [B, K]; they get no gradient.</param>
    /// <param name="scores">[B, K].</param>
    /// <param name="present">bool [B, K]; null: all.</param>
    /// <param name="temperature">Divides the log-likelihoods.</param>
    /// <returns>[B], at least 0.</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="TrainingException">A row has no passage or no finite loss.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public static Tensor LeaveOneOut(Tensor withoutLikelihoods, Tensor scores, Tensor? present = null, double temperature = 1)
    {
        ArgumentNullException.ThrowIfNull(withoutLikelihoods);
        using DisposeScope scope = NewDisposeScope();
        return Distillation(withoutLikelihoods.detach().neg(), scores, present, temperature).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// What an objective costs more when passages are added that the reader gets nothing from: −log of the share that a row's own passages have among all. For
    /// <see cref="Marginal"/> of whole targets (which gives log Σ_z p(z|x) p(y|x,z), p(y|x,z) being 0 for the others) and for <see cref="Distillation"/> (with
    /// evidence −∞ for them), the sum of both is the objective over all passages; for <see cref="Realm"/> with the null document among them, and for
    /// <see cref="Variational"/> times the weight of its KL, q being 0 for the others. Where each token has a sum of its own, it is counted once for the
    /// target, and not for each token.
    /// </summary>
    /// <param name="scores">Of a row's own passages, [B, K].</param>
    /// <param name="all">The row's scores of every passage, its own among them, [B, N].</param>
    /// <param name="barred">Which of them are no negatives of the row, bool [B, N]; of its own passages false.</param>
    /// <param name="present">Which of its own there are, bool [B, K].</param>
    /// <param name="nullScores">The null document's scores, [B], for <see cref="Realm"/>: one of a row's own; null: there is none.</param>
    /// <returns>[B], at least 0; 0 for a row without a passage.</returns>
    internal static Tensor OwnAmongAll(Tensor scores, Tensor all, Tensor barred, Tensor present, Tensor? nullScores = null)
    {
        using DisposeScope scope = NewDisposeScope();
        if (nullScores is not null)
        {
            Tensor one = nullScores.unsqueeze(1), there = ones_like(one, ScalarType.Bool); // [B, 1]
            (scores, all) = (cat([scores, one], 1), cat([all, one], 1));
            (present, barred) = (cat([present, there], 1), cat([barred, there.logical_not()], 1));
        }

        Tensor some = present.any(1), none = some.logical_not(); // [B]
        Tensor own = Sum(scores, present.logical_not().logical_and(some.unsqueeze(1))), total = Sum(all, barred.logical_and(some.unsqueeze(1)));
        return (total - own).FilledWhere(none, 0).MoveToOuterDisposeScope();

        static Tensor Sum(Tensor values, Tensor without)
            => Precision.AtLeastFloat32(values).FilledWhere(without, double.NegativeInfinity).logsumexp(1);
    }
}
