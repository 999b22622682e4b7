using System.Globalization;
using Retro.Database;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Readers;

public sealed partial class DecoupledReader
{
    private const int WindowPurpose = 16, RandomPurpose = 17;

    /// <summary>Trains a reader for a decoder on the documents of a database, with neighbors from other documents than the text's.</summary>
    /// <param name="model">The decoder; it stays the caller's and as it is, but for evaluation mode. Its own retrieval, if any, is off.</param>
    /// <param name="database">Documents that are trained on, none of them held out.</param>
    /// <param name="source">Finds neighbors for a chunk of text, in the same database or another.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="name">The name in reports; null: made of the model's and the settings.</param>
    /// <param name="progress">Told the steps done; the stage's name holds the loss, in nats a token.</param>
    /// <param name="cancellationToken">Ends the training between two steps.</param>
    /// <returns>The reader; dispose it.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    /// <exception cref="ArgumentException">The source has no database, or the model's attention is the caller's own.</exception>
    /// <exception cref="TrainingException">The loss is not finite.</exception>
    public static DecoupledReader Fit(
        RetroModel model,
        ChunkDatabase database,
        INeighborSource source,
        DecoupledReaderOptions? options = null,
        string? name = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(source);
        options = (options ?? new DecoupledReaderOptions()).Validate(database.ChunkLength);
        ChunkDatabase retrieval = source.Database
            ?? throw new ArgumentException($"The source {source.Name} has no database to read from; give one that has.", nameof(source));
        DecoupledReader reader = Fresh(model, options, options.RetrievedLength ?? (2 * retrieval.ChunkLength), name);
        try
        {
            reader.Train(database, source, progress, cancellationToken);
            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    private void Train(ChunkDatabase database, INeighborSource source, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using RetroOptimizer optimizer = new(_weights, new RetroOptimizerOptions { WeightDecay = 0 });
        LearningRateSchedule schedule = new(Options.LearningRate, Options.LearningRate / 10, Options.Steps / 20, Options.Steps);
        SameDocuments same = new(database, source.Database!);
        RandomNeighborSource random = new(source.Database!, Options.Seed);
        for (int step = 0; step < Options.Steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            double loss = Step(optimizer, schedule.Rate(step), Batch(database, source, random, same, step, cancellationToken));
            if (!double.IsFinite(loss))
            {
                throw new TrainingException(
                    $"The loss of step {step + 1} of the reader is {loss}; lower the learning rate ({Options.LearningRate}).");
            }

            progress?.Report(new StageProgress(
                string.Create(CultureInfo.InvariantCulture, $"train reading, {loss:0.00} nats a token"), step + 1, Options.Steps));
        }
    }

    /// <summary>Moves the weights along the gradient of the mean loss of the batch's targets; the decoder gets none.</summary>
    private double Step(RetroOptimizer optimizer, double rate, ReadingBatch batch)
    {
        using DisposeScope scope = NewDisposeScope();
        long[] places = batch.TargetPlaces();
        if (places.Length == 0)
        {
            return 0;
        }

        Tensor loss = Read(batch, places).mean().neg();
        double value = loss.Value();
        ITrainingOptimizer taking = optimizer;
        if (double.IsFinite(value) && batch.Retrieved is { } retrieved && Array.IndexOf(retrieved.Valid, true) >= 0)
        {
            IList<Tensor> gradients = autograd.grad([loss], taking.Parameters, allow_unused: true);
            scope.Detach(gradients.Where(gradient => !gradient.IsInvalid));
            taking.AddGradients(gradients);
            optimizer.Step(rate);
        }

        return value;
    }

    /// <summary>Windows of some documents, a document as often as it has chunks, with what was retrieved for their chunks.</summary>
    private ReadingBatch Batch(
        ChunkDatabase database,
        INeighborSource source,
        RandomNeighborSource random,
        SameDocuments same,
        int step,
        CancellationToken cancellationToken)
    {
        int chunkLength = database.ChunkLength, most = Options.WindowLength / chunkLength;
        (long FirstChunk, int Tokens, int FirstTarget)[] windows = new (long, int, int)[Options.BatchSize];
        SeededRandom draw = new(Options.Seed, WindowPurpose, step);
        for (int row = 0; row < windows.Length; row++)
        {
            long chunk = (long)(draw.NextDouble() * database.ChunkCount);
            DocumentEntry document = database.Documents[database.DocumentOf(chunk)];
            long first = Math.Max(document.FirstChunk, Math.Min(chunk, document.FirstChunk + document.ChunkCount - most));
            // The document's last token predicts nothing.
            windows[row] = (first, (int)Math.Clamp(document.TokenCount - 1 - ((first - document.FirstChunk) * chunkLength), 1, Options.WindowLength), 1);
        }

        int length = windows.Max(window => window.Tokens);
        ReadingBatch batch = new(windows.Length, length, chunkLength);
        for (int row = 0; row < windows.Length; row++)
        {
            long start = windows[row].FirstChunk * chunkLength;
            DocumentEntry document = database.Documents[database.DocumentOf(windows[row].FirstChunk)];
            long end = (document.FirstChunk * (long)chunkLength) + document.TokenCount;
            for (int place = 0; place < windows[row].Tokens; place++)
            {
                batch.Tokens[(row * length) + place] = Token(start + place);
                if (start + place + 1 < end)
                {
                    batch.Targets[(row * length) + place] = Token(start + place + 1);
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

        return batch;

        int Token(long place) => database.Tokens(place / chunkLength)[(int)(place % chunkLength)];

        RetrievedTokens? Retrieve(INeighborSource from) => StrideRetrieval.Of(
            database, windows, chunkLength, chunkLength, from, Neighbors, _retrievedLength, document => [.. same.Of(document)], cancellationToken);
    }
}
