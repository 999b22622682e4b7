namespace Retro.Tokenizers;

/// <summary>Loads BERT's <c>vocab.txt</c>, one piece a line, and <c>tokenizer_config.json</c> beside it where there is one.</summary>
internal static class WordPiece
{
    public const string VocabularyFile = "vocab.txt";
    public const string ConfigurationFile = "tokenizer_config.json";
    public const string KindName = "WordPiece";
    public const string ClassificationToken = "[CLS]";
    private const string SeparatorToken = "[SEP]";
    private const string Unknown = "[UNK]";
    private const string Continuing = "##";
    private const int MostCharacters = 100;
    private static readonly Dictionary<string, string[]> s_supported = new(StringComparer.Ordinal)
    {
        // Those of transformers that cut as BERT does; PreTrainedTokenizerFast and TokenizersBackend are names for any.
        ["tokenizer_class"] =
        [
            "BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer", "SqueezeBertTokenizer",
            "RetriBertTokenizer", "LayoutLMTokenizer", "SplinterTokenizer", "LxmertTokenizer", "RealmTokenizer", "DPRContextEncoderTokenizer",
            "DPRQuestionEncoderTokenizer", "DPRReaderTokenizer", "PreTrainedTokenizer", "TokenizersBackend",
        ],
        ["word_tokenizer_type"] = ["basic"],
        ["subword_tokenizer_type"] = ["wordpiece"],
        ["do_basic_tokenize"] = ["true"],
        ["never_split"] = ["[]"],
        ["unk_token"] = [Unknown],
        ["sep_token"] = [SeparatorToken],
        ["cls_token"] = [ClassificationToken],
    };

    private static readonly string[] s_special = ["[PAD]", Unknown, ClassificationToken, SeparatorToken, "[MASK]"];

    public static RetroTokenizer Load(string folder)
    {
        string path = Path.Combine(folder, VocabularyFile);
        List<(string Name, byte[] Content)> files = [(VocabularyFile, TokenizerFiles.Read(path))];
        TokenizerConfig config = TokenizerConfig.OfFolder(folder);
        config.Require(VocabularyFile, s_supported);
        string[] pieces = ReadPieces(files[^1].Content, path);
        string? lacking = new[] { SeparatorToken, Unknown }.FirstOrDefault(token => !pieces.Contains(token, StringComparer.Ordinal));
        if (lacking is not null)
        {
            throw new CorpusException(
                $"The vocabulary {path} lacks {lacking}, which {(lacking == Unknown ? "stands for what it does not know" : "ends a document")}. Take the "
                    + "vocab.txt of a BERT.");
        }

        bool lowerCase = config.LowerCase ?? true;
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        for (int id = 0; id < pieces.Length; id++)
        {
            // Of a piece that comes twice the last line counts, as in the original.
            vocabulary[pieces[id]] = id;
        }

        config.RequireAdded(VocabularyFile);
        bool ideographs = config.SeparateIdeographs ?? true, accents = config.StripAccents ?? lowerCase;
        BertNormalizer normalizer = new(cleanText: true, ideographs, accents, lowerCase);
        AddedToken[] special = [.. s_special.Union(config.Special).Union(config.EndBeside(folder) is { } named ? [named] : []).Where(vocabulary.ContainsKey)
            .Select(token =>
                new AddedToken(vocabulary[token], token, Special: true, SingleWord: false, StripLeft: false, StripRight: false, Normalized: false))];
        bool framed = vocabulary.TryGetValue(ClassificationToken, out int classification);
        int separator = vocabulary[SeparatorToken];
        JsonPipeline pipeline = new(
            new AddedTokens(special, normalizer.Normalize),
            normalizer.Normalize,
            (text, _) => text,
            [new BertPreTokenizer()],
            new WordPieceModel(vocabulary, Unknown, Continuing, MostCharacters, special.Select(token => token.Content).ToHashSet(StringComparer.Ordinal)),
            texts => string.Concat(Decoders.WordPiece(texts, Continuing, cleanUp: true)),
            framed ? [classification] : [],
            framed ? [separator] : [],
            addsSpace: true)
        {
            EndId = separator,
        };
        config = PretrainedFiles.Completed(config, folder, pipeline);
        (int end, int begin) = PretrainedFiles.Ends(config, pipeline, folder);
        if (config.Content is { } content)
        {
            files.Insert(0, (ConfigurationFile, content));
        }

        TokenizerConfig beyond = PretrainedFiles.Beyond(config, end, pipeline) with
        {
            LowerCase = lowerCase ? null : false,
            StripAccents = accents == lowerCase ? null : accents,
            SeparateIdeographs = ideographs ? null : false,
        };
        return new RetroTokenizer(new PretrainedTokenizer(pipeline), end, files, begin, beyond);
    }

    private static string[] ReadPieces(byte[] content, string path)
    {
        // Only what a StreamReader takes for line ends: some vocabularies hold U+2028 and U+0085 as pieces.
        using StringReader reader = new(TextDecoding.Decode(content, $"The file {path}"));
        List<string> pieces = [];
        while (reader.ReadLine() is { } line)
        {
            pieces.Add(line);
        }

        return pieces.ToArray();
    }
}
