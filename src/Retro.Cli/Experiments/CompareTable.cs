using System.Diagnostics;
using System.Text.Json.Nodes;
using Retro;
using Retro.Cli.Reports;
using Retro.Cli.Workflow;
using Retro.Evaluation;

namespace Retro.Cli.Experiments;

/// <summary>What was measured, reader by reader and seed by seed, and the table of it.</summary>
internal sealed class CompareTable
{
    private readonly List<(string Name, string From, BitsPerByteResult Result, double PerSecond, long Bytes, TimeSpan Training)> _rows = [];

    /// <summary>Measures a reader.</summary>
    /// <param name="name">The row's name.</param>
    /// <param name="from">What is read, besides the text.</param>
    /// <param name="bytes">Bytes of what it reads from.</param>
    /// <param name="training">Time of its training, its decoder's included.</param>
    /// <param name="measure">Measures it.</param>
    public void Measure(string name, string from, long bytes, TimeSpan training, Func<IProgress<StageProgress>, BitsPerByteResult> measure)
    {
        Stopwatch clock = Stopwatch.StartNew();
        BitsPerByteResult result = Stages.Run($"measure {name}", measure);
        _rows.Add((name, from, result, result.Tokens / clock.Elapsed.TotalSeconds, bytes, training));
    }

    /// <summary>How many rows there are.</summary>
    public int Count => _rows.Count;

    /// <summary>The time of the longest training of the rows from one on.</summary>
    /// <param name="first">Its number, from 0.</param>
    public TimeSpan LongestTraining(int first) => _rows.Skip(first).Max(row => row.Training);

    /// <summary>The table for programs.</summary>
    /// <param name="baselines">The readers that the others are compared with.</param>
    public JsonObject ToJson(params string[] baselines)
    {
        JsonObject json = ResultsJson.Of(Table(baselines));
        foreach (JsonNode? reader in json["readers"]!.AsArray())
        {
            var runs = Runs(reader!["reader"]!.GetValue<string>());
            reader["tokensPerSecond"] = runs.Average(run => run.PerSecond);
            reader["databaseBytes"] = runs[0].Bytes;
            reader["trainingSeconds"] = runs.Average(run => run.Training.TotalSeconds);
        }

        return json;
    }

    /// <summary>The table as Markdown.</summary>
    /// <param name="baselines">The readers that the others are compared with.</param>
    public string ToMarkdown(params string[] baselines)
    {
        EvaluationTable table = Table(baselines);
        string[] header =
        [
            "reader", "reads", "bits per byte", .. table.Against.Select(name => $"against {name}"), "tokens/s", "bytes of database", "seconds of training",
        ];
        string rows = MarkdownTable.Of(header, table.Rows.Select(row => (string[])
        [
            row.Entry.Reader,
            string.Join("; ", Runs(row.Entry.Reader).Select(run => run.From).Distinct()), // what is fitted differs from seed to seed
            Page.Number(row.Entry.Value, "0.0000"),
            .. row.Differences.Select(difference => difference?.ToString() ?? "-"),
            Page.Number(Runs(row.Entry.Reader).Average(run => run.PerSecond), "#,0"),
            Page.Number(Runs(row.Entry.Reader)[0].Bytes, "#,0"),
            Page.Number(Runs(row.Entry.Reader).Average(run => run.Training.TotalSeconds), "0"),
        ]));
        return $"""
            {rows}
            {table.Notes} {SampleCorpus.HeldOutNote}
            Tokens are those predicted in a second of measuring, the search for neighbors included; bytes those of the files that are read, the
            texts and what they are searched by; the seconds of training are a reader's own and its decoder's; of nearest states, those of making and indexing them.

            """;
    }

    private (string Name, string From, BitsPerByteResult Result, double PerSecond, long Bytes, TimeSpan Training)[] Runs(string reader)
        => [.. _rows.Where(row => row.Name == reader)];

    private EvaluationTable Table(string[] baselines) => EvaluationTable.Of(
        [.. _rows.GroupBy(row => row.Name).Select(group => new EvaluationEntry(group.Key, [.. group.Select(row => row.Result)]))],
        [.. baselines.Where(name => _rows.Any(row => row.Name == name))]);
}
