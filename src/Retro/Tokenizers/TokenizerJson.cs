using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>Reads a Hugging Face <c>tokenizer.json</c>. Every part of it that would change a result and is not known is refused by name.</summary>
internal static partial class TokenizerJson
{
    public const string FileName = "tokenizer.json";

    // Ids number rows of an embedding; no vocabulary has near as many, and tables are made by the highest.
    public const int HighestId = (1 << 24) - 1;

    /// <param name="bytes">The file's content.</param>
    /// <param name="file">Names it in the error.</param>
    /// <param name="special">What other files call special tokens, besides those that it calls so itself; null: nothing.</param>
    /// <param name="flagged">How other files say that added tokens are recognized, which counts more than what it says itself; null: nothing.</param>
    /// <exception cref="CorpusException">It is malformed, or has what is not supported.</exception>
    public static TextPipeline Parse(byte[] bytes, string file, IReadOnlySet<string>? special = null, IReadOnlyList<AddedToken>? flagged = null)
    {
        try
        {
            using JsonDocument document = Utf8Json.Parse(bytes);
            return Read(document.RootElement, special, flagged);
        }
        catch (Exception exception) when (exception is JsonException or FormatException or InvalidOperationException or KeyNotFoundException
            or ArgumentException or OverflowException or IndexOutOfRangeException)
        {
            throw new CorpusException(
                $"The file {file} cannot be used as a tokenizer: {exception.Message} Take the file as the model's authors give it.", exception);
        }
    }

    private static JsonPipeline Read(JsonElement root, IReadOnlySet<string>? special, IReadOnlyList<AddedToken>? flagged)
    {
        List<Func<string, string>> normalizers = Part(root, "normalizer") is { } normalizer ? Normalizers(normalizer).ToList() : [];
        Func<string, string> normalize = Chain(normalizers);
        PreTokenizerSteps steps = new();
        if (Part(root, "pre_tokenizer") is { } preTokenizer)
        {
            ReadPreTokenizer(preTokenizer, steps);
        }

        steps.SplitWords();
        (string? spaceMark, bool addsSpace) = ReadSpaces(root);
        List<AddedToken> said = (Part(root, "added_tokens") is { } tokens ? tokens.EnumerateArray() : default)
            .Select(token => ReadAdded(token, token.GetProperty("id").GetInt32()))
            .ToList();
        ILookup<string, AddedToken> beside = (flagged ?? []).ToLookup(token => token.Content, StringComparer.Ordinal);

        // Of a token that the file itself calls special the originals go on seeking what they sought before, as tokenizers up to 0.22 do.
        List<AddedToken> added = [.. said.Select(token => beside[token.Content].LastOrDefault() is { } other
            ? token with
            {
                SingleWord = other.SingleWord,
                StripLeft = other.StripLeft,
                StripRight = other.StripRight,
                Normalized = token.Special ? token.Normalized : other.Normalized,
            }
            : token).Select(token => token with { Special = token.Special || special?.Contains(token.Content) == true })];
        IPieceModel model = ReadModel(Part(root, "model") ?? throw new FormatException("it has no model."), steps.SymbolSplits, spaceMark, added);
        RequireIds(added, model);
        List<int> before = [];
        List<int> after = [];
        if (Part(root, "post_processor") is { } processor)
        {
            ReadTemplate(processor, before, after);
        }

        Func<List<string>, List<string>> decoder = Part(root, "decoder") is { } decoding ? Decoders.Read(decoding) : texts => [string.Join(' ', texts)];

        // The pieces of WordPiece bring their spaces by themselves, and bytes and marks hold theirs.
        bool bringsSpaces = spaceMark is null && steps.SymbolSplits is null && model is not WordPieceModel && LosesSpaces(normalize, steps.Splits)
            && string.Concat(decoder(["a", "b"])) == "a b";
        JsonPipeline pipeline = new(
            new AddedTokens(added, normalize),
            normalize,
            (text, start) => steps.Changes.Aggregate(text, (changed, change) => change(changed, start)),
            steps.Splits,
            model,
            texts => string.Concat(decoder(texts)),
            before.ToArray(),
            after.ToArray(),
            addsSpace || bringsSpaces || model is WordPieceModel)
        {
            BringsSpaces = bringsSpaces,
            LosesBeginning = steps.MindStart && normalizers.Count > 0 ? LosesBeginning(root, normalizers) : null,
            BertNormalizer = Steps(root, "normalizer", "normalizers").Where(step => Type(step) == "BertNormalizer").Select(ReadBert).FirstOrDefault(),

            // What transformers changes by its configuration: a ByteLevel that stands alone, and models with a mark for spaces, which it converts anew.
            AddsSpace = spaceMark is not null || (Part(root, "pre_tokenizer") is { } cut && Type(cut) == "ByteLevel") ? addsSpace : null,
            MarksSpaces = spaceMark is not null,
            Altered = Altered(said, added),
        };
        int? outside = before.Concat(after).Where(id => (uint)id >= (uint)pipeline.VocabularySize).Select(id => (int?)id).FirstOrDefault();
        return outside is null
            ? pipeline
            : throw new FormatException($"its post_processor puts the id {outside} around a text, but ids go from 0 to {pipeline.VocabularySize - 1}.");
    }

    // A token that is made special is named, as ever; one that is recognized otherwise with all that is said of it.
    private static string[] Altered(List<AddedToken> said, List<AddedToken> added)
    {
        HashSet<AddedToken> own = [.. said];
        return [.. added.Except(said).Select(token => own.Contains(token with { Special = false }) ? token.Content
            : $"{token.Content}\n{token.Special} {token.SingleWord} {token.StripLeft} {token.StripRight} {token.Normalized}")];
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
                case "Replace" when Expression(part) is null && PatternString("normalizer", part) == " " && Text(part, "content") is { Length: > 0 } content:
                    mark = content;
                    break;
                case "Prepend":
                    prefix = Text(part, "prepend");
                    break;
                case "Metaspace":
                    (mark, adds) = (Character(part, "replacement"), Scheme(part) != "never");
                    break;
                case "ByteLevel":
                    adds |= Flag(part, "add_prefix_space", true);
                    break;
            }
        }

        // Where encoding leaves spaces alone the decoder still may make some.
        mark ??= Steps(root, "decoder", "decoders").Select(part => Type(part) switch
        {
            "Metaspace" => Character(part, "replacement"),
            "Replace" when Text(part, "content") == " " => PatternString("decoder", part),
            _ => null,
        }).FirstOrDefault(found => found is not null);
        return (mark, adds || (prefix is not null && (prefix == " " || prefix == mark)));
    }

    /// <summary>Whether a space between words is in no piece that the model sees.</summary>
    private static bool LosesSpaces(Func<string, string> normalize, IReadOnlyList<PreTokenizer> splits)
    {
        string words = normalize("a b");
        return !PieceSplits.Of(words, splits).Any(piece => words.AsSpan(piece.Offset, piece.Length).Contains(' '));
    }

    /// <summary>A part of the file, or the parts of a sequence.</summary>
    private static IEnumerable<JsonElement> Steps(JsonElement root, string name, string list)
    {
        return Part(root, name) is { } part ? Flat(part) : [];

        IEnumerable<JsonElement> Flat(JsonElement element)
            => Type(element) == "Sequence" ? element.GetProperty(list).EnumerateArray().SelectMany(Flat) : [element];
    }

    /// <summary>Where a <c>Metaspace</c> puts a space: "always", "first" or "never"; older files have a flag.</summary>
    internal static string Scheme(JsonElement metaspace)
        => Part(metaspace, "prepend_scheme")?.GetString() ?? (Flag(metaspace, "add_prefix_space", true) ? "always" : "never");

    internal static JsonElement? Part(JsonElement element, string name)
        => element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement part) && part.ValueKind != JsonValueKind.Null
            ? part
            : null;

    internal static string Type(JsonElement element) => Part(element, "type")?.GetString() ?? throw new FormatException("a part has no type.");

    internal static bool Flag(JsonElement element, string name, bool otherwise) => Part(element, name)?.GetBoolean() ?? otherwise;

    internal static string Text(JsonElement element, string name)
        => Part(element, name)?.GetString() ?? throw new FormatException($"a {Type(element)} has no \"{name}\".");

    internal static string Character(JsonElement element, string name)
        => Text(element, name) is { Length: > 0 } text && CodePoints.LengthAt(text, 0) == text.Length
            ? text
            : throw new FormatException($"the \"{name}\" of its {Type(element)} is \"{Text(element, name)}\"; supported is one character.");

    internal static FormatException Unsupported(string part, JsonElement element, string supported, string? detail = null)
        => new($"its {part} \"{Type(element)}\"{(detail is null ? "" : " " + detail)} is not supported; supported is {supported}.");

    internal static string PatternString(string part, JsonElement element)
        => Part(element, "pattern") is { } pattern && Part(pattern, "String")?.GetString() is { Length: > 0 } text
            ? text
            : throw Unsupported(part, element, "a \"pattern\" of a \"String\" that is not empty", "with another pattern");

    internal static AddedToken ReadAdded(JsonElement element, int id)
    {
        bool special = Flag(element, "special", false);
        return new AddedToken(
            id is >= 0 and <= HighestId
                ? id
                : throw new FormatException($"an added token has the id {id}, which is {(id < 0 ? "negative" : $"above {HighestId}")}."),
            element.GetProperty("content").GetString() ?? throw new FormatException("an added token has no content."),
            special,
            Flag(element, "single_word", false),
            Flag(element, "lstrip", false),
            Flag(element, "rstrip", false),
            Flag(element, "normalized", !special));
    }

    // The originals pass over the id that the file says, with a warning at most: they go by the content, and count on where that is new.
    private static void RequireIds(List<AddedToken> added, IPieceModel model)
    {
        Dictionary<string, int> ids = new(StringComparer.Ordinal);
        int next = model.Count;
        foreach (AddedToken token in added.Where(token => token.Content.Length > 0))
        {
            int known = ids.TryGetValue(token.Content, out int before) ? before : model.IdOf(token.Content);
            if (token.Id != (known >= 0 ? known : next))
            {
                throw new FormatException(
                    $"its added token \"{token.Content}\" has the id {token.Id}, and "
                        + (known >= 0 ? $"{known} where the file has it before." : $"{next} by the originals, which count new ones from the vocabulary on."));
            }

            ids[token.Content] = token.Id;
            next = Math.Max(next, token.Id + 1);
        }
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
                        IEnumerable<int> ids = element.GetProperty("special_tokens")
                            .GetProperty(name)
                            .GetProperty("ids")
                            .EnumerateArray()
                            .Select(id => id.GetInt32());
                        (seen ? after : first).AddRange(ids);
                    }
                    else
                    {
                        seen = !seen ? true : throw Unsupported("post_processor", element, "a \"single\" that holds the text once", "that repeats the text");
                    }
                }

                before.InsertRange(0, first);
                break;
            default:
                throw Unsupported("post_processor", element, "Sequence, ByteLevel, BertProcessing, RobertaProcessing and TemplateProcessing");
        }
    }
}
