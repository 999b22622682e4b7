using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Answering;
using Retro.Cli.Workflow;
using Retro.Evaluation;

namespace Retro.Cli.Reports;

/// <summary>Tables for programs.</summary>
internal static class ResultsJson
{
    /// <summary>What was measured by bits per byte.</summary>
    /// <param name="table">The table.</param>
    /// <param name="leakage">The same by overlap with the neighbors; null: it was not measured.</param>
    public static JsonObject Of(EvaluationTable table, LeakageTable? leakage = null)
    {
        BitsPerByteResult any = table.Rows[0].Entry.Results[0];
        JsonObject json = new()
        {
            ["documents"] = any.Documents,
            ["tokens"] = any.Tokens,
            ["bytes"] = any.Bytes,
            ["readers"] = new JsonArray([.. table.Rows.Select(row => new JsonObject
            {
                ["reader"] = row.Entry.Reader,
                ["source"] = row.Entry.Results[0].SourceName,
                ["k"] = row.Entry.Results[0].Neighbors,
                ["steps"] = row.Entry.Steps,
                ["minutes"] = row.Entry.Time?.TotalMinutes,
                ["bitsPerByte"] = Number(row.Entry.Value),
                ["against"] = new JsonArray([.. table.Against.Zip(row.Differences)
                    .Where(pair => pair.Second is not null)
                    .Select(pair => Difference(pair.First, pair.Second!))]),
            })]),
        };
        if (leakage is not null)
        {
            json["byOverlap"] = new JsonArray([.. leakage.Rows.Select(row => new JsonObject
            {
                ["atMost"] = row.Bound,
                ["share"] = row.TokenShare,
                ["bitsPerByte"] = new JsonObject(leakage.Readers.Zip(row.Values)
                    .Where(pair => double.IsFinite(pair.Second))
                    .Select(pair => KeyValuePair.Create(pair.First, (JsonNode?)pair.Second))),
            })]);
        }

        return json;
    }

    /// <summary>What a source found for judged queries.</summary>
    public static JsonObject Of(RetrievalQuality found) => new()
    {
        ["source"] = found.Source,
        ["k"] = found.Cutoff,
        ["queries"] = found.Queries.Count,
        ["leftOut"] = found.LeftOut,
        ["missing"] = found.Missing,
        ["recall"] = Interval(found.Recall),
        ["reciprocalRank"] = Interval(found.ReciprocalRank),
        ["ndcg"] = Interval(found.Ndcg),
        ["success"] = Interval(found.Success),
        ["byQuery"] = new JsonArray([.. found.Queries.Select(query => new JsonObject
        {
            ["id"] = query.Id, ["recall"] = query.Recall, ["reciprocalRank"] = query.ReciprocalRank, ["ndcg"] = query.Ndcg,
        })]),
    };

    /// <summary>What was answered, reader by reader.</summary>
    /// <param name="tables">The answers.</param>
    public static JsonArray Of(AnswerTables tables)
    {
        (string first, AnswerResult firstFound, AnswerResult firstOracle, _) = tables.Rows[0];
        return new([.. tables.Rows.Select((row, number) => new JsonObject
        {
            ["reader"] = row.Name,
            ["found"] = Answers(row.Found, number == 0 ? null : firstFound),
            ["oracle"] = Answers(row.Oracle, number == 0 ? null : firstOracle),
            ["abilityQuestions"] = row.Abilities.Questions,
            ["noise"] = new JsonObject(row.Abilities.NoiseRobustness.Select(one =>
                KeyValuePair.Create(one.Noise.ToString(CultureInfo.InvariantCulture), Number(one.Accuracy)))),
            ["rejection"] = Number(row.Abilities.NegativeRejection),
            ["integration"] = Number(row.Abilities.InformationIntegration),
            ["counterfactualQuestions"] = row.Abilities.Counterfactual.Select(one => one.Questions).FirstOrDefault(),
            ["counterfactual"] = new JsonObject(row.Abilities.Counterfactual.Select(one => KeyValuePair.Create(one.Passages, Number(one.Right)))),
        })]);

        JsonObject Answers(AnswerResult result, AnswerResult? baseline) => new()
        {
            ["exactMatch"] = Number(result.ExactMatch),
            ["f1"] = Number(result.F1),
            ["bits"] = Number(result.Bits),
            ["found"] = Number(result.Found),
            ["against"] = baseline is null ? null : new JsonObject
            {
                ["to"] = first,
                ["exactMatch"] = Interval(result.Difference(baseline, one => one.ExactMatch, most: 1)),
                ["bits"] = Interval(result.Difference(baseline, one => one.Bits)),
            },
        };

        static JsonNode? Number(MeanInterval mean) => ResultsJson.Number(mean.Value);
    }

    private static JsonObject? Interval(MeanInterval mean)
        => !double.IsFinite(mean.Value) ? null
            : mean.HasInterval ? new() { ["value"] = mean.Value, ["low"] = mean.Low, ["high"] = mean.High }
            : new() { ["value"] = mean.Value };

    /// <summary>JSON has no number for what is not finite.</summary>
    private static JsonNode? Number(double value) => double.IsFinite(value) ? value : null;

    private static JsonObject Difference(string to, PairedDifference difference)
    {
        JsonObject json = new() { ["to"] = to, ["relative"] = Number(difference.Value) };
        if (difference.HasInterval)
        {
            json["low"] = difference.Low;
            json["high"] = difference.High;
        }

        return json;
    }
}
