using Microsoft.ML.Tokenizers;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class BpeModelTests
{
    [Fact]
    public void A_piece_that_came_before_costs_no_merge_and_gives_the_same_tokens()
    {
        BpeModel model = Model();
        List<EncodedToken> first = [], again = [];
        model.Encode("abba é", 5, first);
        model.Encode("abba é", 5, again);
        Assert.Equal(first, again);
        Assert.Equal((5, 11), (first[0].Offset.Start.Value, first[^1].Offset.End.Value));

        again.Clear();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1_000; i++)
        {
            again.Clear();
            model.Encode("abba é", 7, again);
        }

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 10_000);
        Assert.Equal(first.Select(token => token.Id), again.Select(token => token.Id));
        Assert.Equal(7, again[0].Offset.Start.Value);
    }

    [Fact]
    public void Many_threads_and_many_pieces_give_every_piece_its_own_tokens()
    {
        BpeModel shared = Model(), other = Model();
        string[] pieces = [.. Enumerable.Range(0, 15_000).Select(i => Convert.ToString(i, 2).Replace('0', 'a').Replace('1', 'b'))];
        int[][] expected = [.. pieces.Reverse().Select(piece => Ids(other, piece)).Reverse()];
        Parallel.For(0, 4, _ => Assert.All(pieces.Zip(expected), pair => Assert.Equal(pair.Second, Ids(shared, pair.First))));
    }

    /// <summary>The exclamation mark pads open_clip's texts, and those of decoders that were tuned without a token for it.</summary>
    [Fact]
    public void A_special_token_that_is_a_piece_of_text_keeps_its_bytes()
    {
        using TemporaryFolder folder = new();
        WriteFile(folder, "{\"id\": 33, \"content\": \"!\", \"special\": true}", "");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        Assert.Equal([72, 105, 33, 32, 89], tokenizer.Encode("Hi! Y"));
        Assert.Equal("Hi! Y", tokenizer.Decode(tokenizer.Encode("Hi! Y")));
        Assert.Equal("Hi Y", ((PretrainedTokenizer)tokenizer.Tokenizer).Decode([72, 105, 33, 32, 89], skipSpecialTokens: true));
    }

    [Fact]
    public void No_piece_is_taken_for_a_special_token_as_a_whole()
    {
        using TemporaryFolder folder = new();
        WriteFile(
            folder,
            "{\"id\": 256, \"content\": \"</s>\", \"special\": true}, {\"id\": 257, \"content\": \"PAD\", \"special\": true}",
            ", \"ignore_merges\": true");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        foreach (string text in (string[])["PAD", "</s>"])
        {
            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
            Assert.DoesNotContain(tokenizer.Encode(text), tokenizer.IsSpecial);
        }

        Assert.Equal([258], tokenizer.Encode("Hi"));
    }

    [Fact]
    public void A_token_that_text_gives_does_not_end_a_document()
    {
        using TemporaryFolder folder = new();
        WriteFile(folder, "{\"id\": 33, \"content\": \"!\", \"special\": true}", "");
        folder.File("tokenizer_config.json", "{\"eos_token\": \"!\"}");
        string message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
        Assert.Contains("ends a document, 33, is a piece of ordinary text", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"<unk>\"")]
    [InlineData("\"\"")]
    public void An_unknown_token_that_is_never_needed_may_be_missing(string unknown)
    {
        using TemporaryFolder folder = new();
        WriteFile(folder, "{\"id\": 256, \"content\": \"</s>\", \"special\": true}", $", \"unk_token\": {unknown}");
        Assert.Equal([72, 105], RetroTokenizer.Load(folder.Path).Encode("Hi"));
    }

    /// <summary>A piece that is cut where the model says so gives the tokens that it gives as a whole, whatever its symbols are and what is unknown.</summary>
    [Theory]
    [InlineData("bytes")]
    [InlineData("characters, unknown ones fused")]
    [InlineData("characters, else bytes")]
    public void Cut_where_it_may_be_a_piece_gives_the_same_tokens(string kind)
    {
        BpeModel model = kind == "bytes" ? Model() : new(
            new[] { "<unk>", "a", "b", "c", "\u2581", "ab", "ba", "\u2581a", "\u2581\u2581", "bab" }
                .Concat(kind == "characters, else bytes" ? Enumerable.Range(0, 256).Select(value => $"<0x{value:X2}>") : [])
                .Select((text, id) => (text, id)).ToDictionary(pair => pair.text, pair => pair.id),
            [("\u2581", "a"), ("a", "b"), ("b", "a"), ("b", "ab"), ("\u2581", "\u2581")],
            new BpeSettings { Unknown = "<unk>", FuseUnknown = true, ByteFallback = kind == "characters, else bytes" });
        Random random = new(3);
        string[] parts = ["a", "b", "ab", "c", "\u2581", "\u2581\u2581", "\u00E9", "\U0001F600", "x", " "];
        int cuts = 0;
        for (int round = 0; round < 500; round++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(80)).Select(_ => parts[random.Next(parts.Length)]));
            List<EncodedToken> whole = [], sections = [];
            model.Encode(text, 5, whole);
            for (int begin = 0, end; begin < text.Length; begin = end, cuts++)
            {
                end = begin + model.NextCut(text.AsSpan(begin), 1);
                model.Encode(text.AsSpan(begin, end - begin), 5 + begin, sections);
            }

            Assert.Equal(whole, sections);
        }

        Assert.InRange(cuts, 2_000, int.MaxValue);
    }

    private static BpeModel Model()
        => new(
            Enumerable.Range(0, 256).Select(value => ByteSymbols.ToChar((byte)value).ToString()).Append("ab").Append("ba")
                .Select((text, id) => (text, id)).ToDictionary(pair => pair.text, pair => pair.id),
            [("a", "b"), ("b", "a")],
            new BpeSettings { ByteLevel = true });

    private static int[] Ids(BpeModel model, string piece)
    {
        List<EncodedToken> tokens = [];
        model.Encode(piece, 0, tokens);
        return [.. tokens.Select(token => token.Id)];
    }

    // Ids 0 to 255 are bytes.
    private static void WriteFile(TemporaryFolder folder, string added, string settings)
    {
        IEnumerable<string> pieces = [.. Enumerable.Range(0, 256).Select(value => ByteSymbols.ToChar((byte)value).ToString()), "</s>", "PAD", "Hi"];
        string vocabulary = string.Join(", ", pieces.Select((piece, id) => $"{System.Text.Json.JsonSerializer.Serialize(piece)}: {id}"));
        folder.File(
            "tokenizer.json",
            $"{{\"added_tokens\": [{added}], \"pre_tokenizer\": {{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}}, "
                + $"\"decoder\": {{\"type\": \"ByteLevel\"}}, \"model\": {{\"type\": \"BPE\", \"vocab\": {{{vocabulary}}}, \"merges\": []{settings}}}}}");
    }
}
