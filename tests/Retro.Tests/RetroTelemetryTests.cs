using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Answering;
using Retro.Tests.Readers;
using static TorchSharp.torch;

namespace Retro.Tests;

/// <summary>What a listener hears.</summary>
public sealed class RetroTelemetryTests
{
    [Fact]
    public void Whoever_asks_a_source_tells_queries_times_scores_and_what_is_missing()
    {
        using Towns towns = new(6);
        NamedSource source = new(towns.Database, Guid.NewGuid().ToString());
        using Heard heard = new("retro.source", source.Name);
        NeighborQuery[] queries = [new(new[] { 1, 2 }, []), new(new[] { 3 }, []), new(Array.Empty<int>(), [])];
        Assert.Equal([0, 1, 0, -1, -1, -1], source.Ask(queries, 2, TestContext.Current.CancellationToken).Chunks);
        Assert.Equal([3], heard.Of("retro.retrieval.queries"));
        Assert.Equal([1], heard.Of("retro.retrieval.empty"));
        Assert.Equal([1], heard.Of("retro.retrieval.short"));
        Assert.Equal([-7, -7], heard.Of("retro.retrieval.best_score"));
        Assert.InRange(Assert.Single(heard.Of("retro.retrieval.duration")), 0, 60);
        Assert.Equal("s", heard.Units["retro.retrieval.duration"]);
    }

    [Fact]
    public void Whoever_measures_a_reader_tells_how_much_it_read()
    {
        manual_seed(1);
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = 11 }, ScalarType.Float64);
        RetroReader inner = new(model, name: Guid.NewGuid().ToString());
        PointerRule rule = new(2, TinyRetro.M, 2 * TinyRetro.M, new double[PointerRule.LongestRun]);
        PointerReader above = new(inner, rule, Guid.NewGuid().ToString());
        ReadingBatch batch = ReaderContract.Batch(11, 2, 13, TinyRetro.M, 2, 2 * TinyRetro.M, seed: 3);
        using Heard heard = new("retro.reader", above.Name), below = new("retro.reader", inner.Name);
        Assert.Equal(above.LogLikelihoods(batch), ReaderChecks.LogLikelihoods(above, batch));
        Assert.Equal([26], heard.Of("retro.reader.tokens"));
        Assert.Single(heard.Of("retro.reader.duration"));
        Assert.Equal([26, 26], below.Of("retro.reader.tokens")); // asked twice for it
    }

    [Fact]
    public async Task Generation_tells_its_stages_and_its_searches_belong_to_it()
    {
        using Towns towns = new(6, search: true);
        RetroConfig config = TinyRetro.Config with
        {
            VocabularySize = towns.Tokenizer.VocabularySize,
            Retrieval = TinyRetro.Config.Retrieval! with { ChunkLength = Towns.M, RetrievedLength = 2 * Towns.M },
        };
        manual_seed(1);
        using RetroModel model = new(config);
        ConcurrentBag<Activity> ended = [];
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == RetroTelemetry.Name,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = ended.Add,
        };
        ActivitySource.AddActivityListener(listener);
        using Heard heard = new("retro.stage", null);
        using Activity mine = new Activity("mine").Start();
        GenerationOptions options = new() { MaximumNewTokens = Towns.M + 3, Temperature = 0.5, TopP = 1 };
        int tokens = 0;
        await foreach (GeneratedPiece piece in new RetroGenerator(model, towns.Tokenizer, towns.Keyword).GenerateAsync(
            string.Concat(Enumerable.Repeat("Roof color: red\n", 8)), options, TestContext.Current.CancellationToken))
        {
            tokens += piece.Token is null ? 0 : 1;
        }

        Activity[] own = [.. ended.Where(activity => activity.TraceId == mine.TraceId)];
        Activity generate = Assert.Single(own, activity => activity.OperationName == "retro.generate");
        Activity[] searches = [.. own.Where(activity => activity.OperationName == "retro.retrieve")];
        Assert.NotEmpty(searches);
        Assert.All(searches, search => Assert.Equal(generate.SpanId, search.ParentSpanId));
        Assert.Contains("retrieve", heard.Values);
        Assert.Contains("prefill", heard.Values);
        Assert.True(tokens > 1);
        Assert.Contains("step", heard.Values);
    }

    [Fact]
    public void Neighbors_of_the_windows_own_documents_are_counted()
    {
        using Towns towns = new(6);
        SameDocuments same = new(towns.Database, towns.Database);
        using Heard heard = new(null, null);
        long[] kept = new long[2];
        long own = towns.Database.Documents[2].FirstChunk, other = towns.Database.Documents[3].FirstChunk;
        Assert.Equal(1, same.Keep(towns.Database, [own, -1, other], new HashSet<int> { same.Group(2) }, kept));
        Assert.Equal([1], heard.Of("retro.retrieval.rejected"));
    }

    /// <summary>Finds one chunk fewer for each query than for the one before.</summary>
    private sealed class NamedSource(ChunkDatabase database, string name) : INeighborSource
    {
        public string Name => name;

        public ChunkDatabase Database => database;

        public string Identity => $"identity of {name}";

        public string KeyIdentity => "keys";

        public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            chunks.Fill(-1);
            scores.Fill(float.NaN);
            for (int q = 0; q < queries.Count; q++)
            {
                for (int k = 0; k < count - q; k++)
                {
                    (chunks[(q * count) + k], scores[(q * count) + k]) = (k, -7 - k);
                }
            }
        }
    }

    /// <summary>Measurements whose tag has a value.</summary>
    private sealed class Heard : IDisposable
    {
        private readonly MeterListener _listener = new();
        private readonly ConcurrentQueue<(string Name, double Value)> _heard = [];

        public Heard(string? tag, string? value)
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == RetroTelemetry.Name)
                {
                    Units[instrument.Name] = instrument.Unit;
                    listener.EnableMeasurementEvents(instrument);
                }
            };
            _listener.SetMeasurementEventCallback<double>((instrument, measured, tags, _) => Hear(instrument, measured, tags));
            _listener.SetMeasurementEventCallback<long>((instrument, measured, tags, _) => Hear(instrument, measured, tags));
            _listener.Start();

            void Hear(Instrument instrument, double measured, ReadOnlySpan<KeyValuePair<string, object?>> tags)
            {
                foreach (KeyValuePair<string, object?> one in tags)
                {
                    if (one.Key == tag && (value is null || value.Equals(one.Value)))
                    {
                        _heard.Enqueue((instrument.Name, measured));
                        Values.Add((string)one.Value!);
                    }
                }

                if (tag is null)
                {
                    _heard.Enqueue((instrument.Name, measured));
                }
            }
        }

        public ConcurrentDictionary<string, string?> Units { get; } = [];

        public ConcurrentBag<string> Values { get; } = [];

        public IEnumerable<double> Of(string name) => _heard.Where(one => one.Name == name).Select(one => one.Value);

        public void Dispose() => _listener.Dispose();
    }
}
