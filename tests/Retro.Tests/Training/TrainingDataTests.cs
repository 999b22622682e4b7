using System.Collections.Concurrent;
using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using static Retro.Tests.Training.Trainings;

namespace Retro.Tests.Training;

/// <summary>What a training asks of its data, and what of them it refuses.</summary>
public sealed class TrainingDataTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    /// <summary>What is planted, and how often a text is taken of which, moves with it.</summary>
    [Fact]
    public void Each_batch_is_asked_for_with_the_share_of_the_training_that_lies_before_its_step()
    {
        TrainingOptions options = Options with { Steps = 8, CheckpointFolder = Folder };
        Recording data = new(new CopyingData(Config, 2, 3, seed: 1));
        using (RetroModel model = Model(Config))
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
        using RetroModel other = Model(Config);
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
        Recording data = new(new CopyingData(Config, 2, 3, seed: 1));
        SteppingClock clock = new(TimeSpan.Zero);
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Accumulation = 1, TimeBudget = TimeSpan.FromSeconds(10) }, clock);
        trainer.Run(data, new Reports<TrainingProgress>(_ => clock.Advance(TimeSpan.FromSeconds(2))));

        // The batch of the second step is prepared while the first is done.
        (long, double)[] expected = [(0, 0), (1, 0), (2, 0.2), (3, 0.4), (4, 0.6), (5, 0.8), (6, 1)];
        Assert.Equal(expected, data.Asked.Order());
    }

    [Fact]
    public void A_batch_that_cannot_be_read_ends_the_training_with_its_own_fault()
    {
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options);
        Assert.Equal(
            "Batch 7 cannot be read.", Assert.Throws<InvalidDataException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1) { FailAt = 7 })).Message);
        Assert.Equal(3, trainer.StepsDone);
    }

    [Fact]
    public void Data_that_give_no_batch_are_named()
    {
        using RetroModel model = new(SmallModel.Config);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 3 });
        string message = Assert.Throws<TrainingException>(() => trainer.Run(new Ending())).Message;
        Assert.Equal("Batch 0 of the data is null; Ending has to give one for every number.", message);
    }

    /// <summary>What was retrieved for a longer chunk would be read before the chunk's end, and training would see what comes.</summary>
    [Fact]
    public void Neighbors_of_chunks_of_another_length_than_the_models_are_refused()
    {
        using RetroModel model = Model(Config with { Retrieval = Config.Retrieval! with { ChunkLength = 2 } });
        using Trainer trainer = new(model, Options);
        string message = Assert.Throws<TrainingException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1))).Message;
        Assert.Contains("chunks of 4 tokens, the model's have 2", message, StringComparison.Ordinal);
        using Trainer closed = new(model, Options with { ClosedBook = 0.5 });
        Assert.Equal(message, Assert.Throws<TrainingException>(() => closed.Run(new CopyingData(Config, 2, 3, seed: 1))).Message);
        Assert.Equal(0, closed.StepsDone);

        // In a step of one's own, too.
        using TrainingBatch batch = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
        Assert.Equal(message, Assert.Throws<TrainingException>(() => trainer.Step([batch])).Message);
    }

    /// <summary>Not where neighbors are first read, which may be after half of the training.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(0.5)]
    public void Neighbors_that_do_not_fit_are_refused_in_the_first_step(double closedBook)
    {
        RetroConfig longer = Config with { Retrieval = Config.Retrieval! with { RetrievedLength = Config.Retrieval.RetrievedLength + 1 } };
        (RetroConfig Config, string Said)[] cases =
            [(longer, $"the model reads {longer.Retrieval!.RetrievedLength}"), (longer with { Retrieval = null }, "does not retrieve")];
        foreach ((RetroConfig config, string said) in cases)
        {
            using RetroModel model = Model(config);
            using Trainer trainer = new(model, Options with { ClosedBook = closedBook });
            TrainingException fault = Assert.Throws<TrainingException>(() => trainer.Run(new CopyingData(Config, 2, 3, seed: 1)));
            Assert.Contains(said, fault.Message, StringComparison.Ordinal);
            Assert.Equal(0, trainer.StepsDone);
        }
    }

    /// <summary>Data that remember what they were asked for.</summary>
    private sealed class Recording(ITrainingData data) : ITrainingData
    {
        public ConcurrentBag<(long Batch, double Progress)> Asked { get; } = [];

        public string Identity => data.Identity;

        public TokenBatch Batch(long index, double progress)
        {
            Asked.Add((index, progress));
            return data.Batch(index, progress);
        }
    }

    private sealed class Ending : ITrainingData
    {
        public string Identity => "ending";

        public TokenBatch Batch(long index, double progress) => null!;
    }
}
