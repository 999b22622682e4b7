namespace Retro.Readers;

/// <summary>How a <see cref="CopyReader"/> retrieves, and how it is trained.</summary>
/// <remarks>
/// The defaults of retrieval and rate are what gave most on three corpora; each doubling of <see cref="Neighbors"/> beyond 16 gave 2 to 3 % fewer bits.
/// </remarks>
public sealed record CopyReaderOptions
{
    /// <summary>K: neighbors that are read at once. Default 16.</summary>
    public int Neighbors { get; init; } = 16;

    /// <summary>s: tokens after which neighbors are asked for anew; a divisor of the database's chunk length. Default 16.</summary>
    public int Stride { get; init; } = 16;

    /// <summary>Last tokens of the text that are asked with. Default 32, which gives what 64 give for less time.</summary>
    public int QueryLength { get; init; } = 32;

    /// <summary>R: tokens per neighbor, its continuation among them; null: twice the database's chunk length. Default null.</summary>
    public int? RetrievedLength { get; init; }

    /// <summary>
    /// How many of the neighbors, the best ones, the model itself reads by chunked cross-attention, besides copying from all of them: those that were found
    /// when a chunk of the model's ended. The model has to be a RETRO whose chunks are whole stretches of <see cref="Stride"/> tokens, with neighbors of
    /// <see cref="RetrievedLength"/> tokens. 0: it reads none, even where it could. Default 0.
    /// </summary>
    public int CrossAttended { get; init; }

    /// <summary>Steps of the training. Default 300.</summary>
    public int Steps { get; init; } = 300;

    /// <summary>T: tokens of a window, a multiple of the chunk length; documents that are shorter give shorter ones. Default 512.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>B: windows of a step. Default 2.</summary>
    public int BatchSize { get; init; } = 2;

    /// <summary>
    /// AdamW's learning rate at the end of the warm-up, a twentieth of the steps; it falls to a tenth. The tables have to move by ones. Default 0.01.
    /// </summary>
    public double LearningRate { get; init; } = 1e-2;

    /// <summary>
    /// Share of the stretches that are given random chunks in training, so that the reader learns to leave what does not fit. Default an eighth.
    /// </summary>
    public double RandomShare { get; init; } = 0.125;

    /// <summary>Decides windows, random chunks and fresh weights. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <param name="chunkLength">M: tokens of a chunk of the database; null: not known yet.</param>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public CopyReaderOptions Validate(int? chunkLength = null)
    {
        OptionFaults faults = new(nameof(CopyReaderOptions));
        faults.Between(Neighbors, 1, 1024);
        faults.Require(
            Stride > 0 && (chunkLength ?? Stride) % Stride == 0, Stride, chunkLength is { } length ? $"a divisor of the chunk length, {length}" : "at least 1");
        faults.Between(QueryLength, 1);
        faults.Require(RetrievedLength is null or > 1, RetrievedLength, "at least 2, of which the second is copied");
        faults.Require(CrossAttended >= 0 && CrossAttended <= Neighbors, CrossAttended, $"0 to {Neighbors}, as many as there are neighbors");
        faults.Between(Steps, 1);
        faults.MultipleOf(WindowLength, chunkLength);
        faults.Between(BatchSize, 1);
        faults.Positive(LearningRate);
        faults.Share(RandomShare);
        faults.Throw();
        return this;
    }
}
