using System.Text.Json;
using Retro.Corpora;
using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

/// <summary>What stands beside a tokenizer's own file counts, or is refused with the file and the key.</summary>
public class TokenizerConfigTests
{
    private const string Json = "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"model\": {\"type\": \"BPE\", \"vocab\": "
        + "{VOCABULARY}, \"merges\": []}}";

    [Theory]
    [InlineData("vocab.json", "tokenizer_config.json", "{\"tokenizer_class\": \"CodeGenTokenizer\", \"added_tokens_decoder\": {\"258\": {\"content\": \"        \", \"special\": false}}}", "\"        \" with the id 258")]
    [InlineData("vocab.json", "added_tokens.json", "{\"        \": 258}", "\"        \" with the id 258")]
    [InlineData("vocab.txt", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"7\": {\"content\": \"dotnet\"}}}", "\"dotnet\" with the id 7")]
    [InlineData("vocab.txt", "added_tokens.json", "{\"dotnet\": 7}", "\"dotnet\" with the id 7")]
    [InlineData("tokenizer.model", "added_tokens.json", "{\"dotnet\": 4000}", "\"dotnet\" with the id 4000")]
    [InlineData("tokenizer.json", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"258\": {\"content\": \"dotnet\"}}}", "\"dotnet\" with the id 258")]
    [InlineData("vocab.txt", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"0\": {\"content\": \"one\"}}}", "\"one\" with the id 0")]
    [InlineData("vocab.json", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"257\": {\"content\": \"<|im_end|>\"}}}", "\"<|im_end|>\" with the id 257")]
    [InlineData("tokenizer.json", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"257\": {\"content\": \"<|im_end|>\"}}}", "\"<|im_end|>\" with the id 257")]
    [InlineData("tokenizer.model", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"2\": {\"content\": \"</s>\"}}}", "\"</s>\" with the id 2")]
    [InlineData("vocab.json", "tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}", "cannot be used")]
    [InlineData("vocab.json", "added_tokens.json", "{\"y\": \"x\"}", "cannot be used")]
    public void Added_tokens_that_the_vocabulary_does_not_recognize_are_refused(string vocabulary, string name, string content, string named)
    {
        using TemporaryFolder folder = Folder(vocabulary);
        _ = RetroTokenizer.Load(folder.Path);
        string file = folder.File(name, content), message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Contains(file, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("vocab.json", "{\"added_tokens_decoder\": {\"256\": {\"content\": \"<|endoftext|>\", \"special\": true}, \"258\": {\"content\": \"<pad>\", \"special\": true}}}")]
    [InlineData("vocab.txt", "{\"added_tokens_decoder\": {\"1\": {\"content\": \"[UNK]\", \"special\": true}}}")]
    [InlineData("vocab.txt", "{\"added_tokens_decoder\": {\"4\": {\"content\": \"[unused0]\", \"special\": true}}}")]
    [InlineData("tokenizer.model", "{\"additional_special_tokens\": [\"[PAD]\"], \"added_tokens_decoder\": {\"921\": {\"content\": \"[PAD]\"}}}")]
    public void Special_tokens_change_no_id(string vocabulary, string content)
    {
        const string Text = "one oneself [unused0] [PAD]";
        using TemporaryFolder folder = Folder(vocabulary);
        RetroTokenizer bare = RetroTokenizer.Load(folder.Path);
        folder.File("tokenizer_config.json", content);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal(bare.Encode(Text), tokenizer.Encode(Text));
        Assert.Equal((bare.EndOfText, bare.VocabularySize), (tokenizer.EndOfText, tokenizer.VocabularySize));
    }

    /// <summary>Embedders encode so, as BERT's originals do.</summary>
    [Theory]
    [InlineData("{\"added_tokens_decoder\": {\"4\": {\"content\": \"[unused0]\", \"special\": true}}}")]
    [InlineData("{\"additional_special_tokens\": [\"[unused0]\"]}")]
    public void A_special_token_of_the_configuration_is_recognized_where_special_tokens_are(string content)
    {
        using TemporaryFolder folder = Folder("vocab.txt");
        folder.File("tokenizer_config.json", content);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal([0, 4], tokenizer.Tokenizer.EncodeToIds("one [unused0]"));
        Assert.DoesNotContain(4, tokenizer.Encode("one [unused0]"));
    }

    [Fact]
    public void Added_tokens_that_a_vocabulary_recognizes_itself_are_none_to_refuse()
    {
        using TemporaryFolder folder = Folder("tokenizer.model");
        int id = RetroTokenizer.Load(folder.Path).VocabularySize;

        // One more piece at the end of the protocol buffers, a symbol of the user's.
        byte[] piece = [0x0A, 6, .. "dotnet"u8, 0x18, (byte)PieceKind.UserDefined];
        folder.File("tokenizer.model", [.. File.ReadAllBytes(folder["tokenizer.model"]), 0x0A, (byte)piece.Length, .. piece]);
        folder.File("added_tokens.json", $"{{\"dotnet\": {id}}}");
        Assert.Contains(id, RetroTokenizer.Load(folder.Path).Encode("xdotnetx"));
    }

    /// <summary>transformers adds them once more, as the configuration has them.</summary>
    [Fact]
    public void How_an_added_token_is_recognized_the_configuration_says_last()
    {
        using TemporaryFolder folder = Folder("tokenizer.json"), copy = new();
        string file = folder["tokenizer.json"];
        File.WriteAllText(
            file,
            File.ReadAllText(file).Insert(
                1, "\"added_tokens\": [{\"id\": 257, \"content\": \"<|im_end|>\", \"special\": true, \"normalized\": false}], "));
        RetroTokenizer bare = RetroTokenizer.Load(folder.Path), same = With("\"lstrip\": false, \"rstrip\": false, \"normalized\": false");
        Assert.Equal([32, 257, 32, 98], same.Tokenizer.EncodeToIds(" <|im_end|> b"));
        Assert.Equal(bare.Hash, same.Hash);

        Assert.Equal(bare.Hash, With("\"lstrip\": false, \"rstrip\": false, \"normalized\": true").Hash); // of a special token it stays as it was

        RetroTokenizer right = With("\"lstrip\": false, \"rstrip\": true, \"normalized\": false");
        Assert.Equal([32, 257, 98], right.Tokenizer.EncodeToIds(" <|im_end|> b"));
        right.Save(copy.Path);
        Assert.Equal(right.Hash, RetroTokenizer.Load(copy.Path).Hash);

        RetroTokenizer left = With("\"lstrip\": true, \"rstrip\": false, \"normalized\": false");
        Assert.Equal([257, 32, 98], left.Tokenizer.EncodeToIds(" <|im_end|> b"));
        Assert.NotEqual(bare.Hash, right.Hash);
        Assert.NotEqual(right.Hash, left.Hash);

        RetroTokenizer With(string flags)
        {
            folder.File(
                "tokenizer_config.json",
                $"{{\"added_tokens_decoder\": {{\"257\": {{\"content\": \"<|im_end|>\", \"special\": true, \"single_word\": false, {flags}}}}}}}");
            return RetroTokenizer.Load(folder.Path);
        }
    }

    /// <summary>As the fine-tunes of Llama by Alpaca's script have it.</summary>
    [Theory]
    [InlineData("special_tokens_map.json", "{\"pad_token\": \"[PAD]\"}")]
    [InlineData("special_tokens_map.json", "{\"additional_special_tokens\": [\"<x>\", {\"content\": \"[PAD]\"}]}")]
    [InlineData("tokenizer_config.json", "{\"pad_token\": {\"content\": \"[PAD]\"}}")]
    public void Special_tokens_among_the_added_ones_are_known_by_the_file_that_names_them(string name, string content)
    {
        using TemporaryFolder folder = Folder("tokenizer.model");
        string hash = RetroTokenizer.Load(folder.Path).Hash;
        folder.File("added_tokens.json", "{\"[PAD]\": 921}");
        Assert.Contains("[PAD]", Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
        folder.File(name, content);
        Assert.Equal(hash, RetroTokenizer.Load(folder.Path).Hash);
    }

    [Theory]
    [InlineData("tokenizer.model", "\u2581the")]
    [InlineData("tokenizer.model", "<0x41>")]
    [InlineData("vocab.txt", "[UNK]")]
    public void An_end_that_text_gives_is_refused(string vocabulary, string end)
    {
        using TemporaryFolder folder = Folder(vocabulary);
        folder.File("tokenizer_config.json", JsonSerializer.Serialize(new { eos_token = end }));
        Assert.Contains(
            "is a piece of ordinary text", Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    /// <summary>Of a vocabulary of words, the configuration tells what is special.</summary>
    [Theory]
    [InlineData("one", 0, "one")]
    [InlineData("##s", 5, "ones")]
    public void What_a_configuration_calls_special_is_no_piece_of_a_text(string end, int id, string text)
    {
        using TemporaryFolder folder = Folder("vocab.txt");
        Assert.Contains(id, RetroTokenizer.Load(folder.Path).Encode(text));
        folder.File("tokenizer_config.json", JsonSerializer.Serialize(new { eos_token = end }));
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal(id, tokenizer.EndOfText);
        Assert.Equal([1], tokenizer.Encode(text)); // [UNK]
    }

    /// <summary>No split cuts these apart: whatever the model is, a text that spells out a special token does not give it.</summary>
    [Theory]
    [InlineData("{\"type\": \"WordLevel\", \"unk_token\": \"<unk>\", \"vocab\": {VOCABULARY}}")]
    [InlineData("{\"type\": \"WordPiece\", \"unk_token\": \"<unk>\", \"vocab\": {VOCABULARY}}")]
    [InlineData("{\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"vocab\": {VOCABULARY}, \"merges\": [\"< e\", \"<e >\", \"# #e\", \"h i\"]}")]
    [InlineData("{\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"vocab\": {VOCABULARY}, \"merges\": [\"h i\"], \"ignore_merges\": true}")]
    [InlineData("{\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [{PIECES}]}")]
    public void A_text_that_spells_out_a_special_token_does_not_give_it(string model)
    {
        string[] pieces = ["<unk>", "<e>", "##e", "<", "e", ">", "h", "i", "<e", "hi", "#", "#e"];
        string vocabulary = JsonSerializer.Serialize(pieces.Select((piece, id) => (piece, id)).ToDictionary(pair => pair.piece, pair => pair.id));
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"added_tokens\": [{\"id\": 1, \"content\": \"<e>\", \"special\": true}, {\"id\": 2, \"content\": \"##e\", \"special\": true}], "
                + "\"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, \"model\": "
                + model.Replace("{VOCABULARY}", vocabulary, StringComparison.Ordinal)
                    .Replace("{PIECES}", string.Join(", ", pieces.Select((piece, id) => $"[\"{piece}\", -{id}]")), StringComparison.Ordinal) + "}");
        folder.File("tokenizer_config.json", "{\"eos_token\": \"<e>\"}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal(1, tokenizer.EndOfText);
        Assert.Equal([9], tokenizer.Encode("hi"));
        foreach (string text in (string[])["<e>", "hi <e> hi", "##e", "he", "##e <e>"])
        {
            Assert.DoesNotContain(tokenizer.Encode(text), id => id is 1 or 2);
        }

        // As a message of a conversation has it: with a mark, which is no part of the text.
        Assert.Equal([1], tokenizer.EncodeMarked("<e>", '|'));
        Assert.DoesNotContain(1, tokenizer.EncodeMarked("<|e>", '|'));
    }

    [Theory]
    [InlineData("{\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"vocab\": {\"<unk>\": 0, \"a\": 1}, \"merges\": []}")]
    [InlineData("{\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0], [\"a\", -1]]}")]
    [InlineData("{\"type\": \"WordPiece\", \"unk_token\": \"<unk>\", \"vocab\": {\"<unk>\": 0, \"a\": 1}}")]
    public void An_end_that_stands_for_what_is_unknown_is_refused(string model)
    {
        using TemporaryFolder folder = new();
        folder.File("tokenizer.json", $"{{\"added_tokens\": [{{\"id\": 0, \"content\": \"<unk>\", \"special\": true}}], \"model\": {model}}}");
        folder.File("tokenizer_config.json", "{\"eos_token\": \"<unk>\"}");
        Assert.Contains(
            "is a piece of ordinary text", Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    /// <summary>As transformers looks for it: in the tokenizer's configuration, then in the model's, then by the kind of model.</summary>
    [Theory]
    [InlineData("vocab.txt", "{\"model_type\": \"mpnet\"}", "config.json, by its \"model_type\", says \"tokenizer_class\" MPNetTokenizer")]
    [InlineData("vocab.json", "{\"model_type\": \"roberta\"}", "config.json, by its \"model_type\", says \"tokenizer_class\" RobertaTokenizer")]
    [InlineData("vocab.txt", "{\"tokenizer_class\": \"PhobertTokenizer\", \"model_type\": \"bert\"}", "config.json says \"tokenizer_class\" PhobertTokenizer")]
    [InlineData("vocab.txt", "{\"tokenizer_class\": \"BertTokenizerFast\", \"model_type\": \"roberta\"}", null)]
    [InlineData("vocab.json", "{\"retro_identity\": \"0\", \"model_type\": \"roberta\"}", null)]
    [InlineData("vocab.json", "{\"model_type\": \"gpt_neo\"}", null)]
    [InlineData("vocab.json", "{\"model_type\": 5}", null)]
    [InlineData("vocab.txt", "{", null)]
    public void The_model_s_configuration_tells_of_a_tokenizer_whose_own_does_not(string vocabulary, string model, string? refused)
    {
        using TemporaryFolder folder = Folder(vocabulary);
        string hash = RetroTokenizer.Load(folder.Path).Hash;
        folder.File("config.json", model);
        if (refused is not null)
        {
            Assert.Contains(refused, Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
            folder.File("tokenizer_config.json", "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}");
        }

        Assert.Equal(hash, RetroTokenizer.Load(folder.Path).Hash);
    }

    /// <summary>BERT's split cuts brackets off; where none does, a special token is a word that text gives.</summary>
    [Theory]
    [InlineData("BertPreTokenizer", true)]
    [InlineData("WhitespaceSplit", false)]
    public void Whether_text_gives_a_word_whole_is_the_split_s_doing(string split, bool taken)
    {
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            $"{{\"pre_tokenizer\": {{\"type\": \"{split}\"}}, \"model\": {{\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"vocab\": "
                + "{\"[UNK]\": 0, \"[SEP]\": 1, \"a\": 2}}}");
        if (taken)
        {
            Assert.Equal(1, RetroTokenizer.Load(folder.Path).EndOfText);
        }
        else
        {
            Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path));
        }
    }

    [Fact]
    public void The_end_of_a_word_piece_vocabulary_is_the_one_that_the_configuration_names()
    {
        using TemporaryFolder folder = Folder("vocab.txt");
        RetroTokenizer bare = RetroTokenizer.Load(folder.Path);
        Assert.Equal((2, 3), (bare.BeginOfText, bare.EndOfText));
        folder.File("tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\", \"eos_token\": \"[unused0]\"}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal((2, 4), (tokenizer.BeginOfText, tokenizer.EndOfText));
        Assert.NotEqual(bare.Hash, tokenizer.Hash);
    }

    [Fact]
    public void A_begin_that_is_another_than_the_tokenizer_s_own_is_refused()
    {
        using TemporaryFolder folder = Folder("tokenizer.model");
        folder.File("tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\", \"add_bos_token\": true, \"bos_token\": \"<s>\"}");
        Assert.Equal(1, RetroTokenizer.Load(folder.Path).BeginOfText);
        folder.File("tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\", \"add_bos_token\": true, \"bos_token\": \"</s>\"}");
        string message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains("contradict each other: by \"bos_token\"", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("LlamaTokenizer", false)]
    [InlineData("PreTrainedTokenizerFast", true)]
    public void A_space_before_a_text_counts_for_the_classes_that_make_the_tokenizer_anew(string name, bool taken)
    {
        using TemporaryFolder folder = Folder("tokenizer.model");
        folder.File("tokenizer_config.json", $"{{\"tokenizer_class\": \"{name}\", \"add_prefix_space\": false}}");
        Assert.Equal(taken, Record.Exception(() => RetroTokenizer.Load(folder.Path)) is null);
    }

    [Theory]
    [InlineData("tokenizer.json", "\"eos_token\": \"<|unheard|>\"", "\"eos_token\" \"<|unheard|>\"")]
    [InlineData("vocab.json", "\"eos_token\": {\"content\": \"<|unheard|>\"}", "\"eos_token\" \"<|unheard|>\"")]
    [InlineData("tokenizer.model", "\"eos_token\": \"<|unheard|>\"", "\"eos_token\" \"<|unheard|>\"")]
    [InlineData("tokenizer.json", "\"eos_token\": \"<|unheard|>\", \"added_tokens_decoder\": {\"258\": {\"content\": \"<|unheard|>\", \"special\": true}}", "\"eos_token\" \"<|unheard|>\"")]
    [InlineData("tokenizer.json", "\"add_bos_token\": true, \"bos_token\": \"<unheard>\"", "\"bos_token\" \"<unheard>\"")]
    [InlineData("vocab.json", "\"add_bos_token\": true, \"bos_token\": \"<unheard>\"", "\"bos_token\" \"<unheard>\"")]
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
    [InlineData("spiece.model")]
    [InlineData("sentencepiece.bpe.model")]
    public void A_file_whose_ids_a_model_s_class_changes_is_named_and_read_by_its_name_alone(string name)
    {
        using TemporaryFolder folder = new();
        string file = folder.File(name, File.ReadAllBytes(Path.Combine(Fixtures.SentencePiece("bpe-byte-fallback"), "tokenizer.model")));
        foreach (Action load in (Action[])[() => RetroTokenizer.Load(folder.Path), () => PretrainedTokenizer.Load(folder.Path)])
        {
            Assert.Contains($"Its {name} is not read", Assert.Throws<CorpusException>(load).Message, StringComparison.Ordinal);
        }

        Assert.Equal(RetroTokenizer.Load(Fixtures.SentencePiece("bpe-byte-fallback")).Encode("a text"), RetroTokenizer.Load(file).Encode("a text"));
    }

    /// <summary>Which files lie there is one thing, what of them changes an id or the end of a document another.</summary>
    [Fact]
    public void Files_that_change_no_id_are_no_part_of_a_tokenizer_s_identity()
    {
        using TemporaryFolder folder = new();
        folder.File("tokenizer.json", File.ReadAllBytes(Path.Combine(Fixtures.Pretrained("llama-rope-linear"), "tokenizer.json")));
        RetroTokenizer bare = RetroTokenizer.Load(folder.Path);
        Assert.All(bare.Hashes, name => Assert.Equal(bare.Hash, name)); // as it was before
        folder.File("tokenizer.model", File.ReadAllBytes(Path.Combine(Fixtures.SentencePiece("bpe-byte-fallback"), "tokenizer.model")));
        Assert.Equal(bare.Hash, RetroTokenizer.Load(folder.Path).Hash);
        foreach (string said in (string[])[
            "\"chat_template\": \"x\", \"model_max_length\": 77", "\"eos_token\": \"</s>\", \"bos_token\": \"<s>\", \"add_bos_token\": true"
        ])
        {
            folder.File("tokenizer_config.json", $"{{{said}}}");
            RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
            Assert.Equal((bare.Hash, bare.EndOfText), (tokenizer.Hash, tokenizer.EndOfText));
            Assert.NotEqual(tokenizer.Hash, tokenizer.FilesHash);
        }

        folder.File("tokenizer_config.json", "{\"eos_token\": \"<s>\"}");
        Assert.NotEqual(bare.Hash, RetroTokenizer.Load(folder.Path).Hash);
    }

    /// <summary>Databases and models of before name their tokenizer by the hash over all its files, those without effect among them.</summary>
    [Fact]
    public void What_was_made_under_the_hash_of_before_is_of_the_same_tokenizer()
    {
        using TemporaryFolder folder = new();
        folder.File("tokenizer.json", File.ReadAllBytes(Path.Combine(Fixtures.Pretrained("llama-rope-linear"), "tokenizer.json")));
        folder.File("tokenizer_config.json", "{\"eos_token\": \"</s>\", \"bos_token\": \"<s>\"}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        // As the library wrote it: SHA-256 over names, lengths and contents, of the configuration five of its values.
        const string Counted =
            "{\"LowerCase\":null,\"StripAccents\":null,\"SeparateIdeographs\":null,\"EndToken\":\"\\u003C/s\\u003E\",\"AddsBegin\":null}";
        string earlier = OverAll(
            ("tokenizer.json", File.ReadAllBytes(folder["tokenizer.json"])), ("tokenizer_config.json", System.Text.Encoding.UTF8.GetBytes(Counted)));
        Assert.Equal(earlier, tokenizer.FilesHash);
        TokenizerFacts now = TokenizerFacts.Of(tokenizer), before = now with { Hash = tokenizer.FilesHash, EarlierHash = null };
        Document[] documents = [new("a", "A", "one text", "a.txt"), new("b", "B", "another text", "b.txt")];
        using (ChunkDatabase built = ChunkDatabaseBuilder.Build(folder["before"], documents[..1], before, new() { ChunkLength = 4 }))
        {
            Assert.Equal(tokenizer.FilesHash, built.Manifest.TokenizerHash);
            built.RequireTokenizer(tokenizer);
        }

        ChunkDatabaseUpdate.Apply(folder["before"], documents[1..], [], now);
        using ChunkDatabase old = ChunkDatabase.Open(folder["before"]);
        using ChunkDatabase anew = ChunkDatabaseBuilder.Build(folder["now"], documents, now, new() { ChunkLength = 4 });
        Assert.Equal(2, old.Documents.Count);

        // Databases of both kinds are read together, whichever comes first; compacting keeps what each says.
        AssertTogether();
        DatabaseCompaction.Compact(folder["before"]).Dispose();
        AssertTogether();
        TokenizerFacts other = now with { Hash = new string('b', 64), EarlierHash = tokenizer.FilesHash };
        ChunkDatabaseBuilder.Build(folder["other"], documents, other, new() { ChunkLength = 4 }).Dispose();
        Assert.Throws<DatabaseException>(() => ChunkDatabase.Open([folder["now"], folder["other"]]));

        // What was made in between does not say that it is of the same, whatever was asked of it before.
        ChunkDatabaseBuilder.Build(folder["between"], documents, now with { EarlierHash = null }, new() { ChunkLength = 4 }).Dispose();
        using (ChunkDatabase between = ChunkDatabase.Open(folder["between"]))
        {
            between.RequireTokenizer(tokenizer);
            Assert.Throws<DatabaseException>(() => between.RequireSameTokenizer(old));
            Assert.Throws<DatabaseException>(() => old.RequireSameTokenizer(between));
        }

        using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = tokenizer.VocabularySize, Retrieval = null }) { TokenizerHash = earlier };
        Assert.Throws<RetroException>(() => model.RequireTokenizer(tokenizer.Hash));
        model.RequireTokenizer(tokenizer.Hashes);
        model.RequireTokenizer(old.Manifest.TokenizerHash);
        model.RequireTokenizer(anew.Manifest.TokenizerHash);
        Assert.Throws<RetroException>(() => model.RequireTokenizer("another"));

        void AssertTogether()
        {
            using ChunkDatabase early = ChunkDatabase.Open(folder["before"]);
            Assert.Equal(earlier, early.Manifest.TokenizerHash);
            early.RequireSameTokenizer(anew);
            anew.RequireSameTokenizer(early);
            foreach (string[] folders in new string[][] { [folder["before"], folder["now"]], [folder["now"], folder["before"]] })
            {
                using ChunkDatabase both = ChunkDatabase.Open(folders);
                Assert.Equal(4, both.Documents.Count);
                both.RequireTokenizer(tokenizer);
                both.RequireSameTokenizer(early);
                anew.RequireSameTokenizer(both);
            }
        }
    }

    private static string OverAll(params (string Name, byte[] Content)[] files)
        => Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(
            [.. files.SelectMany(file => (byte[])[.. System.Text.Encoding.UTF8.GetBytes($"{file.Name}\n{file.Content.Length}\n"), .. file.Content])]));

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
            folder.File("vocab.txt", "one\n[UNK]\n[CLS]\n[SEP]\n[unused0]\n##s\n##elf\n");
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
