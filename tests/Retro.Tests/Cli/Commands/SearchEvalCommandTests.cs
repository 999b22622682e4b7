using System.Text.Json.Nodes;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Tests.Cli.Commands;

/// <summary>`retro search-eval`: what the library measures, by the files that others judge with.</summary>
public sealed class SearchEvalCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void A_source_is_measured_by_queries_that_were_judged()
    {
        _retro.Build();
        using ChunkDatabase database = _retro.Database();
        string[] ids = [.. database.Documents.Select(document => document.Id)];
        string[] queries =
            [.. ids.Take(6).Select((id, i) => new JsonObject { ["_id"] = $"q{i}", ["text"] = $"The {id.Split('-', '.')[0]} number 3" }.ToJsonString())];
        _retro.WriteFile("queries.jsonl", string.Join('\n', queries));
        _retro.WriteFile(
            "qrels.tsv",
            $"query-id\tcorpus-id\tscore\n{string.Concat(Enumerable.Range(0, 5).Select(i => $"q{i}\t{ids[i]}\t2\n"))}q0\tgone\t1\nq5\t{ids[5]}\t0\n");

        string[] line = ["search-eval", "--database", "work", "--queries", "queries.jsonl", "--judgments", "qrels.tsv"];
        string said = _retro.Done([.. line, "--k", "3", "--json", "found.json"]);
        JsonObject json = _retro.Json("found.json");

        RetroTokenizer tokenizer = RetroTokenizer.Load(_retro["work/tokenizer"]);
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        CorpusOptions reading = new() { Fields = new() { Id = "_id" } };
        RetrievalQuality expected = RetrievalQuality.Measure(
            source, tokenizer, JudgedQuery.Read(Corpus.Open(_retro["queries.jsonl"], reading).Documents(), _retro["qrels.tsv"]), 3);
        Assert.Equal(("bm25", 3, 5, 1, 1), ((string)json["source"]!, (int)json["k"]!, (int)json["queries"]!, (int)json["leftOut"]!, (int)json["missing"]!));
        Assert.InRange(expected.Ndcg.Value, 0.01, 0.99);
        Assert.Equal(
            [expected.Recall.Value, expected.ReciprocalRank.Value, expected.Ndcg.Value, expected.Success.Value],
            new[] { "recall", "reciprocalRank", "ndcg", "success" }.Select(name => (double)json[name]!["value"]!));
        Assert.Equal(expected.Queries.Select(query => query.Ndcg), json["byQuery"]!.AsArray().Select(query => (double)query!["ndcg"]!));
        Assert.All(
            ["queries by bm25: 5", "nDCG@3", $"{expected.Ndcg}", "nothing was judged relevant: 1", "counted as not found: 1 relevant document"],
            part => Assert.Contains(part, said, StringComparison.Ordinal));

        // Queries that are documents, and find themselves unless they are left out.
        _retro.WriteFile(
            "own.jsonl",
            string.Join('\n', ids.Take(5).Select(id => new JsonObject { ["_id"] = id, ["text"] = $"The {id.Split('-', '.')[0]} number 3" }.ToJsonString())));
        _retro.WriteFile("own.tsv", string.Concat(ids.Take(5).Select(id => $"{id}\t{id}\t1\n")));
        string[] own = ["search-eval", "--database", "work", "--queries", "own.jsonl", "--judgments", "own.tsv", "--k", "3"];
        _retro.Done([.. own, "--json", "own.json"]);
        Assert.InRange((double)_retro.Json("own.json")["recall"]!["value"]!, 0.01, 1);
        _retro.Done([.. own, "--leave-out-own", "--json", "others.json"]);
        Assert.Equal(0, (double)_retro.Json("others.json")["recall"]!["value"]!);

        // Queries of a table, whose columns are called otherwise, and judgments of TREC.
        _retro.WriteFile("queries.csv", $"number,question\n7,The {ids[0].Split('-')[0]} number 3\n");
        _retro.WriteFile("qrels", $"7 0 {ids[0]} 1\n");
        string[] other = ["search-eval", "--database", "work", "--queries", "queries.csv", "--judgments", "qrels"];
        Assert.Contains("(--fields)", _retro.Run(other).Errors, StringComparison.Ordinal);
        Assert.Contains("queries by random: 1", _retro.Done(
            [.. other, "--fields", "id=number", "--fields", "text=question", "--source", "random"]), StringComparison.Ordinal);

        _retro.WriteFile("qrels.tsv", "q9\tgone\t1\n");
        Assert.Contains("judges the query \"q9\", which is not among those", _retro.Run(line).Errors, StringComparison.Ordinal);
    }
}
