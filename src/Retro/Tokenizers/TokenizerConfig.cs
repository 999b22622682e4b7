using System.Text.Json;
using System.Text.Json.Serialization;

namespace Retro.Tokenizers;

/// <summary>What a <c>tokenizer_config.json</c> says that changes ids; the rest of it (chat templates, padding) does not count.</summary>
/// <param name="LowerCase"><c>do_lower_case</c>.</param>
/// <param name="StripAccents"><c>strip_accents</c>.</param>
/// <param name="SeparateIdeographs"><c>tokenize_chinese_chars</c>.</param>
/// <param name="EndToken"><c>eos_token</c>: a text, or an object that holds one.</param>
/// <param name="AddsBegin"><c>add_bos_token</c>.</param>
internal sealed record TokenizerConfig(bool? LowerCase, bool? StripAccents, bool? SeparateIdeographs, string? EndToken, bool? AddsBegin)
{
    /// <summary><c>bos_token</c>: begins a text where <see cref="AddsBegin"/> says so.</summary>
    [JsonIgnore]
    public string? BeginToken { get; private init; }

    // What tells of another cut, or other special tokens, than a vocabulary of its kind stands for.
    private static readonly string[] s_beyond =
    [
        "tokenizer_class", "word_tokenizer_type", "subword_tokenizer_type", "do_basic_tokenize", "never_split", "add_prefix_space", "unk_token", "sep_token",
        "cls_token",
    ];

    private Dictionary<string, string> Beyond { get; init; } = [];

    /// <summary>Reads a file.</summary>
    /// <param name="content">Its content; null where there is none, which says nothing.</param>
    /// <param name="path">Names it in the error.</param>
    /// <exception cref="CorpusException">It is no JSON object, or a value is of another kind.</exception>
    public static TokenizerConfig Read(byte[]? content, string path)
    {
        if (content is null)
        {
            return new TokenizerConfig(null, null, null, null, null);
        }

        try
        {
            using JsonDocument document = Utf8Json.Parse(content);
            JsonElement root = document.RootElement;
            return new TokenizerConfig(
                Flag("do_lower_case"), Flag("strip_accents"), Flag("tokenize_chinese_chars"), Token("eos_token"), Flag("add_bos_token"))
            {
                BeginToken = Token("bos_token"),
                Beyond = s_beyond.Select(key => (Key: key, Value: TokenizerJson.Part(root, key)))
                    .Where(entry => entry.Value is not null)
                    .ToDictionary(entry => entry.Key, entry => Token(entry.Key) ?? entry.Value!.Value.GetRawText()),
            };

            bool? Flag(string name) => !root.TryGetProperty(name, out JsonElement value) || value.ValueKind == JsonValueKind.Null ? null
                : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean()
                : throw new JsonException($"\"{name}\" is {value.GetRawText()}; supported is true, false or null.");

            string? Token(string name) => TokenizerJson.Part(root, name) switch
            {
                { ValueKind: JsonValueKind.String } text => text.GetString(),
                { ValueKind: JsonValueKind.Object } token => TokenizerJson.Part(token, "content")?.GetString(),
                _ => null,
            };
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new CorpusException($"The file {path} cannot be used: {exception.Message} Correct it or take it away.", exception);
        }
    }

    /// <summary>Refuses what says that a text is cut in another way than the vocabulary's kind of file stands for.</summary>
    /// <param name="path">The configuration's file.</param>
    /// <param name="vocabulary">The vocabulary's file.</param>
    /// <param name="supported">The values that are known, by key; a class with or without "Fast".</param>
    /// <exception cref="CorpusException">A value is another.</exception>
    public void Require(string path, string vocabulary, Dictionary<string, string[]> supported)
    {
        foreach ((string key, string[] values) in supported)
        {
            if (Beyond.TryGetValue(key, out string? said) && !values.Contains(said, StringComparer.Ordinal)
                && !(key == "tokenizer_class" && said.EndsWith("Fast", StringComparison.Ordinal) && values.Contains(said[..^4], StringComparer.Ordinal)))
            {
                throw new CorpusException(
                    $"The file {path} says \"{key}\" {said}, which changes ids in a way that {vocabulary} does not tell; supported beside it is "
                        + $"{string.Join(", ", values)}. Take the model's tokenizer.json as well.");
            }
        }
    }
}
