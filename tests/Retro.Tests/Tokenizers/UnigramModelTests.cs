using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class UnigramModelTests
{
    /// <summary>Characters without a piece that stand side by side are one token, of all of them; where bytes stand for them, of the bytes of all.</summary>
    [Theory]
    [InlineData(false, new[] { 1, 0, 1 }, new[] { 0, 1, 3, 4 })]
    [InlineData(true, new[] { 1, 2, 3, 4, 2, 3, 4, 1 }, null)]
    public void Unknown_characters_side_by_side_are_taken_together(bool bytes, int[] ids, int[]? borders)
    {
        UnigramModel model = new(
            [("<unk>", 0), ("a", -1), ("<0xE2>", -5), ("<0x98>", -5), ("<0x95>", -5)],
            unknown: 0,
            bytes,
            spaceMark: null,
            new HashSet<string> { "<unk>", "<0xE2>", "<0x98>", "<0x95>" });
        List<Microsoft.ML.Tokenizers.EncodedToken> tokens = [];

        model.Encode("a\u2615\u2615a", 0, tokens);

        Assert.Equal(ids, tokens.Select(token => token.Id));
        if (borders is not null)
        {
            Assert.Equal(borders, tokens.Select(token => token.Offset.Start.Value).Append(tokens[^1].Offset.End.Value));
            Assert.Equal(borders[1..], tokens.Select(token => token.Offset.End.Value));
        }

        // A piece that came before, at another place.
        List<Microsoft.ML.Tokenizers.EncodedToken> again = [];
        model.Encode("a\u2615\u2615a", 7, again);
        Assert.Equal(
            tokens.Select(token => (token.Id, token.Value, token.Offset.Start.Value + 7, token.Offset.End.Value + 7)),
            again.Select(token => (token.Id, token.Value, token.Offset.Start.Value, token.Offset.End.Value)));
    }
}
