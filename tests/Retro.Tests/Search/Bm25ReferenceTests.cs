using System.Text.Json;
using System.Text.RegularExpressions;
using Retro.Search;

namespace Retro.Tests.Search;

/// <summary>Every <c>bm25*.json</c> of the fixture folders: the order and the scores of another library.</summary>
public partial class Bm25ReferenceTests(ITestOutputHelper output)
{
    [Fact]
    public void The_reference_queries_give_the_same_documents_in_the_same_order_with_the_same_scores()
    {
        foreach (string path in Fixtures.Files("bm25*.json"))
        {
            output.WriteLine(path);
            using JsonDocument reference = JsonDocument.Parse(File.ReadAllText(path));
            JsonElement root = reference.RootElement;
            (int[][] documents, Func<JsonElement, int[]> terms) = root.TryGetProperty("counts", out JsonElement counts) ? Counted(counts) : Read(root);
            if (documents.Length == 0)
            {
                continue;
            }

            using Bm25Index built = Bm25Index.Build(documents.Length, document => documents[document]);
            using TemporaryFolder folder = new();
            built.Save(folder["bm25.bin"]);
            using Bm25Index opened = Bm25Index.Open(folder["bm25.bin"]);
            int queries = 0;
            foreach (JsonElement query in root.GetProperty("queries").EnumerateArray())
            {
                queries++;
                int[] asked = terms(query);
                (long Document, double Score)[] expected = query.GetProperty("top")
                    .EnumerateArray()
                    .Select(row => (row[0].GetInt64(), row[1].GetDouble()))
                    .ToArray();
                foreach (Bm25Index index in new[] { built, opened })
                {
                    long[] found = new long[20];
                    double[] scores = new double[20];
                    Assert.Equal(expected.Length, index.Search(asked, found, scores));
                    Assert.Equal(expected.Select(row => row.Document), found[..expected.Length]);
                    Assert.All(found[expected.Length..], document => Assert.Equal(-1, document));
                    for (int i = 0; i < expected.Length; i++)
                    {
                        Assert.Equal(expected[i].Score, scores[i], 1e-6);
                        Assert.Equal(expected[i].Score, index.Score(asked, found[i]), 1e-6);
                    }
                }
            }

            Assert.True(queries > 0);
        }
    }

    /// <summary>
    /// Documents of which the file holds what the scores depend on: the length, and how often each query word stands there. All other words are one that no
    /// query has.
    /// </summary>
    private static (int[][] Documents, Func<JsonElement, int[]> Terms) Counted(JsonElement counts)
    {
        const int Other = int.MaxValue;
        int[][] documents = [.. counts.EnumerateArray().Select(row =>
        {
            int[] numbers = [.. row.EnumerateArray().Select(number => number.GetInt32())];
            int[] words = [.. numbers[1..].Chunk(2).SelectMany(pair => Enumerable.Repeat(pair[0], pair[1]))];
            return (int[])[.. words, .. Enumerable.Repeat(Other, numbers[0] - words.Length)];
        })];
        return (documents, query => [.. query.GetProperty("terms").EnumerateArray().Select(term => term.GetInt32())]);
    }

    /// <summary>Documents that are lines of a shared text; none where it is absent.</summary>
    private static (int[][] Documents, Func<JsonElement, int[]> Terms) Read(JsonElement root)
    {
        string file = Path.Combine("data", "wikitext-2", root.GetProperty("file").GetString()!), text = Path.Combine(Fixtures.Shared, file);
        if (!File.Exists(text))
        {
            NotCompared.Add($"shared/{file}");
            return ([], _ => []);
        }

        Dictionary<string, int> vocabulary = [];
        int[][] documents = File.ReadLines(text).Select(line => line.Trim()).Where(line => line.Length >= 40).Take(3000)
            .Select(line =>
                Words(line).Select(word => vocabulary.TryAdd(word, vocabulary.Count) ? vocabulary.Count - 1 : vocabulary[word]).ToArray()).ToArray();
        Assert.Equal(root.GetProperty("documents").GetInt32(), documents.Length);
        return (documents, query => [.. Words(query.GetProperty("query").GetString()!).Select(word => vocabulary.GetValueOrDefault(word, -1))]);
    }

    private static IEnumerable<string> Words(string line) => Word().Matches(line.ToLowerInvariant()).Select(match => match.Value);

    [GeneratedRegex("[a-z0-9]+")]
    private static partial Regex Word();
}
