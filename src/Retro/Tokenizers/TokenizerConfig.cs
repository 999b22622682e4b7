using System.Globalization;
using System.Text.Json;

namespace Retro.Tokenizers;

/// <summary>What a <c>tokenizer_config.json</c> says that changes ids; the rest of it (chat templates, padding) does not count.</summary>
/// <param name="LowerCase"><c>do_lower_case</c>.</param>
/// <param name="StripAccents"><c>strip_accents</c>.</param>
/// <param name="SeparateIdeographs"><c>tokenize_chinese_chars</c>.</param>
/// <param name="EndToken"><c>eos_token</c>: a text, or an object that holds one.</param>
/// <param name="AddsBegin"><c>add_bos_token</c>.</param>
internal sealed record TokenizerConfig(bool? LowerCase, bool? StripAccents, bool? SeparateIdeographs, string? EndToken, bool? AddsBegin)
{
    /// <summary>The key of config.json by which an embedder is one that Retro saved: its kind of model tells nothing of its tokenizer.</summary>
    public const string OwnKey = "retro_identity";

    private const string AddedTokensKey = "added_tokens_decoder", FurtherKey = "extra_special_tokens", ClassKey = "tokenizer_class";

    /// <summary>Of added tokens, where neither the configuration nor tokenizer.json tells of them.</summary>
    public const string AddedTokensFile = "added_tokens.json";

    private const string SpecialTokensFile = GenerationFiles.SpecialTokensFile;

    // What tells of another cut, or other special tokens, than a vocabulary of its kind stands for.
    private static readonly string[] s_beyond =
    [
        ClassKey, "word_tokenizer_type", "subword_tokenizer_type", "do_basic_tokenize", "never_split", "add_prefix_space", "unk_token", "sep_token",
        "cls_token",
    ];

    // Of kinds of model whose tokenizer cuts or frames a text otherwise than its vocabulary's kind of file stands for.
    private static readonly Dictionary<string, string> s_classes = new(StringComparer.Ordinal)
    {
        ["roberta"] = "RobertaTokenizer", ["xlm-roberta"] = "XLMRobertaTokenizer", ["camembert"] = "CamembertTokenizer", ["mpnet"] = "MPNetTokenizer",
    };

    /// <summary><c>bos_token</c>: begins a text where <see cref="AddsBegin"/> says so.</summary>
    public string? BeginToken { get; private init; }

    /// <summary><c>add_prefix_space</c>.</summary>
    public bool? AddsSpace { get; private init; }

    /// <summary>The tokens that it names as special: under a key of their own, or among those that are added.</summary>
    public IReadOnlySet<string> Special { get; private init; } = new HashSet<string>();

    /// <summary>The tokens that the file itself adds, special ones among them, and how they are recognized.</summary>
    public IReadOnlyList<AddedToken> Flagged { get; private init; } = [];

    /// <summary>Whether it names a class of transformers that stands for any tokenizer and takes the tokenizer's own file as it is.</summary>
    public bool IsOfAnyClass => Beyond.GetValueOrDefault(ClassKey) is "PreTrainedTokenizerFast" or "TokenizersBackend";

    /// <summary>The file.</summary>
    public string Path { get; private init; } = "";

    /// <summary>Its bytes; null where there is none.</summary>
    public byte[]? Content { get; private init; }

    /// <summary>What says nothing.</summary>
    public static TokenizerConfig Nothing { get; } = new(null, null, null, null, null);

    /// <summary>What of it is part of a tokenizer's hash.</summary>
    public byte[] Counted => JsonSerializer.SerializeToUtf8Bytes(new { LowerCase, StripAccents, SeparateIdeographs, EndToken, AddsBegin });

    // Whether the file itself tells of added tokens.
    private bool ListsAdded { get; init; }

    private Dictionary<string, string> Beyond { get; init; } = [];

    // What is recognized in a text before it is cut, with the file that says so; null where that does not tell of added tokens. Special tokens are none of it:
    // text never gives them.
    private IReadOnlyList<(string Token, int Id, string File)>? Added { get; init; }

    /// <summary>Reads what a folder says; of a folder without such a file, nothing.</summary>
    /// <exception cref="CorpusException">A file cannot be read, is no JSON object, or a value is of another kind.</exception>
    public static TokenizerConfig OfFolder(string folder)
    {
        string Place(string name) => System.IO.Path.Combine(folder, name);
        string path = Place(WordPiece.ConfigurationFile), added = Place(AddedTokensFile), special = Place(SpecialTokensFile);
        TokenizerConfig config = Read(File.Exists(path) ? TokenizerFiles.Read(path) : null, path);

        // As transformers has it: the older file counts where neither of the newer ones tells of added tokens.
        // It lists special tokens, too, which other files name.
        return config.Added is not null || File.Exists(Place(TokenizerJson.FileName)) || !File.Exists(added) ? config : config with
        {
            Added = [.. Parse(added, root => root.EnumerateObject().Select(token => (token.Name, token.Value.GetInt32(), added)))
                .ExceptBy(config.Special.Concat(File.Exists(special) ? Parse(special, Named) : []), token => token.Name)],
        };
    }

    /// <summary>What the folder's older file of special tokens says ends a text; null: nothing, or it does not count beside this configuration.</summary>
    public string? EndBeside(string folder)
    {
        // As transformers has it: it counts where the configuration does not tell of added tokens itself.
        string special = System.IO.Path.Combine(folder, SpecialTokensFile);
        return ListsAdded || !File.Exists(special) ? null
            : Parse<string?>(special, root => TokenizerJson.Part(root, "eos_token") is { } end ? [TextOf(end)] : []).FirstOrDefault();
    }

    /// <summary>What a folder's files call special tokens.</summary>
    /// <exception cref="CorpusException">A file cannot be used.</exception>
    public static IReadOnlySet<string> SpecialIn(string folder)
    {
        TokenizerConfig config = OfFolder(folder);
        string special = System.IO.Path.Combine(folder, SpecialTokensFile);
        return config.ListsAdded || !File.Exists(special) ? config.Special : config.Special.Concat(Parse(special, Named)).ToHashSet(StringComparer.Ordinal);
    }

    /// <summary>The same with the token that ends a text, where it named none.</summary>
    public TokenizerConfig WithEnd(string token)
    {
        using JsonDocument document = Utf8Json.Parse(Content ?? "{}"u8.ToArray());
        Dictionary<string, JsonElement> root = [];
        foreach (JsonProperty entry in document.RootElement.EnumerateObject())
        {
            root[entry.Name] = entry.Value; // of one that comes twice the last counts, as it does where the file is read
        }

        root["eos_token"] = JsonSerializer.SerializeToElement(token);
        return Read(JsonSerializer.SerializeToUtf8Bytes(root), Path) with { Added = Added };
    }

    /// <summary>Reads a file.</summary>
    /// <param name="content">Its content; null where there is none, which says nothing.</param>
    /// <param name="path">Names it in the error.</param>
    /// <exception cref="CorpusException">It is no JSON object, or a value is of another kind.</exception>
    public static TokenizerConfig Read(byte[]? content, string path)
    {
        if (content is null)
        {
            return Nothing with { Path = path };
        }

        try
        {
            using JsonDocument document = Utf8Json.Parse(content);
            JsonElement root = document.RootElement;
            AddedToken[]? added = TokenizerJson.Part(root, AddedTokensKey) is { } tokens
                ? [.. tokens.EnumerateObject().Select(token => TokenizerJson.ReadAdded(token.Value, int.Parse(token.Name, CultureInfo.InvariantCulture)))]
                : null;
            HashSet<string> special = [.. Named(root), .. (added ?? []).Where(token => token.Special).Select(token => token.Content)];
            return new TokenizerConfig(
                Flag("do_lower_case"), Flag("strip_accents"), Flag("tokenize_chinese_chars"), Token("eos_token"), Flag("add_bos_token"))
            {
                Path = path,
                Content = content,
                BeginToken = Token("bos_token"),
                AddsSpace = Flag("add_prefix_space"),
                Special = special,
                ListsAdded = added is not null,
                Flagged = added ?? [],
                Added = added is null ? null : [.. added.Where(token => !special.Contains(token.Content)).Select(token => (token.Content, token.Id, path))],
                Beyond = s_beyond.Select(key => (Key: key, Value: TokenizerJson.Part(root, key)))
                    .Where(entry => entry.Value is not null)
                    .ToDictionary(entry => entry.Key, entry => Token(entry.Key) ?? entry.Value!.Value.GetRawText()),
            };

            bool? Flag(string name) => !root.TryGetProperty(name, out JsonElement value) || value.ValueKind == JsonValueKind.Null ? null
                : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean()
                : throw new JsonException($"\"{name}\" is {value.GetRawText()}; supported is true, false or null.");

            string? Token(string name) => TokenizerJson.Part(root, name) is { } token ? TextOf(token) : null;
        }
        catch (Exception exception) when (IsFault(exception))
        {
            throw Unusable(path, exception);
        }
    }

    /// <summary>
    /// Refuses what says that a text is cut in another way than the vocabulary's kind of file stands for, be it the model's configuration beside this one.
    /// </summary>
    /// <param name="vocabulary">The vocabulary's file.</param>
    /// <param name="supported">The values that are known, by key; a class with or without "Fast".</param>
    /// <exception cref="CorpusException">A value is another.</exception>
    public void Require(string vocabulary, Dictionary<string, string[]> supported)
    {
        foreach ((string key, string[] values) in supported)
        {
            (string Said, string File)? came = Beyond.TryGetValue(key, out string? own) ? (own, Path) : key == ClassKey ? ClassBeside() : null;
            if (came is var (said, file) && !values.Contains(said, StringComparer.Ordinal)
                && !(key == ClassKey && said.EndsWith("Fast", StringComparison.Ordinal) && values.Contains(said[..^4], StringComparer.Ordinal)))
            {
                throw new CorpusException(
                    $"The file {file} says \"{key}\" {said}, which changes ids in a way that {vocabulary} does not tell; supported beside it is "
                        + $"{string.Join(", ", values)}. Take the model's tokenizer.json as well.");
            }
        }
    }

    // As transformers has it where the tokenizer's configuration names no class: the model's does, or its kind stands for one. What is wrong with that file is
    // said where the model is read.
    private (string Said, string File)? ClassBeside()
    {
        string path = System.IO.Path.Combine(System.IO.Path.GetDirectoryName(Path)!, GenerationFiles.ModelFile);
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            using JsonDocument document = Utf8Json.Parse(TokenizerFiles.Read(path));
            JsonElement root = document.RootElement;
            return TokenizerJson.Part(root, ClassKey)?.GetString() is { } said ? (said, path)
                : TokenizerJson.Part(root, OwnKey) is null
                    && TokenizerJson.Part(root, "model_type")?.GetString() is { } kind
                    && s_classes.TryGetValue(kind, out string? usual) ? (usual, $"{path}, by its \"model_type\",")
                : null;
        }
        catch (Exception exception) when (IsFault(exception))
        {
            return null;
        }
    }

    /// <summary>Refuses tokens that are added to a vocabulary and that its file does not recognize: a text that holds one would get other ids.</summary>
    /// <param name="vocabulary">The vocabulary's file.</param>
    /// <param name="pipeline">What is made of it; null: what recognizes none.</param>
    /// <exception cref="CorpusException">There is one.</exception>
    public void RequireAdded(string vocabulary, TextPipeline? pipeline = null)
    {
        foreach ((string token, int id, string file) in Added ?? [])
        {
            if (pipeline?.Recognized(token) != id)
            {
                throw new CorpusException(
                    $"The file {file} adds the token \"{token}\" with the id {id}, which by {vocabulary} is not recognized in a text. Take the tokenizer.json "
                        + "of the same model.");
            }
        }
    }

    // What is under keys such as "pad_token", in either file. Of the further ones newer files have a list, or an object of names and tokens.
    private static IEnumerable<string> Named(JsonElement root) => root.EnumerateObject()
        .Where(entry => entry.Name.EndsWith("_token", StringComparison.Ordinal) || entry.Name is "additional_special_tokens" or FurtherKey)
        .SelectMany(entry => entry.Value.ValueKind == JsonValueKind.Array ? entry.Value.EnumerateArray().AsEnumerable()
            : entry is { Name: FurtherKey, Value.ValueKind: JsonValueKind.Object } ? entry.Value.EnumerateObject().Select(token => token.Value)
            : [entry.Value])
        .Select(TextOf)
        .OfType<string>();

    // A token is a text, or an object that holds one.
    private static string? TextOf(JsonElement token) => token.ValueKind switch
    {
        JsonValueKind.String => token.GetString(),
        JsonValueKind.Object => TokenizerJson.Part(token, "content")?.GetString(),
        _ => null,
    };

    private static T[] Parse<T>(string path, Func<JsonElement, IEnumerable<T>> read)
    {
        try
        {
            using JsonDocument document = Utf8Json.Parse(TokenizerFiles.Read(path));
            return [.. read(document.RootElement)];
        }
        catch (Exception exception) when (IsFault(exception))
        {
            throw Unusable(path, exception);
        }
    }

    private static bool IsFault(Exception exception)
        => exception is JsonException or InvalidOperationException or FormatException or OverflowException or KeyNotFoundException;

    private static CorpusException Unusable(string path, Exception exception)
        => new($"The file {path} cannot be used: {exception.Message} Correct it or remove it.", exception);
}
