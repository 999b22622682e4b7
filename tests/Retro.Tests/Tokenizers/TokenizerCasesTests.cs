using System.Diagnostics;
using System.Text.Json;
using Retro.Generation;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

/// <summary>Inputs that users of comparable tools reported trouble with, and their kinds.</summary>
public class TokenizerCasesTests
{
    [Theory]
    [InlineData("13-bert-newline-tab")]
    [InlineData("14-bert-accents")]
    public void Bert_s_cleaning_gives_the_right_ids_from_both_kinds_of_files(string name)
    {
        foreach (string folder in (string[])["json", "vocab-txt"])
        {
            RetroTokenizer tokenizer = RetroTokenizer.Load(Case(name, folder));
            foreach (JsonElement row in Expected(name).EnumerateArray())
            {
                Assert.Equal(Ids(row[1]), tokenizer.Encode(row[0].GetString()!));
            }
        }
    }

    [Theory]
    [InlineData("\uE000")]
    [InlineData("\uDBC0\uDC00")]
    [InlineData("\u200B")]
    [InlineData("\u00AD")]
    [InlineData("\u0001")]
    public void Bert_s_cleaning_drops_control_format_and_private_characters_within_words(string dropped)
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Case("13-bert-newline-tab", "vocab-txt"));
        Assert.Equal(tokenizer.Encode("notebook"), tokenizer.Encode($"note{dropped}book"));
    }

    [Fact]
    public void A_word_s_length_is_counted_in_characters()
    {
        using TemporaryFolder folder = new();
        folder.File("vocab.txt", string.Join('\n', "[UNK]", "[CLS]", "[SEP]", "\U00010400", "##\U00010400", "##a", "a"));
        folder.File("tokenizer_config.json", "{\"do_lower_case\": false}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        Assert.Equal([3, .. Enumerable.Repeat(4, 99)], tokenizer.Encode(string.Concat(Enumerable.Repeat("\U00010400", 100))));
        Assert.Equal([0], tokenizer.Encode(string.Concat(Enumerable.Repeat("\U00010400", 101))));
        Assert.Equal([0, 6], tokenizer.Encode(new string('a', 101) + " a"));
    }

    [Theory]
    [InlineData("cat", true)]
    [InlineData("cat\u0301", false)]
    [InlineData("cat\u0903", false)]
    [InlineData("cat\U00010400", false)]
    [InlineData("\U00010400cat", false)]
    [InlineData("cat\u200D", false)]
    [InlineData("\u24D0cat", false)]
    [InlineData("cat_", false)]
    [InlineData("cat\u00B2", true)]
    [InlineData("cat\U0001F600", true)]
    [InlineData("\uFF0Dcat\u2014", true)]
    public void A_token_that_is_a_word_by_itself_goes_by_unicode_s_word_characters(string text, bool found)
    {
        AddedTokens added = new(
            [new AddedToken(1, "cat", Special: false, SingleWord: true, StripLeft: false, StripRight: false, Normalized: false)], plain => plain);
        Assert.Equal(found, added.SplitRaw(text, recognizeSpecial: true).Exists(part => part.Token is not null));
    }

    /// <summary>As the originals have them up to version 0.22: special ones in the order of the file, then the others; and flags by the id.</summary>
    [Fact]
    public void Of_added_tokens_that_read_alike_the_first_counts_and_of_one_what_is_said_last()
    {
        AddedTokens added = new(
            [Token(5, "COVID"), Token(6, "covid"), Token(7, "sep"), Token(8, "SEP", special: true), Token(9, "one"), Token(9, "one", singleWord: true)],
            text => text.ToLowerInvariant());
        Assert.Equal([5, 8, 9], Found("covid sep one"));
        Assert.Equal([5], Found("covids oneself"));

        int[] Found(string text) => [.. added.SplitNormalized(text, recognizeSpecial: true).Where(part => part.Token is not null)
            .Select(part => part.Token!.Id)];

        static AddedToken Token(int id, string content, bool special = false, bool singleWord = false)
            => new(id, content, special, singleWord, StripLeft: false, StripRight: false, Normalized: true);
    }

    [Fact]
    public void Many_added_tokens_are_sought_in_one_walk_over_the_text()
    {
        Random random = new(3);
        TokenAutomaton automaton = new([.. Enumerable.Range(0, 20_000).Select(_ => Word(random, 3 + random.Next(12)))]);
        string text = string.Join(' ', Enumerable.Range(0, 30_000).Select(_ => Word(random, 1 + random.Next(12))));
        long before = automaton.Steps;
        int found = 0;
        for (int i = 0, begin; ; found++)
        {
            (int pattern, begin) = automaton.Find(text, i);
            if (pattern < 0)
            {
                break;
            }

            i = begin + 1;
        }

        // Each character is a step to the next state, or one of the failures that such steps have earned; a search begins anew at each match.
        Assert.InRange(automaton.Steps - before, text.Length, (2L * text.Length) + (found * 40L));
    }

    [Fact]
    public void The_automaton_finds_what_looking_at_every_place_finds()
    {
        Random random = new(11);
        for (int round = 0; round < 2_000; round++)
        {
            string[] patterns = [.. Enumerable.Range(0, 1 + random.Next(6)).Select(_ => Word(random, 1 + random.Next(5), letters: 2))]; // some of them equal
            string text = Word(random, random.Next(20), letters: 2);
            TokenAutomaton automaton = new(patterns);
            int from = random.Next(text.Length + 1);
            (int, int) expected = Enumerable.Range(from, text.Length - from)
                .Select(at =>
                    (Pattern: patterns.Where(pattern => string.CompareOrdinal(text, at, pattern, 0, pattern.Length) == 0)
                        .OrderByDescending(pattern => pattern.Length)
                        .FirstOrDefault(), at))
                .Where(match => match.Pattern is not null).Select(match => (Array.IndexOf(patterns, match.Pattern), match.at)).DefaultIfEmpty((-1, -1)).First();
            Assert.Equal(expected, automaton.Find(text, from));
        }
    }

    [Theory]
    [InlineData("18-llama3-ignore-merges", "on", "on")]
    [InlineData("18-llama3-ignore-merges", "off", "off")]
    [InlineData("19-merges-as-lists", "lists", "ids")]
    [InlineData("19-merges-as-lists", "strings", "ids")]
    public void Merges_are_read_as_the_file_says(string name, string folder, string answer)
        => Assert.Equal(
            Ids(Expected(name).GetProperty(answer)), RetroTokenizer.Load(Case(name, folder)).Encode(Expected(name).GetProperty("text").GetString()!));

    [Fact]
    public void Bytes_that_a_vocabulary_lacks_are_never_lost_unseen()
    {
        Assert.Contains(
            "of the 256 bytes",
            Assert.Throws<CorpusException>(() => RetroTokenizer.Load(Case("20-bytelevel-missing-bytes", "json"))).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "of the 256 bytes",
            Assert.Throws<CorpusException>(() => RetroTokenizer.Load(Case("20-bytelevel-missing-bytes", "files"))).Message,
            StringComparison.Ordinal);

        // The same of characters is known only when one comes.
        using TemporaryFolder folder = new();
        folder.File("tokenizer.json", "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"</s>\": 1}, \"merges\": []}}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal([0, 0], tokenizer.Encode("aa"));
        Assert.Contains("\"ä\"", Assert.Throws<CorpusException>(() => tokenizer.Encode("aä")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a")]
    [InlineData("^")]
    [InlineData(" ")]
    [InlineData("ab")]
    public void Merging_a_long_run_takes_work_in_proportion_to_its_length(string unit)
    {
        foreach (int length in (int[])[100_000, 400_000])
        {
            PairMerges merges = new();
            for (int rank = 0, left = unit[0], right = unit[^1]; rank < 12; rank++, left = right = 999 + rank)
            {
                merges.Add(left, right, rank, 1_000 + rank);
            }

            int[] symbols = [.. string.Concat(Enumerable.Repeat(unit, length / unit.Length)).Select(c => (int)c)];
            int[] lengths = Enumerable.Repeat(1, symbols.Length).ToArray();
            int count = merges.Merge(symbols, lengths);

            Assert.Equal(length, lengths.Take(count).Sum());
            Assert.InRange(count, 1, length / 1_000);
            // A merge offers its two new neighbors, and there are fewer merges than symbols.
            Assert.InRange(merges.Candidates, length / 2, 3L * length);
        }
    }

    [Theory]
    [InlineData("pretrained/gpt2-no-prefix")]
    [InlineData("pretrained/qwen2-v4")]
    [InlineData("pretrained/llama-rope-linear")]
    [InlineData("pretrained/bert")]
    [InlineData("sentencepiece/bpe-byte-fallback")]
    [InlineData("sentencepiece/unigram-nfkc")]
    public void Four_times_the_text_takes_about_four_times_the_memory(string folder)
    {
        // A million characters: work that grew with the square of the length would not end while anybody waits.
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(Fixtures.Own, folder));
        foreach (string unit in (string[])["a", "^", " ", "\n", "e\u0301\u0323", "日本"])
        {
            string small = string.Concat(Enumerable.Repeat(unit, 250_000 / unit.Length));
            Assert.InRange(Allocated(string.Concat(Enumerable.Repeat(small, 4))), 0, 6 * Allocated(small));
        }

        long Allocated(string text)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            tokenizer.Encode(text);
            return GC.GetAllocatedBytesForCurrentThread() - before + 1_000_000;
        }
    }

    [Fact]
    public void Marks_in_any_number_are_put_into_canonical_order()
    {
        // Classes 230, 220, 202, 1 and 230 again: equal ones keep their order.
        char[] marks = ['\u0301', '\u0323', '\u0327', '\u0334', '\u0300'];
        Dictionary<char, int> classes = new() { ['\u0301'] = 230, ['\u0323'] = 220, ['\u0327'] = 202, ['\u0334'] = 1, ['\u0300'] = 230 };
        Random random = new(5);
        foreach (int length in (int[])[3, 40, 400_000])
        {
            string run = string.Concat(Enumerable.Range(0, length).Select(_ => marks[random.Next(marks.Length)]));
            Assert.Equal("x" + string.Concat(run.OrderBy(mark => classes[mark])) + "y", UnicodeForms.ToFormD($"x{run}y"));
        }
    }

    [Fact]
    public void WordPiece_of_any_continuing_prefix_gives_its_text_back()
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Case("23-wordpiece-other-prefix", "json"));
        Assert.Equal([3, 4, 5, 6], tokenizer.Encode("hello world"));
        Assert.Equal("hello world", tokenizer.Decode([3, 4, 5, 6]));
        Assert.Equal("hello world", ((PretrainedTokenizer)tokenizer.Tokenizer).Decode([3, 4, 5, 6], skipSpecialTokens: true));
    }

    [Fact]
    public void Of_a_line_that_comes_twice_in_vocab_txt_the_last_counts_and_ids_are_line_numbers()
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Case("24-vocab-duplicates", "vocab-txt"));
        Assert.Equal([7, 6, 8], tokenizer.Encode("cat dog fish"));
        Assert.Equal(9, tokenizer.VocabularySize);
        Assert.True(tokenizer.IsSpecial(5));
    }

    [Fact]
    public void What_a_llama_vocabulary_lacks_becomes_bytes()
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Case("25-llama-byte-fallback", "json"));
        foreach (JsonElement row in Expected("25-llama-byte-fallback").EnumerateArray())
        {
            string text = row[0].GetString()!;
            Assert.Equal(Ids(row[1]), tokenizer.Encode(text));
            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
        }
    }

    /// <summary>As the other library decodes them: each byte of a run that is no text by itself becomes the replacement character.</summary>
    [Fact]
    public void Bytes_of_a_llama_vocabulary_that_are_no_text_are_told_one_by_one()
    {
        Microsoft.ML.Tokenizers.Tokenizer tokenizer = RetroTokenizer.Load(Case("25-llama-byte-fallback", "json")).Tokenizer;
        int[] bytes = [.. tokenizer.EncodeToIds("\u2615").TakeLast(3)];
        Assert.EndsWith("\u2615", tokenizer.Decode(bytes), StringComparison.Ordinal);
        Assert.Equal("\uFFFD\uFFFD", tokenizer.Decode(bytes[..2]));
    }

    [Fact]
    public void A_byte_order_mark_before_a_tokenizer_s_files_is_no_part_of_them()
    {
        Assert.NotEmpty(RetroTokenizer.Load(Case("51-json-bom", "tokenizer")).Encode("one"));
        Assert.NotEmpty(RetroTokenizer.Load(Case("51-json-bom", "gpt2")).Encode("one"));

        using TemporaryFolder folder = new();
        folder.File("vocab.txt", "\uFEFFone\n[UNK]\n[CLS]\n[SEP]\n");
        folder.File("tokenizer_config.json", "\uFEFF{\"do_lower_case\": false}");
        Assert.Equal([0, 1], RetroTokenizer.Load(folder.Path).Encode("one One"));
    }

    [Theory]
    [InlineData("wordpiece")]
    [InlineData("gpt2")]
    public void Line_ends_of_windows_change_no_id(string folder)
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Case("52-vocab-crlf", folder));
        Assert.All(
            Expected("52-vocab-crlf").GetProperty(folder).EnumerateArray().Chunk(2), row => Assert.Equal(Ids(row[1]), tokenizer.Encode(row[0].GetString()!)));
    }

    [Fact]
    public void Added_tokens_swallow_white_space_and_are_sought_as_the_file_says()
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(Case("56-added-strip-normalized", "json"));
        Assert.All(Expected("56-added-strip-normalized").EnumerateArray(), row => Assert.Equal(Ids(row[1]), tokenizer.EncodeToIds(row[0].GetString()!)));
    }

    [Theory]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}""", 0, " a")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}""", 1, "a")]
    [InlineData("""{"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}""", 1, "a a")]
    [InlineData("""{"type": "ByteLevel", "add_prefix_space": true}""", 1, "a a")]
    [InlineData("""{"type": "ByteLevel", "add_prefix_space": false}""", 0, " a")]
    public void A_text_begins_as_the_tokenizer_s_own_file_says(string preTokenizer, int leading, string text)
    {
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            $"{{\"pre_tokenizer\": {preTokenizer}, \"model\": {{\"type\": \"BPE\", \"vocab\": {{\"</s>\": 0, \"a\": 1, \"▁\": 2, \"_\": 3, \"Ġ\": 4, \"<unk>\": 5}}, \"merges\": [], \"unk_token\": \"<unk>\"}}}}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        int[] ids = tokenizer.Encode(text);
        Assert.Equal(text, tokenizer.Decode(ids));
        Assert.Equal(new string(' ', leading) + text, tokenizer.DecodeWithin(ids));
    }

    /// <summary>Reported at https://github.com/huggingface/transformers/issues/1317 and https://github.com/dotnet/machinelearning/issues/7507.</summary>
    [Theory]
    [InlineData("vocab.txt", "\"tokenizer_class\": \"BertJapaneseTokenizer\"", "\"tokenizer_class\" BertJapaneseTokenizer")]
    [InlineData("vocab.txt", "\"tokenizer_class\": \"MPNetTokenizerFast\"", "\"tokenizer_class\" MPNetTokenizerFast")]
    [InlineData("vocab.txt", "\"word_tokenizer_type\": \"mecab\"", "\"word_tokenizer_type\" mecab")]
    [InlineData("vocab.txt", "\"subword_tokenizer_type\": \"character\"", "\"subword_tokenizer_type\" character")]
    [InlineData("vocab.txt", "\"do_basic_tokenize\": false", "\"do_basic_tokenize\" false")]
    [InlineData("vocab.txt", "\"never_split\": [\"one\"]", "\"never_split\" [\"one\"]")]
    [InlineData("vocab.txt", "\"cls_token\": \"<s>\"", "\"cls_token\" <s>")]
    [InlineData("vocab.txt", "\"sep_token\": {\"content\": \"</s>\", \"lstrip\": false}", "\"sep_token\" </s>")]
    [InlineData("vocab.txt", "\"unk_token\": \"<unk>\"", "\"unk_token\" <unk>")]
    [InlineData("vocab.json", "\"tokenizer_class\": \"Qwen2Tokenizer\"", "\"tokenizer_class\" Qwen2Tokenizer")]
    [InlineData("vocab.json", "\"tokenizer_class\": \"CLIPTokenizer\"", "\"tokenizer_class\" CLIPTokenizer")]
    [InlineData("vocab.json", "\"tokenizer_class\": \"RobertaTokenizerFast\"", "\"tokenizer_class\" RobertaTokenizerFast")]
    [InlineData("vocab.json", "\"add_prefix_space\": true", "\"add_prefix_space\" true")]
    public void A_vocabulary_that_is_another_tokenizer_s_is_refused(string vocabulary, string said, string named)
    {
        using TemporaryFolder folder = new();
        WriteVocabulary(folder, vocabulary);
        string file = folder.File("tokenizer_config.json", $"{{{said}}}");

        string message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Contains(file, message, StringComparison.Ordinal);
        Assert.Contains("supported beside it is", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("vocab.txt", "\"tokenizer_class\": \"BertTokenizerFast\", \"do_basic_tokenize\": true, \"never_split\": null, \"cls_token\": \"[CLS]\"")]
    [InlineData("vocab.txt", "\"tokenizer_class\": \"DistilBertTokenizer\", \"sep_token\": {\"content\": \"[SEP]\"}, \"add_prefix_space\": true")]
    [InlineData("vocab.json", "\"tokenizer_class\": \"GPT2Tokenizer\", \"add_prefix_space\": false, \"unk_token\": \"<|endoftext|>\"")]
    [InlineData("vocab.json", "\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"bos_token\": null")]
    public void A_configuration_that_says_what_the_vocabulary_stands_for_changes_no_id(string vocabulary, string said)
    {
        using TemporaryFolder folder = new();
        WriteVocabulary(folder, vocabulary);
        int[] ids = RetroTokenizer.Load(folder.Path).Encode("one One");
        folder.File("tokenizer_config.json", $"{{{said}}}");
        Assert.Equal(ids, RetroTokenizer.Load(folder.Path).Encode("one One"));
    }

    /// <summary>Reported at https://github.com/huggingface/text-generation-inference/pull/2137.</summary>
    [Theory]
    [InlineData("\"add_bos_token\": true, \"bos_token\": \"<s>\"", 1)]
    [InlineData("\"add_bos_token\": true, \"bos_token\": {\"content\": \"<s>\", \"special\": true}", 1)]
    [InlineData("\"add_bos_token\": true, \"bos_token\": null", 2)]
    [InlineData("\"add_bos_token\": false, \"bos_token\": \"<s>\"", 2)]
    [InlineData("\"bos_token\": \"<s>\"", 2)]
    public void A_document_begins_as_the_configuration_says_where_the_template_says_nothing(string said, int begin)
    {
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"post_processor\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"<s>\": 1, \"</s>\": 2}, \"merges\": []}}");
        folder.File("tokenizer_config.json", $"{{\"eos_token\": \"</s>\", {said}}}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal((begin, 2), (tokenizer.BeginOfText, tokenizer.EndOfText));
        Assert.True(tokenizer.IsSpecial(begin));
    }

    [Fact]
    public void An_added_token_of_a_wordpiece_vocabulary_is_a_word_in_a_text()
    {
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            """
            {"added_tokens": [{"id": 5, "content": "dotnet", "special": false}], "pre_tokenizer": {"type": "BertPreTokenizer"},
             "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
             "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "[SEP]": 1, "use": 2, "core": 3, "##s": 4}}}
            """);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        int[] ids = tokenizer.Encode("uses dotnet core");
        Assert.Equal([2, 4, 5, 3], ids);
        Assert.Equal("uses dotnet core", tokenizer.Decode(ids));
        Assert.Equal("uses dotnet core", ((PretrainedTokenizer)tokenizer.Tokenizer).Decode(ids));
        Assert.Equal(" dotnet", System.Text.Encoding.UTF8.GetString(tokenizer.TokenBytes(5)));
    }

    [Fact]
    public void Of_a_piece_that_comes_twice_the_last_id_counts_and_brackets_make_none_special()
    {
        using TemporaryFolder folder = new();
        const string Model = """
            {"added_tokens": [{"id": 0, "content": "[UNK]", "special": true}, {"id": 1, "content": "[SEP]", "special": true}],
             "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
             "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "[SEP]": 1, "see": 2, "[1]": 3, "cat": 4, "dog": 5, "cat": 6}}}
            """;
        folder.File("tokenizer.json", Model);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        int[] ids = tokenizer.Encode("see cat [1]");
        Assert.Equal([2, 6, 3], ids);
        Assert.Equal("see cat [1]", tokenizer.Decode([.. ids, 1]));
        Assert.Equal("see cat [1]", ((PretrainedTokenizer)tokenizer.Tokenizer).Decode(ids));
        folder.File("tokenizer.json", Model.Replace("\"dog\": 5", "\"dog\": 6", StringComparison.Ordinal));
        string message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains("gives the id 6 to \"dog\", which is taken", message, StringComparison.Ordinal);
    }

    /// <summary>As of https://huggingface.co/docs/tokenizers/quicktour: no piece holds white space, and where no decoder is named, spaces part them.</summary>
    [Theory]
    [InlineData("\"type\": \"Whitespace\"", "null", true, "ab a \u00E9")]
    [InlineData("\"type\": \"WhitespaceSplit\"", "null", false, "ab a \u00E9")]
    [InlineData("\"type\": \"BertPreTokenizer\"", "null", false, "ab a \u00E9")]
    [InlineData("\"type\": \"Split\", \"pattern\": {\"String\": \" \"}, \"behavior\": \"Removed\"", "null", true, "ab a \u00E9")]
    [InlineData("\"type\": \"WhitespaceSplit\"", "{\"type\": \"WordPiece\", \"prefix\": \"##\"}", true, "ab a \u00E9")]
    [InlineData("\"type\": \"WhitespaceSplit\"", "{\"type\": \"ByteFallback\"}", true, "aba\u00E9")]
    public void A_text_has_the_spaces_again_that_its_split_took_away(string split, string decoder, bool merges, string expected)
    {
        string[] symbols = ["?", "a", "b", "ab", "<0xC3>", "<0xA9>", "</s>"];
        object model = merges
            ? new
            {
                type = "BPE", unk_token = "?", byte_fallback = true, merges = new[] { "a b" },
                vocab = symbols.Index().ToDictionary(symbol => symbol.Item, symbol => symbol.Index),
            }
            : new { type = "Unigram", unk_id = 0, byte_fallback = true, vocab = symbols.Select((symbol, id) => new object[] { symbol, -1 - (0.1 * id) }) };
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"added_tokens\": [{\"id\": 6, \"content\": \"</s>\", \"special\": true}], \"pre_tokenizer\": {" + split + "}, \"decoder\": " + decoder
                + ", \"model\": " + JsonSerializer.Serialize(model) + "}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        int[] ids = tokenizer.Encode("ab a  \u00E9");
        Assert.Equal([3, 1, 4, 5], ids);
        Assert.Equal(expected, tokenizer.Decode([tokenizer.EndOfText, .. ids]));
        Assert.Equal(expected[2..], tokenizer.DecodeWithin(ids.AsSpan(1)));
        TokenTextStream stream = new(tokenizer, atBeginning: true);
        Assert.Equal(expected, string.Concat(ids.Select(stream.Add)) + stream.Flush());
        Assert.True(tokenizer.BeginsWithinCharacter(5));
    }

    /// <summary>As of https://huggingface.co/docs/tokenizers/components: the plainest of the models.</summary>
    [Fact]
    public void A_vocabulary_of_whole_words_gives_words_and_its_unknown_token()
    {
        using TemporaryFolder folder = new();
        string Json(string vocabulary) => "{\"added_tokens\": [{\"id\": 2, \"content\": \"</s>\", \"special\": true}],"
            + " \"pre_tokenizer\": {\"type\": \"Whitespace\"},"
            + " \"model\": {\"type\": \"WordLevel\", \"vocab\": {" + vocabulary + "}, \"unk_token\": \"[UNK]\"}}";
        folder.File("tokenizer.json", Json("\"hello\": 0, \"world\": 1, \"</s>\": 2, \"[UNK]\": 3, \"!\": 4"));
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        int[] ids = tokenizer.Encode("hello  there\nworld!");
        Assert.Equal([0, 3, 1, 4], ids);
        Assert.Equal("hello [UNK] world !", tokenizer.Decode(ids));
        Assert.Equal("hello [UNK] world !", ((PretrainedTokenizer)tokenizer.Tokenizer).Decode(ids));
        Assert.Equal(" world", System.Text.Encoding.UTF8.GetString(tokenizer.TokenBytes(1)));
        Assert.True(tokenizer.IsSpecial(2));

        folder.File("tokenizer.json", Json("\"hello\": 0, \"world\": 1, \"</s>\": 2"));
        Assert.Contains(
            "its unknown token \"[UNK]\" is not in its vocabulary",
            Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>Reported at https://github.com/huggingface/tokenizers/issues/1043.</summary>
    [Theory]
    [InlineData(@"\\p{S}", "", "a+b\u20AC", "ab")]
    [InlineData("[^0-9a-zA-Z]", " ", "a-b\U0001F600", "a b ")]
    [InlineData("a+", "$0", "baab", "b$0b")]
    [InlineData(" {2,}", " ", "a   b a", "a b a")]
    public void What_an_expression_matches_is_replaced_before_the_model(string expression, string content, string text, string expected)
    {
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"" + expression + "\"}, \"content\": \"" + content + "\"},"
                + " \"decoder\": {\"type\": \"Fuse\"},"
                + " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \" \": 2, \"$\": 3, \"0\": 4, \"</s>\": 5}, \"merges\": []}}");
        Microsoft.ML.Tokenizers.Tokenizer tokenizer = RetroTokenizer.Load(folder.Path).Tokenizer;
        Assert.Equal(expected, tokenizer.Decode(tokenizer.EncodeToIds(text)));
    }

    [Fact]
    public void A_chat_template_is_no_part_of_a_tokenizer_s_identity_and_what_changes_ids_is()
    {
        using TemporaryFolder folder = new();
        folder.File("vocab.txt", "one\n[UNK]\n[CLS]\n[SEP]\n");
        string Hash(string configuration)
        {
            folder.File("tokenizer_config.json", configuration);
            return RetroTokenizer.Load(folder.Path).Hash;
        }

        string plain = Hash("{\"do_lower_case\": true}");
        Assert.Equal(plain, Hash("{\"chat_template\": \"{{ messages }}\", \"do_lower_case\": true, \"model_max_length\": 512}"));
        Assert.NotEqual(plain, Hash("{\"do_lower_case\": false}"));
        Assert.NotEqual(plain, Hash("{\"do_lower_case\": true, \"strip_accents\": false}"));
    }

    [Theory]
    [InlineData("pretrained/llama-rope-linear", 1, 2)]
    [InlineData("pretrained/mistral-sliding-window", 1, 2)]
    [InlineData("pretrained/gpt2-no-prefix", 0, 0)]
    [InlineData("sentencepiece/bpe-byte-fallback", 1, 2)]
    public void A_document_begins_with_the_token_that_the_original_puts_there(string folder, int begin, int end)
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(Fixtures.Own, folder));
        Assert.Equal((begin, end), (tokenizer.BeginOfText, tokenizer.EndOfText));
    }

    private static void WriteVocabulary(TemporaryFolder folder, string vocabulary)
    {
        if (vocabulary == "vocab.txt")
        {
            folder.File("vocab.txt", "one\n[UNK]\n[CLS]\n[SEP]\n<s>\n</s>\n<unk>\n");
            return;
        }

        IEnumerable<string> symbols = Enumerable.Range(0, 256).Select(value => ByteSymbols.ToChar((byte)value).ToString()).Append("<|endoftext|>");
        folder.File("vocab.json", JsonSerializer.Serialize(symbols.Select((symbol, id) => (symbol, id)).ToDictionary(pair => pair.symbol, pair => pair.id)));
        folder.File("merges.txt", "#version: 0.2\n");
    }

    private static string Word(Random random, int length, int letters = 26)
        => string.Concat(Enumerable.Range(0, length).Select(_ => (char)('a' + random.Next(letters))));

    private static string Case(string name, string folder) => Path.Combine(Fixtures.Own, "cases", name, folder);

    private static JsonElement Expected(string name)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixtures.Own, "cases", name, "expected.json")));
        return document.RootElement.Clone();
    }

    private static int[] Ids(JsonElement element) => [.. element.EnumerateArray().Select(id => id.GetInt32())];
}
