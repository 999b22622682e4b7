using System.Text.Json;
using Retro.Tokenizers;

namespace Retro.Embedders;

/// <summary>A JSON file of an embedder's folder, read as hostile input: every fault names the file, the key, and what was expected.</summary>
internal sealed class EmbedderFile : IDisposable
{
    private readonly string _path;
    private readonly JsonDocument _document;

    private EmbedderFile(string path, JsonDocument document)
    {
        _path = path;
        _document = document;
    }

    /// <summary>The file's outermost value.</summary>
    public JsonElement Root => _document.RootElement;

    /// <summary>Opens a file that has to be there.</summary>
    /// <exception cref="CheckpointException">It is missing, cannot be read, or is not of this kind.</exception>
    public static EmbedderFile Open(string path, JsonValueKind kind = JsonValueKind.Object)
    {
        byte[] json;
        try
        {
            json = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(
                File.Exists(path) ? $"{path} cannot be read: {exception.Message}" : $"{path} is missing; the folder of a text embedder holds config.json, model.safetensors and the tokenizer's files.", exception);
        }

        try
        {
            JsonDocument document = TokenizerFiles.Json(json);
            if (document.RootElement.ValueKind == kind)
            {
                return new EmbedderFile(path, document);
            }

            document.Dispose();
            throw new CheckpointException($"{path} has to hold a JSON {(kind == JsonValueKind.Array ? "array" : "object")}.");
        }
        catch (JsonException exception)
        {
            throw new CheckpointException($"{path} is not valid JSON: {exception.Message}", exception);
        }
    }

    /// <summary>Opens a file that may be absent.</summary>
    public static EmbedderFile? OpenIfThere(string path) => File.Exists(path) ? Open(path) : null;

    /// <summary>A value; null where the key is missing or null.</summary>
    public JsonElement? Value(string key) => Root.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>A whole number; null where the key is missing or null.</summary>
    public int? Integer(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) ? number
            : throw Wrong(key, "a whole number", value);

    /// <summary>A number; null where the key is missing or null.</summary>
    public double? Number(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind == JsonValueKind.Number ? value.GetDouble()
            : throw Wrong(key, "a number", value);

    /// <summary>A truth value; null where the key is missing or null.</summary>
    public bool? Boolean(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean()
            : throw Wrong(key, "true or false", value);

    /// <summary>A string; null where the key is missing or null.</summary>
    public string? Text(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind == JsonValueKind.String ? value.GetString()
            : throw Wrong(key, "a string", value);

    /// <summary>Refuses a value that would change the result and is not supported.</summary>
    public CheckpointException Unsupported(string key, string value, string supported)
        => new($"{_path}: \"{key}\" is {value}; supported is {supported}.");

    /// <summary>A fault of the file.</summary>
    public CheckpointException Fault(string fault) => new($"{_path}: {fault}");

    /// <inheritdoc/>
    public void Dispose() => _document.Dispose();

    private CheckpointException Wrong(string key, string expected, JsonElement value)
        => new($"{_path}: \"{key}\" has to be {expected}, not {Shorten(value.GetRawText())}.");

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "...";
}
