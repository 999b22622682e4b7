namespace Retro.Evaluation;

/// <summary>What a reader needs to write held-out text.</summary>
/// <param name="Reader">The reader's name.</param>
/// <param name="SourceName">Where the neighbors came from; "off" without retrieval.</param>
/// <param name="Neighbors">K: neighbors per chunk; 0 without retrieval.</param>
/// <param name="Tokens">Tokens that the bits are of: every token after its document's first.</param>
/// <param name="DocumentSums">Bits of each document's tokens and bytes of its text in UTF-8.</param>
/// <param name="ChunkBits">Bits of the tokens of each chunk of the held-out database.</param>
/// <param name="FirstChunkTokens">
/// Tokens, among <paramref name="Tokens"/>, that stand in a window's first chunk, before what retrieves once a chunk has retrieved. They are the same for every
/// reader.
/// </param>
/// <param name="FirstChunkBits">Bits of these.</param>
/// <param name="HeldOutHash">The checksum of the held-out database's tokens.</param>
public sealed record BitsPerByteResult(
    string Reader,
    string SourceName,
    int Neighbors,
    long Tokens,
    DocumentSums DocumentSums,
    IReadOnlyList<double> ChunkBits,
    long FirstChunkTokens,
    double FirstChunkBits,
    string HeldOutHash)
{
    /// <summary>T: tokens of a window.</summary>
    public required int WindowLength { get; init; }

    /// <summary>Tokens from one window of a document to the next.</summary>
    public required int Stride { get; init; }

    /// <summary>R: tokens of a neighbor; null: none was read.</summary>
    public int? RetrievedLength { get; init; }

    /// <summary>
    /// Whether more text was read than the neighbors of whole chunks, which is all that a <see cref="LeakageCurve"/> knows of: such as were asked for more
    /// often or with another number of tokens, or anything in a database.
    /// </summary>
    public bool ReadsOtherText { get; init; }

    /// <summary>Bits in all.</summary>
    public double Bits => DocumentSums.Bits.Sum();

    /// <summary>Bytes of the documents' text in UTF-8.</summary>
    public long Bytes => (long)DocumentSums.Bytes.Sum();

    /// <summary>Documents.</summary>
    public int Documents => DocumentSums.Bits.Count;

    /// <summary>Bits per byte: comparable between tokenizers that keep the text (<see cref="TextLoss"/>).</summary>
    public double Value => DocumentSums.Value;

    /// <summary>Perplexity per token: comparable under one tokenizer only.</summary>
    public double Perplexity => Math.Pow(2, Bits / Tokens);

    /// <summary>
    /// Bits of each token: those of token i of chunk c at c·M + i, and not a number where nothing is predicted (a document's first token, padding).
    /// Null unless <see cref="BitsPerByteOptions.KeepTokens"/> asked for them.
    /// </summary>
    public IReadOnlyList<float>? TokenBits { get; init; }
}
