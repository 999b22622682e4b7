using Retro.Modeling;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>What a trainer cannot be asked for.</summary>
public sealed class TrainerMisuseTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_model_that_was_cast_after_its_trainer_was_made_is_named()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { CheckpointFolder = Folder });
        model.to(ScalarType.Float64);
        CopyingData data = new(Config, 2, 3, seed: 1);
        foreach (Action act in new Action[] { () => trainer.Run(data), () => trainer.Save(Folder), () => trainer.Load(Folder) })
        {
            Assert.Contains("cast or moved after the trainer was made", Assert.Throws<InvalidOperationException>(act).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_was_disposed_is_named(bool own)
    {
        Func<IReadOnlyList<(string name, Parameter parameter)>, optim.Optimizer>? sgd
            = own ? all => optim.SGD(all.Select(pair => pair.parameter), 0.1) : null;
        TrainingOptions options = Options with { AverageDecay = 0.9 };
        CopyingData data = new(Config, 2, 3, seed: 1);
        using TrainingBatch batch = data.Batch(0, 0).ToTensors();
        using RetroModel model = Model(Config), gone = Model(Config);
        using Trainer disposed = new(model, options, optimizer: sgd), left = new(gone, options, optimizer: sgd);
        disposed.Dispose();
        gone.Dispose();

        Assert.All(Named(disposed), name => Assert.Equal(typeof(Trainer).FullName, name));
        Assert.All(Named(left), name => Assert.Equal(typeof(RetroModel).FullName, name));
        Assert.Equal(
            typeof(RetroModel).FullName, Assert.Throws<ObjectDisposedException>(() => new Trainer(gone, options, optimizer: sgd)).ObjectName);
        Assert.False(Directory.Exists(Folder));

        IEnumerable<string> Named(Trainer trainer) => new Action[]
        {
            () => trainer.Step([batch]), () => trainer.Run(data), () => trainer.Save(Folder), () => trainer.Load(Folder), () => trainer.Averaged(),
        }.Select(act => Assert.Throws<ObjectDisposedException>(act).ObjectName);
    }

    [Fact]
    public void Patience_without_what_it_counts_is_refused()
    {
        Assert.Contains(
            "Patience", Assert.Throws<RetroOptionsException>(() => (Options with { Patience = 1 }).Validate()).Message, StringComparison.Ordinal);
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Patience = 1, MeasureEvery = 2 });
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1)));
        Assert.Contains("Patience 1 has to be null where the trainer has no Measure", fault.Message, StringComparison.Ordinal);
        Assert.Equal(0, trainer.StepsDone);
    }
}
