using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Retro.Generation;
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
    public void An_incomplete_character_at_the_end_is_marked()
        => Assert.Equal(["a", "", "", "", "\uFFFD"], Pieces(EmbeddingInputs.Tokenizer.Encode("a👩")[..4]));

    private static List<string> Pieces(int[] tokens)
    {
        TokenTextStream stream = new(EmbeddingInputs.Tokenizer);
        return [.. tokens.Select(stream.Add), stream.Flush()];
    }
}
