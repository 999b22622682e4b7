namespace Retro.Training;

/// <summary>What a step has to tell, by the names that files of it use.</summary>
internal static class TrainingScalars
{
    /// <summary>The names, in the order of the values; TensorBoard groups by what stands before a slash.</summary>
    public static readonly string[] Names =
        ["loss/train", "gradient_norm", "learning_rate", "tokens", "tokens_per_second", "seconds", "measure", "loss/off", "loss/on"];

    /// <summary>The values; null where the step has none.</summary>
    public static double?[] Of(TrainingProgress step) =>
    [
        step.Loss, step.GradientNorm, step.LearningRate, step.Tokens, step.TokensPerSecond, step.Elapsed.TotalSeconds, step.Measure, step.Watched?.Off,
        step.Watched?.On,
    ];
}
