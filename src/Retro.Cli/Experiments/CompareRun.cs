using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro;
using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli.Experiments;

/// <summary>From text to the table: every way to use what was retrieved, and every way to retrieve, on the same text and the same held-out documents.</summary>
/// <param name="options">What every experiment is told; the seed is the first of several, and the others follow it.</param>
internal sealed class CompareRun(ExperimentOptions options)
{
    private const int WindowTokens = 512;

    /// <summary>Neighbors of every chunk of the training text.</summary>
    private const int TableNeighbors = 8;

    private const int Copied = 16;

    private const string AllModels = "models", ReportFile = "compare.md";

    private const string ClosedBook = "closed book", LongerClosedBook = "closed book, the longest training's time", Retrieving = "RETRO";

    /// <summary>The embedder that learns from the text alone, and the RETRO by it, which those that learn from a reader are compared with.</summary>
    private const string Cloze = "inverse cloze", By = "RETRO, neighbors by ", Frozen = By + Cloze;

    /// <summary>What a query tower can be trained by. With a reader that stays as it is, EMDR² is RAG-Token's objective, which has one row.</summary>
    private static readonly RetrieverObjective[] s_objectives =
    [
        RetrieverObjective.SequenceMarginal, RetrieverObjective.TokenMarginal, RetrieverObjective.Realm,
        RetrieverObjective.PerplexityDistillation(), RetrieverObjective.LanguageModelSupervision(1), RetrieverObjective.LeaveOneOut(),
        RetrieverObjective.Variational(), RetrieverObjective.JointStochastic(),
    ];

    /// <summary>Files of a database that chunks are found by: by their words, and by their vectors.</summary>
    private static readonly string[] s_words = ["bm25.bin"], s_vectors = ["keys.bin", "index.faiss", "unkeyed.bin"];

    private readonly CompareTable _table = new();
    private readonly BitsPerByteOptions _measure = new() { WindowLength = WindowTokens };
    private readonly InContextOptions _prompt = new() { WindowLength = WindowTokens };

    /// <summary>Characters of held-out text, a quarter of the documents for what has to be fitted; the longest documents are cut.</summary>
    public required long MeasuredCharacters { get; init; }

    /// <summary>How many times everything is trained, each time with another seed.</summary>
    public required int Seeds { get; init; }

    /// <summary>Steps of the decoder; what is learned on top of it takes half as many, and a retriever a sixth.</summary>
    public required int Steps { get; init; }

    private int FittingSteps => Recipe.Fitting(Steps);

    private int RetrieverSteps => Math.Max(1, Steps / 6);

    /// <summary>Runs everything, prints the table and writes it, after every seed anew.</summary>
    /// <returns>The table for programs.</returns>
    public JsonObject Run(CancellationToken cancellationToken)
    {
        // --- text and databases ---
        // Enough documents are held out for an interval, and a quarter beside for what has to be fitted.
        SampleCorpus corpus = SampleCorpus.Read(
            options.Corpus,
            options.MostBytes,
            1,
            options.Reading,
            cancellationToken,
            EvaluationData.LeastHeldOut,
            (MeasuredCharacters, WindowTokens));

        // What has to be fitted to other text than was trained on is fitted to every fourth of the held-out documents, which is then not measured.
        Document[] forFitting = [.. corpus.HeldOut.Where((_, i) => i % 4 == 0)], measured = [.. corpus.HeldOut.Where((_, i) => i % 4 != 0)];
        if (measured.Length == 0)
        {
            throw new CorpusException(
                $"Of {Amount.Of(corpus.HeldOut.Count, "held-out document")} a quarter, one at least, is for what has to be fitted, and none is left to "
                    + "measure; give at least 8 documents, or raise --megabytes.");
        }

        using RunFolder folder = RunFolder.Take(options, "compare readers");
        folder.Replace(AllModels, ReportFile);
        using EvaluationData data = EvaluationData.Make(corpus with { HeldOut = measured }, folder.Path, TableNeighbors, cancellationToken);
        using ChunkDatabase validation = EvaluationData.Cut(
            "cut chunks, validation", folder["validation"], forFitting, data.Tokenizer, cancellationToken);
        ChunkDatabase database = data.Database;
        Compared compared = new(data, validation);

        // --- training and measurement, seed by seed ---
        (RetroConfig decoder, RetrievalConfig retrieval) = TrainedModel.Config(data.Tokenizer.VocabularySize);
        for (int i = 0; i < Seeds; i++)
        {
            long seed = options.Seed + i;
            string models = Path.Combine(folder[AllModels], $"{seed}"), closedBook = Path.Combine(models, "closed-book");
            Recipe recipe = new(seed, options.Dtype, options.Device);
            WindowSampler alone = recipe.Windows(database), reading = recipe.Windows(database, data.Neighbors, retrieval);
            TrainedModel byStep = Train(ClosedBook, alone, recipe, null, closedBook);
            int before = _table.Count;
            using (RetroModel model = byStep.Model)
            {
                OnDecoder(compared, byStep, seed, Path.Combine(models, "states", "states.bin"), cancellationToken);
            }

            TrainedModel fitted = recipe.Fit(
                $"fit {Retrieving}, seed {seed}", closedBook, retrieval, reading, FittingSteps, Path.Combine(models, "retro"), cancellationToken);
            using (RetroModel model = fitted.Model)
            {
                TimeSpan time = byStep.Time + fitted.Time;
                Asking(Retrieving, new RetroReader(model), compared, compared.Keyword, time, cancellationToken);
                InContextOptions best = _prompt with { Neighbors = 1 + retrieval.Neighbors, PrefixLength = 160 };
                RetroInContextReader both = new(model, data.Tokenizer, best);
                Asking("RETRO, best in context (RETRO++)", both, compared, compared.Keyword, time, cancellationToken);
                Retrievers(compared, corpus, model, time, seed, cancellationToken);
            }

            TrainedModel byTime = Train(LongerClosedBook, alone, recipe, _table.LongestTraining(before), Path.Combine(models, "closed-book-longest"));
            using (RetroModel model = byTime.Model)
            {
                Alone(LongerClosedBook, new DecoderReader(model), compared, "nothing", 0, byTime.Time, cancellationToken);
            }

            Report();
        }

        JsonObject json = _table.ToJson(ClosedBook, Frozen);
        json["dtype"] = CommonOptions.NameOf(options.Dtype);
        return json;

        TrainedModel Train(string name, WindowSampler windows, Recipe recipe, TimeSpan? budget, string at)
            => recipe.Train($"train {name}, seed {recipe.Seed}", decoder, windows, Steps, at, cancellationToken, budget);

        // What all seeds so far say; the last one's stays.
        void Report()
        {
            string report = string.Create(CultureInfo.InvariantCulture, $"""
                # Every way to use what was retrieved, and to retrieve it

                {corpus.Kind}: {corpus.Training.Count:#,0} documents, {database.ChunkCount:#,0} chunks, to train on and retrieve from;
                {decoder.CountParameters().Total:#,0} parameters, of the RETRO {(decoder with { Retrieval = retrieval }).CountParameters().Total:#,0};
                {Steps:#,0} steps of the decoder, {FittingSteps:#,0} of what is learned on top of it, which leaves it as it is, and {RetrieverSteps:#,0} of each query tower;
                models in {CommonOptions.NameOf(options.Dtype)}.
                Of {Amount.Of(corpus.HeldOut.Count, "held-out document")} a quarter is for what has to be fitted to other text, the others are measured; {corpus.Cut:#,0} of all are cut to their beginning.

                {_table.ToMarkdown(ClosedBook, Frozen)}
                """);
            Stages.Report(folder[ReportFile], report);
        }
    }

    /// <summary>The readers on top of a decoder that they leave as it is.</summary>
    private void OnDecoder(Compared compared, TrainedModel decoder, long seed, string states, CancellationToken cancellationToken)
    {
        RetroModel model = decoder.Model;
        DecoderReader alone = new(model);
        Alone(ClosedBook, alone, compared, "nothing", 0, decoder.Time, cancellationToken);
        RunReader runs = new(alone, compared.Data.Runs.Index, compared.Data.Runs.Precisions);
        Alone("longest run", runs, compared, "all runs of tokens", 12 * compared.Database.Manifest.TokenCount, decoder.Time, cancellationToken);
        Asking("in context", new InContextReader(model, compared.Tokenizer, _prompt), compared, compared.Keyword, decoder.Time, cancellationToken);
        (EnsembleReader ensemble, TimeSpan mixing) = Timed("the ensemble's temperature", progress => EnsembleReader.Fit(
            model, compared.Tokenizer, compared.Validation, compared.Keyword, _prompt, progress: progress, cancellationToken: cancellationToken));
        Asking("ensemble (REPLUG)", ensemble, compared, compared.Keyword, decoder.Time + mixing, cancellationToken);

        (TokenStore store, TimeSpan storing) = Timed("nearest states", progress =>
            TokenStore.Build(model, compared.Database, states, new() { WindowLength = WindowTokens }, progress, cancellationToken));
        using (store)
        {
            (NearestNeighborReader nearest, TimeSpan mixed) = Timed("the share of nearest states", progress =>
                NearestNeighborReader.Fit(model, store, compared.Validation, progress: progress, cancellationToken: cancellationToken));
            string reads = string.Create(CultureInfo.InvariantCulture, $"{nearest.States} states a token, λ = {nearest.Share:0.00}");
            long bytes = Directory.GetFiles(Path.GetDirectoryName(states)!).Sum(file => new FileInfo(file).Length);
            Alone("nearest states (kNN-LM)", nearest, compared, reads, bytes, decoder.Time + storing + mixed, cancellationToken);
        }

        CopyReaderOptions copying = new() { Neighbors = Copied, Steps = FittingSteps, Seed = seed };
        (CopyReader copies, TimeSpan learning) = Timed("copying", progress => CopyReader.Fit(
            model, compared.Database, compared.Keyword, copying, progress: progress, cancellationToken: cancellationToken));
        using (copies)
        {
            Asking("copying", copies, compared, compared.Keyword, decoder.Time + learning, cancellationToken);
        }

        DecoupledReaderOptions own = new() { Steps = FittingSteps, WindowLength = WindowTokens, Seed = seed };
        (DecoupledReader attends, TimeSpan attending) = Timed("own attention", progress => DecoupledReader.Fit(
            model, compared.Database, compared.Keyword, own, progress: progress, cancellationToken: cancellationToken));
        using (attends)
        {
            Asking("own attention (DecoupledRAG)", attends, compared, compared.Keyword, decoder.Time + attending, cancellationToken);
        }
    }

    /// <summary>Every way to retrieve, read by one RETRO, which was trained with the neighbors of BM25 and stays as it is.</summary>
    private void Retrievers(Compared compared, SampleCorpus corpus, RetroModel model, TimeSpan time, long seed, CancellationToken cancellationToken)
    {
        RetroReader reader = new(model);
        Row(new RandomNeighborSource(compared.Database, seed), "random", TimeSpan.Zero);
        InverseClozeOptions cloze = new() { Steps = FittingSteps, Seed = seed };
        (TextEmbedder embedder, TimeSpan learning) = Timed("the embedder", progress => InverseClozeTrainer.Train(
            corpus.Training, compared.Tokenizer, options: cloze, device: options.Device, progress: progress, cancellationToken: cancellationToken));
        using TextEmbedder owned = embedder;
        using DenseNeighborSource dense = Stages.Make("embed chunks", progress => DenseNeighborSource.Build(
            compared.Database, new ChunkKeyer(compared.Tokenizer, embedder), progress: progress, cancellationToken: cancellationToken), cancellationToken);
        Row(dense, Cloze, learning);
        Row(new HybridNeighborSource(compared.Keyword, dense), "BM25 and inverse cloze", learning);
        Row(new RerankedNeighborSource(dense, compared.Keyword), "inverse cloze in BM25's order", learning);
        foreach (RetrieverObjective objective in s_objectives)
        {
            // A posterior finds as many again.
            RetrieverTrainingOptions settings = new() { Steps = RetrieverSteps, BatchSize = 8, Neighbors = 4, Seed = seed };
            RetroReader judge = new(model, 2 * settings.Neighbors);
            Stopwatch clock = Stopwatch.StartNew();
            using RetrieverTrainer trainer = new(
                embedder, compared.Tokenizer, dense, judge, objective, settings, heldOut: compared.HeldOut, cancellationToken: cancellationToken);
            Stages.Run($"train a query tower by {objective.Name}", progress => trainer.Run(
                new SynchronousProgress<RetrieverTrainingProgress>(
                    done => progress.Report(new StageProgress("", done.Step, done.Steps) { Loss = double.IsFinite(done.Loss) ? done.Loss : null })),
                cancellationToken));
            TimeSpan training = clock.Elapsed;
            using TextEmbedder queries = trainer.QueryEmbedder();
            string name = objective == RetrieverObjective.TokenMarginal ? $"{objective.Name} (RAG-Token's, EMDR²'s)" : objective.Name;
            Row(new TowerNeighborSource(dense, new ChunkKeyer(compared.Tokenizer, queries)), $"tower by {name}", learning + training);
        }

        void Row(INeighborSource source, string name, TimeSpan own) => Asking(By + name, reader, compared, source, time + own, cancellationToken);
    }

    private void Alone(string name, IReader reader, Compared compared, string reads, long bytes, TimeSpan time, CancellationToken cancellationToken)
        => _table.Measure(
            name,
            reads,
            bytes,
            time,
            progress => BitsPerByte.Measure(reader, compared.HeldOut, options: _measure, progress: progress, cancellationToken: cancellationToken));

    private void Asking(string name, IReader reader, Compared compared, INeighborSource source, TimeSpan time, CancellationToken cancellationToken)
        => _table.Measure(
            name,
            string.Create(CultureInfo.InvariantCulture, $"{source.Name}, k = {reader.Neighbors}"),
            Bytes(compared.Database, source),
            time,
            progress => BitsPerByte.Measure(reader, compared.HeldOut, source, _measure, progress, cancellationToken));

    private static (T Result, TimeSpan Time) Timed<T>(string name, Func<IProgress<StageProgress>, T> work)
    {
        Stopwatch clock = Stopwatch.StartNew();
        T result = Stages.Run($"train {name}", work);
        return (result, clock.Elapsed);
    }

    /// <summary>Bytes of the files that neighbors come from: the texts, and what they are searched by. The table of a training is not among them.</summary>
    private static long Bytes(ChunkDatabase database, INeighborSource source)
    {
        string[] searched = source switch
        {
            RandomNeighborSource => [],
            KeywordNeighborSource => s_words,
            DenseNeighborSource or TowerNeighborSource => s_vectors,
            _ => [.. s_words, .. s_vectors],
        };
        return DatabaseManifest.Load(database.Folder).Files.Where(file => file.MadeFrom is null || searched.Contains(file.Name)).Sum(file => file.Bytes);
    }

    /// <summary>What every reader is trained and measured on.</summary>
    /// <param name="Data">The text.</param>
    /// <param name="Validation">Held-out documents that are not measured.</param>
    private sealed record Compared(EvaluationData Data, ChunkDatabase Validation)
    {
        public ChunkDatabase Database => Data.Database;

        public ChunkDatabase HeldOut => Data.HeldOut;

        public RetroTokenizer Tokenizer => Data.Tokenizer;

        public KeywordNeighborSource Keyword => Data.Keyword;
    }
}
