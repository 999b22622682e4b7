using System.Globalization;
using System.Text;
using System.Text.Json;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

/// <summary>
/// Vocabularies of the size that is in use, against the ids that the tokenizers of Microsoft.ML.Tokenizers give, which share no code with those here. They do
/// not do all as the originals do, which other tests compare with; where they do not, a text is left out by what it holds.
/// </summary>
public class TokenizerReferenceTests
{
    private const string Bert = "tokenizers/bert-base-uncased";

    [Theory]
    [InlineData("gpt2", 131)]
    [InlineData("bert_uncased", 27)]
    [InlineData("bert_cased_rules", 27)]
    [InlineData("sentencepiece", 14)]
    public void The_other_library_s_ids_come_where_it_does_as_the_original(string name, int least)
    {
        using TemporaryFolder folder = new();
        RetroTokenizer tokenizer = name switch
        {
            "gpt2" => RetroTokenizer.Load(Fixtures.SharedPath("tokenizers/gpt2")),
            "bert_uncased" => RetroTokenizer.Load(Fixtures.SharedPath(Bert)),
            "bert_cased_rules" => Vocabulary(folder, lowerCase: false),
            _ => RetroTokenizer.Load(Fixtures.SharedPath("tokenizers/sentencepiece/test_model.model")),
        };
        int compared = 0;
        foreach ((string text, int[] ids) in Rows(name).Where(row => IsAsTheOriginal(name, row.Text, row.Ids)))
        {
            int[] came = tokenizer.Encode(text);
            Assert.True(
                ids.AsSpan().SequenceEqual(came),
                $"{name} of {JsonSerializer.Serialize(text)}:\n  expected {string.Join(' ', ids)}\n  got      {string.Join(' ', came)}");
            compared++;
        }

        Assert.True(compared >= least, $"{compared} texts were compared, and {least} are there.");
    }

    /// <summary>A folder of before has the vocabulary alone.</summary>
    [Fact]
    public void Both_files_of_a_bert_give_any_text_the_same_ids()
    {
        using TemporaryFolder folder = new();
        RetroTokenizer json = RetroTokenizer.Load(Fixtures.SharedPath(Bert)), vocabulary = Vocabulary(folder, lowerCase: true);
        Assert.Equal((30522, 102, 101), (vocabulary.VocabularySize, vocabulary.EndOfText, vocabulary.BeginOfText));
        Assert.Equal((30522, 102, 101), (json.VocabularySize, json.EndOfText, json.BeginOfText));
        Assert.All(Rows("bert_uncased"), row => Assert.Equal(json.Encode(row.Text), vocabulary.Encode(row.Text)));
    }

    private static RetroTokenizer Vocabulary(TemporaryFolder folder, bool lowerCase)
    {
        folder.File("vocab.txt", File.ReadAllBytes(Path.Combine(Fixtures.SharedPath(Bert), "vocab.txt")));
        folder.File("tokenizer_config.json", $"{{\"do_lower_case\": {(lowerCase ? "true" : "false")}}}");
        return RetroTokenizer.Load(folder.Path);
    }

    private static List<(string Text, int[] Ids)> Rows(string name)
    {
        using JsonDocument rows = JsonDocument.Parse(File.ReadAllBytes(Fixtures.SharedPath("fixtures/tokenizers.json")));
        return
        [
            .. rows.RootElement.EnumerateArray().Select(row => (
                row.GetProperty("text").GetString()!,
                row.GetProperty(name).GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()).ToArray())),
        ];
    }

    private static bool IsAsTheOriginal(string name, string text, int[] ids) => name switch
    {
        // It has tokens of its own for runs of spaces, and takes the end of a text that is spelled out for one.
        "gpt2" => ids.All(id => id < 50_256),

        // It cuts numbers and unknown characters otherwise, and normalizes nothing.
        "sentencepiece" => !ids.Contains(0) && text.All(c => char.IsAsciiLetter(c) || ".,!' ".Contains(c, StringComparison.Ordinal)),

        // It loses symbols and control characters, and keeps accents.
        _ => UnicodeForms.ToFormD(text) == text && text.EnumerateRunes().All(rune => rune.Value != '_'
            && (rune.Value == ' '
                || Rune.IsLetter(rune)
                || Rune.IsPunctuation(rune)
                || Rune.GetUnicodeCategory(rune) == UnicodeCategory.DecimalDigitNumber)),
    };
}
