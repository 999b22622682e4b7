using Retro.Modeling;
using Retro.Tests.Database;
using Retro.Training;
using TorchSharp;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Trainings whose decoder learns alone before neighbors are read.</summary>
public sealed class ClosedBookTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Folder => Path.Combine(_folder.Path, "checkpoint");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_decoder_can_learn_alone_first_and_retrieval_be_fitted_onto_it_then()
    {
        TrainingOptions options = Options with { Steps = 8, ClosedBook = 0.5 };
        CopyingData data = new(Config, 2, 3, seed: 1);
        using RetroModel model = Model(Config), alone = Model(Config);
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
                TestDatabases.Copy(Folder, Folder + "-half");
            }
        });

        Assert.All(start.Keys, name => Assert.Equal(start[name], half[name]));
        Assert.All(
            start.Keys.Where(name => name.EndsWith("cca.o.weight", StringComparison.Ordinal)), name => Assert.NotEqual(start[name], Retrieval(model)[name]));

        // As the same decoder learns that is never given a neighbor.
        using CancellationTokenSource cancel = new();
        using Trainer plain = new(alone, options with { ClosedBook = 0 });
        Assert.Throws<OperationCanceledException>(() => plain.Run(new CopyingData(Config, 2, 3, seed: 1, dropout: 1), new Reports<TrainingProgress>(done =>
        {
            if (done.Step == 3)
            {
                cancel.Cancel();
            }
        }), cancel.Token));
        Dictionary<string, double[]> weights = Weights(alone);
        Assert.All(weights.Keys, name => Assert.Equal(weights[name], decoder[name]));

        using RetroModel other = Model(Config, seed: 9);
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
        using RetroModel model = Model(Config);
        using Trainer trainer = new(model, Options with { Steps = 8, WarmupSteps = 0, ClosedBook = 0.5 });
        using TrainingBatch batch = new CopyingData(Config, 2, 3, seed: 1).Batch(0, 0).ToTensors();
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
        CopyingData data = new(Config, 2, 3, seed: 1);
        using RetroModel model = Model(Config), longer = Model(Config), before = Model(Config), after = Model(Config);
        using (Trainer trainer = new(model, Options with { Steps = 4, ClosedBook = 0.5, CheckpointFolder = Folder }))
        {
            trainer.Run(data);
        }

        using Trainer resumed = new(longer, Options with { Steps = 40, ClosedBook = 0.5 });
        resumed.Load(Folder);
        AssertReads(resumed, longer, reads: true);

        // What has read none yet does not begin where it is loaded.
        using (Trainer trainer = new(before, Options with { Steps = 4, ClosedBook = 0.5 }))
        {
            using TrainingBatch batch = data.Batch(0, 0).ToTensors();
            trainer.Step([batch]);
            trainer.Save(Folder);
        }

        using Trainer alone = new(after, Options with { Steps = 40, ClosedBook = 0.5 });
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

    [Fact]
    public void Where_all_that_is_trained_reads_neighbors_none_can_be_left_out_first()
    {
        using RetroModel model = OfRetrievalAlone(), whole = Model(Config);
        foreach (Func<Trainer> make in new Func<Trainer>[]
        {
            () => new(model, Options with { ClosedBook = 0.1 }),
            () => new(model, Options with { ClosedBook = 0.1 }, optimizer: all => optim.SGD(all.Select(pair => pair.parameter), 0.1)),
        })
        {
            RetroOptionsException fault = Assert.Throws<RetroOptionsException>(make);
            Assert.Contains("ClosedBook 0.1 has to be 0", fault.Message, StringComparison.Ordinal);
        }

        new Trainer(whole, Options with { ClosedBook = 0.1 }).Dispose();
    }
}
