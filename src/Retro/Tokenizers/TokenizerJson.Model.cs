using System.Text.Json;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <content>From pieces to ids: <c>model</c>.</content>
internal static partial class TokenizerJson
{
    private static IPieceModel ReadModel(JsonElement element, IReadOnlyList<PreTokenizer>? symbolSplits, string? spaceMark, List<AddedToken> added)
    {
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        // The oldest files give no type.
        string type = Part(element, "type")?.GetString()
            ?? (Part(element, "merges") is not null ? "BPE" : Part(element, "vocab") is { ValueKind: JsonValueKind.Array } ? "Unigram" : "WordPiece");
        if (type is not ("BPE" or "WordPiece" or "WordLevel" or "Unigram"))
        {
            throw Unsupported("model", element, "BPE, WordPiece, WordLevel and Unigram");
        }

        if (type != "BPE" && symbolSplits is not null)
        {
            throw new FormatException($"its {type} model has a pre_tokenizer \"ByteLevel\" before it; supported is one that leaves characters.");
        }

        if (type == "Unigram")
        {
            return ReadUnigram(element, spaceMark, added);
        }

        foreach (JsonProperty entry in element.GetProperty("vocab").EnumerateObject())
        {
            vocabulary[entry.Name] = entry.Value.GetInt32(); // of a piece that comes twice the last counts, as in the original
        }

        HashSet<int> ids = [];
        foreach ((string piece, int id) in vocabulary)
        {
            if (id is < 0 or > HighestId || !ids.Add(id))
            {
                throw new FormatException(
                    $"its vocabulary gives the id {id} to \"{piece}\", which is "
                        + $"{(id < 0 ? "negative" : id > HighestId ? $"above {HighestId}" : "taken")}.");
            }
        }

        return type switch
        {
            "WordPiece" => ReadWordPiece(element, vocabulary, added),
            "WordLevel" => new WordLevelModel(vocabulary, Part(element, "unk_token")?.GetString() ?? "<unk>", Special(added)),
            _ => ReadBpe(element, vocabulary, symbolSplits, spaceMark, added),
        };
    }

    private static UnigramModel ReadUnigram(JsonElement element, string? spaceMark, List<AddedToken> added)
    {
        List<(string Text, double Score)> pieces = [];
        foreach (JsonElement entry in element.GetProperty("vocab").EnumerateArray())
        {
            double score = entry[1].GetDouble();
            pieces.Add(
                (entry[0].GetString() ?? throw new FormatException($"its piece {pieces.Count} has no text."),
                    double.IsFinite(score) ? score : throw new FormatException($"its piece {pieces.Count} has a score that is no number.")));
        }

        return new(
            pieces,
            Part(element, "unk_id")?.GetInt32(),
            Flag(element, "byte_fallback", false),
            spaceMark,
            Special(added));
    }

    private static HashSet<string> Special(List<AddedToken> added)
        => added.Where(token => token.Special).Select(token => token.Content).ToHashSet(StringComparer.Ordinal);

    private static WordPieceModel ReadWordPiece(JsonElement element, Dictionary<string, int> vocabulary, List<AddedToken> added)
        => new(
            vocabulary,
            Text(element, "unk_token"),
            Part(element, "continuing_subword_prefix")?.GetString() ?? "##",
            Part(element, "max_input_chars_per_word")?.GetInt32() ?? 100,
            Special(added));

    private static BpeModel ReadBpe(
        JsonElement element, Dictionary<string, int> vocabulary, IReadOnlyList<PreTokenizer>? symbolSplits, string? spaceMark, List<AddedToken> added)
    {
        foreach (string affix in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (Part(element, affix)?.GetString() is { Length: > 0 } value)
            {
                throw new FormatException($"its BPE model has a \"{affix}\" of \"{value}\"; supported is none.");
            }
        }

        if (Part(element, "dropout")?.GetDouble() is > 0)
        {
            throw new FormatException("its BPE model has a \"dropout\"; supported is none, or 0.");
        }

        // The first line of merges.txt, which some converters took for a merge.
        IEnumerable<JsonElement> merges = element.GetProperty("merges").EnumerateArray()
            .Where(merge => !(merge.ValueKind == JsonValueKind.String && merge.GetString()!.StartsWith("#version", StringComparison.Ordinal)));
        return new BpeModel(vocabulary, merges.Select(ReadMerge).ToList(), new BpeSettings
        {
            ByteLevel = symbolSplits is not null,
            SymbolSplits = symbolSplits ?? [],
            ByteFallback = Flag(element, "byte_fallback", false),
            Unknown = Part(element, "unk_token")?.GetString(),
            FuseUnknown = Flag(element, "fuse_unk", false),
            IgnoreMerges = Flag(element, "ignore_merges", false),
            Special = Special(added),
            SpaceMark = spaceMark,
        });
    }

    private static (string Left, string Right) ReadMerge(JsonElement merge)
    {
        string[] pair = merge.ValueKind == JsonValueKind.Array
            ? merge.EnumerateArray().Select(part => part.GetString() ?? "").ToArray()
            : (merge.GetString() ?? "").Split(' ');
        return pair.Length == 2 && pair[0].Length > 0 && pair[1].Length > 0
            ? (pair[0], pair[1])
            : throw new FormatException($"its merge {merge.GetRawText()} is no pair.");
    }
}
