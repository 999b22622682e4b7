using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Cli.Workflow;

/// <summary>How the runs of the tool train: windows of a database, two a step, by the settings with which small models learn within minutes.</summary>
/// <param name="Seed">Seed of windows and training.</param>
/// <param name="Dtype">Type that models are trained in. What finds neighbors for them, and what a reader learns on top of one, have types of their own.</param>
/// <param name="Device">Where it is trained; null: on the processor.</param>
internal sealed record Recipe(long Seed, ScalarType Dtype, Device? Device = null)
{
    private const int WindowsPerStep = 2;

    /// <summary>Tokens of a window.</summary>
    public int WindowTokens { get; init; } = 512;

    /// <summary>Steps of what is learned on top of a decoder: half of the decoder's.</summary>
    /// <param name="steps">The decoder's.</param>
    public static int Fitting(int steps) => Math.Max(1, steps / 2);

    /// <summary>The name of what a run leaves for later ones, so that none takes another type's for its own; float32's has nothing behind it.</summary>
    /// <param name="name">The name without the type.</param>
    public string OfType(string name) => Dtype == ScalarType.Float32 ? name : $"{name}-{CommonOptions.NameOf(Dtype)}";

    /// <summary>Windows of a batch: each core of a processor takes one, an accelerator all of a step.</summary>
    private int Together => Device is null ? 1 : WindowsPerStep;

    /// <summary>
    /// Windows of a database, all of them with neighbors or none unless it is said: those without would teach nothing to what is fitted onto a frozen
    /// decoder.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="neighbors">Neighbors of its chunks; null: none are read.</param>
    /// <param name="retrieval">How the model reads them; needed with neighbors.</param>
    /// <param name="dropout">Share of the windows that are read without neighbors.</param>
    /// <param name="planting">Planted neighbors; null: none.</param>
    public WindowSampler Windows(
        ChunkDatabase database, NeighborTable? neighbors = null, RetrievalConfig? retrieval = null, double dropout = 0, PlantingSchedule? planting = null)
    {
        WindowSamplerOptions windows = new()
        {
            WindowLength = WindowTokens, BatchSize = Together, RetrievalDropout = dropout, Planting = planting, Seed = Seed, Neighbors = 0,
        };
        return neighbors is null
            ? new(database, windows)
            : new(database, windows with { Neighbors = retrieval!.Neighbors }, neighbors);
    }

    /// <summary>Settings of a training.</summary>
    /// <param name="steps">Steps.</param>
    /// <param name="folder">Where the checkpoint goes; null: nowhere.</param>
    /// <param name="time">Train for so long instead; null: by steps.</param>
    /// <param name="of">Rates and optimizer; null: those of a small model.</param>
    public TrainingOptions Training(int steps, string? folder = null, TimeSpan? time = null, TrainingOptions? of = null)
        => (of ?? TrainingOptions.SmallModel) with
        {
            Steps = steps,
            TimeBudget = time,
            Dtype = Dtype,
            Accumulation = WindowsPerStep / Together,
            CheckpointFolder = folder,
            Seed = Seed,
        };

    /// <summary>Trains a model, from weights that the seed draws.</summary>
    /// <param name="stage">What is shown meanwhile.</param>
    /// <param name="config">The model's configuration.</param>
    /// <param name="windows">What it is trained on.</param>
    /// <param name="steps">Steps.</param>
    /// <param name="folder">Where the checkpoint goes.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="time">Train for so long instead; null: by steps.</param>
    /// <param name="resume">Go on from what the folder holds, if anything.</param>
    /// <returns>The model, which is the caller's.</returns>
    public TrainedModel Train(
        string stage,
        RetroConfig config,
        WindowSampler windows,
        int steps,
        string folder,
        CancellationToken cancellationToken,
        TimeSpan? time = null,
        bool resume = false)
        => TrainedModel.Train(stage, config, windows, Training(steps, folder, time), cancellationToken, Device, resume);

    /// <summary>Fits retrieval onto a decoder that was trained before.</summary>
    /// <param name="stage">What is shown meanwhile.</param>
    /// <param name="decoder">Folder of the decoder's checkpoint.</param>
    /// <param name="retrieval">What is added.</param>
    /// <param name="windows">What it is trained on.</param>
    /// <param name="steps">Steps.</param>
    /// <param name="folder">Where the checkpoint goes.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="resume">Go on from what the folder holds, if anything.</param>
    /// <returns>The model, which is the caller's, and what fitting took.</returns>
    public TrainedModel Fit(
        string stage,
        string decoder,
        RetrievalConfig retrieval,
        WindowSampler windows,
        int steps,
        string folder,
        CancellationToken cancellationToken,
        bool resume = false)
        => TrainedModel.Fit(stage, decoder, retrieval, windows, Training(steps, folder), cancellationToken, Device, resume);
}
