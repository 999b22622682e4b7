using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Cli.Experiments;
using Retro.Cli.Reports;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using Retro.Cli.Workflow;

namespace Retro.Cli.Quickstart;

/// <summary>The path from text to text with sources, one stage after the other.</summary>
internal sealed class QuickstartRun(QuickstartOptions options)
{
    private const int WindowTokens = 512;

    /// <summary>Windows of a step. Each is a batch of its own, so that those of a step are computed side by side.</summary>
    private const int WindowsPerStep = 2;

    /// <summary>Neighbors of the pointer rule, of which a few are enough too for a RETRO when those of the window's documents are dropped.</summary>
    private const int RuleNeighbors = 8;

    /// <summary>
    /// Held-out characters that are measured for each minute of the run, the longest documents cut, so that measuring ends in its share of the time.
    /// </summary>
    private const int MeasuredPerMinute = 21_000;

    /// <summary>Characters that each held-out document keeps, however short the run.</summary>
    private const int LeastCharacters = 1024;

    /// <summary>Share of the run that is left to measure and to write in.</summary>
    private const double MeasuringShare = 0.3;

    /// <summary>Share of the time to train that the closed book has; copying, which is trained by steps, and retrieval have what is left.</summary>
    private const double ClosedBookShare = 0.5;

    /// <summary>Most steps that copying is trained for; more bring it little.</summary>
    private const int MostCopyingSteps = 300;

    /// <summary>Tokens of a held-out document that start a continuation: its first chunk and a little more, so that something is retrieved at once.</summary>
    private const int PromptTokens = 80;

    private const string ClosedBook = "closed book", Retrieving = "RETRO";

    /// <summary>The folder of the closed book, beside which the file of what copies on top of it lies.</summary>
    internal const string ClosedBookFolder = "closed-book";

    /// <summary>What else a run leaves for one that goes on with it.</summary>
    private const string EmbedderFolder = "embedder", RetroFolder = "checkpoint", TrainingTime = "training.time", CopyingTime = "copying.time";

    private static readonly string s_copying = ModelFolder.NameOfCopying(fromAnywhere: true);

    private readonly Stopwatch _clock = Stopwatch.StartNew();

    /// <summary>Runs everything and prints what came out.</summary>
    /// <returns>The tables for programs.</returns>
    public async Task<JsonObject> RunAsync(CancellationToken cancellationToken)
    {
        // A folder that is no embedder is refused before any work is done.
        TextEmbedder? embedder = options.Embedder is { } pretrained ? Stages.Run("load the embedder", _ => TextEmbedder.Load(pretrained)) : null;

        // --- text ---
        SampleCorpus corpus = SampleCorpus.Read(
            options.Corpus,
            options.MostBytes,
            options.Seed,
            options.Reading,
            cancellationToken,
            EvaluationData.LeastHeldOut,
            ((long)(MeasuredPerMinute * options.Time.TotalMinutes), LeastCharacters));
        string folder = RunFolder.Find(options.Output, options.Corpus);
        if (!options.Resume)
        {
            TakeAwayEarlier(folder);
        }

        // --- database ---
        using EvaluationData data = EvaluationData.Make(
            corpus, folder, Sources.TableNeighbors(RuleNeighbors), cancellationToken, seed: options.Seed);
        (ChunkDatabase database, ChunkDatabase heldOut, RetroTokenizer tokenizer) = (data.Database, data.HeldOut, data.Tokenizer);
        string embedderFolder = Path.Combine(folder, EmbedderFolder);
        bool isTrained = embedder is null && options.Resume && Sources.IsEmbedder(embedderFolder);
        embedder ??= isTrained
            ? Stages.Run("load the embedder", progress => TextEmbedder.Load(embedderFolder, null, progress, cancellationToken))
            : Stages.Run("train the embedder", progress => InverseClozeTrainer.Train(
                corpus.Training,
                tokenizer,
                options: new InverseClozeOptions { TimeBudget = options.Time / 12, Seed = options.Seed },
                progress: progress,
                cancellationToken: cancellationToken));
        using TextEmbedder owned = embedder;
        if (!isTrained)
        {
            TrainedDocuments.Forget(embedderFolder);
            embedder.Save(embedderFolder, cancellationToken: cancellationToken);
        }

        TrainedDocuments documents = TrainedDocuments.Of(database);
        if (options.Embedder is null)
        {
            documents.Save(embedderFolder);
        }

        ChunkKeyer keyer = new(tokenizer, embedder);

        // --- neighbors ---
        using DenseNeighborSource dense = Stages.Make(
            "embed chunks",
            progress => DenseNeighborSource.Build(database, keyer, progress: progress, cancellationToken: cancellationToken),
            cancellationToken);
        HybridNeighborSource hybrid = new(data.Keyword, dense);
        NeighborTable random = FindHeldOut(new RandomNeighborSource(database, options.Seed)), byKeyword = FindHeldOut(data.Keyword),
            byDense = FindHeldOut(dense), byHybrid = FindHeldOut(hybrid);

        // What learning has to beat: the rule that reads the same neighbors as the RETRO, and the one that looks anywhere, as copying does.
        PointerRule rule = Stages.Run($"count the pointer rule, k = {RuleNeighbors}", progress =>
            PointerRule.Count(database, data.Neighbors, new() { Neighbors = RuleNeighbors }, progress, cancellationToken));
        (TokenIndex index, double[] runs) = data.Runs;

        // --- training: the closed book, and on top of it copying and reading ---
        (RetroConfig alone, RetrievalConfig retrieval) = TrainedModel.Config(tokenizer.VocabularySize);
        RetroConfig config = alone with { Retrieval = retrieval };
        WindowSamplerOptions windows = new() { WindowLength = WindowTokens, BatchSize = 1, Neighbors = retrieval.Neighbors, Seed = options.Seed };

        // A run that goes on keeps to the plan of the one that was stopped.
        TimeSpan forTraining = Kept(Path.Combine(folder, TrainingTime), () => Longer(TimeLeft(), options.Time * 0.2)),
            forClosedBook = forTraining * ClosedBookShare;
        long parameters = config.CountParameters().Total, decoderParameters = alone.CountParameters().Total;
        Screen.Note($"{Amount.Of(database.ChunkCount, "chunk")} of {retrieval.ChunkLength} tokens; training for {Amount.OfTime(forTraining)}");
        Screen.Note($"{parameters:#,0} parameters, {decoderParameters:#,0} of them the decoder's");

        string closedBookFolder = Path.Combine(folder, ClosedBookFolder);
        TrainedModel closedBook = TrainedModel.Train(
            $"train {ClosedBook}",
            alone,
            new WindowSampler(database, windows with { Neighbors = 0 }),
            Training(forClosedBook, closedBookFolder) with { Dtype = options.Dtype ?? TrainingOptions.PreferredDtype() },
            cancellationToken,
            resume: options.Resume);
        documents.Save(closedBookFolder);
        using RetroModel decoder = closedBook.Model;
        Stopwatch copyingClock = Stopwatch.StartNew();
        CopyReaderOptions copyOptions = new() { Steps = (int)Math.Clamp(closedBook.Steps, 1, MostCopyingSteps), Seed = options.Seed };
        string copyingFile = Path.Combine(folder, ModelFolder.CopyingFile);
        bool isCopying = options.Resume && File.Exists(copyingFile);
        using CopyReader copying = isCopying ? CopyReader.Load(copyingFile, decoder, index) : Stages.Run(
            $"train {s_copying}",
            progress => CopyReader.Fit(
                decoder, database, data.Keyword, copyOptions, index, progress: progress, cancellationToken: cancellationToken));
        TimeSpan forCopying = Kept(Path.Combine(folder, CopyingTime), () => copyingClock.Elapsed);
        if (!isCopying)
        {
            copying.Save(copyingFile);
        }

        TrainedModel closedBookAndCopying = closedBook.TogetherWith(copyOptions.Steps, forCopying);

        // Windows without neighbors would teach a decoder that is frozen nothing.
        WindowSampler reading = new(database, windows with { RetrievalDropout = 0 }, data.Neighbors);
        TimeSpan forRetro = Longer(forTraining - forClosedBook - forCopying, forClosedBook / 4);
        string retroFolder = Path.Combine(folder, RetroFolder);
        TrainedModel retro = TrainedModel.Fit(
            $"fit {Retrieving}",
            closedBookFolder,
            retrieval,
            reading,
            Training(forRetro, retroFolder) with { Dtype = decoder.Dtype }, // so that, off, it is the closed book
            cancellationToken,
            resume: options.Resume);
        documents.Save(retroFolder);
        using RetroModel model = retro.Model;
        TrainedModel closedBookAndRetro = retro.TogetherWith(closedBook.Steps, closedBook.Time);

        // --- measurement ---
        Comparison comparison = new(heldOut, database, byKeyword, random, [rule], options.Seed, (index, runs));
        BitsPerByteOptions measure = new() { WindowLength = WindowTokens };
        comparison.ClosedBook(ClosedBook, closedBook, measure, cancellationToken);
        comparison.Copying(s_copying, copying, closedBookAndCopying, data.Keyword, [dense, hybrid], measure, cancellationToken);
        comparison.Retro(Retrieving, closedBookAndRetro, data.Keyword.Name, [byDense, byHybrid], measure, cancellationToken);
        IReadOnlyList<EvaluationEntry> entries = comparison.Entries;
        string[] against = [ClosedBook, comparison.RuleOn(ClosedBook, RuleNeighbors), comparison.RunsOn(ClosedBook)];
        double[] bytes = LeakageCurve.ChunkBytes(heldOut, tokenizer);
        LeakageCurve curve = Stages.Run(
            "compare chunks with their neighbors",
            progress => LeakageCurve.Compute(heldOut, byKeyword, bytes, RuleNeighbors, progress: progress, cancellationToken: cancellationToken));
        LeakageTable leakage = LeakageTable.Of(
            curve, [.. against.Concat([s_copying, Retrieving]).Select(name => entries.Single(entry => entry.Reader == name))]);

        // --- text with sources ---
        RetroGenerator generator = new(model, tokenizer, hybrid);
        List<Continuation> continuations = [];
        foreach (string prompt in Prompts(heldOut, tokenizer))
        {
            continuations.Add(await Continuation.GenerateAsync(generator, prompt, options.Seed, cancellationToken).ConfigureAwait(false));
        }

        EvaluationTable table = EvaluationTable.Of(entries, against);
        (string, List<TrainingProgress>)[] trainings = [(ClosedBook, closedBook.Reports), (Retrieving, retro.Reports)];
        Report report = new(options, corpus, config, database, table, leakage, copyOptions, trainings, continuations, _clock.Elapsed);
        report.Print();
        string path = report.Write(folder);
        Screen.Note($"\nReport: {Path.GetFullPath(path)}   (the whole run took {Amount.OfTime(_clock.Elapsed)})");
        return ResultsJson.Of(table, leakage);

        NeighborTable FindHeldOut(INeighborSource source) => data.Find(source, neighbors: RuleNeighbors);

        TrainingOptions Training(TimeSpan time, string checkpoint) => TrainingOptions.SmallModel with
        {
            Accumulation = WindowsPerStep, TimeBudget = time, CheckpointFolder = checkpoint, Seed = options.Seed,
        };
    }

    /// <summary>
    /// Takes away what an earlier run has trained: else a run that goes on with this one would take that run's for this one's. An embedder that was named is no
    /// run's, and may be what lies there.
    /// </summary>
    private void TakeAwayEarlier(string folder)
    {
        foreach (string trained in new[] { options.Embedder is null ? EmbedderFolder : null, ClosedBookFolder, RetroFolder }
            .OfType<string>()
            .Select(name => Path.Combine(folder, name))
            .Where(Directory.Exists))
        {
            Directory.Delete(trained, recursive: true);
        }

        foreach (string file in new[] { ModelFolder.CopyingFile, TrainingTime, CopyingTime })
        {
            File.Delete(Path.Combine(folder, file));
        }
    }

    /// <summary>What is left of the run's time before the measurement; it can be less than none.</summary>
    private TimeSpan TimeLeft() => options.Time - _clock.Elapsed - (options.Time * MeasuringShare);

    /// <summary>A time as the run that goes on has kept it, or one that is kept for such a run.</summary>
    private TimeSpan Kept(string path, Func<TimeSpan> time)
    {
        if (options.Resume && File.Exists(path) && TimeSpan.TryParseExact(File.ReadAllText(path), "c", CultureInfo.InvariantCulture, out TimeSpan kept))
        {
            return kept;
        }

        TimeSpan now = time();
        Workspace.WriteText(path, now.ToString("c", CultureInfo.InvariantCulture));
        return now;
    }

    private static TimeSpan Longer(TimeSpan one, TimeSpan other) => one > other ? one : other;

    /// <summary>The beginnings of the two held-out documents with the most text after them.</summary>
    private static IEnumerable<string> Prompts(ChunkDatabase heldOut, RetroTokenizer tokenizer)
        => heldOut.Documents.OrderByDescending(document => document.TokenCount).ThenBy(document => document.Id, StringComparer.Ordinal).Take(2)
            .Select(document => tokenizer.Decode(heldOut.TokensOf(document).Take(PromptTokens).ToArray()));
}
