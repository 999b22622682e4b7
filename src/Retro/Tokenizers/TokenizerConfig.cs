using System.Text.Json;

namespace Retro.Tokenizers;

/// <summary>What a <c>tokenizer_config.json</c> says that changes ids; the rest of it (chat templates, names of classes) does not count.</summary>
/// <param name="LowerCase"><c>do_lower_case</c>.</param>
/// <param name="StripAccents"><c>strip_accents</c>.</param>
/// <param name="SeparateIdeographs"><c>tokenize_chinese_chars</c>.</param>
/// <param name="EndToken"><c>eos_token</c>: a text, or an object that holds one.</param>
/// <param name="AddsBegin"><c>add_bos_token</c>.</param>
internal sealed record TokenizerConfig(bool? LowerCase, bool? StripAccents, bool? SeparateIdeographs, string? EndToken, bool? AddsBegin)
{
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
            bool? Flag(string name) => !root.TryGetProperty(name, out JsonElement value) || value.ValueKind == JsonValueKind.Null ? null
                : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean()
                : throw new JsonException($"\"{name}\" is {value.GetRawText()}; supported is true, false or null.");
            JsonElement? end = TokenizerJson.Part(root, "eos_token");
            string? endToken = end is { ValueKind: JsonValueKind.String } text
                ? text.GetString()
                : end is { } token
                ? TokenizerJson.Part(token, "content")?.GetString()
                : null;
            return new TokenizerConfig(Flag("do_lower_case"), Flag("strip_accents"), Flag("tokenize_chinese_chars"), endToken, Flag("add_bos_token"));
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new CorpusException($"The file {path} cannot be used: {exception.Message} Correct it or take it away.", exception);
        }
    }
}
