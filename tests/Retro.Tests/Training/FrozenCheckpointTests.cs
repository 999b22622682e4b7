using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>What is frozen is written once, and every checkpoint is whole by itself all the same.</summary>
public sealed class FrozenCheckpointTests : IDisposable
{
    private const string Frozen = "model-00001-of-00002.safetensors", Trained = "model-00002-of-00002.safetensors";

    private static readonly TrainingOptions s_options = TrainingOptions.SmallModel with { Steps = 6, WarmupSteps = 2 };

    private readonly TemporaryFolder _folder = new();
    private readonly RetroModel _model = Model();

    public void Dispose()
    {
        _model.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void A_checkpoint_leaves_the_frozen_weights_that_are_there()
    {
        using Trainer trainer = new(_model, s_options);
        string folder = _folder["made"];
        trainer.Save(folder);
        Assert.Equal(
            ["config.json", Frozen, Trained, "model.safetensors.index.json", Trainer.DescriptionFile, Trainer.StateFile],
            Directory.GetFiles(folder).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        string frozen = FileIdentity.Of(Path.Combine(folder, Frozen)), trained = FileIdentity.Of(Path.Combine(folder, Trained));
        Change(trained: true);
        List<StageProgress> reports = [];
        trainer.Save(folder, new Reports<StageProgress>(reports.Add));
        Assert.All(reports, report => Assert.InRange(report.Done, 0, report.Total));
        Assert.Equal(_model.named_parameters().Count(), reports[^1].Total);
        Assert.Equal(frozen, FileIdentity.Of(Path.Combine(folder, Frozen)));
        Assert.NotEqual(trained, FileIdentity.Of(Path.Combine(folder, Trained)));
        RequireSaved(folder);

        // Whoever finds a damaged file finds it whole again, and whoever changes what is frozen finds it saved by another trainer.
        Damage(Path.Combine(folder, Frozen));
        trainer.Save(folder);
        RequireSaved(folder);
        Change(trained: false);
        using Trainer other = new(_model, s_options);
        other.Save(folder);
        RequireSaved(folder);
    }

    /// <summary>A training does not change what is frozen, so that a file which nobody has touched since is what it was.</summary>
    [Fact]
    public void What_was_compared_once_is_not_read_again_until_somebody_touches_it()
    {
        CopyingData data = new(SmallModel.Config, 2, 3, seed: 2);
        string folder = _folder["made"], file = Path.Combine(folder, Frozen);
        double measure = 9;
        using Trainer trainer = new(_model, s_options with { CheckpointFolder = folder, MeasureEvery = 1, CheckpointEvery = 1 })
        {
            Measure = _ => measure--,
        };
        byte[]? damaged = null;
        trainer.Run(data, new Reports<TrainingProgress>(step =>
        {
            if (step.Step == 3)
            {
                // Nobody sees that, which shows that nobody looks.
                DateTime changed = File.GetLastWriteTimeUtc(file);
                damaged = Damage(file);
                File.SetLastWriteTimeUtc(file, changed);
            }
        }));
        Assert.Equal(damaged, File.ReadAllBytes(file));
        File.SetLastWriteTimeUtc(file, DateTime.UtcNow);
        trainer.Save(folder);
        RequireSaved(folder);
    }

    /// <summary>What a training has frozen on its way may be trained again, and frozen again.</summary>
    [Fact]
    public void What_was_trained_before_it_was_frozen_is_compared_each_time()
    {
        using Trainer trainer = new(_model, s_options);
        string folder = _folder["made"];
        Parameter trained = _model.parameters().First(parameter => parameter.requires_grad);
        trained.requires_grad = false;
        trainer.Save(folder);
        trainer.Save(folder);
        using (no_grad())
        {
            trained.add_(1);
        }

        trainer.Save(folder);
        RequireSaved(folder);
    }

    [Fact]
    public void Checkpoints_in_several_folders_share_the_frozen_weights_and_none_needs_another()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Hard links are made on Linux alone.");
        CopyingData data = new(SmallModel.Config, 2, 3, seed: 2);
        string made = _folder["made"], next = _folder["next"], best = Path.Combine(made, Trainer.BestFolder);
        using (Trainer first = new(_model, s_options with { CheckpointFolder = made, MeasureEvery = 2 }) { Measure = _ => 1 })
        {
            first.Run(data);
        }

        // One that goes on elsewhere shares them with the checkpoint that it goes on from.
        using Trainer trainer = new(_model, s_options with { Steps = 8 });
        trainer.Load(made);
        trainer.Save(next);
        Assert.Single(new[] { made, best, next }.Select(folder => FileIdentity.Of(Path.Combine(folder, Frozen))).Distinct());
        Dictionary<string, byte[]> before = Directory.GetFiles(next).ToDictionary(path => path, File.ReadAllBytes);
        Change(trained: false);
        Checkpoint.Save(made, _model);
        RequireSaved(made);
        Assert.All(before, pair => Assert.Equal(pair.Value, File.ReadAllBytes(pair.Key)));
        Directory.Delete(made, recursive: true);
        Assert.All(before, pair => Assert.Equal(pair.Value, File.ReadAllBytes(pair.Key)));
        Checkpoint.Load(next).Dispose();
    }

    /// <summary>A folder from a cache may hold links alone, relative ones, to files that lie elsewhere under other names.</summary>
    [Fact]
    public void A_checkpoint_that_goes_on_from_a_folder_of_links_holds_the_frozen_weights_themselves()
    {
        string made = _folder["snapshots/made"], next = _folder["next"], best = Path.Combine(made, Trainer.BestFolder), stored = _folder["stored"];
        using (Trainer trainer = new(_model, s_options))
        {
            trainer.Save(made);
        }

        Directory.CreateDirectory(stored);
        foreach (string file in Directory.GetFiles(made))
        {
            File.Move(file, Path.Combine(stored, Path.GetFileName(file) + ".blob"));
            File.CreateSymbolicLink(file, Path.Combine("..", "..", "stored", Path.GetFileName(file) + ".blob"));
        }

        using Trainer resumed = new(_model, s_options with { CheckpointFolder = made, MeasureEvery = 2 }) { Measure = _ => 1 };
        resumed.Load(made);
        resumed.Save(next);
        RequireSaved(next);
        resumed.Run(new CopyingData(SmallModel.Config, 2, 3, seed: 2));
        RequireSaved(made);
        Checkpoint.Load(best).Dispose();
        Assert.All(new[] { next, best }, folder => Assert.Null(new FileInfo(Path.Combine(folder, Frozen)).LinkTarget));
        Directory.Delete(_folder["snapshots"], recursive: true);
        Directory.Delete(stored, recursive: true);
        Checkpoint.Load(next).Dispose();
    }

    [Fact]
    public void Where_there_are_no_links_the_frozen_weights_are_written()
    {
        using MountedDisk disk = new("4m");
        using Trainer trainer = new(_model, s_options);
        trainer.Save(_folder["made"]);
        trainer.Save(disk["next"]);
        RequireSaved(disk["next"]);
    }

    /// <summary>A process killed before its files have their names leaves second names of whole files, which are no place to write to.</summary>
    [Fact]
    public void A_link_that_a_killed_process_left_is_not_written_into()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Hard links are made on Linux alone.");
        using Trainer trainer = new(_model, s_options);
        string made = _folder["made"], next = _folder["next"], file = Path.Combine(made, Frozen);
        trainer.Save(made);
        byte[] whole = File.ReadAllBytes(file);
        Directory.CreateDirectory(next);
        using (FileStream? left = AtomicFile.LinkBeside(file, Path.Combine(next, Frozen)))
        {
            Assert.NotNull(left);
        }

        Change(trained: false);
        trainer.Save(next);
        Assert.Equal(whole, File.ReadAllBytes(file));
        RequireSaved(next);
    }

    [Fact]
    public void A_saving_that_is_killed_between_two_names_is_read_as_the_new_checkpoint()
    {
        using Trainer trainer = new(_model, s_options);
        trainer.Save(_folder["made"]);
        Change(trained: true);
        StoppedSave.Check(_folder["made"], folder => trainer.Save(folder), RequireSaved);
    }

    /// <summary>The last layer is trained, as what is fitted onto a frozen decoder is.</summary>
    private static RetroModel Model()
    {
        manual_seed(3);
        RetroModel model = new(SmallModel.Config);
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            parameter.requires_grad = name.StartsWith("decoder.2.", StringComparison.Ordinal);
        }

        return model;
    }

    /// <summary>Changes the last byte of a file.</summary>
    private static byte[] Damage(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);
        return bytes;
    }

    private void Change(bool trained)
    {
        using IDisposable noGradients = no_grad();
        foreach (Parameter parameter in _model.parameters().Where(parameter => parameter.requires_grad == trained))
        {
            parameter.add_(1);
        }
    }

    private void RequireSaved(string folder)
    {
        using RetroModel saved = Checkpoint.Load(folder);
        Assert.All(
            _model.named_parameters().Zip(saved.named_parameters()),
            pair => Assert.True(ModelCase.BitEqual(pair.First.parameter, pair.Second.parameter), pair.First.name));
    }
}
