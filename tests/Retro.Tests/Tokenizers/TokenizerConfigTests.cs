using System.Text.Json;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

/// <summary>What stands beside a tokenizer's own file counts, or is refused with the file and the key.</summary>
public class TokenizerConfigTests
{
    private const string Json = "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"model\": {\"type\": \"BPE\", \"vocab\": "
        + "{VOCABULARY}, \"merges\": []}}";

    [Theory]
    [InlineData("vocab.json", "tokenizer_config.json", "{\"tokenizer_class\": \"CodeGenTokenizer\", \"added_tokens_decoder\": {\"258\": {\"content\": \"        \", \"special\": false}}}", "\"        \" with the id 258")]
    [InlineData("vocab.json", "added_tokens.json", "{\"<|endoftext|>\": 256, \"        \": 258}", "\"        \" with the id 258")]
    [InlineData("vocab.txt", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"4\": {\"content\": \"dotnet\"}}}", "\"dotnet\" with the id 4")]
    [InlineData("vocab.txt", "added_tokens.json", "{\"dotnet\": 4}", "\"dotnet\" with the id 4")]
    [InlineData("tokenizer.model", "added_tokens.json", "{\"dotnet\": 4000}", "\"dotnet\" with the id 4000")]
    [InlineData("tokenizer.json", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"258\": {\"content\": \"dotnet\"}}}", "\"dotnet\" with the id 258")]
    [InlineData("vocab.json", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}", "cannot be used")]
    [InlineData("vocab.json", "added_tokens.json", "{\"y\": \"x\"}", "cannot be used")]
    public void Added_tokens_that_the_vocabulary_does_not_have_are_refused(string vocabulary, string name, string content, string named)
    {
        using TemporaryFolder folder = Folder(vocabulary);
        _ = RetroTokenizer.Load(folder.Path);
        string file = folder.File(name, content), message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Contains(file, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("vocab.json", "{\"added_tokens_decoder\": {\"256\": {\"content\": \"<|endoftext|>\", \"special\": true}, \"258\": {\"content\": \"<pad>\", \"special\": true}}}")]
    [InlineData("vocab.txt", "{\"added_tokens_decoder\": {\"1\": {\"content\": \"[UNK]\", \"special\": true}, \"0\": {\"content\": \"one\", \"special\": false}}}")]
    public void Added_tokens_of_the_vocabulary_s_own_and_special_ones_change_no_id(string vocabulary, string content)
    {
        using TemporaryFolder folder = Folder(vocabulary);
        RetroTokenizer bare = RetroTokenizer.Load(folder.Path);
        folder.File("tokenizer_config.json", content);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal(bare.Encode("one One"), tokenizer.Encode("one One"));
        Assert.Equal((bare.EndOfText, bare.VocabularySize), (tokenizer.EndOfText, tokenizer.VocabularySize));
    }

    [Theory]
    [InlineData("tokenizer.json", "\"eos_token\": \"<|unheard|>\"", "\"eos_token\" <|unheard|>")]
    [InlineData("vocab.json", "\"eos_token\": {\"content\": \"<|unheard|>\"}", "\"eos_token\" <|unheard|>")]
    [InlineData("tokenizer.model", "\"eos_token\": \"<|unheard|>\"", "\"eos_token\" <|unheard|>")]
    [InlineData("tokenizer.json", "\"eos_token\": \"<|unheard|>\", \"added_tokens_decoder\": {\"258\": {\"content\": \"<|unheard|>\", \"special\": true}}", "\"eos_token\" <|unheard|>")]
    [InlineData("tokenizer.json", "\"add_bos_token\": true, \"bos_token\": \"<unheard>\"", "\"bos_token\" <unheard>")]
    [InlineData("vocab.json", "\"add_bos_token\": true, \"bos_token\": \"<unheard>\"", "\"bos_token\" <unheard>")]
    public void A_token_that_is_named_and_not_known_is_no_other(string vocabulary, string said, string named)
    {
        using TemporaryFolder folder = Folder(vocabulary);
        string file = folder.File("tokenizer_config.json", $"{{{said}}}");
        string message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Contains(file, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("vocab.json")]
    [InlineData("tokenizer.json")]
    public void The_end_and_the_begin_are_those_that_the_configuration_names(string vocabulary)
    {
        using TemporaryFolder folder = Folder(vocabulary), copy = new();
        RetroTokenizer bare = RetroTokenizer.Load(folder.Path);
        Assert.Equal((256, 256), (bare.BeginOfText, bare.EndOfText));
        folder.File(
            "tokenizer_config.json",
            "{\"tokenizer_class\": \"GPT2Tokenizer\", \"eos_token\": \"<|im_end|>\", \"bos_token\": \"<|endoftext|>\", \"add_bos_token\": true}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal((256, 257), (tokenizer.BeginOfText, tokenizer.EndOfText));
        Assert.NotEqual(bare.Hash, tokenizer.Hash);
        tokenizer.Save(copy.Path);
        RetroTokenizer again = RetroTokenizer.Load(copy.Path);
        Assert.Equal((256, 257, tokenizer.Hash), (again.BeginOfText, again.EndOfText, again.Hash));
    }

    [Fact]
    public void A_vocabulary_without_an_end_is_refused_until_one_is_named()
    {
        using TemporaryFolder folder = Folder("vocab.json");
        string file = folder["vocab.json"];
        File.WriteAllText(
            file,
            File.ReadAllText(file).Replace("endoftext", "other", StringComparison.Ordinal).Replace("im_end", "im_over", StringComparison.Ordinal));
        Assert.Contains(
            "no token that ends a document", Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
        folder.File("tokenizer_config.json", "{\"eos_token\": \"<|im_over|>\"}");
        Assert.Equal(257, RetroTokenizer.Load(folder.Path).EndOfText);
    }

    [Fact]
    public void A_configuration_that_says_no_more_than_vocab_json_is_no_part_of_its_identity()
    {
        using TemporaryFolder folder = Folder("vocab.json");
        string bare = RetroTokenizer.Load(folder.Path).Hash;
        folder.File("tokenizer_config.json", "{\"tokenizer_class\": \"GPT2Tokenizer\", \"eos_token\": \"<|endoftext|>\", \"bos_token\": \"<|endoftext|>\"}");
        Assert.Equal(bare, RetroTokenizer.Load(folder.Path).Hash);
    }

    [Theory]
    [InlineData("tokenizer.json", "true", "says \"add_prefix_space\" true, tokenizer.json of a space before a text false")]
    [InlineData("tokenizer.model", "false", "says \"add_prefix_space\" false, tokenizer.model of a space before a text true")]
    public void A_space_before_a_text_is_one_thing_in_all_files(string vocabulary, string said, string named)
    {
        using TemporaryFolder folder = Folder(vocabulary);
        folder.File("tokenizer_config.json", $"{{\"add_prefix_space\": {(said == "true" ? "false" : "true")}}}");
        _ = RetroTokenizer.Load(folder.Path);
        folder.File("tokenizer_config.json", $"{{\"add_prefix_space\": {said}}}");
        Assert.Contains(named, Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer.model")]
    public void A_file_under_its_usual_name_is_its_folder_s_tokenizer(string name)
    {
        using TemporaryFolder folder = Folder(name), copy = new();
        string end = name == "tokenizer.json" ? "<|im_end|>" : "<s>";
        folder.File("tokenizer_config.json", $"{{\"eos_token\": \"{end}\", \"add_bos_token\": false}}");
        RetroTokenizer whole = RetroTokenizer.Load(folder.Path), file = RetroTokenizer.Load(folder[name]);
        Assert.Equal((whole.EndOfText, whole.BeginOfText, whole.Hash), (file.EndOfText, file.BeginOfText, file.Hash));
        file.Save(copy.Path);
        Assert.Equal(whole.Hash, RetroTokenizer.Load(copy.Path).Hash);

        string other = folder.File("other" + Path.GetExtension(name), File.ReadAllBytes(folder[name]));
        Assert.NotEqual(whole.EndOfText, RetroTokenizer.Load(other).EndOfText);
    }

    private static TemporaryFolder Folder(string vocabulary)
    {
        TemporaryFolder folder = new();
        if (vocabulary == "vocab.txt")
        {
            folder.File("vocab.txt", "one\n[UNK]\n[CLS]\n[SEP]\n");
        }
        else if (vocabulary == "tokenizer.model")
        {
            folder.File("tokenizer.model", File.ReadAllBytes(Path.Combine(Fixtures.SentencePiece("bpe-byte-fallback"), "tokenizer.model")));
        }
        else
        {
            IEnumerable<string> symbols =
                [.. Enumerable.Range(0, 256).Select(value => ByteSymbols.ToChar((byte)value).ToString()), "<|endoftext|>", "<|im_end|>"];
            string pieces = JsonSerializer.Serialize(symbols.Select((symbol, id) => (symbol, id)).ToDictionary(pair => pair.symbol, pair => pair.id));
            folder.File(vocabulary, vocabulary == "vocab.json" ? pieces : Json.Replace("{VOCABULARY}", pieces, StringComparison.Ordinal));
            if (vocabulary == "vocab.json")
            {
                folder.File("merges.txt", "#version: 0.2\n");
            }
        }

        return folder;
    }
}
