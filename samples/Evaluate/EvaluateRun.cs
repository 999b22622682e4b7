using System.Diagnostics;
using System.Globalization;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using Samples;
using Spectre.Console;

namespace Evaluate;

/// <summary>From text to the table: what reading from a database is worth, against everything that it has to beat.</summary>
internal sealed class EvaluateRun(EvaluateOptions options)
{
    private const int Vocabulary = 2048;
    private const int WindowTokens = 512;
    private const int WindowsPerStep = 2;

    /// <summary>Held-out documents from which a difference of 1 % is seen.</summary>
    private const int LeastHeldOut = 60;

    /// <summary>Neighbors of the copying rule, at most, and so of every table.</summary>
    private const int TableNeighbors = 8;

    private const string ClosedBook =
        "closed book", CopyingTime = "closed book, copying's time", EqualTime =
            "closed book, RETRO's time", Retrieving = "RETRO", Copying = "copying", Anywhere = "copying from anywhere";

    /// <summary>Windows computed at once: each core of a processor takes one, an accelerator all of a step.</summary>
    private int Together => options.Device is null ? 1 : WindowsPerStep;

    /// <summary>Runs everything, prints the tables and writes them, after every seed anew.</summary>
    public Task RunAsync(CancellationToken cancellationToken)
    {
        // --- text and databases; the split is the same for every seed, so that trainings differ and not what they are measured on ---
        SampleCorpus corpus = SampleCorpus.Read(options.Corpus, options.MostBytes, 1, options.SkipBroken, cancellationToken, LeastHeldOut);
        string folder = Path.Combine(
            options.Output,
            options.Corpus is { } path ? Path.GetFileNameWithoutExtension(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path))) : "dotnet-documentation");
        Directory.CreateDirectory(folder);
        RetroTokenizer tokenizer = Stages.Run(
            "train the tokenizer",
            progress => BpeTrainer.Train(corpus.Training.Select(d => d.Text), Vocabulary, Path.Combine(folder, "tokenizer"), progress, cancellationToken));
        ChunkDatabaseOptions chunks = new() { StartOver = !options.Resume };
        using ChunkDatabase database = Stages.Run("cut chunks", progress =>
            ChunkDatabaseBuilder.Build(Path.Combine(folder, "database"), corpus.Training, tokenizer, chunks, progress, cancellationToken));
        using ChunkDatabase heldOut = Stages.Run("cut held-out chunks", progress =>
            ChunkDatabaseBuilder.Build(Path.Combine(folder, "held-out"), corpus.HeldOut, tokenizer, chunks, progress, cancellationToken));
        Stages.Run("look for held-out documents in the database", progress =>
            HeldOut.Require(heldOut, database, tokenizer, progress: progress, cancellationToken: cancellationToken));

        // --- neighbors ---
        using KeywordNeighborSource keyword = Stages.Run(
            "index words", progress => KeywordNeighborSource.Build(database, progress: progress, cancellationToken: cancellationToken));
        using NeighborTable neighbors = Stages.Run(
            "find neighbors", progress => NeighborTable.Build(database, keyword, TableNeighbors, progress: progress, cancellationToken: cancellationToken));
        using NeighborTable found = Stages.Run(
            "find held-out neighbors",
            progress => NeighborTable.Build(heldOut, keyword, TableNeighbors, excludeOwnDocument: false, progress, cancellationToken));
        using NeighborTable random = Stages.Run(
            "draw random neighbors",
            progress =>
                NeighborTable.Build(heldOut, new RandomNeighborSource(database, 1), TableNeighbors, excludeOwnDocument: false, progress, cancellationToken));
        PointerRule[] rules = [.. new[] { 2, TableNeighbors }.Select(k => Stages.Run(
            $"count the copying rule, k = {k}", progress => PointerRule.Count(database, neighbors, new() { Neighbors = k }, progress, cancellationToken)))];
        TokenIndex index = Stages.Run("sort runs of tokens", progress => TokenIndex.Build(database, progress, cancellationToken));
        double[] precisions = Stages.Run("count runs", progress => RunReader.CountPrecisions(index, progress: progress, cancellationToken: cancellationToken));
        double[] bytes = LeakageCurve.ChunkBytes(heldOut, tokenizer);
        LeakageCurve curve = Stages.Run(
            "compare chunks with their neighbors",
            progress => LeakageCurve.Compute(heldOut, found, database, bytes, TableNeighbors, progress: progress, cancellationToken: cancellationToken));

        // --- training and measurement, seed by seed ---
        RetrievalConfig retrieval = RetroConfig.Mini.Retrieval! with { ShiftedKeys = true, Encoder = RetroConfig.Mini.Retrieval!.Encoder with { Layers = 1 } };
        RetroConfig retro = RetroConfig.Mini with { VocabularySize = tokenizer.VocabularySize, Retrieval = retrieval };
        RetroConfig decoder = retro with { Retrieval = null };
        Comparison comparison = new(heldOut, database, found, random, rules, (index, precisions));
        string file = Path.Combine(folder, "evaluation.md");
        for (int seed = 1; seed <= options.Seeds; seed++)
        {
            BitsPerByteOptions measure = new() { WindowLength = WindowTokens, KeepTokens = options.Records && seed == 1 };
            string models = Path.Combine(folder, "models", $"{seed}");
            WindowSamplerOptions windows = new()
            {
                WindowLength = WindowTokens, BatchSize = Together, Seed = seed, Neighbors = retrieval.Neighbors, RetrievedLength = retrieval.RetrievedLength,
            };
            WindowSampler reading = new(database, windows with { Planting = new PlantingSchedule() }, neighbors);
            WindowSampler alone = new(database, windows with { Neighbors = 0 });

            // Copying is learned on top of the closed book; its decoder is then given as much time as both took.
            TrainedModel bySteps = Train(ClosedBook, decoder, alone, seed, options.Steps, options.Time, Path.Combine(models, "closed-book"), cancellationToken);
            using (RetroModel model = bySteps.Model)
            {
                comparison.ClosedBook(ClosedBook, bySteps, measure, cancellationToken);
                TimeSpan time = MeasureCopying(Copying, bySteps, null, "copying.safetensors");
                MeasureCopying(Anywhere, bySteps, index, "copying-anywhere.safetensors");
                bySteps = bySteps with { Time = time };
            }

            MeasureClosedBook(CopyingTime, bySteps.Time, "closed-book-copying-time");
            if (options.Retro)
            {
                TrainedModel trained = Train(Retrieving, retro, reading, seed, (int)bySteps.Steps, null, Path.Combine(models, "retro"), cancellationToken);
                using RetroModel trainedModel = trained.Model;
                comparison.Retro(Retrieving, trained, keyword.Name, [], measure, cancellationToken);
                MeasureClosedBook(EqualTime, trained.Time, "closed-book-retro-time");
            }

            WriteReport();

            // Gives the time that the decoder and the copying took together.
            TimeSpan MeasureCopying(string name, TrainedModel trained, TokenIndex? from, string fileName)
            {
                Stopwatch clock = Stopwatch.StartNew();
                string weights = Path.Combine(models, fileName);
                CopyReaderOptions copyOptions = new() { Neighbors = options.Neighbors, Steps = Math.Max(1, options.Steps / 2), Seed = seed };
                using CopyReader copying = options.Resume && File.Exists(weights) ? CopyReader.Load(weights, trained.Model, from) : Stages.Run(
                    $"train {name}, seed {seed}",
                    progress => CopyReader.Fit(trained.Model, database, keyword, copyOptions, from, progress: progress, cancellationToken: cancellationToken));
                copying.Save(weights);
                trained = trained with { Time = trained.Time + clock.Elapsed };
                comparison.Copying(name, copying, trained, keyword, [], measure, cancellationToken);
                return trained.Time;
            }

            void MeasureClosedBook(string name, TimeSpan time, string folderName)
            {
                TrainedModel trained = Train(name, decoder, alone, seed, options.Steps, time, Path.Combine(models, folderName), cancellationToken);
                using RetroModel model = trained.Model;
                comparison.ClosedBook(name, trained, measure, cancellationToken);
            }
        }

        if (options.Records)
        {
            string lines = Path.Combine(folder, "tokens.jsonl");
            Stages.Run("write token records", progress => TokenRecords.Write(
                lines,
                heldOut,
                Main().ToDictionary(entry => entry.Reader, entry => entry.Results[0]),
                found,
                database,
                progress: progress,
                cancellationToken: cancellationToken));
            AnsiConsole.Write(new Text($"Token records: {Path.GetFullPath(lines)}\n"));
        }

        return Task.CompletedTask;

        // What all seeds so far say; the last one's stays.
        void WriteReport()
        {
            IReadOnlyList<EvaluationEntry> entries = comparison.Entries;
            string copier = Copier(entries, ClosedBook), copierInTime = Copier(entries, CopyingTime);
            string report = string.Create(CultureInfo.InvariantCulture, $"""
                # What reading from a database is worth

                {corpus.Kind}: {corpus.Training.Count:#,0} documents, {database.ChunkCount:#,0} chunks, to train on and retrieve from;
                {retro.CountParameters().Total:#,0} parameters, {decoder.CountParameters().Total:#,0} without retrieval.

                {EvaluationTable.Of(entries, [ClosedBook, copier, copierInTime, $"{ClosedBook} + longest run in the database"]).ToMarkdown()}
                ## By overlap with the neighbors

                Bits per byte of the chunks of which at most so much stands, as one run of tokens, in one of {TableNeighbors} neighbors;
                differences to {ClosedBook}.

                {LeakageTable.Of(curve, Main()).ToMarkdown()}
                """);
            File.WriteAllText(file, report);
            AnsiConsole.Write(new Text(report));
            AnsiConsole.WriteLine();
            AnsiConsole.Write(new Text($"Report: {Path.GetFullPath(file)}\n"));
        }

        EvaluationEntry[] Main()
        {
            IReadOnlyList<EvaluationEntry> entries = comparison.Entries;
            return [.. entries.Where(entry =>
                entry.Reader is ClosedBook or Copying or Anywhere or $"{Retrieving} off" or Retrieving || entry.Reader == Copier(entries, ClosedBook))];
        }

        static string Copier(IReadOnlyList<EvaluationEntry> entries, string closedBook) => entries.Single(
            entry => entry.Reader.StartsWith(closedBook + " +", StringComparison.Ordinal) && entry.Results[0].Neighbors == TableNeighbors).Reader;
    }

    private TrainedModel Train(
        string name, RetroConfig config, WindowSampler windows, int seed, int steps, TimeSpan? time, string folder, CancellationToken cancellationToken)
    {
        TorchSharp.torch.manual_seed(seed);
        RetroModel model = new(config, device: options.Device);
        try
        {
            using Trainer trainer = new(model, TrainingOptions.SmallModel with
            {
                Steps = steps,
                WarmupSteps = Math.Max(1, steps / 20),
                TimeBudget = time,
                Accumulation = WindowsPerStep / Together,
                CheckpointFolder = folder,
                Seed = seed,
            });
            if (options.Resume && File.Exists(Path.Combine(folder, Trainer.StateFile)))
            {
                trainer.Load(folder, cancellationToken: cancellationToken);
            }

            Stages.Train($"train {name}, seed {seed}", time, progress => trainer.Run(windows, progress, cancellationToken));
            return new TrainedModel(model, trainer.StepsDone, trainer.Elapsed);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }
}
