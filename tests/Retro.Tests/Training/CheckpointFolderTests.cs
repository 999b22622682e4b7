using Retro.Checkpoints;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Tests.Embedders;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>The folder of a training's checkpoint: who may write it, and what it holds when a disk, a kill or a fault ends the writing or the run.</summary>
public sealed class CheckpointFolderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Of_two_trainings_into_one_folder_the_second_is_told_who_has_it_before_its_first_step()
    {
        CopyingData data = new(Config, rows: 2, chunks: 3, seed: 1);
        TrainingOptions options = Options with { CheckpointFolder = Folder };
        using RetroModel first = Model(Config), second = Model(Config, seed: 2);
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
        Assert.Throws<InvalidDataException>(() => two.Run(new CopyingData(Config, rows: 2, chunks: 3, seed: 1) { FailAt = 0 }));
        two.Save(Folder);
        Assert.Equal(0, Trainer.Stored(Folder).Steps);
    }

    /// <summary>What is saved between two checkpoints of a training would be lost, or the training's own be refused for it.</summary>
    [Fact]
    public void While_a_training_has_its_folder_no_other_model_is_saved_there()
    {
        using RetroModel model = Model(Config), other = Model(Config, seed: 2);
        using TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny), EmbeddingInputs.Tokenizer);
        using Trainer trainer = new(model, Options with { CheckpointFolder = Folder, CheckpointEvery = 5 });
        List<string> told = [];
        trainer.Run(new CopyingData(Config, 2, 3, seed: 1), new Reports<TrainingProgress>(done =>
        {
            if (done.Step == 1)
            {
                told.Add(Assert.Throws<CheckpointException>(() => embedder.Save(Folder)).Message);
            }

            if (done.Step is 1 or 7)
            {
                told.Add(Assert.Throws<CheckpointException>(() => Checkpoint.Save(Folder, other)).Message);
                Checkpoint.Save(Folder + "-other", other);
            }
        }));
        Assert.Equal(3, told.Count);
        Assert.All(told, message => Assert.Contains("which is to train a model, since", message, StringComparison.Ordinal));
        using RetroModel saved = Checkpoint.Load(Folder);
        AssertSameWeights(model, saved);
        Checkpoint.Save(Folder, other);
    }

    [Fact]
    public void Of_two_savings_into_one_folder_the_second_is_refused_and_the_first_is_whole()
    {
        using RetroModel first = Model(Config), second = Model(Config, seed: 2);
        string? told = null;
        Checkpoint.Save(Folder, first, progress: new Reports<StageProgress>(done =>
        {
            if (done.Done == done.Total / 2)
            {
                told = Assert.Throws<CheckpointException>(() => Checkpoint.Save(Folder, second)).Message;
            }
        }));
        Assert.Contains("is being changed by process", told, StringComparison.Ordinal);
        Assert.Equal(["config.json", "model.safetensors"], Directory.GetFiles(Folder).Select(Path.GetFileName).Order());
        using RetroModel saved = Checkpoint.Load(Folder);
        AssertSameWeights(first, saved);
    }

    /// <summary>Its weights would be passed over for those of the state.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(0.9)]
    public void A_training_does_not_go_on_where_another_model_was_saved_since(double? averageDecay)
    {
        using RetroModel model = Model(Config), other = Model(Config, seed: 2), into = Model(Config, seed: 3);
        TrainingOptions options = Options with { CheckpointFolder = Folder, AverageDecay = averageDecay };
        string alone = Directory.CreateDirectory(_folder["alone"]).FullName;
        using Trainer trainer = new(model, options) { Measure = _ => 1 }, resumed = new(into, options);
        trainer.Run(new CopyingData(Config, 2, 3, seed: 1));
        Dictionary<string, double[]> before = Weights(into);
        using RetroModel same = Checkpoint.Load(Folder);
        Checkpoint.Save(Folder, other);
        Assert.Contains("another was saved there since", Assert.Throws<CheckpointException>(() => resumed.Load(Folder)).Message, StringComparison.Ordinal);
        Assert.Equal(0, resumed.StepsDone);
        Assert.Equal(before, Weights(into));

        // Nothing of the training was lost, and a model that is the same does no harm.
        Checkpoint.Load(Path.Combine(Folder, Trainer.BestFolder)).Dispose();
        File.Copy(Path.Combine(Folder, Trainer.StateFile), Path.Combine(alone, Trainer.StateFile));
        resumed.Load(alone);
        AssertSameWeights(model, into);
        Checkpoint.Save(Folder, same);
        resumed.Load(Folder);
        AssertSameWeights(model, into);
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
            using RetroModel model = new(Config);
            using Trainer trainer = new(model, Options with { CheckpointFolder = folder });
            Assert.Throws<CheckpointException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1)));
            Assert.Equal(0, trainer.StepsDone);
        }
    }

    [Fact]
    public void A_full_disk_is_named_and_the_old_checkpoint_stays()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "This system has no /dev/full.");
        CopyingData data = new(Config, 2, 3, seed: 2);
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Steps = 4, CheckpointFolder = Folder });
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
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options);
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
        CopyingData data = new(Config, 2, 3, seed: 2);
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options);
        trainer.Save(Folder);
        trainer.Run(data);
        StoppedSave.Check(Folder, folder => trainer.Save(folder), left =>
        {
            using RetroModel other = Model(Config, seed: 3);
            using Trainer resumed = new(other, Options);
            resumed.Load(left);
            Assert.Equal(trainer.StepsDone, resumed.StepsDone);
            AssertSameWeights(model, other);
            using RetroModel saved = Checkpoint.Load(left);
            AssertSameWeights(model, saved);
        });
    }

    /// <summary>There is nothing of it to keep, and what the folder holds may be of hours.</summary>
    [Fact]
    public void A_training_that_is_canceled_before_its_first_step_leaves_the_folder_as_it_was()
    {
        CopyingData data = new(Config, 2, 3, seed: 2);
        TrainingOptions options = Options with { CheckpointFolder = Folder };
        using RetroModel model = Model(Config), other = Model(Config, seed: 3);
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

    /// <summary>Weights that give no finite gradient are no place to go on from.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Where_a_training_is_ended_after_steps_that_were_skipped_the_checkpoint_of_before_stays(bool canceled)
    {
        using RetroModel model = Model(Config), other = Model(Config, seed: 99);
        TrainingOptions options = Options with { Steps = 20, CheckpointFolder = Folder, CheckpointEvery = 4 };
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
        Exception end = Assert.ThrowsAny<Exception>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1), told, cancel.Token));

        Assert.Equal(canceled, end is OperationCanceledException);
        Assert.Contains("not finite in the last 1 step", (string?)end.Data[Trainer.NotSaved], StringComparison.Ordinal);
        resumed.Load(Folder);
        Assert.Equal(4, resumed.StepsDone);
        Assert.Equal(kept, Weights(other));
    }

    /// <summary>Between two steps the state is whole, as at a cancellation.</summary>
    [Fact]
    public void What_who_watches_throws_ends_the_training_and_the_steps_are_saved()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { CheckpointFolder = Folder });
        CopyingData data = new(Config, 2, 3, seed: 1);
        Reports<TrainingProgress> failing = new(done => _ = done.Step == 3 ? throw new InvalidDataException("The disk is full.") : true);
        Assert.Equal("The disk is full.", Assert.Throws<InvalidDataException>(() => trainer.Run(data, failing)).Message);

        using RetroModel other = Model(Config, seed: 99);
        using Trainer resumed = new(other, Options with { CheckpointFolder = Folder });
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

    /// <summary>What a batch is refused for has moved nothing, so that the steps before are kept as with any fault of the data.</summary>
    [Fact]
    public void Where_a_batch_is_refused_the_steps_before_are_saved()
    {
        RetroConfig shorter = Config with { Retrieval = Config.Retrieval! with { ChunkLength = 2 } };
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { CheckpointFolder = Folder });
        MixedData mixed = new([(new CopyingData(Config, 2, 3, seed: 1), 3), (new CopyingData(shorter, 2, 3, seed: 1), 1)], seed: 1);
        Assert.Throws<TrainingException>(() => trainer.Run(mixed));
        Assert.True(trainer.StepsDone > 0);

        using RetroModel other = Model(Config, seed: 99);
        using Trainer resumed = new(other, Options);
        resumed.Load(Folder);
        Assert.Equal(trainer.StepsDone, resumed.StepsDone);
        AssertSameWeights(model, other);
    }

    /// <summary>A gradient moves nothing: what hinders it, such as too little memory, costs no step that was done.</summary>
    [Fact]
    public void Where_a_gradient_cannot_be_computed_the_steps_before_are_saved()
    {
        using RetroModel model = Model(Config), other = Model(Config, seed: 99);
        using Trainer trainer = new(model, Options with { CheckpointFolder = Folder, Accumulation = 1, SideBySide = 1 }), resumed = new(other, Options);
        int calls = 0;
        model.Layers[0].FeedForward.register_forward_pre_hook((_, x) => ++calls == 4 ? throw new OutOfMemoryException("no room") : x);
        OutOfMemoryException fault = Assert.Throws<OutOfMemoryException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1)));

        Assert.Null(fault.Data[Trainer.NotSaved]);
        resumed.Load(Folder);
        Assert.Equal(3, resumed.StepsDone);
        AssertSameWeights(model, other);
        Assert.Equal(4, trainer.Step([new CopyingData(Config, 2, 3, seed: 1).Batch(3, 0).ToTensors()]).Step); // as if nothing had been
    }

    /// <summary>What a step has left half done is neither saved nor gone on with.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Where_a_step_throws_while_it_changes_the_model_that_is_said_and_the_checkpoint_before_stays(bool inBranch)
    {
        LayerFactory? layers = inBranch ? new() { FeedForward = (config, dtype, device) => new Remembering(config, dtype, device) } : null;
        using RetroModel model = new(Config, layers: layers);
        TrainingOptions options = Options with { CheckpointFolder = Folder, CheckpointEvery = 2, Accumulation = 1 };
        using Trainer trainer = new(model, options, optimizer: inBranch ? null : all => new Faulty(all));
        CopyingData data = new(Config, 2, 3, seed: 1);
        using TrainingBatch batch = data.Batch(0, 0).ToTensors();
        Faulty.Calls = Remembering.Calls = 0;
        InvalidDataException fault = Assert.Throws<InvalidDataException>(() => trainer.Run(data));

        Assert.Contains("between two steps", (string?)fault.Data[Trainer.NotSaved], StringComparison.Ordinal);
        Assert.Equal(2, Trainer.Stored(Folder).Steps);
        foreach (Action act in new Action[] { () => trainer.Save(Folder), () => trainer.Step([batch]), () => trainer.Run(data) })
        {
            Assert.Contains("between two steps", Assert.Throws<InvalidOperationException>(act).Message, StringComparison.Ordinal);
        }

        Assert.Equal(2, Trainer.Stored(Folder).Steps);
        if (inBranch)
        {
            trainer.Load(Folder);
            Assert.Equal(3, trainer.Step([batch]).Step);
            trainer.Save(Folder);
        }
    }

    [Fact]
    public void A_relative_folder_and_file_are_those_of_where_the_training_was_made()
    {
        string before = Environment.CurrentDirectory;
        using TemporaryFolder elsewhere = new();
        using RetroModel model = Model(Config), other = Model(Config, seed: 99);
        try
        {
            Environment.CurrentDirectory = _folder.Path;
            using Trainer trainer = new(model, Options with { CheckpointFolder = "checkpoint" }) { Measure = _ => 1 };
            using CsvObserver steps = new("steps.csv");
            Environment.CurrentDirectory = elsewhere.Path;
            trainer.Run(new CopyingData(Config, 2, 3, seed: 1), steps);
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }

        Assert.Empty(Directory.EnumerateFileSystemEntries(elsewhere.Path));
        Assert.Equal(1 + Options.Steps, File.ReadAllLines(_folder["steps.csv"]).Length);
        Assert.True(Directory.Exists(Path.Combine(Folder, Trainer.BestFolder)));
        using Trainer resumed = new(other, Options);
        resumed.Load(Folder);
        AssertSameWeights(model, other);
    }

    /// <summary>Between the first change of a step and its last a checkpoint would hold a mixture.</summary>
    [Fact]
    public void While_a_thread_trains_it_may_save_and_another_one_is_refused()
    {
        CopyingData data = new(Config, 2, 3, seed: 2);
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options);
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
        Assert.Equal(Options.Steps, trainer.StepsDone);
        trainer.Save(Folder);
    }

    /// <summary>Moves a parameter, and at its fourth step fails before the next.</summary>
    private sealed class Faulty(IReadOnlyList<(string name, Parameter parameter)> trained) : optim.Optimizer(IntPtr.Zero)
    {
        public static int Calls { get; set; }

        public override IEnumerable<optim.ILearningRateController> ParamGroups => [];

        public override Tensor step(Func<Tensor>? closure = null)
        {
            using IDisposable noGradients = no_grad();
            trained[0].parameter.mul_(0.5);
            return ++Calls == 4 ? throw new InvalidDataException("half") : null!;
        }
    }

    /// <summary>Counts what it reads, and fails in a fourth step.</summary>
    private sealed class Remembering : FeedForward
    {
        private readonly Tensor _count;

        public Remembering(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, encoder: false, dtype, device)
            => register_buffer("count", _count = zeros(1, dtype, device));

        public static int Calls { get; set; }

        public override Tensor forward(Tensor x)
        {
            using (no_grad())
            {
                _count.add_(1);
            }

            return ++Calls == 7 ? throw new InvalidDataException("half") : base.forward(x); // two layers a step
        }
    }
}
