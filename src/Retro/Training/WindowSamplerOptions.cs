namespace Retro.Training;

/// <summary>Settings of <see cref="WindowSampler"/>.</summary>
public sealed record WindowSamplerOptions
{
    /// <summary>T: tokens of a window, a multiple of the chunk length, and no more than the model reads at once. Default 512.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>B: windows of a batch. Default 2.</summary>
    public int BatchSize { get; init; } = 2;

    /// <summary>
    /// K: neighbors per chunk. Default 2. 0: retrieval off. The model that is trained takes any number; the one that it is to generate with is
    /// <see cref="Modeling.RetrievalConfig.Neighbors"/> of its configuration.
    /// </summary>
    public int Neighbors { get; init; } = 2;

    /// <summary>R: tokens per neighbor, chunk and continuation. Null, the default: twice the chunk length of the database that they are from.</summary>
    public int? RetrievedLength { get; init; }

    /// <summary>Share of the batches without any neighbors, so that the model also predicts well with retrieval off. Default 0.1.</summary>
    public double RetrievalDropout { get; init; } = 0.1;

    /// <summary>Planted neighbors in the first part of training; null: none. Default none.</summary>
    public PlantingSchedule? Planting { get; init; }

    /// <summary>Decides order, dropped retrieval and planted neighbors. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <param name="chunkLength">M: tokens of a chunk of the database to sample from, of which <see cref="WindowLength"/> has to be a multiple; null: not known
    /// yet.</param>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public WindowSamplerOptions Validate(int? chunkLength = null)
    {
        OptionFaults faults = new(nameof(WindowSamplerOptions));
        faults.MultipleOf(WindowLength, chunkLength);
        faults.Between(BatchSize, 1);
        faults.Between(Neighbors, 0);
        faults.Require(RetrievedLength is null or > 0, RetrievedLength, "at least 1");
        faults.Share(RetrievalDropout);
        Planting?.Check(faults.Of(nameof(Planting)));
        faults.Throw();
        return this;
    }
}
