using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Retro.Generation;
using Retro.Tokenizers;
using Retro.Tests.Embedders;

namespace Retro.Tests.Generation;

public class TokenTextStreamTests
{
    [Fact]
    public void Any_tokens_give_the_text_of_their_bytes_and_no_piece_splits_a_character()
        => Prop.ForAll(Gen.Choose(0, EmbeddingInputs.Tokenizer.VocabularySize - 1).ArrayOf().ToArbitrary(), tokens =>
        {
            byte[] bytes = tokens.SelectMany(token => EmbeddingInputs.Tokenizer.TokenBytes(token).ToArray()).ToArray();

            List<string> pieces = Pieces(tokens);

            Assert.Equal(Encoding.UTF8.GetString(bytes), string.Concat(pieces));
            Assert.All(pieces, piece => Assert.True(piece.Length == 0 || !(char.IsLowSurrogate(piece[0]) || char.IsHighSurrogate(piece[^1]))));
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void A_character_comes_with_its_last_byte()
    {
        int[] tokens = EmbeddingInputs.Tokenizer.Encode("a👩é"); // unseen in training: one token a byte

        Assert.Equal(7, tokens.Length);
        Assert.Equal(["a", "", "", "", "👩", "", "é", ""], Pieces(tokens));
    }

    [Fact]
    public void A_copy_goes_on_within_a_character_and_leaves_the_other_where_it_is()
    {
        int[] tokens = EmbeddingInputs.Tokenizer.Encode("a👩é");
        TokenTextStream stream = new(EmbeddingInputs.Tokenizer, atBeginning: true);
        Assert.Equal("a", string.Concat(tokens[..3].Select(stream.Add)));
        TokenTextStream copy = stream.Copy();
        Assert.Equal("👩é", string.Concat(tokens[3..].Select(copy.Add)));
        Assert.Equal("👩", string.Concat(tokens[3..5].Select(stream.Add)));
    }

    [Fact]
    public void An_incomplete_character_at_the_end_is_marked()
        => Assert.Equal(["a", "", "", "", "\uFFFD"], Pieces(EmbeddingInputs.Tokenizer.Encode("a👩")[..4]));

    [Theory]
    [InlineData("pretrained/llama-rope-linear")]
    [InlineData("pretrained/mistral-sliding-window")]
    [InlineData("pretrained/bert")]
    [InlineData("pretrained/gpt2-no-prefix")]
    [InlineData("sentencepiece/bpe-byte-fallback")]
    [InlineData("sentencepiece/unigram-nfkc")]
    public void What_is_streamed_from_the_beginning_is_the_decoded_text_and_what_goes_on_keeps_its_space(string folder)
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(Fixtures.Own, folder));
        Random random = new(6);
        for (int i = 0; i < 500; i++)
        {
            int[] tokens = [.. Enumerable.Range(0, random.Next(12)).Select(_ => random.Next(tokenizer.VocabularySize))];
            TokenTextStream beginning = new(tokenizer, atBeginning: true), within = new(tokenizer, atBeginning: false);

            Assert.Equal(tokenizer.Decode(tokens), string.Concat(tokens.Select(beginning.Add)) + beginning.Flush());
            Assert.Equal(tokenizer.DecodeWithin(tokens), string.Concat(tokens.Select(within.Add)) + within.Flush());
        }
    }

    [Fact]
    public void A_llama2_c_text_begins_without_the_space_that_encoding_puts_there()
    {
        RetroTokenizer tokenizer = Llama2CTokenizer.Load(Path.Combine(Fixtures.Own, "cases", "27-llama2c-leading-space", "tok.bin"));
        int[] tokens = tokenizer.Encode("Once upon a time.");
        TokenTextStream stream = new(tokenizer, atBeginning: true);
        Assert.Equal("Once upon a time.", string.Concat(((int[])[tokenizer.BeginOfText, .. tokens]).Select(stream.Add)));
    }

    private static List<string> Pieces(int[] tokens)
    {
        TokenTextStream stream = new(EmbeddingInputs.Tokenizer, atBeginning: true);
        return [.. tokens.Select(stream.Add), stream.Flush()];
    }
}
