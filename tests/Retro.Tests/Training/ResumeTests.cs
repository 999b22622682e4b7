using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Database;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Trainings that go on from a checkpoint: with the same bits, or refused.</summary>
public sealed class ResumeTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(OptimizerKind.Muon, 0, null)]
    [InlineData(OptimizerKind.AdamW, 0.1, null)]
    [InlineData(OptimizerKind.Muon, 0.1, ScalarType.BFloat16)]
    [InlineData(OptimizerKind.AdamW, 0, ScalarType.BFloat16)]
    public void P31_a_training_that_is_interrupted_and_resumed_ends_with_the_same_bits(OptimizerKind kind, double dropout, ScalarType? dtype)
    {
        RetroConfig config = Config with
        {
            Dropout = dropout,
            Retrieval = Config.Retrieval! with { Encoder = Config.Retrieval!.Encoder with { Dropout = dropout } }
        };
        TrainingOptions options = Options with { Optimizer = new() { Kind = kind }, Dtype = dtype };
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

    [Fact]
    public void Checkpoints_come_as_often_as_asked_and_any_of_them_leads_to_the_same_end()
    {
        CopyingData data = new(Config, 2, 3, seed: 2);
        using RetroModel model = Model(Config);
        List<string> copies = [];
        Run(new Trainer(model, Options with { CheckpointFolder = Folder, CheckpointEvery = 5 }), data, done =>
        {
            if (done.Step is 6 or 11)
            {
                copies.Add(Path.Combine(_folder.Path, $"at{done.Step}"));
                TestDatabases.Copy(Folder, copies[^1]);
            }
        });

        long[] steps = [5, 10];
        for (int i = 0; i < copies.Count; i++)
        {
            using RetroModel other = Model(Config, seed: 3);
            using Trainer trainer = new(other, Options);
            trainer.Load(copies[i]);
            Assert.Equal(steps[i], trainer.StepsDone);
            Run(trainer, data);
            AssertSameWeights(model, other);
        }

        Assert.Equal(2, copies.Count);
        using RetroModel end = Checkpoint.Load(Folder);
        AssertSameWeights(model, end);
        using Trainer finished = new(end, Options);
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
        CopyingData data = new(Config, 2, 3, seed: 2);
        using (RetroModel model = Model(Config))
        {
            Run(new Trainer(model, Options with { CheckpointFolder = Folder, Steps = 3 }), data);
        }

        using RetroModel deeper = Model(Config with { Layers = 3, Retrieval = Config.Retrieval! with { CrossAttentionLayers = [2, 3] } });
        string message = Assert.Throws<CheckpointException>(() => new Trainer(deeper, Options).Load(Folder)).Message;
        Assert.Contains("layers 2 (model: 3)", message, StringComparison.Ordinal);
        Assert.Contains("retrieval.cross_attention_layers [2] (model: [2,3])", message, StringComparison.Ordinal);

        using RetroModel same = Model(Config, seed: 8);
        Dictionary<string, double[]> before = Weights(same);
        message = Assert.Throws<CheckpointException>(() =>
            new Trainer(same, Options with { Optimizer = new() { Kind = OptimizerKind.AdamW } }).Load(Folder)).Message;
        Assert.Contains("square", message, StringComparison.Ordinal);
        Assert.Equal(before, Weights(same));

        using RetroModel exact = Model(Config, ScalarType.Float64);
        Assert.Contains("Float32", Assert.Throws<CheckpointException>(() => new Trainer(exact, Options).Load(Folder)).Message, StringComparison.Ordinal);

        using RetroModel frozen = Model(Config);
        frozen.named_parameters().First().parameter.requires_grad = false;
        Assert.Contains(
            frozen.named_parameters().First().name,
            Assert.Throws<CheckpointException>(() => new Trainer(frozen, Options).Load(Folder)).Message,
            StringComparison.Ordinal);

        using Trainer trainer = new(same, Options);
        trainer.Load(Folder);
        CopyingData other = new(Config, 2, 3, seed: 5);
        message = Assert.Throws<CheckpointException>(() => trainer.Run(other)).Message;
        Assert.Contains(data.Identity, message, StringComparison.Ordinal);
        Assert.Contains(other.Identity, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_truncated_or_foreign_state_is_refused()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options);
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

    /// <summary>What a state says is done stands beside it, whatever hindered the last checkpoint: a training that is finished writes none any more.</summary>
    [Theory]
    [InlineData(0, null)]
    [InlineData(5, null)]
    [InlineData(0, 2)]
    [InlineData(5, 2)]
    public void A_last_checkpoint_that_was_hindered_is_made_whole_by_going_on(long every, int? patience)
    {
        CopyingData data = new(Config, 2, 3, seed: 2);
        TrainingOptions options = Options with { CheckpointFolder = Folder, CheckpointEvery = every };
        options = patience is null ? options : options with { Steps = 20, MeasureEvery = 4, Patience = patience }; // the lowest measure is that of step 4
        string blocked = Path.Combine(Folder, "model.safetensors.tmp");
        using RetroModel whole = Model(Config), model = Model(Config);
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
        using RetroModel other = goesOn ? Model(Config, seed: 3) : Model(Config);
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

    [Fact]
    public void A_checkpoint_is_not_loaded_into_a_training_that_runs()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options);
        trainer.Save(Folder);
        InvalidOperationException? refused = null;
        trainer.Run(
            new CopyingData(Config, 2, 3, seed: 1),
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
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Dtype = dtype });
        trainer.Save(Folder);
        Assert.Equal(new StoredTraining(0, trainer.Elapsed, dtype, null), Trainer.Stored(Folder));
        CopyingData data = new(Config, 2, 3, seed: 1);
        trainer.Run(data);
        trainer.Save(Folder);
        Directory.GetFiles(Folder).Where(path => Path.GetFileName(path) != Trainer.StateFile).ToList().ForEach(File.Delete);
        StoredTraining stored = Trainer.Stored(Folder);
        Assert.Equal(new StoredTraining(12, trainer.Elapsed, dtype, data.Identity), stored);
        Assert.Null(stored.BatchSize); // data of one's own do not say it
        Assert.Throws<CheckpointException>(() => Trainer.Stored(_folder.Path));
    }

    /// <summary>A program that begins anew where nothing can be loaded does so in several processes, too.</summary>
    [Theory]
    [InlineData("missing", false)]
    [InlineData("missing", true)]
    [InlineData("damaged", false)]
    [InlineData("damaged", true)]
    [InlineData("canceled", false)]
    [InlineData("canceled", true)]
    public void Of_several_processes_all_load_a_checkpoint_or_none(string what, bool inAll)
    {
        using (RetroModel trained = Model(Config))
        {
            Run(new Trainer(trained, Options with { CheckpointFolder = Folder, Steps = 3 }), new CopyingData(Config, 2, 3, seed: 2));
        }

        string other = _folder["other"], after = _folder["after"], state = Path.Combine(other, Trainer.StateFile);
        TestDatabases.Copy(Folder, other);
        if (what == "missing")
        {
            File.Delete(state);
        }
        else if (what == "damaged")
        {
            File.WriteAllBytes(state, File.ReadAllBytes(state)[..^1]);
        }

        InProcessExchange[] processes = InProcessExchange.Of(2);
        using RetroModel first = Model(Config, seed: 8), second = Model(Config, seed: 8);
        Dictionary<string, double[]> before = Weights(first);
        Exception?[] faults = new Exception?[2];
        Exception?[] thrown = InProcessExchange.Run(processes, process =>
        {
            bool fails = inAll || process.Rank == 1;
            using Trainer trainer = new(process.Rank == 0 ? first : second, Options, exchange: process);
            faults[process.Rank] = Record.Exception(
                () => trainer.Load(fails ? other : Folder, cancellationToken: new(canceled: fails && what == "canceled")));
            Assert.Equal(0, trainer.StepsDone);
            trainer.Save(after);
        });

        Assert.All(thrown, Assert.Null);
        Assert.All(processes, process => Assert.Null(process.Aborted));
        foreach ((int rank, Exception? fault) in faults.Index())
        {
            bool fails = inAll || rank == 1;
            Assert.IsType(fails && what == "canceled" ? typeof(OperationCanceledException) : typeof(CheckpointException), fault);
            Assert.Equal(!fails, fault!.Message.StartsWith("The checkpoint was not loaded by thread 1 of 2: ", StringComparison.Ordinal));
        }

        Assert.Equal(before, Weights(first));
        Assert.Equal(before, Weights(second));
        using Safetensors saved = Safetensors.Open(Path.Combine(after, Trainer.StateFile));
        Assert.All(
            saved.Entries.Where(entry => entry.Name.StartsWith("optimizer/", StringComparison.Ordinal)),
            entry => Assert.Equal(-1, saved.Bytes(entry.Name).IndexOfAnyExcept((byte)0)));
    }

    /// <summary>As where the checkpoint lies on a disk that only the first process's machine has.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Where_one_process_loads_a_checkpoint_and_another_begins_anew_both_say_so(bool damaged)
    {
        CopyingData data = new(Config, 2, 3, seed: 2);
        using (RetroModel trained = Model(Config))
        {
            Run(new Trainer(trained, Options with { CheckpointFolder = Folder, Steps = 3 }), data);
        }

        if (damaged)
        {
            string state = Path.Combine(Folder, Trainer.StateFile);
            File.WriteAllBytes(state, File.ReadAllBytes(state)[..^1]);
        }

        InProcessExchange[] processes = InProcessExchange.Of(2);
        using RetroModel first = Model(Config, seed: 8), second = Model(Config, seed: 8);
        Exception?[] thrown = InProcessExchange.Run(processes, process =>
        {
            using Trainer trainer = new(process.Rank == 0 ? first : second, Options, exchange: process);
            if (process.Rank == 0)
            {
                trainer.Load(Folder);
            }

            trainer.Run(data);
        });

        Assert.All(processes, process => Assert.Null(process.Aborted));
        Assert.All(thrown, fault => Assert.Contains(
            "thread 0 of 2 loads a checkpoint, thread 1 of 2 trains", Assert.IsType<TrainingException>(fault).Message, StringComparison.Ordinal));
        Assert.Equal(damaged, thrown[0]!.InnerException is CheckpointException);
    }

    [Fact]
    public void Saving_and_loading_tell_how_far_they_are_and_can_be_canceled()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options);
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
}
