using System.Text.Json;
using Retro.Modeling;
using Retro.Training;
using TorchSharp;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Steps that move nothing, since nothing has a gradient or it is not finite, and when they end a training.</summary>
public sealed class NothingLearnedTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Where_only_retrieval_is_trained_batches_without_neighbors_are_taken(int accumulation)
    {
        using RetroModel model = OfRetrievalAlone();
        using Trainer trainer = new(model, Options with { Steps = 12, Accumulation = accumulation });
        List<TrainingProgress> steps = [];
        trainer.Run(new CopyingData(Config, 2, 3, seed: 1, dropout: 0.5), new Reports<TrainingProgress>(steps.Add));

        Assert.All(steps, step => Assert.False(step.Skipped));
    }

    [Theory]
    [InlineData(8, 10, false, 8)] // at the end
    [InlineData(200, 3, false, 30)]
    [InlineData(200, 1, true, 20)]
    public void A_training_that_can_move_nothing_ends_with_the_reason(int steps, int most, bool recompute, int ends)
    {
        foreach (bool empty in new[] { false, true })
        {
            using RetroModel model = OfRetrievalAlone();
            Dictionary<string, double[]> before = Weights(model);
            using Trainer trainer = new(
                model, Options with { Steps = steps, MaximumSkippedSteps = most, RecomputeActivations = recompute, CheckpointFolder = Folder });

            TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new Emptied(new(Config, 2, 3, seed: 1, dropout: empty ? 0 : 1))));

            Assert.Contains($"{ends} steps have taught nothing: all that is trained reads neighbors", fault.Message, StringComparison.Ordinal);
            Assert.Equal(ends, trainer.StepsDone);
            Assert.Equal(before, Weights(model));
            Assert.False(File.Exists(Path.Combine(Folder, Trainer.StateFile)));
        }
    }

    /// <summary>A loss mask that leaves nothing is no training that came to its end.</summary>
    [Theory]
    [InlineData(12, 10, 12)] // at the end
    [InlineData(200, 2, 20)]
    public void A_training_without_anything_to_predict_ends_with_the_reason(int steps, int most, int ends)
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Steps = steps, MaximumSkippedSteps = most, CheckpointFolder = Folder });
        TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new Masked(new(Config, 2, 3, seed: 1), 0)));
        Assert.Contains($"{ends} steps have taught nothing: no batch held a token to predict", fault.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(Folder, Trainer.StateFile)));
    }

    /// <summary>By what the step said, it has not come to its end: it would have gone on.</summary>
    [Fact]
    public void A_training_by_time_without_anything_to_predict_so_far_is_saved_where_a_fault_ends_it()
    {
        SteppingClock clock = new(TimeSpan.Zero);
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { TimeBudget = TimeSpan.FromSeconds(10), CheckpointFolder = Folder }, clock);
        IOException full = new("There is no space left on the disk.");
        Assert.Same(full, Assert.Throws<IOException>(() => trainer.Run(new Masked(new(Config, 2, 3, seed: 1), 0), new Reports<TrainingProgress>(_ =>
        {
            clock.Advance(TimeSpan.FromSeconds(11));
            throw full;
        }))));
        Assert.Equal(1, Trainer.Stored(Folder).Steps);
    }

    /// <summary>What the last batch lacks says nothing of those before it.</summary>
    [Fact]
    public void The_end_of_a_training_asks_what_all_steps_have_taught()
    {
        using RetroModel model = OfRetrievalAlone(), learning = Model(Config);
        TrainingOptions options = Options with { Steps = 8, Accumulation = 1 };
        using Trainer trainer = new(model, options), taught = new(learning, options);
        CopyingData none = new(Config, 2, 3, seed: 1, dropout: 1);
        TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new Masked(none, 7)));
        Assert.Contains("8 steps have taught nothing: all that is trained reads neighbors", fault.Message, StringComparison.Ordinal);
        taught.Run(new Masked(none, 7));
        Assert.Equal(8, taught.StepsDone);

        // Patience ends it, and not the last step.
        using Trainer patient = new(model, options with { Steps = 100, MeasureEvery = 1, Patience = 2 }) { Measure = _ => 1 };
        Assert.Contains("3 steps have taught nothing", Assert.Throws<TrainingException>(() => patient.Run(none)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_training_in_which_no_gradient_was_finite_says_so_at_its_end()
    {
        using RetroModel model = Model(Config);
        using (no_grad())
        {
            model.named_parameters().First(pair => pair.name == "decoder.norm.weight").parameter.fill_(double.NaN);
        }

        using Trainer trainer = new(model, Options with { Steps = 4 });
        TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1)));
        Assert.Contains("4 steps have taught nothing: the gradient of the loss was not finite in any", fault.Message, StringComparison.Ordinal);
    }

    /// <summary>Neighbors may be few: what has been moved once is moved again.</summary>
    [Fact]
    public void A_training_that_has_moved_once_waits_for_the_next_neighbors_also_where_it_was_resumed()
    {
        using RetroModel model = OfRetrievalAlone(), other = OfRetrievalAlone();
        TrainingOptions options = Options with { Steps = 20, MaximumSkippedSteps = 1 };
        using Trainer trainer = new(model, options), resumed = new(other, options), anew = new(other, options);
        using TrainingBatch some = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        using TrainingBatch none = new CopyingData(Config, 2, 3, seed: 1, dropout: 1).Batch(0, 0).ToTensors();
        Assert.NotEqual(0, trainer.Step([some]).GradientNorm);
        trainer.Save(Folder);
        resumed.Load(Folder);
        for (int step = 2; step <= 20; step++)
        {
            Assert.Equal(0, trainer.Step([none]).GradientNorm);
            Assert.Equal(0, resumed.Step([none]).GradientNorm);
        }

        for (int step = 1; step < 10; step++)
        {
            anew.Step([none]);
        }

        Assert.Throws<TrainingException>(() => anew.Step([none]));
    }

    [Fact]
    public void A_loss_that_is_no_number_is_skipped_and_ends_the_training_when_it_stays()
    {
        using RetroModel model = Model(Config);
        using (no_grad())
        {
            model.named_parameters().First(pair => pair.name == "decoder.norm.weight").parameter.fill_(double.NaN);
        }

        Dictionary<string, double[]> before = Weights(model);
        using Trainer trainer = new(model, Options with { MaximumSkippedSteps = 3, CheckpointFolder = Folder, CheckpointEvery = 1 });
        List<TrainingProgress> steps = [];
        TrainingException exception = Assert.Throws<TrainingException>(() =>
            trainer.Run(new CopyingData(Config, 2, 3, seed: 1), new Reports<TrainingProgress>(steps.Add)));

        Assert.Contains("3 steps in a row", exception.Message, StringComparison.Ordinal);
        Assert.Contains("start again", exception.Message, StringComparison.Ordinal); // there is no checkpoint
        Assert.Equal(2, steps.Count);
        Assert.All(steps, step => Assert.True(step.Skipped));
        Assert.Equal(before, Weights(model));
        Assert.False(File.Exists(Path.Combine(Folder, Trainer.StateFile)));

        // What goes on from there reads on behind the batches of all three steps.
        trainer.Save(Folder);
        using JsonDocument state = JsonDocument.Parse(File.ReadAllText(Path.Combine(Folder, Trainer.StateFile.Replace(".safetensors", ".json"))));
        Assert.Equal(3, state.RootElement.GetProperty("Steps").GetInt64());
        Assert.Equal(3 * trainer.Options.Accumulation, state.RootElement.GetProperty("Batches").GetInt64());
    }

    /// <summary>A step without a target moves nothing: it does not show that gradients are finite again, and its weights are the same.</summary>
    [Fact]
    public void Steps_without_anything_to_predict_are_no_sound_ones_between_those_that_are_skipped()
    {
        using RetroModel model = Model(Config);
        using (no_grad())
        {
            model.named_parameters().First(pair => pair.name == "decoder.norm.weight").parameter.fill_(double.NaN);
        }

        TrainingOptions options = Options with { Steps = 40, Accumulation = 1, MaximumSkippedSteps = 3, CheckpointFolder = Folder, CheckpointEvery = 1 };
        using Trainer trainer = new(model, options);
        TrainingException exception = Assert.Throws<TrainingException>(() => trainer.Run(new Masked(new(Config, 2, 3, seed: 1), from: 1, every: 2)));
        Assert.Contains("3 steps in a row", exception.Message, StringComparison.Ordinal);
        Assert.Equal(5, trainer.StepsDone);
        Assert.False(File.Exists(Path.Combine(Folder, Trainer.StateFile)));
    }

    [Fact]
    public void Steps_that_were_skipped_before_an_interruption_count_among_those_in_a_row()
    {
        CopyingData data = new(Config, 2, 3, seed: 1);
        using RetroModel model = Model(Config), other = Model(Config);
        using (no_grad())
        {
            model.named_parameters().First(pair => pair.name == "decoder.norm.weight").parameter.fill_(double.NaN);
        }

        TrainingOptions options = Options with { MaximumSkippedSteps = 3 };
        using Trainer trainer = new(model, options), resumed = new(other, options);
        using CancellationTokenSource cancel = new();
        Assert.Throws<OperationCanceledException>(() => trainer.Run(data, new Reports<TrainingProgress>(step =>
        {
            if (step.Step == 2)
            {
                cancel.Cancel();
            }
        }), cancel.Token));
        trainer.Save(Folder);
        resumed.Load(Folder);

        TrainingException exception = Assert.Throws<TrainingException>(() => resumed.Run(data));

        Assert.Contains("3 steps in a row", exception.Message, StringComparison.Ordinal);
        Assert.Contains("start again", exception.Message, StringComparison.Ordinal);
        Assert.Equal(3, resumed.StepsDone);
    }

    /// <summary>The same with places for neighbors that hold none.</summary>
    private sealed class Emptied(CopyingData data) : ITrainingData
    {
        public string Identity => $"{data.Identity}, emptied";

        public TokenBatch Batch(long index, double progress)
        {
            TokenBatch batch = data.Batch(index, progress);
            Array.Clear(batch.Retrieved?.Valid ?? []);
            return batch;
        }
    }

    /// <summary>The same whose batches from one on, all or every so many, have nothing to predict.</summary>
    private sealed class Masked(CopyingData data, long from, long every = 1) : ITrainingData
    {
        public string Identity => $"{data.Identity}, masked from {from} every {every}";

        public TokenBatch Batch(long index, double progress)
        {
            TokenBatch batch = data.Batch(index, progress);
            Array.Clear(index < from || (index - from) % every != 0 ? [] : batch.LossMask);
            return batch;
        }
    }
}
