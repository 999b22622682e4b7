using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Retro.Checkpoints;
using Retro.Cli.Workflow;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;

namespace Retro.Cli.Experiments;

/// <summary>
/// Trains one variant after the other and measures it without, with and with random neighbors. What was measured lies in a file of its own, so that several
/// processes can share the variants of a folder, and a run that goes on takes what is there.
/// </summary>
/// <param name="options">What every experiment is told.</param>
internal sealed class AblationsRun(ExperimentOptions options)
{
    private const int TableNeighbors = 16;

    private const string ReportFile = "ablations.md", Measurements = "variants", LockEnding = ".lock";

    private static readonly JsonSerializerOptions s_json = new() { RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true };

    private readonly Recipe _recipe = new(options.Seed, options.Dtype, options.Device);

    /// <summary>Steps of each training; what is fitted takes half as many.</summary>
    public required int Steps { get; init; }

    /// <summary>The variants to train; empty: all.</summary>
    public required IReadOnlyList<string> Only { get; init; }

    private int FittingSteps => Recipe.Fitting(Steps);

    /// <summary>Runs everything, prints the table and writes it.</summary>
    public void Run(CancellationToken cancellationToken)
    {
        // Before what an earlier run has measured is deleted; the names do not depend on the vocabulary.
        string[] known = [.. Variant.All(TrainedModel.Config(1).Decoder).Select(variant => variant.Name)];
        if (Only.FirstOrDefault(name => name != Variant.ClosedBook && !known.Contains(name)) is { } unknown)
        {
            throw new RetroException($"--only: there is no variant '{unknown}'. There are: {string.Join("; ", known)}.");
        }

        (RunFolder folder, EvaluationData made) = Prepare(cancellationToken);
        using EvaluationData data = made;
        string measured = folder[Variants];
        RetroConfig decoder = TrainedModel.Config(data.Tokenizer.VocabularySize).Decoder;
        Variant[] all = Variant.All(decoder), chosen = [.. all.Where(variant => Only.Count == 0 || Only.Contains(variant.Name))];

        // Windows that do not overlap, in half the time of those that do: rows are compared with each other alone.
        BitsPerByteOptions measure = new() { WindowLength = _recipe.WindowTokens, Stride = _recipe.WindowTokens };

        // --- what all are compared with and some are fitted onto ---
        string closedBook = Path.Combine(measured, Variant.ClosedBook);
        Measured(Variant.ClosedBook, () =>
        {
            TrainedModel trained = _recipe.Train("train closed book", decoder, _recipe.Windows(data.Database), Steps, closedBook, cancellationToken);
            using RetroModel model = trained.Model;
            return [Entry(Variant.ClosedBook, trained, Measure(new DecoderReader(model, Variant.ClosedBook), null))];
        });

        Array.ForEach(chosen, Try);

        // Processes that end together write one after the other, and the last of them has all rows.
        using FileStream writing = Turn(Path.Combine(options.Output, "writing.lock"), cancellationToken);
        IEnumerable<string> names = all.Select(variant => variant.Name).Prepend(Variant.ClosedBook);
        EvaluationEntry[] entries = [.. names.SelectMany(name => Load(name) ?? [])];
        string[] baselines = [.. new[] { Variant.ClosedBook, Variant.Copies }.Where(name => entries.Any(entry => entry.Reader == name))];
        string report = string.Create(CultureInfo.InvariantCulture, $"""
            # What makes a small model read

            {data.Corpus.Kind}: {data.Corpus.Training.Count:#,0} documents, {data.Database.ChunkCount:#,0} chunks, to train on and retrieve from;
            {Steps} steps, and {FittingSteps} more where something is fitted onto what was trained before; seed {options.Seed},
            in {CommonOptions.NameOf(options.Dtype)}.

            {EvaluationTable.Of(entries, baselines).ToMarkdown()}
            {SampleCorpus.HeldOutNote}
            """);
        Stages.Report(folder[ReportFile], report);

        // --- the ways to train ---
        void Try(Variant variant)
        {
            if (variant is Variant.Copying { On: var on } && all.FirstOrDefault(other => other.Name == on) is { } first)
            {
                Try(first);
            }

            Measured(variant.Name, () => variant switch
            {
                Variant.Reading reading => Read(reading),
                Variant.Copying copying => Copy(copying),
                _ => throw new NotSupportedException(variant.Name),
            });
        }

        EvaluationEntry[] Read(Variant.Reading reading)
        {
            string stage = $"train {reading.Name}", at = Path.Combine(measured, reading.Name);
            TrainedModel trained = reading.Fitted
                ? TrainedModel.Fit(
                    stage,
                    closedBook,
                    reading.Retrieval,
                    _recipe.Windows(data.Database, data.Neighbors, reading.Retrieval, planting: reading.Planting),
                    reading.Change(_recipe.Training(FittingSteps, at)),
                    cancellationToken,
                    options.Device)
                : TrainedModel.Train(
                    stage,
                    decoder with { Retrieval = reading.Retrieval },
                    _recipe.Windows(data.Database, data.Neighbors, reading.Retrieval, dropout: 0.1, reading.Planting),
                    reading.Change(_recipe.Training(Steps, at)),
                    cancellationToken,
                    options.Device);
            using RetroModel model = trained.Model;
            trained = reading.Fitted ? After(Variant.ClosedBook, trained) : trained;
            string source = data.Keyword.Name;
            return
            [
                Entry($"{reading.Name}: off", trained, Measure(new DecoderReader(model, $"{reading.Name}: off"), null), source),
                Entry($"{reading.Name}: random", trained, Measure(new RetroReader(model, name: $"{reading.Name}: random"), data.Random), source),
                Entry(reading.Name, trained, Measure(new RetroReader(model, name: reading.Name), data.Found), source),
            ];
        }

        EvaluationEntry[] Copy(Variant.Copying copying)
        {
            CheckpointLoadOptions load = new() { Device = options.Device };
            using RetroModel model = Checkpoint.Load(Path.Combine(measured, copying.On), load, cancellationToken: cancellationToken);
            Stopwatch clock = Stopwatch.StartNew();
            CopyReaderOptions settings = copying.Options with { Steps = FittingSteps, Seed = options.Seed };
            using CopyReader reader = Stages.Run($"train {copying.Name}", progress => CopyReader.Fit(
                model, data.Database, data.Keyword, settings, name: copying.Name, progress: progress, cancellationToken: cancellationToken));
            TrainedModel made = After(copying.On, new(model, settings.Steps, clock.Elapsed, []));
            return
            [
                Entry($"{copying.Name}: random", made, Ask(reader, new RandomNeighborSource(data.Database, options.Seed)), data.Keyword.Name),
                Entry(copying.Name, made, Ask(reader, data.Keyword), data.Keyword.Name),
            ];
        }

        // What was trained before, and measured, is part of what a row was given.
        TrainedModel After(string before, TrainedModel trained)
        {
            EvaluationEntry first = Load(before)![^1];
            return trained.TogetherWith((long)first.Steps!.Value, first.Time!.Value);
        }

        BitsPerByteResult Measure(IReader reader, NeighborTable? neighbors) => Stages.Run($"measure {reader.Name}", progress => BitsPerByte.Measure(
            reader, data.HeldOut, neighbors, measure, progress, cancellationToken));

        BitsPerByteResult Ask(IReader reader, INeighborSource source) => Stages.Run($"measure {reader.Name}, {source.Name}", progress => BitsPerByte.Measure(
            reader, data.HeldOut, source, measure, progress, cancellationToken));

        // --- results, a file for each variant ---
        string ResultFile(string name) => Path.Combine(measured, $"{name}.json");

        // One that an earlier version wrote otherwise, without what it was trained with for instance, or that was measured on other documents, is measured
        // anew: it is as if it were not there.
        EvaluationEntry[]? Load(string name)
        {
            try
            {
                EvaluationEntry[]? entries = File.Exists(ResultFile(name))
                    ? JsonSerializer.Deserialize<EvaluationEntry[]>(File.ReadAllText(ResultFile(name)), s_json)
                    : null;
                return entries?.All(entry => (name == Variant.ClosedBook || entry.TrainedWith is not null)
                    && entry.Results.All(result => result.HeldOutHash == data.HeldOut.Manifest.TokensHash)) == true ? entries : null;
            }
            catch (JsonException)
            {
                return null;
            }
        }

        void Measured(string name, Func<EvaluationEntry[]> measure)
        {
            using FileStream turn = Turn(Path.Combine(measured, name + LockEnding), cancellationToken);
            if (Load(name) is not { Length: > 0 })
            {
                Workspace.WriteText(ResultFile(name), JsonSerializer.Serialize(measure()));
            }
        }
    }

    /// <summary>What other steps, seeds and types gave is no part of the table.</summary>
    private string Variants => _recipe.OfType($"{Measurements}-{Steps}-{options.Seed}");

    /// <summary>The folder and the data; processes that share it prepare it one after the other.</summary>
    private (RunFolder Folder, EvaluationData Data) Prepare(CancellationToken cancellationToken)
    {
        using FileStream turn = Turn(Path.Combine(options.Output, "preparing.lock"), cancellationToken);
        SampleCorpus corpus = SampleCorpus.Read(options.Corpus, options.MostBytes, 1, options.Reading, cancellationToken, EvaluationData.LeastHeldOut);
        RunFolder folder = RunFolder.Of(options);
        if (!options.Resume)
        {
            RequireNobodyMeasures(folder.Path);
            folder.Replace(Variants, ReportFile, goesOn: true);
        }

        return (folder, EvaluationData.Make(corpus, folder.Path, TableNeighbors, cancellationToken, startOver: !options.Resume));
    }

    /// <summary>Waits until no other process does what a file stands for, in a folder that several share.</summary>
    private static FileStream Turn(string path, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        return FileLock.Wait(path, said => Screen.Note($"{said}"), cancellationToken);
    }

    private static bool IsTaken(string path)
    {
        try
        {
            using FileStream free = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return false;
        }
        catch (IOException) when (File.Exists(path))
        {
            return true;
        }
    }

    /// <summary>Refuses to take away the models, or the databases, that another process is at work with, be it with other steps or another seed.</summary>
    private static void RequireNobodyMeasures(string folder)
    {
        IEnumerable<string> variants = Directory.EnumerateDirectories(folder, $"{Measurements}-*");
        if (variants.SelectMany(measured => Directory.EnumerateFiles(measured, $"*{LockEnding}")).FirstOrDefault(IsTaken) is { } taken)
        {
            throw new RetroException(
                $"Another process is measuring '{Path.GetFileNameWithoutExtension(taken)}' in {Path.GetDirectoryName(taken)}; share its work (--resume), or "
                    + "wait until it is done.");
        }
    }

    private static EvaluationEntry Entry(string name, TrainedModel trained, BitsPerByteResult result, string? trainedWith = null)
        => new(name, [result]) { TrainedWith = trainedWith, Steps = trained.Steps, Time = trained.Time };
}
