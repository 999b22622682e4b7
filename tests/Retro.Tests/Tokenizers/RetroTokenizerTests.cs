using FsCheck;
using FsCheck.Fluent;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class RetroTokenizerTests
{
    [Fact]
    public void A_folder_holds_a_tokenizer_where_one_is_loaded_from_it()
    {
        using TemporaryFolder folder = new();
        Assert.False(RetroTokenizer.IsIn(folder.Path));
        folder.File("vocab.json", "{}");
        Assert.False(RetroTokenizer.IsIn(folder.Path)); // without its merges
        folder.File("merges.txt", "");
        Assert.True(RetroTokenizer.IsIn(folder.Path));
    }

    /// <summary>A special token stands for no text, and has a name all the same.</summary>
    [Theory]
    [InlineData("tokenizers/gpt2", RetroTokenizer.EndOfTextToken)]
    [InlineData(null, "</s>")]
    public void A_token_has_a_name(string? shared, string end)
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(shared is null ? Fixtures.SentencePiece("bpe-byte-fallback") : Fixtures.SharedPath(shared));
        Assert.Equal(end, tokenizer.NameOf(tokenizer.EndOfText));
        Assert.All(tokenizer.Encode("a word"), id => Assert.Equal(tokenizer.DecodeWithin([id]), tokenizer.NameOf(id)));
    }

    [Fact]
    public void Gpt2_s_files_give_its_published_ids_and_any_text_back()
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Fixtures.SharedPath("tokenizers/gpt2"));

        Assert.Equal([15496, 11, 995, 0], tokenizer.Encode("Hello, world!"));
        Assert.Equal((50257, 50256), (tokenizer.VocabularySize, tokenizer.EndOfText));
        Prop.ForAll<string>(text => RoundTrips(tokenizer, text ?? "")).Check(Config.QuickThrowOnFailure.WithMaxTest(300));
        string[] odd = ["", " ", "\n\n  \t", "a\0b", "👩‍👩‍👧 🇸🇪", "e\u0301 日本語  x", "𝐀𝐁c", new string('=', 5000), "\uFFFE\u200B", "<|endoftext|>"];
        Assert.All(odd, text => Assert.True(RoundTrips(tokenizer, text)));
    }

    [Fact]
    public void A_special_token_written_in_a_text_is_plain_text()
    {
        using TemporaryFolder folder = Trained();
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        int[] ids = tokenizer.Encode("a<|endoftext|>b");
        Assert.DoesNotContain(tokenizer.EndOfText, ids);
        Assert.Equal("a<|endoftext|>b", tokenizer.Decode(ids));
        Assert.Equal("ab", tokenizer.Decode([.. tokenizer.Encode("a"), tokenizer.EndOfText, .. tokenizer.Encode("b")]));
        Assert.True(tokenizer.IsSpecial(tokenizer.EndOfText));
    }

    [Fact]
    public void A_lone_surrogate_becomes_the_replacement_character()
    {
        using TemporaryFolder folder = Trained();
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        Assert.Equal("a\uFFFDb", tokenizer.Decode(tokenizer.Encode("a\uD800b")));
    }

    [Fact]
    public void The_bytes_of_the_tokens_are_the_text_s()
    {
        using TemporaryFolder folder = Trained();
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        const string text = "Größe 👩‍👩‍👧!";

        byte[] bytes = tokenizer.Encode(text).SelectMany(id => tokenizer.TokenBytes(id).ToArray()).ToArray();
        Assert.Equal(System.Text.Encoding.UTF8.GetBytes(text), bytes);
    }

    [Fact]
    public void Saved_and_loaded_it_is_the_same()
    {
        using TemporaryFolder folder = Trained();
        using TemporaryFolder copy = new();
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        tokenizer.Save(copy.Path);

        Assert.Equal(tokenizer.Hash, RetroTokenizer.Load(copy.Path).Hash);
        copy.File("merges.txt", File.ReadAllText(Path.Combine(copy.Path, "merges.txt")).TrimEnd().ReplaceLineEndings("\n") + "\n");
        string[] lines = File.ReadAllLines(Path.Combine(copy.Path, "merges.txt"));
        copy.File("merges.txt", string.Join('\n', lines[..^1]) + "\n");
        Assert.NotEqual(tokenizer.Hash, RetroTokenizer.Load(copy.Path).Hash);
    }

    [Fact]
    public void An_id_outside_the_vocabulary_is_named()
    {
        using TemporaryFolder folder = Trained();
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        Assert.Contains(
            tokenizer.VocabularySize.ToString(System.Globalization.CultureInfo.InvariantCulture),
            Assert.Throws<ArgumentOutOfRangeException>(() => tokenizer.Decode([tokenizer.VocabularySize])).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => tokenizer.TokenBytes(-1));
    }

    [Theory]
    [InlineData("vocab.json", "[1, 2]", "JSON object")]
    [InlineData("vocab.json", "{\"a\": 0", "JSON object")]
    [InlineData("vocab.json", "{\"a\": 0, \"b\": 0, \"<|endoftext|>\": 1}", "twice")]
    [InlineData("vocab.json", "{\"a\": 0}", "lacks 255 of the 256 bytes")]
    [InlineData("vocab.json", "{\"a\": 0, \"<|endoftext|>\": 1}", "lacks 255 of the 256 bytes")]
    [InlineData("vocab.json", "{\"a\": -3, \"<|endoftext|>\": 1}", "ids from -3")]
    [InlineData("merges.txt", "#version: 0.2\na b c\n", "Line 2")]
    [InlineData("merges.txt", "#version: 0.2\nx yy\n", "Line 2")]
    public void Malformed_files_are_refused_with_the_reason(string file, string content, string reason)
    {
        using TemporaryFolder folder = Trained();
        folder.File(file, content);
        if (file == "vocab.json")
        {
            folder.File("merges.txt", "#version: 0.2\n");
        }

        string message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.Contains(folder.Path, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Loading_reports_and_can_be_canceled()
    {
        using TemporaryFolder folder = Trained();
        List<StageProgress> reports = [];

        RetroTokenizer.Load(folder.Path, new Reports<StageProgress>(reports.Add), TestContext.Current.CancellationToken);

        Assert.Equal([new("load tokenizer", 0, 1), new("load tokenizer", 1, 1)], reports);
        using CancellationTokenSource source = new();
        Assert.Throws<OperationCanceledException>(() => RetroTokenizer.Load(folder.Path, new Reports<StageProgress>(_ => source.Cancel()), source.Token));
    }

    [Fact]
    public void A_folder_without_a_tokenizer_says_what_is_expected()
    {
        using TemporaryFolder folder = new();

        Assert.Contains("vocab.json", Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WordPiece_keeps_symbols_and_strips_accents_as_bert_does()
    {
        using TemporaryFolder folder = new();
        folder.File("vocab.txt", string.Join('\n', "[PAD]", "[UNK]", "[CLS]", "[SEP]", "cafe", "un", "##aff", "##able", "$", "5", "+", "日", "本", ".") + "\n");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        Assert.Equal("WordPiece", tokenizer.Kind);
        Assert.Equal([4, 5, 6, 7, 8, 9, 10, 9, 11, 12, 13, 1], tokenizer.Encode("Café unaffable $5+5\u200B 日本. \u00ADxyz"));
        Assert.Equal(3, tokenizer.EndOfText);
        Assert.Equal("cafe unaffable", tokenizer.Decode([2, 4, 5, 6, 7, 3]));

        folder.File("tokenizer_config.json", "{\"do_lower_case\": false}");
        Assert.Equal([1], RetroTokenizer.Load(folder.Path).Encode("Café"));
    }

    private static bool RoundTrips(RetroTokenizer tokenizer, string text)
        => tokenizer.Decode(tokenizer.Encode(text)) == System.Text.Encoding.UTF8.GetString(System.Text.Encoding.UTF8.GetBytes(text));

    private static TemporaryFolder Trained()
    {
        TemporaryFolder folder = new();
        BpeTrainer.Train(["The quick brown fox jumps over the lazy dog. The quick brown fox.", "Größe und Größe, naïve café"], 290, folder.Path);
        return folder;
    }
}
