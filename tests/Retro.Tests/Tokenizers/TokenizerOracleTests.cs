using System.Text.Json;
using System.Text.Json.Nodes;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

/// <summary>Every <c>tokenizer.json</c> at hand against Hugging Face's own library (Tokenizers.DotNet), over random and hard text.</summary>
public class TokenizerOracleTests(ITestOutputHelper output)
{
    private const string Bytes = """{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}""";
    private const string Plain = """{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}""";
    private const string Words = """{"type": "WhitespaceSplit"}""";
    private const string Marks = """{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}""";
    private const string Digits = """, {"type": "Digits", "individual_digits": true}""";

    [Fact]
    public void Two_thousand_random_texts_give_the_other_library_s_ids_and_texts() => Compare(2_000, seed: 1);

    [Fact]
    [Trait("Category", "Long")]
    public void A_hundred_thousand_random_texts_give_the_other_library_s_ids_and_texts() => Compare(100_000, seed: 2);

    /// <summary>Kinds of files that no folder at hand is: each is written here.</summary>
    [Theory]
    [InlineData("a merge twice", """{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4}, "merges": ["a b", "b c", "a b"], "unk_token": "c"}}""")]
    [InlineData("bytes missing, with an unknown token", """{"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}, "model": {"type": "BPE", "vocab": {"a": 0, "?": 1, "Ġ": 2, "aa": 3}, "merges": ["a a"], "unk_token": "?"}}""")]
    [InlineData("bytes missing, unknown ones in one", """{"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true}, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}, "model": {"type": "BPE", "vocab": {"a": 0, "?": 1, "Ġ": 2, "aa": 3}, "merges": ["a a"], "unk_token": "?", "fuse_unk": true}}""")]
    [InlineData("words alone", """{"added_tokens": [{"id": 2, "content": "the", "single_word": true, "special": false}, {"id": 3, "content": "of", "single_word": true, "lstrip": true, "rstrip": true, "special": false}, {"id": 4, "content": "12", "single_word": true, "special": true}], "model": {"type": "BPE", "vocab": {"a": 0, "?": 1}, "merges": [], "unk_token": "?", "fuse_unk": true}}""")]
    [InlineData("one within another", """{"added_tokens": [{"id": 2, "content": "aa", "special": false}, {"id": 3, "content": "aaaaa", "special": true}, {"id": 4, "content": "he ", "special": false}, {"id": 5, "content": "e o", "special": false}, {"id": 6, "content": " the of", "special": false}], "model": {"type": "BPE", "vocab": {"a": 0, "?": 1}, "merges": [], "unk_token": "?"}}""")]
    [InlineData("short words", """{"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece", "prefix": "@@", "cleanup": true}, "model": {"type": "WordPiece", "vocab": {"?": 0, "a": 1, "@@a": 2, "𝐀": 3, "@@𝐀": 4, "the": 5, "@@aaaa": 6}, "unk_token": "?", "continuing_subword_prefix": "@@", "max_input_chars_per_word": 6}}""")]
    [InlineData("ids that no word has", """{"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}, "model": {"type": "WordPiece", "vocab": {"?": 0, "a": 2, "##a": 3, "the": 9, "##aaaa": 30}, "unk_token": "?", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}}""")]
    [InlineData("a start that is stripped", """{"normalizer": {"type": "Strip", "strip_left": true, "strip_right": true}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}, "model": {"type": "BPE", "vocab": {"?": 0, "▁": 1, "a": 2, "▁a": 3, "aa": 4}, "merges": ["▁ a", "a a"], "unk_token": "?"}}""")]
    [InlineData("a start that is replaced", """{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "aa"}, "content": "a"}, {"type": "Replace", "pattern": {"String": "."}, "content": ""}]}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}, "model": {"type": "BPE", "vocab": {"?": 0, "▁": 1, "a": 2, "▁a": 3}, "merges": ["▁ a"], "unk_token": "?"}}""")]
    [InlineData("a start of marks", """{"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": false, "strip_accents": true, "lowercase": true}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}, "model": {"type": "BPE", "vocab": {"?": 0, "▁": 1, "a": 2, "▁a": 3}, "merges": ["▁ a"], "unk_token": "?"}}""")]
    [InlineData("white space taken twice", """{"added_tokens": [{"id": 2, "content": "the", "rstrip": true, "special": false}, {"id": 3, "content": " of", "special": false}, {"id": 4, "content": "\n", "special": false}], "model": {"type": "BPE", "vocab": {"a": 0, "?": 1}, "merges": [], "unk_token": "?", "fuse_unk": true}}""")]
    [InlineData("white space taken from both sides", """{"added_tokens": [{"id": 2, "content": "the", "rstrip": true, "special": false}, {"id": 3, "content": "\n", "lstrip": true, "rstrip": true, "special": false}], "model": {"type": "BPE", "vocab": {"a": 0, "?": 1}, "merges": [], "unk_token": "?", "fuse_unk": true}}""")]
    [InlineData("marks within pieces", """{"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false}, "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false}, "model": {"type": "BPE", "vocab": {"?": 0, "▁": 1, "a": 2, "▁▁": 3, "▁▁a": 4, "▁a": 5, "▁a▁": 6}, "merges": ["▁ ▁", "▁▁ a", "▁ a", "▁a ▁"], "unk_token": "?"}}""")]
    [InlineData("an unknown token that is never needed", """{"model": {"type": "BPE", "vocab": {"a": 0, BYTES}, "merges": ["#version: 0.2"], "byte_fallback": true, "unk_token": "<unk>"}}""")]
    [InlineData("whole words", """{"pre_tokenizer": {"type": "BertPreTokenizer"}, "model": {"type": "WordLevel", "vocab": {"the": 0, "?": 1, "of": 2, ".": 3, "1": 4}, "unk_token": "?"}}""")]
    [InlineData("an expression that is replaced", """{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"Regex": "\\p{N}+|\\p{So}"}, "content": "a$1"}, {"type": "Replace", "pattern": {"Regex": "\\s"}, "content": ""}]}, "model": {"type": "BPE", "vocab": {"a": 0, "?": 1, "aa": 2, "$": 3}, "merges": ["a a"], "unk_token": "?", "fuse_unk": true}}""")]
    public void A_file_of_this_kind_gives_the_other_library_s_ids_and_texts(string kind, string json)
    {
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            json.Replace("BYTES", string.Join(", ", Enumerable.Range(0, 256).Select(value => $"\"<0x{value:X2}>\": {value + 1}")), StringComparison.Ordinal));
        List<string> differences = Differences(folder.Path, 1_000, 5);
        Assert.True(differences.Count == 0, $"{kind}: {differences.Count} differences:\n{string.Join('\n', differences.Take(3))}");
    }

    /// <summary>Splits that take spaces away: the bytes of tokens hold one where the decoder puts one, as it does where the file names none.</summary>
    [Theory]
    [InlineData("words and what is between", """{"type": "Whitespace"}""", "null", "null")]
    [InlineData("words at white space, then digits", """{"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": true}]}""", """{"type": "NFKC"}""", "null")]
    [InlineData("words at white space alone", """{"type": "WhitespaceSplit"}""", """{"type": "NFKD"}""", "null")]
    [InlineData("words and signs", """{"type": "BertPreTokenizer"}""", "null", "null")]
    [InlineData("words at spaces alone", """{"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": false}""", "null", "null")]
    [InlineData("words, put together without spaces", """{"type": "WhitespaceSplit"}""", "null", """{"type": "Fuse"}""")]
    public void A_split_that_takes_spaces_away_gives_the_other_library_s_ids_texts_and_bytes(string kind, string split, string normalizer, string decoder)
    {
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"normalizer\": " + normalizer + ", \"pre_tokenizer\": " + split + ", \"decoder\": " + decoder + """
            , "model": {"type": "BPE", "vocab": {"a": 0, "?": 1, "e": 2, "h": 3, "t": 4, "th": 5, "the": 6, ".": 7, "1": 8, "_": 9, "1_": 10},
              "merges": ["t h", "th e", "1 _"], "unk_token": "?"}}
            """);
        List<string> differences = Differences(folder.Path, 1_000, 5, ofBytes: true);
        Assert.True(differences.Count == 0, $"{kind}: {differences.Count} differences:\n{string.Join('\n', differences.Take(3))}");
    }

    /// <summary>Ways to split before a byte-level vocabulary: those of Falcon, Viking, DeepSeek Coder, Mistral Nemo and GPT-4o among them.</summary>
    [Theory]
    [InlineData("bytes, then digits", Bytes + Digits)]
    [InlineData("bytes, then runs of digits", Bytes + """, {"type": "Digits", "individual_digits": false}""")]
    [InlineData("punctuation, bytes, digits in threes", """{"type": "Punctuation", "behavior": "Contiguous"}, """ + Bytes + """, {"type": "Digits", "individual_digits": false}, {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false}""")]
    [InlineData("words, bytes, digits", """{"type": "Split", "pattern": {"Regex": " ?[^(\\s|[.,!?…。，、।۔،])]+"}, "behavior": "Isolated", "invert": false}, """ + Plain + Digits)]
    [InlineData("one after another", """{"type": "Split", "pattern": {"Regex": "[\r\n]"}, "behavior": "Isolated", "invert": false}, {"type": "Split", "pattern": {"Regex": "\\s?\\p{L}+"}, "behavior": "Isolated", "invert": false}, {"type": "Split", "pattern": {"Regex": "\\s?\\p{P}+"}, "behavior": "Isolated", "invert": false}, {"type": "Split", "pattern": {"Regex": "[一-龥ࠀ-一가-퟿]+"}, "behavior": "Isolated", "invert": false}, {"type": "Digits", "individual_digits": true}, """ + Plain)]
    [InlineData("words by their case", """{"type": "Split", "pattern": {"Regex": "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}, """ + Plain)]
    [InlineData("words by their case, with contractions", """{"type": "Split", "pattern": {"Regex": "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Removed", "invert": true}, """ + Plain)]
    [InlineData("words and what is between, then bytes", """{"type": "Whitespace"}, """ + Plain)]
    [InlineData("a sign with what is before", """{"type": "Split", "pattern": {"String": "a"}, "behavior": "MergedWithPrevious", "invert": false}, """ + Plain)]
    [InlineData("a number with what is behind", """{"type": "Split", "pattern": {"Regex": "\\p{N}"}, "behavior": "MergedWithNext", "invert": false}, """ + Plain)]
    [InlineData("numbers taken away", """{"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Removed", "invert": false}, """ + Plain)]
    [InlineData("all but letters, together", """{"type": "Split", "pattern": {"Regex": "\\p{L}"}, "behavior": "Contiguous", "invert": true}, """ + Bytes)]
    public void A_split_of_this_kind_gives_the_other_library_s_ids_and_texts(string kind, string steps)
    {
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        for (int value = 0; value < 256; value++)
        {
            vocabulary.Add(ByteSymbols.ToChar((byte)value).ToString(), value);
        }

        List<string> merges = [];
        foreach (string word in (string[])["½", "²", "é", "123", " the", "HE", "...", "日本", "\uD835\uDFD8", "\n\n", "a1", "1a", "'s", " ."])
        {
            string symbols = ByteSymbols.Of(word);
            for (int end = 2; end <= symbols.Length; end++)
            {
                merges.Add($"{symbols[..(end - 1)]} {symbols[end - 1]}");
                vocabulary.TryAdd(symbols[..end], vocabulary.Count);
            }
        }

        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [" + steps + "]}, \"decoder\": " + Bytes
                + ", \"model\": {\"type\": \"BPE\", \"vocab\": " + JsonSerializer.Serialize(vocabulary)
                + ", \"merges\": " + JsonSerializer.Serialize(merges) + "}}");
        List<string> differences = Differences(folder.Path, 1_000, 5);
        Assert.True(differences.Count == 0, $"{kind}: {differences.Count} differences:\n{string.Join('\n', differences.Take(3))}");
    }

    /// <summary>A unigram model with its map, as the multilingual sentence encoders, T5 and others have it.</summary>
    [Theory]
    [InlineData("words", "[MAP]", Words + ", " + Marks)]
    [InlineData("spaces in one", """[MAP], {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}""", Marks)]
    [InlineData("the end stripped", """[MAP], {"type": "Strip", "strip_left": false, "strip_right": true}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}""", """{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}""")]
    [InlineData("in one piece", "[MAP]", """{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false}""")]
    [InlineData("no map", """{"type": "NFC"}""", Words + ", " + Marks)]
    [InlineData("compatibility forms, composed", """{"type": "NFKC"}""", Words + ", " + Marks)]
    [InlineData("compatibility forms", """{"type": "NFKD"}""", Marks)]
    public void A_unigram_model_gives_the_other_library_s_ids_and_texts(string kind, string normalizers, string steps)
    {
        SentencePieceModel source = SentencePieceModel.Parse(File.ReadAllBytes(Path.Combine(Fixtures.SentencePiece("unigram-nfkc"), "tokenizer.model")));
        string map = "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"" + Convert.ToBase64String(source.CharacterMap) + "\"}";
        string vocabulary = JsonSerializer.Serialize(source.Pieces.Select(piece => new object[] { piece.Text, piece.Score }));
        string added = JsonSerializer.Serialize(source.Pieces.Select((piece, id) => new { id, content = piece.Text, special = true, piece.Kind })
            .Where(token => token.Kind is PieceKind.Control or PieceKind.Unknown).Select(token => new { token.id, token.content, token.special }));
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"added_tokens\": " + added + ", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": ["
                + normalizers.Replace("[MAP]", map, StringComparison.Ordinal) + "]}, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [" + steps
                + "]}, \"decoder\": " + Marks + ", \"model\": {\"type\": \"Unigram\", \"unk_id\": "
                + source.UnknownId.ToString(System.Globalization.CultureInfo.InvariantCulture) + ", \"vocab\": " + vocabulary + ", \"byte_fallback\": false}}");
        List<string> differences = Differences(folder.Path, 1_000, 5);
        Assert.True(differences.Count == 0, $"{kind}: {differences.Count} differences:\n{string.Join('\n', differences.Take(3))}");
    }

    private void Compare(int count, int seed)
    {
        string[] folders = [.. new[]
        {
            Path.Combine(Fixtures.Shared, "pretrained"),
            Path.Combine(Fixtures.Own, "pretrained"),
            Path.Combine(Fixtures.Own, "cases")
        }
            .Where(Directory.Exists)
            .SelectMany(root => Directory.EnumerateFiles(root, "tokenizer.json", SearchOption.AllDirectories))
            .Where(file => !file.Contains("-missing-bytes", StringComparison.Ordinal) && !file.Contains("-json-bom", StringComparison.Ordinal))
            .Select(file => Path.GetDirectoryName(file)!).Order(StringComparer.Ordinal)];
        List<string> all = [];
        for (int i = 0; i < folders.Length; i++)
        {
            int share = (count / folders.Length) + (i < count % folders.Length ? 1 : 0);
            List<string> differences = Differences(folders[i], share, seed + i);
            output.WriteLine($"{Path.GetRelativePath(Fixtures.Root, folders[i])}: {share} texts, {differences.Count} differences");
            all.AddRange(differences.Take(5));
        }

        Assert.True(folders.Length >= 5, "Hardly a folder holds a tokenizer.json.");
        Assert.True(all.Count == 0, string.Join('\n', all));
    }

    // Of bytes: whether those of the tokens are to be the other library's text, too.
    private static List<string> Differences(string folder, int count, int seed, bool ofBytes = false)
    {
        string file = Path.Combine(folder, "tokenizer.json");
        JsonNode root = JsonNode.Parse(File.ReadAllText(file))!;
        // Padding and truncation are no part of a tokenizer here.
        root["padding"] = null;
        root["truncation"] = null;
        root["version"] = "1.0";
        foreach (JsonNode? token in root["added_tokens"] as JsonArray ?? [])
        {
            // What may be left out here has to be said there.
            foreach (string flag in (string[])["single_word", "lstrip", "rstrip", "normalized"])
            {
                token![flag] ??= flag == "normalized" && !(bool)token["special"]!;
            }
        }

        using TemporaryFolder copy = new();
        using global::Tokenizers.DotNet.Tokenizer? theirs = Open(copy.File("tokenizer.json", root.ToJsonString()));
        PretrainedTokenizer ours = PretrainedTokenizer.Load(folder);
        RetroTokenizer? bytes = ofBytes ? new(ours, endOfText: -1, [], beginOfText: -1) : null;
        string[] pieces = [
            .. root["model"]!["vocab"] is JsonArray list
                ? list.Select(entry => (string)entry![0]!)
                : root["model"]!["vocab"]!.AsObject().Select(entry => entry.Key),
            .. (root["added_tokens"] as JsonArray ?? []).Select(token => (string)token!["content"]!)
        ];
        OracleTexts texts = new(seed, pieces);
        List<string> differences = [];
        for (int i = 0; i < count; i++)
        {
            string text = texts.Next();
            int[] expected = [.. theirs.Encode(text).Select(id => (int)id)];
            int[] actual = [.. ours.EncodeWithSpecialTokens(text)];
            if (!expected.AsSpan().SequenceEqual(actual))
            {
                differences.Add($"{folder}: {JsonSerializer.Serialize(text)}\n  expected {string.Join(' ', expected)}\n  got      {string.Join(' ', actual)}");
            }
            else if (expected.Length > 0 && theirs.Decode([.. expected.Select(id => (uint)id)]) is { } decoded)
            {
                string got = ours.Decode(expected, skipSpecialTokens: true), spelled = bytes?.Decode(expected) ?? got;
                if (decoded != got || decoded != spelled)
                {
                    differences.Add(
                        $"{folder}: {string.Join(' ', expected)}\n  expected {JsonSerializer.Serialize(decoded)}\n  got      "
                            + $"{JsonSerializer.Serialize(got)}, by bytes {JsonSerializer.Serialize(spelled)}");
                }
            }
        }

        return differences;
    }

    private static global::Tokenizers.DotNet.Tokenizer Open(string file)
    {
        try
        {
            return new(vocabPath: file);
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException or TypeInitializationException)
        {
            Assert.Skip($"The native library of Tokenizers.DotNet does not load on this machine: {exception.Message}");
            throw;
        }
    }
}
