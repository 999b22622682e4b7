using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Database;
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

    /// <summary>Who goes on with a loop of their own would else train without dropout.</summary>
    [Fact]
    public void A_measure_that_throws_leaves_the_model_in_training_mode()
    {
        using RetroModel model = Model();
        using Trainer trainer = new(model, Options with { MeasureEvery = 3 }) { Measure = _ => throw new InvalidDataException("The share is gone.") };
        Assert.Throws<InvalidDataException>(() => trainer.Run(new CopyingData(s_config, 2, 3, seed: 1)));
        Assert.True(model.training);
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

    /// <summary>Whose a best model is, its id says, and not the path that the training was loaded from.</summary>
    /// <param name="savedAt">The step after which the training was saved elsewhere, too, from where it goes on; 0: it goes on by a link to its folder.</param>
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(6)]
    public void A_training_that_goes_on_in_its_folder_by_another_path_keeps_its_best_model(int savedAt)
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        string run = _folder["run"], other = _folder["latest"];
        TrainingOptions options = Options with { CheckpointFolder = run, MeasureEvery = 4 };
        Dictionary<double, byte[]> weights = [];
        using RetroModel model = Model(), same = Model();
        using (Trainer trainer = new(model, options) { Measure = Measures(1, weights) })
        {
            trainer.Run(data, new Reports<TrainingProgress>(step =>
            {
                if (step.Step == savedAt)
                {
                    trainer.Save(other);
                }
            }));
        }

        if (savedAt == 0)
        {
            Directory.CreateSymbolicLink(other, run);
        }

        using Trainer resumed = new(same, options with { Steps = 12, CheckpointEvery = 1 }) { Measure = Measures(3, weights) };
        resumed.Load(other);
        resumed.Run(data, new Reports<TrainingProgress>(_ => Assert.Equal(1, resumed.BestMeasure)));
        using RetroModel best = Checkpoint.Load(Path.Combine(run, Trainer.BestFolder));
        Assert.Equal(weights[1], Embedding(best));
    }

    /// <summary>It was killed after its first best model, and before its first checkpoint.</summary>
    [Fact]
    public void The_best_model_that_a_training_left_without_a_checkpoint_goes_with_the_first_one_of_a_new_training()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        string folder = _folder["model"];
        Directory.CreateDirectory(folder);
        using RetroModel model = Model(), other = Model();
        using (Trainer former = new(model, Options with { CheckpointFolder = _folder["former"] }) { Measure = _ => 1 })
        {
            former.Run(data);
        }

        TestDatabases.Copy(_folder["former/best"], folder);
        using Trainer anew = new(other, Options with { CheckpointFolder = folder, LearningRate = 0.02 });
        anew.Run(data);
        Assert.False(Directory.Exists(Path.Combine(folder, Trainer.BestFolder)));
        Checkpoint.Load(folder).Dispose();
    }

    /// <summary>Whoever finds a checkpoint by half finds its training's best model beside it, or none.</summary>
    [Fact]
    public void The_best_model_of_a_training_before_goes_with_a_checkpoint_that_is_killed_between_two_names()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        using RetroModel model = Model(), other = Model();
        using (Trainer former = new(model, Options) { Measure = _ => 1 })
        {
            former.Run(data);
        }

        // Nothing can take the name of a folder that holds something, and nobody reads this file.
        string blocked = Path.Combine(_folder.Path, Trainer.DescriptionFile);
        File.Delete(blocked);
        Directory.CreateDirectory(Path.Combine(blocked, "in the way"));
        using Trainer anew = new(other, Options with { CheckpointFolder = null, LearningRate = 0.02 });
        anew.Run(data);
        Assert.Throws<CheckpointException>(() => anew.Save(_folder.Path));
        Assert.True(File.Exists(_folder[StagedFiles.RecordName]));
        Directory.Delete(blocked, recursive: true);

        using RetroModel saved = Checkpoint.Load(_folder.Path);
        Assert.Equal(Embedding(other), Embedding(saved));
        Assert.Throws<CheckpointException>(() => Checkpoint.Load(Path.Combine(_folder.Path, Trainer.BestFolder)));
    }

    [Fact]
    public void Of_several_processes_all_say_that_the_best_model_could_not_be_kept_and_none_is_ended_by_another()
    {
        _folder.File(Trainer.BestFolder, "in its place");
        InProcessExchange[] processes = InProcessExchange.Of(2);
        RetroModel[] models = [Model(), Model()];
        Exception?[] thrown = InProcessExchange.Run(processes, process =>
        {
            using RetroModel model = models[process.Rank];
            using Trainer trainer = new(model, Options with { Accumulation = 2 }, exchange: process) { Measure = _ => 1 };
            trainer.Run(new CopyingData(s_config, 2, 3, seed: 1));
        });
        Assert.All(thrown, fault => Assert.Contains(Trainer.BestFolder, Assert.IsType<CheckpointException>(fault).Message, StringComparison.Ordinal));
        Assert.All(processes, process => Assert.Null(process.Aborted));
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

    /// <summary>A training that goes on goes by what its steps said, as one that was not interrupted does: the end of its time, and half of it.</summary>
    [Theory]
    [InlineData(6, 0, new long[] { 3 })]
    [InlineData(3, 2, new long[] { 3, 5 })]
    public void What_became_due_while_a_step_was_reported_is_measured_after_an_interruption_as_well(int seconds, int measures, long[] expected)
    {
        CopyingData data = new(s_config, 2, 3, seed: 1);
        Assert.Equal(expected, Steps(_folder["whole"], null));
        Assert.Empty(Steps(_folder["parts"], until: 2));
        Assert.Equal(expected, Steps(_folder["parts"], null));
        Assert.True(Directory.Exists(_folder[$"parts/{Trainer.BestFolder}"]));
        Assert.Empty(Steps(_folder["parts"], null)); // it is finished

        List<long> Steps(string folder, long? until)
        {
            SteppingClock clock = new(TimeSpan.Zero);
            using CancellationTokenSource cancel = new();
            using RetroModel model = Model();
            TrainingOptions options = Options with { TimeBudget = TimeSpan.FromSeconds(10), Measures = measures, CheckpointFolder = folder };
            using Trainer trainer = new(model, options, clock) { Measure = _ => 7 };
            if (Directory.Exists(folder))
            {
                trainer.Load(folder);
            }

            List<long> measured = [];
            Reports<TrainingProgress> reports = new(done =>
            {
                if (done.Measure is not null)
                {
                    measured.Add(done.Step);
                }

                clock.Advance(TimeSpan.FromSeconds(seconds));
                if (done.Step == until)
                {
                    cancel.Cancel();
                }
            });
            Exception? ended = Record.Exception(() => trainer.Run(data, reports, cancel.Token));
            Assert.Equal(until is not null, ended is OperationCanceledException);
            return measured;
        }
    }

    [Fact]
    public void A_time_budget_that_ends_while_the_model_is_measured_has_ended_when_the_training_is_run_again()
    {
        CopyingData data = new(s_config, 2, 3, seed: 1);
        TrainingOptions options = Options with { TimeBudget = TimeSpan.FromSeconds(10), MeasureEvery = 2 };
        for (int run = 0; run < 2; run++)
        {
            SteppingClock clock = new(TimeSpan.Zero);
            using RetroModel model = Model();
            using Trainer trainer = new(model, options, clock)
            {
                Measure = _ =>
                {
                    clock.Advance(TimeSpan.FromSeconds(11));
                    return 7;
                },
            };
            if (run > 0)
            {
                trainer.Load(_folder.Path);
            }

            trainer.Run(data);
            Assert.Equal(2, trainer.StepsDone);
            Assert.Equal(7, trainer.BestMeasure);
        }
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

    /// <summary>Killed at any moment, the folder holds a checkpoint and a best model of one training.</summary>
    [Fact]
    public void The_best_model_of_a_training_before_is_not_replaced_before_its_checkpoint()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        string left = _folder["left"];
        TrainingOptions options = Options with { CheckpointFolder = _folder["model"], MeasureEvery = 2 };
        Dictionary<double, byte[]> weights = [];
        using (RetroModel model = Model())
        {
            using Trainer former = new(model, options) { Measure = Measures(1, weights) };
            former.Run(data);
        }

        using (RetroModel model = Model())
        {
            using Trainer anew = new(model, options with { LearningRate = 0.02 }) { Measure = Measures(2, weights) };
            anew.Run(data, new Reports<TrainingProgress>(step =>
            {
                if (step.Step == 2)
                {
                    TestDatabases.Copy(_folder["model"], left);
                }
            }));
        }

        using RetroModel again = Model(), best = Checkpoint.Load(Path.Combine(left, Trainer.BestFolder));
        using Trainer loaded = new(again, options);
        loaded.Load(left);
        Assert.Equal(weights[loaded.BestMeasure!.Value], Embedding(best));
        Assert.Equal(2, loaded.StepsDone);
    }

    /// <summary>Whoever puts another training's best model there has the training find its own anew.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Anothers_best_model_is_not_taken_for_a_trainings_own(bool onceLoaded)
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        string one = _folder["one"], other = _folder["other"];
        Dictionary<double, byte[]> weights = [];
        foreach ((string folder, int first, double rate) in new[] { (one, 1, Options.LearningRate), (other, 5, 0.02) })
        {
            using RetroModel trained = Model();
            using Trainer trainer = new(trained, Options with { CheckpointFolder = folder, LearningRate = rate }) { Measure = Measures(first, weights) };
            trainer.Run(data);
        }

        using RetroModel model = Model();
        using Trainer resumed = new(model, Options with { CheckpointFolder = one, Steps = 10 }) { Measure = Measures(8, weights) };
        if (onceLoaded)
        {
            resumed.Load(one);
            Assert.Equal(1, resumed.BestMeasure);
        }

        Directory.Delete(Path.Combine(one, Trainer.BestFolder), recursive: true);
        TestDatabases.Copy(Path.Combine(other, Trainer.BestFolder), one);
        if (!onceLoaded)
        {
            resumed.Load(one);
            Assert.Null(resumed.BestMeasure);
        }

        resumed.Run(data);

        Assert.Equal(8, resumed.BestMeasure);
        using RetroModel best = Checkpoint.Load(Path.Combine(one, Trainer.BestFolder));
        Assert.Equal(weights[8], Embedding(best));
    }

    /// <summary>Trainings of before wrote no id, neither into the checkpoint nor into the best model.</summary>
    [Fact]
    public void A_training_without_an_id_keeps_its_best_model()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        using RetroModel model = Model(), other = Model();
        using (Trainer trainer = new(model, Options) { Measure = _ => 1 })
        {
            trainer.Run(data);
            Checkpoint.Save(Path.Combine(_folder.Path, Trainer.BestFolder), model);
        }

        ChangeState(_folder.Path, state => state.Remove("Id"));
        using Trainer resumed = new(other, Options with { Steps = 10 }) { Measure = _ => 2 };
        resumed.Load(_folder.Path);
        Assert.Equal(1, resumed.BestMeasure);
        resumed.Run(data);
        Assert.Equal(1, resumed.BestMeasure);

        Directory.Delete(Path.Combine(_folder.Path, Trainer.BestFolder), recursive: true);
        using Trainer without = new(model, Options with { Steps = 12 }) { Measure = _ => 3 };
        without.Load(_folder.Path);
        without.Run(data);
        Assert.Equal(3, without.BestMeasure);

        // One of a later training is another's.
        using Trainer anew = new(model, Options with { CheckpointFolder = _folder["anew"] }) { Measure = _ => 0.5 };
        anew.Run(data);
        Directory.Delete(Path.Combine(_folder.Path, Trainer.BestFolder), recursive: true);
        TestDatabases.Copy(Path.Combine(_folder["anew"], Trainer.BestFolder), _folder.Path);
        resumed.Load(_folder.Path);
        Assert.Null(resumed.BestMeasure);
    }

    /// <summary>By the clock, or on a GPU, steps that are done again come to other weights.</summary>
    [Fact]
    public void A_better_model_that_was_found_behind_the_checkpoint_stays()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        TrainingOptions options = Options with { Steps = 20, MeasureEvery = 2, CheckpointEvery = 5, CheckpointFolder = _folder["model"] };
        Dictionary<double, byte[]> weights = [];
        string left = _folder["left"], best = Path.Combine(left, Trainer.BestFolder);
        Killed(options, 9, left, data, Measured([1.5, 1.4, 1.3, 1.1], weights));

        using RetroModel model = Model();
        double[] worse = [.. Enumerable.Repeat(1.2, 6), 1.0, 1.15];
        using Trainer resumed = new(model, options with { LearningRate = 0.02, CheckpointFolder = left }) { Measure = Measured(worse, weights) };
        resumed.Load(left);
        Assert.Equal(5, resumed.StepsDone);
        Assert.Equal(1.1, resumed.BestMeasure);
        resumed.Run(data, new Reports<TrainingProgress>(step =>
        {
            using RetroModel kept = Checkpoint.Load(best);
            Assert.Equal(weights[step.Step < 18 ? 1.1 : 1.0], Embedding(kept));
            Assert.Equal(step.Step < 18 ? 1.1 : 1.0, resumed.BestMeasure);
        }));

        // One that was found before the first checkpoint that has a measure counts, too.
        string first = _folder["first"];
        Killed(options with { CheckpointEvery = 1, MeasureEvery = 3, CheckpointFolder = _folder["second"] }, 3, first, data, Measured([1.7], weights));
        using Trainer begun = new(model, options);
        begun.Load(first);
        Assert.Equal(2, begun.StepsDone);
        Assert.Equal(1.7, begun.BestMeasure);
    }

    /// <summary>What was found behind the checkpoint is found again, and is no measure that got no better.</summary>
    [Fact]
    public void Patience_counts_after_a_kill_as_without_it()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        double[] measures = [5, 4, 4.5, 3.9, 3, 3.5, 2.9, 3.1, 3.2, 0, 0, 0];
        TrainingOptions options = Options with
        {
            Steps = 12, MeasureEvery = 1, CheckpointEvery = 3, Patience = 2, CheckpointFolder = _folder["model"],
        };
        string left = _folder["left"];
        Killed(options, 5, left, data, Measured(measures, []));

        Dictionary<double, byte[]> weights = [];
        using RetroModel whole = Model(), model = Model();
        using Trainer uninterrupted = new(whole, options with { CheckpointFolder = _folder["whole"] }) { Measure = Measured(measures, weights) };
        uninterrupted.Run(data);
        Assert.Equal(9, uninterrupted.StepsDone);
        using Trainer resumed = new(model, options with { CheckpointFolder = left }) { Measure = Measured(measures[3..], []) };
        resumed.Load(left);
        Assert.Equal(3, resumed.StepsDone);
        Assert.Equal(3, resumed.BestMeasure);
        resumed.Run(data);

        Assert.Equal(9, resumed.StepsDone);
        Assert.Equal(2.9, resumed.BestMeasure);
        Assert.Equal(Embedding(whole), Embedding(model));
        using RetroModel best = Checkpoint.Load(Path.Combine(left, Trainer.BestFolder));
        Assert.Equal(weights[2.9], Embedding(best));
    }

    private static RetroModel Model()
    {
        manual_seed(4);
        return new RetroModel(s_config);
    }

    /// <summary>Trains, and leaves in another folder what a kill would after a step has been looked at, before any checkpoint of it.</summary>
    private static void Killed(TrainingOptions options, long step, string left, CopyingData data, Func<RetroModel, double> measure)
    {
        using RetroModel model = Model();
        using Trainer trainer = new(model, options) { Measure = measure };
        IOException killed = new("Killed.");
        Assert.Same(killed, Assert.Throws<IOException>(() => trainer.Run(data, new Reports<TrainingProgress>(done =>
        {
            if (done.Step == step)
            {
                TestDatabases.Copy(options.CheckpointFolder!, left);
                throw killed;
            }
        }))));
    }

    /// <summary>Measures that go up by one from the first on, and the weights of each.</summary>
    private static Func<RetroModel, double> Measures(double first, Dictionary<double, byte[]> weights)
        => Measured([.. Enumerable.Range(0, 20).Select(number => first + number)], weights);

    private static Func<RetroModel, double> Measured(double[] measures, Dictionary<double, byte[]> weights)
    {
        int taken = 0;
        return model =>
        {
            double measure = measures[taken++];
            weights[measure] = Embedding(model);
            return measure;
        };
    }

    private static void ChangeState(string folder, Action<JsonObject> change)
    {
        string path = Path.Combine(folder, Trainer.StateFile);
        Dictionary<string, Tensor> tensors;
        JsonObject state;
        using (Safetensors file = Safetensors.Open(path))
        {
            tensors = file.Entries.ToDictionary(entry => entry.Name, entry => file.Read(entry.Name));
            state = JsonNode.Parse(file.Metadata!["training"])!.AsObject();
        }

        change(state);
        Safetensors.Write(path, tensors, new Dictionary<string, string> { ["training"] = state.ToJsonString() });
        Array.ForEach([.. tensors.Values], tensor => tensor.Dispose());
    }

    private static byte[] Embedding(RetroModel model) => model.get_parameter("embedding.weight")!.detach().bytes.ToArray();
}
