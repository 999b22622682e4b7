namespace Retro.Retrievers;

/// <summary>How <see cref="InverseClozeTrainer"/> trains.</summary>
/// <remarks>Training ends after <see cref="Steps"/> or after <see cref="TimeBudget"/>, whichever comes first. With steps alone, the same seed and number of threads give the same weights.</remarks>
public sealed record InverseClozeOptions
{
    /// <summary>Steps to train; null for as many as the time allows.</summary>
    /// <value>The default is null.</value>
    public int? Steps { get; init; }

    /// <summary>Time to train; null for as long as the steps take.</summary>
    /// <value>The default is one minute.</value>
    public TimeSpan? TimeBudget { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Pairs in a batch; each has the others for negatives.</summary>
    /// <value>The default is 64.</value>
    public int BatchSize { get; init; } = 64;

    /// <summary>Tokens of a window that is split into a pair: twice the chunk length makes parts the size of chunks.</summary>
    /// <value>The default is 128.</value>
    public int WindowLength { get; init; } = 128;

    /// <summary>Share of the batches that take a span out of a window and pair it with the rest; the others pair the window's first part with its second.</summary>
    /// <value>The default is 0.5.</value>
    public double ClozeShare { get; init; } = 0.5;

    /// <summary>How often the span stays in the rest too, so that shared words keep counting (0.1 in the paper).</summary>
    /// <value>The default is 0.1.</value>
    public double KeepSpan { get; init; } = 0.1;

    /// <summary>Divides the cosines; smaller values look at the nearest negatives only.</summary>
    /// <value>The default is 0.05.</value>
    public double Temperature { get; init; } = 0.05;

    /// <summary>The highest learning rate of AdamW; it warms up over the first 5 % of training and falls to nothing along a cosine.</summary>
    /// <value>The default is 0.001.</value>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Weight decay of the matrices.</summary>
    /// <value>The default is 0.01.</value>
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>Seeds weights, sampling and splits.</summary>
    /// <value>The default is 1.</value>
    public int Seed { get; init; } = 1;

    /// <summary>Measures <see cref="TimeBudget"/>.</summary>
    /// <value>The default is the system's clock.</value>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroConfigException">Something does not fit; the exception lists every fault.</exception>
    public InverseClozeOptions Validate()
    {
        List<string> faults = [];
        void Check(bool fine, string fault)
        {
            if (!fine)
            {
                faults.Add(fault);
            }
        }

        Check(Steps is not null || TimeBudget is not null, "Steps or TimeBudget has to be given, or training would never end.");
        Check(Steps is null or > 0, $"Steps {Steps} has to be positive.");
        Check(TimeBudget is null || TimeBudget > TimeSpan.Zero, $"TimeBudget {TimeBudget} has to be positive.");
        Check(BatchSize >= 2, $"BatchSize {BatchSize} has to be at least 2: a pair needs another for a negative.");
        Check(WindowLength >= 8, $"WindowLength {WindowLength} has to be at least 8.");
        Check(ClozeShare is >= 0 and <= 1, $"ClozeShare {ClozeShare} has to lie in [0, 1].");
        Check(KeepSpan is >= 0 and <= 1, $"KeepSpan {KeepSpan} has to lie in [0, 1].");
        Check(Temperature > 0 && double.IsFinite(Temperature), $"Temperature {Temperature} has to be positive.");
        Check(LearningRate > 0 && double.IsFinite(LearningRate), $"LearningRate {LearningRate} has to be positive.");
        Check(WeightDecay >= 0 && double.IsFinite(WeightDecay), $"WeightDecay {WeightDecay} must not be negative.");
        return faults.Count == 0 ? this : throw new RetroConfigException(faults);
    }
}
