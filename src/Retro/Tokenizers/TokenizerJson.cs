using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>Reads a Hugging Face <c>tokenizer.json</c>. Every part of it that would change a result and is not known is refused by name.</summary>
internal static class TokenizerJson
{
    public const string FileName = "tokenizer.json";

    // Ids number rows of an embedding; no vocabulary has near as many, and tables are made by the highest.
    public const int HighestId = (1 << 24) - 1;

    private const string Contractions = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
    private const string Tiktoken = @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
    private const string Rest = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public static TextPipeline Parse(byte[] bytes, string file)
    {
        try
        {
            using JsonDocument document = Utf8Json.Parse(bytes);
            return Read(document.RootElement);
        }
        catch (Exception exception) when (exception is JsonException or FormatException or InvalidOperationException or KeyNotFoundException or ArgumentException or OverflowException or IndexOutOfRangeException)
        {
            throw new CorpusException($"The file {file} cannot be used as a tokenizer: {exception.Message} Take the file as the model's authors give it.", exception);
        }
    }

    private static JsonPipeline Read(JsonElement root)
    {
        Func<string, string> normalize = Chain(Part(root, "normalizer") is { } normalizer ? Normalizers(normalizer).ToList() : []);
        List<PreTokenizer> splits = [];
        List<Func<string, bool, string>> changes = [];
        if (Part(root, "pre_tokenizer") is { } preTokenizer)
        {
            ReadPreTokenizer(preTokenizer, splits, changes);
        }

        (string? spaceMark, bool addsSpace) = ReadSpaces(root);
        IPieceModel model = ReadModel(Part(root, "model") ?? throw new FormatException("it has no model."), splits.Exists(split => split is ByteLevelMark), spaceMark);
        splits.RemoveAll(split => split is ByteLevelMark);
        List<AddedToken> added = (Part(root, "added_tokens") is { } tokens ? tokens.EnumerateArray() : default).Select(ReadAdded).ToList();
        List<int> before = [];
        List<int> after = [];
        if (Part(root, "post_processor") is { } processor)
        {
            ReadTemplate(processor, before, after);
        }

        Func<List<string>, List<string>> decoder = Part(root, "decoder") is { } decoding ? Decoders.Read(decoding) : texts => [string.Join(' ', texts)];
        return new JsonPipeline(
            new AddedTokens(added, normalize),
            normalize,
            (text, start) => changes.Aggregate(text, (changed, change) => change(changed, start)),
            splits,
            model,
            texts => string.Concat(decoder(texts)),
            before.ToArray(),
            after.ToArray(),
            addsSpace || model is WordPieceModel);
    }

    /// <summary>What stands for a space in pieces, null where nothing does, and whether one is put before a text.</summary>
    private static (string? Mark, bool Adds) ReadSpaces(JsonElement root)
    {
        string? mark = null;
        string? prefix = null;
        bool adds = false;
        foreach (JsonElement part in Steps(root, "normalizer", "normalizers").Concat(Steps(root, "pre_tokenizer", "pretokenizers")))
        {
            switch (Type(part))
            {
                case "Replace" when PatternString("normalizer", part) == " ":
                    mark = Text(part, "content");
                    break;
                case "Prepend":
                    prefix = Text(part, "prepend");
                    break;
                case "Metaspace":
                    (mark, adds) = (Text(part, "replacement"), Scheme(part) != "never");
                    break;
                case "ByteLevel":
                    adds |= Flag(part, "add_prefix_space", true);
                    break;
            }
        }

        // Where encoding leaves spaces alone the decoder still may make some.
        mark ??= Steps(root, "decoder", "decoders").Select(part => Type(part) switch
        {
            "Metaspace" => Text(part, "replacement"),
            "Replace" when Text(part, "content") == " " => PatternString("decoder", part),
            _ => null,
        }).FirstOrDefault(found => found is not null);
        return (mark, adds || (prefix is not null && (prefix == " " || prefix == mark)));
    }

    /// <summary>A part of the file, or the parts of a sequence.</summary>
    private static IEnumerable<JsonElement> Steps(JsonElement root, string name, string list)
    {
        return Part(root, name) is { } part ? Flat(part) : [];

        IEnumerable<JsonElement> Flat(JsonElement element) => Type(element) == "Sequence" ? element.GetProperty(list).EnumerateArray().SelectMany(Flat) : [element];
    }

    /// <summary>Where a <c>Metaspace</c> puts a space: "always", "first" or "never"; older files have a flag.</summary>
    private static string Scheme(JsonElement metaspace) => Part(metaspace, "prepend_scheme")?.GetString() ?? (Flag(metaspace, "add_prefix_space", true) ? "always" : "never");

    internal static JsonElement? Part(JsonElement element, string name)
        => element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement part) && part.ValueKind != JsonValueKind.Null ? part : null;

    internal static string Type(JsonElement element) => Part(element, "type")?.GetString() ?? throw new FormatException("a part has no type.");

    internal static bool Flag(JsonElement element, string name, bool otherwise) => Part(element, name)?.GetBoolean() ?? otherwise;

    internal static string Text(JsonElement element, string name) => Part(element, name)?.GetString() ?? throw new FormatException($"a {Type(element)} has no \"{name}\".");

    internal static FormatException Unsupported(string part, JsonElement element, string? detail = null)
        => new($"its {part} \"{Type(element)}\"{(detail is null ? "" : " " + detail)} is not supported.");

    internal static string PatternString(string part, JsonElement element)
        => Part(element, "pattern") is { } pattern && Part(pattern, "String")?.GetString() is { } text ? text : throw Unsupported(part, element, "with a regular expression");

    private static Func<string, string> Chain(List<Func<string, string>> steps) => text => steps.Aggregate(text, (changed, step) => step(changed));

    private static IEnumerable<Func<string, string>> Normalizers(JsonElement element)
    {
        switch (Type(element))
        {
            case "Sequence":
                return element.GetProperty("normalizers").EnumerateArray().SelectMany(Normalizers).ToList();
            case "BertNormalizer":
                bool lowerCase = Flag(element, "lowercase", true);
                return [new BertNormalizer(Flag(element, "clean_text", true), Flag(element, "handle_chinese_chars", true), Flag(element, "strip_accents", lowerCase), lowerCase).Normalize];
            case "NFC":
                return [UnicodeForms.ToFormC];
            case "NFD":
                return [UnicodeForms.ToFormD];
            case "Lowercase":
                return [BertNormalizer.LowerCase];
            case "StripAccents":
                return [text => BertNormalizer.WithoutMarks(text, anyKind: true)];
            case "Strip":
                return [Strip(Flag(element, "strip_left", true), Flag(element, "strip_right", true))];
            case "Prepend":
                string prefix = Text(element, "prepend");
                return [text => text.Length == 0 ? text : prefix + text];
            case "Replace":
                string from = PatternString("normalizer", element);
                string to = Text(element, "content");
                return [text => text.Replace(from, to, StringComparison.Ordinal)];
            default:
                throw Unsupported("normalizer", element);
        }
    }

    private static Func<string, string> Strip(bool left, bool right)
        => text => left && right ? text.Trim() : left ? text.TrimStart() : right ? text.TrimEnd() : text;

    private static void ReadPreTokenizer(JsonElement element, List<PreTokenizer> splits, List<Func<string, bool, string>> changes)
    {
        switch (Type(element))
        {
            case "Sequence":
                foreach (JsonElement inner in element.GetProperty("pretokenizers").EnumerateArray())
                {
                    ReadPreTokenizer(inner, splits, changes);
                }

                break;
            case "BertPreTokenizer":
                splits.Add(new BertPreTokenizer());
                break;
            case "ByteLevel":
                if (Flag(element, "add_prefix_space", true))
                {
                    if (splits.Count > 0)
                    {
                        throw Unsupported("pre_tokenizer", element, "that adds a space to each piece");
                    }

                    changes.Add((text, _) => text.Length == 0 || text[0] == ' ' ? text : " " + text);
                }

                if (Flag(element, "use_regex", true))
                {
                    splits.Add(new Gpt2PreTokenizer());
                }

                splits.Add(new ByteLevelMark());
                break;
            case "Split":
                splits.Add(ReadSplit(element));
                break;
            case "Digits":
                splits.Add(new DigitPreTokenizer(Flag(element, "individual_digits", false)));
                break;
            case "Metaspace":
                ReadMetaspace(element, splits, changes);
                break;
            default:
                throw Unsupported("pre_tokenizer", element);
        }
    }

    private static PreTokenizer ReadSplit(JsonElement element)
    {
        string? expression = Part(element, "pattern") is { } pattern ? Part(pattern, "Regex")?.GetString() : null;
        bool inverted = Flag(element, "invert", false);

        // The expressions below leave nothing between their matches, so that taking away what they do not match takes nothing away.
        if ((Text(element, "behavior"), inverted) is not (("Isolated", _) or ("Removed", true)))
        {
            throw Unsupported("pre_tokenizer", element, $"with the behavior {Text(element, "behavior")}{(inverted ? ", inverted" : "")}");
        }

        return expression switch
        {
            Contractions + @"\p{N}{1,3}" + Rest or Tiktoken => new Gpt4PreTokenizer(3),
            Contractions + @"\p{N}" + Rest => new Gpt4PreTokenizer(1),
            @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+" or @"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+" => new Gpt2PreTokenizer(),
            _ => throw Unsupported("pre_tokenizer", element, $"at {expression ?? "a string"}"),
        };
    }

    private static void ReadMetaspace(JsonElement element, List<PreTokenizer> splits, List<Func<string, bool, string>> changes)
    {
        if (splits.Count > 0)
        {
            throw Unsupported("pre_tokenizer", element, "after a split");
        }

        string mark = Text(element, "replacement");
        string scheme = Scheme(element);
        if (scheme is not ("always" or "first" or "never"))
        {
            throw Unsupported("pre_tokenizer", element, $"with the prepend_scheme {scheme}");
        }

        changes.Add((text, start) =>
        {
            string marked = text.Replace(" ", mark, StringComparison.Ordinal);
            bool prepend = scheme == "always" || (scheme == "first" && start);
            return prepend && !marked.StartsWith(mark, StringComparison.Ordinal) ? mark + marked : marked;
        });
        if (Flag(element, "split", true))
        {
            string escaped = Regex.Escape(mark);
            splits.Add(new RegexPreTokenizer(new Regex($"{escaped}(?:(?!{escaped}).)*|(?:(?!{escaped}).)+", RegexOptions.Singleline), null));
        }
    }

    private static IPieceModel ReadModel(JsonElement element, bool byteLevel, string? spaceMark)
    {
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        // The oldest files give no type.
        string type = Part(element, "type")?.GetString() ?? (Part(element, "merges") is null ? "WordPiece" : "BPE");
        if (type is not ("BPE" or "WordPiece"))
        {
            throw Unsupported("model", element);
        }

        HashSet<int> ids = [];
        foreach (JsonProperty entry in element.GetProperty("vocab").EnumerateObject())
        {
            int id = entry.Value.GetInt32();
            if (id is < 0 or > HighestId || !ids.Add(id) || !vocabulary.TryAdd(entry.Name, id))
            {
                throw new FormatException($"its vocabulary gives the id {id} to \"{entry.Name}\", which is {(id < 0 ? "negative" : id > HighestId ? $"above {HighestId}" : "taken")}.");
            }
        }

        return type == "WordPiece" ? ReadWordPiece(element, vocabulary) : ReadBpe(element, vocabulary, byteLevel, spaceMark);
    }

    private static WordPieceModel ReadWordPiece(JsonElement element, Dictionary<string, int> vocabulary)
        => vocabulary.Values.FirstOrDefault(id => id >= vocabulary.Count, -1) is >= 0 and int high ? throw new FormatException($"its vocabulary of {vocabulary.Count} pieces has the id {high}.")
            : new WordPieceModel(vocabulary, Text(element, "unk_token"), Part(element, "continuing_subword_prefix")?.GetString() ?? "##", Part(element, "max_input_chars_per_word")?.GetInt32() ?? 100);

    private static BpeModel ReadBpe(JsonElement element, Dictionary<string, int> vocabulary, bool byteLevel, string? spaceMark)
    {
        foreach (string affix in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (Part(element, affix)?.GetString() is { Length: > 0 } value)
            {
                throw new FormatException($"its BPE model has a {affix} \"{value}\", which is not supported.");
            }
        }

        if (Part(element, "dropout")?.GetDouble() is > 0)
        {
            throw new FormatException("its BPE model has a dropout, which is not supported.");
        }

        return new BpeModel(vocabulary, element.GetProperty("merges").EnumerateArray().Select(ReadMerge).ToList(), new BpeSettings
        {
            ByteLevel = byteLevel,
            ByteFallback = Flag(element, "byte_fallback", false),
            Unknown = Part(element, "unk_token")?.GetString(),
            FuseUnknown = Flag(element, "fuse_unk", false),
            IgnoreMerges = Flag(element, "ignore_merges", false),
            SpaceMark = spaceMark,
        });
    }

    private static (string Left, string Right) ReadMerge(JsonElement merge)
    {
        string[] pair = merge.ValueKind == JsonValueKind.Array ? merge.EnumerateArray().Select(part => part.GetString() ?? "").ToArray() : (merge.GetString() ?? "").Split(' ');
        return pair.Length == 2 && pair[0].Length > 0 && pair[1].Length > 0 ? (pair[0], pair[1]) : throw new FormatException($"its merge {merge.GetRawText()} is no pair.");
    }

    private static AddedToken ReadAdded(JsonElement element)
    {
        bool special = Flag(element, "special", false);
        int id = element.GetProperty("id").GetInt32();
        return new AddedToken(
            id is >= 0 and <= HighestId ? id : throw new FormatException($"an added token has the id {id}, which is {(id < 0 ? "negative" : $"above {HighestId}")}."),
            element.GetProperty("content").GetString() ?? throw new FormatException("an added token has no content."),
            special,
            Flag(element, "single_word", false),
            Flag(element, "lstrip", false),
            Flag(element, "rstrip", false),
            Flag(element, "normalized", !special));
    }

    private static void ReadTemplate(JsonElement element, List<int> before, List<int> after)
    {
        switch (Type(element))
        {
            case "Sequence":
                foreach (JsonElement inner in element.GetProperty("processors").EnumerateArray())
                {
                    ReadTemplate(inner, before, after);
                }

                break;
            case "ByteLevel":
                // It changes positions alone.
                break;
            case "BertProcessing" or "RobertaProcessing":
                before.Insert(0, element.GetProperty("cls")[1].GetInt32());
                after.Add(element.GetProperty("sep")[1].GetInt32());
                break;
            case "TemplateProcessing":
                bool seen = false;
                List<int> first = [];
                foreach (JsonElement item in element.GetProperty("single").EnumerateArray())
                {
                    if (Part(item, "SpecialToken") is { } special)
                    {
                        string name = special.GetProperty("id").GetString() ?? throw new FormatException("a special token of its template has no id.");
                        IEnumerable<int> ids = element.GetProperty("special_tokens").GetProperty(name).GetProperty("ids").EnumerateArray().Select(id => id.GetInt32());
                        (seen ? after : first).AddRange(ids);
                    }
                    else
                    {
                        seen = !seen ? true : throw Unsupported("post_processor", element, "that repeats the text");
                    }
                }

                before.InsertRange(0, first);
                break;
            default:
                throw Unsupported("post_processor", element);
        }
    }

    /// <summary>Says that bytes, not characters, are what the model sees.</summary>
    private sealed class ByteLevelMark : PreTokenizer
    {
        public override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => [(0, text.Length)];

        public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text) => [(0, text.Length)];
    }
}
