using FsCheck;
using FsCheck.Fluent;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class PretrainedTokenizerTests
{
    private const string Model = "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}";

    [Theory]
    [InlineData("{", "tokenizer")]
    [InlineData("{\"model\": {\"type\": \"Characters\", \"vocab\": {}}}", "model \"Characters\"")]
    [InlineData("{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", "0 pieces")]
    [InlineData("{\"model\": {\"type\": \"Unigram\", \"unk_id\": 1, \"vocab\": [[\"a\", -1]]}}", "1 pieces and the unknown id 1")]
    [InlineData("{\"model\": {\"vocab\": [[\"a\"]]}}", "cannot be used")]
    [InlineData("{\"model\": {\"vocab\": [[null, 0]]}}", "piece 0 has no text")]
    [InlineData("{\"model\": {\"vocab\": [[\"a\", 1e999]]}}", "score")]
    [InlineData("{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"////\"}, " + Model + "}", "normalization map is damaged")]
    [InlineData("{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"?\"}, " + Model + "}", "cannot be used")]
    [InlineData("{\"normalizer\": {\"type\": \"Nmt\"}, " + Model + "}", "normalizer \"Nmt\"")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}, " + Model + "}", "pre_tokenizer \"UnicodeScripts\"")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, {\"type\": \"Whitespace\"}]}, "
        + Model
        + "}", "pre_tokenizer \"Whitespace\"")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Whitespace\"}, {\"type\": \"Metaspace\", "
        + "\"replacement\": \"_\"}]}, " + Model + "}", "pre_tokenizer \"Metaspace\"")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"x\"}, \"behavior\": \"Sideways\"}, " + Model + "}", "Sideways")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Punctuation\", \"behavior\": \"1\"}, " + Model + "}", "\"behavior\" 1")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"\"}, \"behavior\": \"Isolated\"}, " + Model + "}", "empty string")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, {\"type\": \"ByteLevel\"}]}, "
        + Model
        + "}", "twice")]
    [InlineData("[]", "no model")]
    [InlineData("null", "no model")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 2000000000}, \"merges\": []}}", "above 16777215")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", "negative")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0.5}, \"merges\": []}}", "cannot be used")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"\\ud800\": 0}, \"merges\": []}}", "cannot be used")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [null]}}", "no pair")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\", null]]}}", "no pair")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}", "cannot be used")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"dropout\": 0.1}}", "dropout")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"<unk>\"}}", "<unk>")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, "
        + "\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}, \"unk_token\": \"a\"}}", "\"ByteLevel\" before it")]
    [InlineData("{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}}", "unk_token")]
    [InlineData("{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}, \"unk_token\": \"[UNK]\"}}", "[UNK]")]
    [InlineData("{\"added_tokens\": [{\"id\": -3, \"content\": \"x\"}], " + Model + "}", "negative")]
    [InlineData("{\"added_tokens\": [{\"id\": 2147483647, \"content\": \"x\"}], " + Model + "}", "above 16777215")]
    [InlineData("{\"added_tokens\": [{\"id\": 3, \"content\": null}], " + Model + "}", "no content")]
    [InlineData("{\"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [], \"sep\": []}, " + Model + "}", "cannot be used")]
    [InlineData("{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": null}}], \"special_tokens\": {}}, "
        + Model
        + "}", "no id")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(x+)+\"}, \"behavior\": \"Isolated\"}, " + Model + "}", "(x+)+")]
    [InlineData("{\"added_tokens\": [{\"id\": 3, \"content\": \"x\"}, {\"id\": 4, \"content\": \"x\"}], " + Model + "}", "\"x\" has the id 4, and 3")]
    [InlineData("{\"added_tokens\": [{\"id\": 3, \"content\": \"ab\"}], " + Model + "}", "\"ab\" has the id 3, and 2")]
    [InlineData("{\"added_tokens\": [{\"id\": 5, \"content\": \"x\"}], " + Model + "}", "\"x\" has the id 5, and 3 by the originals")]
    [InlineData("{\"added_tokens\": [{\"id\": 4, \"content\": \"x\"}, {\"id\": 3, \"content\": \"y\"}], " + Model + "}", "\"x\" has the id 4, and 3 by")]
    [InlineData("{\"added_tokens\": [{\"id\": 3, \"content\": \"x\"}, {\"id\": 5, \"content\": \"y\"}], " + Model + "}", "\"y\" has the id 5, and 4 by")]
    [InlineData("{\"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"a\", 0], \"sep\": [\"b\", 3]}, " + Model + "}", "puts the id 3 around a text")]
    [InlineData("{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"a\"}}], "
        + "\"special_tokens\": {\"a\": {\"ids\": [77777]}}}, " + Model + "}", "puts the id 77777 around a text")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\"}, " + Model + "}", "\"replacement\" of its Metaspace is \"\"")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"__\"}, " + Model + "}", "supported is one character")]
    [InlineData("{\"decoder\": {\"type\": \"Metaspace\", \"replacement\": \"\"}, " + Model + "}", "\"replacement\" of its Metaspace is \"\"")]
    [InlineData("{\"decoder\": {\"type\": \"Strip\", \"content\": \"\", \"start\": 500000000, \"stop\": 0}, " + Model + "}", "\"content\" of its Strip")]
    [InlineData("{\"decoder\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"x\"}, " + Model + "}", "decoder \"Replace\"")]
    [InlineData("{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"x\"}, " + Model + "}", "normalizer \"Replace\"")]
    [InlineData("{\"post_processor\": {\"type\": \"Other\"}, " + Model + "}", "post_processor \"Other\"")]
    [InlineData("{\"decoder\": {\"type\": \"CTC\"}, " + Model + "}", "decoder \"CTC\"")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}", "id 0")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}", "\"b\", which the vocabulary lacks. Take")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"end_of_word_suffix\": \"</w>\"}}", "end_of_word_suffix")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}", "no pair")]
    public void Malformed_and_unsupported_files_are_refused_by_name(string json, string named)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("tokenizer.json", json);

        string message = Assert.Throws<CorpusException>(() => PretrainedTokenizer.Load(folder.Path)).Message;
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Contains(file, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"model\": {\"type\": \"Characters\", \"vocab\": {}}}", "BPE, WordPiece, WordLevel and Unigram")]
    [InlineData("{\"normalizer\": {\"type\": \"Nmt\"}, " + Model + "}", "BertNormalizer, NFC, NFD")]
    [InlineData("{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(x)\"}, \"content\": \"\"}, " + Model + "}", "a regular expression of alternatives")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}, " + Model + "}", "BertPreTokenizer, ByteLevel, Split")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"x\"}, \"behavior\": \"Sideways\"}, "
        + Model
        + "}", "Isolated, Removed, MergedWith")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(x+)+\"}, \"behavior\": \"Isolated\"}, "
        + Model
        + "}", "GPT-2, GPT-4, Llama 3")]
    [InlineData("{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"last\"}, "
        + Model
        + "}", "always, first or never")]
    [InlineData("{\"post_processor\": {\"type\": \"Other\"}, " + Model + "}", "BertProcessing, RobertaProcessing")]
    [InlineData("{\"decoder\": {\"type\": \"CTC\"}, " + Model + "}", "ByteFallback, Fuse")]
    public void What_is_not_supported_is_refused_with_what_is(string json, string supported)
    {
        using TemporaryFolder folder = new();
        folder.File("tokenizer.json", json);

        string message = Assert.Throws<CorpusException>(() => PretrainedTokenizer.Load(folder.Path)).Message;
        Assert.Contains("is not supported; supported is ", message, StringComparison.Ordinal);
        Assert.Contains(supported, message[message.IndexOf("; supported is", StringComparison.Ordinal)..], StringComparison.Ordinal);
    }

    /// <summary>transformers takes the one, its tokenizer library the other: nobody knows which ids the model was trained with.</summary>
    [Theory]
    [InlineData("bert", "\"do_lower_case\": true", "\"do_lower_case\": false", "says \"do_lower_case\" false, the normalizer of tokenizer.json \"lowercase\" true")]
    [InlineData("bert-cased-cls", "\"do_lower_case\": false", "\"do_lower_case\": true", "says \"do_lower_case\" true, the normalizer of tokenizer.json \"lowercase\" false")]
    [InlineData("bert", "\"do_lower_case\": true", "\"strip_accents\": false", "says \"strip_accents\" false, the normalizer of tokenizer.json \"strip_accents\" true")]
    [InlineData("bert", "\"do_lower_case\": true", "\"tokenize_chinese_chars\": false", "\"handle_chinese_chars\" true")]
    [InlineData("bert", "\"do_lower_case\": true", "\"do_lower_case\": \"yes\"", "\"do_lower_case\" is \"yes\"; supported is true, false or null")]
    public void A_configuration_that_contradicts_the_tokenizer_is_refused(string name, string said, string instead, string expected)
    {
        using TemporaryFolder folder = new();
        string source = Path.Combine(Fixtures.Own, "pretrained", name), config = File.ReadAllText(Path.Combine(source, "tokenizer_config.json"));
        folder.File("tokenizer.json", File.ReadAllBytes(Path.Combine(source, "tokenizer.json")));
        Assert.Contains(said, config, StringComparison.Ordinal);
        folder.File("tokenizer_config.json", config);
        RetroTokenizer agreeing = RetroTokenizer.Load(folder.Path);
        folder.File(
            "tokenizer_config.json",
            config.Replace(
                said, said.Replace("true", "null", StringComparison.Ordinal).Replace("false", "null", StringComparison.Ordinal), StringComparison.Ordinal));
        Assert.Equal(agreeing.Encode("Ünï 日本"), RetroTokenizer.Load(folder.Path).Encode("Ünï 日本"));
        folder.File("tokenizer_config.json", config.Replace(said, instead, StringComparison.Ordinal));

        string message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.Contains(folder.Path, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_truncated_file_is_refused_wherever_it_is_cut()
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(Fixtures.Own, "pretrained", "bert", "tokenizer.json"));
        using TemporaryFolder folder = new();
        for (int length = 0; length < bytes.Length - 2; length += 501)
        {
            folder.File("tokenizer.json", bytes[..length]);
            Assert.Contains(
                "cannot be used as a tokenizer", Assert.Throws<CorpusException>(() => PretrainedTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("false", "ab12a1|1", "ab|12|a|11")]
    [InlineData("true", "ab12a٣", "ab|1|2|a|٣")]
    public void Digits_are_set_apart(string individually, string text, string expected)
    {
        using TemporaryFolder folder = new();
        string symbols = string.Join(", ", "a b 1 2 | ٣ ab 12 11 2a 1a".Split(' ').Select((symbol, id) => $"\"{symbol}\": {id}"));
        folder.File(
            "tokenizer.json",
            $"{{\"pre_tokenizer\": {{\"type\": \"Digits\", \"individual_digits\": {individually}}}, \"model\": {{\"type\": \"BPE\", \"vocab\": "
                + $"{{{symbols}}}, \"merges\": [\"2 a\", \"1 a\", \"a b\", \"1 2\", \"1 1\"]}}}}");

        IReadOnlyList<Microsoft.ML.Tokenizers.EncodedToken> tokens = PretrainedTokenizer.Load(folder.Path)
            .EncodeToTokens(text.Replace("|", "", StringComparison.Ordinal), out _);

        Assert.Equal(expected.Split('|'), tokens.Select(token => token.Value));
    }

    [Fact]
    public void A_damaged_sentencepiece_model_is_refused_wherever_it_is_cut()
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(Fixtures.SentencePiece("bpe-byte-fallback"), "tokenizer.model"));
        int pieces = PretrainedTokenizer.Load(Fixtures.SentencePiece("bpe-byte-fallback")).VocabularySize, whole = 0;
        using TemporaryFolder folder = new();
        for (int length = 0; length < bytes.Length; length += 97)
        {
            string path = folder.File("tokenizer.model", bytes[..length]);
            try
            {
                // A cut between two fields leaves a model; it is the smaller by what was cut away.
                Assert.InRange(PretrainedTokenizer.Load(folder.Path).VocabularySize, 1, pieces - 1);
                whole++;
            }
            catch (CorpusException fault)
            {
                Assert.Contains(path, fault.Message, StringComparison.Ordinal);
            }
        }

        Assert.InRange(whole, 0, bytes.Length / 97 / 4);

        folder.File("tokenizer.model", "no model at all");
        Assert.Contains("tokenizer.model", Assert.Throws<CorpusException>(() => PretrainedTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_single_file_of_any_name_will_do_and_is_saved_under_its_usual_name()
    {
        using TemporaryFolder folder = new();
        string model = folder.File("given/any-name.model", File.ReadAllBytes(Path.Combine(Fixtures.SentencePiece("bpe-plain"), "tokenizer.model")));

        RetroTokenizer tokenizer = RetroTokenizer.Load(model);
        tokenizer.Save(folder.Path);

        Assert.True(File.Exists(Path.Combine(folder.Path, "tokenizer.model")));
        Assert.Equal("SentencePiece", tokenizer.Kind);
        Assert.Equal("Once upon a time", tokenizer.Decode(tokenizer.Encode("Once upon a time")));
        Assert.Equal(tokenizer.Hash, RetroTokenizer.Load(folder.Path).Hash);
    }

    [Fact]
    public void Decoding_into_too_little_room_takes_the_first_ids_that_fit()
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(Fixtures.Pretrained("gpt2-no-prefix"));
        int[] ids = [.. tokenizer.EncodeToIds(string.Concat(Enumerable.Repeat("the house ", 4_000)))];
        Span<char> room = stackalloc char[10];
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.Equal(System.Buffers.OperationStatus.DestinationTooSmall, tokenizer.Decode(ids, room, out int count, out int written));
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 2);
        Assert.Equal(tokenizer.Decode(ids.Take(count)), room[..written].ToString());
        Assert.True(tokenizer.Decode(ids.Take(count + 1)).Length > room.Length);
        Assert.Equal(System.Buffers.OperationStatus.Done, tokenizer.Decode(ids.Take(count), room, out int all, out _));
        Assert.Equal(count, all);
    }

    [Theory]
    [InlineData("pretrained/gpt2-no-prefix", "a 😀😀é☃ 𝐀")]
    [InlineData("sentencepiece/bpe-byte-fallback", "😀😀é☃𝐀")]
    public void Decoding_piece_by_piece_into_little_room_cuts_no_character(string folder, string text)
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(Path.Combine(Fixtures.Own, folder));
        for (int size = 2; size < 8; size++)
        {
            char[] room = new char[size];
            int[] ids = [.. tokenizer.EncodeToIds(text)];
            string whole = tokenizer.Decode(ids), pieces = "";
            while (ids.Length > 0)
            {
                tokenizer.Decode(ids, room, out int count, out int written);
                Assert.NotEqual(0, count);
                pieces += new string(room, 0, written);
                ids = ids[count..];
            }

            Assert.Equal(whole, pieces);
        }
    }

    [Theory]
    [InlineData("AA== 0\nAQ== 1\n", true)]
    [InlineData("IQ== 0\r\nIg== 1\r\n", true)]
    [InlineData("IQ== x\n", false)]
    [InlineData("", false)]
    public void A_vocabulary_of_tiktoken_is_named(string content, bool named)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("tokenizer.model", content), message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Equal(named, message.Contains("tiktoken", StringComparison.Ordinal) && message.Contains("Take the tokenizer.json", StringComparison.Ordinal));
        Assert.Contains(file, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_one_says_what_is_expected()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("tokenizer.json", Assert.Throws<CorpusException>(() => PretrainedTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gpt2-no-prefix")]
    [InlineData("llama3-rope-scaled-sharded")]
    public void Byte_level_without_normalization_gives_any_text_back(string folder)
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(Fixtures.Pretrained(folder));

        Prop.ForAll<string>(text =>
        {
            string wellFormed = System.Text.Encoding.UTF8.GetString(System.Text.Encoding.UTF8.GetBytes(text ?? ""));
            return tokenizer.Decode(tokenizer.EncodeToIds(wellFormed)) == wellFormed;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(300));
    }

    [Theory]
    [InlineData("pretrained/llama-rope-linear", "SentencePiece")]
    [InlineData("pretrained/mistral-sliding-window", "SentencePiece")]
    [InlineData("pretrained/qwen2-v4", "byte-level BPE")]
    [InlineData("pretrained/bert", "WordPiece")]
    [InlineData("sentencepiece/bpe-byte-fallback", "SentencePiece")]
    public void As_the_rooms_tokenizer_special_tokens_in_text_are_plain_and_text_comes_back(string relative, string kind)
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(Fixtures.Own, relative));

        Assert.Equal(kind, tokenizer.Kind);
        Assert.DoesNotContain(tokenizer.EndOfText, tokenizer.Encode("</s><|endoftext|>[SEP]"));
        Assert.Equal("the house in the town", tokenizer.Decode([tokenizer.EndOfText, .. tokenizer.Encode("the house in the town"), tokenizer.EndOfText]));
        using TemporaryFolder copy = new();
        tokenizer.Save(copy.Path);
        Assert.Equal(tokenizer.Hash, RetroTokenizer.Load(copy.Path).Hash);
    }

    [Fact]
    public void The_bytes_of_tokens_are_the_text_that_the_file_s_decoder_makes()
    {
        string[] texts = ["if a:\n    b", "a  b   c     d", "\n\n  x", "two  spaces \t and  more   ", "größer  als  日本", "a\u2581\u2581b"];
        string[] folders =
        [
            .. new[] { "pretrained", "sentencepiece" }.SelectMany(name => Directory.EnumerateDirectories(Path.Combine(Fixtures.Own, name))),
            .. Fixtures.Folders("RETRO_PRETRAINED", "pretrained").Where(folder => folder != Fixtures.Own).SelectMany(Directory.EnumerateDirectories),
        ];
        int compared = 0;
        foreach (string folder in folders.Where(RetroTokenizer.IsIn))
        {
            Compare(folder);
        }

        Assert.True(compared >= 8, $"{compared} tokenizers were compared.");

        void Compare(string folder)
        {
            RetroTokenizer tokenizer = RetroTokenizer.Load(folder);
            if (tokenizer.Kind == "WordPiece")
            {
                return; // whose decoder takes spaces before signs away
            }

            compared++;
            foreach (string text in texts)
            {
                int[] ids = tokenizer.Encode(text);
                Assert.Equal(((PretrainedTokenizer)tokenizer.Tokenizer).Decode(ids), tokenizer.Decode(ids));
            }
        }
    }

    /// <summary>As in Gemma's files: runs of spaces are both pieces and added tokens that are not special.</summary>
    [Theory]
    [InlineData("BPE")]
    [InlineData("Unigram")]
    public void A_mark_for_spaces_in_an_added_token_is_spaces(string model)
    {
        string[] symbols = ["<unk>", "a", "b", ":", "\n", "i", "f", "\u2581", "\u2581\u2581", "\u2581\u2581\u2581\u2581", "</s>"];
        string[] merges = ["\u2581 \u2581", "\u2581\u2581 \u2581\u2581"];
        object pieces = model == "BPE"
            ? new { type = model, unk_token = "<unk>", vocab = symbols.Index().ToDictionary(symbol => symbol.Item, symbol => symbol.Index), merges }
            : new { type = model, unk_id = 0, vocab = symbols.Select(symbol => new object[] { symbol, -1.0 }) };
        using TemporaryFolder folder = new();
        folder.File("tokenizer.json", System.Text.Json.JsonSerializer.Serialize(new
        {
            added_tokens = new[] { 8, 9, 10, 11 }.Select(id => new
            {
                id, content = id < 11 ? symbols[id] : "<x>\u2581", special = id == 10, normalized = false,
            }),
            normalizer = new { type = "Replace", pattern = new { String = " " }, content = "\u2581" },
            decoder = new
            {
                type = "Sequence",
                decoders = new object[] { new { type = "Replace", pattern = new { String = "\u2581" }, content = " " }, new { type = "Fuse" } },
            },
            model = pieces,
        }));
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        int[] ids = tokenizer.Encode("if a:\n      b");
        Assert.Contains(9, ids);
        Assert.Equal("if a:\n      b", tokenizer.Decode(ids));
        Assert.Equal("a<x> b", tokenizer.Decode([1, 11, 2])); // added, and no piece
        Assert.Equal(((PretrainedTokenizer)tokenizer.Tokenizer).Decode([.. ids, 11]), tokenizer.Decode([.. ids, 11]));
    }

    public static TheoryData<string> Folders =>
        [.. new[] { "pretrained", "sentencepiece" }.SelectMany(kind => Directory.EnumerateDirectories(Path.Combine(Fixtures.Own, kind)))
            .Where(RetroTokenizer.IsIn).Select(folder => Path.GetRelativePath(Fixtures.Own, folder))];

    /// <summary>As Microsoft's CodeGenTokenizer has it for GPT-2's files.</summary>
    [Fact]
    public void A_text_is_not_cut_within_a_character()
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(Fixtures.Pretrained("gpt2-no-prefix"));
        const string Text = "a\U0001F600b";
        int whole = tokenizer.CountTokens(Text);
        Assert.Equal(6, whole);
        for (int most = 1; most <= whole; most++)
        {
            int first = most < 5 ? 1 : most, last = most < 5 ? 1 : most;
            Assert.Equal(first, tokenizer.EncodeToIds(Text, most, out _, out int consumed).Count);
            Assert.Equal(most < 5 ? 1 : most == 5 ? 3 : 4, consumed);
            Assert.Equal((consumed, first), (tokenizer.GetIndexByTokenCount(Text, most, out _, out int count), count));
            Assert.Equal((most < 5 ? 3 : most == 5 ? 1 : 0, last), (tokenizer.GetIndexByTokenCountFromEnd(Text, most, out _, out count), count));
        }
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void A_text_that_is_cut_by_tokens_is_whole_again_when_it_is_put_together(string folder)
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(Path.Combine(Fixtures.Own, folder));
        bool isPlain = RetroTokenizer.Load(Path.Combine(Fixtures.Own, folder)).Kind == "byte-level BPE"; // whose tokens are the same wherever a text begins
        foreach (string text in (string[])[
            "a\U0001F600b", "a \U0001F600", "x\u65E5\u672C\u8A9E e\u0301\U0001F469\u200D\U0001F469 \u2615!", "The river, 12345 times."
        ])
        {
            IReadOnlyList<int> all = tokenizer.EncodeToIds(text);
            tokenizer.EncodeToTokens(text, out string? normalized);
            for (int most = 1; most <= all.Count + 1; most++)
            {
                IReadOnlyList<int> first = tokenizer.EncodeToIds(text, most, out string? same, out int consumed);
                Assert.True(first.Count <= most && same == normalized);
                Assert.Equal(all.Take(first.Count), first);
                Assert.Equal((consumed, first.Count), (tokenizer.GetIndexByTokenCount(text, most, out _, out int count), count));
                int from = tokenizer.GetIndexByTokenCountFromEnd(text, most, out _, out int last);
                Assert.True(last <= most);
                if (isPlain && normalized is not null)
                {
                    // What is left on either side is the text's own tokens, and none is lost.
                    Assert.True(tokenizer.CountTokens(normalized[..consumed]) <= most);
                    Assert.Equal(last, tokenizer.CountTokens(normalized[from..]));
                    Assert.Equal(all, [.. first, .. tokenizer.EncodeToIds(normalized[consumed..])]);
                }
                else
                {
                    // The parts make the text that the whole makes: none ends within a character.
                    int broken = tokenizer.Decode(first).Count('\uFFFD') + tokenizer.Decode(all.Skip(first.Count)).Count('\uFFFD');
                    Assert.Equal(tokenizer.Decode(all).Count('\uFFFD'), broken);
                    Assert.DoesNotContain('\uFFFD', tokenizer.Decode(all.Skip(all.Count - last)));
                }
            }
        }
    }

    [Fact]
    public void Tokens_point_at_the_normalized_text()
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(Fixtures.Pretrained("llama-rope-linear"));

        var tokens = tokenizer.EncodeToTokens("Hello <s> wörld", out string? normalized);
        Assert.Equal("\u2581Hello\u2581<s>\u2581\u2581wörld", normalized);
        Assert.All(
            tokens.Where(token => !token.Value.StartsWith("<0x", StringComparison.Ordinal)), token => Assert.Equal(token.Value, normalized![token.Offset]));
    }
}
