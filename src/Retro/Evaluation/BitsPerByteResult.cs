namespace Retro.Evaluation;

/// <summary>What a model needs to write held-out text.</summary>
/// <param name="SourceName">Where the neighbors came from; "off" without retrieval.</param>
/// <param name="Bits">Bits in all, of every token after its document's first.</param>
/// <param name="Bytes">Bytes of the documents' text in UTF-8.</param>
/// <param name="Tokens">Tokens that the bits are of.</param>
/// <param name="Documents">Documents.</param>
/// <param name="ChunkBits">Bits of the tokens of each chunk of the held-out database.</param>
public sealed record BitsPerByteResult(string SourceName, double Bits, long Bytes, long Tokens, int Documents, IReadOnlyList<double> ChunkBits)
{
    /// <summary>Bits per byte: comparable between tokenizers.</summary>
    public double Value => Bits / Bytes;

    /// <summary>Perplexity per token: comparable under one tokenizer only.</summary>
    public double Perplexity => Math.Pow(2, Bits / Tokens);
}
