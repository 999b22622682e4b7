namespace Retro.Training;

/// <summary>Settings of <see cref="WindowSampler"/>.</summary>
public sealed record WindowSamplerOptions
{
    /// <summary>T: tokens of a window, a multiple of the chunk length. Default 512.</summary>
    public int Tokens { get; init; } = 512;

    /// <summary>B: windows of a batch. Default 2.</summary>
    public int Rows { get; init; } = 2;

    /// <summary>K: neighbors per chunk. Default 2. 0: retrieval off.</summary>
    public int Neighbors { get; init; } = 2;

    /// <summary>R: tokens per neighbor, chunk and continuation. Default 128.</summary>
    public int RetrievedLength { get; init; } = 128;

    /// <summary>Share of the batches without any neighbors, so that the model also predicts well with retrieval off. Default 0.1.</summary>
    public double RetrievalDropout { get; init; } = 0.1;

    /// <summary>Planted neighbors in the first part of training; null: none. Default none.</summary>
    public PlantingSchedule? Planting { get; init; }

    /// <summary>Decides order, dropped retrieval and planted neighbors. Default 0.</summary>
    public long Seed { get; init; }

    internal IEnumerable<string> Faults(int chunkLength)
    {
        if (Tokens <= 0 || Tokens % chunkLength != 0)
        {
            yield return $"{nameof(Tokens)} is {Tokens}; expected a multiple of the database's chunk length, {chunkLength}.";
        }

        if (Rows <= 0)
        {
            yield return $"{nameof(Rows)} is {Rows}; expected at least 1.";
        }

        if (Neighbors < 0)
        {
            yield return $"{nameof(Neighbors)} is {Neighbors}; expected at least 0.";
        }

        if (RetrievedLength <= 0)
        {
            yield return $"{nameof(RetrievedLength)} is {RetrievedLength}; expected at least 1.";
        }

        if (!(RetrievalDropout >= 0 && RetrievalDropout <= 1))
        {
            yield return $"{nameof(RetrievalDropout)} is {RetrievalDropout}; expected 0 to 1.";
        }

        foreach (string fault in Planting?.Faults() ?? [])
        {
            yield return fault;
        }
    }
}
