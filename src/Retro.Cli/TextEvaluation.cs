using Retro.Cli.Reports;
using Retro.Cli.Workflow;
using Retro.Database;
using Retro.Evaluation;
using Retro.Readers;
using Retro.Search;
using Retro.Training;

namespace Retro.Cli;

/// <summary>What eval --task text measures: bits per byte of held-out documents, of models and of rules without any training.</summary>
internal sealed class TextEvaluation : IDisposable
{
    private const string ClosedBook = "closed book", Retrieving = "RETRO";

    /// <summary>Neighbors of the pointer rule, at most, and so of every table at least.</summary>
    private const int RuleNeighbors = 8;

    /// <summary>Held-out documents that the report shows token by token, and tokens of each at most.</summary>
    private const int MostInspected = 4, InspectedTokens = 512;

    private readonly Sources _sources;
    private readonly ChunkDatabase _heldOut;
    private readonly (string Path, TrainedModel Trained)[] _models;
    private readonly string? _typed;
    private readonly BitsPerByteOptions _options;
    private readonly long _seed;
    private readonly CancellationToken _cancellationToken;
    private readonly CopyReader? _copies;
    private readonly int _kept;
    private readonly Dictionary<string, INeighborSource> _opened = [];
    private readonly Dictionary<string, NeighborTable> _tables = [];
    private readonly INeighborSource _source;
    private readonly List<Measured> _measured = [];

    /// <summary>The rows of the models, each once.</summary>
    private readonly HashSet<string> _names = [];

    private IReadOnlyList<EvaluationEntry> _entries = [];

    /// <summary>Prepares the measurement.</summary>
    /// <param name="sources">The database that is read from; it stays the caller's, as what follows.</param>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="models">The models, with the folders that were named.</param>
    /// <param name="source">The source that all models read by; null: each by the one that it was trained with.</param>
    /// <param name="window">Tokens of a window.</param>
    /// <param name="seed">Seed of random neighbors.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public TextEvaluation(
        Sources sources,
        ChunkDatabase heldOut,
        (string Path, TrainedModel Trained)[] models,
        string? source,
        int window,
        long seed,
        CancellationToken cancellationToken)
    {
        (_sources, _heldOut, _models, _typed, _seed, _cancellationToken) = (sources, heldOut, models, source, seed, cancellationToken);
        _options = new() { WindowLength = window, KeepTokens = true };

        // The rule, by the source of the first model that reads, with as many and as fresh neighbors as copying has learned to read.
        _copies = models.Select(one => ModelFolder.Copying(one.Path, one.Trained, sources)).FirstOrDefault(one => one is not null);
        int read = Math.Max(RuleNeighbors, models.Max(one => one.Trained.Model.Config.Retrieval?.Neighbors ?? 0));
        _kept = Math.Max(Sources.TableNeighbors(read), _copies?.Neighbors ?? 0);
        _source = SourceOf(models.Select(one => ModelFolder.Source(one.Path, one.Trained)).FirstOrDefault(one => one is not null));
    }

    /// <summary>Measures all models, and the rules on top of the first decoder.</summary>
    /// <returns>Every row, and those of the models by how much the text has in common with its neighbors.</returns>
    public (EvaluationTable Table, LeakageTable Leakage) Measure()
    {
        (PointerRule[] rules, PointerRule? fresh) = Rules();
        NeighborTable found = TableOf(_source), random = TableOf(new RandomNeighborSource(_sources.Database, _seed));

        // The same rule without a retriever, the stronger one as a rule: training has to beat it, too.
        (TokenIndex, double[])? runs = null;
        if (Sources.CanSort(_sources.Database))
        {
            TokenIndex index = _sources.Runs();
            runs = (index, Stages.Run(
                "count runs", progress => RunReader.CountPrecisions(index, progress: progress, cancellationToken: _cancellationToken)));
        }

        Comparison comparison = new(_heldOut, _sources.Database, found, random, rules, _seed, runs);
        string? baseline = null, freshRule = null;
        foreach ((string path, TrainedModel trained) in _models.OrderBy(one => one.Trained.Model.Config.HasRetrieval))
        {
            if (trained.Model.Config.HasRetrieval)
            {
                Retro(path, trained);
            }
            else
            {
                Decoder(path, trained);
            }
        }

        _entries = comparison.Entries;
        string rule = comparison.RuleOn(baseline!, RuleNeighbors);
        string[] against = [baseline!, rule, .. new[] { freshRule, runs is null ? null : comparison.RunsOn(baseline!) }.OfType<string>()];
        EvaluationTable table = EvaluationTable.Of(_entries, against) with
        {
            TextLoss = TextLoss.Of(_heldOut, _sources.Tokenizer, cancellationToken: _cancellationToken),
        };
        double[] bytes = LeakageCurve.ChunkBytes(_heldOut, _sources.Tokenizer);
        LeakageCurve curve = Stages.Run(
            "compare chunks with their neighbors",
            progress => LeakageCurve.Compute(_heldOut, found, bytes, RuleNeighbors, progress: progress, cancellationToken: _cancellationToken));
        _names.UnionWith(against);
        return (table, LeakageTable.Of(curve, [.. _entries.Where(entry => _names.Contains(entry.Reader))]));

        void Decoder(string path, TrainedModel trained)
        {
            using CopyReader? copying = ModelFolder.Copying(path, trained, _sources);

            // What copying was trained on top of is often among the models, under another name.
            Measured? same = copying is null ? null : _measured.FirstOrDefault(one => one.Trained.HasSameWeights(trained));
            string closed = same?.Off ?? Named(ClosedBook, path);
            if (same is null)
            {
                comparison.ClosedBook(closed, trained, _options, _cancellationToken);
                if (baseline is null && fresh is not null)
                {
                    freshRule = $"{closed} + pointer rule, k = {fresh.Neighbors}, every {fresh.ChunkLength} tokens";
                    PointerReader asking = new(new DecoderReader(trained.Model, closed), fresh, freshRule);
                    comparison.Asking(asking, trained, _source, _options, _cancellationToken);
                }

                baseline ??= closed;
            }

            string shown = copying is null ? closed : Named(ModelFolder.NameOfCopying(copying.Database is not null), path);
            string? trainedWith = ModelFolder.Source(path, trained);
            INeighborSource own = SourceOf(trainedWith);
            if (copying is not null)
            {
                comparison.Copying(shown, copying, trained, own, [], _options, _cancellationToken, trainedWith);
            }

            _measured.Add(new(path, shown, closed, trained, own));
        }

        void Retro(string path, TrainedModel trained)
        {
            string name = Named(Retrieving, path), off = $"{name} off", trainedWith = ModelFolder.Source(path, trained)!;

            // Where there is no decoder to compare with, its own retrieval off stands in for one.
            if (baseline is null)
            {
                baseline = off;
                comparison.ClosedBook(off, trained, _options, _cancellationToken);
            }

            INeighborSource own = SourceOf(trainedWith);
            _measured.Add(new(path, name, off, trained, own));
            comparison.Retro(name, trained, trainedWith, [], _options, _cancellationToken, off: baseline != off, TableOf(own));
        }
    }

    /// <summary>Writes what each held-out token cost each reader.</summary>
    /// <param name="path">The file.</param>
    public void WriteTokens(string path)
    {
        Dictionary<string, BitsPerByteResult> results = _entries.ToDictionary(entry => entry.Reader, entry => entry.Results[0]);
        Stages.Run("write token records", progress => TokenRecords.Write(
            path, _heldOut, results, TableOf(_source), RuleNeighbors, progress: progress, cancellationToken: _cancellationToken));
    }

    /// <summary>Shows what was read, the text, and how the models were trained.</summary>
    public void AddTo(RunReport report)
    {
        Inspect(report);
        report.Corpus(_sources.Database, _heldOut);
        foreach ((string path, string name, _, TrainedModel trained, _) in _measured)
        {
            Workspace workspace = Workspace.OfModel(path);
            string steps = Path.Combine(workspace.Model, RunReport.StepsFile);
            report.Training(name, File.Exists(steps) ? JsonLinesObserver.Read(steps) : []);
            string? settings = File.Exists(workspace.SettingsPath) ? File.ReadAllText(workspace.SettingsPath) : null;
            report.Configuration(name, workspace.Model, trained.Model.Config, settings);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (NeighborTable one in _tables.Values)
        {
            one.Dispose();
        }

        _copies?.Dispose();
    }

    /// <summary>The pointer rule by the neighbors of tables, and, where a model copies, as it asks for neighbors: what its learning has to beat.</summary>
    private (PointerRule[] Rules, PointerRule? Fresh) Rules()
    {
        ChunkDatabase database = _sources.Database;
        using NeighborTable neighbors = Stages.Make(
            "find neighbors",
            progress => NeighborTable.Build(database, _source, _kept, progress: progress, cancellationToken: _cancellationToken),
            _cancellationToken);
        PointerRule[] rules = [Rule(2), Rule(RuleNeighbors)];
        return (rules, _copies is not null && Rule(_copies.Neighbors) is var counted
            ? new(_copies.Neighbors, _copies.Options.Stride, counted.RetrievedLength, counted.Precisions)
            : null);

        PointerRule Rule(int k) => Stages.Run(
            $"count the pointer rule, k = {k}", progress => PointerRule.Count(database, neighbors, new() { Neighbors = k }, progress, _cancellationToken));
    }

    /// <summary>Shows, token by token, what the first model that reads gained on some held-out documents.</summary>
    private void Inspect(RunReport report)
    {
        BitsPerByteResult? Result(string name) => _entries.FirstOrDefault(entry => entry.Reader == name)?.Results[0];
        foreach ((string path, string on, string off, TrainedModel trained, INeighborSource source) in _measured)
        {
            using CopyReader? copying = ModelFolder.Copying(path, trained, _sources);
            IReader? reader = copying is not null ? copying : trained.Model.Config.HasRetrieval ? new RetroReader(trained.Model) : null;
            if (reader is null || source.Database is null || Result(on) is not { TokenBits: { } onBits } || Result(off) is not { TokenBits: { } offBits })
            {
                continue;
            }

            Inspection inspection = new(_sources.Database, _sources.Tokenizer, reader, source, _sources.Ready());
            report.Page.Heading($"What {on} read").Html(Inspection.Legend);
            foreach (DocumentEntry document in HeldOutSample.Evenly(_heldOut, MostInspected))
            {
                int[] tokens = Inspection.Tokens(_heldOut, document, InspectedTokens);
                int first = (int)document.FirstChunk * _heldOut.ChunkLength;
                double[] Bits(IReadOnlyList<float> all) => [.. Enumerable.Range(first, tokens.Length).Select(place => (double)all[place])];
                report.Page.Heading(Passages.Name(document.Title, document.Id), 3).Paragraph(document.Location, soft: true)
                    .Html(inspection.Show(tokens, Bits(offBits), Bits(onBits), [], _cancellationToken));
            }

            return;
        }
    }

    private INeighborSource SourceOf(string? trainedWith)
    {
        string said = _typed ?? trainedWith ?? "bm25";
        return _opened.TryGetValue(said, out INeighborSource? open) ? open : _opened[said] = _sources.Open(said, _seed);
    }

    private NeighborTable TableOf(INeighborSource from) => _tables.TryGetValue(from.Name, out NeighborTable? there)
        ? there
        : _tables[from.Name] = Stages.Make(
            from is RandomNeighborSource ? "draw random neighbors" : $"find held-out neighbors, {from.Name}",
            progress => NeighborTable.Build(_heldOut, from, _kept, excludeOwnDocument: false, progress, _cancellationToken),
            _cancellationToken);

    private string Named(string kind, string path)
    {
        string name = _names.Add(kind) ? kind : $"{kind} of {path}";
        _names.Add(name);
        return name;
    }

    /// <summary>A model that was measured.</summary>
    /// <param name="Path">The folder that was named.</param>
    /// <param name="Name">Its row; of what copies and of a RETRO, that with retrieval on.</param>
    /// <param name="Off">The row of its decoder.</param>
    /// <param name="Trained">The model.</param>
    /// <param name="Source">The source that it reads by.</param>
    private sealed record Measured(string Path, string Name, string Off, TrainedModel Trained, INeighborSource Source);
}
