using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Retro;

/// <summary>
/// What can be watched of a running program: the meter and the activity source named <see cref="Name"/>, for OpenTelemetry (<c>AddMeter("Retro")</c>,
/// <c>AddSource("Retro")</c>), dotnet-counters or a custom listener. Names and units follow OpenTelemetry's conventions. Where nobody listens nothing is
/// measured.
/// </summary>
/// <remarks>
/// <para>Of generation: histogram retro.generation.duration (s) of each stage, which retro.stage names: retrieve, prefill, step. Activities retro.generate,
/// and retro.retrieve below it.</para>
/// <para>Of every source that the library asks, with its name as retro.source: histogram retro.retrieval.duration (s) of each search; counters
/// retro.retrieval.queries and, of those for which nothing was found, retro.retrieval.empty ({query}); histogram retro.retrieval.best_score of each query's
/// best neighbor, of dense sources minus the squared distance or the inner product; counter retro.retrieval.short ({neighbor}) of what is missing where some
/// were found. A source that asks others, such as a hybrid one, is one source.</para>
/// <para>Counter retro.retrieval.rejected ({neighbor}): neighbors of tables that the rule of same documents refused.</para>
/// <para>Of every reader by which the library measures, fits or answers, with its name as retro.reader: histogram retro.reader.duration (s) of each batch, and
/// counter retro.reader.tokens ({token}) of targets; of a reader on top of another one, both.</para>
/// <para>Of a retriever's training, with retro.objective: histogram retro.retrieval.utility (nat), how much more likely a batch's targets are, each on average,
/// with what was retrieved than without (REALM's retrieval utility).</para>
/// </remarks>
public static class RetroTelemetry
{
    /// <summary>The name of meter and activity source.</summary>
    public const string Name = "Retro";

    private static readonly Meter s_meter = new(Name);

    internal static ActivitySource Activities { get; } = new(Name);

    internal static Histogram<double> GenerationDuration { get; } = s_meter.CreateHistogram<double>("retro.generation.duration", "s", "Time of a stage.");

    internal static Histogram<double> RetrievalDuration { get; } = s_meter.CreateHistogram<double>("retro.retrieval.duration", "s", "Time of a search.");

    internal static Counter<long> Queries { get; } = s_meter.CreateCounter<long>("retro.retrieval.queries", "{query}", "Queries asked.");

    internal static Counter<long> Empty { get; } = s_meter.CreateCounter<long>("retro.retrieval.empty", "{query}", "Queries for which nothing was found.");

    internal static Histogram<double> BestScore { get; } = s_meter.CreateHistogram<double>("retro.retrieval.best_score", null, "Score of the best neighbor.");

    internal static Counter<long> Short { get; } = s_meter.CreateCounter<long>("retro.retrieval.short", "{neighbor}", "Neighbors missing beside others.");

    internal static Counter<long> Rejected { get; } = s_meter.CreateCounter<long>(
        "retro.retrieval.rejected", "{neighbor}", "Neighbors refused as of the same document.");

    internal static Histogram<double> ReaderDuration { get; } = s_meter.CreateHistogram<double>("retro.reader.duration", "s", "Time of reading a batch.");

    internal static Counter<long> ReaderTokens { get; } = s_meter.CreateCounter<long>("retro.reader.tokens", "{token}", "Targets read.");

    internal static Histogram<double> Utility { get; } = s_meter.CreateHistogram<double>(
        "retro.retrieval.utility", "nat", "Log-likelihood of a target with what was retrieved less that without.");

    /// <summary>Records what a search has found, where somebody listens.</summary>
    /// <param name="source">The source's name.</param>
    /// <param name="queries">How many queries it was asked.</param>
    /// <param name="count">K, neighbors wanted for each.</param>
    /// <param name="chunks">[queries, K]; -1 where there are no more.</param>
    /// <param name="scores">[queries, K].</param>
    internal static void Found(string source, int queries, int count, long[] chunks, float[] scores)
    {
        if (!(Queries.Enabled || Empty.Enabled || BestScore.Enabled || Short.Enabled))
        {
            return;
        }

        KeyValuePair<string, object?> tag = new("retro.source", source);
        Queries.Add(queries, tag);
        for (int q = 0; q < queries; q++)
        {
            int found = count - chunks.AsSpan(q * count, count).Count(-1);
            if (found == 0)
            {
                Empty.Add(1, tag);
                continue;
            }

            if (float.IsFinite(scores[q * count]))
            {
                BestScore.Record(scores[q * count], tag);
            }

            if (found < count)
            {
                Short.Add(count - found, tag);
            }
        }
    }

    /// <summary>Does work, and records the time that it took where somebody listens; work that throws is not recorded.</summary>
    internal static T Timed<T>(Histogram<double> duration, string tag, string value, Func<T> work)
    {
        if (!duration.Enabled)
        {
            return work();
        }

        long started = Stopwatch.GetTimestamp();
        T result = work();
        duration.Record(Stopwatch.GetElapsedTime(started).TotalSeconds, new KeyValuePair<string, object?>(tag, value));
        return result;
    }
}
