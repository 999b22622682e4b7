using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli.Workflow;

/// <summary>From text to the table: every way to use what was retrieved, and every way to retrieve, on the same text and the same held-out documents.</summary>
internal sealed class CompareRun(CompareOptions options)
{
    private const int WindowTokens = 512;

    /// <summary>Neighbors of every chunk of the training text.</summary>
    private const int TableNeighbors = 8;

    private const int Copied = 16;

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
            (options.MeasuredCharacters, WindowTokens));
        string folder = SampleCorpus.Folder(options.Output, options.Corpus), allModels = Path.Combine(folder, "models");
        string file = Path.Combine(folder, "compare.md");
        using WriterLock writing = WriterLock.Take(folder, "compare readers");
        SampleCorpus.Replace(allModels, options.StartOver, file, goesOn: false);
        RetroTokenizer tokenizer = EvaluationData.TrainTokenizer(corpus.Training, folder, cancellationToken);

        // What has to be fitted to other text than was trained on is fitted to every fourth of the held-out documents, which is then not measured.
        using ChunkDatabase database = Build("database", corpus.Training);
        using ChunkDatabase heldOut = Build("held-out", corpus.HeldOut.Where((_, i) => i % 4 != 0));
        using ChunkDatabase validation = Build("validation", corpus.HeldOut.Where((_, i) => i % 4 == 0));
        Stages.Run("look for held-out documents in the database", progress =>
            HeldOut.Require(heldOut, database, tokenizer, progress: progress, cancellationToken: cancellationToken));

        // --- what is read from ---
        using KeywordNeighborSource keyword = EvaluationData.Words(database, cancellationToken);
        using NeighborTable neighbors = Stages.Make(
            "find neighbors",
            progress => NeighborTable.Build(database, keyword, TableNeighbors, progress: progress, cancellationToken: cancellationToken),
            cancellationToken);
        TokenIndex runs = Stages.Run("sort runs of tokens", progress => TokenIndex.Build(database, progress, cancellationToken));
        double[] precisions = Stages.Run("count runs", progress => RunReader.CountPrecisions(runs, progress: progress, cancellationToken: cancellationToken));
        Compared compared = new(database, heldOut, validation, tokenizer, keyword, runs, precisions);

        // --- training and measurement, seed by seed ---
        (RetroConfig decoder, RetrievalConfig retrieval) = TrainedModel.Config(tokenizer.VocabularySize);
        for (int seed = 1; seed <= options.Seeds; seed++)
        {
            string models = Path.Combine(allModels, $"{seed}"), closedBook = Path.Combine(models, "closed-book");
            Recipe recipe = new(seed, options.Dtype, options.Device);
            WindowSampler alone = recipe.Windows(database), reading = recipe.Windows(database, neighbors, retrieval);
            TrainedModel byStep = Train(ClosedBook, alone, recipe, null, closedBook);
            int before = _table.Count;
            using (RetroModel model = byStep.Model)
            {
                OnDecoder(compared, byStep, seed, Path.Combine(models, "states", "states.bin"), cancellationToken);
            }

            TrainedModel fitted = TrainedModel.Fit(
                $"fit {Retrieving}, seed {seed}",
                closedBook,
                retrieval,
                reading,
                recipe.Training(options.FittingSteps, Path.Combine(models, "retro")),
                cancellationToken,
                options.Device);
            using (RetroModel model = fitted.Model)
            {
                TimeSpan time = byStep.Time + fitted.Time;
                Asking(Retrieving, new RetroReader(model), compared, compared.Keyword, time, cancellationToken);
                InContextOptions best = _prompt with { Neighbors = 1 + retrieval.Neighbors, PrefixLength = 160 };
                RetroInContextReader both = new(model, tokenizer, best);
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

        ChunkDatabase Build(string name, IEnumerable<Retro.Corpora.Document> documents)
            => EvaluationData.Cut($"cut chunks, {name}", Path.Combine(folder, name), documents, tokenizer, cancellationToken);

        TrainedModel Train(string name, WindowSampler windows, Recipe recipe, TimeSpan? budget, string at) => TrainedModel.Train(
            $"train {name}, seed {recipe.Seed}", decoder, windows, recipe.Training(options.Steps, at, budget), cancellationToken, options.Device);

        // What all seeds so far say; the last one's stays.
        void Report()
        {
            string report = string.Create(CultureInfo.InvariantCulture, $"""
                # Every way to use what was retrieved, and to retrieve it

                {corpus.Kind}: {corpus.Training.Count:#,0} documents, {database.ChunkCount:#,0} chunks, to train on and retrieve from;
                {decoder.CountParameters().Total:#,0} parameters, of the RETRO {(decoder with { Retrieval = retrieval }).CountParameters().Total:#,0};
                {options.Steps:#,0} steps of the decoder, {options.FittingSteps:#,0} of what is learned on top of it, which leaves it as it is, and {options.RetrieverSteps:#,0} of each query tower;
                models in {CommonOptions.NameOf(options.Dtype)}.
                Of {Amount.Of(corpus.HeldOut.Count, "held-out document")} a quarter is for what has to be fitted to other text, the others are measured; {corpus.Cut:#,0} of all are cut to their beginning.

                {_table.ToMarkdown(ClosedBook, Frozen)}
                """);
            Stages.Report(file, report);
        }
    }

    /// <summary>The readers on top of a decoder that they leave as it is.</summary>
    private void OnDecoder(Compared compared, TrainedModel decoder, int seed, string states, CancellationToken cancellationToken)
    {
        RetroModel model = decoder.Model;
        DecoderReader alone = new(model);
        Alone(ClosedBook, alone, compared, "nothing", 0, decoder.Time, cancellationToken);
        RunReader runs = new(alone, compared.Runs, compared.Precisions);
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

        CopyReaderOptions copying = new() { Neighbors = Copied, Steps = options.FittingSteps, Seed = seed };
        (CopyReader copies, TimeSpan learning) = Timed("copying", progress => CopyReader.Fit(
            model, compared.Database, compared.Keyword, copying, progress: progress, cancellationToken: cancellationToken));
        using (copies)
        {
            Asking("copying", copies, compared, compared.Keyword, decoder.Time + learning, cancellationToken);
        }

        DecoupledReaderOptions own = new() { Steps = options.FittingSteps, WindowLength = WindowTokens, Seed = seed };
        (DecoupledReader attends, TimeSpan attending) = Timed("own attention", progress => DecoupledReader.Fit(
            model, compared.Database, compared.Keyword, own, progress: progress, cancellationToken: cancellationToken));
        using (attends)
        {
            Asking("own attention (DecoupledRAG)", attends, compared, compared.Keyword, decoder.Time + attending, cancellationToken);
        }
    }

    /// <summary>Every way to retrieve, read by one RETRO, which was trained with the neighbors of BM25 and stays as it is.</summary>
    private void Retrievers(Compared compared, SampleCorpus corpus, RetroModel model, TimeSpan time, int seed, CancellationToken cancellationToken)
    {
        RetroReader reader = new(model);
        Row(new RandomNeighborSource(compared.Database, seed), "random", TimeSpan.Zero);
        InverseClozeOptions cloze = new() { Steps = options.FittingSteps, Seed = seed };
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
            RetrieverTrainingOptions settings = new() { Steps = options.RetrieverSteps, BatchSize = 8, Neighbors = 4, Seed = seed };
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
    private sealed record Compared(
        ChunkDatabase Database,
        ChunkDatabase HeldOut,
        ChunkDatabase Validation,
        RetroTokenizer Tokenizer,
        KeywordNeighborSource Keyword,
        TokenIndex Runs,
        double[] Precisions);
}
