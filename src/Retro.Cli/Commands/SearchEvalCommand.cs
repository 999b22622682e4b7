using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Corpora;
using Retro.Evaluation;
using Retro.Search;
using Retro.Cli.Reports;
using Retro.Cli.Workflow;

namespace Retro.Cli.Commands;

/// <summary>`retro search-eval`: what a source finds for queries whose answers were judged.</summary>
internal sealed class SearchEvalCommand : Verb
{
    private readonly PathOption _database = CommonOptions.Database(required: true);
    private readonly PathOption _queries = new("--queries", "FILE")
    {
        Description = "The queries, an id and a text each, such as BEIR's queries.jsonl: JSON lines, CSV or Parquet.",
        Required = true,
    };

    private readonly PathOption _judgments = new("--judgments", "FILE")
    {
        Description = "Grades of the database's documents for the queries, such as qrels: of TREC (query, iteration, document, grade) or BEIR (query, "
            + "document, grade). Documents have the ids that they have in the database.",
        Required = true,
    };

    private readonly Option<string[]> _fields = CorpusReading.FieldNames("text, and for the id _id, as BEIR calls them");
    private readonly Option<string> _source = CommonOptions.Source("bm25");
    private readonly Option<int> _k = CommonOptions.Whole("--k", "k: places of the ranking that count.", 10, 1, 100_000);
    private readonly Option<bool> _leaveOutOwn = new("--leave-out-own")
    {
        Description = "Leave the document with a query's own id out of what is found for it, as BEIR's evaluation does: for queries that are documents "
            + "themselves, such as ArguAna's.",
    };

    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _embedder = CommonOptions.Embedder();
    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<int> _threads = CommonOptions.Threads();
    private readonly Option<string> _device = CommonOptions.Device();

    public SearchEvalCommand()
        : base(
            "search-eval",
            "Measures what a source finds for queries whose answers were judged, by documents, each ranked by the best of its chunks: recall, MRR, nDCG and "
                + "success among the first k, as trec_eval does, with intervals over the queries.",
            "retro search-eval --database work --queries queries.jsonl --judgments qrels.tsv",
            "retro search-eval --database work --queries queries.jsonl --judgments qrels.tsv --source hybrid --k 100")
        => AddOptions(_database, _queries, _judgments, _fields, _source, _k, _leaveOutOwn, _tokenizer, _embedder, _seed, _threads, _device);

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
        => Sources.NeedsKeys(said(_source)) ? [] : Because(Sources.NoKeys, _embedder);

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        TorchSharp.torch.Device? device = CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));
        CorpusOptions reading = new() { Fields = CorpusReading.Named(parsed, _fields, new DocumentFields { Id = "_id" }) };
        IReadOnlyList<JudgedQuery> queries = JudgedQuery.Read(
            Corpus.Open(parsed.GetValue(_queries)!, reading).Documents(), parsed.GetValue(_judgments)!);
        using Sources sources = new(
            parsed.GetValue(_database)!, parsed.GetValue(_tokenizer), parsed.GetValue(_embedder), parsed.GetValue(_threads), device, cancellationToken);
        INeighborSource source = sources.Open(parsed.GetValue(_source)!, parsed.GetValue(_seed));
        RetrievalQuality found = Stages.Run(
            "ask the queries",
            progress => RetrievalQuality.Measure(
                source, sources.Tokenizer, queries, parsed.GetValue(_k), parsed.GetValue(_leaveOutOwn), progress, cancellationToken));
        int k = found.Cutoff;
        Screen.Table(
            string.Create(CultureInfo.InvariantCulture, $"queries by {found.Source}: {found.Queries.Count:#,0}"),
            [$"recall@{k}", $"MRR@{k}", $"nDCG@{k}", $"success@{k}"],
            [[$"{found.Recall}", $"{found.ReciprocalRank}", $"{found.Ndcg}", $"{found.Success}"]]);
        if (found.LeftOut > 0)
        {
            Screen.Line($"queries of which nothing is measured, since nothing was judged relevant: {found.LeftOut:#,0}");
        }

        if (found.Missing > 0)
        {
            Screen.Line($"not in the database, and counted as not found: {Amount.Of(found.Missing, "relevant document")}");
        }

        WriteJson(parsed, ResultsJson.Of(found));
        return Task.CompletedTask;
    }
}
