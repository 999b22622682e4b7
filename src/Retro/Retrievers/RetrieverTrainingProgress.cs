namespace Retro.Retrievers;

/// <summary>A step of a retriever's training that has been done.</summary>
/// <param name="Step">Steps done in all, this one included.</param>
/// <param name="Steps">Steps in all.</param>
/// <param name="Loss">Mean loss of the step's examples, before the step; not a number where no example had a passage.</param>
/// <param name="GradientNorm">Norm of all gradients together before clipping.</param>
/// <param name="LearningRate">AdamW's learning rate in this step.</param>
/// <param name="Examples">Examples that had a passage, or a null document: those that count.</param>
/// <param name="IndexAge">Steps since the keys that were searched were made; 0 where documents are frozen, always.</param>
public readonly record struct RetrieverTrainingProgress(
    long Step, long Steps, double Loss, double GradientNorm, double LearningRate, int Examples, long IndexAge)
{
    /// <summary>
    /// How far the documents have moved away from the index: the mean of 1 − cosine between the key that was searched and the document tower's vector now,
    /// over the step's passages. 0 where documents are frozen.
    /// </summary>
    public double Staleness { get; init; }

    /// <summary>Mean retrieval utility in nats (<see cref="RetrieverObjectives.RetrievalUtility"/>); null where the reader was not asked without a
    /// passage.</summary>
    public double? Utility { get; init; }

    /// <summary>Share of the sampler's proposals that were taken; null where nothing is sampled.</summary>
    public double? AcceptanceRate { get; init; }
}
