namespace Retro.Tokenizers;

/// <summary>Loads a pretrained model's tokenizer for the rooms that work with <see cref="RetroTokenizer"/>.</summary>
internal static class PretrainedFiles
{
    private static readonly string[] Ends = [.. ByteLevelBpe.Ends, "[SEP]", "<|eot_id|>", "<|im_end|>"];

    /// <summary>Loads a folder's tokenizer, or a single file, which is saved under its usual name.</summary>
    public static RetroTokenizer Load(string folder)
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(folder);
        List<(string Name, byte[] Content)> files = File.Exists(folder)
            ? [(folder.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? TokenizerJson.FileName : SentencePiecePipeline.FileName, TokenizerFiles.Read(folder))] : [];
        foreach (string name in new[] { WordPiece.ConfigurationFile, TokenizerJson.FileName, SentencePiecePipeline.FileName })
        {
            if (File.Exists(Path.Combine(folder, name)))
            {
                files.Add((name, TokenizerFiles.Read(Path.Combine(folder, name))));
            }
        }

        TextPipeline pipeline = tokenizer.Pipeline;
        TokenizerConfig config = TokenizerConfig.Read(files.FirstOrDefault(file => file.Name == WordPiece.ConfigurationFile).Content, Path.Combine(folder, WordPiece.ConfigurationFile));
        string[] candidates = config.EndToken is null ? Ends : [config.EndToken, .. Ends];
        int end = config.EndToken is { } named && pipeline.IdOf(named) is >= 0 and int own ? own
            : pipeline.EndId >= 0 ? pipeline.EndId
            : Ends.Select(pipeline.IdOf).FirstOrDefault(id => id >= 0, -1);
        if (end < 0)
        {
            throw new CorpusException($"The tokenizer of {folder} has no token that ends a document (looked for {string.Join(", ", candidates)}). Name one as eos_token in {WordPiece.ConfigurationFile}.");
        }

        int? begin = config.AddsBegin == false ? end
            : pipeline.Kind == WordPiece.KindName && pipeline.IdOf(WordPiece.ClassificationToken) is >= 0 and int classification ? classification
            : null;
        return new RetroTokenizer(tokenizer, end, files, begin);
    }
}
