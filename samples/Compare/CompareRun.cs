using System.Diagnostics;
using System.Globalization;
using Retro;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using Samples;
using Spectre.Console;

namespace Compare;

/// <summary>From text to the table: every way to use what was retrieved, on the same text and the same held-out documents.</summary>
internal sealed class CompareRun(CompareOptions options)
{
    private const int Vocabulary = 2048;
    private const int WindowTokens = 512;
    private const int WindowsPerStep = 2;

    /// <summary>Documents held out at least: enough of them for an interval, and a quarter beside for what has to be fitted.</summary>
    private const int LeastHeldOut = 60;

    /// <summary>Neighbors of every chunk of the training text.</summary>
    private const int TableNeighbors = 8;

    private const int Copied = 16;

    private const string ClosedBook = "closed book", LongerClosedBook = "closed book, the longest training's time";

    /// <summary>Windows computed at once: each core of a processor takes one, an accelerator all of a step.</summary>
    private int Together => options.Device is null ? 1 : WindowsPerStep;

    /// <summary>Runs everything, prints the table and writes it, after every seed anew.</summary>
    public Task RunAsync(CancellationToken cancellationToken)
    {
        // --- text and databases ---
        SampleCorpus corpus = SampleCorpus.Read(options.Corpus, options.MostBytes, 1, options.SkipBroken, cancellationToken, LeastHeldOut);
        string folder = SampleCorpus.Folder(options.Output, options.Corpus), allModels = Path.Combine(folder, "models");
        if (Directory.Exists(allModels))
        {
            Directory.Delete(allModels, recursive: true);
        }

        RetroTokenizer tokenizer = Stages.Run(
            "train the tokenizer",
            progress => BpeTrainer.Train(corpus.Training.Select(d => d.Text), Vocabulary, Path.Combine(folder, "tokenizer"), progress, cancellationToken));
        ChunkDatabaseOptions chunks = new() { StartOver = true };
        var heldOutDocuments = corpus.HeldOutWithin(options.MeasuredCharacters, WindowTokens).Documents;

        // What has to be fitted to other text than was trained on is fitted to every fourth of the held-out documents, which is then not measured.
        using ChunkDatabase database = Build("database", corpus.Training);
        using ChunkDatabase heldOut = Build("held-out", heldOutDocuments.Where((_, i) => i % 4 != 0));
        using ChunkDatabase validation = Build("validation", heldOutDocuments.Where((_, i) => i % 4 == 0));
        Stages.Run("look for held-out documents in the database", progress =>
            HeldOut.Require(heldOut, database, tokenizer, progress: progress, cancellationToken: cancellationToken));

        // --- what is read from ---
        using KeywordNeighborSource keyword = Stages.Run(
            "index words", progress => KeywordNeighborSource.Build(database, progress: progress, cancellationToken: cancellationToken));
        long searched = DatabaseManifest.Load(database.Folder).Files.Sum(file => file.Bytes);
        using NeighborTable neighbors = Stages.Run(
            "find neighbors", progress => NeighborTable.Build(database, keyword, TableNeighbors, progress: progress, cancellationToken: cancellationToken));
        TokenIndex runs = Stages.Run("sort runs of tokens", progress => TokenIndex.Build(database, progress, cancellationToken));
        double[] precisions = Stages.Run("count runs", progress => RunReader.CountPrecisions(runs, progress: progress, cancellationToken: cancellationToken));

        // --- training and measurement, seed by seed ---
        (RetroConfig decoder, RetrievalConfig retrieval) = TrainedModel.Config(tokenizer.VocabularySize);
        InContextOptions prompt = new() { WindowLength = WindowTokens };
        BitsPerByteOptions measure = new() { WindowLength = WindowTokens };
        CompareTable table = new();
        for (int seed = 1; seed <= options.Seeds; seed++)
        {
            WindowSamplerOptions windows = new()
            {
                WindowLength = WindowTokens,
                BatchSize = Together,
                Seed = seed,
                Neighbors = retrieval.Neighbors,
                RetrievedLength = retrieval.RetrievedLength,
            };

            // Windows without neighbors would teach a decoder that is frozen nothing.
            WindowSampler alone = new(database, windows with { Neighbors = 0 }), reading = new(database, windows with { RetrievalDropout = 0 }, neighbors);
            string models = Path.Combine(allModels, $"{seed}"), closedBook = Path.Combine(models, "closed-book");
            TrainedModel byStep = Train(ClosedBook, alone, seed, null, closedBook);
            TimeSpan longest, time = byStep.Time;
            using (RetroModel model = byStep.Model)
            {
                longest = time;
                Alone(ClosedBook, new DecoderReader(model), "nothing", 0, time);
                Alone("longest run", new RunReader(new DecoderReader(model), runs, precisions), "all runs of tokens", 12 * database.Manifest.TokenCount, time);
                Asking("in context", new InContextReader(model, tokenizer, prompt), time);
                EnsembleReader ensemble = Timed("the ensemble's temperature", ref time, progress =>
                    EnsembleReader.Fit(model, tokenizer, validation, keyword, prompt, progress: progress, cancellationToken: cancellationToken));
                Asking("ensemble (REPLUG)", ensemble, time);
                time = longest;
                string states = Path.Combine(models, "states", "states.bin");
                (NearestNeighborReader Reader, TokenStore Store) nearest = Timed("nearest states", ref time, progress =>
                {
                    TokenStore store = TokenStore.Build(model, database, states, new() { WindowLength = WindowTokens }, progress, cancellationToken);
                    return (NearestNeighborReader.Fit(model, store, validation, progress: progress, cancellationToken: cancellationToken), store);
                });
                using (nearest.Store)
                {
                    long bytes = Directory.GetFiles(Path.GetDirectoryName(states)!).Sum(file => new FileInfo(file).Length);
                    string reads = string.Create(CultureInfo.InvariantCulture, $"{nearest.Reader.States} states a token, λ = {nearest.Reader.Share:0.00}");
                    Alone("nearest states (kNN-LM)", nearest.Reader, reads, bytes, time);
                }

                time = longest;
                CopyReaderOptions copying = new() { Neighbors = Copied, Steps = FittingSteps, Seed = seed };
                using (CopyReader reader = Timed("copying", ref time, progress =>
                    CopyReader.Fit(model, database, keyword, copying, progress: progress, cancellationToken: cancellationToken)))
                {
                    Asking("copying", reader, time);
                }

                (TimeSpan copied, time) = (time, longest);
                DecoupledReaderOptions own = new() { Steps = FittingSteps, WindowLength = WindowTokens, Seed = seed };
                using (DecoupledReader reader = Timed("own attention", ref time, progress =>
                    DecoupledReader.Fit(model, database, keyword, own, progress: progress, cancellationToken: cancellationToken)))
                {
                    Asking("own attention (DecoupledRAG)", reader, time);
                }

                longest = new[] { longest, copied, time }.Max();
            }

            TrainedModel fitted = TrainedModel.Fit(
                $"fit RETRO, seed {seed}",
                closedBook,
                retrieval,
                reading,
                Training(seed, FittingSteps, null, Path.Combine(models, "retro")),
                cancellationToken,
                options.Device);
            using (RetroModel model = fitted.Model)
            {
                time = byStep.Time + fitted.Time;
                Asking("RETRO", new RetroReader(model), time);
                InContextOptions best = prompt with { Neighbors = 1 + retrieval.Neighbors, PrefixLength = 160 };
                Asking("RETRO, best in context (RETRO++)", new RetroInContextReader(model, tokenizer, best), time);
                longest = time > longest ? time : longest;
            }

            TrainedModel byTime = Train(LongerClosedBook, alone, seed, longest, Path.Combine(models, "closed-book-longest"));
            using (RetroModel model = byTime.Model)
            {
                Alone(LongerClosedBook, new DecoderReader(model), "nothing", 0, byTime.Time);
            }

            Report();
        }

        return Task.CompletedTask;

        ChunkDatabase Build(string name, IEnumerable<Retro.Corpora.Document> documents) => Stages.Run(
            $"cut chunks, {name}",
            progress => ChunkDatabaseBuilder.Build(Path.Combine(folder, name), documents, tokenizer, chunks, progress, cancellationToken));

        void Alone(string name, IReader reader, string reads, long bytes, TimeSpan time) => table.Measure(
            name, reads, bytes, time, progress => BitsPerByte.Measure(reader, heldOut, null, null, measure, progress, cancellationToken));

        void Asking(string name, IReader reader, TimeSpan time) => table.Measure(
            name,
            string.Create(CultureInfo.InvariantCulture, $"{keyword.Name}, k = {reader.Neighbors}"),
            searched,
            time,
            progress => BitsPerByte.Measure(reader, heldOut, keyword, measure, progress, cancellationToken));

        TrainedModel Train(string name, WindowSampler windows, int seed, TimeSpan? budget, string folderName) => TrainedModel.Train(
            $"train {name}, seed {seed}", decoder, windows, Training(seed, options.Steps, budget, folderName), cancellationToken, options.Device);

        T Timed<T>(string name, ref TimeSpan time, Func<IProgress<StageProgress>, T> work)
        {
            Stopwatch clock = Stopwatch.StartNew();
            T result = Stages.Run($"train {name}", work);
            time += clock.Elapsed;
            return result;
        }

        // What all seeds so far say; the last one's stays.
        void Report()
        {
            string file = Path.Combine(folder, "compare.md");
            string report = string.Create(CultureInfo.InvariantCulture, $"""
                # Every way to use what was retrieved

                {corpus.Kind}: {corpus.Training.Count:#,0} documents, {database.ChunkCount:#,0} chunks, to train on and retrieve from;
                {decoder.CountParameters().Total:#,0} parameters, of the RETRO {(decoder with { Retrieval = retrieval }).CountParameters().Total:#,0};
                {options.Steps:#,0} steps of the decoder, {FittingSteps:#,0} of what is learned on top of it, which leaves it as it is.

                {table.ToMarkdown(ClosedBook)}
                """);
            File.WriteAllText(file, report);
            AnsiConsole.Write(new Text(report));
            AnsiConsole.WriteLine();
            AnsiConsole.Write(new Text($"Report: {Path.GetFullPath(file)}\n"));
        }
    }

    /// <summary>Steps of what is learned on top of the closed book.</summary>
    private int FittingSteps => Math.Max(1, options.Steps / 2);

    private TrainingOptions Training(int seed, int steps, TimeSpan? time, string folder) => TrainingOptions.SmallModel with
    {
        Steps = steps,
        WarmupSteps = Math.Max(1, steps / 20),
        TimeBudget = time,
        Accumulation = WindowsPerStep / Together,
        CheckpointFolder = folder,
        Seed = seed,
    };
}
