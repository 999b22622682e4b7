using System.Globalization;
using System.Text.Json;
using Retro;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Training;
using Retro.Cli.Workflow;
using Spectre.Console;

namespace Ablations;

/// <summary>
/// Trains one variant after the other and measures it without, with and with random neighbors. What was measured lies in a file of its own, so that several
/// processes can share the variants of a folder, and a run that goes on takes what is there.
/// </summary>
internal sealed class AblationsRun(AblationsOptions options)
{
    private const int WindowTokens = 512, WindowsPerStep = 2, TableNeighbors = 16;

    /// <summary>Windows that do not overlap, in half the time of those that do: rows are compared with each other alone.</summary>
    private static readonly BitsPerByteOptions s_measure = new() { WindowLength = WindowTokens, Stride = WindowTokens };

    /// <summary>Runs everything, prints the table and writes it.</summary>
    public void Run(CancellationToken cancellationToken)
    {
        string folder = SampleCorpus.Folder(options.Output, options.Corpus), measured = Path.Combine(folder, "variants");
        if (!options.Resume && Directory.Exists(measured))
        {
            Directory.Delete(measured, recursive: true);
        }

        using EvaluationData data = EvaluationData.Make(
            options.Corpus, options.MostBytes, options.SkipBroken, folder, !options.Resume, TableNeighbors, cancellationToken);
        RetroConfig decoder = TrainedModel.Config(data.Tokenizer.VocabularySize).Decoder;
        Variant[] all = Variant.All(decoder), chosen = [.. all.Where(variant => options.Only.Count == 0 || options.Only.Contains(variant.Name))];
        if (options.Only.FirstOrDefault(name => name != Variant.ClosedBook && all.All(variant => variant.Name != name)) is { } unknown)
        {
            throw new RetroException($"--only: there is no variant '{unknown}'. There are: {string.Join("; ", all.Select(variant => variant.Name))}.");
        }

        // --- what all are compared with and some are fitted onto ---
        string closedBook = Path.Combine(measured, Variant.ClosedBook);
        Measured(Variant.ClosedBook, () =>
        {
            TrainedModel trained = TrainedModel.Train(
                "train closed book", decoder, Windows(0, 0, null), Training(TrainingOptions.SmallModel, options.Steps, closedBook), cancellationToken);
            using RetroModel model = trained.Model;
            return [Entry(Variant.ClosedBook, trained, Measure(new DecoderReader(model, Variant.ClosedBook), null))];
        });

        foreach (Variant variant in chosen)
        {
            Measured(variant.Name, () => variant switch
            {
                Variant.Reading reading => Read(reading),
                Variant.Copying copying => Copy(copying),
                _ => throw new NotSupportedException(variant.Name),
            });
        }

        IEnumerable<string> names = all.Select(variant => variant.Name).Prepend(Variant.ClosedBook);
        EvaluationEntry[] entries = [.. names.Where(name => File.Exists(ResultFile(name))).SelectMany(Load)];
        string report = string.Create(CultureInfo.InvariantCulture, $"""
            # What makes a small model read

            {data.Corpus.Kind}: {data.Corpus.Training.Count:#,0} documents, {data.Database.ChunkCount:#,0} chunks, to train on and retrieve from;
            {options.Steps} steps, seed {options.Seed}.

            {EvaluationTable.Of(entries, [Variant.ClosedBook]).ToMarkdown()}
            """);
        string file = Path.Combine(folder, "ablations.md");
        File.WriteAllText(file, report);
        AnsiConsole.Write(new Text(report));
        AnsiConsole.WriteLine();
        AnsiConsole.Write(new Text($"Report: {Path.GetFullPath(file)}\n"));

        // --- the ways to train ---
        EvaluationEntry[] Read(Variant.Reading reading)
        {
            int neighbors = reading.Retrieval.Neighbors;
            string stage = $"train {reading.Name}", at = Path.Combine(measured, reading.Name);
            TrainedModel trained = reading.Fitted
                ? TrainedModel.Fit(
                    stage,
                    closedBook,
                    reading.Retrieval,
                    Windows(neighbors, 0, reading.Planting), // windows without neighbors would teach a decoder that is frozen nothing
                    Training(reading.Training, Math.Max(1, options.Steps / 2), at),
                    cancellationToken)
                : TrainedModel.Train(
                    stage,
                    decoder with { Retrieval = reading.Retrieval },
                    Windows(neighbors, 0.1, reading.Planting),
                    Training(reading.Training, options.Steps, at),
                    cancellationToken);
            using RetroModel model = trained.Model;
            return
            [
                Entry($"{reading.Name}: off", trained, Measure(new DecoderReader(model, $"{reading.Name}: off"), null)),
                Entry($"{reading.Name}: random", trained, Measure(new RetroReader(model, name: $"{reading.Name}: random"), data.Random)),
                Entry(reading.Name, trained, Measure(new RetroReader(model, name: reading.Name), data.Found)),
            ];
        }

        EvaluationEntry[] Copy(Variant.Copying copying)
        {
            using Retro.Pretrained.PretrainedDecoder trained = Retro.Pretrained.PretrainedDecoder.Load(closedBook, cancellationToken: cancellationToken);
            System.Diagnostics.Stopwatch clock = System.Diagnostics.Stopwatch.StartNew();
            CopyReaderOptions settings = copying.Options with { Steps = Math.Max(1, options.Steps / 2), Seed = options.Seed };
            using CopyReader reader = Stages.Run($"train {copying.Name}", progress => CopyReader.Fit(
                trained.Model, data.Database, data.Keyword, settings, name: copying.Name, progress: progress, cancellationToken: cancellationToken));
            TrainedModel made = new(trained.Model, settings.Steps, clock.Elapsed, []);
            return
            [
                Entry($"{copying.Name}: random", made, Ask(reader, new RandomNeighborSource(data.Database, 1))),
                Entry(copying.Name, made, Ask(reader, data.Keyword)),
            ];
        }

        BitsPerByteResult Measure(IReader reader, NeighborTable? neighbors) => Stages.Run($"measure {reader.Name}", progress => BitsPerByte.Measure(
            reader, data.HeldOut, neighbors, neighbors is null ? null : data.Database, s_measure, progress, cancellationToken));

        BitsPerByteResult Ask(IReader reader, INeighborSource source) => Stages.Run($"measure {reader.Name}, {source.Name}", progress => BitsPerByte.Measure(
            reader, data.HeldOut, source, s_measure, progress, cancellationToken));

        WindowSampler Windows(int neighbors, double dropout, PlantingSchedule? planting)
        {
            WindowSamplerOptions windows = new()
            {
                WindowLength = WindowTokens,
                BatchSize = 1, // each core takes one
                Neighbors = neighbors,
                RetrievalDropout = dropout,
                Planting = planting,
                Seed = options.Seed,
            };
            return neighbors == 0 ? new(data.Database, windows) : new(data.Database, windows, data.Neighbors);
        }

        TrainingOptions Training(TrainingOptions settings, int steps, string at) => settings with
        {
            Steps = steps,
            WarmupSteps = Math.Max(1, steps / 20),
            Accumulation = WindowsPerStep,
            CheckpointFolder = at,
            Seed = options.Seed,
        };

        // --- results, a file for each variant ---
        string ResultFile(string name) => Path.Combine(measured, $"{name}.json");

        EvaluationEntry[] Load(string name) => JsonSerializer.Deserialize<EvaluationEntry[]>(File.ReadAllText(ResultFile(name)))!;

        void Measured(string name, Func<EvaluationEntry[]> measure)
        {
            if (!File.Exists(ResultFile(name)))
            {
                string json = JsonSerializer.Serialize(measure());
                Directory.CreateDirectory(measured);
                File.WriteAllText($"{ResultFile(name)}.new", json);
                File.Move($"{ResultFile(name)}.new", ResultFile(name));
            }
        }
    }

    private static EvaluationEntry Entry(string name, TrainedModel trained, BitsPerByteResult result)
        => new(name, [result]) { Steps = trained.Steps, Time = trained.Time };
}
