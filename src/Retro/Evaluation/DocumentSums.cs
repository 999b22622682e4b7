namespace Retro.Evaluation;

/// <summary>Bits and bytes by document: what intervals are made of, since the tokens of a document are not independent and documents are.</summary>
/// <param name="Bits">Bits of each held-out document's tokens.</param>
/// <param name="Bytes">Bytes of the text that these tokens stand for.</param>
public sealed record DocumentSums(IReadOnlyList<double> Bits, IReadOnlyList<double> Bytes)
{
    /// <summary>Bits per byte of all documents together; not a number where there is no text.</summary>
    public double Value => Bytes.Sum() is > 0 and var bytes ? Bits.Sum() / bytes : double.NaN;
}
