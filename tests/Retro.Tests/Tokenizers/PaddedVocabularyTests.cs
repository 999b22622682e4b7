using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class PaddedVocabularyTests
{
    /// <summary>
    /// One row more for a token that training added: https://github.com/lm-sys/FastChat/issues/153, https://github.com/OpenNMT/CTranslate2/issues/1618.
    /// </summary>
    [Theory]
    [InlineData(31_999, false)]
    [InlineData(32_000, true)]
    [InlineData(32_001, true)]
    [InlineData(32_002, true)]
    [InlineData(32_032, true)]
    [InlineData(32_035, false)]
    [InlineData(32_064, true)]
    [InlineData(34_304, false)]
    public void An_embedding_may_have_a_few_rows_more_than_the_tokenizer_has_ids(int rows, bool accepted)
    {
        using TemporaryFolder folder = new();
        string vocabulary = string.Join(", ", Enumerable.Range(0, 31_999).Select(id => $"\"t{id}\": {id}"));
        folder.File(
            "tokenizer.json",
            "{\"added_tokens\": [{\"id\": 31999, \"content\": \"</s>\", \"special\": true}], "
                + "\"model\": {\"type\": \"BPE\", \"vocab\": {" + vocabulary + "}, \"merges\": []}}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        Exception? fault = Record.Exception(() => PaddedVocabulary.Require(tokenizer, rows, "the model"));

        Assert.Equal(accepted ? null : typeof(CheckpointException), fault?.GetType());
    }

    /// <summary>
    /// Fine-tuning adds a token for padding, often without a row for it: no text becomes it. "Use the tokenizer that came with the model" is no help where one
    /// that stands around every text has none.
    /// </summary>
    [Theory]
    [InlineData(4, null)]
    [InlineData(3, "without a row are \"</s>\" (3), \"<pad>\" (4). Where")]
    [InlineData(2, "rows; use the tokenizer that came with the model")]
    public void A_special_token_without_a_row_is_accepted_but_around_a_text(int rows, string? says)
    {
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"added_tokens\": [{\"id\": 3, \"content\": \"</s>\", \"special\": true}, {\"id\": 4, \"content\": \"<pad>\", \"special\": true}], "
                + "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2}, \"merges\": []}}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        Exception? fault = Record.Exception(() => PaddedVocabulary.Require(tokenizer, rows, "the model"));

        Assert.Equal(says is null, fault is null);
        Assert.Contains(says ?? "", fault is CheckpointException refused ? refused.Message : "", StringComparison.Ordinal);
        Assert.Equal(fault is null, PaddedVocabulary.HasRows(tokenizer, rows));
        PaddedVocabulary.RequireRows(tokenizer, [0, rows - 1], rows);
        Assert.Contains(
            "special token \"<pad>\" (4)",
            Assert.Throws<RetroException>(() => PaddedVocabulary.RequireRows(tokenizer, [0, 4, 0], rows)).Message,
            StringComparison.Ordinal);
    }
}
