using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class BpeModelTests
{
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

    [Theory]
    [InlineData("\"<unk>\"")]
    [InlineData("\"\"")]
    public void An_unknown_token_that_is_never_needed_may_be_missing(string unknown)
    {
        using TemporaryFolder folder = new();
        WriteFile(folder, "{\"id\": 256, \"content\": \"</s>\", \"special\": true}", $", \"unk_token\": {unknown}");
        Assert.Equal([72, 105], RetroTokenizer.Load(folder.Path).Encode("Hi"));
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
