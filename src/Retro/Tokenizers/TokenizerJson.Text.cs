using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <content>What changes a text and cuts it before the model: <c>normalizer</c> and <c>pre_tokenizer</c>.</content>
internal static partial class TokenizerJson
{
    private const string WordsBefore = "one before a Metaspace that splits and puts its mark before each word (\"prepend_scheme\" always)";
    private const string Expressions =
        "a regular expression of alternatives of characters, classes and categories with their quantifiers, as GPT-2, GPT-4, Llama 3 and Qwen2 have it";

    private const string Contractions = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
    private const string Tiktoken = @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
    private const string Rest = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private static Func<string, string> Chain(List<Func<string, string>> steps) => text => steps.Aggregate(text, (changed, step) => step(changed));

    private static IEnumerable<Func<string, string>> Normalizers(JsonElement element)
    {
        switch (Type(element))
        {
            case "Sequence":
                return element.GetProperty("normalizers").EnumerateArray().SelectMany(Normalizers).ToList();
            case "BertNormalizer":
                return [ReadBert(element).Normalize];
            case "NFC":
                return [UnicodeForms.ToFormC];
            case "NFD":
                return [UnicodeForms.ToFormD];
            case "NFKC":
                return [UnicodeForms.ToFormKC];
            case "NFKD":
                return [UnicodeForms.ToFormKD];
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
                string to = Text(element, "content");
                if (Expression(element) is { } expression)
                {
                    PreTokenizer matches = ExpressionPreTokenizer.Create(expression, SplitBehavior.Removed, inverted: true)
                        ?? throw Unsupported("normalizer", element, Expressions, $"with the \"pattern\" {expression}");
                    return [text => Replaced(text, matches, to)];
                }

                string from = PatternString("normalizer", element);
                return [text => text.Replace(from, to, StringComparison.Ordinal)];
            case "Precompiled":
                byte[] map = Convert.FromBase64String(Text(element, "precompiled_charsmap"));
                return [map.Length == 0 ? text => text : new PrecompiledNormalizer(new CharacterMap(map)).Normalize];
            default:
                throw Unsupported(
                    "normalizer", element, "Sequence, BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace and Precompiled");
        }
    }

    /// <summary>
    /// Whether normalization takes away what a text begins with, by the originals' count: of several characters that are replaced, what comes of them stands at
    /// the last; a map's entries stand where the text begins, even where they take its first character away.
    /// </summary>
    private static Func<string, bool> LosesBeginning(JsonElement root, List<Func<string, string>> steps)
    {
        List<JsonElement> parts = Steps(root, "normalizer", "normalizers").ToList();
        int mapped = Type(parts[0]) == "Precompiled" ? 1 : 0;
        Func<string, string> map = Chain(steps[..mapped]), normalize = Chain(steps[mapped..]);
        string[] replaced = [.. parts.Where(part => Type(part) == "Replace")
            .Select(part => IsRunOfSpaces(part) ? "  " : PatternString("normalizer", part))];
        return original =>
        {
            string text = map(original), whole = normalize(text);
            int longest = Math.Min(text.Length, replaced.Select(one => one.Length).Append(2).Max());
            return replaced.Any(one => one.Length > CodePoints.LengthAt(one, 0) && text.StartsWith(one, StringComparison.Ordinal))
                || Enumerable.Range(1, longest).Any(length => !CodePoints.IsWithinPair(text, length) && normalize(text[length..]) == whole);
        };
    }

    /// <summary>The regular expression that a Replace seeks; null where it seeks a text.</summary>
    private static string? Expression(JsonElement element)
        => Part(element, "pattern") is { } pattern && Part(pattern, "Regex") is { ValueKind: JsonValueKind.String } expression ? expression.GetString() : null;

    /// <summary>Whether a Replace seeks two spaces or more, as the converters of SentencePiece models write it.</summary>
    private static bool IsRunOfSpaces(JsonElement element) => Expression(element) == " {2,}";

    /// <summary>A text with another in the place of each match.</summary>
    private static string Replaced(string text, PreTokenizer matches, string to)
    {
        StringBuilder replaced = new(text.Length);
        int at = 0;
        foreach ((int offset, int length) in PieceSplits.Of(text, [matches]))
        {
            replaced.Append(text, at, offset - at).Append(to);
            at = offset + length;
        }

        return at == 0 ? text : replaced.Append(text, at, text.Length - at).ToString();
    }

    private static BertNormalizer ReadBert(JsonElement element)
    {
        bool lowerCase = Flag(element, "lowercase", true);
        return new(Flag(element, "clean_text", true), Flag(element, "handle_chinese_chars", true), Flag(element, "strip_accents", lowerCase), lowerCase);
    }

    private static Func<string, string> Strip(bool left, bool right)
        => text => left && right ? text.Trim() : left ? text.TrimStart() : right ? text.TrimEnd() : text;

    private static void ReadPreTokenizer(JsonElement element, PreTokenizerSteps steps)
    {
        if (Type(element) is not ("Sequence" or "Metaspace"))
        {
            steps.SplitWords();
        }

        switch (Type(element))
        {
            case "Sequence":
                foreach (JsonElement inner in element.GetProperty("pretokenizers").EnumerateArray())
                {
                    ReadPreTokenizer(inner, steps);
                }

                break;
            case "BertPreTokenizer":
                steps.Add(new BertPreTokenizer());
                break;
            case "ByteLevel":
                ReadByteLevel(element, steps);
                break;
            case "Split":
                steps.Add(ReadSplit(element));
                break;
            case "Digits":
                steps.Add(new CharacterPreTokenizer(
                    CodePoints.IsNumber, Flag(element, "individual_digits", false) ? SplitBehavior.Isolated : SplitBehavior.Contiguous));
                break;
            case "Punctuation":
                steps.Add(new CharacterPreTokenizer(BertPreTokenizer.IsPunctuation, Behavior(element, "Isolated")));
                break;
            case "Metaspace":
                ReadMetaspace(element, steps);
                break;
            case "WhitespaceSplit" when steps is { Splits.Count: 0, Changes.Count: 0, SymbolSplits: null, Words: null }:
                steps.Words = element;
                break;
            case "WhitespaceSplit" or "Whitespace" when steps.SymbolSplits is null:
                steps.Add(new CharacterPreTokenizer(CodePoints.IsSpace, SplitBehavior.Removed));
                if (Type(element) == "Whitespace")
                {
                    steps.Add(new CharacterPreTokenizer(CodePoints.IsOfWord, SplitBehavior.Contiguous));
                }

                break;
            default:
                throw Unsupported(
                    "pre_tokenizer",
                    element,
                    "Sequence, BertPreTokenizer, ByteLevel, Split, Digits, Punctuation, Metaspace and, before the bytes, Whitespace and WhitespaceSplit");
        }
    }

    private static void ReadByteLevel(JsonElement element, PreTokenizerSteps steps)
    {
        if (steps.SymbolSplits is not null)
        {
            throw Unsupported("pre_tokenizer", element, "one ByteLevel", "that stands there twice");
        }

        if (Flag(element, "add_prefix_space", true))
        {
            if (steps.Splits.Count > 0)
            {
                throw Unsupported(
                    "pre_tokenizer",
                    element,
                    "\"add_prefix_space\" false, or no split before it",
                    "that adds a space to each piece (\"add_prefix_space\")");
            }

            steps.Changes.Add((text, _) => text.Length == 0 || text[0] == ' ' ? text : " " + text);
        }

        if (Flag(element, "use_regex", true))
        {
            steps.Splits.Add(new Gpt2PreTokenizer());
        }

        steps.SymbolSplits = [];
    }

    private static PreTokenizer ReadSplit(JsonElement element)
    {
        JsonElement? pattern = Part(element, "pattern");
        SplitBehavior behavior = Behavior(element, null);
        bool inverted = Flag(element, "invert", false);
        if (pattern is { } plain && Part(plain, "String")?.GetString() is { Length: > 0 } text)
        {
            return ExpressionPreTokenizer.OfText(text, behavior, inverted);
        }

        string? expression = pattern is { } other ? Part(other, "Regex")?.GetString() : null;

        // These leave nothing between their matches, so that taking away what they do not match takes nothing away.
        PreTokenizer? known = (behavior, inverted) is not ((SplitBehavior.Isolated, _) or (SplitBehavior.Removed, true)) ? null : expression switch
        {
            Contractions + @"\p{N}{1,3}" + Rest or Tiktoken => new Gpt4PreTokenizer(3),
            Contractions + @"\p{N}" + Rest => new Gpt4PreTokenizer(1),
            @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
                or @"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+" => new Gpt2PreTokenizer(),
            _ => null,
        };
        return known ?? (expression is null ? null : ExpressionPreTokenizer.Create(expression, behavior, inverted))
            ?? throw Unsupported(
                "pre_tokenizer",
                element,
                Expressions,
                $"with the \"pattern\" {expression ?? "of an empty string"}");
    }

    private static SplitBehavior Behavior(JsonElement element, string? unsaid)
    {
        string behavior = unsaid is null ? Text(element, "behavior") : Part(element, "behavior")?.GetString() ?? unsaid;
        return Enum.GetNames<SplitBehavior>().Contains(behavior, StringComparer.Ordinal)
            ? Enum.Parse<SplitBehavior>(behavior)
            : throw Unsupported(
                "pre_tokenizer", element, $"one of {string.Join(", ", Enum.GetNames<SplitBehavior>())}", $"with the \"behavior\" {behavior}");
    }

    private static void ReadMetaspace(JsonElement element, PreTokenizerSteps steps)
    {
        if (steps.Splits.Count > 0 || steps.SymbolSplits is not null)
        {
            throw Unsupported("pre_tokenizer", element, "a Metaspace before every split", "after a split");
        }

        string mark = Character(element, "replacement");
        string scheme = Scheme(element);
        if (scheme is not ("always" or "first" or "never"))
        {
            throw Unsupported("pre_tokenizer", element, "always, first or never", $"with the \"prepend_scheme\" {scheme}");
        }

        if (steps.Words is { } words)
        {
            if (scheme != "always" || !Flag(element, "split", true))
            {
                throw Unsupported("pre_tokenizer", words, WordsBefore, "before another Metaspace");
            }

            steps.Words = null;
            steps.Changes.Add((text, _) => string.Concat(
                text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)
                    .Select(word => word.StartsWith(mark, StringComparison.Ordinal) ? word : mark + word)));
        }

        steps.MindStart |= scheme == "first";
        steps.Changes.Add((text, start) =>
        {
            string marked = text.Replace(" ", mark, StringComparison.Ordinal);
            bool prepend = scheme == "always" || (scheme == "first" && start);
            return prepend && marked.Length > 0 && !marked.StartsWith(mark, StringComparison.Ordinal) ? mark + marked : marked;
        });
        if (Flag(element, "split", true))
        {
            string escaped = Regex.Escape(mark);
            steps.Splits.Add(new RegexPreTokenizer(new Regex($"{escaped}(?:(?!{escaped}).)*|(?:(?!{escaped}).)+", RegexOptions.Singleline), null));
        }
    }

    /// <summary>What a pre-tokenizer's parts do, in their order.</summary>
    private sealed class PreTokenizerSteps
    {
        /// <summary>What they change in a text before any split. Told whether the text's start is in it.</summary>
        public List<Func<string, bool, string>> Changes { get; } = [];

        /// <summary>Whether those count on it.</summary>
        public bool MindStart { get; set; }

        /// <summary>A split into words, whose spaces the next part may mark; null where there is none.</summary>
        public JsonElement? Words { get; set; }

        /// <summary>How they split it.</summary>
        public List<PreTokenizer> Splits { get; } = [];

        /// <summary>How they split the symbols that stand for its bytes (<see cref="ByteSymbols"/>); null where the model sees characters.</summary>
        public List<PreTokenizer>? SymbolSplits { get; set; }

        /// <summary>Adds a splitter of what there is by then.</summary>
        public void Add(PreTokenizer split) => (SymbolSplits ?? Splits).Add(split);

        /// <summary>Makes a split into words that no mark for their spaces follows one like others.</summary>
        public void SplitWords()
        {
            if (Words is not null)
            {
                Words = null;
                Add(new CharacterPreTokenizer(CodePoints.IsSpace, SplitBehavior.Removed));
            }
        }
    }
}
