using Retro.Embedders;

namespace Retro.Tests.Embedders;

public class LowerCasingTests
{
    /// <summary>What Python 3.10 gives.</summary>
    [Theory]
    [InlineData("", "")]
    [InlineData("The RIVER", "the river")]
    [InlineData("ΟΔΟΣ", "οδος")]
    [InlineData("ΟΔΟΣ ΣΑΣ", "οδος σας")]
    [InlineData("Σ", "σ")]
    [InlineData("1Σ", "1σ")]
    [InlineData("ΑΣ.", "ας.")]
    [InlineData("ΑΣ.Β", "ασ.β")]
    [InlineData("Α'Σ'", "α'ς'")]
    [InlineData("Α\u0301Σ\u0301", "α\u0301ς\u0301")]
    [InlineData("ΑΣ\u02B0Α", "ασ\u02B0α")]
    [InlineData("İΣ", "i\u0307ς")]
    [InlineData("ⅣΣ", "ⅳς")]
    [InlineData("ªΣ", "ªς")]
    [InlineData("𝐀Σ", "𝐀ς")]
    [InlineData("Α🅰Σ𝐀", "α🅰σ𝐀")]
    public void It_is_Python_s(string text, string expected) => Assert.Equal(expected, LowerCasing.Of(text));

    [Fact]
    public void An_embedder_that_lowers_case_does_so()
    {
        using TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny), EmbeddingInputs.Tokenizer, lowerCase: true);
        Assert.Equal(embedder.Tokens("οδος"), embedder.Tokens("ΟΔΟΣ"));
        Assert.NotEqual(embedder.Tokens("οδοσ"), embedder.Tokens("ΟΔΟΣ"));
    }
}
