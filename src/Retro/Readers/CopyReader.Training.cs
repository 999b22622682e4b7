using System.Globalization;
using Retro.Database;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Readers;

public sealed partial class CopyReader
{
    private void Train(ChunkDatabase database, INeighborSource source, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using RetroOptimizer optimizer = new(_mixture, new RetroOptimizerOptions { WeightDecay = 0 });
        LearningRateSchedule schedule = new(Options.LearningRate, Options.LearningRate / 10, Options.Steps / 20, Options.Steps);
        // Neither the neighbors nor the index, which may be of another database, give a text its own document or a copy of it.
        SameDocuments same = new(database, source.Database!);
        SameDocuments? elsewhere = _index is null ? null : _index.Database == source.Database ? same : new(database, _index.Database);
        ReadingWindows windows = new(database, source, same)
        {
            WindowLength = Options.WindowLength,
            BatchSize = Options.BatchSize,
            Stride = Options.Stride,
            QueryLength = Options.QueryLength,
            Neighbors = Neighbors,
            RetrievedLength = _retrievedLength,
            RandomShare = Options.RandomShare,
            Seed = Options.Seed,
        };

        // Neighbors of the next step are looked for while this one computes.
        Task<(ReadingBatch Batch, IReadOnlySet<int>[] Excluded)> next = Prepare(0);
        try
        {
            for (int step = 0; step < Options.Steps; step++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                (ReadingBatch batch, IReadOnlySet<int>[] excluded) = next.GetAwaiter().GetResult();
                next = step + 1 < Options.Steps ? Prepare(step + 1) : next;
                double loss = Step(optimizer, schedule.Rate(step), batch, excluded);
                if (!double.IsFinite(loss))
                {
                    throw new TrainingException($"The loss of step {step + 1} of the copy reader is {loss}; lower the learning rate ({Options.LearningRate}).");
                }

                progress?.Report(new StageProgress(
                    string.Create(CultureInfo.InvariantCulture, $"train copying, {loss:0.00} nats a token"), step + 1, Options.Steps));
            }
        }
        finally
        {
            // The databases may be disposed of now.
            ((Task)next).ContinueWith(_ => { }, TaskScheduler.Default).Wait(CancellationToken.None);
        }

        Task<(ReadingBatch, IReadOnlySet<int>[])> Prepare(int step)
            => Task.Run(
                () =>
                {
                    (ReadingBatch batch, IReadOnlyList<int> documents) = windows.Batch(step, cancellationToken);
                    IReadOnlySet<int>[] excluded = elsewhere is null ? [] : [.. documents.Select(document => elsewhere.Of(document).ToHashSet())];
                    return (batch, excluded);
                },
                CancellationToken.None);
    }

    /// <summary>Moves the weights along the gradient of the mean loss of the batch's targets.</summary>
    private double Step(RetroOptimizer optimizer, double rate, ReadingBatch batch, IReadOnlySet<int>[] excluded)
    {
        using DisposeScope scope = NewDisposeScope();
        int targets = batch.Targets.Count(target => target != LogLikelihood.NoTarget);
        double sum = 0;
        foreach ((_, Tensor likelihoods) in Read(batch, excluded))
        {
            Tensor loss = likelihoods.sum().Times(-1.0 / targets);
            loss.backward();
            sum += loss.Value();
        }

        if (double.IsFinite(sum))
        {
            optimizer.Step(rate);
        }

        return sum;
    }
}
