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
        RandomNeighborSource random = new(source.Database!, Options.Seed);

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
            => Task.Run(() => Batch(database, source, random, same, elsewhere, step, cancellationToken), CancellationToken.None);
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

    /// <summary>Windows of some documents, a document as often as it has chunks, with what was retrieved for their stretches.</summary>
    private (ReadingBatch Batch, IReadOnlySet<int>[] Excluded) Batch(
        ChunkDatabase database,
        INeighborSource source,
        RandomNeighborSource random,
        SameDocuments same,
        SameDocuments? elsewhere,
        int step,
        CancellationToken cancellationToken)
    {
        int most = Options.WindowLength / database.ChunkLength;
        (long FirstChunk, int Tokens, int FirstTarget)[] windows = new (long, int, int)[Options.BatchSize];
        SeededRandom draw = new(Options.Seed, WindowPurpose, step);
        for (int row = 0; row < windows.Length; row++)
        {
            long chunk = (long)(draw.NextDouble() * database.ChunkCount);
            DocumentEntry document = database.Documents[database.DocumentOf(chunk)];
            long first = Math.Max(document.FirstChunk, Math.Min(chunk, document.FirstChunk + document.ChunkCount - most));
            // The document's last token predicts nothing.
            windows[row] = (first, (int)Math.Max(
                1, Math.Min(Options.WindowLength, document.TokenCount - 1 - ((first - document.FirstChunk) * database.ChunkLength))), 1);
        }

        int length = windows.Max(window => window.Tokens);
        ReadingBatch batch = new(windows.Length, length, Options.Stride);
        for (int row = 0; row < windows.Length; row++)
        {
            long start = windows[row].FirstChunk * database.ChunkLength;
            int document = database.DocumentOf(windows[row].FirstChunk);
            long end = (database.Documents[document].FirstChunk * (long)database.ChunkLength) + database.Documents[document].TokenCount;
            for (int place = 0; place < windows[row].Tokens; place++)
            {
                batch.Tokens[(row * length) + place] = Token(database, start + place);
                if (start + place + 1 < end)
                {
                    batch.Targets[(row * length) + place] = Token(database, start + place + 1);
                }
            }
        }

        batch.Retrieved = Retrieve(source);
        if (batch.Retrieved is { } found && Options.RandomShare > 0 && Retrieve(random) is { } others)
        {
            SeededRandom coin = new(Options.Seed, RandomPurpose, step);
            int size = found.Neighbors * found.Length;
            for (int start = 0; start < found.Tokens.Length; start += size)
            {
                if (coin.NextDouble() < Options.RandomShare)
                {
                    Array.Copy(others.Tokens, start, found.Tokens, start, size);
                    Array.Copy(others.Valid, start, found.Valid, start, size);
                }
            }
        }

        return (batch, elsewhere is null ? [] : [.. windows.Select(window => elsewhere.Of(database.DocumentOf(window.FirstChunk)).ToHashSet())]);

        RetrievedTokens? Retrieve(INeighborSource from) => StrideRetrieval.Of(
            database, windows, Options.Stride, Options.QueryLength, from, Neighbors, _retrievedLength, document => [.. same.Of(document)], cancellationToken);
    }

    private static int Token(ChunkDatabase database, long place) => database.Tokens(place / database.ChunkLength)[(int)(place % database.ChunkLength)];
}
