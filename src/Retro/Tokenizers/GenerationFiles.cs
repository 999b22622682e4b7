using System.Text.Json;

namespace Retro.Tokenizers;

/// <summary>What stands beside a pretrained model's tokenizer and says how the model generates; it changes no id of a text.</summary>
/// <param name="Files">The files, to be kept with the tokenizer's own.</param>
/// <param name="Ends">The ids that end a generated text.</param>
/// <param name="Special">The tokens that they call special, which chat templates write.</param>
internal sealed record GenerationFiles(IReadOnlyList<(string Name, byte[] Content)> Files, IReadOnlyList<int> Ends, IReadOnlyCollection<string> Special)
{
    /// <summary>The template of conversations, as a file of its own.</summary>
    public const string TemplateFile = "chat_template.jinja";

    /// <summary>How the model generates.</summary>
    public const string ConfigurationFile = "generation_config.json";

    /// <summary>What special tokens are called, where the tokenizer's configuration does not say.</summary>
    public const string SpecialTokensFile = "special_tokens_map.json";

    /// <summary>The model's own configuration.</summary>
    public const string ModelFile = "config.json";

    private const string EndsKey = "eos_token_id";

    /// <summary>Of a tokenizer without any.</summary>
    public static GenerationFiles None { get; } = new([], [], []);

    /// <summary>Reads those of a folder.</summary>
    /// <exception cref="CorpusException">A file cannot be read, or what it says ends a text is no id.</exception>
    public static GenerationFiles Of(string folder)
    {
        List<(string Name, byte[] Content)> files =
        [
            .. new[] { TemplateFile, WordPiece.ConfigurationFile, SpecialTokensFile, ConfigurationFile }
                .Where(name => File.Exists(Path.Combine(folder, name)))
                .Select(name => (name, TokenizerFiles.Read(Path.Combine(folder, name)))),
        ];
        int[] ends = EndsIn(folder);
        if (ends.Length > 0 && Said(folder, ConfigurationFile) is null)
        {
            // The model's configuration is not kept with the tokenizer: what it says of this goes where the newer models have it.
            files.RemoveAll(file => file.Name == ConfigurationFile);
            files.Add((ConfigurationFile, JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, int[]> { [EndsKey] = ends })));
        }

        return new(files, ends, TokenizerConfig.SpecialIn(folder));
    }

    /// <summary>The ids that end a generated text, by a folder's files.</summary>
    /// <exception cref="CorpusException">What one says is no id.</exception>
    public static int[] EndsIn(string folder) => Said(folder, ConfigurationFile) ?? Said(folder, ModelFile) ?? [];

    private static int[]? Said(string folder, string name)
    {
        string path = Path.Combine(folder, name);
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            using JsonDocument json = Utf8Json.Parse(TokenizerFiles.Read(path));
            return TokenizerJson.Part(json.RootElement, EndsKey) switch
            {
                null => null,
                { ValueKind: JsonValueKind.Array } several => [.. several.EnumerateArray().Select(id => id.GetInt32())],
                { } one => [one.GetInt32()],
            };
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException)
        {
            // What is wrong with the model's configuration is said where the model is read.
            return name == ModelFile ? null
                : throw new CorpusException(
                    $"The file {path} cannot be used: {exception.Message} \"{EndsKey}\" is to be an id or a list of ids.", exception);
        }
    }
}
