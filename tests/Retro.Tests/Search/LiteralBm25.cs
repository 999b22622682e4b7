using Retro.Corpora;
namespace Retro.Tests.Search;

/// <summary>BM25 as the formula reads, with no index.</summary>
internal sealed class LiteralBm25(int[][] documents, double k1 = 1.2, double b = 0.75)
{
    private readonly Dictionary<int, int> _frequency = documents.SelectMany(document => document.Distinct()).CountBy(term => term).ToDictionary();
    private readonly double _mean = documents.Length == 0 ? 0 : documents.Average(document => (double)document.Length);

    public double Score(int[] query, int document)
    {
        double score = 0;
        foreach (int term in query)
        {
            double n = _frequency.GetValueOrDefault(term);
            double f = documents[document].Count(t => t == term);
            double idf = Math.Log(1 + (documents.Length - n + 0.5) / (n + 0.5));
            score += f == 0 ? 0 : idf * f / (f + k1 * (1 - b + b * documents[document].Length / _mean));
        }

        return score;
    }

    public (long Document, double Score)[] Top(int[] query, int count, Func<int, bool>? excluded = null) => Enumerable.Range(0, documents.Length)
        .Where(document => excluded?.Invoke(document) != true)
        .Select(document => (Document: (long)document, Score: Score(query, document)))
        .Where(pair => pair.Score > 0)
        .OrderByDescending(pair => Math.Round(pair.Score, 10))
        .ThenBy(pair => pair.Document)
        .Take(count)
        .ToArray();
}
