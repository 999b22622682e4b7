using System.Text.Json;

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
        string? named = NamedEnd(files, folder);
        string[] candidates = named is null ? Ends : [named, .. Ends];
        int end = candidates.Select(pipeline.IdOf).FirstOrDefault(id => id >= 0, -1);
        if (end < 0)
        {
            throw new CorpusException($"The tokenizer of {folder} has no token that ends a document (looked for {string.Join(", ", candidates)}). Name one as eos_token in {WordPiece.ConfigurationFile}.");
        }

        byte[]?[] bytes = Enumerable.Range(0, pipeline.VocabularySize).Select(id => id == end ? [] : pipeline.BytesOf(id)).ToArray();
        int begin = pipeline.Kind == WordPiece.KindName ? pipeline.IdOf(WordPiece.ClassificationToken) : -1;
        return new RetroTokenizer(tokenizer, pipeline.Kind, end, bytes, files, begin < 0 ? null : begin);
    }

    /// <summary>The <c>eos_token</c> of <c>tokenizer_config.json</c>: a text, or an object that holds one.</summary>
    private static string? NamedEnd(List<(string Name, byte[] Content)> files, string folder)
    {
        byte[]? content = files.FirstOrDefault(file => file.Name == WordPiece.ConfigurationFile).Content;
        if (content is null)
        {
            return null;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(content);
            JsonElement? end = TokenizerJson.Part(document.RootElement, "eos_token");
            return end is { ValueKind: JsonValueKind.String } text ? text.GetString()
                : end is { } token ? TokenizerJson.Part(token, "content")?.GetString() : null;
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new CorpusException($"The file {Path.Combine(folder, WordPiece.ConfigurationFile)} is no JSON object: {exception.Message} Correct it or take it away.", exception);
        }
    }
}
