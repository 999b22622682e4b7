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

    /// <summary>Its steps would leave weights that are no numbers, and say that they were done.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_model_in_float16_is_refused_and_stays_as_it_is(bool own)
    {
        Func<IReadOnlyList<(string name, Parameter parameter)>, optim.Optimizer>? sgd
            = own ? all => optim.SGD(all.Select(pair => pair.parameter), 0.1) : null;
        using RetroModel model = Model(Config);
        model.half();
        Dictionary<string, double[]> before = Weights(model);
        string message = Assert.Throws<TrainingException>(() => new Trainer(model, Options, optimizer: sgd)).Message;
        Assert.Contains("Float16", message, StringComparison.Ordinal);
        Assert.Contains("model.to(ScalarType.BFloat16)", message, StringComparison.Ordinal);
        Assert.Equal(before, Weights(model));

        using Trainer trainer = new(model, Options with { Dtype = ScalarType.BFloat16 }, optimizer: sgd);
        using TrainingBatch batch = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        Assert.False(trainer.Step([batch]).Skipped);
        Assert.All(Weights(model).Values, values => Assert.All(values, value => Assert.True(double.IsFinite(value))));
    }

    [Fact]
    public void A_part_of_another_type_is_named_where_nothing_casts_for_it()
    {
        LayerFactory narrow = new() { FeedForward = (config, _, device) => new Narrow(config, device) };
        using RetroModel model = Model(Config), casting = new(Config, ScalarType.Float64, layers: narrow);
        model.Layers[0].to(ScalarType.BFloat16);
        string message = Assert.Throws<TrainingException>(() => new Trainer(model, Options)).Message;
        Assert.Contains("is of type Float32", message, StringComparison.Ordinal);
        Assert.Contains("decoder.1.attn.norm.weight, of BFloat16", message, StringComparison.Ordinal);
        Assert.Contains("model.to(ScalarType.Float32)", message, StringComparison.Ordinal);

        using Trainer trainer = new(casting, Options);
        using TrainingBatch batch = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        Assert.True(trainer.Step([batch]).GradientNorm > 0);
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
    public void What_another_thread_disposes_while_it_trains_is_freed_when_the_run_has_ended()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { AverageDecay = 0.9, CheckpointFolder = Folder });
        long before = 0, after = 0;
        Assert.Throws<ObjectDisposedException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1), new Reports<TrainingProgress>(_ =>
        {
            before = LiveTensors.Settled();
            Thread other = new(trainer.Dispose);
            other.Start();
            other.Join();
            after = LiveTensors.Settled();
        })));
        Assert.Equal(1, trainer.StepsDone);
        Assert.Equal(before, after);
        Assert.True(LiveTensors.Settled() < before);
        Assert.Equal(1, Trainer.Stored(Folder).Steps); // of what was done until then nothing is lost
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

    /// <summary>Computes in float32, whatever the model's type is.</summary>
    private sealed class Narrow(RetroConfig config, Device? device) : FeedForward(config, encoder: false, ScalarType.Float32, device)
    {
        public override Tensor forward(Tensor x) => base.forward(x.to_type(ScalarType.Float32)).to_type(x.dtype);
    }
}
