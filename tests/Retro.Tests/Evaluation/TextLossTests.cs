using Retro.Database;
using Retro.Evaluation;
using Retro.Tests.Database;
using Retro.Tests.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Evaluation;

public sealed class TextLossTests : IDisposable
{
    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    /// <summary>Its words, and one that it does not know; a tokenizer of bytes keeps both texts, and anything else.</summary>
    [Fact]
    public void A_tokenizer_with_unknown_tokens_is_said_to_lose_text_and_one_of_bytes_loses_none()
    {
        string[] texts = ["one two one", "one threefoldedness two", "Füße ÿ \U0001F600 \r\n ends ", "two"];
        _folder.File("vocab.txt", "one\ntwo\n[UNK]\n[CLS]\n[SEP]\n");
        RetroTokenizer words = RetroTokenizer.Load(_folder.Path), bytes = EmbeddingInputs.TrainTokenizer(texts, 300);
        using ChunkDatabase ofWords = Build(texts, words, "words"), ofBytes = Build(texts, bytes, "bytes");
        TextLoss lost = TextLoss.Of(ofWords, words), none = TextLoss.Of(ofBytes, bytes);
        Assert.Equal((4, 2), (lost.Documents, lost.Changed));
        Assert.True(lost.SpelledBytes < lost.Bytes);
        Assert.StartsWith("The tokenizer does not keep the text: of 2 of 4 documents the tokens spell another text", lost.Note, StringComparison.Ordinal);
        Assert.Equal((4, 0, ""), (none.Documents, none.Changed, none.Note));
        Assert.Equal(none.Bytes, none.SpelledBytes);
        Assert.Equal(1, TextLoss.Of(ofWords, words, most: 2).Changed);
        Assert.Throws<DatabaseException>(() => TextLoss.Of(ofBytes, words));
    }

    private ChunkDatabase Build(string[] texts, RetroTokenizer tokenizer, string name) => ChunkDatabaseBuilder.Build(
        _databases.Folder(name),
        texts.Select((text, i) => TestDatabases.Document($"d{i}", text)),
        tokenizer,
        new ChunkDatabaseOptions { ChunkLength = 8 });
}
