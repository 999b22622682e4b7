using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tokenizers;

namespace Retro.Tests.Search;

public class HeldOutTests
{
    /// <summary>What a database keeps of a text is what the tokenizer leaves of it: no accents, no word that is not known, other forms of letters.</summary>
    [Theory]
    [InlineData("pretrained/bert", "Müller drank 東 a café")]
    [InlineData("sentencepiece/unigram-nfkc", "ﬁne ½ ｗｉｄｅ wines")]
    public void What_nearly_repeats_a_held_out_document_is_found_whatever_the_tokenizer_loses(string name, string lossy)
    {
        using TemporaryFolder folder = new();
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(Fixtures.Own, name));
        string text = Text("is {0}"), other = Text("and {0} {0}");
        using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build(folder["held"], [TestDatabases.Document("held", text)], tokenizer, new() { ChunkLength = 8 });
        Func<Document, bool> finds = HeldOut.Finder(heldOut, tokenizer);
        Assert.True(finds(TestDatabases.Document("copy", $"{text} and three words")));
        Assert.False(finds(TestDatabases.Document("other", other)));

        string Text(string words)
            => string.Join(' ', Enumerable.Range(0, 30).Select(i => $"{lossy} {words.Replace("{0}", $"{i}", StringComparison.Ordinal)}"));
    }
}
