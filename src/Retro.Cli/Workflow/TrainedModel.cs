using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Cli.Workflow;

/// <summary>A model, what its training took, and what each step reported.</summary>
internal sealed record TrainedModel(RetroModel Model, long Steps, TimeSpan Time, List<TrainingProgress> Reports)
{
    /// <summary>Tokens of a window at most: what it takes, or what it was made to read at once; null: any.</summary>
    public int? Longest { get; init; }

    /// <summary>The decoder that is trained alone, and then the RETRO that retrieval is fitted onto it for.</summary>
    /// <param name="vocabularySize">The tokenizer's.</param>
    public static (RetroConfig Decoder, RetrievalConfig Retrieval) Config(int vocabularySize)
    {
        RetroConfig decoder = RetroConfig.Mini with { VocabularySize = vocabularySize, Retrieval = null };
        return (decoder, RetrievalConfig.Matching(decoder));
    }

    /// <summary>The model with all that a row of it was given: what it goes on from, or what was learned on top of it, is added to its own training.</summary>
    /// <param name="steps">Steps of the other training.</param>
    /// <param name="time">Its time.</param>
    public TrainedModel TogetherWith(long steps, TimeSpan time) => this with { Steps = Steps + steps, Time = Time + time };

    /// <summary>Whether another model is this one, bit for bit.</summary>
    public bool HasSameWeights(TrainedModel other)
    {
        using IDisposable noGradients = no_grad();
        RetroModel its = other.Model;
        Dictionary<string, Tensor> there = its.named_parameters().ToDictionary(pair => pair.name, pair => (Tensor)pair.parameter);
        return Model.Config == its.Config && Model.Dtype == its.Dtype
            && Model.named_parameters().All(pair => there.TryGetValue(pair.name, out Tensor? same) && pair.parameter.Equals(same));
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
        return Train(stage, new RetroModel(config, device: device), windows, options, resume, cancellationToken);
    }

    /// <summary>
    /// Fits retrieval onto a decoder that was trained before; the decoder stays as it is, so that the RETRO without retrieval is the decoder.
    /// </summary>
    /// <param name="stage">What is shown meanwhile.</param>
    /// <param name="decoder">Folder of the decoder's checkpoint.</param>
    /// <param name="retrieval">What is added.</param>
    /// <param name="windows">What it is trained on.</param>
    /// <param name="options">Settings; their checkpoint folder is written at the end.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="device">Where; null: on the processor.</param>
    /// <param name="resume">Go on from what the checkpoint folder holds, if anything.</param>
    /// <returns>The model, which is the caller's, and what fitting took, the decoder's own training not among it.</returns>
    public static TrainedModel Fit(
        string stage,
        string decoder,
        RetrievalConfig retrieval,
        WindowSampler windows,
        TrainingOptions options,
        CancellationToken cancellationToken,
        Device? device = null,
        bool resume = false)
    {
        ScalarType dtype = options.Dtype ?? ModelFolder.BestType(decoder, device);
        RetroModel model;
        using (PretrainedDecoder trained = PretrainedDecoder.Load(decoder, dtype, device, cancellationToken: cancellationToken))
        {
            manual_seed(options.Seed);
            model = Retrofit.From(trained, retrieval, take: true).Model;
        }

        return Train(stage, model, windows, options, resume, cancellationToken);
    }

    private static TrainedModel Train(
        string stage, RetroModel model, WindowSampler windows, TrainingOptions options, bool resume, CancellationToken cancellationToken)
    {
        try
        {
            bool goesOn = resume && File.Exists(Path.Combine(options.CheckpointFolder!, Trainer.StateFile));
            using Trainer trainer = new(
                model, goesOn && options.Dtype is not null ? options with { Dtype = Trainer.Stored(options.CheckpointFolder!).Dtype } : options);
            if (goesOn)
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
