using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>The average of the weights that a training keeps beside them.</summary>
public sealed class WeightAverageTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private TrainingOptions Options => new() { Steps = 12, WarmupSteps = 0, LearningRate = 0.01, AverageDecay = 0.7, CheckpointFolder = _folder.Path };

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void It_is_the_moving_average_it_is_what_is_measured_and_saved_and_the_training_goes_on_from_the_weights(ScalarType dtype)
    {
        using RetroModel model = Model(), plain = Model();
        CopyingData data = new(SmallModel.Config, 2, 3, seed: 1);
        double[] average = Embedding(model), measured = [];
        using (Trainer trainer = new(model, Options with { Dtype = dtype }) { Measure = one => (measured = Embedding(one)).Sum() })
        {
            trainer.Run(data, new Reports<TrainingProgress>(done =>
            {
                double decay = Math.Min(0.7, (double)done.Step / (done.Step + 9));
                average = [.. average.Zip(Embedding(model), (a, w) => (decay * a) + ((1 - decay) * w))];
            }));
            double rounding = dtype == ScalarType.BFloat16 ? 1e-2 : 1e-5;
            Close(average, measured, rounding);
            using (trainer.Averaged())
            {
                Assert.Equal(measured, Embedding(model));
            }

            Assert.True(Distance(measured, Embedding(model)) > 1e-3);
            using RetroModel saved = Checkpoint.Load(_folder.Path), best = Checkpoint.Load(Path.Combine(_folder.Path, Trainer.BestFolder));
            Assert.Equal(measured, Embedding(saved));
            Assert.Equal(measured, Embedding(best));
        }

        using Trainer other = new(plain, Options with { Dtype = dtype, AverageDecay = null, CheckpointFolder = null });
        other.Run(data);
        Assert.Equal(Embedding(plain), Embedding(model));
        Assert.Null(other.Averaged());
    }

    /// <summary>At a small rate most of what a step moves is lost where a weight is rounded to eight bits.</summary>
    [Fact]
    public void In_bfloat16_it_averages_the_float32_copies_from_the_first_on()
    {
        const string Name = "embedding.weight";
        using RetroModel model = Model();
        CopyingData data = new(SmallModel.Config, 2, 3, seed: 1);
        double[] average = Embedding(model);
        using Trainer trainer = new(model, Options with { Dtype = ScalarType.BFloat16, LearningRate = 1e-4 });
        for (int step = 0; step < 12; step++)
        {
            using TrainingBatch batch = data.Batch(step, 0).ToTensors();
            trainer.Step([batch]);
            trainer.Save(_folder.Path);
            using Safetensors state = Safetensors.Open(Path.Combine(_folder.Path, Trainer.StateFile));
            double decay = Math.Min(0.7, (step + 1.0) / (step + 10));
            average = [.. average.Zip(Stored($"optimizer/{Name}/master"), (a, w) => (decay * a) + ((1 - decay) * w))];
            Close(average, Stored($"average/{Name}"), 1e-6);

            double[] Stored(string name)
            {
                using Tensor tensor = state.Read(name);
                return tensor.to(ScalarType.Float64).data<double>().ToArray();
            }
        }
    }

    /// <summary>Where the model stands there twice, memory may end.</summary>
    [Fact]
    public void Where_it_cannot_be_put_in_the_place_of_the_weights_they_stay_and_can_be_trained()
    {
        using Parameter first = new(ones(3)), second = new(ones(3));
        using WeightAverage average = new([("first", first, first), ("second", second, second)], 0.5);
        using (no_grad())
        {
            first.fill_(2);
        }

        second.Dispose();
        Assert.ThrowsAny<Exception>(average.Put);
        Assert.False(average.IsPut);
        Assert.Equal([2, 2, 2], first.data<float>().ToArray());
    }

    /// <summary>A step would be undone when the weights come back, and a checkpoint would hold the average for what is trained.</summary>
    [Fact]
    public void While_the_model_holds_it_nothing_is_trained_or_saved_as_if_it_were_the_weights()
    {
        using RetroModel model = Model();
        using Trainer trainer = new(model, Options);
        using TrainingBatch batch = new(randint(SmallModel.Config.VocabularySize, [1, 8], ScalarType.Int64));
        using (trainer.Averaged())
        {
            Assert.Throws<InvalidOperationException>(() => trainer.Save(_folder.Path));
            string message = Assert.Throws<InvalidOperationException>(() => trainer.Step([batch])).Message;
            Assert.Contains("dispose what Averaged gave", message, StringComparison.Ordinal);
            Assert.Throws<InvalidOperationException>(trainer.Averaged);
            Assert.Throws<InvalidOperationException>(() => trainer.Load(_folder.Path));
        }

        trainer.Step([batch]);
        trainer.Save(_folder.Path);
    }

    [Fact]
    public void A_step_that_is_skipped_is_no_part_of_it()
    {
        using RetroModel model = Model();
        using Trainer trainer = new(model, Options with { CheckpointFolder = null });
        using TrainingBatch batch = new CopyingData(SmallModel.Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        trainer.Step([batch]);
        double[] before = Average();
        Assert.NotEqual(before, Embedding(model));
        using (no_grad())
        {
            model.get_parameter("decoder.norm.weight")!.fill_(double.NaN);
        }

        Assert.True(trainer.Step([batch]).Skipped);

        Assert.Equal(before, Average());

        double[] Average()
        {
            using IDisposable? put = trainer.Averaged();
            return Embedding(model);
        }
    }

    [Fact]
    public void It_goes_on_with_the_same_bits_and_begins_where_a_checkpoint_has_none()
    {
        CopyingData data = new(SmallModel.Config, 2, 3, seed: 2);
        double[] whole = Run(Options with { CheckpointFolder = Path.Combine(_folder.Path, "whole") }, null, out _);
        TrainingOptions halves = Options with { CheckpointFolder = Path.Combine(_folder.Path, "halves") };
        Run(halves, 5, out _);
        Assert.Equal(whole, Run(halves, null, out _));

        TrainingOptions without = Options with { CheckpointFolder = Path.Combine(_folder.Path, "without"), AverageDecay = null };
        Run(without, 12, out double[] weights);
        using RetroModel model = Model();
        using Trainer trainer = new(model, without with { AverageDecay = 0.9 });
        trainer.Load(without.CheckpointFolder!);
        using IDisposable? averaged = trainer.Averaged();
        Assert.Equal(weights, Embedding(model));

        double[] Run(TrainingOptions options, int? stopAfter, out double[] own)
        {
            using RetroModel one = Model();
            using Trainer trains = new(one, options);
            if (File.Exists(Path.Combine(options.CheckpointFolder!, Trainer.StateFile)))
            {
                trains.Load(options.CheckpointFolder!);
            }

            using CancellationTokenSource cancel = new();
            Exception? ended = Record.Exception(() => trains.Run(data, new Reports<TrainingProgress>(done =>
            {
                if (done.Step == stopAfter)
                {
                    cancel.Cancel();
                }
            }), cancel.Token));
            Assert.Equal(stopAfter < options.Steps ? typeof(OperationCanceledException) : null, ended?.GetType());

            own = Embedding(one);
            using IDisposable? put = trains.Averaged();
            return Embedding(one);
        }
    }

    /// <summary>A tensor of one value would fill every weight, and one of another shape be refused when the others were replaced.</summary>
    [Theory]
    [InlineData("average/embedding.weight", 1, ScalarType.Float32)]
    [InlineData("average/embedding.weight", 7, ScalarType.Float32)]
    [InlineData("average/embedding.weight", 0, ScalarType.Float64)]
    [InlineData("average/of.nothing", 1, ScalarType.Float32)]
    public void One_that_does_not_fit_is_refused_before_anything_is_replaced(string name, int values, ScalarType dtype)
    {
        string folder = Path.Combine(_folder.Path, "made"), path = Path.Combine(folder, Trainer.StateFile);
        using RetroModel model = Model(), other = Model();
        using (Trainer trainer = new(model, Options with { Steps = 3, CheckpointFolder = folder }))
        {
            trainer.Run(new CopyingData(SmallModel.Config, 2, 3, seed: 2));
        }

        using (DisposeScope scope = NewDisposeScope())
        {
            Dictionary<string, Tensor> tensors;
            IReadOnlyDictionary<string, string> metadata;
            using (Safetensors file = Safetensors.Open(path))
            {
                (tensors, metadata) = (file.Entries.ToDictionary(entry => entry.Name, entry => file.Read(entry.Name)), file.Metadata!);
            }

            tensors[name] = values > 0 ? ones(values, dtype) : tensors[name].to_type(dtype);
            Safetensors.Write(path, tensors, metadata);
        }

        double[] before = Embedding(other);
        using Trainer resumed = new(other, Options with { Steps = 6 });
        CheckpointException fault = Assert.Throws<CheckpointException>(() => resumed.Load(folder));
        Assert.Contains($"the average of {name["average/".Length..]}", fault.Message, StringComparison.Ordinal);
        Assert.Equal(0, resumed.StepsDone);
        Assert.Equal(before, Embedding(other));
    }

    [Fact]
    public void A_training_that_has_one_does_not_go_on_without()
    {
        using RetroModel model = Model(), other = Model();
        using (Trainer trainer = new(model, Options with { Steps = 3 }))
        {
            trainer.Run(new CopyingData(SmallModel.Config, 2, 3, seed: 2));
        }

        double[] before = Embedding(other);
        using Trainer without = new(other, Options with { AverageDecay = null });
        CheckpointException fault = Assert.Throws<CheckpointException>(() => without.Load(_folder.Path));

        Assert.Contains("resume with AverageDecay as before", fault.Message, StringComparison.Ordinal);
        Assert.Equal(0, without.StepsDone);
        Assert.Equal(before, Embedding(other));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_decay_that_forgets_nothing_or_everything_is_refused(double decay)
    {
        using RetroModel model = Model();
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() => new Trainer(model, Options with { AverageDecay = decay }));
        Assert.Contains("AverageDecay", fault.Message, StringComparison.Ordinal);
    }

    private static RetroModel Model()
    {
        manual_seed(4);
        return new RetroModel(SmallModel.Config);
    }

    private static double[] Embedding(RetroModel model)
        => model.get_parameter("embedding.weight")!.detach().to(ScalarType.Float64).data<double>().ToArray();

    private static double Distance(double[] a, double[] b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Max();

    private static void Close(double[] expected, double[] came, double bound) => Assert.InRange(Distance(expected, came), 0, bound);
}
