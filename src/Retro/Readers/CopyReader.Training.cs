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
        // Neither the neighbors nor the index, which may be of another database, give a text its own document or a copy of it.
        SameDocuments same = new(database, source.Database!);
        SameDocuments? elsewhere = _index is null ? null : _index.Database.HasSameChunks(source.Database) ? same : new(database, _index.Database);
        ReadingWindows windows = new(database, source, same)
        {
            WindowLength = Options.WindowLength,
            BatchSize = Options.BatchSize,
            Plan = ReadingPlan.Of(this, database.ChunkLength, source.Database!),
            RandomShare = Options.RandomShare,
            Seed = Options.Seed,
        };

        ReaderTraining.Run(
            _mixture,
            Options.Steps,
            Options.LearningRate,
            "copying",
            step =>
            {
                (ReadingBatch batch, IReadOnlyList<int> documents) = windows.Batch(step, cancellationToken);
                IReadOnlySet<int>[] excluded = elsewhere is null ? [] : [.. documents.Select(document => elsewhere.Of(document).ToHashSet())];
                return (batch, excluded);
            },
            (optimizer, rate, prepared) => Step(optimizer, rate, prepared.batch, prepared.excluded),
            progress,
            cancellationToken);
    }

    /// <summary>Moves the weights along the gradient of the mean loss of the batch's targets.</summary>
    private double Step(RetroOptimizer optimizer, double rate, ReadingBatch batch, IReadOnlySet<int>[] excluded)
    {
        using DisposeScope scope = NewDisposeScope();
        int targets = batch.Targets.Count(target => target != LogLikelihood.NoTarget);
        List<Tensor> losses = [];
        foreach ((_, Tensor likelihoods) in Read(batch, excluded))
        {
            Tensor loss = likelihoods.sum().Times(-1.0 / targets);
            loss.backward();
            losses.Add(loss.detach().to_type(ScalarType.Float64));
        }

        // Read once, when all lots are queued: an accelerator has to have come so far.
        double sum = losses.Count == 0 ? 0 : stack(losses).sum().Value();
        if (double.IsFinite(sum))
        {
            optimizer.Step(rate);
        }

        return sum;
    }
}
