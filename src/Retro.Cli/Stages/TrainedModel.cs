using Retro.Modeling;
using Retro.Training;
using static TorchSharp.torch;

namespace Samples;

/// <summary>A model, what its training took, and what each step reported.</summary>
internal sealed record TrainedModel(RetroModel Model, long Steps, TimeSpan Time, List<TrainingProgress> Reports)
{
    /// <summary>The RETRO that is trained from nothing, as minutes allow: with keys that also see the token before, and an encoder of one layer.</summary>
    /// <param name="vocabularySize">The tokenizer's.</param>
    /// <returns>The configuration; without its retrieval it is the decoder's that is trained alone.</returns>
    public static RetroConfig Config(int vocabularySize)
    {
        RetrievalConfig retrieval = RetroConfig.Mini.Retrieval!;
        return RetroConfig.Mini with
        {
            VocabularySize = vocabularySize,
            Retrieval = retrieval with { ShiftedKeys = true, Encoder = retrieval.Encoder with { Layers = 1 } },
        };
    }

    /// <summary>Trains a model, from weights that the options' seed draws.</summary>
    /// <param name="stage">What is shown meanwhile.</param>
    /// <param name="config">The model's configuration.</param>
    /// <param name="windows">What it is trained on.</param>
    /// <param name="options">Settings; their checkpoint folder is written at the end.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="device">Where; null: on the processor.</param>
    /// <param name="resume">Go on from what the checkpoint folder holds, if anything.</param>
    /// <returns>The model, which is the caller's.</returns>
    public static TrainedModel Train(
        string stage,
        RetroConfig config,
        WindowSampler windows,
        TrainingOptions options,
        CancellationToken cancellationToken,
        Device? device = null,
        bool resume = false)
    {
        manual_seed(options.Seed);
        RetroModel model = new(config, device: device);
        try
        {
            using Trainer trainer = new(model, options);
            if (resume && File.Exists(Path.Combine(options.CheckpointFolder!, Trainer.StateFile)))
            {
                trainer.Load(options.CheckpointFolder!, cancellationToken: cancellationToken);
            }

            List<TrainingProgress> reports = Stages.Train(stage, options.TimeBudget, progress => trainer.Run(windows, progress, cancellationToken));
            return new TrainedModel(model, trainer.StepsDone, trainer.Elapsed, reports);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }
}
