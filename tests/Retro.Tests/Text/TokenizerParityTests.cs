using System.Text.Json;
using Retro.Text;

namespace Retro.Tests.Text;

/// <summary>Pretrained tokenizers against what the libraries that wrote their files give.</summary>
public class TokenizerParityTests(ITestOutputHelper output)
{
    [Fact]
    public void Every_text_of_every_folder_gives_the_original_s_ids_and_texts()
    {
        string[] folders = Fixtures.Folders("RETRO_PRETRAINED", "pretrained")
            .Append(Path.Combine(Fixtures.Own, "pretrained"))
            .Append(Path.Combine(Fixtures.Shared, "tokenizers", "sentencepiece"))
            .Where(Directory.Exists)
            .SelectMany(root => Directory.EnumerateDirectories(root).Prepend(root))
            .Distinct(StringComparer.Ordinal)
            .Where(folder => File.Exists(Path.Combine(folder, "expected-tokens.json")))
            .Order(StringComparer.Ordinal)
            .ToArray();
        Assert.SkipWhen(folders.Length == 0, "No folder holds expected-tokens.json.");

        List<string> faults = [];
        foreach (string folder in folders)
        {
            int compared = Compare(folder, faults);
            Assert.True(compared > 0, $"{folder} holds answers and nothing was compared.");
            output.WriteLine($"{folder}: {compared} texts: ids, ids with special tokens, decoded text");
        }

        Assert.True(faults.Count == 0, $"{faults.Count} differences:\n{string.Join('\n', faults.Take(20))}");
    }

    private static int Compare(string folder, List<string> faults)
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(folder);
        using JsonDocument rows = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "expected-tokens.json")));
        int compared = 0;
        foreach (JsonElement row in rows.RootElement.EnumerateArray())
        {
            string text = row.GetProperty("text").GetString()!;
            int[] ids = Ids(row, "ids");
            int[] idsWithSpecial = Ids(row, "ids_with_special");
            Check("ids", string.Join(' ', ids), string.Join(' ', tokenizer.EncodeToIds(text)));
            Check("ids with special", string.Join(' ', idsWithSpecial), string.Join(' ', tokenizer.EncodeWithSpecialTokens(text)));
            Check("decoded", row.GetProperty("decoded").GetString()!, tokenizer.Decode(ids));
            if (row.TryGetProperty("decoded_skip_special", out JsonElement skipped))
            {
                Check("decoded without special", skipped.GetString()!, tokenizer.Decode(idsWithSpecial, skipSpecialTokens: true));
            }

            compared++;

            void Check(string what, string expected, string actual)
            {
                if (expected != actual)
                {
                    faults.Add($"{Path.GetFileName(folder)} {what} of {JsonSerializer.Serialize(text)}:\n  expected {JsonSerializer.Serialize(expected)}\n  got      {JsonSerializer.Serialize(actual)}");
                }
            }
        }

        return compared;
    }

    private static int[] Ids(JsonElement row, string name) => row.GetProperty(name).EnumerateArray().Select(id => id.GetInt32()).ToArray();
}
