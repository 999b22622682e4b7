namespace Retro.Tokenizers;

/// <summary>Loads a pretrained model's tokenizer for the rooms that work with <see cref="RetroTokenizer"/>.</summary>
internal static class PretrainedFiles
{
    private static readonly string[] s_ends = [.. ByteLevelBpe.Ends, "[SEP]", "<|eot_id|>", "<|im_end|>"];

    /// <summary>Loads a folder's tokenizer, or a single file, which is saved under its usual name.</summary>
    public static RetroTokenizer Load(string folder)
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(folder);
        List<(string Name, byte[] Content)> files = File.Exists(folder)
            ? [(folder.EndsWith(".json", StringComparison.OrdinalIgnoreCase)
                ? TokenizerJson.FileName
                : SentencePiecePipeline.FileName, TokenizerFiles.Read(folder))] : [];
        foreach (string name in new[] { WordPiece.ConfigurationFile, TokenizerJson.FileName, SentencePiecePipeline.FileName })
        {
            if (File.Exists(Path.Combine(folder, name)))
            {
                files.Add((name, TokenizerFiles.Read(Path.Combine(folder, name))));
            }
        }

        TextPipeline pipeline = tokenizer.Pipeline;
        TokenizerConfig config = TokenizerConfig.Read(
            files.FirstOrDefault(file => file.Name == WordPiece.ConfigurationFile).Content, Path.Combine(folder, WordPiece.ConfigurationFile));
        RequireAgreement(folder, config, (pipeline as JsonPipeline)?.BertNormalizer);
        string[] candidates = config.EndToken is null ? s_ends : [config.EndToken, .. s_ends];
        int end = config.EndToken is { } named && pipeline.IdOf(named) is >= 0 and int own ? own
            : pipeline.EndId >= 0 ? pipeline.EndId
            : s_ends.Select(pipeline.IdOf).FirstOrDefault(id => id >= 0, -1);
        if (end < 0)
        {
            throw new CorpusException(
                $"The tokenizer of {folder} has no token that ends a document (looked for {string.Join(", ", candidates)}). Name one as eos_token in "
                    + $"{WordPiece.ConfigurationFile}.");
        }

        // transformers puts the begin there by its configuration where the template of tokenizer.json has none.
        int? begin = config.AddsBegin == false ? end
            : config.AddsBegin == true && pipeline.Before.Length == 0 && config.BeginToken is { } first && pipeline.IdOf(first) is >= 0 and int said ? said
            : pipeline.Kind == WordPiece.KindName && pipeline.IdOf(WordPiece.ClassificationToken) is >= 0 and int classification ? classification
            : null;
        return new RetroTokenizer(tokenizer, end, files, begin);
    }

    // transformers lets tokenizer_config.json win over tokenizer.json for BERT's normalizer, the library of the latter knows nothing of the former: the same
    // folder would have two vocabularies' ids.
    private static void RequireAgreement(string folder, TokenizerConfig config, BertNormalizer? normalizer)
    {
        if (normalizer is null)
        {
            return;
        }

        Require("do_lower_case", config.LowerCase, "lowercase", normalizer.LowersCase);
        Require("strip_accents", config.StripAccents, "strip_accents", normalizer.StripsAccents);
        Require("tokenize_chinese_chars", config.SeparateIdeographs, "handle_chinese_chars", normalizer.SeparatesIdeographs);

        void Require(string key, bool? said, string counterpart, bool does)
        {
            if (said is { } value && value != does)
            {
                throw new CorpusException(
                    $"The files of {folder} contradict each other: {WordPiece.ConfigurationFile} says \"{key}\" {(value ? "true" : "false")}, the "
                        + $"normalizer of {TokenizerJson.FileName} \"{counterpart}\" "
                    + $"{(does ? "true" : "false")}; supported is one value in both. Keep the one that the model was trained with.");
            }
        }
    }
}
