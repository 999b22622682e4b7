namespace Retro.Evaluation;

/// <summary>Settings of <see cref="BitsPerByte"/>.</summary>
public sealed record BitsPerByteOptions
{
    /// <summary>T: tokens of a window, a multiple of the chunk length, and no more than the model reads at once. Default 512.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>
    /// Tokens from one window of a document to the next, a multiple of the chunk length, at most <see cref="WindowLength"/>. Null, the default: half of T, as
    /// in the paper, so that all but a document's first tokens are predicted from at least as many; <see cref="WindowLength"/> itself takes half the time and
    /// measures tokens that are predicted from few.
    /// </summary>
    public int? Stride { get; init; }

    /// <summary>Windows computed at once, at most. Default 8.</summary>
    public int BatchSize { get; init; } = 8;

    /// <summary>
    /// Memory for windows that are computed at once, in bytes, on all cores together: fewer than <see cref="BatchSize"/> are taken where they would need more,
    /// and fewer cores where not even one window for each fits. It is kept by an estimate, and one window is computed in any case. Default 1 GiB.
    /// </summary>
    public long MaximumBytes { get; init; } = 1L << 30;

    /// <summary>Whether the result holds the bits of every token, four bytes each. Default false.</summary>
    public bool KeepTokens { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <param name="chunkLength">
    /// M: tokens of a chunk of the held-out database, of which <see cref="WindowLength"/> and <see cref="Stride"/> have to be multiples; null: not known yet.
    /// </param>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public BitsPerByteOptions Validate(int? chunkLength = null)
    {
        OptionFaults faults = new(nameof(BitsPerByteOptions));
        faults.MultipleOf(WindowLength, chunkLength);
        if (Stride is { } stride)
        {
            faults.MultipleOf(stride, chunkLength, name: nameof(Stride));
            faults.Require(stride <= WindowLength, stride, $"at most {nameof(WindowLength)}", nameof(Stride));
        }

        faults.Between(BatchSize, 1);
        faults.Between(MaximumBytes, 1);
        faults.Throw();
        return this;
    }

    /// <summary>Tokens from one window to the next, in chunks of M.</summary>
    internal int StrideFor(int chunkLength) => Stride ?? Math.Max(chunkLength, WindowLength / 2 / chunkLength * chunkLength);
}
