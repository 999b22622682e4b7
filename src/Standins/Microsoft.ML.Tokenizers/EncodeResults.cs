namespace Microsoft.ML.Tokenizers;

/// <summary>What encoding gave: the tokens, the normalized text (null where nothing normalized), and how many of its characters the tokens use up.</summary>
public struct EncodeResults<T>
{
    public IReadOnlyList<T> Tokens { get; set; }

    public string? NormalizedText { get; set; }

    public int CharsConsumed { get; set; }
}
