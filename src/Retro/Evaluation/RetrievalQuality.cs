using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Evaluation;

/// <summary>
/// What a source finds for queries whose answers were judged: the measures of trec_eval (https://github.com/usnistgov/trec_eval) up to a cutoff k, each with
/// its interval over the queries.
/// </summary>
/// <param name="Source">The source's name.</param>
/// <param name="Cutoff">k: places of the ranking that count.</param>
/// <param name="Queries">The measures of each query that has something relevant.</param>
/// <param name="LeftOut">Queries without anything relevant, of which nothing can be measured.</param>
/// <param name="Missing">Relevant documents, over all queries, that the database does not have, and which count as not found.</param>
public sealed record RetrievalQuality(string Source, int Cutoff, IReadOnlyList<QueryQuality> Queries, int LeftOut, int Missing)
{
    private const int Block = 256;

    /// <summary>Mean of <see cref="QueryQuality.Recall"/>, recall@k.</summary>
    public MeanInterval Recall { get; } = Mean(Queries, query => query.Recall);

    /// <summary>Mean of <see cref="QueryQuality.ReciprocalRank"/>, MRR@k.</summary>
    public MeanInterval ReciprocalRank { get; } = Mean(Queries, query => query.ReciprocalRank);

    /// <summary>Mean of <see cref="QueryQuality.Ndcg"/>, nDCG@k.</summary>
    public MeanInterval Ndcg { get; } = Mean(Queries, query => query.Ndcg);

    /// <summary>Share of the queries for which anything relevant is found, success@k.</summary>
    public MeanInterval Success { get; } = Mean(Queries, query => query.Success);

    /// <summary>Asks a source and compares. Documents are ranked by the best of their chunks.</summary>
    /// <param name="source">The source.</param>
    /// <param name="tokenizer">The tokenizer of its database.</param>
    /// <param name="queries">The queries.</param>
    /// <param name="cutoff">k.</param>
    /// <param name="leaveOutOwn">
    /// Whether the document whose id is a query's own does not come for it: where queries are documents, as ArguAna's are, each would find itself first. BEIR's
    /// evaluation leaves it out (ignore_identical_ids). By default it does not: elsewhere query "1" and document "1" are two things.
    /// </param>
    /// <param name="progress">Receives the number of queries done.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>What was measured.</returns>
    /// <exception cref="ArgumentException">
    /// The source has no database, both documents and chunks of a query are judged, a chunk is not in the database, or none of the relevant documents is.
    /// </exception>
    /// <exception cref="DatabaseException">The database was made with another tokenizer, or is damaged.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public static RetrievalQuality Measure(
        INeighborSource source,
        RetroTokenizer tokenizer,
        IReadOnlyList<JudgedQuery> queries,
        int cutoff = 10,
        bool leaveOutOwn = false,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(cutoff);
        ChunkDatabase database = source.Database
            ?? throw new ArgumentException($"The source {source.Name} has no database in which anything could be found.", nameof(source));
        foreach (JudgedQuery query in queries)
        {
            if (query.Documents.Count > 0 && query.Chunks.Count > 0)
            {
                throw new ArgumentException($"Of the query \"{query.Id}\" both documents and chunks are judged; give judgments of one kind.", nameof(queries));
            }

            if (query.Chunks.Keys.Where(chunk => chunk < 0 || chunk >= database.ChunkCount).Cast<long?>().FirstOrDefault() is { } missing)
            {
                throw new ArgumentException(
                    $"The query \"{query.Id}\" has a judgment of chunk {missing}, and {database.Folder} has the chunks 0 to {database.ChunkCount - 1}.",
                    nameof(queries));
            }
        }

        JudgedQuery[] measured = [.. queries.Where(query => query.Documents.Values.Concat(query.Chunks.Values).Any(grade => grade > 0))];
        string[] relevant = [.. measured.SelectMany(query => query.Documents.Where(pair => pair.Value > 0).Select(pair => pair.Key))];
        int lacking = relevant.Count(id => database.NumberOf(id) < 0);
        if (lacking > 0 && lacking == relevant.Length)
        {
            throw new ArgumentException(
                $"{database.Folder} has none of the {lacking} relevant documents, such as \"{relevant[0]}\"; its first one is "
                    + $"\"{database.Documents.Select(document => document.Id).FirstOrDefault("none")}\". Judge documents by the ids that they have there.",
                nameof(queries));
        }

        List<QueryQuality> results = [];
        foreach (JudgedQuery[] block in measured.Chunk(Block))
        {
            progress?.Report(new StageProgress($"measure {source.Name}", results.Count, measured.Length));
            NeighborQuery[] asked = [.. block.Select(QueryOf)];
            (int Document, float Score)[][] documents = RankedDocuments.Of(
                source, [.. asked.Where((_, i) => block[i].Chunks.Count == 0)], cutoff, cancellationToken: cancellationToken);
            long[][] chunks = Chunks([.. asked.Where((_, i) => block[i].Chunks.Count > 0)]);
            int nextDocuments = 0, nextChunks = 0;
            results.AddRange(block.Select(query => query.Chunks.Count == 0
                ? QueryQuality.Of(query.Id, documents[nextDocuments++].Select(one => database.Documents[one.Document].Id), query.Documents, cutoff)
                : QueryQuality.Of(query.Id, chunks[nextChunks++], query.Chunks, cutoff)));
        }

        progress?.Report(new StageProgress($"measure {source.Name}", measured.Length, measured.Length));
        return new(source.Name, cutoff, results, queries.Count - measured.Length, lacking);

        NeighborQuery QueryOf(JudgedQuery judged)
        {
            NeighborQuery query = NeighborQuery.Of(judged.Text, database, tokenizer);
            return leaveOutOwn && database.NumberOf(judged.Id) is >= 0 and int own ? query with { ExcludedDocuments = [own] } : query;
        }

        // For a query without tokens nothing is found.
        long[][] Chunks(NeighborQuery[] some)
        {
            long[][] ranked = [.. some.Select(_ => Array.Empty<long>())];
            int[] open = [.. Enumerable.Range(0, some.Length).Where(i => !some[i].Tokens.IsEmpty)];
            int most = NeighborQueries.Most(database, cutoff);
            foreach ((int place, (long[] found, _)) in open.Zip(source.AskEach(open.Select(i => some[i]), most, cancellationToken)))
            {
                ranked[place] = [.. found.Where(chunk => chunk >= 0)];
            }

            return ranked;
        }
    }

    /// <summary>Such as "bm25: recall@10 0.41 [0.35, 0.48], MRR@10 0.37 [0.31, 0.43], nDCG@10 0.38 [0.32, 0.44], success@10 0.52 [0.44, 0.60]".</summary>
    public override string ToString()
        => $"{Source}: recall@{Cutoff} {Recall}, MRR@{Cutoff} {ReciprocalRank}, nDCG@{Cutoff} {Ndcg}, success@{Cutoff} {Success}";

    private static MeanInterval Mean(IReadOnlyList<QueryQuality> queries, Func<QueryQuality, double> value)
        => MeanInterval.Of(queries.Select(query => (query.Id, value(query))), least: 0, most: 1);
}
