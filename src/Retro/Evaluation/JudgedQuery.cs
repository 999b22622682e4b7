using System.Globalization;
using Retro.Corpora;

namespace Retro.Evaluation;

/// <summary>A query, and what was judged of it: documents or, where these are long, chunks.</summary>
/// <param name="Id">Names it.</param>
/// <param name="Text">What is asked.</param>
public sealed record JudgedQuery(string Id, string Text)
{
    /// <summary>
    /// Grades of documents by their ids: 1 or more is relevant, and the more the better; 0 or less, and what is not judged, is not. Default: none.
    /// </summary>
    public IReadOnlyDictionary<string, int> Documents { get; init; } = new Dictionary<string, int>();

    /// <summary>Grades of chunks by their numbers, in the place of <see cref="Documents"/>. Default: none.</summary>
    public IReadOnlyDictionary<long, int> Chunks { get; init; } = new Dictionary<long, int>();

    /// <summary>
    /// Reads judgments of documents: of TREC (query, iteration, document and grade, between spaces;
    /// https://github.com/usnistgov/trec_eval) or BEIR (query, document and score, between tabs, below a line that names them; Thakur and others, arXiv
    /// 2104.08663).
    /// </summary>
    /// <param name="queries">
    /// The queries' ids and texts, such as of BEIR's queries.jsonl, opened with a <see cref="DocumentFields.Id"/> of "_id" (<see cref="Corpus"/>).
    /// </param>
    /// <param name="path">The file of judgments.</param>
    /// <returns>The queries that something was judged of, in their order.</returns>
    /// <exception cref="CorpusException">The file cannot be read or holds no judgment, a line of it is none, one is of a query that is not there, or two give
    /// a document other grades.</exception>
    public static IReadOnlyList<JudgedQuery> Read(IEnumerable<Document> queries, string path)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentException.ThrowIfNullOrEmpty(path);
        Document[] asked = [.. queries];
        Dictionary<string, Dictionary<string, int>> judged = new(StringComparer.Ordinal);
        try
        {
            foreach ((int number, string line) in File.ReadLines(path).Index())
            {
                string[] parts = line.Split(line.Contains('\t', StringComparison.Ordinal) ? ['\t'] : (char[])[' '], StringSplitOptions.RemoveEmptyEntries);
                if (parts is [var query, .. { Length: 1 or 2 }, var grade] && int.TryParse(grade, CultureInfo.InvariantCulture, out int value))
                {
                    judged.TryAdd(query, new(StringComparer.Ordinal));
                    if (!judged[query].TryAdd(parts[^2], value) && judged[query][parts[^2]] != value)
                    {
                        throw new CorpusException(
                            $"Line {number + 1} of {path} gives the document \"{parts[^2]}\" the grade {value} for the query \"{query}\", and a line before gives "
                                + $"it {judged[query][parts[^2]]}; leave one of them.");
                    }
                }
                else if (!string.IsNullOrWhiteSpace(line) && !(number == 0 && IsHeader(parts)))
                {
                    throw new CorpusException(
                        $"Line {number + 1} of {path} is no judgment: expected query, iteration, document and grade, or query, document and grade, found "
                            + $"\"{line}\".");
                }
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CorpusException($"The judgments {path} cannot be read ({exception.Message}); name a file that is there.", exception);
        }

        if (judged.Count == 0)
        {
            throw new CorpusException($"{path} holds no judgment, so that nothing can be measured; name the file of them, such as BEIR's qrels/test.tsv.");
        }

        JudgedQuery[] read =
        [
            .. from query in asked
               where judged.ContainsKey(query.Id)
               select new JudgedQuery(query.Id, query.Text) { Documents = judged[query.Id] },
        ];
        return judged.Keys.Except(read.Select(query => query.Id)).FirstOrDefault() is not { } missing
            ? read
            : throw new CorpusException($"{path} judges the query \"{missing}\", which is not among those that were given, or has no text; give the "
                + "queries that it is of.");

        // Names of columns: a judgment with a fault would be left out without a word, and its query with it.
        bool IsHeader(string[] parts) => parts.Length is 3 or 4
            && parts[0].Contains("query", StringComparison.OrdinalIgnoreCase)
            && !parts.Any(part => double.TryParse(part, CultureInfo.InvariantCulture, out _))
            && !asked.Any(query => query.Id == parts[0]);
    }
}
