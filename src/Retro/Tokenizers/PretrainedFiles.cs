namespace Retro.Tokenizers;

/// <summary>Loads a pretrained model's tokenizer for the rooms that work with <see cref="RetroTokenizer"/>.</summary>
internal static class PretrainedFiles
{
    // Tokens that end a document, in the order of preference.
    private static readonly string[] s_ends =
    [
        RetroTokenizer.EndOfTextToken, "<|end_of_text|>", "</s>", "<eos>", "[SEP]", "<|eot_id|>", "<|im_end|>",
    ];

    /// <summary>Loads a folder's tokenizer, or a single file, which is saved under its usual name.</summary>
    public static RetroTokenizer Load(string path)
    {
        // A file under its usual name is its folder's tokenizer; one under another stands by itself.
        bool isFile = File.Exists(path), isAlone = isFile && Path.GetFileName(path) is not (TokenizerJson.FileName or SentencePiecePipeline.FileName);
        string folder = isFile ? Path.GetDirectoryName(Path.GetFullPath(path))! : path;
        TokenizerConfig config = isAlone ? TokenizerConfig.Read(null, path) : TokenizerConfig.OfFolder(folder);

        // transformers adds the tokens of tokenizer_config.json to those of the tokenizer's own file, with its flags.
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(path, isAlone ? null : TokenizerConfig.SpecialIn(folder), config.Flagged);
        TextPipeline pipeline = tokenizer.Pipeline;
        string name = pipeline is SentencePiecePipeline ? SentencePiecePipeline.FileName : TokenizerJson.FileName;
        RequireAgreement(folder, config, name, pipeline);
        config.RequireAdded(name, pipeline);
        config = isAlone ? config : Completed(config, folder, pipeline);
        (int end, int begin) = Ends(config, pipeline, path);
        List<(string Name, byte[] Content)> files = isAlone ? [(name, TokenizerFiles.Read(path))] : [.. new[] { name, SentencePiecePipeline.FileName }
            .Distinct()
            .Where(file => File.Exists(Path.Combine(folder, file)))
            .Select(file => (file, TokenizerFiles.Read(Path.Combine(folder, file))))];
        if (config.Content is { } content)
        {
            files.Insert(0, (WordPiece.ConfigurationFile, content));
        }

        return new RetroTokenizer(tokenizer, end, files, begin, Beyond(config, end, pipeline));
    }

    /// <summary>
    /// A folder's configuration with the end of a document that other files of the folder name, where it names none itself: the file of special tokens, or the
    /// id in the model's own configurations. A guess by a usual name comes after.
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="pipeline">The tokenizer.</param>
    /// <exception cref="CorpusException">A file cannot be used.</exception>
    public static TokenizerConfig Completed(TokenizerConfig config, string folder, TextPipeline pipeline)
    {
        if (config.EndToken is not null)
        {
            return config;
        }

        string? named = config.EndBeside(folder) is { } beside && pipeline.IdOf(beside) >= 0 ? beside : GenerationFiles.EndsIn(folder)
            .Where(id => id >= 0 && id < pipeline.VocabularySize && !pipeline.Gives(id))
            .Select(id => pipeline.Decode([id], skipSpecial: false))
            .FirstOrDefault(token => pipeline.IdOf(token) >= 0);

        // What the tokenizer's file says by itself needs no word.
        return named is null || pipeline.IdOf(named) == UsualEnd(pipeline) ? config : config.WithEnd(named);
    }

    /// <summary>The token that ends a document where no configuration names one, -1 where there is none.</summary>
    public static int UsualEnd(TextPipeline pipeline)
        => pipeline.EndId >= 0 ? pipeline.EndId : s_ends.Select(pipeline.IdOf).FirstOrDefault(id => id >= 0, -1);

    /// <summary>What a configuration says of the end of a document that the tokenizer's own file does not.</summary>
    public static TokenizerConfig Beyond(TokenizerConfig config, int end, TextPipeline pipeline)
        => end == UsualEnd(pipeline) ? TokenizerConfig.Nothing : TokenizerConfig.Nothing with { EndToken = config.EndToken };

    /// <summary>
    /// The ids that end and begin a document. It begins with what the configuration says, else with the one token that the tokenizer's own template puts before
    /// a text, else with the usual end of documents, where the vocabulary has one, else with its end: a configuration may name the end of a turn.
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <param name="pipeline">The tokenizer.</param>
    /// <param name="place">Names it in the error.</param>
    /// <exception cref="CorpusException">There is no such token, it is a piece of ordinary text, or the template has another.</exception>
    public static (int End, int Begin) Ends(TokenizerConfig config, TextPipeline pipeline, string place)
    {
        int end = config.EndToken is { } last ? Named("eos_token", last) : UsualEnd(pipeline);
        if (end < 0)
        {
            throw new CorpusException(
                $"The tokenizer of {place} has no token that ends a document (looked for {string.Join(", ", s_ends)}). Name one as eos_token in "
                    + $"{WordPiece.ConfigurationFile}.");
        }

        // transformers puts the begin there by its configuration, whatever the template of the tokenizer's own file has.
        int? own = pipeline.Before is [int one] ? one : null;
        int? said = config.AddsBegin == true && config.BeginToken is { } first ? Named("bos_token", first) : null;
        if (said is not null && own is not null && said != own)
        {
            throw new CorpusException(
                $"The files of {place} contradict each other: by \"bos_token\" of {config.Path} a text begins with {said}, by the tokenizer's own file with "
                    + $"{own}; supported is one in both. Keep the one that the model was trained with.");
        }

        int apart = UsualEnd(pipeline) is >= 0 and int usual && !pipeline.Gives(usual) ? usual : end;
        int begin = config.AddsBegin == false ? apart
            : (said ?? own) is { } known ? known
            : pipeline.Kind == WordPiece.KindName && pipeline.IdOf(WordPiece.ClassificationToken) is >= 0 and int classification ? classification
            : apart;
        RequireNoText(end, "eos_token");
        if (begin != end)
        {
            RequireNoText(begin, "bos_token");
        }

        return (end, begin);

        int Named(string key, string token)
            => pipeline.IdOf(token) is >= 0 and int id
                ? id
                : throw new CorpusException(
                    $"The file {config.Path} says \"{key}\" \"{token}\", which the tokenizer of {place} does not have. Take the tokenizer.json of the same "
                        + "model.");

        void RequireNoText(int id, string key)
        {
            if (pipeline.Gives(id))
            {
                string does = key == "eos_token" ? "ends" : "begins", token = pipeline.Decode([id], skipSpecial: false);
                throw new CorpusException(
                    $"The token of {place} that {does} a document, {id}, {(pipeline.SpelledTexts.Contains(token)
                        ? "is found in any text that spells it out, which would do so, too: its file does not call it special. Name it"
                        : "is a piece of ordinary text, which would do so, too. Name one that is not")} as {key} in {WordPiece.ConfigurationFile}.");
            }
        }
    }

    // transformers lets tokenizer_config.json win over the tokenizer's own file, the library of the latter knows nothing of the former: the same folder would
    // have two vocabularies' ids.
    private static void RequireAgreement(string folder, TokenizerConfig config, string name, TextPipeline pipeline)
    {
        if (pipeline is JsonPipeline { BertNormalizer: { } normalizer })
        {
            Require("do_lower_case", config.LowerCase, $"the normalizer of {name} \"lowercase\"", normalizer.LowersCase);
            Require("strip_accents", config.StripAccents, $"the normalizer of {name} \"strip_accents\"", normalizer.StripsAccents);
            Require("tokenize_chinese_chars", config.SeparateIdeographs, $"the normalizer of {name} \"handle_chinese_chars\"", normalizer.SeparatesIdeographs);
        }

        if (pipeline.AddsSpace is { } adds && !(pipeline.MarksSpaces && config.IsOfAnyClass))
        {
            Require("add_prefix_space", config.AddsSpace, $"{name} of a space before a text", adds);
        }

        void Require(string key, bool? said, string counterpart, bool does)
        {
            if (said is { } value && value != does)
            {
                throw new CorpusException(
                    $"The files of {folder} contradict each other: {WordPiece.ConfigurationFile} says \"{key}\" {(value ? "true" : "false")}, {counterpart} "
                        + $"{(does ? "true" : "false")}; supported is one value in both. Keep the one that the model was trained with.");
            }
        }
    }
}
