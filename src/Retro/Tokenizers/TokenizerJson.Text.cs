using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <content>What changes a text and cuts it before the model: <c>normalizer</c> and <c>pre_tokenizer</c>.</content>
internal static partial class TokenizerJson
{
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
                throw Unsupported("normalizer", element, "Sequence, BertNormalizer, NFC, NFD, Lowercase, StripAccents, Strip, Prepend and Replace");
        }
    }

    private static BertNormalizer ReadBert(JsonElement element)
    {
        bool lowerCase = Flag(element, "lowercase", true);
        return new(Flag(element, "clean_text", true), Flag(element, "handle_chinese_chars", true), Flag(element, "strip_accents", lowerCase), lowerCase);
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
                        throw Unsupported(
                            "pre_tokenizer",
                            element,
                            "\"add_prefix_space\" false, or no split before it",
                            "that adds a space to each piece (\"add_prefix_space\")");
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
                throw Unsupported("pre_tokenizer", element, "Sequence, BertPreTokenizer, ByteLevel, Split, Digits and Metaspace");
        }
    }

    private static PreTokenizer ReadSplit(JsonElement element)
    {
        string? expression = Part(element, "pattern") is { } pattern ? Part(pattern, "Regex")?.GetString() : null;
        bool inverted = Flag(element, "invert", false);

        // The expressions below leave nothing between their matches, so that taking away what they do not match takes nothing away.
        if ((Text(element, "behavior"), inverted) is not (("Isolated", _) or ("Removed", true)))
        {
            throw Unsupported(
                "pre_tokenizer",
                element,
                "Isolated, or Removed with \"invert\" true",
                $"with the \"behavior\" {Text(element, "behavior")}{(inverted ? ", inverted" : "")}");
        }

        return expression switch
        {
            Contractions + @"\p{N}{1,3}" + Rest or Tiktoken => new Gpt4PreTokenizer(3),
            Contractions + @"\p{N}" + Rest => new Gpt4PreTokenizer(1),
            @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
                or @"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+" => new Gpt2PreTokenizer(),
            _ => throw Unsupported(
                "pre_tokenizer",
                element,
                "one of the regular expressions of GPT-2, GPT-4, Llama 3 and Qwen2",
                $"with the \"pattern\" {expression ?? "of a string"}"),
        };
    }

    private static void ReadMetaspace(JsonElement element, List<PreTokenizer> splits, List<Func<string, bool, string>> changes)
    {
        if (splits.Count > 0)
        {
            throw Unsupported("pre_tokenizer", element, "a Metaspace before every split", "after a split");
        }

        string mark = Text(element, "replacement");
        string scheme = Scheme(element);
        if (scheme is not ("always" or "first" or "never"))
        {
            throw Unsupported("pre_tokenizer", element, "always, first or never", $"with the \"prepend_scheme\" {scheme}");
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

    /// <summary>Says that bytes, not characters, are what the model sees.</summary>
    private sealed class ByteLevelMark : PreTokenizer
    {
        public override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => [(0, text.Length)];

        public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text) => [(0, text.Length)];
    }
}
