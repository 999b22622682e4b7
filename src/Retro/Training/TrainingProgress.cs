namespace Retro.Training;

/// <summary>A step of training that has been done.</summary>
/// <param name="Step">Steps done in all, this one included.</param>
/// <param name="Progress">Share of the training that is done, from 0 to 1.</param>
/// <param name="Loss">Mean cross entropy of the step's targets in nats, before the step.</param>
/// <param name="GradientNorm">Norm of all gradients together before clipping. Where it is not finite, the step has moved nothing.</param>
/// <param name="LearningRate">AdamW's learning rate in this step.</param>
/// <param name="Tokens">Tokens read in all, padding included.</param>
/// <param name="TokensPerSecond">Tokens read per second since this run began.</param>
/// <param name="Elapsed">Time trained in all, over every run that was resumed.</param>
public readonly record struct TrainingProgress(
    long Step,
    double Progress,
    double Loss,
    double GradientNorm,
    double LearningRate,
    long Tokens,
    double TokensPerSecond,
    TimeSpan Elapsed)
{
    /// <summary>What <see cref="Trainer.Measure"/> gave after this step; null: it was not asked.</summary>
    public double? Measure { get; init; }

    /// <summary>What <see cref="Trainer.Watch"/> gave after this step; null: it was not asked.</summary>
    public TrainingWatch? Watched { get; init; }

    /// <summary>Whether the gradient was not finite, so that the step was left out.</summary>
    public bool Skipped => !double.IsFinite(GradientNorm);
}
