namespace Retro.Readers;

/// <summary>How a <see cref="DecoupledReader"/> reads, and how it is trained.</summary>
public sealed record DecoupledReaderOptions
{
    /// <summary>K: neighbors that are read at once; more can be read later than were trained with. Default 2.</summary>
    public int Neighbors { get; init; } = 2;

    /// <summary>R: tokens per neighbor, its continuation among them; null: twice the database's chunk length. Default null.</summary>
    public int? RetrievedLength { get; init; }

    /// <summary>Width between the two factors of each layer's output. Default 16, which is the paper's.</summary>
    public int Rank { get; init; } = 16;

    /// <summary>
    /// Width between the two factors of what is added to each layer's query, key and value projections where they read neighbors; 0: the decoder's own
    /// projections as they are, as in the paper. Default 8.
    /// </summary>
    public int AdaptationRank { get; init; } = 8;

    /// <summary>Steps of the training. Default 300.</summary>
    public int Steps { get; init; } = 300;

    /// <summary>T: tokens of a window, a multiple of the chunk length; documents that are shorter give shorter ones. Default 512.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>B: windows of a step. Default 2.</summary>
    public int BatchSize { get; init; } = 2;

    /// <summary>AdamW's learning rate at the end of the warm-up, a twentieth of the steps; it falls to a tenth. Default 0.001, which is the paper's.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Share of the chunks that are given random neighbors in training, so that the reader learns to leave what does not fit. Default 0.</summary>
    public double RandomShare { get; init; }

    /// <summary>Decides windows, random neighbors and fresh weights. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <param name="chunkLength">M: tokens of a chunk of the database; null: not known yet.</param>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public DecoupledReaderOptions Validate(int? chunkLength = null)
    {
        OptionFaults faults = new(nameof(DecoupledReaderOptions));
        faults.Between(Neighbors, 1);
        faults.Require(RetrievedLength is null or > 0, RetrievedLength, "at least 1");
        faults.Between(Rank, 1);
        faults.Between(AdaptationRank, 0);
        faults.Between(Steps, 1);
        faults.MultipleOf(WindowLength, chunkLength);
        faults.Between(BatchSize, 1);
        faults.Positive(LearningRate);
        faults.Share(RandomShare);
        faults.Throw();
        return this;
    }
}
