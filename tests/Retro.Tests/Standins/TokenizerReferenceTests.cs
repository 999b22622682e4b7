using System.Text.Json;
using Microsoft.ML.Tokenizers;

namespace Retro.Tests.Standins;

/// <summary>The tokenizers against what the original Microsoft.ML.Tokenizers 2.0 gave for the same files.</summary>
public class TokenizerReferenceTests(ITestOutputHelper output)
{
    [Fact]
    public void Every_text_of_the_fixtures_gives_the_original_s_ids_text_and_count()
    {
        string folder = Fixtures.SharedPath("tokenizers");
        Dictionary<string, Tokenizer> tokenizers = Create(folder);
        foreach (string file in Fixtures.Files("tokenizers*.json"))
        {
            using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(file));
            Dictionary<string, int> compared = [];
            foreach (JsonElement row in cases.RootElement.EnumerateArray())
            {
                string text = row.GetProperty("text").GetString()!;
                foreach (JsonProperty expected in row.EnumerateObject().Where(property => property.Name != "text"))
                {
                    Assert.True(tokenizers.TryGetValue(expected.Name, out Tokenizer? tokenizer), $"{file} has answers of \"{expected.Name}\", which this test does not know.");
                    int[] ids = expected.Value.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()).ToArray();
                    string about = $"{expected.Name} of {JsonSerializer.Serialize(text)}";
                    Assert.True(ids.SequenceEqual(tokenizer.EncodeToIds(text)), $"{about}: expected {string.Join(' ', ids)}, got {string.Join(' ', tokenizer.EncodeToIds(text))}");
                    Assert.True(ids.SequenceEqual(tokenizer.EncodeToTokens(text, out _).Select(token => token.Id)), $"{about}: the tokens have other ids");
                    Assert.Equal((about, expected.Value.GetProperty("count").GetInt32()), (about, tokenizer.CountTokens(text)));
                    Assert.Equal((about, expected.Value.GetProperty("decoded").GetString()), (about, tokenizer.Decode(ids)));
                    compared[expected.Name] = compared.GetValueOrDefault(expected.Name) + 1;
                }
            }

            Assert.NotEmpty(compared);
            output.WriteLine($"{file}: {string.Join(", ", compared.Select(pair => $"{pair.Key} {pair.Value} texts"))}");
        }
    }

    private static Dictionary<string, Tokenizer> Create(string folder)
    {
        string bert = Path.Combine(folder, "bert-base-uncased", "vocab.txt");
        using FileStream vocabulary = File.OpenRead(Path.Combine(folder, "gpt2", "vocab.json"));
        using FileStream merges = File.OpenRead(Path.Combine(folder, "gpt2", "merges.txt"));
        using FileStream model = File.OpenRead(Path.Combine(folder, "sentencepiece", "test_model.model"));
        return new Dictionary<string, Tokenizer>
        {
            ["bert_uncased"] = BertTokenizer.Create(bert),
            ["bert_cased_rules"] = BertTokenizer.Create(bert, new BertOptions { LowerCaseBeforeTokenization = false }),
            ["gpt2"] = CodeGenTokenizer.Create(vocabulary, merges),
            ["sentencepiece"] = SentencePieceTokenizer.Create(model, false, false),
        };
    }
}
