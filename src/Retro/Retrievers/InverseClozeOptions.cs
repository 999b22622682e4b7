namespace Retro.Retrievers;

/// <summary>How <see cref="InverseClozeTrainer"/> trains.</summary>
/// <remarks>By steps, the same seed and number of threads give the same weights.</remarks>
public sealed record InverseClozeOptions
{
    /// <summary>Steps in all; not read where <see cref="TimeBudget"/> is set. Default 500.</summary>
    public long Steps { get; init; } = 500;

    /// <summary>
    /// Time to train, over which the whole schedule is run through; null: by <see cref="Steps"/>. How many steps fit depends on the machine, so such a training
    /// cannot be repeated to the bit. Default null.
    /// </summary>
    public TimeSpan? TimeBudget { get; init; }

    /// <summary>Pairs in a batch; each has the others for negatives. Default 64.</summary>
    public int BatchSize { get; init; } = 64;

    /// <summary>Tokens of a window that is split into a pair: twice the chunk length makes parts the size of chunks. Default 128.</summary>
    public int WindowLength { get; init; } = 128;

    /// <summary>
    /// Characters of text that are kept in memory, of 2 bytes: of a corpus of more, documents are chosen at random for it. Of a document that is longer than a
    /// sixteenth of it (or eight characters for each token of a window, where that is more) a stretch is kept. Default 100 million.
    /// </summary>
    public long MostCharacters { get; init; } = 100_000_000;

    /// <summary>
    /// Share of the batches that take a span out of a window and pair it with the rest; the others pair the window's first part with its second. Default 0.5.
    /// </summary>
    public double ClozeShare { get; init; } = 0.5;

    /// <summary>How often the span stays in the rest too, so that shared words keep counting (0.1 in the paper). Default 0.1.</summary>
    public double KeepSpan { get; init; } = 0.1;

    /// <summary>Divides the cosines; smaller values look at the nearest negatives only. Default 0.05.</summary>
    public double Temperature { get; init; } = 0.05;

    /// <summary>
    /// Hard negatives of each pair, besides the others of the batch: windows of other documents that the encoder takes for near the pair's first side (Xiong
    /// et al., arXiv 2007.00808). Every pair of the batch has those of all. A step costs as much more as there are more windows. What they give has not been
    /// measured here; the benchmark "retrievers" has a row for them. Default 0.
    /// </summary>
    public int HardNegatives { get; init; }

    /// <summary>Windows among which hard negatives are looked for, drawn and embedded anew with them. Default 1,024.</summary>
    public int HardNegativePool { get; init; } = 1024;

    /// <summary>Steps for which a pool is kept. Default 50.</summary>
    public int HardNegativeSteps { get; init; } = 50;

    /// <summary>The highest learning rate of AdamW; it warms up over the first 5 % of training and falls to nothing along a cosine. Default 0.001.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Weight decay of the matrices. Default 0.01.</summary>
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>Decides weights, sampling and splits. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Measures <see cref="TimeBudget"/>. Default the system's clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public InverseClozeOptions Validate()
    {
        OptionFaults faults = new(nameof(InverseClozeOptions));
        faults.Between(Steps, 1);
        faults.Require(TimeBudget is null || TimeBudget > TimeSpan.Zero, TimeBudget, "more than no time");
        faults.Require(BatchSize >= 2, BatchSize, "at least 2: a pair needs another for a negative");
        faults.Between(WindowLength, 8);
        faults.Between(MostCharacters, 1);
        faults.Share(ClozeShare);
        faults.Share(KeepSpan);
        faults.Positive(Temperature);
        faults.Between(HardNegatives, 0);
        faults.Between(HardNegativePool, Math.Max(1, HardNegatives));
        faults.Between(HardNegativeSteps, 1);
        faults.Positive(LearningRate);
        faults.NotNegative(WeightDecay);
        faults.Throw();
        return this;
    }
}
