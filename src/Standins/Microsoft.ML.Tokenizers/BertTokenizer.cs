namespace Microsoft.ML.Tokenizers;

/// <summary>BERT's tokenizer: WordPiece with BERT's normalization, split and special tokens.</summary>
public sealed class BertTokenizer : WordPieceTokenizer
{
    private BertTokenizer(Dictionary<string, int> vocabulary, BertOptions options, PreTokenizer? preTokenizer, Normalizer? normalizer, Dictionary<string, int> specialTokens)
        : base(vocabulary, options, preTokenizer, normalizer, specialTokens)
    {
        LowerCaseBeforeTokenization = options.LowerCaseBeforeTokenization;
        ApplyBasicTokenization = options.ApplyBasicTokenization;
        SplitOnSpecialTokens = options.SplitOnSpecialTokens;
        IndividuallyTokenizeCjk = options.IndividuallyTokenizeCjk;
        RemoveNonSpacingMarks = options.RemoveNonSpacingMarks;
        (SeparatorToken, SeparatorTokenId) = (options.SeparatorToken, vocabulary[options.SeparatorToken]);
        (PaddingToken, PaddingTokenId) = (options.PaddingToken, vocabulary[options.PaddingToken]);
        (ClassificationToken, ClassificationTokenId) = (options.ClassificationToken, vocabulary[options.ClassificationToken]);
        (MaskingToken, MaskingTokenId) = (options.MaskingToken, vocabulary[options.MaskingToken]);
    }

    public bool LowerCaseBeforeTokenization { get; }

    public bool ApplyBasicTokenization { get; }

    public bool SplitOnSpecialTokens { get; }

    public bool IndividuallyTokenizeCjk { get; }

    public bool RemoveNonSpacingMarks { get; }

    public string SeparatorToken { get; }

    public int SeparatorTokenId { get; }

    public string PaddingToken { get; }

    public int PaddingTokenId { get; }

    public string ClassificationToken { get; }

    public int ClassificationTokenId { get; }

    public string MaskingToken { get; }

    public int MaskingTokenId { get; }

    public static BertTokenizer Create(string vocabFilePath, BertOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(vocabFilePath);
        using FileStream stream = File.OpenRead(vocabFilePath);
        return Create(stream, options);
    }

    public static BertTokenizer Create(Stream vocabStream, BertOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(vocabStream);
        options ??= new BertOptions();
        Dictionary<string, int> vocabulary = ReadVocabulary(vocabStream);
        Dictionary<string, int> special = new(StringComparer.Ordinal);
        Dictionary<string, int> written = new(StringComparer.Ordinal);
        if (!vocabulary.ContainsKey(options.UnknownToken))
        {
            throw new ArgumentException($"The unknown token '{options.UnknownToken}' is not in the vocabulary.");
        }

        foreach (string token in new[] { options.UnknownToken, options.SeparatorToken, options.PaddingToken, options.ClassificationToken, options.MaskingToken })
        {
            special[token] = vocabulary.TryGetValue(token, out int id)
                ? id
                : throw new ArgumentException($"The special token '{token}' is not in the vocabulary.");

            // The split sees the text after lower-casing.
            written[options.ApplyBasicTokenization && options.LowerCaseBeforeTokenization ? token.ToLowerInvariant() : token] = id;
        }

        PreTokenizer preTokenizer = options.PreTokenizer
            ?? (options.ApplyBasicTokenization
                ? PreTokenizer.CreateWordOrPunctuation(options.SplitOnSpecialTokens ? written : null)
                : PreTokenizer.CreateWhiteSpace());
        Normalizer? normalizer = options.Normalizer
            ?? (options.ApplyBasicTokenization ? new BertNormalizer(options.LowerCaseBeforeTokenization, options.IndividuallyTokenizeCjk, options.RemoveNonSpacingMarks) : null);
        foreach ((string token, int id) in written)
        {
            vocabulary.TryAdd(token, id);
        }

        return new BertTokenizer(vocabulary, options, preTokenizer, normalizer, special);
    }

    public new IReadOnlyList<int> EncodeToIds(string text, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(text, addSpecialTokens: true, considerPreTokenization, considerNormalization);

    public new IReadOnlyList<int> EncodeToIds(ReadOnlySpan<char> text, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(text, addSpecialTokens: true, considerPreTokenization, considerNormalization);

    public IReadOnlyList<int> EncodeToIds(string text, bool addSpecialTokens, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(text.AsSpan(), addSpecialTokens, considerPreTokenization, considerNormalization);

    public IReadOnlyList<int> EncodeToIds(ReadOnlySpan<char> text, bool addSpecialTokens, bool considerPreTokenization = true, bool considerNormalization = true)
    {
        IReadOnlyList<int> ids = ((Tokenizer)this).EncodeToIds(text, considerPreTokenization, considerNormalization);
        return addSpecialTokens ? BuildInputsWithSpecialTokens(ids) : ids;
    }

    public new IReadOnlyList<int> EncodeToIds(string text, int maxTokenCount, out string? normalizedText, out int charsConsumed, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(text.AsSpan(), maxTokenCount, addSpecialTokens: true, out normalizedText, out charsConsumed, considerPreTokenization, considerNormalization);

    public new IReadOnlyList<int> EncodeToIds(ReadOnlySpan<char> text, int maxTokenCount, out string? normalizedText, out int charsConsumed, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(text, maxTokenCount, addSpecialTokens: true, out normalizedText, out charsConsumed, considerPreTokenization, considerNormalization);

    public IReadOnlyList<int> EncodeToIds(string text, int maxTokenCount, bool addSpecialTokens, out string? normalizedText, out int charsConsumed, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(text.AsSpan(), maxTokenCount, addSpecialTokens, out normalizedText, out charsConsumed, considerPreTokenization, considerNormalization);

    public IReadOnlyList<int> EncodeToIds(ReadOnlySpan<char> text, int maxTokenCount, bool addSpecialTokens, out string? normalizedText, out int charsConsumed, bool considerPreTokenization = true, bool considerNormalization = true)
    {
        int limit = addSpecialTokens ? maxTokenCount - 2 : maxTokenCount;
        IReadOnlyList<int> ids = ((Tokenizer)this).EncodeToIds(text, limit, out normalizedText, out charsConsumed, considerPreTokenization, considerNormalization);
        return addSpecialTokens ? BuildInputsWithSpecialTokens(ids) : ids;
    }

    public IReadOnlyList<int> BuildInputsWithSpecialTokens(IEnumerable<int> tokenIds, IEnumerable<int>? additionalTokenIds = null)
    {
        ArgumentNullException.ThrowIfNull(tokenIds);
        List<int> ids = [ClassificationTokenId, .. tokenIds, SeparatorTokenId];
        if (additionalTokenIds is not null)
        {
            ids.AddRange(additionalTokenIds);
            ids.Add(SeparatorTokenId);
        }

        return ids;
    }

    public IReadOnlyList<int> CreateTokenTypeIdsFromSequences(IEnumerable<int> tokenIds, IEnumerable<int>? additionalTokenIds = null)
    {
        ArgumentNullException.ThrowIfNull(tokenIds);
        return [.. Enumerable.Repeat(0, tokenIds.Count() + 2), .. Enumerable.Repeat(1, additionalTokenIds is null ? 0 : additionalTokenIds.Count() + 1)];
    }
}
