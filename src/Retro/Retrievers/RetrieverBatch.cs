using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>What the examples of a step gave: the arguments of an objective. Scores take gradients, log-likelihoods do not.</summary>
public sealed class RetrieverBatch
{
    internal RetrieverBatch(RetrieverExamples examples, Tensor scores, Tensor present, Tensor likelihoods, Tensor targets)
        => (Examples, Scores, Present, Likelihoods, Targets) = (examples, scores, present, likelihoods, targets);

    /// <summary>The query tower's scores, divided by the temperature, [B, K].</summary>
    public Tensor Scores { get; }

    /// <summary>Which passages there are, bool [B, K].</summary>
    public Tensor Present { get; }

    /// <summary>The reader's log-likelihood of each token of the target with one passage, [B, K, T]; 0 behind the target's end.</summary>
    public Tensor Likelihoods { get; }

    /// <summary>Tokens of each target, [B], float64.</summary>
    public Tensor Targets { get; }

    /// <summary>The posterior tower's scores, [B, K]; null where it was not asked for.</summary>
    public Tensor? PosteriorScores { get; internal init; }

    /// <summary>The reader's log-likelihood of each token without a passage, [B, T]; null where it was not asked for.</summary>
    public Tensor? NullLikelihoods { get; internal init; }

    /// <summary>The query tower's scores of an empty text, [B]; null where they were not asked for.</summary>
    public Tensor? NullScores { get; internal init; }

    /// <summary>The reader's log-likelihood of each token with all passages but one, [B, K, T]; null where it was not asked for.</summary>
    public Tensor? WithoutLikelihoods { get; internal init; }

    /// <summary>What the rows are of.</summary>
    internal RetrieverExamples Examples { get; }

    /// <summary>Share of the sampler's proposals that were taken; null where nothing was sampled.</summary>
    internal double? AcceptanceRate { get; set; }
}
