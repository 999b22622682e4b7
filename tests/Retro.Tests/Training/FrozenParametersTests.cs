using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Optimization;
using Retro.Training;
using TorchSharp.Modules;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Parameters that are not trained.</summary>
public sealed class FrozenParametersTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_training_goes_on_with_the_frozen_weights_that_it_began_with_alone()
    {
        using RetroModel model = Frozen(1), same = Frozen(1), other = Frozen(2);
        using Trainer trainer = new(model, Options), again = new(same, Options), wrong = new(other, Options);
        trainer.Save(Folder);
        again.Load(Folder);
        string message = Assert.Throws<CheckpointException>(() => wrong.Load(Folder)).Message;
        Assert.Contains("was begun on other weights than this model's where none are trained", message, StringComparison.Ordinal);

        // The same weights in another type are told as such.
        using Trainer narrow = new(other, Options with { Dtype = ScalarType.BFloat16 });
        Assert.Contains("as Float32", Assert.Throws<CheckpointException>(() => narrow.Load(Folder)).Message, StringComparison.Ordinal);

        static RetroModel Frozen(long seed)
        {
            manual_seed(seed);
            RetroModel made = new(Config);
            foreach (Parameter parameter in made.Layers[0].parameters())
            {
                parameter.requires_grad = false;
            }

            return made;
        }
    }

    [Fact]
    public void Frozen_parameters_stay_to_the_bit_and_the_others_move()
    {
        using RetroModel model = Model(Config);
        static bool Retrieval(string name) => name.StartsWith("encoder.", StringComparison.Ordinal) || name.Contains(".cca.", StringComparison.Ordinal);
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            parameter.requires_grad = Retrieval(name);
        }

        Dictionary<string, double[]> before = Weights(model);
        Run(new Trainer(model, Options with { CheckpointFolder = Folder }), new CopyingData(Config, 2, 3, seed: 1));
        Dictionary<string, double[]> after = Weights(model);
        Assert.All(before.Keys, name => Assert.Equal(!Retrieval(name), before[name].SequenceEqual(after[name])));
        using Safetensors state = Safetensors.Open(Path.Combine(Folder, Trainer.StateFile));
        Assert.All(state.Entries, entry => Assert.True(Retrieval(entry.Name[(entry.Name.IndexOf('/', StringComparison.Ordinal) + 1)..])));
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public void Parameters_that_are_frozen_later_stay_from_then_on(int threads, bool recompute)
    {
        using ThreadCount set = new(threads);
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { RecomputeActivations = recompute });
        using TrainingBatch one = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        using TrainingBatch other = new CopyingData(Config, 2, 3, seed: 2).Batch(0, 0).ToTensors();
        trainer.Step([one, other]);
        Dictionary<string, double[]> then = Weights(model);
        Freeze(name => name == "head.weight" || name.StartsWith("decoder.2.", StringComparison.Ordinal));

        trainer.Step([one, other]);

        Dictionary<string, double[]> after = Weights(model);
        Assert.All(model.named_parameters(), pair => Assert.Equal(pair.parameter.requires_grad, !then[pair.name].SequenceEqual(after[pair.name])));
        Freeze(_ => true);
        Assert.Contains("has been frozen", Assert.Throws<TrainingException>(() => trainer.Step([one, other])).Message, StringComparison.Ordinal);
        Assert.Equal(2, trainer.StepsDone);
        Assert.Equal(after, Weights(model));

        void Freeze(Func<string, bool> which)
        {
            foreach ((string name, Parameter parameter) in model.named_parameters().Where(pair => which(pair.name)))
            {
                parameter.requires_grad = false;
            }
        }
    }
}
