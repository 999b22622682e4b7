using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Training;
using static Retro.Tests.Training.Trainings;

namespace Retro.Tests.Training;

/// <summary>The time of a training: its budget, what counts as time trained, and checkpoints by the clock.</summary>
public sealed class TrainingClockTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_time_budget_runs_through_the_whole_schedule()
    {
        // Every look at the clock costs a second of this clock's time.
        SteppingClock clock = new(TimeSpan.FromSeconds(1));
        TrainingOptions options = Options with
        {
            TimeBudget = TimeSpan.FromSeconds(100),
            Steps = 1000,
            WarmupSteps = 200,
            Accumulation = 1,
            Optimizer = new()
        };
        using RetroModel model = Model(Config);
        List<TrainingProgress> steps = Run(new Trainer(model, options, clock), new CopyingData(Config, 1, 2, seed: 1));

        Assert.InRange(steps.Count, 5, 60);
        LearningRateSchedule schedule = options.Schedule();
        int peak = steps.FindIndex(step => step.LearningRate == steps.Max(other => other.LearningRate));
        Assert.InRange(steps[peak].LearningRate, 0.8 * schedule.Peak, schedule.Peak);
        Assert.InRange(steps[peak].Progress, 0.15, 0.35);
        Assert.InRange(steps[^1].LearningRate, schedule.Final, 1.3 * schedule.Final);
        Assert.Equal(1, steps[^1].Progress);
        Assert.True(steps[^1].Elapsed >= TimeSpan.FromSeconds(100));
        Assert.Equal(steps.Select(step => step.Progress).Order(), steps.Select(step => step.Progress));
    }

    [Fact]
    public void Steps_of_ones_own_move_along_the_schedule_of_a_time_budget()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { TimeBudget = TimeSpan.FromSeconds(40) }, new SteppingClock(TimeSpan.FromSeconds(1)));
        using TrainingBatch batch = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();

        List<TrainingProgress> steps = [.. Enumerable.Range(0, 10).Select(_ => trainer.Step([batch]))];

        Assert.NotEqual(steps[0].LearningRate, steps[^1].LearningRate);
        Assert.All(steps.Zip(steps.Skip(1)), pair => Assert.True(pair.Second.Progress > pair.First.Progress));
    }

    /// <summary>The checkpoint takes an hour of the clock: once it is written, the clock is an hour on.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_checkpoint_is_written_whenever_so_much_time_has_passed_and_takes_none_of_the_training(bool byTime)
    {
        SteppingClock clock = new(TimeSpan.Zero);
        bool isWritten = false;
        HourLater later = new(clock, () => isWritten |= File.Exists(Path.Combine(Folder, Trainer.StateFile)));
        CopyingData data = new(Config, 2, 3, seed: 2);
        TrainingOptions options = Options with { Steps = 12, TimeBudget = byTime ? TimeSpan.FromSeconds(36) : null };
        using RetroModel model = Model(Config), whole = Model(Config);
        using Trainer trainer = new(model, options with { CheckpointFolder = Folder, CheckpointInterval = TimeSpan.FromSeconds(10) }, later);
        List<long> stored = [];
        trainer.Run(data, new Reports<TrainingProgress>(_ =>
        {
            clock.Advance(TimeSpan.FromSeconds(3));
            stored.Add(isWritten ? Trainer.Stored(Folder).Steps : 0);
        }));
        Assert.Equal([0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8], stored.Take(12));
        Assert.Equal(stored.Count, trainer.StepsDone);
        Assert.Equal(TimeSpan.FromSeconds(3 * stored.Count), trainer.Elapsed);
        Assert.InRange(stored.Count, 12, 13); // by time, the step that sees that the time is over is one more

        SteppingClock other = new(TimeSpan.Zero);
        using Trainer alone = new(whole, options, other);
        alone.Run(data, new Reports<TrainingProgress>(_ => other.Advance(TimeSpan.FromSeconds(3))));
        AssertSameWeights(whole, model);
    }

    /// <summary>Each takes an hour of the clock: the best model, and the checkpoint that a fault ends the training with.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_is_written_for_a_measure_or_a_fault_takes_no_time_of_the_training(bool faulty)
    {
        SteppingClock clock = new(TimeSpan.Zero);
        string written = Path.Combine(Folder, faulty ? "" : Trainer.BestFolder, Checkpoint.ConfigName);
        bool isWritten = false;
        HourLater later = new(clock, () => isWritten |= File.Exists(written));
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Steps = 4, CheckpointFolder = Folder, MeasureEvery = 2 }, later)
        {
            Measure = faulty ? null : _ => 1,
        };
        Exception? fault = Record.Exception(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 2), new Reports<TrainingProgress>(step =>
        {
            clock.Advance(TimeSpan.FromSeconds(3));
            if (faulty && step.Step == 4)
            {
                throw new InvalidDataException("It cannot be told.");
            }
        })));
        Assert.Equal(faulty, fault is not null);
        Assert.True(isWritten);
        Assert.Equal(TimeSpan.FromSeconds(12), trainer.Elapsed);
        Assert.Equal(TimeSpan.FromSeconds(12), Trainer.Stored(Folder).Elapsed);
    }

    [Fact]
    public void The_next_checkpoint_by_the_clock_is_due_after_that_which_came_before_the_first_best_model()
    {
        CopyingData data = new(Config, 2, 3, seed: 2);
        TrainingOptions options = Options with { CheckpointFolder = Folder, CheckpointInterval = TimeSpan.FromSeconds(10), MeasureEvery = 4 };
        using RetroModel model = Model(Config), other = Model(Config);
        using (Trainer former = new(model, options) { Measure = _ => 1 })
        {
            former.Run(data);
        }

        SteppingClock clock = new(TimeSpan.Zero);
        using Trainer trainer = new(other, options with { LearningRate = 0.02 }, clock) { Measure = _ => 1 };
        List<long> stored = [];
        trainer.Run(data, new Reports<TrainingProgress>(_ =>
        {
            clock.Advance(TimeSpan.FromSeconds(3));
            stored.Add(Trainer.Stored(Folder).Steps);
        }));

        // It came after nine seconds, in step 4, and the next after 21, behind step 7.
        Assert.Equal([12, 12, 12, 4, 4, 4, 4, 7, 7, 7, 7, 11], stored);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_training_that_is_finished_takes_no_more_time_and_writes_nothing_but_what_is_missing_when_it_is_run_again(bool byTime)
    {
        // A clock that moves whenever it is read: to read it at all while there is nothing to train would show.
        SteppingClock clock = new(TimeSpan.FromSeconds(1));
        TrainingOptions options = Options with { Steps = 3, CheckpointFolder = Folder, TimeBudget = byTime ? TimeSpan.FromSeconds(20) : null };
        using RetroModel model = Model(Config), other = Model(Config, seed: 9);
        using Trainer trainer = new(model, options, clock), resumed = new(other, options, clock);
        trainer.Run(new CopyingData(Config, 2, 3, seed: 1));
        Assert.True(trainer.Elapsed > TimeSpan.Zero);

        resumed.Load(Folder);
        Assert.Equal(trainer.Elapsed, resumed.Elapsed);
        string[] files = Directory.GetFiles(Folder);
        Assert.Equal(4, files.Length);
        DateTime then = new(2001, 2, 3, 4, 5, 6, DateTimeKind.Utc);
        Array.ForEach(files, file => File.SetLastWriteTimeUtc(file, then));
        resumed.Run(new CopyingData(Config, 2, 3, seed: 1));

        Assert.Equal(trainer.Elapsed, resumed.Elapsed);
        Assert.Equal(trainer.StepsDone, resumed.StepsDone);
        Assert.Equal(files.Order(), Directory.GetFiles(Folder).Order());
        Assert.All(files, file => Assert.Equal(then, File.GetLastWriteTimeUtc(file)));

        // What is missing beside the state is made of it.
        Array.ForEach(Array.FindAll(files, file => Path.GetFileName(file) != Trainer.StateFile), File.Delete);
        resumed.Run(new CopyingData(Config, 2, 3, seed: 1));
        Assert.Equal(trainer.Elapsed, resumed.Elapsed);
        Assert.Equal(files.Order(), Directory.GetFiles(Folder).Order());
        using RetroModel saved = Checkpoint.Load(Folder);
        AssertSameWeights(model, saved);
    }

    [Fact]
    public void Tokens_per_second_are_those_of_the_run_in_its_own_time()
    {
        SteppingClock clock = new(TimeSpan.Zero);
        TrainingOptions options = Options with { Steps = 4, CheckpointFolder = Folder };
        CopyingData data = new(Config, 2, 3, seed: 1);
        using (RetroModel model = Model(Config))
        using (Trainer trainer = new(model, options, clock))
        using (CancellationTokenSource cancel = new())
        {
            Assert.Throws<OperationCanceledException>(() => trainer.Run(data, new Reports<TrainingProgress>(done =>
            {
                clock.Advance(TimeSpan.FromSeconds(5));
                cancel.Cancel();
            }), cancel.Token));
        }

        using RetroModel other = Model(Config);
        using Trainer resumed = new(other, options, clock);
        resumed.Load(Folder);
        List<TrainingProgress> steps = [];
        resumed.Run(data, new Reports<TrainingProgress>(done =>
        {
            steps.Add(done);
            clock.Advance(TimeSpan.FromSeconds(2));
        }));

        // A step's tokens are two batches of 2 x 3 chunks; the time of a step is that of the report before it.
        int tokens = 2 * 2 * 3 * Config.Retrieval!.ChunkLength;
        Assert.Equal([2 * tokens, 3 * tokens, 4 * tokens], steps.Select(done => done.Tokens));
        Assert.Equal([5, 7, 9], steps.Select(done => done.Elapsed.TotalSeconds));
        Assert.Equal([0, 2 * tokens / 2.0, 3 * tokens / 4.0], steps.Select(done => done.TokensPerSecond));
    }

    /// <summary>A clock that is an hour on once something has happened.</summary>
    private sealed class HourLater(TimeProvider clock, Func<bool> hasHappened) : TimeProvider
    {
        public override long TimestampFrequency => clock.TimestampFrequency;

        public override long GetTimestamp() => clock.GetTimestamp() + (hasHappened() ? 3600 * TimestampFrequency : 0);
    }
}
