using Retro.Checkpoints;
using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Modeling;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>
/// Resuming what the samples run: windows of a database with a table's neighbors and planted ones, several a step, by the options for small models.
/// </summary>
public sealed class ResumedWindowsTests : IDisposable
{
    private const int M = 8, R = 16, Steps = 10;

    private static readonly RetroConfig s_config = SmallModel.Config with
    {
        VocabularySize = TestDatabases.Bytes.VocabularySize,
        Dropout = 0.1,
        Retrieval = SmallModel.Config.Retrieval! with
        {
            ChunkLength = M,
            RetrievedLength = R,
            Neighbors = 2,
            CrossAttentionLayers = [1, 2],
            Encoder = SmallModel.Config.Retrieval!.Encoder with { Dropout = 0.1 },
        },
    };

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    public void P31_a_training_on_windows_goes_on_as_if_it_had_not_been_stopped(int stopAfter)
    {
        _databases.Build(TestDatabases.Documents(60, seed: 3), M).Dispose();
        string table = Path.Combine(_folder.Path, "table");
        using (ChunkDatabase database = ChunkDatabase.Open(_databases.Folder()))
        using (Bm25Index keywords = Bm25Index.Build(database.ChunkCount, chunk => KeywordNeighborSource.TermsOf(database, chunk)))
        {
            NeighborTable.Build(table, database, new KeywordNeighborSource(database, keywords), 6, excludeOwnDocument: true).Dispose();
        }

        string whole = Path.Combine(_folder.Path, "whole"), stopped = Path.Combine(_folder.Path, "stopped");
        List<TrainingProgress> expected = Train(table, whole, seed: 1, Steps);
        List<TrainingProgress> came = Train(table, stopped, seed: 1, stopAfter);
        Assert.Equal(stopAfter, came.Count);
        // All is opened and made anew, with other weights and another state of the generator of random numbers, as in another process.
        came.AddRange(Train(table, stopped, seed: 77, Steps, resume: true));

        Assert.Equal(
            expected.Select(step => (step.Step, step.Loss, step.GradientNorm, step.LearningRate, step.Tokens)),
            came.Select(step => (step.Step, step.Loss, step.GradientNorm, step.LearningRate, step.Tokens)));
        Assert.Equal(Steps, expected.Select(step => step.Loss).Distinct().Count());
        foreach (string file in new[] { "model.safetensors", Trainer.StateFile })
        {
            using Safetensors one = Safetensors.Open(Path.Combine(whole, file)), other = Safetensors.Open(Path.Combine(stopped, file));
            Assert.Equal(one.Entries.Select(entry => entry.Name), other.Entries.Select(entry => entry.Name));
            Assert.All(one.Entries, entry => Assert.True(one.Bytes(entry.Name).SequenceEqual(other.Bytes(entry.Name)), $"{file}: {entry.Name}"));
        }
    }

    private List<TrainingProgress> Train(string table, string checkpoint, long seed, int steps, bool resume = false)
    {
        using ChunkDatabase database = ChunkDatabase.Open(_databases.Folder());
        using NeighborTable neighbors = NeighborTable.Open(table, database);
        WindowSampler windows = new(
            database, new() { WindowLength = 4 * M, BatchSize = 1, Neighbors = 2, RetrievedLength = R, Planting = new(), Seed = 4 }, neighbors);
        manual_seed(seed);
        using RetroModel model = new(s_config);
        using Trainer trainer = new(
            model, TrainingOptions.SmallModel with { Steps = Steps, WarmupSteps = 2, Accumulation = 4, CheckpointFolder = checkpoint, Seed = 4 });
        if (resume)
        {
            trainer.Load(checkpoint);
        }

        using CancellationTokenSource stop = new();
        List<TrainingProgress> done = [];
        try
        {
            trainer.Run(windows, new Reports<TrainingProgress>(step =>
            {
                done.Add(step);
                if (step.Step == steps && steps < Steps)
                {
                    stop.Cancel();
                }
            }), stop.Token);
        }
        catch (OperationCanceledException) when (steps < Steps)
        {
        }

        return done;
    }
}
