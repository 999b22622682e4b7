using System.Diagnostics;
using System.Globalization;
using Retro;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using Samples;
using Spectre.Console;

namespace Quickstart;

/// <summary>The path from text to text with sources, one stage after the other.</summary>
internal sealed class QuickstartRun(QuickstartOptions options)
{
    private const int Vocabulary = 2048;
    private const int WindowTokens = 512;

    /// <summary>Windows of a step. Each is a batch of its own, so that those of a step are computed side by side.</summary>
    private const int WindowsPerStep = 2;

    /// <summary>Neighbors kept per chunk, so that enough remain when those of the window's documents are dropped.</summary>
    private const int TableNeighbors = 8;

    /// <summary>Tokens of a held-out document that start a continuation: its first chunk and a little more, so that something is retrieved at once.</summary>
    private const int PromptTokens = 80;

    private readonly Stopwatch _clock = Stopwatch.StartNew();

    /// <summary>Runs everything and prints what came out.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        // A folder that is no embedder is refused before any work is done.
        TextEmbedder? embedder = options.Embedder is { } pretrained ? Stages.Run("load the embedder", _ => TextEmbedder.Load(pretrained)) : null;

        // --- text ---
        SampleCorpus corpus = SampleCorpus.Read(options.Corpus, options.MostBytes, options.Seed, options.SkipBroken, cancellationToken);
        string folder = Path.Combine(options.Output, FolderName(options.Corpus));
        Directory.CreateDirectory(folder);
        RetroTokenizer tokenizer = Stages.Run(
            "train the tokenizer", progress => BpeTrainer.Train(corpus.Training.Select(d => d.Text), Vocabulary, Path.Combine(folder, "tokenizer"), progress, cancellationToken));

        // --- database ---
        ChunkDatabaseOptions fresh = new() { StartOver = true };
        using ChunkDatabase database = Stages.Run("cut chunks", progress => ChunkDatabaseBuilder.Build(Path.Combine(folder, "database"), corpus.Training, tokenizer, fresh, progress, cancellationToken));
        using ChunkDatabase heldOut = Stages.Run("cut held-out chunks", progress => ChunkDatabaseBuilder.Build(Path.Combine(folder, "held-out"), corpus.HeldOut, tokenizer, fresh, progress, cancellationToken));
        embedder ??= Stages.Run("train the embedder", progress => InverseClozeTrainer.Train(
            corpus.Training, tokenizer, options: new InverseClozeOptions { TimeBudget = options.Time / 11, Seed = options.Seed }, progress: progress, cancellationToken: cancellationToken));
        using TextEmbedder owned = embedder;
        embedder.Save(Path.Combine(folder, "embedder"), cancellationToken: cancellationToken);
        ChunkKeyer keyer = new(tokenizer, embedder);

        // --- neighbors ---
        using DenseNeighborSource dense = Stages.Run("embed chunks", progress => DenseNeighborSource.Build(database, keyer, progress: progress, cancellationToken: cancellationToken));
        using KeywordNeighborSource keyword = Stages.Run("index words", progress => KeywordNeighborSource.Build(database, progress: progress, cancellationToken: cancellationToken));
        HybridNeighborSource hybrid = new(keyword, dense);
        INeighborSource[] sources = [new RandomNeighborSource(database, options.Seed), dense, keyword, hybrid];
        using NeighborTable neighbors = Stages.Run(
            "find neighbors", progress => NeighborTable.Build(database, keyword, TableNeighbors, progress: progress, cancellationToken: cancellationToken));
        List<NeighborTable> tables = sources.Select(source => Stages.Run(
            $"find held-out neighbors, {source.Name}",
            progress => NeighborTable.Build(heldOut, source, TableNeighbors, excludeOwnDocument: false, progress, cancellationToken))).ToList();

        // --- training ---
        RetroConfig config = RetroConfig.Mini with { VocabularySize = tokenizer.VocabularySize, Retrieval = RetroConfig.Mini.Retrieval! with { ShiftedKeys = true, Encoder = RetroConfig.Mini.Retrieval!.Encoder with { Layers = 1 } } };
        TorchSharp.torch.manual_seed(options.Seed);
        using RetroModel model = new(config);
        TimeSpan forTraining = TimeSpan.FromSeconds(Math.Max((options.Time - _clock.Elapsed - (options.Time * 0.1)).TotalSeconds, options.Time.TotalSeconds * 0.2));
        AnsiConsole.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"{database.ChunkCount:#,0} chunks of {config.Retrieval!.ChunkLength} tokens; {config.CountParameters().Total:#,0} parameters; training for {forTraining.TotalMinutes:0.0} minutes.");
        WindowSampler windows = new(
            database,
            new WindowSamplerOptions { WindowLength = WindowTokens, BatchSize = 1, Neighbors = config.Retrieval!.Neighbors, RetrievedLength = config.Retrieval!.RetrievedLength, Planting = new PlantingSchedule(), Seed = options.Seed },
            neighbors);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Accumulation = WindowsPerStep, TimeBudget = forTraining, CheckpointFolder = Path.Combine(folder, "checkpoint"), Seed = options.Seed });
        List<TrainingProgress> steps = Stages.Train("train", forTraining, progress => trainer.Run(windows, progress, cancellationToken));

        // --- measurement ---
        List<BitsPerByteResult> measured =
        [
            Stages.Run("measure, off", progress => BitsPerByte.Measure(model, heldOut, progress: progress, cancellationToken: cancellationToken)),
            .. tables.Select(table => Stages.Run($"measure, {table.SourceName}", progress => BitsPerByte.Measure(model, heldOut, table, database, progress: progress, cancellationToken: cancellationToken))),
        ];

        // --- text with sources ---
        RetroGenerator generator = new(model, tokenizer, database, hybrid);
        List<Continuation> continuations = [];
        foreach (string prompt in Prompts(heldOut, tokenizer))
        {
            continuations.Add(await Continuation.GenerateAsync(generator, prompt, options.Seed, cancellationToken).ConfigureAwait(false));
        }

        Report report = new(options, corpus.Kind, config, database, steps, measured, continuations, _clock.Elapsed);
        report.Print();
        string path = report.Write(folder);
        AnsiConsole.WriteLine();
        AnsiConsole.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"Report: [link]{Path.GetFullPath(path)}[/]   (the whole run took {_clock.Elapsed.TotalMinutes:0.0} minutes)");
    }

    /// <summary>The beginnings of the two held-out documents with the most text after them.</summary>
    private static IEnumerable<string> Prompts(ChunkDatabase heldOut, RetroTokenizer tokenizer)
    {
        foreach (DocumentEntry document in heldOut.Documents.OrderByDescending(d => d.TokenCount).ThenBy(d => d.Id, StringComparer.Ordinal).Take(2))
        {
            List<int> tokens = [];
            for (int chunk = 0; chunk < document.ChunkCount && tokens.Count < PromptTokens; chunk++)
            {
                tokens.AddRange(heldOut.Tokens(document.FirstChunk + chunk)[..heldOut.TokenCount(document.FirstChunk + chunk)]);
            }

            yield return tokenizer.Decode(tokens.Take(PromptTokens).ToArray());
        }
    }

    private static string FolderName(string? path)
        => path is null ? "dotnet-documentation" : Path.GetFileNameWithoutExtension(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)));
}
