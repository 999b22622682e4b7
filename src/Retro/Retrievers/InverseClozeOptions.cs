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
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public InverseClozeOptions Validate()
    {
        OptionFaults faults = new(nameof(InverseClozeOptions));
        faults.Require(Steps is not null || TimeBudget is not null, Steps, $"a number, or a {nameof(TimeBudget)}: training would never end");
        faults.Require(Steps is null or > 0, Steps, "at least 1");
        faults.Require(TimeBudget is null || TimeBudget > TimeSpan.Zero, TimeBudget, "more than no time");
        faults.Require(BatchSize >= 2, BatchSize, "at least 2: a pair needs another for a negative");
        faults.Between(WindowLength, 8);
        faults.Share(ClozeShare);
        faults.Share(KeepSpan);
        faults.Positive(Temperature);
        faults.Positive(LearningRate);
        faults.NotNegative(WeightDecay);
        faults.Throw();
        return this;
    }
}
