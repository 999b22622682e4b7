using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Measures on the way: when they are taken, what is kept of the best one, and when they end the training.</summary>
public sealed class MeasureTests : IDisposable
{
    private static readonly RetroConfig s_config = SmallModel.Config;

    private readonly TemporaryFolder _folder = new();

    private TrainingOptions Options => new() { Steps = 8, WarmupSteps = 0, LearningRate = 0.01, CheckpointFolder = _folder.Path };

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_measure_is_taken_as_often_as_asked_and_at_the_end_and_the_best_model_is_kept_beside_the_last()
    {
        using RetroModel model = Model();
        Queue<double> measures = new([2, 1, double.NaN]);
        List<(long, double?)> told = [];
        List<byte[]> weights = [];
        using Trainer trainer = new(model, Options with { MeasureEvery = 3 })
        {
            Measure = measured =>
            {
                Assert.Same(model, measured);
                Assert.False(measured.training);
                weights.Add(Embedding(measured));
                return measures.Dequeue();
            },
        };
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1), new Reports<TrainingProgress>(done =>
        {
            Assert.True(model.training);
            told.Add((done.Step, done.Measure));
        }));

        Assert.Equal([(1, null), (2, null), (3, 2), (4, null), (5, null), (6, 1), (7, null), (8, double.NaN)], told);
        Assert.Equal(1, trainer.BestMeasure);
        using RetroModel best = Checkpoint.Load(Path.Combine(_folder.Path, Trainer.BestFolder)), last = Checkpoint.Load(_folder.Path);
        Assert.Equal(weights[1], Embedding(best));
        Assert.Equal(weights[2], Embedding(last));
        Assert.NotEqual(weights[1], weights[2]);
    }

    /// <summary>0.58 times 50 is less than 29 in floating point.</summary>
    [Theory]
    [InlineData(8, 3, new long[] { 3, 6, 8 })]
    [InlineData(50, 50, null)]
    public void Measures_are_spread_over_the_steps(int steps, int measures, long[]? expected)
    {
        using RetroModel model = Model();
        List<long> measured = [];
        using Trainer trainer = new(model, Options with { Steps = steps, Measures = measures, CheckpointFolder = null }) { Measure = _ => 1 };
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1), new Reports<TrainingProgress>(done =>
        {
            if (done.Measure is not null)
            {
                measured.Add(done.Step);
            }
        }));

        Assert.Equal(expected ?? [.. Enumerable.Range(1, steps).Select(step => (long)step)], measured);
    }

    /// <summary>How many steps a time allows is not known before.</summary>
    [Fact]
    public void Measures_are_spread_over_the_time_where_there_is_a_budget_of_it()
    {
        using RetroModel model = Model();
        List<double> measured = [];
        TrainingOptions options = Options with { Measures = 4, TimeBudget = TimeSpan.FromSeconds(2) };
        using Trainer trainer = new(model, options, time: new Ticking()) { Measure = _ => 1 };
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1), new Reports<TrainingProgress>(done =>
        {
            if (done.Measure is not null)
            {
                measured.Add(done.Progress);
            }
        }));

        Assert.True(trainer.StepsDone > 12);
        Assert.Equal(4, measured.Count);
        Assert.All(measured.Index(), one => Assert.InRange(one.Item, (one.Index + 1) * 0.25, ((one.Index + 1) * 0.25) + 0.12));
    }

    /// <summary>A clock that goes on by 10 ms whenever it is asked.</summary>
    private sealed class Ticking : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => 100;

        public override long GetTimestamp() => Interlocked.Increment(ref _now);
    }

    [Fact]
    public void Patience_ends_the_training_and_is_counted_over_an_interruption()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        TrainingOptions options = Options with { MeasureEvery = 1, Patience = 3 };
        using RetroModel model = Model();
        Queue<double> measures = new([3, 2, 4, 2]);
        using (Trainer trainer = new(model, options) { Measure = _ => measures.Dequeue() })
        {
            using CancellationTokenSource cancel = new();
            Assert.Throws<OperationCanceledException>(() => trainer.Run(data, new Reports<TrainingProgress>(done =>
            {
                if (done.Step == 4)
                {
                    cancel.Cancel();
                }
            }), cancel.Token));
        }

        using RetroModel other = Model();
        using Trainer resumed = new(other, options) { Measure = _ => 5 };
        resumed.Load(_folder.Path);
        Assert.Equal(2, resumed.BestMeasure);
        resumed.Run(data);
        Assert.Equal(5, resumed.StepsDone);

        using Trainer ended = new(other, options) { Measure = _ => throw new InvalidOperationException("There is nothing to measure.") };
        ended.Load(_folder.Path);
        ended.Run(data);
        Assert.Equal(5, ended.StepsDone);
    }

    /// <summary>The best model is kept where the training is, or it is none of it, also where another training has left one there.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_training_that_goes_on_in_another_folder_finds_its_best_model_anew(bool another)
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        string other = Path.Combine(_folder.Path, "other");
        using RetroModel model = Model(), longer = Model();
        if (another)
        {
            using RetroModel former = Model();
            using Trainer before = new(former, Options with { CheckpointFolder = other }) { Measure = _ => 0.5 };
            before.Run(data);
        }

        Queue<double> measures = new([1, 2, 4, 3]);
        using (Trainer trainer = new(model, Options with { MeasureEvery = 4 }) { Measure = _ => measures.Dequeue() })
        {
            trainer.Run(data);
            Assert.Equal(1, trainer.BestMeasure);
        }

        using Trainer moved = new(longer, Options with { Steps = 16, MeasureEvery = 4, CheckpointFolder = other }) { Measure = _ => measures.Dequeue() };
        moved.Load(_folder.Path);
        moved.Run(data);

        Assert.Equal(3, moved.BestMeasure);
        using RetroModel best = Checkpoint.Load(Path.Combine(other, Trainer.BestFolder));
        Assert.Equal(Embedding(longer), Embedding(best));
    }

    [Fact]
    public void The_best_model_of_a_training_before_goes_with_the_first_checkpoint_of_a_new_one()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        using RetroModel model = Model(), same = Model(), other = Model();
        string best = Path.Combine(_folder.Path, Trainer.BestFolder);
        using (Trainer trainer = new(model, Options) { Measure = _ => 1 })
        {
            trainer.Run(data);
        }

        using (Trainer resumed = new(same, Options with { Steps = 10 }))
        {
            resumed.Load(_folder.Path);
            resumed.Run(data);
            Assert.Equal(1, resumed.BestMeasure);
            Assert.True(Directory.Exists(best));
        }

        using Trainer anew = new(other, Options with { Steps = 6, CheckpointEvery = 4 });
        anew.Run(data, new Reports<TrainingProgress>(step => Assert.Equal(step.Step <= 4, Directory.Exists(best))));
        Assert.False(Directory.Exists(best));
        Checkpoint.Load(_folder.Path).Dispose();
    }

    /// <summary>What no training has left there as its best model is not its to delete.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_model_of_ones_own_in_the_place_of_the_best_stays(bool foreign)
    {
        using RetroModel model = Model();
        string best = Path.Combine(_folder.Path, Trainer.BestFolder);
        if (foreign)
        {
            _folder.File(Path.Combine(Trainer.BestFolder, Checkpoint.ConfigName), """{"model_type": "llama"}""");
        }

        byte[]? kept = null;
        using Trainer trainer = new(model, Options with { CheckpointEvery = 4 });
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 2), new Reports<TrainingProgress>(step =>
        {
            if (step.Step == 2 && !foreign)
            {
                Checkpoint.Save(best, model);
                kept = Embedding(model);
            }
        }));

        if (foreign)
        {
            Assert.True(File.Exists(Path.Combine(best, Checkpoint.ConfigName)));
            return;
        }

        using RetroModel own = Checkpoint.Load(best);
        Assert.Equal(kept, Embedding(own));
    }

    [Fact]
    public void A_time_budget_that_ends_while_a_step_is_reported_ends_with_a_measure_all_the_same()
    {
        SteppingClock clock = new(TimeSpan.Zero);
        using RetroModel model = Model();
        using Trainer trainer = new(model, Options with { TimeBudget = TimeSpan.FromSeconds(10) }, clock) { Measure = _ => 7 };
        List<double?> told = [];
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1), new Reports<TrainingProgress>(done =>
        {
            told.Add(done.Measure);
            clock.Advance(TimeSpan.FromSeconds(6));
        }));

        Assert.Equal([null, null, 7], told);
        Assert.Equal(7, trainer.BestMeasure);
    }

    /// <summary>Interrupted equals uninterrupted, be it while the model is measured or looked at, and be it after the last step.</summary>
    [Theory]
    [InlineData(8, false)]
    [InlineData(8, true)]
    [InlineData(3, false)]
    [InlineData(3, true)]
    public void What_was_to_be_measured_where_a_fault_ended_the_training_is_measured_when_it_goes_on(int step, bool looking)
    {
        CopyingData data = new(s_config, 2, 3, seed: 1);
        List<(long, double, double?, TrainingWatch?)> whole = [], parts = [];
        double? best = Run(null, 0, _folder["whole"], whole);
        InvalidDataException fault = new("The share is gone.");
        Assert.Same(fault, Assert.Throws<InvalidDataException>(() => Run(fault, step, _folder["parts"], parts)));
        Assert.Equal(step - 1, parts.Count);

        Assert.Equal(best, Run(null, 0, _folder["parts"], parts));

        Assert.Equal(whole, parts);
        using RetroModel one = Checkpoint.Load(Path.Combine(_folder["whole"], Trainer.BestFolder)),
            other = Checkpoint.Load(Path.Combine(_folder["parts"], Trainer.BestFolder));
        Assert.Equal(Embedding(one), Embedding(other));

        double? Run(Exception? thrown, int at, string folder, List<(long, double, double?, TrainingWatch?)> told)
        {
            using RetroModel model = Model();
            Trainer? trainer = null;
            double Of(RetroModel measured, bool fails)
                => fails && trainer!.StepsDone == at && thrown is not null ? throw thrown : Embedding(measured).Sum(one => (double)one);

            trainer = new(model, Options with { MeasureEvery = 3, CheckpointFolder = folder })
            {
                Measure = measured => Of(measured, !looking),
                Watch = measured => new(Of(measured, looking), null),
            };
            using (trainer)
            {
                if (File.Exists(Path.Combine(folder, Trainer.StateFile)))
                {
                    trainer.Load(folder);
                }

                trainer.Run(data, new Reports<TrainingProgress>(done => told.Add((done.Step, done.Loss, done.Measure, done.Watched))));
                return trainer.BestMeasure;
            }
        }
    }

    [Fact]
    public void A_measure_whose_model_could_not_be_kept_is_not_on_record()
    {
        CopyingData data = new(s_config, 2, 3, seed: 1);
        string best = Path.Combine(_folder.Path, Trainer.BestFolder);
        File.WriteAllText(best, "in its place");
        Queue<double> measures = new([1, 1, 2, 3]);
        byte[]? third = null;
        using (RetroModel model = Model())
        {
            using Trainer trainer = new(model, Options with { MeasureEvery = 3 }) { Measure = _ => measures.Dequeue() };
            Assert.Throws<CheckpointException>(() => trainer.Run(data));
            Assert.Null(trainer.BestMeasure);
            third = Embedding(model);
        }

        File.Delete(best);
        using RetroModel other = Model();
        using Trainer resumed = new(other, Options with { MeasureEvery = 3 }) { Measure = _ => measures.Dequeue() };
        resumed.Load(_folder.Path);
        resumed.Run(data);
        Assert.Equal(1, resumed.BestMeasure);
        using RetroModel kept = Checkpoint.Load(best);
        Assert.Equal(third, Embedding(kept));
    }

    private static RetroModel Model()
    {
        manual_seed(4);
        return new RetroModel(s_config);
    }

    private static byte[] Embedding(RetroModel model) => model.get_parameter("embedding.weight")!.detach().bytes.ToArray();
}
