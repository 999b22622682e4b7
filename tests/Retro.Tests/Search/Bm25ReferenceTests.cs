using System.Text.Json;
using System.Text.RegularExpressions;
using Retro.Corpora;
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
            string text = Fixtures.SharedPath(Path.Combine("data", "wikitext-2", reference.RootElement.GetProperty("file").GetString()!));
            Dictionary<string, int> vocabulary = [];
            int[][] documents = File.ReadLines(text).Select(line => line.Trim()).Where(line => line.Length >= 40).Take(3000).Select(line => Terms(line, add: true)).ToArray();
            Assert.Equal(reference.RootElement.GetProperty("documents").GetInt32(), documents.Length);

            using Bm25Index built = Bm25Index.Build(documents.Length, document => documents[document]);
            using ScratchFolder folder = new();
            built.Save(folder["bm25.bin"]);
            using Bm25Index opened = Bm25Index.Open(folder["bm25.bin"]);
            int queries = 0;
            foreach (JsonElement query in reference.RootElement.GetProperty("queries").EnumerateArray())
            {
                queries++;
                int[] terms = Terms(query.GetProperty("query").GetString()!, add: false);
                (long Document, double Score)[] expected = query.GetProperty("top").EnumerateArray().Select(row => (row[0].GetInt64(), row[1].GetDouble())).ToArray();
                foreach (Bm25Index index in new[] { built, opened })
                {
                    long[] found = new long[20];
                    double[] scores = new double[20];
                    Assert.Equal(expected.Length, index.Search(terms, found, scores));
                    Assert.Equal(expected.Select(row => row.Document), found[..expected.Length]);
                    Assert.All(found[expected.Length..], document => Assert.Equal(-1, document));
                    for (int i = 0; i < expected.Length; i++)
                    {
                        Assert.Equal(expected[i].Score, scores[i], 1e-6);
                        Assert.Equal(expected[i].Score, index.Score(terms, found[i]), 1e-6);
                    }
                }
            }

            Assert.True(queries > 0);

            int[] Terms(string line, bool add) => Word().Matches(line.ToLowerInvariant()).Select(match =>
            {
                if (add)
                {
                    vocabulary.TryAdd(match.Value, vocabulary.Count);
                }

                return vocabulary.GetValueOrDefault(match.Value, -1);
            }).ToArray();
        }
    }

    [GeneratedRegex("[a-z0-9]+")]
    private static partial Regex Word();
}
