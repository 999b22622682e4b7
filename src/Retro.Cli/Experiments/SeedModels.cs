using System.Diagnostics;
using System.Globalization;
using Retro.Cli.Workflow;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Training;

namespace Retro.Cli.Experiments;

/// <summary>
/// What is trained with one seed, each in files of its own: what lies there is taken, what does not is trained. Who asks for a model disposes it.
/// </summary>
/// <param name="run">What is trained.</param>
/// <param name="recipe">How they are trained, with the seed.</param>
/// <param name="folder">Where the files are.</param>
/// <param name="decoder">The decoder.</param>
/// <param name="retrieval">What a RETRO has beside it.</param>
/// <param name="ladder">Larger decoders.</param>
/// <param name="data">What is trained on and retrieved from.</param>
/// <param name="cancellationToken">Ends it.</param>
internal sealed class SeedModels(
    EvaluateRun run,
    Recipe recipe,
    string folder,
    RetroConfig decoder,
    RetrievalConfig retrieval,
    IReadOnlyList<RetroConfig> ladder,
    EvaluationData data,
    CancellationToken cancellationToken)
{
    private const string ClosedBookFolder = "closed-book", EqualTimeFolder = "closed-book-equal-time";

    private TimeSpan _longest;

    /// <summary>Trains what is missing, in the order in which one needs the other.</summary>
    /// <exception cref="RetroException">What copies was trained otherwise than is asked for, or the closed book that it belongs to would be.</exception>
    public void Train()
    {
        const string AsItWas = "go on with --k, and --steps or --minutes, as they were, or start again (--start-over).";
        foreach (string name in new[] { EvaluateRun.Copying, EvaluateRun.Anywhere })
        {
            string weights = FileOf(name, "safetensors");
            if (!File.Exists(weights))
            {
                continue;
            }

            if (File.ReadLines(FileOf(name, "time")).ElementAtOrDefault(1) is { } learned && learned != Learning)
            {
                throw new RetroException($"{weights} was trained in {learned}, not in {Learning}; {AsItWas}");
            }

            StoredTraining below = Trainer.Stored(Path.Combine(folder, ClosedBookFolder));
            if (run.Time is { } time ? below.Elapsed < time : below.Steps != run.Steps)
            {
                throw new RetroException(
                    $"{weights} belongs to a closed book of {Amount.Of(below.Steps, "step")} in {Amount.OfTime(below.Elapsed)}, and another one is "
                        + $"asked for; {AsItWas}");
            }
        }

        TrainedModel closedBook = ClosedBook();
        using (RetroModel model = closedBook.Model)
        {
            Copying(EvaluateRun.Copying, closedBook, null).Reader.Dispose();
            Copying(EvaluateRun.Anywhere, closedBook, data.Runs.Index).Reader.Dispose();
        }

        if (run.Retro)
        {
            Retro().Model.Dispose();
        }

        EqualTime().Model.Dispose();
        foreach (RetroConfig larger in ladder)
        {
            Larger(larger).Model.Dispose();
        }
    }

    /// <summary>The decoder alone.</summary>
    public TrainedModel ClosedBook() => Longest(Decoder(EvaluateRun.ClosedBook, decoder, run.Steps, run.Time, ClosedBookFolder));

    /// <summary>The reader that copies on top of the closed book; steps and time are those of both.</summary>
    /// <param name="name">The reader's name.</param>
    /// <param name="closedBook">The closed book.</param>
    /// <param name="from">Where it looks besides the neighbors; null: nowhere.</param>
    public (CopyReader Reader, TrainedModel Trained) Copying(string name, TrainedModel closedBook, TokenIndex? from)
    {
        // The time lies beside the weights: whoever takes them gives the closed book as much, not as little as the loading takes.
        string weights = FileOf(name, "safetensors"), time = FileOf(name, "time");
        bool known = File.Exists(weights);
        Stopwatch clock = Stopwatch.StartNew();
        CopyReaderOptions copyOptions = new() { Neighbors = run.Neighbors, Steps = FittingSteps, Seed = recipe.Seed };
        CopyReader reader = known ? CopyReader.Load(weights, closedBook.Model, from) : Stages.Run(
            $"train {name}, seed {recipe.Seed}",
            progress => CopyReader.Fit(
                closedBook.Model, data.Database, data.Keyword, copyOptions, from, progress: progress, cancellationToken: cancellationToken));
        if (!known)
        {
            File.WriteAllLines(time, [clock.Elapsed.ToString("c", CultureInfo.InvariantCulture), Learning]);
            reader.Save(weights);
        }

        TimeSpan taken = TimeSpan.ParseExact(File.ReadLines(time).First(), "c", CultureInfo.InvariantCulture);
        return (reader, Longest(closedBook.TogetherWith(copyOptions.Steps, taken)));
    }

    /// <summary>The RETRO that is fitted onto the closed book; steps and time are those of both.</summary>
    public TrainedModel Retro()
    {
        TrainedModel closedBook = ClosedBook();
        closedBook.Model.Dispose();
        TrainedModel fitted = recipe.Fit(
            $"fit {EvaluateRun.Retrieving}, seed {recipe.Seed}",
            Path.Combine(folder, ClosedBookFolder),
            retrieval,
            recipe.Windows(data.Database, data.Neighbors, retrieval),
            FittingSteps,
            Path.Combine(folder, "retro"),
            cancellationToken,
            resume: true);
        return Longest(fitted.TogetherWith(closedBook.Steps, closedBook.Time));
    }

    /// <summary>
    /// The decoder alone, trained for as long as the longest of those that were asked for before. One of another time is trained anew: its rates have fallen,
    /// and would rise and fall again.
    /// </summary>
    public TrainedModel EqualTime()
    {
        string model = Path.Combine(folder, EqualTimeFolder), budget = $"{model}.time", time = _longest.ToString("c", CultureInfo.InvariantCulture);
        if (!File.Exists(budget) || File.ReadAllText(budget) != time)
        {
            if (Directory.Exists(model))
            {
                Directory.Delete(model, recursive: true);
            }

            File.WriteAllText(budget, time);
        }

        return Decoder(EvaluateRun.EqualTime, decoder, run.Steps, _longest, EqualTimeFolder);
    }

    /// <summary>A larger decoder alone, trained for as many steps as the closed book.</summary>
    /// <param name="larger">Its configuration.</param>
    public TrainedModel Larger(RetroConfig larger)
        => Decoder($"{EvaluateRun.ClosedBook}, width {larger.Width}", larger, Steps, null, $"closed-book-{larger.Width}");

    // Of the closed book; how many fit into a time is known once it is trained.
    private int Steps => run.Time is null ? run.Steps : (int)Trainer.Stored(Path.Combine(folder, ClosedBookFolder)).Steps;

    private int FittingSteps => Recipe.Fitting(Steps);

    private string Learning => string.Create(CultureInfo.InvariantCulture, $"{FittingSteps} steps with {run.Neighbors} neighbors");

    private string FileOf(string name, string kind) => Path.Combine(folder, $"{name.Replace(' ', '-')}.{kind}");

    private TrainedModel Decoder(string name, RetroConfig config, int steps, TimeSpan? time, string file) => recipe.Train(
        $"train {name}, seed {recipe.Seed}", config, recipe.Windows(data.Database), steps, Path.Combine(folder, file), cancellationToken, time, resume: true);

    private TrainedModel Longest(TrainedModel trained)
    {
        _longest = trained.Time > _longest ? trained.Time : _longest;
        return trained;
    }
}
