namespace Retro.Evaluation;

/// <summary>Settings of <see cref="BitsPerByte"/>.</summary>
public sealed record BitsPerByteOptions
{
    /// <summary>T: tokens of a window, a multiple of the chunk length. Default 512.</summary>
    public int Tokens { get; init; } = 512;

    /// <summary>Tokens from one window of a document to the next, a multiple of the chunk length, at most <see cref="Tokens"/>; null: windows do not overlap. The paper takes half of T.</summary>
    public int? Stride { get; init; }

    /// <summary>K: neighbors per chunk; it may differ from the training's. Null: the model's.</summary>
    public int? Neighbors { get; init; }

    /// <summary>Windows computed at once. Default 8.</summary>
    public int Rows { get; init; } = 8;

    internal IReadOnlyList<string> Faults(int chunkLength)
    {
        List<string> faults = [];
        if (Tokens <= 0 || Tokens % chunkLength != 0)
        {
            faults.Add($"{nameof(Tokens)} is {Tokens}; expected a multiple of the chunk length, {chunkLength}.");
        }

        if (Stride is { } stride && (stride <= 0 || stride > Tokens || stride % chunkLength != 0))
        {
            faults.Add($"{nameof(Stride)} is {stride}; expected a multiple of the chunk length, {chunkLength}, of at most {nameof(Tokens)}, {Tokens}.");
        }

        if (Neighbors <= 0)
        {
            faults.Add($"{nameof(Neighbors)} is {Neighbors}; expected at least 1. Retrieval is switched off by giving no table.");
        }

        if (Rows <= 0)
        {
            faults.Add($"{nameof(Rows)} is {Rows}; expected at least 1.");
        }

        return faults;
    }
}
