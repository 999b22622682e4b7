using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>A small model and its training, which the tests of the trainer share.</summary>
internal static class Trainings
{
    public static RetroConfig Config { get; } = SmallModel.Config;

    public static TrainingOptions Options { get; } = TrainingOptions.SmallModel with { Steps = 12, WarmupSteps = 2, Accumulation = 2 };

    public static RetroModel Model(RetroConfig config, ScalarType dtype = ScalarType.Float32, long seed = 4)
    {
        manual_seed(seed);
        return new RetroModel(config, dtype);
    }

    public static RetroModel Model(RetroConfig config, long seed) => Model(config, ScalarType.Float32, seed);

    /// <summary>A model of which only what reads neighbors is trained.</summary>
    public static RetroModel OfRetrievalAlone()
    {
        RetroModel model = Model(Config);
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            parameter.requires_grad = name.StartsWith("encoder.", StringComparison.Ordinal) || name.Contains(".cca.", StringComparison.Ordinal);
        }

        return model;
    }

    /// <summary>Runs a training to its end, and disposes the trainer.</summary>
    public static List<TrainingProgress> Run(Trainer trainer, ITrainingData data, Action<TrainingProgress>? also = null)
    {
        using Trainer owned = trainer;
        List<TrainingProgress> steps = [];
        trainer.Run(data, new Reports<TrainingProgress>(done =>
        {
            steps.Add(done);
            also?.Invoke(done);
        }));
        return steps;
    }

    public static Dictionary<string, double[]> Weights(RetroModel model)
    {
        using DisposeScope scope = NewDisposeScope();
        return model.state_dict().ToDictionary(pair => pair.Key, pair => pair.Value.detach().to_type(ScalarType.Float64).data<double>().ToArray());
    }

    public static void AssertSameWeights(RetroModel expected, RetroModel came)
    {
        Dictionary<string, double[]> one = Weights(expected), other = Weights(came);
        Assert.Equal(one.Keys, other.Keys);
        Assert.All(one.Keys, name => Assert.Equal(one[name], other[name]));
    }
}
