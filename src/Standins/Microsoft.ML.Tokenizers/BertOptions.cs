namespace Microsoft.ML.Tokenizers;

/// <summary>What a <see cref="BertTokenizer"/> is made of besides its vocabulary.</summary>
public sealed class BertOptions : WordPieceOptions
{
    public bool LowerCaseBeforeTokenization { get; set; } = true;

    public bool ApplyBasicTokenization { get; set; } = true;

    public bool SplitOnSpecialTokens { get; set; } = true;

    public string SeparatorToken { get; set; } = "[SEP]";

    public string PaddingToken { get; set; } = "[PAD]";

    public string ClassificationToken { get; set; } = "[CLS]";

    public string MaskingToken { get; set; } = "[MASK]";

    public bool IndividuallyTokenizeCjk { get; set; } = true;

    public bool RemoveNonSpacingMarks { get; set; }
}
