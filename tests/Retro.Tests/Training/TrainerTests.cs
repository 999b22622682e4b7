using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Modeling;
using Retro.Tests.Optimization;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public sealed class TrainerTests : IDisposable
{
    private static readonly RetroConfig s_config = SmallModel.Config;

    private static readonly TrainingOptions s_options = TrainingOptions.SmallModel with { Steps = 12, WarmupSteps = 2, Accumulation = 2 };

    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Of_two_trainings_into_one_folder_the_second_is_told_who_has_it_before_its_first_step()
    {
        CopyingData data = new(s_config, rows: 2, chunks: 3, seed: 1);
        TrainingOptions options = s_options with { CheckpointFolder = Folder };
        using RetroModel first = Model(s_config), second = Model(s_config, seed: 2);
        using Trainer one = new(first, options with { CheckpointEvery = 5 }), two = new(second, options);
        List<string> told = [];
        Run(one, data, done =>
        {
            if (done.Step is 1 or 7)
            {
                told.Add(Assert.Throws<CheckpointException>(() => two.Run(data)).Message);
                told.Add(Assert.Throws<CheckpointException>(() => two.Save(Folder)).Message);
                one.Save(Folder + "/"); // its own
                two.Save(Folder + "-two");
            }
        });
        Assert.Equal(4, told.Count);
        Assert.All(told, message => Assert.Contains($"is being changed by process {Environment.ProcessId} ", message, StringComparison.Ordinal));
        Assert.All(told, message => Assert.Contains("which is to train a model, since", message, StringComparison.Ordinal));
        Assert.Equal((12, 0), (one.StepsDone, two.StepsDone));
        Assert.Equal(12, Trainer.Stored(Folder).Steps);

        // It is free once the run has ended, however it does.
        Assert.Throws<InvalidDataException>(() => two.Run(new CopyingData(s_config, rows: 2, chunks: 3, seed: 1) { FailAt = 0 }));
        two.Save(Folder);
        Assert.Equal(0, Trainer.Stored(Folder).Steps);
    }

    [Theory]
    [InlineData(OptimizerKind.Muon, 0, null)]
    [InlineData(OptimizerKind.AdamW, 0.1, null)]
    [InlineData(OptimizerKind.Muon, 0.1, ScalarType.BFloat16)]
    [InlineData(OptimizerKind.AdamW, 0, ScalarType.BFloat16)]
    public void P31_a_training_that_is_interrupted_and_resumed_ends_with_the_same_bits(OptimizerKind kind, double dropout, ScalarType? dtype)
    {
        RetroConfig config = s_config with
        {
            Dropout = dropout,
            Retrieval = s_config.Retrieval! with { Encoder = s_config.Retrieval!.Encoder with { Dropout = dropout } }
        };
        TrainingOptions options = s_options with { Optimizer = new() { Kind = kind }, Dtype = dtype };
        CopyingData data = new(config, rows: 2, chunks: 3, seed: 1, dropout: 0.2);
        using RetroModel whole = Model(config);
        List<TrainingProgress> expected = Run(new Trainer(whole, options with { CheckpointFolder = Folder + "-whole" }), data);

        using RetroModel first = Model(config);
        using Trainer begun = new(first, options with { CheckpointFolder = Folder });
        using CancellationTokenSource cancel = new();
        List<TrainingProgress> came = [];
        Assert.Throws<OperationCanceledException>(() => begun.Run(data, new Reports<TrainingProgress>(done =>
        {
            came.Add(done);
            if (done.Step == 5)
            {
                cancel.Cancel();
            }
        }), cancel.Token));
        Assert.Equal(5, begun.StepsDone);

        using RetroModel second = Model(config, seed: 99);
        using Trainer resumed = new(second, options with { CheckpointFolder = Folder });
        resumed.Load(Folder);
        Assert.Equal(5, resumed.StepsDone);
        came.AddRange(Run(resumed, data));

        Assert.Equal(12, came.Count);
        Assert.Equal(
            expected.Select(done => (done.Step, done.Loss, done.GradientNorm, done.LearningRate, done.Tokens)),
            came.Select(done => (done.Step, done.Loss, done.GradientNorm, done.LearningRate, done.Tokens)));
        AssertSameWeights(whole, second);
        Assert.Equal(dtype ?? ScalarType.Float32, second.Dtype);

        // The optimizers' memories, float32 copies included, are the same too.
        using Safetensors uninterrupted = Safetensors.Open(Path.Combine(
            Folder + "-whole", Trainer.StateFile)), state = Safetensors.Open(Path.Combine(Folder, Trainer.StateFile));
        Assert.Equal(uninterrupted.Entries.Select(entry => entry.Name), state.Entries.Select(entry => entry.Name));
        Assert.Equal(dtype is not null, state.Entries.Any(entry => entry.Name.EndsWith("/master", StringComparison.Ordinal)));
        foreach (SafetensorsEntry entry in state.Entries)
        {
            using Tensor expectedState = uninterrupted.Read(entry.Name), cameState = state.Read(entry.Name);
            Assert.True(ModelCase.BitEqual(expectedState, cameState), entry.Name);
            Assert.Equal(dtype is not null && entry.Name.StartsWith("model/", StringComparison.Ordinal) ? "BF16" : "F32", entry.Dtype);
        }
    }

    /// <summary>Whoever trains for hours learns at once that nothing of it could be kept.</summary>
    [Fact]
    public void A_folder_that_can_take_no_checkpoint_is_told_before_the_first_step()
    {
        Directory.CreateDirectory(Folder);
        string file = Path.Combine(Folder, "a-file"), foreign = Path.Combine(Folder, "foreign");
        File.WriteAllText(file, "text");
        Directory.CreateDirectory(foreign);
        File.WriteAllText(Path.Combine(foreign, "config.json"), """{"model_type": "llama"}""");
        foreach (string folder in new[] { file, foreign })
        {
            using RetroModel model = new(s_config);
            using Trainer trainer = new(model, s_options with { CheckpointFolder = folder });
            Assert.Throws<CheckpointException>(() => trainer.Run(new CopyingData(s_config, 2, 3, seed: 1)));
            Assert.Equal(0, trainer.StepsDone);
        }
    }

    [Fact]
    public void Checkpoints_come_as_often_as_asked_and_any_of_them_leads_to_the_same_end()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        using RetroModel model = Model(s_config);
        List<string> copies = [];
        Run(new Trainer(model, s_options with { CheckpointFolder = Folder, CheckpointEvery = 5 }), data, done =>
        {
            if (done.Step is 6 or 11)
            {
                copies.Add(Path.Combine(_folder.Path, $"at{done.Step}"));
                Database.TestDatabases.Copy(Folder, copies[^1]);
            }
        });

        long[] steps = [5, 10];
        for (int i = 0; i < copies.Count; i++)
        {
            using RetroModel other = Model(s_config, seed: 3);
            using Trainer trainer = new(other, s_options);
            trainer.Load(copies[i]);
            Assert.Equal(steps[i], trainer.StepsDone);
            Run(trainer, data);
            AssertSameWeights(model, other);
        }

        Assert.Equal(2, copies.Count);
        using RetroModel end = Checkpoint.Load(Folder);
        AssertSameWeights(model, end);
        using Trainer finished = new(end, s_options);
        finished.Load(Folder);
        Assert.Equal(1, finished.Progress);
        Assert.Empty(Run(finished, data));
        Assert.Equal(
            ["config.json", "model.safetensors", "training.json", "training.safetensors"],
            Directory.GetFiles(Folder).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_checkpoint_of_another_configuration_optimizer_or_data_is_refused_with_the_values()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        using (RetroModel model = Model(s_config))
        {
            Run(new Trainer(model, s_options with { CheckpointFolder = Folder, Steps = 3 }), data);
        }

        using RetroModel deeper = Model(s_config with { Layers = 3, Retrieval = s_config.Retrieval! with { CrossAttentionLayers = [2, 3] } });
        string message = Assert.Throws<CheckpointException>(() => new Trainer(deeper, s_options).Load(Folder)).Message;
        Assert.Contains("layers 2 (model: 3)", message, StringComparison.Ordinal);
        Assert.Contains("retrieval.cross_attention_layers [2] (model: [2,3])", message, StringComparison.Ordinal);

        using RetroModel same = Model(s_config, seed: 8);
        Dictionary<string, double[]> before = Weights(same);
        message = Assert.Throws<CheckpointException>(() =>
            new Trainer(same, s_options with { Optimizer = new() { Kind = OptimizerKind.AdamW } }).Load(Folder)).Message;
        Assert.Contains("square", message, StringComparison.Ordinal);
        Assert.Equal(before, Weights(same));

        using RetroModel exact = Model(s_config, ScalarType.Float64);
        Assert.Contains("Float32", Assert.Throws<CheckpointException>(() => new Trainer(exact, s_options).Load(Folder)).Message, StringComparison.Ordinal);

        using RetroModel frozen = Model(s_config);
        frozen.named_parameters().First().parameter.requires_grad = false;
        Assert.Contains(
            frozen.named_parameters().First().name,
            Assert.Throws<CheckpointException>(() => new Trainer(frozen, s_options).Load(Folder)).Message,
            StringComparison.Ordinal);

        using Trainer trainer = new(same, s_options);
        trainer.Load(Folder);
        CopyingData other = new(s_config, 2, 3, seed: 5);
        message = Assert.Throws<CheckpointException>(() => trainer.Run(other)).Message;
        Assert.Contains(data.Identity, message, StringComparison.Ordinal);
        Assert.Contains(other.Identity, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_truncated_or_foreign_state_is_refused()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options);
        Assert.Contains(Folder, Assert.Throws<CheckpointException>(() => trainer.Load(Folder)).Message, StringComparison.Ordinal);
        trainer.Save(Folder);
        string path = Path.Combine(Folder, Trainer.StateFile);
        byte[] bytes = File.ReadAllBytes(path);
        foreach (int length in new[] { 0, 7, bytes.Length / 2, bytes.Length - 1 })
        {
            File.WriteAllBytes(path, bytes[..length]);
            Assert.Throws<CheckpointException>(() => trainer.Load(Folder));
        }

        Safetensors.Write(path, model.state_dict());
        Assert.Contains("no state of a training", Assert.Throws<CheckpointException>(() => trainer.Load(Folder)).Message, StringComparison.Ordinal);
        Safetensors.Write(path, model.state_dict(), new Dictionary<string, string> { ["training"] = "{" });
        Assert.Contains(path, Assert.Throws<CheckpointException>(() => trainer.Load(Folder)).Message, StringComparison.Ordinal);
        Safetensors.Write(path, model.state_dict(), new Dictionary<string, string> { ["training"] = "null" });
        Assert.Contains("format version", Assert.Throws<CheckpointException>(() => trainer.Load(Folder)).Message, StringComparison.Ordinal);

        // Each value that is due, null.
        foreach (string key in new[] { "FormatVersion", "Steps", "Batches", "Tokens", "SkippedInARow", "Elapsed", "Config", "Options", "OptimizerSteps" })
        {
            JsonObject state = JsonNode.Parse(File.ReadAllText(Path.ChangeExtension(path, "json")))!.AsObject();
            Assert.NotNull(state[key]);
            state[key] = null;
            Safetensors.Write(path, model.state_dict(), new Dictionary<string, string> { ["training"] = state.ToJsonString() });
            string message = Assert.Throws<CheckpointException>(() => trainer.Load(Folder)).Message;
            Assert.Contains(path, message, StringComparison.Ordinal);
            Assert.Contains("cannot be read", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_full_disk_is_named_and_the_old_checkpoint_stays()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "This system has no /dev/full.");
        CopyingData data = new(s_config, 2, 3, seed: 2);
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { Steps = 4, CheckpointFolder = Folder });
        trainer.Save(Folder);
        string path = Path.Combine(Folder, Trainer.StateFile);
        byte[] old = File.ReadAllBytes(path);
        File.CreateSymbolicLink(path + ".tmp", "/dev/full");
        CheckpointException fault = Assert.Throws<CheckpointException>(() => trainer.Run(data));
        Assert.Contains(path, fault.Message, StringComparison.Ordinal);
        Assert.Equal(old, File.ReadAllBytes(path));
    }

    /// <summary>The state is the largest of the files: where a disk has room for it and not for the model, neither is left.</summary>
    [Fact]
    public void A_disk_that_is_full_before_the_last_file_leaves_no_file_of_a_checkpoint()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options);
        trainer.Save(Folder);
        long state = new FileInfo(Path.Combine(Folder, Trainer.StateFile)).Length, weights = new FileInfo(Path.Combine(Folder, "model.safetensors")).Length;
        using MountedDisk disk = new($"{(state + weights / 2) / 1024 + 8}k");
        string full = disk["full"];
        CheckpointException fault = Assert.Throws<CheckpointException>(() => trainer.Save(full));
        Assert.Contains("no space left", fault.Message, StringComparison.Ordinal);
        Assert.Contains("model.safetensors", fault.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(full));
    }

    [Fact]
    public void A_saving_that_is_killed_between_two_names_is_read_as_the_new_checkpoint()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options);
        trainer.Save(Folder);
        trainer.Run(data);
        StoppedSave.Check(Folder, folder => trainer.Save(folder), left =>
        {
            using RetroModel other = Model(s_config, seed: 3);
            using Trainer resumed = new(other, s_options);
            resumed.Load(left);
            Assert.Equal(trainer.StepsDone, resumed.StepsDone);
            AssertSameWeights(model, other);
            using RetroModel saved = Checkpoint.Load(left);
            AssertSameWeights(model, saved);
        });
    }

    /// <summary>What a state says is done stands beside it, whatever hindered the last checkpoint: a training that is finished writes none any more.</summary>
    [Theory]
    [InlineData(0, null)]
    [InlineData(5, null)]
    [InlineData(0, 2)]
    [InlineData(5, 2)]
    public void A_last_checkpoint_that_was_hindered_is_made_whole_by_going_on(long every, int? patience)
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        TrainingOptions options = s_options with { CheckpointFolder = Folder, CheckpointEvery = every };
        options = patience is null ? options : options with { Steps = 20, MeasureEvery = 4, Patience = patience }; // the lowest measure is that of step 4
        string blocked = Path.Combine(Folder, "model.safetensors.tmp");
        using RetroModel whole = Model(s_config), model = Model(s_config);
        Run(new(whole, options with { CheckpointFolder = null, CheckpointEvery = 0 }) { Measure = Measure() }, data);
        using Trainer hindered = new(model, options) { Measure = Measure() };
        Assert.Throws<CheckpointException>(() => hindered.Run(data, new Reports<TrainingProgress>(done =>
        {
            if (done.Step == 12)
            {
                Directory.CreateDirectory(blocked);
            }
        })));
        Directory.Delete(blocked);

        // Where none was ever whole, the training begins anew.
        bool goesOn = File.Exists(Path.Combine(Folder, Trainer.StateFile));
        Assert.Equal(every > 0, goesOn);
        using RetroModel other = goesOn ? Model(s_config, seed: 3) : Model(s_config);
        using Trainer resumed = new(other, options) { Measure = Measure() };
        if (goesOn)
        {
            resumed.Load(Folder);
        }

        resumed.Run(data);
        Assert.Equal(12, resumed.StepsDone);
        AssertSameWeights(whole, other);
        using RetroModel saved = Checkpoint.Load(Folder);
        AssertSameWeights(whole, saved);

        Func<RetroModel, double>? Measure() => patience is null ? null : _ => 7;
    }

    /// <summary>There is nothing of it to keep, and what the folder holds may be of hours.</summary>
    [Fact]
    public void A_training_that_is_canceled_before_its_first_step_leaves_the_folder_as_it_was()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        TrainingOptions options = s_options with { CheckpointFolder = Folder };
        using RetroModel model = Model(s_config), other = Model(s_config, seed: 3);
        Run(new(model, options), data);
        Dictionary<string, byte[]> before = Directory.GetFiles(Folder).ToDictionary(path => path, File.ReadAllBytes);

        using Trainer anew = new(other, options);
        Assert.Throws<OperationCanceledException>(() => anew.Run(data, cancellationToken: new(canceled: true)));
        Assert.Equal(0, anew.StepsDone);
        Assert.Equal(before, Directory.GetFiles(Folder).ToDictionary(path => path, File.ReadAllBytes));

        // Steps of one's own are something to keep.
        using TrainingBatch batch = data.Batch(0, 0).ToTensors();
        anew.Step([batch]);
        Assert.Throws<OperationCanceledException>(() => anew.Run(data, cancellationToken: new(canceled: true)));
        using RetroModel saved = Checkpoint.Load(Folder);
        AssertSameWeights(other, saved);
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(-1)]
    public void A_learning_rate_that_no_step_can_have_is_refused_before_anything_moves(double rate)
    {
        using RetroModel model = Model(s_config);
        Dictionary<string, double[]> before = Weights(model);
        using Trainer trainer = new(model, s_options, rate: _ => rate);
        TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new CopyingData(s_config, 2, 3, seed: 1)));
        Assert.Contains(FormattableString.Invariant($"The learning rate of step 0, counted from 0, is {rate};"), fault.Message, StringComparison.Ordinal);
        Assert.Equal(0, trainer.StepsDone);
        Assert.Equal(before, Weights(model));

        // A scheduler's as well.
        using Trainer scheduled = new(
            model,
            s_options,
            optimizer: parameters => optim.SGD(parameters, 0.1),
            scheduler: optimizer => optim.lr_scheduler.LambdaLR(optimizer, _ => rate));
        Assert.Throws<TrainingException>(() => scheduled.Run(new CopyingData(s_config, 2, 3, seed: 1)));
        Assert.Equal(before, Weights(model));
    }

    [Fact]
    public void A_time_budget_runs_through_the_whole_schedule()
    {
        // Every look at the clock costs a second of this clock's time.
        SteppingClock clock = new(TimeSpan.FromSeconds(1));
        TrainingOptions options = s_options with
        {
            TimeBudget = TimeSpan.FromSeconds(100),
            Steps = 1000,
            WarmupSteps = 200,
            Accumulation = 1,
            Optimizer = new()
        };
        using RetroModel model = Model(s_config);
        List<TrainingProgress> steps = Run(new Trainer(model, options, clock), new CopyingData(s_config, 1, 2, seed: 1));

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

    /// <summary>The checkpoint takes an hour of the clock: once it is written, the clock is an hour on.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_checkpoint_is_written_whenever_so_much_time_has_passed_and_takes_none_of_the_training(bool byTime)
    {
        SteppingClock clock = new(TimeSpan.Zero);
        bool isWritten = false;
        HourLater later = new(clock, () => isWritten |= File.Exists(Path.Combine(Folder, Trainer.StateFile)));
        CopyingData data = new(s_config, 2, 3, seed: 2);
        TrainingOptions options = s_options with { Steps = 12, TimeBudget = byTime ? TimeSpan.FromSeconds(36) : null };
        using RetroModel model = Model(s_config), whole = Model(s_config);
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

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_training_that_is_finished_takes_no_more_time_and_writes_nothing_but_what_is_missing_when_it_is_run_again(bool byTime)
    {
        // A clock that moves whenever it is read: to read it at all while there is nothing to train would show.
        SteppingClock clock = new(TimeSpan.FromSeconds(1));
        TrainingOptions options = s_options with { Steps = 3, CheckpointFolder = Folder, TimeBudget = byTime ? TimeSpan.FromSeconds(20) : null };
        using RetroModel model = Model(s_config), other = Model(s_config, seed: 9);
        using Trainer trainer = new(model, options, clock), resumed = new(other, options, clock);
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1));
        Assert.True(trainer.Elapsed > TimeSpan.Zero);

        resumed.Load(Folder);
        Assert.Equal(trainer.Elapsed, resumed.Elapsed);
        string[] files = Directory.GetFiles(Folder);
        Assert.Equal(4, files.Length);
        DateTime then = new(2001, 2, 3, 4, 5, 6, DateTimeKind.Utc);
        Array.ForEach(files, file => File.SetLastWriteTimeUtc(file, then));
        resumed.Run(new CopyingData(s_config, 2, 3, seed: 1));

        Assert.Equal(trainer.Elapsed, resumed.Elapsed);
        Assert.Equal(trainer.StepsDone, resumed.StepsDone);
        Assert.Equal(files.Order(), Directory.GetFiles(Folder).Order());
        Assert.All(files, file => Assert.Equal(then, File.GetLastWriteTimeUtc(file)));

        // What is missing beside the state is made of it.
        Array.ForEach(Array.FindAll(files, file => Path.GetFileName(file) != Trainer.StateFile), File.Delete);
        resumed.Run(new CopyingData(s_config, 2, 3, seed: 1));
        Assert.Equal(trainer.Elapsed, resumed.Elapsed);
        Assert.Equal(files.Order(), Directory.GetFiles(Folder).Order());
        using RetroModel saved = Checkpoint.Load(Folder);
        AssertSameWeights(model, saved);
    }

    [Theory]
    [InlineData(2, 0, false)]
    [InlineData(5, 0, false)]
    [InlineData(5, 0.2, false)]
    [InlineData(5, 0.2, true)]
    public void Batches_side_by_side_give_the_weights_of_one_after_the_other(int accumulation, double dropout, bool recompute)
    {
        // Batches side by side, and matrices of Muon in two stacks for one, round otherwise. In float64 that is far below what a gradient summed wrongly
        // would change, and below the optimizer's epsilon, which in float32 it need not be.
        List<double[]> ends = [];
        foreach ((int threads, int? sideBySide) in new (int, int?)[] { (1, null), (2, null), (1, null), (2, 1), (3, 2) })
        {
            using ThreadCount set = new(threads);
            using RetroModel model = Model(s_config with { Dropout = dropout }, ScalarType.Float64);
            TrainingOptions options = s_options with { Steps = 4, Accumulation = accumulation, RecomputeActivations = recompute, SideBySide = sideBySide };
            using Trainer trainer = new(model, options);
            trainer.Run(new CopyingData(s_config, 2, 3, seed: 1, dropout: 0.4));
            ends.Add([.. Weights(model).Values.SelectMany(weight => weight)]);
        }

        Assert.Equal(ends[0], ends[2]);
        Assert.All(ends, end => Assert.Equal(ends[0], end, (one, other) => Math.Abs(one - other) < 1e-9));
    }

    [Theory]
    [InlineData(null, 1)]
    [InlineData(2, 2)]
    [InlineData(1, 4)]
    public void No_more_batches_are_computed_side_by_side_than_may_be(int? sideBySide, int threadsEach)
    {
        using ThreadCount set = new(4);
        using RetroModel model = Model(s_config);
        ConcurrentBag<int> seen = [];
        model.Layers[0].SelfAttention.register_forward_pre_hook((_, x, plan) =>
        {
            seen.Add(get_num_threads());
            return (x, plan);
        });
        using Trainer trainer = new(model, s_options with { Steps = 1, WarmupSteps = 0, Accumulation = 4, SideBySide = sideBySide });
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1));
        Assert.Equal(Enumerable.Repeat(threadsEach, 4), seen);
    }

    /// <summary>What each batch changes depends on which comes first.</summary>
    [Theory]
    [InlineData(null, 4)]
    [InlineData(2, 2)]
    public void Where_a_branch_keeps_buffers_batches_are_computed_one_after_the_other_unless_it_is_said(int? sideBySide, int threadsEach)
    {
        using ThreadCount set = new(4);
        List<float[]> means = [];
        for (int run = 0; run < 2; run++)
        {
            manual_seed(5);
            using RetroModel model = new(s_config, layers: new() { FeedForward = (config, dtype, device) => new CountingFeedForward(config, dtype, device) });
            using Trainer trainer = new(model, s_options with { Steps = 3, Accumulation = 4, SideBySide = sideBySide });
            trainer.Run(new CopyingData(s_config, 2, 3, seed: 1));

            CountingFeedForward[] own = [.. model.Layers.Select(layer => (CountingFeedForward)layer.FeedForward)];
            Assert.All(own, branch => Assert.Equal(Enumerable.Repeat(threadsEach, 12), branch.Threads));
            means.Add([.. own.SelectMany(branch => branch.get_buffer("mean")!.data<float>().ToArray())]);
        }

        Assert.All(means, mean => Assert.NotEqual(0, mean[0]));
        if (sideBySide is null)
        {
            Assert.Equal(means[0], means[1]);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.3)]
    public void The_number_of_live_tensors_stays_flat(double retrievalDropout)
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { Steps = 40 });
        CopyingData data = new(s_config, 2, 3, seed: 1, dropout: retrievalDropout);
        List<long> counts = [];
        using ThreadCount set = new(2);
        _ = LiveTensors.Settled();
        trainer.Run(data, new Reports<TrainingProgress>(_ => counts.Add(Tensor.TotalCount)));

        // TorchSharp counts a tensor for each gradient that autograd finds there is none of, and never takes it off: those of what reads neighbors, for a batch
        // without any.
        long absent = model.named_parameters()
            .Count(pair => pair.name.StartsWith("encoder.", StringComparison.Ordinal) || pair.name.Contains(".cca", StringComparison.Ordinal)), without = 0;
        for (int step = 0; step < counts.Count; step++)
        {
            without += Enumerable.Range(2 * step, 2).Count(batch => data.Batch(batch, 0).Retrieved is null);
            counts[step] -= absent * without;
        }

        Assert.Equal(retrievalDropout > 0, without > 0);
        // The first step with and the first one without neighbors may make tables that stay.
        Assert.Single(counts.Skip(10).Distinct());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Every_target_of_a_step_weighs_the_same_however_they_are_divided_into_batches(int threads)
    {
        // Two targets in one batch, all in another, none in a third.
        using ThreadCount set = new(threads);
        using RetroModel model = Model(s_config);
        TokenBatch few = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0);
        TokenBatch many = new CopyingData(s_config, 2, 3, seed: 2).Batch(0, 0);
        TokenBatch none = new CopyingData(s_config, 2, 3, seed: 3).Batch(0, 0);
        Array.Clear(few.LossMask);
        few.LossMask[5] = few.LossMask[7] = true;
        Array.Clear(none.LossMask);
        using TrainingBatch a = few.ToTensors(), b = many.ToTensors(), c = none.ToTensors();
        double expected = new[] { a, b }.Sum(batch =>
            LogLikelihood.Of(model, batch.Tokens, batch.Neighbors, batch.Valid, batch.LossMask).sum().item<float>());
        int targets = 2 + Enumerable.Range(0, many.LossMask.Length).Count(i => i % many.Length > 0 && many.LossMask[i]);
        using Trainer trainer = new(model, s_options);

        TrainingProgress step = trainer.Step([a, b, c]);

        Assert.Equal(-expected / targets, step.Loss, 1e-4);
        Assert.False(step.Skipped);
    }

    [Fact]
    public void Steps_of_ones_own_move_along_the_schedule_of_a_time_budget()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { TimeBudget = TimeSpan.FromSeconds(40) }, new SteppingClock(TimeSpan.FromSeconds(1)));
        using TrainingBatch batch = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0).ToTensors();

        List<TrainingProgress> steps = [.. Enumerable.Range(0, 10).Select(_ => trainer.Step([batch]))];

        Assert.NotEqual(steps[0].LearningRate, steps[^1].LearningRate);
        Assert.All(steps.Zip(steps.Skip(1)), pair => Assert.True(pair.Second.Progress > pair.First.Progress));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_step_that_fails_leaves_no_gradient_behind(int threads)
    {
        using ThreadCount set = new(threads);
        using RetroModel model = Model(s_config), other = Model(s_config);
        using Trainer trainer = new(model, s_options), untouched = new(other, s_options);
        TokenBatch wrong = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0);
        wrong.Tokens[3] = s_config.VocabularySize;
        using TrainingBatch good = new CopyingData(s_config, 2, 3, seed: 2).Batch(0, 0).ToTensors(), bad = wrong.ToTensors();

        Assert.ThrowsAny<ArgumentException>(() => trainer.Step([good, bad]));
        TrainingProgress after = trainer.Step([good]), expected = untouched.Step([good]);

        Assert.Equal(expected.GradientNorm, after.GradientNorm);
        AssertSameWeights(other, model);
    }

    /// <summary>Batches behind it have been computed, and wait for their turn to be summed.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_batch_that_fails_while_it_is_computed_ends_the_step_and_leaves_no_gradient_behind(int threads)
    {
        using ThreadCount set = new(threads);
        using RetroModel model = Model(s_config), other = Model(s_config);
        using Trainer trainer = new(model, s_options), untouched = new(other, s_options);
        using TrainingBatch good = new CopyingData(s_config, 2, 3, seed: 2).Batch(0, 0).ToTensors();
        using TrainingBatch single = new CopyingData(s_config, 1, 3, seed: 2).Batch(0, 0).ToTensors();
        nn.Module<Tensor, Tensor> branch = model.Layers[0].FeedForward;
        branch.register_forward_pre_hook((_, x) => x.shape[0] == 1 ? throw new InvalidDataException("one row") : x);
        foreach (int place in new[] { 0, 1, 3, 6 })
        {
            TrainingBatch[] batches = [.. Enumerable.Repeat(good, 7)];
            batches[place] = single;
            Assert.Equal("one row", Assert.Throws<InvalidDataException>(() => trainer.Step(batches)).Message);
        }

        TrainingProgress after = trainer.Step([good]), expected = untouched.Step([good]);

        Assert.Equal(expected.GradientNorm, after.GradientNorm);
        AssertSameWeights(other, model);
    }

    [Fact]
    public void What_dropout_draws_leaves_the_generator_as_it_was()
    {
        using RetroModel model = Model(s_config with { Dropout = 0.2 });
        using Trainer trainer = new(model, s_options);
        using TrainingBatch batch = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        manual_seed(12);
        double[] expected = [.. rand(4, ScalarType.Float64).data<double>()];
        manual_seed(12);

        _ = trainer.Step([batch]);

        Assert.Equal(expected, rand(4, ScalarType.Float64).data<double>().ToArray());
    }

    /// <summary>A branch of one's own drops by the training's seed whatever the configuration says of dropout; computed again, it drops the same.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_a_branch_of_ones_own_drops_follows_from_the_seed(bool recompute)
    {
        LayerFactory layers = new() { FeedForward = (config, dtype, device) => new DroppingFeedForward(config, dtype, device) };
        RetroModel[] trained = [.. new long[] { 1, 2 }.Select(other =>
        {
            manual_seed(5);
            RetroModel model = new(s_config, layers: layers);
            using Trainer trainer = new(model, s_options with { Steps = 3, RecomputeActivations = recompute });
            manual_seed(other);
            trainer.Run(new CopyingData(s_config, 2, 3, seed: 1));
            return model;
        })];

        AssertSameWeights(trained[0], trained[1]);
        Array.ForEach(trained, model => model.Dispose());
    }

    /// <summary>A hook may come between two steps.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_a_hook_drops_that_comes_after_the_trainer_follows_from_the_seed(bool recompute)
    {
        RetroModel[] trained = [.. new long[] { 1, 2 }.Select(other =>
        {
            RetroModel model = Model(s_config, seed: 5);
            using Trainer trainer = new(model, s_options with { Steps = 3, RecomputeActivations = recompute });
            model.Layers[0].FeedForward.register_forward_hook((_, _, y) => SeededDropout.Of(y, 0.3));
            manual_seed(other);
            trainer.Run(new CopyingData(s_config, 2, 3, seed: 1));
            return model;
        })];

        AssertSameWeights(trained[0], trained[1]);
        Array.ForEach(trained, model => model.Dispose());
    }

    [Fact]
    public void A_default_device_of_torchs_changes_nothing_for_a_model_on_the_processor()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { Steps = 2, Dtype = ScalarType.BFloat16 });
        CopyingData data = new(s_config, 2, 3, seed: 1);
        try
        {
            set_default_device(META);
            trainer.Run(data);
        }
        finally
        {
            set_default_device(CPU);
        }

        Assert.Equal(2, trainer.StepsDone);
    }

    [Fact]
    public void A_step_without_any_target_moves_nothing()
    {
        using RetroModel model = Model(s_config);
        TokenBatch none = new CopyingData(s_config, 2, 3, seed: 3).Batch(0, 0);
        Array.Clear(none.LossMask);
        Dictionary<string, double[]> before = Weights(model);
        using Trainer trainer = new(model, s_options);
        using TrainingBatch batch = none.ToTensors();

        TrainingProgress step = trainer.Step([batch]);

        Assert.Equal(0, step.Loss);
        Assert.False(step.Skipped);
        Assert.Equal(before, Weights(model));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Where_only_retrieval_is_trained_batches_without_neighbors_are_taken(int accumulation)
    {
        using RetroModel model = OfRetrievalAlone();
        using Trainer trainer = new(model, s_options with { Steps = 12, Accumulation = accumulation });
        List<TrainingProgress> steps = [];
        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1, dropout: 0.5), new Reports<TrainingProgress>(steps.Add));

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
                model, s_options with { Steps = steps, MaximumSkippedSteps = most, RecomputeActivations = recompute, CheckpointFolder = Folder });

            TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new Emptied(new(s_config, 2, 3, seed: 1, dropout: empty ? 0 : 1))));

            Assert.Contains($"{ends} steps have taught nothing: all that is trained reads neighbors", fault.Message, StringComparison.Ordinal);
            Assert.Equal(ends, trainer.StepsDone);
            Assert.Equal(before, Weights(model));
            Assert.False(File.Exists(Path.Combine(Folder, Trainer.StateFile)));
        }
    }

    /// <summary>Neighbors may be few: what has been moved once is moved again.</summary>
    [Fact]
    public void A_training_that_has_moved_once_waits_for_the_next_neighbors_also_where_it_was_resumed()
    {
        using RetroModel model = OfRetrievalAlone(), other = OfRetrievalAlone();
        TrainingOptions options = s_options with { Steps = 20, MaximumSkippedSteps = 1 };
        using Trainer trainer = new(model, options), resumed = new(other, options), anew = new(other, options);
        using TrainingBatch some = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        using TrainingBatch none = new CopyingData(s_config, 2, 3, seed: 1, dropout: 1).Batch(0, 0).ToTensors();
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
    public void Where_all_that_is_trained_reads_neighbors_none_can_be_left_out_first()
    {
        using RetroModel model = OfRetrievalAlone(), whole = Model(s_config);
        foreach (Func<Trainer> make in new Func<Trainer>[]
        {
            () => new(model, s_options with { ClosedBook = 0.1 }),
            () => new(model, s_options with { ClosedBook = 0.1 }, optimizer: all => optim.SGD(all.Select(pair => pair.parameter), 0.1)),
        })
        {
            RetroOptionsException fault = Assert.Throws<RetroOptionsException>(make);
            Assert.Contains("ClosedBook 0.1 has to be 0", fault.Message, StringComparison.Ordinal);
        }

        new Trainer(whole, s_options with { ClosedBook = 0.1 }).Dispose();
    }

    [Fact]
    public void A_loss_that_is_no_number_is_skipped_and_ends_the_training_when_it_stays()
    {
        using RetroModel model = Model(s_config);
        using (no_grad())
        {
            model.named_parameters().First(pair => pair.name == "decoder.norm.weight").parameter.fill_(double.NaN);
        }

        Dictionary<string, double[]> before = Weights(model);
        using Trainer trainer = new(model, s_options with { MaximumSkippedSteps = 3, CheckpointFolder = Folder, CheckpointEvery = 1 });
        List<TrainingProgress> steps = [];
        TrainingException exception = Assert.Throws<TrainingException>(() =>
            trainer.Run(new CopyingData(s_config, 2, 3, seed: 1), new Reports<TrainingProgress>(steps.Add)));

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

    [Fact]
    public void Gradients_are_recorded_whatever_the_caller_has_switched_off()
    {
        using RetroModel model = Model(s_config), same = Model(s_config);
        using Trainer one = new(model, s_options), other = new(same, s_options);
        one.Run(new CopyingData(s_config, 2, 3, seed: 1));
        using (no_grad())
        {
            other.Run(new CopyingData(s_config, 2, 3, seed: 1));
        }

        Assert.Equal(Weights(model), Weights(same));
        using RetroModel third = Model(s_config);
        using Trainer refused = new(third, s_options);
        using (inference_mode())
        {
            Assert.Throws<InvalidOperationException>(() => refused.Run(new CopyingData(s_config, 2, 3, seed: 1)));
        }

        Assert.Equal(0, refused.StepsDone);
    }

    /// <summary>Weights that give no finite gradient are no place to go on from.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Where_a_training_is_ended_after_steps_that_were_skipped_the_checkpoint_of_before_stays(bool canceled)
    {
        using RetroModel model = Model(s_config), other = Model(s_config, seed: 99);
        TrainingOptions options = s_options with { Steps = 20, CheckpointFolder = Folder, CheckpointEvery = 4 };
        using Trainer trainer = new(model, options), resumed = new(other, options);
        using CancellationTokenSource cancel = new();
        Dictionary<string, double[]>? kept = null;
        Reports<TrainingProgress> told = new(step =>
        {
            if (step.Step == 5)
            {
                kept = Weights(Checkpoint.Load(Folder));
                using IDisposable noGradients = no_grad();
                model.named_parameters().First(pair => pair.name == "decoder.norm.weight").parameter.fill_(double.NaN);
            }
            else if (step.Skipped && canceled)
            {
                cancel.Cancel();
            }
            else if (step.Skipped)
            {
                throw new InvalidDataException("It diverged.");
            }
        });
        Exception end = Assert.ThrowsAny<Exception>(() => trainer.Run(new CopyingData(s_config, 2, 3, seed: 1), told, cancel.Token));

        Assert.Equal(canceled, end is OperationCanceledException);
        Assert.Contains("not finite in the last 1 step", (string?)end.Data[Trainer.NotSaved], StringComparison.Ordinal);
        resumed.Load(Folder);
        Assert.Equal(4, resumed.StepsDone);
        Assert.Equal(kept, Weights(other));
    }

    [Fact]
    public void Steps_that_were_skipped_before_an_interruption_count_among_those_in_a_row()
    {
        CopyingData data = new(s_config, 2, 3, seed: 1);
        using RetroModel model = Model(s_config), other = Model(s_config);
        using (no_grad())
        {
            model.named_parameters().First(pair => pair.name == "decoder.norm.weight").parameter.fill_(double.NaN);
        }

        TrainingOptions options = s_options with { MaximumSkippedSteps = 3 };
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

    [Fact]
    public void A_training_goes_on_with_the_frozen_weights_that_it_began_with_alone()
    {
        using RetroModel model = Frozen(1), same = Frozen(1), other = Frozen(2);
        using Trainer trainer = new(model, s_options), again = new(same, s_options), wrong = new(other, s_options);
        trainer.Save(Folder);
        again.Load(Folder);
        string message = Assert.Throws<CheckpointException>(() => wrong.Load(Folder)).Message;
        Assert.Contains("was begun on other weights than this model's where none are trained", message, StringComparison.Ordinal);

        // The same weights in another type are told as such.
        using Trainer narrow = new(other, s_options with { Dtype = ScalarType.BFloat16 });
        Assert.Contains("as Float32", Assert.Throws<CheckpointException>(() => narrow.Load(Folder)).Message, StringComparison.Ordinal);

        static RetroModel Frozen(long seed)
        {
            manual_seed(seed);
            RetroModel made = new(s_config);
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
        using RetroModel model = Model(s_config);
        static bool Retrieval(string name) => name.StartsWith("encoder.", StringComparison.Ordinal) || name.Contains(".cca.", StringComparison.Ordinal);
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            parameter.requires_grad = Retrieval(name);
        }

        Dictionary<string, double[]> before = Weights(model);
        Run(new Trainer(model, s_options with { CheckpointFolder = Folder }), new CopyingData(s_config, 2, 3, seed: 1));
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
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { RecomputeActivations = recompute });
        using TrainingBatch one = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        using TrainingBatch other = new CopyingData(s_config, 2, 3, seed: 2).Batch(0, 0).ToTensors();
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

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public void What_the_optimizer_does_not_hold_gets_no_gradient(int batches, bool recompute)
    {
        foreach (string held in new[] { "decoder.1.", "head.weight" })
        {
            using RetroModel model = Model(s_config);
            using Trainer trainer = new(
                model,
                s_options with { RecomputeActivations = recompute },
                optimizer: all => optim.SGD(all.Where(pair => pair.name.StartsWith(held, StringComparison.Ordinal)).Select(pair => pair.parameter), 0.1));
            using TrainingBatch batch = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0).ToTensors();

            Assert.True(trainer.Step([.. Enumerable.Repeat(batch, batches)]).GradientNorm > 0);
            Assert.All(model.parameters(), parameter => Assert.Null(parameter.grad));
            foreach ((_, Parameter parameter) in model.named_parameters().Where(pair => pair.name.StartsWith(held, StringComparison.Ordinal)))
            {
                parameter.requires_grad = false;
            }

            Assert.Throws<TrainingException>(() => trainer.Step([.. Enumerable.Repeat(batch, batches)]));
            Assert.All(model.parameters(), parameter => Assert.Null(parameter.grad));
        }
    }

    [Fact]
    public void A_batch_that_cannot_be_read_ends_the_training_with_its_own_fault()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options);
        Assert.Equal(
            "Batch 7 cannot be read.", Assert.Throws<InvalidDataException>(() => trainer.Run(new CopyingData(s_config, 2, 3, seed: 1) { FailAt = 7 })).Message);
        Assert.Equal(3, trainer.StepsDone);
    }

    /// <summary>Between two steps the state is whole, as at a cancellation.</summary>
    [Fact]
    public void What_who_watches_throws_ends_the_training_and_the_steps_are_saved()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { CheckpointFolder = Folder });
        CopyingData data = new(s_config, 2, 3, seed: 1);
        Reports<TrainingProgress> failing = new(done => _ = done.Step == 3 ? throw new InvalidDataException("The disk is full.") : true);
        Assert.Equal("The disk is full.", Assert.Throws<InvalidDataException>(() => trainer.Run(data, failing)).Message);

        using RetroModel other = Model(s_config, seed: 99);
        using Trainer resumed = new(other, s_options with { CheckpointFolder = Folder });
        resumed.Load(Folder);
        Assert.Equal(3, resumed.StepsDone);
        AssertSameWeights(model, other);

        // Where that cannot be, the first fault is told, and beside it why.
        Reports<TrainingProgress> late = new(done =>
        {
            Directory.Delete(Folder, recursive: true);
            File.WriteAllText(Folder, "no folder");
            throw new InvalidDataException($"Step {done.Step} cannot be told.");
        });
        InvalidDataException told = Assert.Throws<InvalidDataException>(() => resumed.Run(data, late));
        Assert.Equal("Step 4 cannot be told.", told.Message);
        Assert.Contains(Folder, (string?)told.Data[Trainer.NotSaved], StringComparison.Ordinal);
    }

    [Fact]
    public void A_checkpoint_is_not_loaded_into_a_training_that_runs()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options);
        trainer.Save(Folder);
        InvalidOperationException? refused = null;
        trainer.Run(
            new CopyingData(s_config, 2, 3, seed: 1),
            new Reports<TrainingProgress>(_ => refused ??= Assert.Throws<InvalidOperationException>(() => trainer.Load(Folder))));
        Assert.Contains("before Run or after it", refused!.Message, StringComparison.Ordinal);
        Assert.Equal(12, trainer.StepsDone);
    }

    /// <summary>A training that was ended while it wrote its first checkpoint has its state and no model yet.</summary>
    [Theory]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float32)]
    public void What_a_training_is_gets_read_from_its_state_alone(ScalarType dtype)
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { Dtype = dtype });
        trainer.Save(Folder);
        Assert.Equal(new StoredTraining(0, trainer.Elapsed, dtype, null), Trainer.Stored(Folder));
        CopyingData data = new(s_config, 2, 3, seed: 1);
        trainer.Run(data);
        trainer.Save(Folder);
        Directory.GetFiles(Folder).Where(path => Path.GetFileName(path) != Trainer.StateFile).ToList().ForEach(File.Delete);
        StoredTraining stored = Trainer.Stored(Folder);
        Assert.Equal(new StoredTraining(12, trainer.Elapsed, dtype, data.Identity), stored);
        Assert.Null(stored.BatchSize); // data of one's own do not say it
        Assert.Throws<CheckpointException>(() => Trainer.Stored(_folder.Path));
    }

    /// <summary>What was retrieved for a longer chunk would be read before the chunk's end, and training would see what comes.</summary>
    [Fact]
    public void Neighbors_of_chunks_of_another_length_than_the_models_are_refused()
    {
        using RetroModel model = Model(s_config with { Retrieval = s_config.Retrieval! with { ChunkLength = 2 } });
        using Trainer trainer = new(model, s_options);
        string message = Assert.Throws<TrainingException>(() => trainer.Run(new CopyingData(s_config, 2, 3, seed: 1))).Message;
        Assert.Contains("chunks of 4 tokens, the model's have 2", message, StringComparison.Ordinal);
        using Trainer closed = new(model, s_options with { ClosedBook = 0.5 });
        Assert.Equal(message, Assert.Throws<TrainingException>(() => closed.Run(new CopyingData(s_config, 2, 3, seed: 1))).Message);
        Assert.Equal(0, closed.StepsDone);

        // In a step of one's own, too.
        using TrainingBatch batch = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        Assert.Equal(message, Assert.Throws<TrainingException>(() => trainer.Step([batch])).Message);
    }

    /// <summary>Not where neighbors are first read, which may be after half of the training.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(0.5)]
    public void Neighbors_that_do_not_fit_are_refused_in_the_first_step(double closedBook)
    {
        RetroConfig longer = s_config with { Retrieval = s_config.Retrieval! with { RetrievedLength = s_config.Retrieval.RetrievedLength + 1 } };
        (RetroConfig Config, string Said)[] cases =
            [(longer, $"the model reads {longer.Retrieval!.RetrievedLength}"), (longer with { Retrieval = null }, "does not retrieve")];
        foreach ((RetroConfig config, string said) in cases)
        {
            using RetroModel model = Model(config);
            using Trainer trainer = new(model, s_options with { ClosedBook = closedBook });
            TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new CopyingData(s_config, 2, 3, seed: 1)));
            Assert.Contains(said, fault.Message, StringComparison.Ordinal);
            Assert.Equal(0, trainer.StepsDone);
        }
    }

    /// <summary>What a batch is refused for has moved nothing, so that the steps before are kept as with any fault of the data.</summary>
    [Fact]
    public void Where_a_batch_is_refused_the_steps_before_are_saved()
    {
        RetroConfig shorter = s_config with { Retrieval = s_config.Retrieval! with { ChunkLength = 2 } };
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { CheckpointFolder = Folder });
        MixedData mixed = new([(new CopyingData(s_config, 2, 3, seed: 1), 3), (new CopyingData(shorter, 2, 3, seed: 1), 1)], seed: 1);
        Assert.Throws<TrainingException>(() => trainer.Run(mixed));
        Assert.True(trainer.StepsDone > 0);

        using RetroModel other = Model(s_config, seed: 99);
        using Trainer resumed = new(other, s_options);
        resumed.Load(Folder);
        Assert.Equal(trainer.StepsDone, resumed.StepsDone);
        AssertSameWeights(model, other);
    }

    /// <summary>Between the first change of a step and its last a checkpoint would hold a mixture.</summary>
    [Fact]
    public void While_a_thread_trains_it_may_save_and_another_one_is_refused()
    {
        CopyingData data = new(s_config, 2, 3, seed: 2);
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options);
        List<Exception?> refused = [];
        trainer.Run(data, new SynchronousProgress<TrainingProgress>(done =>
        {
            if (done.Step != 2)
            {
                return;
            }

            trainer.Save(Folder);
            Thread other = new(() =>
            {
                refused.Add(Record.Exception(() => trainer.Save(Folder)));
                refused.Add(Record.Exception(() => trainer.Run(data)));
                refused.Add(Record.Exception(trainer.Averaged));
            });
            other.Start();
            other.Join();
        }));
        Assert.Equal(3, refused.Count);
        Assert.All(refused, fault => Assert.Contains("Another thread", Assert.IsType<InvalidOperationException>(fault).Message, StringComparison.Ordinal));
        Assert.Equal(s_options.Steps, trainer.StepsDone);
        trainer.Save(Folder);
    }

    [Fact]
    public void Saving_and_loading_tell_how_far_they_are_and_can_be_canceled()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options);
        List<StageProgress> saved = [], loaded = [];
        trainer.Save(Folder, new Reports<StageProgress>(saved.Add));
        byte[] state = File.ReadAllBytes(Path.Combine(Folder, Trainer.StateFile));
        Dictionary<string, double[]> weights = Weights(model);
        trainer.Load(Folder, new Reports<StageProgress>(loaded.Add));

        Assert.Equal(2, saved.Count(told => told.Stage == "save weights" && told.Done == told.Total));
        Assert.True(saved[0].Total > saved[^1].Total); // with the optimizer's memory, and the model alone
        Assert.Equal(Enumerable.Range(0, loaded.Count).Select(done => new StageProgress("load weights", done, loaded.Count - 1)), loaded);

        CancellationToken canceled = new(canceled: true);
        using (no_grad())
        {
            model.get_parameter("embedding.weight")!.fill_(1);
        }

        Assert.Throws<OperationCanceledException>(() => trainer.Load(Folder, cancellationToken: canceled));
        Assert.All(Weights(model)["embedding.weight"], value => Assert.Equal(1, value));
        Assert.Throws<OperationCanceledException>(() => trainer.Save(Folder, cancellationToken: canceled));
        Assert.Equal(state, File.ReadAllBytes(Path.Combine(Folder, Trainer.StateFile)));
        trainer.Load(Folder);
        Assert.Equal(weights["embedding.weight"], Weights(model)["embedding.weight"]);
    }

    [Theory]
    [InlineData(OptimizerKind.AdamW)]
    [InlineData(OptimizerKind.Muon)]
    public void The_retrieval_branches_take_their_part_of_the_learning_rate(OptimizerKind kind)
    {
        TrainingOptions options = s_options with { WarmupSteps = 0, Optimizer = new() { Kind = kind, WeightDecay = 0 } };
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, double> whole = Moved(options).Moved, part = Moved(options with { RetrievalRate = 0.25 }).Moved;
        Assert.All(whole.Keys, name =>
        {
            bool retrieval = name.Contains(".cca.", StringComparison.Ordinal) || name.StartsWith("encoder.", StringComparison.Ordinal);
            Assert.Equal(retrieval ? 0.25 : 1, part[name] / whole[name], 1e-3);
        });
        Assert.Contains(whole.Keys, name => name.StartsWith("encoder.", StringComparison.Ordinal));
        using RetroModel model = Model(s_config);
        Assert.Throws<ArgumentException>(() => new Trainer(
            model, options with { RetrievalRate = 0.25 }, optimizer: parameters => optim.SGD(parameters.Select(pair => pair.parameter), 0.1)));
    }

    /// <summary>Of the first step, which either optimizer moves in proportion to its rate, however large the gradient.</summary>
    [Fact]
    public void Muon_moves_at_a_rate_of_its_own_along_the_same_schedule()
    {
        TrainingOptions options = s_options with { WarmupSteps = 0, Optimizer = new() { Kind = OptimizerKind.Muon, WeightDecay = 0 } };
        using DisposeScope scope = NewDisposeScope();
        using RetroModel any = Model(s_config);
        using RetroOptimizer optimizer = TrainingOptimizers.Own(any, options);
        HashSet<string> muon = [.. optimizer.MuonNames];
        (double rate, Dictionary<string, double> moved) = Moved(options);
        Assert.Equal(options.LearningRate, rate, 1e-12);
        Assert.InRange(muon.Count, 1, moved.Count - 1);

        AssertMoved(2, 1, options with { MuonLearningRate = 2 * options.MuonLearningRate });
        AssertMoved(1, 2, options with { LearningRate = 2 * options.LearningRate });
        (double first, _) = AssertMoved(0.25, 0.25, options with { WarmupSteps = 4 });
        Assert.Equal(0.25 * rate, first, 1e-12);

        (double Rate, Dictionary<string, double> Moved) AssertMoved(double ofMuon, double ofOthers, TrainingOptions with)
        {
            (double Rate, Dictionary<string, double> Moved) came = Moved(with);
            Assert.All(moved.Keys, name => Assert.Equal(muon.Contains(name) ? ofMuon : ofOthers, came.Moved[name] / moved[name], 1e-3));
            return came;
        }
    }

    [Fact]
    public void The_decoder_can_learn_alone_first_and_retrieval_be_fitted_onto_it_then()
    {
        TrainingOptions options = s_options with { Steps = 8, ClosedBook = 0.5 };
        CopyingData data = new(s_config, 2, 3, seed: 1);
        using RetroModel model = Model(s_config), alone = Model(s_config);
        Dictionary<string, double[]> start = Retrieval(model), half = [], decoder = [];
        Run(new Trainer(model, options with { CheckpointFolder = Folder, CheckpointEvery = 3 }), data, done =>
        {
            if (done.Step == 3)
            {
                (half, decoder) = (Retrieval(model), Weights(model));
            }

            if (done.Step == 4)
            {
                // The checkpoint of the third step, which is written after its report.
                Database.TestDatabases.Copy(Folder, Folder + "-half");
            }
        });

        Assert.All(start.Keys, name => Assert.Equal(start[name], half[name]));
        Assert.All(
            start.Keys.Where(name => name.EndsWith("cca.o.weight", StringComparison.Ordinal)), name => Assert.NotEqual(start[name], Retrieval(model)[name]));

        // As the same decoder learns that is never given a neighbor.
        using CancellationTokenSource cancel = new();
        using Trainer plain = new(alone, options with { ClosedBook = 0 });
        Assert.Throws<OperationCanceledException>(() => plain.Run(new CopyingData(s_config, 2, 3, seed: 1, dropout: 1), new Reports<TrainingProgress>(done =>
        {
            if (done.Step == 3)
            {
                cancel.Cancel();
            }
        }), cancel.Token));
        Dictionary<string, double[]> weights = Weights(alone);
        Assert.All(weights.Keys, name => Assert.Equal(weights[name], decoder[name]));

        using RetroModel other = Model(s_config, seed: 9);
        using Trainer resumed = new(other, options);
        resumed.Load(Folder + "-half");
        Assert.Equal(3, resumed.StepsDone);
        Run(resumed, data);
        AssertSameWeights(model, other);

        static Dictionary<string, double[]> Retrieval(RetroModel model)
            => Weights(model)
                .Where(pair => pair.Key.Contains(".cca.", StringComparison.Ordinal) || pair.Key.StartsWith("encoder.", StringComparison.Ordinal))
                .ToDictionary();
    }

    [Fact]
    public void Retrieval_is_left_alone_for_its_share_of_the_steps_and_read_from_the_next_on()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { Steps = 8, WarmupSteps = 0, ClosedBook = 0.5 });
        using TrainingBatch batch = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        double[] last = Output();
        for (int step = 1; step <= 8; step++)
        {
            trainer.Step([batch]);
            double[] now = Output();
            Assert.Equal(step > 4, !now.SequenceEqual(last));
            last = now;
        }

        double[] Output() => Weights(model)["decoder.2.cca.o.weight"];
    }

    /// <summary>The branches fit the decoder that they were trained on: without them it would move on, and leave them behind.</summary>
    [Fact]
    public void A_training_that_has_read_neighbors_goes_on_reading_however_much_longer_it_is_made()
    {
        CopyingData data = new(s_config, 2, 3, seed: 1);
        using RetroModel model = Model(s_config), longer = Model(s_config), before = Model(s_config), after = Model(s_config);
        using (Trainer trainer = new(model, s_options with { Steps = 4, ClosedBook = 0.5, CheckpointFolder = Folder }))
        {
            trainer.Run(data);
        }

        using Trainer resumed = new(longer, s_options with { Steps = 40, ClosedBook = 0.5 });
        resumed.Load(Folder);
        AssertReads(resumed, longer, reads: true);

        // What has read none yet does not begin where it is loaded.
        using (Trainer trainer = new(before, s_options with { Steps = 4, ClosedBook = 0.5 }))
        {
            using TrainingBatch batch = data.Batch(0, 0).ToTensors();
            trainer.Step([batch]);
            trainer.Save(Folder);
        }

        using Trainer alone = new(after, s_options with { Steps = 40, ClosedBook = 0.5 });
        alone.Load(Folder);
        AssertReads(alone, after, reads: false);

        void AssertReads(Trainer trainer, RetroModel of, bool reads)
        {
            double[] then = Weights(of)["decoder.2.cca.o.weight"];
            using TrainingBatch batch = data.Batch(9, 0).ToTensors();
            trainer.Step([batch]);
            Assert.Equal(reads, !Weights(of)["decoder.2.cca.o.weight"].SequenceEqual(then));
        }
    }

    /// <summary>What is planted, and how often a text is taken of which, moves with it.</summary>
    [Fact]
    public void Each_batch_is_asked_for_with_the_share_of_the_training_that_lies_before_its_step()
    {
        TrainingOptions options = s_options with { Steps = 8, CheckpointFolder = Folder };
        Recording data = new(new CopyingData(s_config, 2, 3, seed: 1));
        using (RetroModel model = Model(s_config))
        using (Trainer trainer = new(model, options))
        using (CancellationTokenSource cancel = new())
        {
            Assert.Throws<OperationCanceledException>(() => trainer.Run(data, new Reports<TrainingProgress>(done =>
            {
                if (done.Step == 3)
                {
                    cancel.Cancel();
                }
            }), cancel.Token));
        }

        AssertAsked(upTo: 3);
        data.Asked.Clear();
        using RetroModel other = Model(s_config);
        using Trainer resumed = new(other, options);
        resumed.Load(Folder);
        resumed.Run(data);
        AssertAsked(upTo: 8);
        Assert.Equal(6, data.Asked.Min(asked => asked.Batch));

        // Two batches a step, of which those of the next are prepared meanwhile.
        void AssertAsked(int upTo)
        {
            Assert.All(data.Asked, asked => Assert.Equal(asked.Batch / 2 / 8.0, asked.Progress));
            Assert.Equal((2 * upTo) + 1, data.Asked.Max(asked => asked.Batch));
        }
    }

    [Fact]
    public void With_a_budget_of_time_batches_are_asked_for_with_the_share_of_it_that_is_used()
    {
        Recording data = new(new CopyingData(s_config, 2, 3, seed: 1));
        SteppingClock clock = new(TimeSpan.Zero);
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { Accumulation = 1, TimeBudget = TimeSpan.FromSeconds(10) }, clock);
        trainer.Run(data, new Reports<TrainingProgress>(_ => clock.Advance(TimeSpan.FromSeconds(2))));

        // The batch of the second step is prepared while the first is done.
        (long, double)[] expected = [(0, 0), (1, 0), (2, 0.2), (3, 0.4), (4, 0.6), (5, 0.8), (6, 1)];
        Assert.Equal(expected, data.Asked.Order());
    }

    [Fact]
    public void Tokens_per_second_are_those_of_the_run_in_its_own_time()
    {
        SteppingClock clock = new(TimeSpan.Zero);
        TrainingOptions options = s_options with { Steps = 4, CheckpointFolder = Folder };
        CopyingData data = new(s_config, 2, 3, seed: 1);
        using (RetroModel model = Model(s_config))
        using (Trainer trainer = new(model, options, clock))
        using (CancellationTokenSource cancel = new())
        {
            Assert.Throws<OperationCanceledException>(() => trainer.Run(data, new Reports<TrainingProgress>(done =>
            {
                clock.Advance(TimeSpan.FromSeconds(5));
                cancel.Cancel();
            }), cancel.Token));
        }

        using RetroModel other = Model(s_config);
        using Trainer resumed = new(other, options, clock);
        resumed.Load(Folder);
        List<TrainingProgress> steps = [];
        resumed.Run(data, new Reports<TrainingProgress>(done =>
        {
            steps.Add(done);
            clock.Advance(TimeSpan.FromSeconds(2));
        }));

        // A step's tokens are two batches of 2 x 3 chunks; the time of a step is that of the report before it.
        int tokens = 2 * 2 * 3 * s_config.Retrieval!.ChunkLength;
        Assert.Equal([2 * tokens, 3 * tokens, 4 * tokens], steps.Select(done => done.Tokens));
        Assert.Equal([5, 7, 9], steps.Select(done => done.Elapsed.TotalSeconds));
        Assert.Equal([0, 2 * tokens / 2.0, 3 * tokens / 4.0], steps.Select(done => done.TokensPerSecond));
    }

    /// <summary>Data that remember what they were asked for.</summary>
    private sealed class Recording(ITrainingData data) : ITrainingData
    {
        public System.Collections.Concurrent.ConcurrentBag<(long Batch, double Progress)> Asked { get; } = [];

        public string Identity => data.Identity;

        public TokenBatch Batch(long index, double progress)
        {
            Asked.Add((index, progress));
            return data.Batch(index, progress);
        }
    }

    [Fact]
    public void A_model_that_was_cast_after_its_trainer_was_made_is_named()
    {
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { CheckpointFolder = Folder });
        model.to(ScalarType.Float64);
        CopyingData data = new(s_config, 2, 3, seed: 1);
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
        TrainingOptions options = s_options with { AverageDecay = 0.9 };
        CopyingData data = new(s_config, 2, 3, seed: 1);
        using TrainingBatch batch = data.Batch(0, 0).ToTensors();
        using RetroModel model = Model(s_config), gone = Model(s_config);
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
    public void The_warm_up_is_a_twentieth_of_the_steps_unless_it_is_said()
    {
        Assert.Equal([1, 1, 50, 3], new[]
        {
            new TrainingOptions { Steps = 1 }, new TrainingOptions { Steps = 20 }, new TrainingOptions(), new TrainingOptions { WarmupSteps = 3 },
        }.Select(options => options.Validate().Schedule().WarmupSteps));

        // By time, of the time.
        Assert.All([1, 2, 19, 30, 1000], steps =>
        {
            LearningRateSchedule schedule = new TrainingOptions { Steps = steps, TimeBudget = TimeSpan.FromMinutes(1) }.Validate().Schedule();
            Assert.InRange(schedule.RateAt(0), 0, 0.03 * schedule.Peak);
            Assert.Equal(schedule.Peak / 2, schedule.RateAt(0.025), 0.03 * schedule.Peak);
            Assert.Equal(schedule.Peak, schedule.RateAt(0.05), 12);
            Assert.InRange(schedule.RateAt(0.5), schedule.Final, 0.6 * schedule.Peak);
        });
    }

    [Fact]
    public void Patience_without_what_it_counts_is_refused()
    {
        Assert.Contains(
            "Patience", Assert.Throws<RetroOptionsException>(() => (s_options with { Patience = 1 }).Validate()).Message, StringComparison.Ordinal);
        using RetroModel model = Model(s_config);
        using Trainer trainer = new(model, s_options with { Patience = 1, MeasureEvery = 2 });
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() => trainer.Run(new CopyingData(s_config, 2, 3, seed: 1)));
        Assert.Contains("Patience 1 has to be null where the trainer has no Measure", fault.Message, StringComparison.Ordinal);
        Assert.Equal(0, trainer.StepsDone);
    }

    [Fact]
    public void Every_fault_of_the_options_is_named()
    {
        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(() => (s_options with
        {
            WarmupSteps = 100,
            Accumulation = 0,
            MuonLearningRate = -1,
            CheckpointEvery = -5,
            CheckpointFolder = "",
            CheckpointInterval = TimeSpan.Zero,
            TimeBudget = TimeSpan.Zero,
            Optimizer = new() { Beta2 = 2 },
            Dtype = ScalarType.Float16,
            RetrievalRate = 0,
            ClosedBook = 2,
            MeasureEvery = -1,
            Measures = -1,
            Patience = 0,
        }).Validate());
        Assert.All(
            [
                "WarmupSteps", "Accumulation", "MuonLearningRate", "CheckpointEvery", "CheckpointFolder", "CheckpointInterval", "TimeBudget", "Optimizer.Beta2",
                "Dtype", "RetrievalRate", "ClosedBook",
                "MeasureEvery", "Measures", "Patience"
            ],
            part => Assert.Contains(part, exception.Message, StringComparison.Ordinal));
    }

    private static RetroModel Model(RetroConfig config, ScalarType dtype = ScalarType.Float32, long seed = 4)
    {
        manual_seed(seed);
        return new RetroModel(config, dtype);
    }

    private static RetroModel Model(RetroConfig config, long seed) => Model(config, ScalarType.Float32, seed);

    private static RetroModel OfRetrievalAlone()
    {
        RetroModel model = Model(s_config);
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            parameter.requires_grad = name.StartsWith("encoder.", StringComparison.Ordinal) || name.Contains(".cca.", StringComparison.Ordinal);
        }

        return model;
    }

    private static List<TrainingProgress> Run(Trainer trainer, ITrainingData data, Action<TrainingProgress>? also = null)
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

    /// <summary>The learning rate of a training's first step, and how far it moves each parameter.</summary>
    private static (double Rate, Dictionary<string, double> Moved) Moved(TrainingOptions options)
    {
        using RetroModel model = Model(s_config, ScalarType.Float64);
        Dictionary<string, Tensor> before = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter.detach().clone());
        using Trainer trainer = new(model, options);
        using TrainingBatch batch = new CopyingData(s_config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        double rate = trainer.Step([batch]).LearningRate;
        return (
            rate, model.named_parameters().ToDictionary(pair => pair.name, pair => (pair.parameter.detach() - before[pair.name]).norm().item<double>()));
    }

    private static Dictionary<string, double[]> Weights(RetroModel model)
    {
        using DisposeScope scope = NewDisposeScope();
        return model.state_dict().ToDictionary(pair => pair.Key, pair => pair.Value.detach().to_type(ScalarType.Float64).data<double>().ToArray());
    }

    private static void AssertSameWeights(RetroModel expected, RetroModel came)
    {
        Dictionary<string, double[]> one = Weights(expected), other = Weights(came);
        Assert.Equal(one.Keys, other.Keys);
        Assert.All(one.Keys, name => Assert.Equal(one[name], other[name]));
    }

    [Fact]
    public void Data_that_give_no_batch_are_named()
    {
        using RetroModel model = new(SmallModel.Config);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 3 });
        string message = Assert.Throws<TrainingException>(() => trainer.Run(new Ending())).Message;
        Assert.Equal("Batch 0 of the data is null; Ending has to give one for every number.", message);
    }

    private sealed class Ending : ITrainingData
    {
        public string Identity => "ending";

        public TokenBatch Batch(long index, double progress) => null!;
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

    /// <summary>Keeps a running mean of what it reads.</summary>
    private sealed class CountingFeedForward : FeedForward
    {
        private readonly Tensor _mean;

        public CountingFeedForward(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, encoder: false, dtype, device)
            => register_buffer("mean", _mean = zeros(1, dtype, device));

        /// <summary>Threads of each batch.</summary>
        public ConcurrentBag<int> Threads { get; } = [];

        public override Tensor forward(Tensor x)
        {
            Threads.Add(get_num_threads());
            using (NewDisposeScope())
            using (no_grad())
            {
                _mean.mul_(0.9).add_(x.detach().mean());
            }

            return base.forward(x);
        }
    }

    private sealed class DroppingFeedForward(RetroConfig config, ScalarType dtype, Device? device) : FeedForward(config, encoder: false, dtype, device)
    {
        public override Tensor forward(Tensor x) => training ? SeededDropout.Of(base.forward(x), 0.3) : base.forward(x);
    }

    /// <summary>A clock that is an hour on once something has happened.</summary>
    private sealed class HourLater(TimeProvider clock, Func<bool> hasHappened) : TimeProvider
    {
        public override long TimestampFrequency => clock.TimestampFrequency;

        public override long GetTimestamp() => clock.GetTimestamp() + (hasHappened() ? 3600 * TimestampFrequency : 0);
    }
}
