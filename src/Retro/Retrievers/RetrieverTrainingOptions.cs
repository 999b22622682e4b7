namespace Retro.Retrievers;

/// <summary>How a <see cref="RetrieverTrainer"/> trains.</summary>
public sealed record RetrieverTrainingOptions
{
    /// <summary>Steps in all. Default 500.</summary>
    public long Steps { get; init; } = 500;

    /// <summary>B: examples of a step, each a chunk and the one that follows it. Default 16.</summary>
    public int BatchSize { get; init; } = 16;

    /// <summary>K: passages that a tower finds for an example; with a posterior tower up to twice as many come together. Default 8.</summary>
    public int Neighbors { get; init; } = 8;

    /// <summary>Tokens of the context and target that the reader reads at most; a multiple of the chunk length, two chunks or more. Default 256.</summary>
    public int WindowLength { get; init; } = 256;

    /// <summary>
    /// Divides the scores: inner products, or minus half the squared distance where the index compares by that, which for vectors of length 1 is the same up
    /// to a constant. Default 0.05.
    /// </summary>
    public double Temperature { get; init; } = 0.05;

    /// <summary>
    /// Whether the passages of the batch's other examples count, too, as passages that the reader gets nothing from: an example's own are to score above them,
    /// so that a tower learns what to leave as well as what to prefer. Default false.
    /// </summary>
    public bool InBatchNegatives { get; init; }

    /// <summary>AdamW's learning rate at the end of the warm-up, a twentieth of the steps; it falls to a tenth. Default 0.00005: tenfold, a small encoder
    /// forgets what it found before.</summary>
    public double LearningRate { get; init; } = 5e-5;

    /// <summary>AdamW's weight decay. Default 0.01.</summary>
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>
    /// Steps after which every chunk is embedded anew, where the document tower is trained as well; in between the index is as old as
    /// <see cref="RetrieverTrainingProgress.IndexAge"/> says. Null: documents are frozen, and the index never goes stale. Default null.
    /// </summary>
    public int? RefreshEvery { get; init; }

    /// <summary>Decides the examples and what is sampled. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <param name="chunkLength">M: tokens of a chunk of the database; null: not known yet.</param>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public RetrieverTrainingOptions Validate(int? chunkLength = null)
    {
        OptionFaults faults = new(nameof(RetrieverTrainingOptions));
        faults.Between(Steps, 1);
        faults.Between(BatchSize, 1);
        faults.Between(Neighbors, 1, 1024);
        faults.MultipleOf(WindowLength, chunkLength, leastChunks: 2);
        faults.Positive(Temperature);
        faults.Positive(LearningRate);
        faults.NotNegative(WeightDecay);
        faults.Require(RefreshEvery is null or > 0, RefreshEvery, "at least 1, or not set where documents are frozen");
        faults.Throw();
        return this;
    }
}
