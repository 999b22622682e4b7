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
        "closed book", EqualTime = "closed book, equal time", Retrieving = "RETRO", Copying = "copying", Anywhere = "copying from anywhere";

    /// <summary>Windows computed at once: each core of a processor takes one, an accelerator all of a step.</summary>
    private int Together => options.Device is null ? 1 : WindowsPerStep;

    /// <summary>Runs everything, prints the tables and writes them, after every seed anew.</summary>
    public Task RunAsync(CancellationToken cancellationToken)
    {
        // --- text and databases; the split is the same for every seed, so that trainings differ and not what they are measured on ---
        SampleCorpus corpus = SampleCorpus.Read(options.Corpus, options.MostBytes, 1, options.SkipBroken, cancellationToken, LeastHeldOut);
        string folder = SampleCorpus.Folder(options.Output, options.Corpus), allModels = Path.Combine(folder, "models");
        if (!options.Resume && Directory.Exists(allModels))
        {
            // Else a run that goes on with this one would take what an earlier one left for this one's.
            Directory.Delete(allModels, recursive: true);
        }

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
        PointerRule rule = Stages.Run(
            "count the copying rule", progress => PointerRule.Count(database, neighbors, new() { Neighbors = TableNeighbors }, progress, cancellationToken));
        TokenIndex index = Stages.Run("sort runs of tokens", progress => TokenIndex.Build(database, progress, cancellationToken));
        double[] precisions = Stages.Run("count runs", progress => RunReader.CountPrecisions(index, progress: progress, cancellationToken: cancellationToken));
        double[] bytes = LeakageCurve.ChunkBytes(heldOut, tokenizer);
        LeakageCurve curve = Stages.Run(
            "compare chunks with their neighbors",
            progress => LeakageCurve.Compute(heldOut, found, database, bytes, TableNeighbors, progress: progress, cancellationToken: cancellationToken));

        // --- training and measurement, seed by seed ---
        (RetroConfig decoder, RetrievalConfig retrieval) = TrainedModel.Config(tokenizer.VocabularySize);
        RetroConfig retro = decoder with { Retrieval = retrieval };
        Comparison comparison = new(heldOut, database, found, random, [rule], (index, precisions));
        string file = Path.Combine(folder, "evaluation.md");
        for (int seed = 1; seed <= options.Seeds; seed++)
        {
            BitsPerByteOptions measure = new() { WindowLength = WindowTokens, KeepTokens = options.Records && seed == 1 };
            string models = Path.Combine(allModels, $"{seed}");
            WindowSamplerOptions windows = new()
            {
                WindowLength = WindowTokens, BatchSize = Together, Seed = seed, Neighbors = retrieval.Neighbors, RetrievedLength = retrieval.RetrievedLength,
            };

            // Windows without neighbors would teach a decoder that is frozen nothing.
            WindowSampler reading = new(database, windows with { RetrievalDropout = 0 }, neighbors);
            WindowSampler alone = new(database, windows with { Neighbors = 0 });

            // Copying and reading are learned on top of the closed book, which is then given as much time as the longer of them took together with it.
            string closedBook = Path.Combine(models, "closed-book");
            TrainedModel bySteps = Train(ClosedBook, decoder, alone, Training(seed, options.Steps, options.Time, closedBook), cancellationToken);
            TimeSpan longest;
            using (RetroModel model = bySteps.Model)
            {
                comparison.ClosedBook(ClosedBook, bySteps, measure, cancellationToken);
                longest = MeasureCopying(Copying, bySteps, null, "copying");
                MeasureCopying(Anywhere, bySteps, index, "copying-anywhere");
            }

            if (options.Retro)
            {
                TrainedModel fitted = TrainedModel.Fit(
                    $"fit {Retrieving}, seed {seed}",
                    closedBook,
                    retrieval,
                    reading,
                    Training(seed, FittingSteps, null, Path.Combine(models, "retro")),
                    cancellationToken,
                    options.Device,
                    options.Resume);
                using RetroModel model = fitted.Model;
                fitted = fitted with { Steps = bySteps.Steps, Time = bySteps.Time + fitted.Time };
                comparison.Retro(Retrieving, fitted, keyword.Name, [], measure, cancellationToken);
                longest = fitted.Time > longest ? fitted.Time : longest;
            }

            TrainedModel byTime = Train(
                EqualTime, decoder, alone, Training(seed, options.Steps, longest, Path.Combine(models, "closed-book-equal-time")), cancellationToken);
            using (RetroModel model = byTime.Model)
            {
                comparison.ClosedBook(EqualTime, byTime, measure, cancellationToken);
            }

            WriteReport();

            // Gives the time that the decoder and the copying took together.
            TimeSpan MeasureCopying(string name, TrainedModel trained, TokenIndex? from, string fileName)
            {
                // The time lies beside the weights: a run that goes on gives the closed book as much, not as little as the loading takes.
                string weights = Path.Combine(models, $"{fileName}.safetensors"), time = Path.Combine(models, $"{fileName}.time");
                bool known = File.Exists(weights);
                Stopwatch clock = Stopwatch.StartNew();
                CopyReaderOptions copyOptions = new() { Neighbors = options.Neighbors, Steps = FittingSteps, Seed = seed };
                using CopyReader copying = known ? CopyReader.Load(weights, trained.Model, from) : Stages.Run(
                    $"train {name}, seed {seed}",
                    progress => CopyReader.Fit(trained.Model, database, keyword, copyOptions, from, progress: progress, cancellationToken: cancellationToken));
                if (!known)
                {
                    File.WriteAllText(time, clock.Elapsed.ToString("c", CultureInfo.InvariantCulture));
                    copying.Save(weights);
                }

                trained = trained with { Time = trained.Time + TimeSpan.ParseExact(File.ReadAllText(time), "c", CultureInfo.InvariantCulture) };
                comparison.Copying(name, copying, trained, keyword, [], measure, cancellationToken);
                return trained.Time;
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
            string copier = comparison.RuleOn(ClosedBook, TableNeighbors), copierInTime = comparison.RuleOn(EqualTime, TableNeighbors);
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
            string copier = comparison.RuleOn(ClosedBook, TableNeighbors);
            return [.. comparison.Entries.Where(
                entry => entry.Reader is ClosedBook or Copying or Anywhere or $"{Retrieving} off" or Retrieving || entry.Reader == copier)];
        }
    }

    /// <summary>Steps of what is learned on top of the closed book.</summary>
    private int FittingSteps => Math.Max(1, options.Steps / 2);

    private TrainedModel Train(string name, RetroConfig config, WindowSampler windows, TrainingOptions training, CancellationToken cancellationToken)
        => TrainedModel.Train(
            $"train {name}, seed {training.Seed}", config, windows, training, cancellationToken, options.Device, options.Resume);

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
