using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public sealed class Llama2CTokenizerTests
{
    [Fact]
    public void TextsAreWhatTheyWere()
    {
        RetroTokenizer tokenizer = Llama2CTokenizer.Load(Fixtures.SharedPath("models/stories260K/tok512.bin"));
        Assert.Equal(512, tokenizer.VocabularySize);
        Assert.Equal(1, tokenizer.EndOfText);

        // As llama2.c's run.c encodes it.
        Assert.Equal([403, 407, 261, 378], tokenizer.Encode("Once upon a time"));
        foreach (string text in (string[])["Once upon a time", "Zoë ate 3 naïve 🍕s.\n\tThen  she slept.", " two  spaces ", "", "<s>"])
        {
            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(100)]
    [InlineData(-1)]
    public void CutFilesAreRefused(int length)
    {
        byte[] bytes = File.ReadAllBytes(Fixtures.SharedPath("models/stories260K/tok512.bin"));
        using TemporaryFolder folder = new();
        string path = Path.Combine(folder.Path, "tokenizer.bin");
        File.WriteAllBytes(path, length < 0 ? bytes[..^1] : bytes[..length]);
        Assert.Contains(path, Assert.Throws<CorpusException>(() => Llama2CTokenizer.Load(path)).Message, StringComparison.Ordinal);
    }
}
