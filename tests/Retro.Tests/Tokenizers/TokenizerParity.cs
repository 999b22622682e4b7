using System.Collections.Concurrent;
using System.Text.Json;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

/// <summary>Compares a folder's tokenizer with the answers of the library that wrote it.</summary>
internal static class TokenizerParity
{
    private static readonly ConcurrentDictionary<string, Lazy<string>> s_done = new();

    /// <summary>Compares every text of <c>expected-tokens.json</c>, once a run, and fails where one differs or there is none.</summary>
    /// <returns>What was compared.</returns>
    public static string Compare(string folder) => s_done.GetOrAdd(folder, _ => new(() => CompareTexts(folder))).Value;

    private static string CompareTexts(string folder)
    {
        PretrainedTokenizer tokenizer = PretrainedTokenizer.Load(folder);
        using JsonDocument rows = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "expected-tokens.json")));
        List<string> faults = [];
        int compared = 0;
        foreach (JsonElement row in rows.RootElement.EnumerateArray())
        {
            string text = row.GetProperty("text").GetString()!;
            int[] ids = Ids(row, "ids");
            int[] idsWithSpecial = Ids(row, "ids_with_special");
            Check("ids", string.Join(' ', ids), string.Join(' ', tokenizer.EncodeToIds(text)));
            Check("ids with special tokens", string.Join(' ', idsWithSpecial), string.Join(' ', tokenizer.EncodeWithSpecialTokens(text)));
            Check("decoded", row.GetProperty("decoded").GetString()!, tokenizer.Decode(ids));
            if (row.TryGetProperty("decoded_skip_special", out JsonElement skipped))
            {
                Check("decoded without special tokens", skipped.GetString()!, tokenizer.Decode(idsWithSpecial, skipSpecialTokens: true));
            }

            compared++;

            void Check(string what, string expected, string actual)
            {
                if (expected != actual)
                {
                    faults.Add(
                        $"{what} of {JsonSerializer.Serialize(text)}:\n  expected {JsonSerializer.Serialize(expected)}\n  got      "
                            + $"{JsonSerializer.Serialize(actual)}");
                }
            }
        }

        Assert.True(compared > 0, $"{folder} holds answers and nothing was compared.");
        Assert.True(faults.Count == 0, $"{folder}: {faults.Count} differences:\n{string.Join('\n', faults.Take(10))}");
        return $"tokenizer: {compared} texts: ids, ids with special tokens, decoded texts equal";
    }

    private static int[] Ids(JsonElement row, string name) => row.GetProperty(name).EnumerateArray().Select(id => id.GetInt32()).ToArray();
}
