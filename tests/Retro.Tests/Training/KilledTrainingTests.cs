using System.Diagnostics;
using System.Globalization;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Modeling;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>A process that trains is really killed, and another goes on from what it left, as often as it takes.</summary>
public sealed class KilledTrainingTests : IDisposable
{
    private const string Folder = "RETRO_TEST_KILLED_TRAINING";
    private const int M = 8, R = 16, Steps = 200, Kills = 20;

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Category", "Long")]
    public void Killed_at_20_random_moments_and_resumed_each_time_a_training_ends_with_the_bits_of_one_that_was_not()
    {
        string whole = Prepare("whole"), killed = Prepare("killed");
        ChildProcess.Outcome run = Run(whole, null);
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);

        Random random = new(9);
        HashSet<long> left = [];
        for (int kill = 0; kill < Kills; kill++)
        {
            // Some steps later, and then at any moment of a step or of writing a checkpoint.
            long until = StepsLeft(killed) + random.Next(1, 8);
            int moment = random.Next(30);
            Run(killed, process =>
            {
                while (!process.HasExited && !File.Exists(Marker(killed, until)))
                {
                    Thread.Sleep(1);
                }

                Thread.Sleep(moment);
                Assert.False(process.HasExited, "The training ended before it was killed.");
                process.Kill();
            });
            left.Add(StepsLeft(killed));
        }

        Assert.InRange(left.Count, Kills / 2, Kills);
        Assert.InRange(left.Max(), 1, Steps - 1);
        run = Run(killed, null);
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        Assert.Equal(Steps, StepsLeft(killed));
        foreach (string file in new[] { "model.safetensors", Trainer.StateFile })
        {
            using Safetensors one = Safetensors.Open(Path.Combine(whole, "model", file)), other = Safetensors.Open(Path.Combine(killed, "model", file));
            Assert.NotEmpty(one.Entries);
            Assert.Equal(one.Entries.Select(entry => entry.Name), other.Entries.Select(entry => entry.Name));
            Assert.All(one.Entries, entry => Assert.True(one.Bytes(entry.Name).SequenceEqual(other.Bytes(entry.Name)), $"{file}: {entry.Name}"));
        }
    }

    /// <summary>What the process does that is killed: trains to the end, from the checkpoint on where there is one.</summary>
    [Fact(Explicit = true)]
    public void Trains_until_it_is_killed()
    {
        string folder = ChildTest.Given(Folder);
        string checkpoint = Path.Combine(folder, "model");
        using ChunkDatabase database = ChunkDatabase.Open(Path.Combine(folder, "db"));
        using KeywordNeighborSource source = KeywordNeighborSource.Open(database);
        using NeighborTable neighbors = NeighborTable.Open(database, source, 6);
        WindowSampler windows = new(
            database, new() { WindowLength = 4 * M, BatchSize = 1, Neighbors = 2, RetrievedLength = R, Planting = new(), Seed = 4 }, neighbors);
        manual_seed(1);
        RetroConfig small = SmallModel.Config;
        using RetroModel model = new(small with
        {
            VocabularySize = TestDatabases.Bytes.VocabularySize,
            Dropout = 0.1,
            Retrieval = small.Retrieval! with { ChunkLength = M, RetrievedLength = R, Neighbors = 2, CrossAttentionLayers = [1, 2] },
        });
        using Trainer trainer = new(
            model,
            TrainingOptions.SmallModel with
            {
                Steps = Steps, WarmupSteps = 20, Accumulation = 2, CheckpointFolder = checkpoint, CheckpointEvery = 2, Seed = 4,
            });
        if (File.Exists(Path.Combine(checkpoint, Trainer.StateFile)))
        {
            trainer.Load(checkpoint);
        }

        trainer.Run(windows, new Reports<TrainingProgress>(step => File.WriteAllText(Marker(folder, step.Step), "")));
    }

    private string Prepare(string name)
    {
        string folder = _folder[name];
        Directory.CreateDirectory(Path.Combine(folder, "steps"));
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            Path.Combine(folder, "db"), TestDatabases.Documents(60, seed: 3), TestDatabases.Bytes, new() { ChunkLength = M });
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        NeighborTable.Build(database, source, 6).Dispose();
        return folder;
    }

    private ChildProcess.Outcome Run(string folder, Action<Process>? meanwhile)
    {
        // What an earlier process reached, another that begins before it reaches again.
        Directory.Delete(Path.Combine(folder, "steps"), recursive: true);
        Directory.CreateDirectory(Path.Combine(folder, "steps"));
        return ChildTest.Run(Trains_until_it_is_killed, new() { [Folder] = folder }, meanwhile);
    }

    private static string Marker(string folder, long step) => Path.Combine(folder, "steps", step.ToString(CultureInfo.InvariantCulture));

    /// <summary>Steps of the checkpoint, from which the next process goes on; 0 where there is none.</summary>
    private static long StepsLeft(string folder)
    {
        string path = Path.Combine(folder, "model", Trainer.StateFile), staged = path + AtomicFile.TemporarySuffix;
        if (File.Exists(staged) && File.Exists(Path.Combine(folder, "model", StagedFiles.RecordName)))
        {
            path = staged; // killed among the renamings, the rest of which the next process does first
        }

        if (!File.Exists(path))
        {
            return 0;
        }

        using Safetensors state = Safetensors.Open(path);
        return TrainingState.Parse(state.Metadata!["training"], path).Steps;
    }
}
