using System.Text.Json;
using Retro.Text;

namespace Microsoft.ML.Tokenizers;

/// <summary>Reads vocab.json and merges.txt.</summary>
internal static class BpeRules
{
    public static Dictionary<string, int> ReadVocabulary(Stream stream)
        => new(JsonSerializer.Deserialize<Dictionary<string, int>>(stream) ?? throw new InvalidOperationException("The vocabulary file is empty."), StringComparer.Ordinal);

    public static List<string> ReadLines(Stream stream)
    {
        using StreamReader reader = new(stream, leaveOpen: true);
        List<string> lines = [];
        while (reader.ReadLine() is { } line)
        {
            if (line.Length > 0 && !line.StartsWith("#version", StringComparison.Ordinal))
            {
                lines.Add(line);
            }
        }

        return lines;
    }

    public static IEnumerable<(string Left, string Right)> Parse(IEnumerable<string> lines)
    {
        foreach (string line in lines)
        {
            int space = line.IndexOf(' ');
            if (space <= 0 || space == line.Length - 1 || line.IndexOf(' ', space + 1) >= 0)
            {
                throw new InvalidOperationException($"Invalid merger file format: '{line}' is not two symbols.");
            }

            yield return (line[..space], line[(space + 1)..]);
        }
    }

    public static PairMerges Compile(IEnumerable<(string Left, string Right)> rules, Func<string, int> symbol, Func<string, string, string>? join = null)
    {
        PairMerges merges = new();
        int rank = 0;
        foreach ((string left, string right) in rules)
        {
            merges.Add(symbol(left), symbol(right), rank++, symbol(join is null ? left + right : join(left, right)));
        }

        return merges;
    }

    public static int InVocabulary(IReadOnlyDictionary<string, int> vocabulary, string text)
        => vocabulary.TryGetValue(text, out int id) ? id : throw new InvalidOperationException($"Trying to merge a token '{text}' which not exist in the vocabulary.");
}
