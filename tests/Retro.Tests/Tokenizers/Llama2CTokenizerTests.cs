using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public sealed class Llama2CTokenizerTests
{
    [Fact]
    public void Such_a_file_is_one_of_those_that_any_tokenizer_is_loaded_from()
    {
        string file = Path.Combine(Fixtures.Own, "cases", "27-llama2c-leading-space", "tok.bin");
        using TemporaryFolder folder = new();
        string capitals = folder.File("TOK.BIN", File.ReadAllBytes(file));
        Assert.All([file, capitals], path => Assert.Equal(Llama2CTokenizer.Load(file).Hash, RetroTokenizer.Load(path).Hash));
    }

    [Fact]
    public void Texts_are_what_they_were()
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

    [Fact]
    public void Saved_and_loaded_again_it_ends_texts_and_cuts_ties_as_before()
    {
        RetroTokenizer tokenizer = Llama2CTokenizer.Load(Fixtures.SharedPath("models/stories260K/tok512.bin"));
        using TemporaryFolder folder = new();
        tokenizer.Save(folder.Path);
        RetroTokenizer loaded = RetroTokenizer.Load(folder.Path);

        Assert.Equal((1, 1, tokenizer.Hash), (loaded.BeginOfText, loaded.EndOfText, loaded.Hash));
        Random random = new(8);
        for (int i = 0; i < 2_000; i++)
        {
            // Few letters: many pairs have one score.
            string text = string.Concat(Enumerable.Range(0, random.Next(40)).Select(_ => "aeht n.\u00E9\n"[random.Next(9)]));
            Assert.Equal(tokenizer.Encode(text), loaded.Encode(text));
            Assert.Equal(text, loaded.Decode(loaded.Encode(text)));
        }
    }

    [Fact]
    public void Of_equal_scores_the_leftmost_pair_is_merged_first_as_in_llama2_c()
    {
        using TemporaryFolder folder = new();
        List<(string Text, float Score)> pieces = [
            ("<unk>", 0), ("\n<s>\n", 0), ("\n</s>\n", 0), .. Enumerable.Range(0, 256).Select(value => ($"<0x{value:X2}>", 0f))
        ];
        pieces.AddRange([(" ", -9), ("a", -9), ("b", -9), ("ab", -1), ("ba", -1), (" a", -1)]);
        using MemoryStream file = new();
        using (BinaryWriter writer = new(file))
        {
            writer.Write(8);
            foreach ((string text, float score) in pieces)
            {
                byte[] utf8 = System.Text.Encoding.UTF8.GetBytes(text);
                writer.Write(score);
                writer.Write(utf8.Length);
                writer.Write(utf8);
            }
        }

        RetroTokenizer tokenizer = Llama2CTokenizer.Load(folder.File("tok.bin", file.ToArray()));

        // " aba": " a" comes first, then "ba".
        Assert.Equal([264, 263], tokenizer.Encode("aba"));
        tokenizer.Save(folder.Path);
        Assert.Equal([264, 263], RetroTokenizer.Load(folder.Path).Encode("aba"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(100)]
    [InlineData(-1)]
    public void Cut_files_are_refused(int length)
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(Fixtures.Own, "cases", "27-llama2c-leading-space", "tok.bin"));
        using TemporaryFolder folder = new();
        string path = Path.Combine(folder.Path, "tokenizer.bin");
        File.WriteAllBytes(path, length < 0 ? bytes[..^1] : bytes[..length]);
        Assert.Contains(path, Assert.Throws<CorpusException>(() => Llama2CTokenizer.Load(path)).Message, StringComparison.Ordinal);
    }
}
