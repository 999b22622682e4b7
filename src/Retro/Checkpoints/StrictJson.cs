using System.Text.Json;

namespace Retro.Checkpoints;

/// <summary>
/// A JSON file that others' programs wrote, read as hostile input: every fault names the file, the key, what came and what was expected. Of a model's
/// configuration every key is read, known to change nothing, or refused by name (<see cref="RequireAllRead"/>), so that no setting that would change the result
/// is passed over.
/// </summary>
internal sealed class StrictJson : IDisposable
{
    // What transformers has in the configuration of any model: bookkeeping, dropout (which evaluation lacks, and training sets anew), generation and heads of
    // other tasks.
    private static readonly HashSet<string> s_harmless = new(StringComparer.Ordinal)
    {
        "activation_dropout", "architectures", "attention_dropout", "attention_probs_dropout_prob", "attn_implementation", "attn_pdrop",
        "bad_words_ids", "begin_suppress_tokens",
        "bos_token_id", "chunk_size_feed_forward", "classifier_dropout", "classifier_dropout_prob", "cls_token_id", "cross_attention_hidden_size",
        "custom_pipelines", "decoder_layerdrop", "decoder_start_token_id", "diversity_penalty", "do_sample", "dropout", "dtype", "early_stopping",
        "embd_dropout", "embd_pdrop", "embed_dropout", "embedding_dropout", "encoder_layerdrop", "encoder_no_repeat_ngram_size", "eos_token_id",
        "eos_token_ids", "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing",
        "hidden_dropout", "hidden_dropout_prob", "id2label", "initializer_range", "is_decoder", "is_llama_config", "label2id", "layerdrop", "length_penalty",
        "mask_token_id", "max_length", "max_new_tokens",
        "max_position_embeddings", "max_sequence_length", "min_length", "model_max_length", "n_ctx", "n_special", "name_or_path",
        "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels", "num_return_sequences", "num_steps", "output_attentions", "output_hidden_states",
        "output_past", "output_scores", "pad_token_id", "predict_special_tokens", "prefix", "pretraining_tp", "problem_type", "remove_invalid_values",
        "reorder_and_upcast_attn", "repetition_penalty",
        "resid_dropout", "resid_pdrop", "return_dict", "return_dict_in_generate", "sep_token_id", "summary_activation", "summary_first_dropout",
        "summary_proj_to_labels", "summary_type", "summary_use_proj", "suppress_tokens", "task_specific_params", "temperature", "tf_legacy_loss",
        "tie_encoder_decoder", "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript", "transformers.js_config", "transformers_version",
        "typical_p", "unk_token_id", "unsloth_fixed", "unsloth_version", "use_bfloat16", "use_cache", "use_flash_attn",
        "use_return_dict", "xla_device",
    };

    private const string Quantization = "quantization_config";

    private readonly string _path;
    private readonly string _place;
    private readonly JsonElement _root;
    private readonly JsonDocument? _document;
    private readonly HashSet<string> _read = new(StringComparer.Ordinal);

    private StrictJson(string path, string place, JsonElement root, JsonDocument? document)
    {
        _path = path;
        _place = place;
        _root = root;
        _document = document;
        if (root.ValueKind == JsonValueKind.Object)
        {
            HashSet<string> keys = new(StringComparer.Ordinal);
            string? twice;
            try
            {
                twice = root.EnumerateObject().Select(property => property.Name).FirstOrDefault(name => !keys.Add(name));
            }
            catch (InvalidOperationException)
            {
                throw Fault("a key holds half a surrogate pair, which is no text");
            }

            if (twice is not null)
            {
                throw Fault($"\"{place}{twice}\" stands there twice; keep the one that is meant");
            }

            Keys = keys;
        }
    }

    /// <summary>The keys of an object.</summary>
    public IReadOnlySet<string> Keys { get; } = new HashSet<string>();

    /// <summary>Opens a file that has to be there.</summary>
    /// <param name="path">The file.</param>
    /// <param name="kind">What it has to hold: an object or an array.</param>
    /// <param name="hint">What to do where it is missing.</param>
    /// <exception cref="CheckpointException">It is missing, cannot be read, is no JSON or of another kind, or says a key twice.</exception>
    public static StrictJson Open(string path, JsonValueKind kind = JsonValueKind.Object, string hint = "copy it from where the folder comes from")
    {
        try
        {
            return Parse(path, SmallFile.Read(path), kind);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(File.Exists(path) ? $"{path} cannot be read: {exception.Message}" : $"{path} is missing; {hint}.", exception);
        }
    }

    /// <summary>Opens a file that may be absent.</summary>
    /// <inheritdoc cref="Open"/>
    public static StrictJson? OpenIfThere(string path) => File.Exists(path) ? Open(path) : null;

    /// <summary>Parses a file's content.</summary>
    /// <param name="path">Names it in a fault.</param>
    /// <param name="content">The content.</param>
    /// <param name="kind">What it has to hold: an object or an array.</param>
    /// <exception cref="CheckpointException">It is no JSON or of another kind, or says a key twice.</exception>
    public static StrictJson Parse(string path, byte[] content, JsonValueKind kind = JsonValueKind.Object)
    {
        JsonDocument? document = null;
        try
        {
            document = Utf8Json.Parse(content);
            return document.RootElement.ValueKind == kind
                ? new(path, "", document.RootElement, document)
                : throw new CheckpointException($"{path} has to hold a JSON {(kind == JsonValueKind.Array ? "array" : "object")}.");
        }
        catch (Exception exception)
        {
            document?.Dispose();
            throw exception is JsonException ? new CheckpointException($"{path} is not valid JSON: {exception.Message}", exception) : exception;
        }
    }

    /// <summary>The items of an array, each of which has to be an object.</summary>
    public IReadOnlyList<StrictJson> Items() => [.. _root.EnumerateArray().Select((item, i) => item.ValueKind == JsonValueKind.Object
        ? new StrictJson(_path, $"[{i}].", item, null)
        : throw Fault($"item {i} has to be an object, not {Shorten(item.GetRawText())}"))];

    /// <summary>A whole number; null where the key is missing or null.</summary>
    public int? Integer(string key)
        => Value(key) is not { } value ? null
            // 8192.0 is one, too, and what programs write that have computed it.
            : value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsInteger(number) && Math.Abs(number) <= int.MaxValue
                ? (int)number
            : throw Wrong(key, "a whole number", value);

    /// <summary>A whole number that has to be there and be positive.</summary>
    public int Size(string key)
        => Integer(key) is not { } number ? throw Fault($"\"{key}\" is missing; it has to be a positive whole number")
            : number > 0 ? number
            : throw Fault($"\"{key}\" is {number}; it has to be positive");

    /// <summary>A number; null where the key is missing or null.</summary>
    public double? Number(string key)
        => Value(key) is not { } value ? null
            : IsNumber(value) ? value.GetDouble()
            : throw Wrong(key, "a number", value);

    /// <summary>Numbers; null where the key is missing or null.</summary>
    public double[]? Numbers(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(IsNumber) ? [.. value.EnumerateArray().Select(item => item.GetDouble())]
            : throw Wrong(key, "a list of numbers", value);

    /// <summary>A truth value; null where the key is missing or null.</summary>
    public bool? Boolean(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean()
            : throw Wrong(key, "true or false", value);

    /// <summary>A string; null where the key is missing or null.</summary>
    public string? Text(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind == JsonValueKind.String ? String(key, value)
            : throw Wrong(key, "a string", value);

    /// <summary>Strings; null where the key is missing or null.</summary>
    public string[]? Texts(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String)
                ? [.. value.EnumerateArray().Select(item => String(key, item))]
            : throw Wrong(key, "a list of strings", value);

    /// <summary>An object inside, with its own keys; null where the key is missing or null.</summary>
    public StrictJson? Part(string key)
        => Value(key) is not { } value ? null
            : value.ValueKind == JsonValueKind.Object ? new(_path, $"{_place}{key}.", value, null)
            : throw Wrong(key, "an object", value);

    /// <summary>The whole text, for a reader that knows every key itself and refuses the others.</summary>
    public string Whole()
    {
        _read.UnionWith(Keys);
        return _root.GetRawText();
    }

    /// <summary>Whether the file says the key, null included.</summary>
    public bool Has(string key) => Keys.Contains(key);

    /// <summary>Refuses a truth value that would change the result and is not supported.</summary>
    public void Require(string key, bool supported)
    {
        if (Boolean(key) is { } value && value != supported)
        {
            throw Unsupported(key, value ? "true" : "false", supported ? "true" : "false");
        }
    }

    /// <summary>Refuses a string that would change the result and is not supported.</summary>
    public void Require(string key, string supported)
    {
        if (Text(key) is { } value && value != supported)
        {
            throw Unsupported(key, $"\"{value}\"", $"\"{supported}\"");
        }
    }

    /// <summary>Refuses every key that was not read, is not known to change nothing, and says something.</summary>
    /// <param name="alsoHarmless">Keys of this kind of model that are known to change nothing.</param>
    public void RequireAllRead(params string[] alsoHarmless)
    {
        string[] unknown = [.. _root.EnumerateObject()
            .Where(property => !_read.Contains(property.Name) && !alsoHarmless.Contains(property.Name, StringComparer.Ordinal) && !IsHarmless(property))
            .Select(property => $"\"{_place}{property.Name}\" ({Shorten(property.Value.GetRawText())})")];
        if (unknown.Length > 0 && Keys.Contains(Quantization) && !_read.Contains(Quantization))
        {
            throw Fault(
                $"\"{Quantization}\" says that the weights are quantized, which is not read here; take the model that they were made of, or save it "
                    + "dequantized in Python: model.dequantize().save_pretrained(folder)");
        }

        if (unknown.Length > 0)
        {
            throw new CheckpointException(
                $"{_path} says {string.Join(", ", unknown)}, which is not known here and could change the result; supported is a file without. Remove the "
                    + "key where it is known to change nothing.");
        }
    }

    /// <summary>A value that would change the result and is not supported.</summary>
    public CheckpointException Unsupported(string key, string value, string supported) => Fault($"\"{key}\" is {value}; supported is {supported}");

    /// <summary>A fault of the file.</summary>
    public CheckpointException Fault(string fault) => new($"{_path}{(_place.Length == 0 ? "" : $", \"{_place.TrimEnd('.')}\"")}: {fault}.");

    /// <inheritdoc/>
    public void Dispose() => _document?.Dispose();

    private static bool IsNumber(JsonElement value)
        => value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number);

    private JsonElement? Value(string key)
    {
        _read.Add(key);
        return _root.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }

    private bool IsHarmless(JsonProperty property)
        => property.Value.ValueKind == JsonValueKind.Null
            || (property.Value.ValueKind == JsonValueKind.Object && !property.Value.EnumerateObject().Any())
            || (property.Value.ValueKind == JsonValueKind.Array && property.Value.GetArrayLength() == 0)
            || (_place.Length == 0 && (s_harmless.Contains(property.Name) || property.Name.StartsWith('_')));

    private string String(string key, JsonElement value)
    {
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw Wrong(key, "text without half surrogate pairs", value);
        }
    }

    private CheckpointException Wrong(string key, string expected, JsonElement value)
        => Fault($"\"{key}\" has to be {expected}, not {Shorten(value.GetRawText())}");

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "...";
}
